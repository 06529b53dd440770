"""What the examples of a table show of it: which of its paths find anything, which of its times can be read, what is no
address where one is wanted, which values its translations lack. What no example shows may be mistyped, and would say
nothing for ever."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapter.mapping.body import JSON, NotReadable, Record, UnknownMedia
from adapter.mapping.complaints import Place
from adapter.mapping.exact import NotJson, parse_json
from adapter.mapping.expressions import entries, inside
from adapter.mapping.language import Condition, Identity, Lookup, Reading, Shape, value_paths
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import follow, parse_path
from adapter.mapping.pattern import template_holes
from adapter.mapping.refusals import rows_of
from adapter.mapping.table import Table
from adapter.mapping.trace import ARRIVAL, Trace
from adapter.workbench.examples import RECEIVED_AT, Placed
from adapter.workbench.explain import shape_taken, why_keyless

#: A path, and the path inside the text of JSON that stands there, if one is named.
Found = tuple[str, str | None]


@dataclass
class Shown:
    """See the module's text."""

    #: Shape: of each event that it read why it has no key; ``None``: it has one.
    keys: dict[str, list[str | None]] = field(default_factory=dict)
    #: Of the table's paths those that found nothing.
    missed: set[Found] = field(default_factory=set)
    #: The text of a shape's time: whether it was read in any event that has this shape.
    times: dict[str, bool] = field(default_factory=dict)
    #: The text of a lookup of addresses: what it gave that is none, unless it gave an address, too.
    no_address: dict[str, str | None] = field(default_factory=dict)
    #: The text of a lookup with a default: values that its table lacks, and an example of each.
    untranslated: dict[str, dict[str, Placed]] = field(default_factory=dict)
    #: An agreed detail and a value of it that is not of its form: what would be right, and an example of it.
    misfits: dict[tuple[str, str], tuple[str, Placed]] = field(default_factory=dict)


def look(table: Table, placed: Sequence[Placed]) -> Shown:
    """Read all examples, and note what they show."""
    shown = Shown(missed={found for _, found in paths(table.mapping)})
    steps = {one: (parse_path(one[0]), parse_path(one[1]) if one[1] else None) for one in shown.missed}
    trace = Trace()
    traced = table.traced(trace)
    for one in placed:
        bodies = list(_bodies(one))
        records = records_of(table, one)
        for record in records:
            trace.begin()
            result = traced.result(record, RECEIVED_AT)
            name = shape_taken(trace)
            _note_lookups(shown, trace, one)
            if record.value is not None:
                bodies.append(record.value)
                if name is not None and table.shapes[name].beside:
                    bodies.append(_beside(record.value, table.shapes[name]))
            if name is not None and result.event is not None:
                keyed = result.strong is not None or result.weak is not None
                shown.keys.setdefault(name, []).append(None if keyed else why_keyless(table, trace))
                for detail, text in result.event["details"].items():
                    agreed = table.catalogue.details.get(detail)
                    right = None if agreed is None else agreed.misfit(text)
                    if right is not None:
                        shown.misfits.setdefault((detail, text), (right, one))
                time = table.shapes[name].fields.get("time")
                if time is not None:
                    read = trace.fields.get("time") != ARRIVAL
                    shown.times[repr(time)] = shown.times.get(repr(time), False) or read
                for further in table.further(result.native_type or "") if table.further is not None else ():
                    trace.begin()
                    traced.result(record, RECEIVED_AT, further)
                    _note_lookups(shown, trace, one)
        for body in bodies:
            shown.missed -= {found for found in shown.missed if _finds(body, *steps[found])}
    return shown


def _note_lookups(shown: Shown, trace: Trace, placed: Placed) -> None:
    """What the lookups of one event gave."""
    for lookup, text in trace.addresses:
        if _is_address(text):
            shown.no_address[repr(lookup)] = None
        else:
            shown.no_address.setdefault(repr(lookup), text)
    for lookup, text in trace.untranslated:
        shown.untranslated.setdefault(repr(lookup), {}).setdefault(text, placed)


def records_of(table: Table, placed: Placed) -> list[Record]:
    """The records of an example; none of what the table does not take."""
    try:
        return table.split(placed.example.body, placed.example.media)
    except (NotReadable, UnknownMedia):
        return []


def paths(mapping: MappingFile) -> Iterator[tuple[Place, Found]]:
    """The paths of a table, and where they stand; without those that name no place in an event, which begin with @,
    and those of redactions."""
    for place, found in _paths(mapping):
        if not found[0].startswith("@"):
            yield place, found


def _paths(mapping: MappingFile) -> Iterator[tuple[Place, Found]]:
    for number, framing in enumerate(mapping.body):
        yield from _condition_paths(("body", number, "when"), framing.when)
        yield from _value_paths(("body", number, "events"), framing.events)
        for name, path in framing.answer.items():
            yield from _value_paths(("body", number, "answer", name), path)
    for number, path in enumerate(mapping.base64):
        yield ("base64", number), (path, None)
    for key, some in mapping.aliases.items():
        yield from _value_paths(("aliases", key), some)
    for place, reading in readings(mapping):
        yield from _reading_paths(place, reading)
        for row_place, row in rows_of(place, reading):
            yield from _condition_paths((*row_place, "when"), row.when)
            if not isinstance(row.reason, str):
                yield from _value_paths((*row_place, "reason"), row.reason)
            for name, value in row.fields.items():
                yield from _value_paths((*row_place, "fields", name), value)


def _reading_paths(place: Place, reading: Reading) -> Iterator[tuple[Place, Found]]:
    for word in ("when", "failed", "inconclusive"):
        yield from _condition_paths((*place, word), getattr(reading, word, None))
    if isinstance(reading, Shape):
        for number, path in enumerate(reading.beside):
            yield (*place, "beside", number), (path, None)
    for word in ("type", "each", "reason"):
        yield from _value_paths((*place, word), getattr(reading, word))
    if reading.actor is not None:
        yield from _value_paths((*place, "actor", "id"), reading.actor.id)
        yield from _value_paths((*place, "actor", "self"), reading.actor.self_)
    if isinstance(reading.identity, Identity):
        yield from _value_paths((*place, "identity", "strong"), reading.identity.strong)
        yield from _value_paths((*place, "identity", "weak"), reading.identity.weak)
    for name, value in reading.fields.items():
        yield from _value_paths((*place, "fields", name), value)


def _value_paths(place: Place, value: Any) -> Iterator[tuple[Place, Found]]:
    if isinstance(value, str):
        yield place, (value, None)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _value_paths((*place, number), one)
    elif isinstance(value, Lookup):
        for hole in template_holes(value.template or ""):
            inner = (*place, "with", hole) if hole in value.with_ else (*place, "template")
            yield from _value_paths(inner, value.with_.get(hole, hole))
        for at, (path, _) in _value_paths((*place, "path"), value.path):
            yield at, (path, value.json_path)


def _condition_paths(place: Place, condition: Condition | None) -> Iterator[tuple[Place, Found]]:
    if condition is None:
        return
    for word in ("has", "lacks"):
        for number, path in enumerate(getattr(condition, word) or []):
            yield (*place, word, number), (path, None)
    for path in condition.requirements:
        yield (*place, path), (path, None)
    for number, one in enumerate(condition.any_ or []):
        yield from _condition_paths((*place, "any", number), one)


def readings(mapping: MappingFile) -> Iterator[tuple[Place, Reading]]:
    """The parts of a table that say how events are read, and where they stand."""
    yield (), mapping
    for name, shape in mapping.shapes.items():
        yield ("shapes", name), shape


def lookups(mapping: MappingFile) -> Iterator[tuple[Place, Lookup]]:
    """The lookups of a table, and where they stand."""
    for place, reading in readings(mapping):
        for word in ("type", "reason"):
            yield from _lookups((*place, word), getattr(reading, word))
        for name, value in reading.fields.items():
            yield from _lookups((*place, "fields", name), value)
        for row_place, row in rows_of(place, reading):
            yield from _lookups((*row_place, "reason"), row.reason)
            for name, value in row.fields.items():
                yield from _lookups((*row_place, "fields", name), value)


def _lookups(place: Place, value: Any) -> Iterator[tuple[Place, Lookup]]:
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from _lookups((*place, number), one)
    elif isinstance(value, Lookup):
        yield place, value
        for name, one in value.with_.items():
            yield from _lookups((*place, "with", name), one)


def all_missed(value: Any, missed: set[Found]) -> bool:
    """Whether none of a value's paths found anything."""
    named = {path for path in value_paths(value) if not path.startswith("@")}
    return bool(named) and named <= {path for path, _ in missed}


def _bodies(placed: Placed) -> Iterator[dict[str, Any]]:
    """What of an example may be an envelope."""
    raw = placed.example.raw
    if isinstance(raw, str) and placed.example.media == JSON:
        try:
            raw = parse_json(raw)
        except NotJson:
            return
    for one in raw if isinstance(raw, list) else [raw]:
        if isinstance(one, dict):
            yield one


def _beside(value: dict[str, Any], shape: Shape) -> dict[str, Any]:
    read = dict(value)
    for path in shape.beside:
        read.update(entries(follow(value, parse_path(path))))
    return read


def _finds(body: dict[str, Any], steps: Any, inner: Any) -> bool:
    found = follow(body, steps)
    return (found if inner is None or found is None else inside(found, inner)) is not None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
