"""The check of a table before anyone relies on it: its types, its rows, its examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from adapter.errors import MappingError
from adapter.finding_codes import Code
from adapter.mapping.body import JSON
from adapter.mapping.catalogue import ERROR, Catalogue
from adapter.mapping.compile import Result
from adapter.mapping.complaints import Place, Problem
from adapter.mapping.document import NO_TEXTS, Document, Texts
from adapter.mapping.exact import parse_json
from adapter.mapping.expressions import compile_condition, compile_value
from adapter.mapping.extend import is_void
from adapter.mapping.families import is_family
from adapter.mapping.language import AUTH_FIELDS, UNBOUND, AlsoRow, Condition, Identity, JwtCredential, value_paths
from adapter.mapping.redact import unseen
from adapter.mapping.refusals import each_row, wrong_types
from adapter.mapping.rows import type_of_row
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table, read_table
from adapter.resources import mappings_path, schemas_path
from adapter.workbench.coverage import families_of, rows_of
from adapter.workbench.examples import RECEIVED_AT, Placed, differences, outcome_of, overlooked_examples, read_examples
from adapter.workbench.faults import faults, jsonpath_text
from adapter.workbench.shown import Shown, all_missed, look, records_of


@dataclass(frozen=True)
class Finding:
    """One thing the check has to say."""

    #: An error makes the check fail; a warning does not.
    error: bool
    file: Path
    #: Both from 1, the column in characters; ``None`` where it is about the file as a whole.
    line: int | None
    column: int | None
    text: str
    code: Code

    def __str__(self) -> str:
        where = ":".join(str(one) for one in (self.file, self.line, self.column) if one is not None)
        return f"{where}: {'error' if self.error else 'warning'}: {self.text} [{self.code}]"


#: What an example reaches: a native type, the name of a further event of its record, and the unified type.
_Hit = tuple[str, str | None, str]


def is_built_in(file: Path) -> bool:
    """Whether a table's file is one of those that ship with the package: their rows must have examples."""
    return file.parent.parent == mappings_path()


def check_document(
    document: Document,
    catalogue: Catalogue,
    folders: Sequence[Path],
    *,
    examples: Path | None = None,
    texts: Texts = NO_TEXTS,
) -> list[Finding]:
    """All findings about the text of a table; what keeps it from being loaded are then the only ones."""
    try:
        table = read_table(document, catalogue, folders, texts)
    except MappingError as error:
        return findings_of(error)
    return check_table(table, strict=is_built_in(document.file), examples=examples, texts=texts)


def findings_of(error: MappingError) -> list[Finding]:
    """An error as findings."""
    return [
        Finding(True, Path(str(one.file)), one.line, one.column, one.problem, one.code or Code.NOT_READABLE)
        for one in error.each
    ]


def check_table(
    table: Table, *, strict: bool, examples: Path | None = None, in_use: bool = False, texts: Texts = NO_TEXTS
) -> list[Finding]:
    """All findings about a table that could be loaded: those about its file in order of their lines, then those about
    its examples.

    ``strict``: a row without an example is an error. ``examples``: the provider's folder, where the table's file is
    not in it. ``in_use``: what a table may run with is a warning, so that one that ran before goes on. ``texts`` stand
    for those of example files.
    """
    unreachable = {one.place: one for one in _unreachable(table)}
    findings = [*check_types(table.document, table.catalogue), *_unbound_tokens(table)]
    findings += [_finding(table.document, one) for one in unreachable.values()]
    try:
        placed = list(read_examples(examples or table.folder, texts=texts))
    except MappingError as error:
        return [*_in_order(findings), *findings_of(error)]
    hits: set[_Hit] = set()
    about = [finding for one in placed for finding in _example(table, one, hits)]
    for overlooked in overlooked_examples(examples or table.folder):
        text = "is not read; examples stand in examples/*.yaml"
        about.append(Finding(False, overlooked, None, None, text, Code.NOT_READ))
    about.extend(_same_name(placed))
    about.extend(_against_schema(table, placed))
    findings.extend(_without_example(table, hits, strict=strict))
    findings.extend(_redactions(table, placed, error=not in_use))
    shown = look(table, placed)
    findings.extend(_without_key(table, shown))
    for fault in faults(table, placed, shown):
        if isinstance(fault.place, Placed):
            about.append(_about(fault.place, fault.text, fault.code, error=not in_use))
        elif _is_own(table, fault.place) and not any(fault.place[: len(one)] == one for one in unreachable):
            problem = Problem(fault.place, fault.text, fault.code)
            findings.append(_finding(table.document, problem, error=not in_use))
    findings.extend(_merging(table, placed))
    findings.extend(_coverage(table))
    return [*_in_order(findings), *about]


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: one.line or 0)


def check_types(document: Document, catalogue: Catalogue) -> Iterator[Finding]:
    """Rows whose type is none of the catalogue's, or not decided yet."""
    for problem in wrong_types(document.value, catalogue):
        yield _finding(document, problem)


def _unreachable(table: Table) -> Iterator[Problem]:
    """Rows and shapes that can never be reached: behind one without a condition, or with the condition of an earlier
    one."""
    several: dict[Place, list[tuple[Place, Condition | None]]] = {}
    for name, shape in table.mapping.shapes.items():
        several.setdefault(("shapes",), []).append((("shapes", name), shape.when))
    for place, row in each_row(table.mapping):
        if isinstance(place[-1], int) and not isinstance(row, AlsoRow):
            several.setdefault(place[:-1], []).append((place, row.when))
    for ordered in several.values():
        for number, (place, when) in enumerate(ordered):
            for before, earlier in ordered[:number]:
                if earlier is None or earlier == when:
                    has = "has no condition" if earlier is None else "has the same condition"
                    problem = f"can never be reached: {'.'.join(map(str, before))} before it {has}"
                    yield Problem(place, problem, Code.UNREACHABLE)
                    break


def _unbound_tokens(table: Table) -> Iterator[Finding]:
    """Signed tokens that come with any body."""
    for number, credential in enumerate(table.mapping.auth):
        if isinstance(credential, JwtCredential) and credential.jwt.body_hash is None:
            place = ("auth", number)
            if _is_own(table, place):
                text = f"{UNBOUND}; if a claim holds the hash of the body, name it under body_hash"
                yield _finding(table.document, Problem((*place, "jwt"), text, Code.UNBOUND_TOKEN), error=False)


def _example(table: Table, placed: Placed, hits: set[_Hit]) -> Iterator[Finding]:
    example = placed.example
    try:
        found = outcome_of(table, example)
    except ValueError as error:
        yield _about(placed, str(error), Code.EXAMPLE_NOT_TAKEN)
        return
    for event in found:
        told = event.get("source") or event.get("ignored") or {}
        native = told.get("nativeType")
        if native is not None:
            hits.add((native, told.get("also"), event.get("type", "")))
    if found and not example.expect:
        text = "expects nothing yet; `mapping accept` writes what the table makes of it"
        yield _about(placed, text, Code.EXAMPLE_EMPTY)
        return
    if len(found) != len(example.expect):
        text = f"expected {len(example.expect)} events, found {len(found)}"
        yield _about(placed, text, Code.EXAMPLE_DIFFERS)
        return
    for number, (expected, event) in enumerate(zip(example.expect, found, strict=True)):
        which = f" (event {number + 1})" if len(found) > 1 else ""
        if expected.keys().isdisjoint(event):
            # Why it is no event says it all; what it lacks is everything.
            problems: Iterable[str] = [f"expected {_kind(expected)}, is {_kind(event)}"]
        else:
            problems = differences(expected, event)
        for problem in problems:
            yield _about(placed, problem, Code.EXAMPLE_DIFFERS, which=which)


def _kind(event: dict[str, Any]) -> str:
    """What became of a raw event, for people."""
    told = event.get("quarantined")
    if isinstance(told, dict):
        return f"quarantined: {told.get('problem')}"
    return "ignored" if "ignored" in event else f"an event of type {event.get('type')}"


def _same_name(placed: Sequence[Placed]) -> Iterator[Finding]:
    """Examples that cannot be told apart in what is said about them."""
    first: dict[str, Placed] = {}
    for one in placed:
        other = first.setdefault(one.example.name, one)
        if other is not one:
            text = f"has the name of the one at {other.file}:{other.line}"
            yield _about(one, text, Code.DUPLICATE_NAME, error=False)


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
        # Of several events of a record the first one stands for it.
        first = [event for event in one.example.expect if "also" not in (event.get("source") or ())]
        for record, expected in zip(records_of(table, one), first, strict=False):
            if record.value is None or "quarantined" in expected:
                continue
            for error in sorted(validator.iter_errors(record.value), key=lambda error: error.json_path)[:1]:
                problem = f"{error.json_path}: {error.message[:200]}"
                yield _about(one, f"raw does not fit {file.name}: {problem}", Code.RAW_SCHEMA, error=False)


def _without_example(table: Table, hits: set[_Hit], *, strict: bool) -> Iterator[Finding]:
    """Rows of the table's own file that no example reaches; those that it extends have examples beside them."""
    rows, families = rows_of(table), families_of(table)
    hits = hits | {(families.of(native) or "", name, type) for native, name, type in hits if native not in rows}
    for place, row in each_row(table.mapping):
        native = str(place[place.index("types") + 1])
        type = "" if row.type is None else type_of_row(row, table.catalogue)
        name = row.name if isinstance(row, AlsoRow) else None
        if hits.isdisjoint([(native, name, type), (native, name, type + ERROR)]) and _is_own(table, place):
            problem = Problem(place, f"no example reaches this row (type {native})", Code.NO_EXAMPLE)
            yield _finding(table.document, problem, error=strict)


def _is_own(table: Table, place: Place) -> bool:
    """Whether the table's own file says something there."""
    value = table.own
    for step in place:
        if isinstance(value, list):
            return True
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True


def _redactions(table: Table, placed: Sequence[Placed], *, error: bool) -> Iterator[Finding]:
    """Redactions that no example shows anything of: what is mistyped there hides nothing."""
    records = [record for one in placed for record in records_of(table, one)]
    # Of a record that was divided, the whole is looked at.
    events = [one.value if one.place is None else parse_json(one.raw) for one in records if one.value is not None]
    if not events:
        return
    given = table.own.get("redact") or []
    # Its own come first; those that it takes away are none.
    own = [number for number, one in enumerate(given) if not is_void(one)]
    for number, missing in unseen(table.mapping.redact, events):
        if number < len(own):
            path, code = table.mapping.redact[number].in_, Code.REDACTION_FINDS_NOTHING
            text = f"no example has {missing} in it, so nothing shows that it is found there"
            if jsonpath_text(path) is not None:
                text, code = f"in: {jsonpath_text(path)}", Code.JSONPATH
            yield _finding(table.document, Problem(("redact", own[number]), text, code), error=error)


def _without_key(table: Table, shown: Shown) -> Iterator[Finding]:
    """Identities that give no example's event a key."""
    for name, told in shown.keys.items():
        own = table.mapping.shapes.get(name)
        place: Place = ("identity",) if own is None or own.identity is None else ("shapes", name, "identity")
        identity = table.shapes[name].identity
        if None not in told and isinstance(identity, Identity) and _is_own(table, place):
            if all_missed([*([identity.strong] if identity.strong else []), *(identity.weak or [])], shown.missed):
                continue  # that its paths find nothing says it all
            where = f" of shape {name}" if len(place) == 1 and own is not None else ""
            text = (
                f"names no event{where} in any example ({told[0]}), so that one sent twice would be two; say where "
                "its id stands, or `none` if it has no key"
            )
            yield _finding(table.document, Problem(place, text, Code.NO_KEY), error=False)


def _merging(table: Table, placed: Sequence[Placed]) -> Iterator[Finding]:
    """Identities under which events of one second would become one: no id, whole seconds in all examples, and nothing
    among the keys that two actions of one user would differ in."""
    values = [record.value for one in placed for record in records_of(table, one) if record.value is not None]
    for name, shape in merged_shapes(table.mapping).items():
        identity = shape.identity
        if not isinstance(identity, Identity) or not identity.weak:
            continue
        said = {path for field in _SAID_AGAIN for path in value_paths(shape.fields.get(field))}
        said |= {"@native", *value_paths(shape.type)}
        telling = [value for value in identity.weak if not value_paths(value) <= said]
        fits = compile_condition(table.mapping, shape.when, shape.actor)
        timestamps = []
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
            timestamps.append(result.event["time"] % 1000)
        if timestamps and not any(timestamps):
            own = table.mapping.shapes.get(name)
            place: Place = ("identity", "weak")
            if own is not None and own.identity is not None:
                place = ("shapes", name, *place)
            text = (
                "the times of all examples are whole seconds, and nothing else here tells two events apart: equal ones "
                "of one second that come in separate requests would become one; name an id of the provider under "
                "strong, or a field here that differs"
            )
            yield _finding(table.document, Problem(place, text, Code.MERGING_IDENTITY), error=False)


#: What many events of one user have in common, and the time.
_SAID_AGAIN = ("time", "realmId", "realmName", *(f"authDetails.{name}" for name in AUTH_FIELDS))


def _coverage(table: Table) -> Iterator[Finding]:
    listed = table.mapping.catalogue
    if listed is None:
        return
    rows, families = rows_of(table), families_of(table)
    passes = any(shape.unknown not in (None, "quarantine") for shape in merged_shapes(table.mapping).values())
    fallen: set[str | None] = set()
    for number, named in enumerate(listed.types):
        native = str(named)
        family = None if native in rows else families.of(native)
        fallen.add(family)
        if native in listed.unmapped:
            if native in rows or family is not None:
                text = f"is said to have no row on purpose, but {family or 'a row of its own'} reads it"
                yield _finding(table.document, Problem(("catalogue", "unmapped", native), text, Code.LISTED_UNMAPPED))
        elif native not in rows and family is None and not passes:
            text = f"the vendor's type {native} has no row, and is not listed under catalogue.unmapped"
            yield _finding(table.document, Problem(("catalogue", "types", number), text, Code.NOT_LISTED))
    for place in dict.fromkeys(place[: place.index("types") + 2] for place, _ in each_row(table.mapping)):
        if is_family(str(place[-1])) and place[-1] not in fallen and _is_own(table, place):
            text = "no type of catalogue.types falls to this family"
            yield _finding(table.document, Problem(place, text, Code.IDLE_FAMILY), error=False)


def _finding(document: Document, problem: Problem, *, error: bool = True) -> Finding:
    """What there is to say about a part of a table's file."""
    name = ".".join(str(step) for step in problem.place)
    line, column = document.position(problem.place)
    return Finding(error, document.file, line, column, f"{name}: {problem.text}", problem.code)


def _about(placed: Placed, text: str, code: Code, *, which: str = "", error: bool = True) -> Finding:
    """What there is to say about an example, or about one of its events (``which``)."""
    told = f"example {placed.example.name!r}{which}: {text}"
    return Finding(error, placed.file, placed.line, placed.column, told, code)
