"""A vendor's own list of types held against a table's rows."""

from __future__ import annotations

from pydantic import BaseModel

from adapter.mapping.families import Families, is_family
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table


class Coverage(BaseModel):
    """Native types, each in one of the lists."""

    #: Listed by the vendor, and there is a row.
    covered: list[str]
    #: Family: the types that are listed by the vendor, have no row of their own, and fall to it.
    families: dict[str, list[str]]
    #: Listed by the vendor, and there is none.
    missing: list[str]
    #: Listed by the vendor, and without a row on purpose; with the reason.
    unmapped: dict[str, str]
    #: There is a row, but the vendor's list does not have it.
    extra: list[str]
    #: What happens to types without a row.
    unknown: str


def rows_of(table: Table) -> set[str]:
    """The native types that a table has rows of their own for, the failing twins included."""
    rows: set[str] = set()
    for shape in merged_shapes(table.mapping).values():
        named = {native for native in shape.types if not is_family(native)}
        suffix = shape.error_suffix
        rows |= named | {native + suffix for native in named if suffix and not native.endswith(suffix)}
    return rows


def families_of(table: Table) -> Families:
    """The families that a table has rows for."""
    return Families(native for shape in merged_shapes(table.mapping).values() for native in shape.types)


def coverage(table: Table) -> Coverage:
    """How far a table covers the vendor's list."""
    shapes, rows, families = merged_shapes(table.mapping), rows_of(table), families_of(table)
    listed = table.mapping.catalogue
    vendor = [] if listed is None else [str(native) for native in listed.types]
    unmapped = {} if listed is None else listed.unmapped
    passes = [shape.unknown for shape in shapes.values() if shape.unknown not in (None, "quarantine")]
    fallen: dict[str, list[str]] = {}
    missing = []
    for native in vendor:
        if native in rows or native in unmapped:
            continue
        family = families.of(native)
        if family is None:
            missing.append(native)
        else:
            fallen.setdefault(family, []).append(native)
    return Coverage(
        covered=[native for native in vendor if native in rows],
        families=dict(sorted(fallen.items())),
        missing=missing,
        unmapped=unmapped,
        extra=sorted(rows - set(vendor)) if listed is not None else [],
        unknown="pass through" if passes else "quarantine",
    )
