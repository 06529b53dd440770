"""Why a table made of a raw event what it made: the shape, the row and the path behind every part of the event, and
for each shape and row not taken the condition that failed. The table itself says it: its function is compiled once
more, with a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from adapter.mapping.body import Record
from adapter.mapping.compile import Result
from adapter.mapping.language import Identity
from adapter.mapping.table import FORWARDER, Table
from adapter.mapping.trace import ARRIVAL, Attempt, Trace, value_text
from adapter.workbench.apply import apply_each
from adapter.workbench.compare import known_by


class Tried(BaseModel):
    """A shape or a row that was tried."""

    name: str
    taken: bool
    #: The part of its condition that did not hold.
    failed: str | None = None
    note: str | None = None


class Origin(BaseModel):
    """A field of the event, and what gave it."""

    value: str
    by: str


class Explanation(BaseModel):
    """See the module's text."""

    #: As `apply` shows it.
    event: dict[str, Any] | None
    #: The name of a further event of its record.
    also: str | None = None
    problem: str | None
    ignored: bool
    #: What the table calls it, if it is a line that it passes over.
    line: str | None
    native_type: str | None
    #: Where in the raw event it stands, if that may hold several.
    place: str | None
    #: The values by which it is deduplicated, the first way that holds before the others; or why there are none.
    known_by: str
    shapes: list[Tried]
    rows: list[Tried]
    fields: dict[str, Origin]
    #: Fields that the table names, and where it found nothing for them.
    absent: dict[str, str]


def explain(table: Table, records: Sequence[Record], received_at: int) -> Iterator[Explanation]:
    """Explain the records of a body, in order; further events of a record behind its first one."""
    trace = Trace()
    traced = table.traced(trace)
    for record, applied in zip(records, apply_each(table, records, received_at), strict=True):
        trace.begin()
        first = _explained(table, trace, record, traced.result(record, received_at), applied[0])
        by_name = {event["source"]["also"]: event for event in applied[1:]}
        further = []
        for name in _names(table, first):
            trace.begin()
            result = traced.result(record, received_at, name)
            if name in by_name:
                further.append(_explained(table, trace, record, result, by_name[name], name))
            else:
                # Why there is no such event.
                first.rows.extend(_tried(one) for one in trace.rows if one.name.endswith(f".also.{name}"))
        yield first
        yield from further


def _names(table: Table, first: Explanation) -> tuple[str, ...]:
    if table.further is None or first.event is None or first.native_type is None:
        return ()
    return table.further(first.native_type)


def _explained(
    table: Table, trace: Trace, record: Record, result: Result, applied: dict[str, Any], name: str | None = None
) -> Explanation:
    keyless = why_keyless(table, trace)
    keyed = result.strong is not None or result.weak is not None
    if result.event is not None and result.event["details"].get("time_source") == FORWARDER:
        trace.fields["time"] = "the forwarder's time"
    return Explanation(
        event=None if result.event is None else applied,
        also=name,
        problem=result.problem,
        ignored=result.event is None and result.problem is None,
        line=record.ignored,
        native_type=result.native_type,
        place=record.place,
        known_by=known_by(result) if keyed or keyless is None else f"nothing: {keyless}",
        shapes=[_tried(one) for one in trace.shapes],
        rows=[_tried(one) for one in trace.rows],
        fields={} if result.event is None else dict(_origins(result.event, trace.fields)),
        absent={} if result.event is None else dict(_absent(table, result.event, trace)),
    )


def shape_taken(trace: Trace) -> str | None:
    """The shape that read an event."""
    return next((one.name for one in trace.shapes if one.failed is None), None)


def why_keyless(table: Table, trace: Trace) -> str | None:
    """Why the event of a trace has no key, if it has none; ``None`` if no shape read it."""
    name = shape_taken(trace)
    if name is None:
        return None
    if not isinstance(table.shapes[name].identity, Identity):
        return "the table says that it has no key"
    absent = list(dict.fromkeys(trace.keyless))
    if not absent:
        return "what stands at its paths is no value"
    return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} absent"


def _tried(attempt: Attempt) -> Tried:
    return Tried(name=attempt.name, taken=attempt.failed is None, failed=attempt.failed, note=attempt.note)


def _absent(table: Table, event: dict[str, Any], trace: Trace) -> Iterator[tuple[str, str]]:
    """The fields that the shape and the row of an event name and that it does not have, and where they would stand."""
    shape_name = shape_taken(trace)
    if shape_name is None:
        return
    shape = table.shapes[shape_name]
    # The last one that was taken is the row of this event: that of a further one comes behind its record's.
    taken = [one.name for one in trace.rows if one.failed is None][-1:]
    fields = dict(shape.fields)
    for native, rows in shape.types.items():
        for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
            name = f"types.{native}.{number}" if isinstance(rows, list) else f"types.{native}"
            for place, one in [(name, row), *((f"{name}.also.{one.name}", one) for one in row.also)]:
                if place in taken:
                    fields.update(one.fields)
    for field, value in fields.items():
        owner, _, inner = field.rpartition(".")
        part = event.get(owner) or {} if owner else event
        arrived = field == "time" and trace.fields.get("time") == ARRIVAL
        if field != "details" and (arrived or inner not in part) and not value_text(value).startswith("@"):
            yield field, value_text(value)


def _origins(event: dict[str, Any], by: dict[str, str]) -> Iterator[tuple[str, Origin]]:
    """The fields of an event with their values, and what gave them: the adapter where no line of the table did."""
    for name, value in event.items():
        for inner, text in value.items() if isinstance(value, dict) else [(None, value)]:
            if text is not None:
                field = name if inner is None else f"{name}.{inner}"
                yield field, Origin(value=str(text), by=by.get(field, "the adapter"))
