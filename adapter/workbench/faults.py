"""What the examples show to be wrong with a table that can be used, and with the examples themselves. A table that runs
may go on with each of them, so they are errors only to whoever checks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapter.finding_codes import Code
from adapter.mapping.catalogue import ACCESS
from adapter.mapping.complaints import Place, nearest
from adapter.mapping.refusals import each_row
from adapter.mapping.rows import outcome_of_row, type_of_row
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table
from adapter.mapping.trace import value_text
from adapter.model import Outcome
from adapter.workbench.columns import columns_of
from adapter.workbench.examples import Placed
from adapter.workbench.leaks import leaks
from adapter.workbench.shown import Shown, all_missed, lookups, paths, readings, records_of

#: Paths among which the one is looked for that was meant.
_PATHS = 500
#: What a path of a condition may be a slip of.
_CONDITION_WORDS = ("has", "lacks", "any", "actor")
#: As JSONPath begins; here a path begins with its first key.
_JSONPATH = "$"


@dataclass(frozen=True)
class Fault:
    """One fault."""

    #: In the table's file, or the example that has it.
    place: Place | Placed
    text: str
    code: Code


def faults(table: Table, placed: Sequence[Placed], shown: Shown) -> Iterator[Fault]:
    """All faults that are no other finding of the check's."""
    yield from _missed(table, placed, shown)
    yield from _times(table, shown)
    yield from _lookups(table, shown)
    yield from _reasons(table)
    yield from _details(table, shown)
    for one in placed:
        for place, what in leaks(table, one.example):
            text = f"{place} {what}; put a value there that says what it is, such as hidden-1"
            yield Fault(one, text, Code.SECRET_IN_EXAMPLE)


def _missed(table: Table, placed: Sequence[Placed], shown: Shown) -> Iterator[Fault]:
    """Each path that no example has, where it stands first."""
    told = set()
    there: list[str] | None = None
    for place, found in paths(table.mapping):
        if found not in shown.missed or found in told:
            continue
        told.add(found)
        path, inner = found
        text = jsonpath_text(path)
        if text is not None:
            yield Fault(place, text, Code.JSONPATH)
        elif placed:
            where = path if inner is None else f"{inner} in the JSON of {path}"
            if there is None:
                there = _paths_of(table, placed)
            near = nearest(path, _CONDITION_WORDS) if place[-1] == path else None
            near = near or (nearest(path, there) if inner is None else None)
            right = "add an example that has it, or mend the path" if near is None else f"did you mean {near}?"
            text = f"finds nothing in any example: {where}; {right}"
            yield Fault(place, text, Code.PATH_FINDS_NOTHING)


def _paths_of(table: Table, placed: Sequence[Placed]) -> list[str]:
    """The paths that the events of examples have, the most frequent first; as many as a slip is looked for among."""
    values = [record.value for one in placed for record in records_of(table, one) if record.value is not None]
    columns = columns_of(values)
    return sorted(columns, key=lambda path: -len(columns[path]))[:_PATHS]


def jsonpath_text(path: str) -> str | None:
    """What is wrong with a path that is written as JSONPath; ``None`` if it is not."""
    if not path.startswith((f"{_JSONPATH}.", f"{_JSONPATH}[")):
        return None
    right = path.removeprefix(_JSONPATH).removeprefix(".")
    return f"{path} is written as JSONPath, and would look for a key named {_JSONPATH}; here it is {right}"


def _times(table: Table, shown: Shown) -> Iterator[Fault]:
    """Times that stand in examples, and that can be read in none."""
    told = set()
    for place, reading in readings(table.mapping):
        time = reading.fields.get("time")
        key = repr(time)
        if time is None or key in told or shown.times.get(key, True) or all_missed(time, shown.missed):
            continue
        told.add(key)
        text = f"no example's time is read by {value_text(time)}, so every event would have that of its arrival"
        yield Fault((*place, "fields", "time"), f"{text}; say how it is written (`as`)", Code.TIME_MISSED)


def _lookups(table: Table, shown: Shown) -> Iterator[Fault]:
    told = set()
    for place, lookup in lookups(table.mapping):
        key = repr(lookup)
        if key in told:
            continue
        told.add(key)
        wrong = shown.no_address.get(key)
        if wrong is not None:
            text = f"is no address in any example, but {wrong[:100]!r}; leave out `as: ip`, or mend the path"
            yield Fault((*place, "as"), text, Code.NO_ADDRESS)
        for value, one in shown.untranslated.get(key, {}).items():
            if value not in one.example.unknown:
                text = (
                    f"lacks {value[:100]!r} (example {one.example.name!r}), which became the default "
                    f"{lookup.default!r}; add it, or name it under the example's `unknown`"
                )
                yield Fault((*place, "table"), text, Code.VALUE_NOT_IN_TABLE)


def _reasons(table: Table) -> Iterator[Fault]:
    """Rows that say why something failed, and whose events never fail."""
    merged = merged_shapes(table.mapping)
    for place, row in each_row(table.mapping):
        if row.type is None or (row.reason is None and row.error is None):
            continue
        shapes = [merged[str(place[1])]] if place[0] == "shapes" else list(merged.values())
        may_fail = any(
            shape.error_suffix is not None or (shape.failed is not None and row.failable) for shape in shapes
        )
        type = type_of_row(row, table.catalogue)
        fails = outcome_of_row(row, table.catalogue) is Outcome.FAILURE
        if type.startswith(ACCESS) and not fails and not may_fail:
            word = "reason" if row.reason is not None else "error"
            text = f"is of failures, and {type} is none: name the failure ({row.type}_ERROR), or leave it out"
            yield Fault((*place, word), text, Code.REASON_ON_SUCCESS)


def _details(table: Table, shown: Shown) -> Iterator[Fault]:
    """Agreed details whose values are not of their form, each value once: where a row says it, or in an example."""
    told = set()
    for place, row in each_row(table.mapping):
        for name, text in row.details.items():
            agreed = table.catalogue.details.get(name)
            right = None if agreed is None else agreed.misfit(text)
            if right is not None:
                told.add((name, text))
                yield Fault((*place, "details", name), _misfit(name, text, right), Code.DETAIL_FORM)
    for (name, text), (right, one) in shown.misfits.items():
        if (name, text) not in told:
            yield Fault(one, _misfit(name, text, right), Code.DETAIL_FORM)


def _misfit(name: str, text: str, right: str) -> str:
    return f"details.{name} is {text[:100]!r}; it is {right}"
