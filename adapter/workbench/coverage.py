"""A vendor's own list of types held against a table's rows."""

from __future__ import annotations

from pydantic import BaseModel

from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table


class Coverage(BaseModel):
    """Native types, each in one of the lists."""

    #: Listed by the vendor, and there is a row.
    covered: list[str]
    #: Listed by the vendor, and there is none.
    missing: list[str]
    #: Listed by the vendor, and without a row on purpose; with the reason.
    unmapped: dict[str, str]
    #: There is a row, but the vendor's list does not have it.
    extra: list[str]
    #: What happens to types without a row.
    unknown: str


def rows_of(table: Table) -> set[str]:
    """The native types that a table has rows for, the failing twins included."""
    shapes = merged_shapes(table.mapping)
    rows = {native for shape in shapes.values() for native in shape.types}
    suffixes = {shape.error_suffix for shape in shapes.values() if shape.error_suffix}
    return rows | {native + suffix for native in rows for suffix in suffixes if not native.endswith(suffix)}


def coverage(table: Table) -> Coverage:
    """How far a table covers the vendor's list."""
    shapes, rows = merged_shapes(table.mapping), rows_of(table)
    listed = table.mapping.catalogue
    vendor = [] if listed is None else [str(native) for native in listed.types]
    unmapped = {} if listed is None else listed.unmapped
    passes = [shape.unknown for shape in shapes.values() if shape.unknown not in (None, "quarantine")]
    return Coverage(
        covered=[native for native in vendor if native in rows],
        missing=[native for native in vendor if native not in rows and native not in unmapped],
        unmapped=unmapped,
        extra=sorted(rows - set(vendor)) if listed is not None else [],
        unknown="pass through" if passes else "quarantine",
    )
