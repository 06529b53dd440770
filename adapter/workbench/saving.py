"""What saving a user's table would do, before anything is written: what the check finds, what becomes different, and
the texts that would be written. Works for a process of its own, as in `adapter.workbench.trial`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
from pydantic import BaseModel, Field

from adapter.errors import MappingError, RequestError
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.document import NO_TEXTS, Document, Texts
from adapter.mapping.table import Table, load_table, table_file
from adapter.workbench.accept import changes, digest, rewritten
from adapter.workbench.check import Finding, check_table, findings_of
from adapter.workbench.compare import Difference, changed_identity, table_changes
from adapter.workbench.trial import ChangedExample, Folders, read_unsaved, table_of, told_change
from adapter.workbench.unsaved import MAPPING, TYPES, is_own, place_of, texts_of, texts_without


class Outcome(BaseModel):
    """What saving would do."""

    ok: bool = Field(description="Whether there is no error; warnings do not count")
    findings: list[Finding] = Field(
        description="What the check says about the files as they would be, and which other tables they would break"
    )
    examples: list[Difference] = Field(description="Examples of the table in use that would be read differently")
    identity: str | None = Field(
        description="Where one sees that events would be known by other keys; null if they would not"
    )
    expectations: list[ChangedExample] = Field(description="Examples, as they would be saved, that expect otherwise")
    seen: str = Field(description="Names these expectations; send it as `seen` to have them rewritten")


class Prepared(Outcome):
    """The same with what would be written."""

    texts: dict[Path, str | None] = Field(description="Of the files that would be others; null: of no such file")
    #: The new table's files and texts; empty: no table would be left.
    table: dict[Path, str | None]


def prepare(
    folders: Folders,
    into: Path | None,
    provider: str,
    body: bytes,
    in_use: Texts | None,
    others: Mapping[str, bool],
    seen: str | None,
) -> bytes:
    """`Prepared`, of the files that a body brings (`Unsaved`). ``into``: where they are to stand, if not where the
    table lies; ``others``: users' other tables, and whether they rest on this one; ``seen``: have expectations of this
    name rewritten.

    Raises:
        RequestError: the files are none of a table's, or ``seen`` names others.
    """
    try:
        given = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise RequestError(400, "Bad request", 'send a JSON object: {"mapping": TEXT, "files": {NAME: TEXT}}')
    unsaved = read_unsaved(given)
    home = place_of(folders, provider) if into is None else into / provider / MAPPING
    if unsaved.mapping is None and not (home.is_file() and is_own(home)):
        raise RequestError(
            400, "Bad request", f"mapping is missing: there is no table of your own for {provider!r} yet"
        )
    if table_file(provider, folders) is None:
        _refuse_unread_types(home.parent.parent / TYPES, unsaved.files.get(TYPES, ""))
    return _prepared(folders, provider, dict(texts_of(folders, provider, unsaved, into=into)), in_use, others, seen)


def prepare_removal(
    folders: Folders, into: Path | None, provider: str, in_use: Texts | None, others: Mapping[str, bool]
) -> bytes:
    """`Prepared`, of a table that is to go.

    Raises:
        RequestError: 409, it is none of those that are saved.
    """
    file = place_of(folders, provider) if into is None else into / provider / MAPPING
    if not file.is_file() or not is_own(file):
        present = table_file(provider, folders)
        where = "comes with the adapter" if present is None or not is_own(present) else f"lies in {present.parent}"
        raise RequestError(409, "Not yours to change", f"this table {where}, and was not saved over HTTP")
    return _prepared(folders, provider, dict(texts_without(file.parent)), in_use, others, None)


def _prepared(
    folders: Folders,
    provider: str,
    texts: dict[Path, str | None],
    in_use: Texts | None,
    others: Mapping[str, bool],
    seen: str | None,
) -> bytes:
    types = any(file.name == TYPES for file in texts)
    findings = list(_broken(folders, [name for name, rests in others.items() if rests or types], texts))
    examples: list[Difference] = []
    identity: str | None = None
    expectations: list[ChangedExample] = []
    name, table = digest([]), None
    file = table_file(provider, folders, texts)
    try:
        if file is not None:
            table = load_table(file, load_catalogue(folders, texts), folders, texts)
            name, expectations = _expectations(table, texts, seen)
            findings = [*check_table(table, strict=False, texts=texts), *findings]
            old = None if in_use is None else _table_in_use(folders, in_use)
            if old is not None:
                examples, identity = table_changes(old, table), changed_identity(old, table, texts)
    except MappingError as error:
        findings = [*findings_of(error), *findings]
    prepared = Prepared(
        ok=not any(finding.error for finding in findings),
        findings=findings,
        examples=examples,
        identity=identity,
        expectations=expectations,
        seen=name,
        texts={place: text for place, text in texts.items() if _differs(place, text)},
        table={} if table is None else dict(table.texts),
    )
    return prepared.model_dump_json(by_alias=True).encode()


def _expectations(table: Table, texts: dict[Path, str | None], seen: str | None) -> tuple[str, list[ChangedExample]]:
    """The examples that expect otherwise, and their name. With ``seen`` they are rewritten in ``texts``.

    Raises:
        RequestError: 409, they have another name.
    """
    try:
        found = list(changes(table, texts))
    except ValueError:  # the check says it
        return digest([]), []
    name = digest(found)
    if seen is not None:
        if seen != name:
            detail = "the table or its examples have changed since; look again before you accept"
            raise RequestError(409, "Changed since", detail)
        try:
            texts.update(rewritten(found, texts))
        except MappingError as error:
            raise RequestError(409, "Cannot be written", str(error)) from None
    return name, [told_change(one) for one in found]


def _refuse_unread_types(file: Path, text: str | None) -> None:
    """Refuse a ``types.yaml`` that would take something away from the one that is there. Who saves a new table has read
    nothing, and types of other tables may stand in it.

    Raises:
        RequestError: 412, it would; says what.
    """
    if text == "" or not file.is_file():
        return
    try:
        there = Document.read(file).value or {}
        new = Document(file, text or "").value or {}
        lost = [
            f"{part}.{name}"
            for part, names in there.items()
            for name, one in (names or {}).items()
            if (new.get(part) or {}).get(name) != one
        ]
    except (MappingError, AttributeError):
        return  # the check says what is wrong with it
    if lost:
        detail = (
            f"types.yaml has {', '.join(lost[:3])} already, which the text sent leaves out or changes; GET a table of "
            "this folder with files=1, and send all of what stands there"
        )
        raise RequestError(412, "Precondition failed", detail)


def _table_in_use(folders: Folders, in_use: Texts) -> Table | None:
    try:
        return table_of(folders, in_use)
    except RequestError:  # what it extends is another by now
        return None


def _broken(folders: Folders, others: Sequence[str], texts: Texts) -> list[Finding]:
    """What would be wrong with other tables, and is not now."""
    found = []
    for provider in others:
        file = table_file(provider, folders)
        if file is not None:
            now = {str(one) for one in _errors(file, folders, NO_TEXTS)}
            found += [one for one in _errors(file, folders, texts) if str(one) not in now]
    return found


def _errors(file: Path, folders: Folders, texts: Texts) -> list[Finding]:
    try:
        table = load_table(file, load_catalogue(folders, texts), folders, texts)
    except MappingError as error:
        return findings_of(error)
    return [one for one in check_table(table, strict=False, in_use=True, texts=texts) if one.error]


def _differs(file: Path, text: str | None) -> bool:
    if text is None or not file.is_file():
        return text is not None or file.is_file()
    return file.read_bytes() != text.encode()
