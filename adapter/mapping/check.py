"""The check of a table before anyone relies on it: its types, its rows, its examples."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from adapter.errors import MappingError
from adapter.mapping.body import JSON, NotReadable, Record, UnknownMedia
from adapter.mapping.catalogue import ACCESS, ERROR, Catalogue
from adapter.mapping.compile import Result
from adapter.mapping.document import Document
from adapter.mapping.examples import RECEIVED_AT, Placed, differences, outcome_of, overlooked_examples, read_examples
from adapter.mapping.expressions import compile_condition, compile_value
from adapter.mapping.language import AUTH_FIELDS, Identity, Row, value_paths
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table, read_table
from adapter.resources import mappings_path, schemas_path

#: The type that stands in a draft's row which nobody has decided yet.
UNDECIDED = "DECIDE"


@dataclass(frozen=True)
class Finding:
    """One thing the check has to say."""

    #: An error makes the check fail; a warning does not.
    error: bool
    file: Path
    line: int | None
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {'error' if self.error else 'warning'}: {self.text}"


def is_built_in(file: Path) -> bool:
    """Whether a table's file is one of those that ship with the package: their rows must have examples."""
    return file.parent.parent == mappings_path()


def check_document(
    document: Document, catalogue: Catalogue, folders: Sequence[Path], *, examples: Path | None = None
) -> list[Finding]:
    """All findings about the text of a table; the one that keeps it from being loaded is then the only one."""
    try:
        table = read_table(document, catalogue, folders)
    except MappingError as error:
        return [finding_of(error)]
    return check_table(table, strict=is_built_in(document.file), examples=examples)


def finding_of(error: MappingError) -> Finding:
    """An error as a finding."""
    return Finding(True, Path(str(error.file)), error.line, error.problem)


def check_table(table: Table, *, strict: bool, examples: Path | None = None) -> list[Finding]:
    """All findings about a table that could be loaded.

    ``strict``: a row without an example is an error. ``examples``: the provider's folder, where the table's file is
    not in it.
    """
    findings = [*check_types(table), *_rows(table)]
    try:
        placed = list(read_examples(examples or table.folder))
    except MappingError as error:
        return [*findings, finding_of(error)]
    hits: set[tuple[str, str]] = set()
    for one in placed:
        findings.extend(_example(table, one, hits))
    for overlooked in overlooked_examples(examples or table.folder):
        findings.append(Finding(False, overlooked, None, "is not read; examples stand in examples/*.yaml"))
    findings.extend(_same_name(placed))
    findings.extend(_against_schema(table, placed))
    findings.extend(_without_example(table, hits, strict=strict))
    findings.extend(_merging(table, placed))
    findings.extend(_coverage(table))
    return findings


def _each_row(table: Table) -> Iterator[tuple[str, str, int | None, Row, Sequence[str | int]]]:
    """Shape (or ""), native type, number among several, row, place in the file."""
    top = table.mapping
    parts: list[tuple[str, Any, list[str | int]]] = [("", top, [])]
    parts.extend((name, shape, ["shapes", name]) for name, shape in top.shapes.items())
    for name, reading, place in parts:
        for native, rows in reading.types.items():
            if isinstance(rows, list):
                for number, row in enumerate(rows):
                    yield name, native, number, row, [*place, "types", native, number]
            else:
                yield name, native, None, rows, [*place, "types", native]


def check_types(table: Table) -> Iterator[Finding]:
    """Rows whose type is none of the catalogue's, or not decided yet."""
    catalogue = table.catalogue
    for _, _, _, row, place in _each_row(table):
        if row.type is None:
            continue
        if row.type == UNDECIDED:
            yield _finding(table, place, "is not decided: say which type of the catalogue it is, or `ignore: true`")
            continue
        type = catalogue.canonical(row.type if "." in row.type else ACCESS + row.type)
        if catalogue.known(type) is None:
            near = _nearest(type, [*catalogue.types, *(one + ERROR for one in catalogue.types)])
            yield _finding(table, place, f"{row.type!r} is no type of the catalogue{near}; add it to types.yaml")


def _rows(table: Table) -> Iterator[Finding]:
    """Rows that can never be reached: behind one without a condition, or with the same condition as an earlier."""
    seen: dict[tuple[str, str], list[Row]] = {}
    for shape, native, _, row, place in _each_row(table):
        before = seen.setdefault((shape, native), [])
        for earlier in before:
            if earlier.when is None:
                yield _finding(table, place, "can never be reached: an earlier row of this type has no condition")
                break
            if earlier.when == row.when:
                yield _finding(table, place, "can never be reached: an earlier row has the same condition")
                break
        before.append(row)


def _example(table: Table, placed: Placed, hits: set[tuple[str, str]]) -> Iterator[Finding]:
    example = placed.example
    try:
        found = outcome_of(table, example)
    except ValueError as error:
        yield Finding(True, placed.file, placed.line, f"example {example.name!r}: {error}")
        return
    for event in found:
        native = (event.get("source") or event.get("ignored") or {}).get("nativeType")
        if native is not None:
            hits.add((native, event.get("type", "")))
    if found and not example.expect:
        text = f"example {example.name!r}: expects nothing yet; `mapping accept` writes what the table makes of it"
        yield Finding(True, placed.file, placed.line, text)
        return
    if len(found) != len(example.expect):
        text = f"example {example.name!r}: expected {len(example.expect)} events, found {len(found)}"
        yield Finding(True, placed.file, placed.line, text)
        return
    for number, (expected, event) in enumerate(zip(example.expect, found, strict=True)):
        where = f" (event {number + 1})" if len(found) > 1 else ""
        for difference in differences(expected, event):
            yield Finding(True, placed.file, placed.line, f"example {example.name!r}{where}: {difference}")


def _same_name(placed: Sequence[Placed]) -> Iterator[Finding]:
    """Examples that cannot be told apart in what is said about them."""
    first: dict[str, Placed] = {}
    for one in placed:
        other = first.setdefault(one.example.name, one)
        if other is not one:
            text = f"example {one.example.name!r}: has the name of the one at {other.file}:{other.line}"
            yield Finding(False, one.file, one.line, text)


def _against_schema(table: Table, placed: Sequence[Placed]) -> Iterator[Finding]:
    """Examples that do not fit the JSON Schema of the provider's raw events. The schema documents and never gates, so
    this is a warning: either the example is not what the provider sends, or the schema does not say all."""
    file = schemas_path() / "raw" / f"{table.provider}.schema.json"
    if not file.is_file() or table.folder.parent != mappings_path():
        return
    import jsonschema  # only who checks a table pays for it

    validator = jsonschema.Draft202012Validator(orjson.loads(file.read_bytes()))
    for one in placed:
        if one.example.media != JSON or len(one.example.expect) == 0:
            continue
        for record, expected in zip(_records(table, one), one.example.expect, strict=False):
            if record.value is None or "quarantined" in expected:
                continue
            for error in sorted(validator.iter_errors(record.value), key=lambda error: error.json_path)[:1]:
                problem = f"{error.json_path}: {error.message[:200]}"
                text = f"example {one.example.name!r}: raw does not fit {file.name}: {problem}"
                yield Finding(False, one.file, one.line, text)


def _without_example(table: Table, hits: set[tuple[str, str]], *, strict: bool) -> Iterator[Finding]:
    catalogue = table.catalogue
    for _, native, _, row, place in _each_row(table):
        type = ""
        if row.type is not None:
            type = catalogue.canonical(row.type if "." in row.type else ACCESS + row.type)
        if (native, type) not in hits and (native, type + ERROR) not in hits:
            yield _finding(table, place, f"no example reaches this row (type {native})", error=strict)


def _merging(table: Table, placed: Sequence[Placed]) -> Iterator[Finding]:
    """Identities under which events of one second would become one: no id, whole seconds in all examples, and nothing
    among the keys that two actions of one user would differ in."""
    values = [record.value for one in placed for record in _records(table, one) if record.value is not None]
    for name, shape in merged_shapes(table.mapping).items():
        identity = shape.identity
        if not isinstance(identity, Identity) or not identity.weak:
            continue
        said = {path for field in _SAID_AGAIN for path in value_paths(shape.fields.get(field))}
        said |= {"@native", *value_paths(shape.type)}
        telling = [value for value in identity.weak if not value_paths(value) <= said]
        fits = compile_condition(table.mapping, shape.when, shape.actor)
        moments = []
        for raw in values:
            if not fits(raw):
                continue
            result = Result(*table.read(raw, RECEIVED_AT))
            if result.event is None or result.strong is not None or result.weak is None:
                continue
            if "time_problem" in result.event["details"]:
                continue
            if any(compile_value(table.mapping, value)(raw) is not None for value in telling):
                continue
            moments.append(result.event["time"] % 1000)
        if moments and not any(moments):
            own = table.mapping.shapes.get(name)
            place: list[str | int] = ["identity", "weak"]
            if own is not None and own.identity is not None:
                place = ["shapes", name, *place]
            text = (
                "the times of all examples are whole seconds, and nothing else here tells two events apart: equal ones "
                "of one second that come in separate requests would become one; name an id of the provider under "
                "strong, or a field here that differs"
            )
            yield _finding(table, place, text, error=False)


#: What many events of one user have in common, and the time.
_SAID_AGAIN = ("time", "realmId", "realmName", *(f"authDetails.{name}" for name in AUTH_FIELDS))


def _records(table: Table, placed: Placed) -> list[Record]:
    try:
        return table.split(placed.example.body, placed.example.media)
    except (NotReadable, UnknownMedia):
        return []


def _coverage(table: Table) -> Iterator[Finding]:
    listed = table.mapping.catalogue
    if listed is None:
        return
    covered = {native for shape in merged_shapes(table.mapping).values() for native in shape.types}
    passes = any(shape.unknown not in (None, "quarantine") for shape in merged_shapes(table.mapping).values())
    for number, native in enumerate(listed.types):
        if str(native) not in covered and str(native) not in listed.unmapped and not passes:
            text = f"the vendor's type {native} has no row, and is not listed under catalogue.unmapped"
            yield _finding(table, ["catalogue", "types", number], text)


def _finding(table: Table, place: Sequence[str | int], text: str, *, error: bool = True) -> Finding:
    name = ".".join(str(step) for step in place)
    return Finding(error, table.document.file, table.document.line(place), f"{name}: {text}")


def _nearest(word: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {found[0].removeprefix(ACCESS)}?)" if found else ""
