"""A table as people look at it: each native type that is known of the provider, and what becomes of its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

from pydantic import BaseModel, Field

from adapter.mapping.families import Families
from adapter.mapping.language import PassThrough, Reading, Row, RowWords
from adapter.mapping.rows import outcome_of_row, type_of_row
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table
from adapter.mapping.trace import condition_text, value_text
from adapter.model import Outcome

#: What becomes of the events of a native type; ``several``: its rows' conditions, or its record's further events,
#: differ; ``none``: no row reads it.
Becomes = Literal["success", "failure", "unknown", "several", "ignored", "none"]


#: What becomes of native types without a row.
Unknown = Literal["quarantine", "ignore", "pass through"]


class TypeRow(BaseModel):
    """What one row says."""

    when: str | None = Field(description="Its condition, as its author wrote it; null: always")
    also: str | None = Field(description="Name of the further event of a record that it makes; null: its first one")
    type: str | None = Field(description="Unified type; null: ignored")
    outcome: Outcome | None = Field(description="Where no status of the event says otherwise; null: ignored")
    reason: str | None = Field(description="Of a failure: a word of the reason list, or where it is looked for")
    error: str | None = Field(description="Error code, if it is not the usual one of the reason")
    details: dict[str, str] = Field(description="Constant details")
    note: str | None


class NativeType(BaseModel):
    """One native type, or one family of them. Where its rows differ by shape it comes once for each of them."""

    name: str | None = Field(description="null: what arrived and could not be read")
    becomes: Becomes = Field(
        description="What its events become: by outcome, `ignored`, `several` (conditions decide), or `none`: no row "
        "reads it"
    )
    rows: list[TypeRow] = Field(description="Those that stand under its name, in the order in which they are tried")
    by: str | None = Field(description="Without rows of its own: the native type or family whose rows read it")
    shapes: list[str] = Field(description="Shapes under which its rows stand; empty: at the top, for all of them")
    own: bool = Field(description="Whether they stand in the table's own file, not in one that it extends")
    listed: bool = Field(description="Whether the vendor lists it")
    unmapped: str | None = Field(description="Why it has no row on purpose")
    entries: int | None = Field(None, description="With arrived=1: events and quarantined entries of it in the log")
    quarantined: int | None = Field(None, description="With arrived=1: how many of them have no event")
    lastAt: int | None = Field(None, description="With arrived=1: latest arrival, epoch milliseconds")


class NativeTypes(BaseModel):
    """Each native type that a table, its vendor's list or the log knows."""

    extends: str | None = Field(description="The table from which it takes what its own file does not say")
    unknown: Unknown = Field(description="What happens to types without a row")
    types: list[NativeType]


class KnownTypes:
    """What is known of a table's native types without a look at the log."""

    def __init__(self, table: Table) -> None:
        shapes = merged_shapes(table.mapping).values()
        self._extends = table.mapping.extends
        self._families = Families(native for shape in shapes for native in shape.types)
        self._suffixes = sorted({shape.error_suffix for shape in shapes if shape.error_suffix})
        unknown = [shape.unknown for shape in shapes]
        self._unknown: Unknown = "ignore" if "ignore" in unknown else "quarantine"
        if any(isinstance(one, PassThrough) for one in unknown):
            self._unknown = "pass through"
        listed = table.mapping.catalogue
        vendor = [] if listed is None else [str(native) for native in listed.types]
        unmapped = {} if listed is None else listed.unmapped
        self._types = list(_with_rows(table))
        self._by_name: dict[str | None, NativeType] = {one.name: one for one in self._types}
        for name in dict.fromkeys([*vendor, *unmapped]):
            if name not in self._by_name:
                self._by_name[name] = self._without_rows(name)
                self._types.append(self._by_name[name])
            self._by_name[name].listed = name in vendor
            self._by_name[name].unmapped = unmapped.get(name)

    def with_arrived(self, arrived: Mapping[str | None, tuple[int, int, int]] | None = None) -> NativeTypes:
        """The native types in order of the file, then what only the vendor lists, then what only arrived. ``arrived``:
        of each native type entries, quarantined ones, and the latest arrival."""
        types = self._types
        if arrived is not None:
            new = [self._without_rows(name) for name in arrived if name not in self._by_name]
            types = [_counted(one, arrived.get(one.name)) for one in (*types, *new)]
        return NativeTypes(extends=self._extends, unknown=self._unknown, types=types)

    def _without_rows(self, name: str | None) -> NativeType:
        """A native type that no row names: it may fall to a family, or be the failure of another one."""
        by: str | None = None
        becomes: Becomes = "none"
        if name is not None:
            base = next((name.removesuffix(one) for one in self._suffixes if name.endswith(one)), None)
            if base is not None and base in self._by_name and self._by_name[base].rows:
                by, becomes = base, "failure"
            else:
                by = self._families.of(name)
                becomes = "none" if by is None else self._by_name[by].becomes
        return NativeType(name=name, becomes=becomes, rows=[], by=by, shapes=[], own=True, listed=False, unmapped=None)


def _counted(one: NativeType, arrived: tuple[int, int, int] | None) -> NativeType:
    entries, quarantined, last_at = (0, 0, None) if arrived is None else arrived
    return one.model_copy(update={"entries": entries, "quarantined": quarantined, "lastAt": last_at})


def _with_rows(table: Table) -> Iterator[NativeType]:
    """Those that rows name; rows that stand under several shapes in the same words come once."""
    parts: list[tuple[str | None, Reading]] = [(None, table.mapping), *table.mapping.shapes.items()]
    found: dict[tuple[str, str], NativeType] = {}
    for shape, reading in parts:
        for native, rows in reading.types.items():
            some = rows if isinstance(rows, list) else [rows]
            reason = reading.reason if reading.reason is not None else table.mapping.reason
            told = [*_told(table, some, reason)]
            key = native, repr(told)
            if key not in found:
                found[key] = NativeType(
                    name=native, becomes=_becomes(told), rows=told, by=None, shapes=[], own=_is_own(table, native),
                    listed=False, unmapped=None,
                )  # fmt: skip
            if shape is not None:
                found[key].shapes.append(shape)
    yield from found.values()


def _told(table: Table, rows: Sequence[Row], reason: object) -> Iterator[TypeRow]:
    for row in rows:
        yield _row(table, row, reason)
        for one in row.also:
            yield _row(table, one, reason, also=one.name)


def _row(table: Table, row: RowWords, reason: object, *, also: str | None = None) -> TypeRow:
    type, outcome = None, None
    if row.type is not None:
        type, outcome = type_of_row(row, table.catalogue), outcome_of_row(row, table.catalogue)
    why = row.reason if row.reason is not None else reason if outcome is Outcome.FAILURE and not row.error else None
    return TypeRow(
        when=None if row.when is None else condition_text(row.when),
        also=also,
        type=type,
        outcome=outcome,
        reason=_reason_text(why),
        error=row.error,
        details=dict(row.details),
        note=row.note,
    )


def _reason_text(reason: object) -> str | None:
    """A word of the reason list as it is, a path as where it is looked for."""
    if reason is None:
        return None
    if isinstance(reason, str):
        return reason
    parts = reason if isinstance(reason, list) else [reason]
    return " or ".join(one if isinstance(one, str) else f"by {value_text(one)}" for one in parts)


def _becomes(rows: Sequence[TypeRow]) -> Becomes:
    kinds = {"ignored" if one.outcome is None else one.outcome.value for one in rows}
    if len(kinds) != 1:
        return "several"
    return cast(Becomes, kinds.pop())


def _is_own(table: Table, native: str) -> bool:
    """Whether a native type's rows stand in the table's own file."""
    if table.mapping.extends is None:
        return True
    own = table.own if isinstance(table.own, dict) else {}
    shapes = own.get("shapes") or {}
    return any(native in (part.get("types") or {}) for part in (own, *shapes.values()) if isinstance(part, dict))
