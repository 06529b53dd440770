"""Why a table made of a raw event what it made: the shape, the row and the path behind every part of the event, and
for each shape and row not taken the condition that failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from adapter.mapping.apply import apply_records
from adapter.mapping.body import Record
from adapter.mapping.catalogue import UNSPECIFIED
from adapter.mapping.compile import Result
from adapter.mapping.expressions import compile_condition, compile_value, entries
from adapter.mapping.language import Condition, Identity, Lookup, Requirement, Row, Shape, value_paths
from adapter.mapping.paths import follow, parse_path
from adapter.mapping.rows import outcome_of_row
from adapter.mapping.scalars import dump
from adapter.mapping.shapes import SHAPE, key_parts, merged_shapes
from adapter.mapping.table import Table
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
    problem: str | None
    ignored: bool
    native_type: str | None
    #: Where in the raw event it stands, if that may hold several.
    place: str | None
    #: The values by which it is deduplicated, the first way that holds before the others; or why there are none.
    known_by: str
    shapes: list[Tried]
    rows: list[Tried]
    fields: dict[str, Origin]


def explain(table: Table, records: Sequence[Record], received_at: int) -> Iterator[Explanation]:
    """Explain the records of a body, in order."""
    for record, applied in zip(records, apply_records(table, records, received_at), strict=True):
        yield _explained(table, record, applied, received_at)


def _explained(table: Table, record: Record, applied: dict[str, Any], received_at: int) -> Explanation:
    result = table.result(record, received_at)
    found = Explanation(
        event=None if result.event is None else applied,
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
    if shape is None:
        return found
    if result.strong is None and result.weak is None:
        found.known_by = f"nothing: {without_key(table, shape, record.value)}"
    if result.native_type is None:
        return found
    raw = _spread(shape, record.value)
    row = _row(table, shape, result.native_type, raw, found)
    if result.event is not None:
        found.fields.update(_Origins(table, shape, row, raw, result).of_fields(result.event))
    return found


def shape_of(table: Table, raw: dict[str, Any]) -> str | None:
    """The shape that reads a raw event."""
    return next((name for name, _, failed in _tried_shapes(table, raw) if failed is None), None)


def _tried_shapes(table: Table, raw: dict[str, Any]) -> Iterator[tuple[str, Shape, str | None]]:
    """The shapes in order, each with the part of its condition that does not hold."""
    # Of a record that holds several events the shape was chosen before it was divided.
    chosen = raw.get(SHAPE)
    for name, shape in merged_shapes(table.mapping).items():
        yield name, shape, None if name == chosen else _failed(table, shape, shape.when, raw)


def without_key(table: Table, shape: Shape, raw: dict[str, Any]) -> str | None:
    """Why a raw event has no key; ``None`` if it has one."""
    identity = shape.identity
    if not isinstance(identity, Identity):
        return "the table says that it has no key"
    raw = _spread(shape, raw)
    absent: list[str] = []
    for one in ([] if identity.strong is None else [identity.strong], key_parts(shape)):
        if any(compile_value(table.mapping, value)(raw) is not None for value in one):
            return None
        paths = sorted({path for value in one for path in value_paths(value)})
        absent += [path for path in paths if compile_value(table.mapping, path)(raw) is None and path not in absent]
    return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} absent"


def _spread(shape: Shape, raw: dict[str, Any]) -> dict[str, Any]:
    """A raw event with the entries that a shape reads beside it."""
    for path in shape.beside:
        raw = {**raw, **entries(follow(raw, parse_path(path)))}
    return raw


def _shape(table: Table, raw: dict[str, Any], found: Explanation) -> Shape | None:
    for name, shape, failed in _tried_shapes(table, raw):
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


_BY_REASON = "the usual code of its reason"


class _Origins:
    """What gave each field of one event."""

    def __init__(self, table: Table, shape: Shape, row: Row | None, raw: dict[str, Any], result: Result) -> None:
        self._table = table
        self._shape = shape
        self._row = row
        self._raw = raw
        self._native = result.native_type or ""
        self._specified = {**shape.fields, **({} if row is None else row.fields)}
        suffix = shape.error_suffix
        #: What made a failure of an event whose row is none.
        self._turned: str | None = None
        if suffix and self._native.endswith(suffix) and self._native not in shape.types:
            self._turned = f"error_suffix {suffix!r}"
        elif shape.failed is not None and self._may_fail() and _failed(table, shape, shape.failed, raw) is None:
            self._turned = f"failed: {_condition(shape.failed)}"

    def of_fields(self, event: dict[str, Any]) -> Iterator[tuple[str, Origin]]:
        """The fields with their values and origins."""
        for name, value in _flat(event):
            yield name, Origin(value=value, by=self._by(name, event))

    def _by(self, name: str, event: dict[str, Any]) -> str:
        row, specified = self._row, self._specified
        if row is not None and name.startswith("details.") and name.removeprefix("details.") in row.details:
            return "the row's details"
        if name in specified:
            given = _given_by(self._table, specified[name], self._raw)
            if given is not None or name not in ("resourceType", "operationType", "error"):
                return given or "its default"
        elif name.startswith("details.") and "details" in specified:
            return f"{_told(specified['details'])}.{name.removeprefix('details.')}"
        if name in ("resourceType", "operationType"):
            return "the type"
        unnamed = "the row" if row is not None else "the rule for unknown types"
        if name == "type":
            return unnamed if self._turned is None else f"{unnamed}, as a failure ({self._turned})"
        if name == "outcome":
            return self._of_outcome(unnamed, event)
        if name == "error":
            return "the row" if row is not None and row.error is not None else _BY_REASON
        return self._of_reason(event) if name == "reason" else "the adapter"

    def _of_outcome(self, unnamed: str, event: dict[str, Any]) -> str:
        shape = self._shape
        if event["outcome"] == "failure":
            return self._turned or unnamed
        if shape.inconclusive is not None and event["outcome"] == "unknown":
            row = self._row
            settled = row is not None and outcome_of_row(row, self._table.catalogue) == "unknown"
            if not settled and _failed(self._table, shape, shape.inconclusive, self._raw) is None:
                return f"inconclusive: {_condition(shape.inconclusive)}"
        return "the row" if self._row is not None and self._row.outcome is not None else "the type"

    def _of_reason(self, event: dict[str, Any]) -> str:
        row, catalogue = self._row, self._table.catalogue
        of_row = row is not None and (row.reason is not None or row.error is not None)
        value = row.reason if row is not None and of_row else self._shape.reason
        if isinstance(value, str) and of_row:
            return "the row"
        if value is not None:
            given = compile_value(self._table.mapping, value)(self._raw)
            if given in catalogue.reasons:
                # A default is given by no path.
                told = _given_by(self._table, value, self._raw) or _told(value)
                return f"{'the row: ' if of_row else ''}{told}"
        named = event["reason"] != UNSPECIFIED and self._by("error", event) != _BY_REASON
        return "the error" if named else "nothing says why"

    def _may_fail(self) -> bool:
        """Whether the row is of a success that the table's `failed` condition turns into a failure."""
        row = self._row
        return row is not None and row.failable and outcome_of_row(row, self._table.catalogue) != "failure"


def _condition(condition: Condition) -> str:
    """A condition as its author wrote it."""
    told = condition.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dump(told, flow=True).strip().removeprefix("{").removesuffix("}")


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
