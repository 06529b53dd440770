"""Why a table made of a raw event what it made: the shape, the row and the path behind every part of the event, and
for each shape and row not taken the condition that failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from adapter.mapping.body import Record
from adapter.mapping.compare import known_by
from adapter.mapping.expressions import compile_condition, compile_value
from adapter.mapping.language import Condition, Lookup, Requirement, Row, Shape
from adapter.mapping.paths import follow, parse_path
from adapter.mapping.shapes import SHAPE, merged_shapes
from adapter.mapping.table import Table


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

    event: dict[str, Any] | None
    problem: str | None
    ignored: bool
    native_type: str | None
    #: Where in the raw event it stands, if that may hold several.
    place: str | None
    #: The values by which it is known again, the first way that holds before the others.
    known_by: str
    shapes: list[Tried]
    rows: list[Tried]
    fields: dict[str, Origin]


def explain(table: Table, record: Record, received_at: int) -> Explanation:
    """Explain one record of a body."""
    result = table.result(record, received_at)
    found = Explanation(
        event=result.event,
        problem=result.problem,
        ignored=result.event is None and result.problem is None,
        native_type=result.native_type,
        place=record.place,
        known_by=known_by(result),
        shapes=[],
        rows=[],
        fields={},
    )
    if record.value is None:
        return found
    shape = _shape(table, record.value, found)
    if shape is None or result.native_type is None:
        return found
    row = _row(table, shape, result.native_type, record.value, found)
    if result.event is not None:
        found.fields.update(_fields(table, shape, row, record.value, result.event))
    return found


def _shape(table: Table, raw: dict[str, Any], found: Explanation) -> Shape | None:
    shapes = merged_shapes(table.mapping)
    # Of a record that holds several events the shape was chosen before it was divided.
    chosen = raw.get(SHAPE)
    for name, shape in shapes.items():
        failed = None if name == chosen else _failed(table, shape, shape.when, raw)
        found.shapes.append(Tried(name=name, taken=failed is None, failed=failed))
        if failed is None:
            return shape
    return None


def _row(table: Table, shape: Shape, native: str, raw: dict[str, Any], found: Explanation) -> Row | None:
    rows = shape.types.get(native)
    name = native
    if rows is None and shape.error_suffix and native.endswith(shape.error_suffix):
        name = native[: -len(shape.error_suffix)]
        rows = shape.types.get(name)
    if rows is None:
        found.rows.append(Tried(name=f"unknown: {shape.unknown or 'quarantine'}", taken=True))
        return None
    several = rows if isinstance(rows, list) else [rows]
    for number, row in enumerate(several):
        failed = _failed(table, shape, row.when, raw)
        place = f"types.{name}.{number}" if isinstance(rows, list) else f"types.{name}"
        found.rows.append(Tried(name=place, taken=failed is None, failed=failed, note=row.note))
        if failed is None:
            return row
    return None


def _fields(
    table: Table, shape: Shape, row: Row | None, raw: dict[str, Any], event: dict[str, Any]
) -> Iterator[tuple[str, Origin]]:
    specified = {**shape.fields, **({} if row is None else row.fields)}
    for name, value in _flat(event):
        if row is not None and name.startswith("details.") and name.removeprefix("details.") in row.details:
            by = "the row's details"
        elif name in specified:
            by = _given_by(table, specified[name], raw) or "its default"
        elif name.startswith("details.") and "details" in specified:
            by = f"{_told(specified['details'])}.{name.removeprefix('details.')}"
        elif name in ("type", "outcome", "reason", "error", "resourceType", "operationType"):
            by = "the row" if row is not None else "the rule for unknown types"
        else:
            by = "the adapter"
        yield name, Origin(value=value, by=by)


def _given_by(table: Table, value: Any, raw: dict[str, Any]) -> str | None:
    """Which of a field's candidates gave the value."""
    for one in value if isinstance(value, list) else [value]:
        paths = one.path if isinstance(one, Lookup) and isinstance(one.path, list) else None
        for candidate in [one.model_copy(update={"path": path}) for path in paths] if paths else [one]:
            if compile_value(table.mapping, candidate)(raw) is not None:
                return _told(candidate)
    return None


def _failed(table: Table, shape: Shape, condition: Condition | None, raw: dict[str, Any]) -> str | None:
    """The first part of a condition that does not hold; ``None`` if all of it does."""
    if condition is None:
        return None
    for part, told in _parts(condition):
        if not compile_condition(table.mapping, part, shape.actor)(raw):
            return told(raw) if isinstance(told, _Unmet) else told
    return None


def _parts(condition: Condition) -> Iterator[tuple[Condition, str | _Unmet]]:
    for path in condition.has or []:
        yield Condition(has=[path]), f"{path} is absent"
    for path in condition.lacks or []:
        yield Condition(lacks=[path]), f"{path} is present"
    if condition.actor is not None:
        yield Condition(actor=condition.actor), f"the actor is not {condition.actor}"
    for path, wanted in condition.requirements.items():
        yield Condition.model_validate({path: wanted}), _Unmet(path, wanted)
    if condition.any_:
        yield Condition(any=condition.any_), "none of the conditions under any holds"


class _Unmet:
    """Tells a requirement beside what was found."""

    def __init__(self, path: str, wanted: Any) -> None:
        self._path = path
        self._wanted = wanted

    def __call__(self, raw: dict[str, Any]) -> str:
        wanted = self._wanted
        if isinstance(wanted, Requirement):
            words = wanted.model_dump(by_alias=True, exclude_none=True)
            wanted = " and ".join(f"{word} {text!r}" for word, text in words.items())
        else:
            wanted = repr(wanted)
        found = follow(raw, parse_path(self._path))
        return f"{self._path} is {'absent' if found is None else repr(found)}, wanted {wanted}"


def _flat(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in event.items():
        if isinstance(value, dict):
            for inner, text in value.items():
                yield f"{name}.{inner}", text
        elif value is not None:
            yield name, str(value)


def _told(value: Any) -> str:
    """A value of the language, as its author wrote it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " or ".join(_told(one) for one in value)
    if value.value is not None:
        return f"the constant {value.value!r}"
    if value.template is not None:
        return str(value.template)
    extra = value.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"path", "table"})
    path = _told(value.path)
    words = [f"{word} {text!r}" for word, text in extra.items()] + (["by its table"] if value.table else [])
    return f"{path} ({', '.join(words)})" if words else path
