"""What keeps a table from being used though each of its words is one of the language: words that the catalogue does not
know, rows that contradict themselves, parts that need another part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from adapter.finding_codes import Code
from adapter.mapping.catalogue import ACCESS, ERROR, Catalogue
from adapter.mapping.complaints import Place, Problem, nearest, nearest_name
from adapter.mapping.language import Condition, Lookup, Reading, RowWords
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Every, parse_steps
from adapter.mapping.rows import outcome_of_row, type_of_row
from adapter.mapping.shapes import merged_shapes, shared_keys
from adapter.model import Outcome

#: The type that stands in a draft's row which nobody has decided yet.
UNDECIDED = "DECIDE"


def wrong_reasons(value: Any, catalogue: Catalogue) -> Iterator[Problem]:
    """Words that a table's value would give as reasons, and that are none of the catalogue's. The value need not fit
    the language."""
    for place, part in (*_readings(value), *_rows(value)):
        for at, word in _given(part.get("reason"), (*place, "reason")):
            if word not in catalogue.reasons:
                yield Problem(at, _no_reason(word, at, catalogue), Code.UNKNOWN_REASON)


def wrong_types(value: Any, catalogue: Catalogue) -> Iterator[Problem]:
    """Rows whose type is none of the catalogue's, or not decided yet. The value need not fit the language."""
    for place, row in _rows(value):
        named = row.get("type")
        if not isinstance(named, str):
            continue
        if named == UNDECIDED:
            text = "is not decided: say which type of the catalogue it is, or `ignore: true`"
            yield Problem(place, text, Code.UNDECIDED)
            continue
        type = catalogue.canonical(named if "." in named else ACCESS + named)
        if catalogue.known(type) is None:
            near = nearest_name(type, catalogue.names)
            hint = "" if near is None else f" (did you mean {near.removeprefix(ACCESS)}?)"
            text = f"{named!r} is no type of the catalogue{hint}; add it to types.yaml"
            yield Problem((*place, "type"), text, Code.UNKNOWN_TYPE)


def refusals(mapping: MappingFile, catalogue: Catalogue) -> Iterator[Problem]:
    """What contradicts itself, or lacks another part, in a table that fits the language."""
    merged = merged_shapes(mapping)
    readings: dict[str, Reading] = {**mapping.shapes} or {"event": mapping}
    for name, shape in merged.items():
        own = readings[name]
        place: Place = ("shapes", name) if mapping.shapes else ()
        if shape.type is None:
            yield Problem(place, "says nowhere where the native type stands (`type`)", Code.MISSING_KEY)
        if shape.identity is None:
            yield Problem(place, "has no `identity` (keys, or `none`)", Code.MISSING_KEY)
        elif shape.each is not None and shape.identity != "none":
            declared: Place = (*(place if own.identity is not None else ()), "identity")
            for key, problem in shared_keys(shape, shape.identity):
                yield Problem((*declared, key), problem, Code.SHARED_KEY)
        if shape.actor is None:
            for at, condition in _conditions(own, place):
                if _asks_for_actor(condition):
                    yield Problem(at, _NO_ACTOR, Code.MISSING_KEY)
    if mapping.shapes and mapping.actor is None and any(shape.actor is None for shape in merged.values()):
        for at, condition in _conditions(mapping, ()):
            if _asks_for_actor(condition):
                yield Problem(at, _NO_ACTOR, Code.MISSING_KEY)
    for number, framing in enumerate(mapping.body):
        if framing.when is not None and mapping.actor is None and _asks_for_actor(framing.when):
            yield Problem(("body", number, "when"), _NO_ACTOR, Code.MISSING_KEY)
        if framing.when is not None and _looks_into_lists(framing.when):
            text = "an envelope is not known by the elements of its lists ([*])"
            yield Problem(("body", number, "when"), text, Code.WRONG_VALUE)
    for at, lookup in _lookups(mapping, ()):
        if lookup.needs_arrival and "time" not in at[-2:]:
            text = "a time without a year is for `time` alone, which takes the year from the arrival"
            yield Problem(at, text, Code.WRONG_VALUE)
    for at, row in each_row(mapping):
        if row.type is None:
            continue
        type, outcome = type_of_row(row, catalogue), outcome_of_row(row, catalogue)
        if type.startswith(ACCESS) and (outcome is Outcome.FAILURE) != type.endswith(ERROR):
            text = f"outcome {outcome} does not agree with the type {type}"
            yield Problem(at, text, Code.OUTCOME_DISAGREES)


_NO_ACTOR = "a condition on `actor` needs the table's `actor`: who did it, and whom it is about"


def each_row(mapping: MappingFile) -> Iterator[tuple[Place, RowWords]]:
    """The rows of a table, and where they stand; those under `also` behind the row that has them."""
    parts: list[tuple[Place, Reading]] = [((), mapping)]
    parts += [(("shapes", name), shape) for name, shape in mapping.shapes.items()]
    for place, reading in parts:
        yield from rows_of(place, reading)


def rows_of(place: Place, reading: Reading) -> Iterator[tuple[Place, RowWords]]:
    """The same of one part of a table."""
    for native, rows in reading.types.items():
        for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
            at: Place = (*place, "types", native, *([number] if isinstance(rows, list) else []))
            yield at, row
            for further, one in enumerate(row.also):
                yield (*at, "also", further), one


def _lookups(value: Any, place: Place) -> Iterator[tuple[Place, Lookup]]:
    """The lookups in a part of a table, and where they stand."""
    if isinstance(value, Lookup):
        yield place, value
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _lookups(getattr(value, name), (*place, field.alias or name))
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _lookups(one, (*place, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _lookups(one, (*place, number))


def _conditions(reading: Reading, place: Place) -> Iterator[tuple[Place, Condition]]:
    """The conditions that stand in one part of a table."""
    for word in ("when", "failed", "inconclusive"):
        condition = getattr(reading, word, None)
        if condition is not None:
            yield (*place, word), condition
    for at, row in rows_of(place, reading):
        if row.when is not None:
            yield (*at, "when"), row.when


def _asks_for_actor(condition: Condition) -> bool:
    return condition.actor is not None or any(_asks_for_actor(one) for one in condition.any_ or [])


def _looks_into_lists(condition: Condition) -> bool:
    paths = [*(condition.has or ()), *(condition.lacks or ()), *condition.requirements]
    return any(Every() in parse_steps(path) for path in paths) or any(map(_looks_into_lists, condition.any_ or ()))


def _no_reason(word: Any, place: Place, catalogue: Catalogue) -> str:
    near = nearest(str(word), [*catalogue.reasons])
    if near is not None:
        return f"{word!r} is not a reason; did you mean {near}?"
    hint = f"; there are {', '.join(catalogue.reasons)}"
    if place[-1] == "reason" or place[-2] == "reason":
        hint += f"; what stands at a path is written {{path: {word}}}"
    return f"{word!r} is not a reason{hint}"


def _given(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """The words that a reason can give, and where they stand."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _given(one, (*place, number))
    elif isinstance(value, dict):
        table = value.get("table")
        if isinstance(table, dict):
            for key, word in table.items():
                yield (*place, "table", key), word
        elif value.get("value") is not None:
            yield (*place, "value"), value["value"]
        if value.get("default") is not None:
            yield (*place, "default"), value["default"]


def _readings(value: Any) -> Iterator[tuple[Place, dict[str, Any]]]:
    if not isinstance(value, dict):
        return
    yield (), value
    shapes = value.get("shapes")
    for name, shape in shapes.items() if isinstance(shapes, dict) else ():
        if isinstance(shape, dict):
            yield ("shapes", name), shape


def _rows(value: Any) -> Iterator[tuple[Place, dict[str, Any]]]:
    for place, reading in _readings(value):
        types = reading.get("types")
        for native, rows in types.items() if isinstance(types, dict) else ():
            for at, row in _objects(rows, (*place, "types", native)):
                yield at, row
                yield from _objects(row.get("also"), (*at, "also"))


def _objects(value: Any, place: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    """An object, or those of a list, and where they stand."""
    if isinstance(value, dict):
        yield place, value
    for number, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, dict):
            yield (*place, number), one
