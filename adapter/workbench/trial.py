"""What somebody tries on a table: raw events, or a text that may take a table's place, out of a request's body.

Each public function here is a work for a process of its own (`adapter.trials`): plain values in, the JSON of the answer
out. ``folders`` are where tables lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, Field, TypeAdapter

from adapter.errors import MappingError, RequestError
from adapter.mapping.body import JSON, NotReadable, Record, UnknownMedia
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.language import check_name
from adapter.mapping.table import Table, load_table, read_table, table_file
from adapter.resources import mappings_path
from adapter.workbench.accept import Change, changes, digest, write
from adapter.workbench.apply import apply_records, records_of
from adapter.workbench.check import Finding, check_document, findings_of, is_built_in
from adapter.workbench.compare import Difference, changed_identity, table_changes
from adapter.workbench.draft import draft, refuse_name
from adapter.workbench.examples import body_of
from adapter.workbench.explain import Explanation
from adapter.workbench.explain import explain as explain_records
from adapter.workbench.samples import read_samples

#: Characters of a table's text that is tried: many times what the largest has.
TEXT_LIMIT = 1_000_000

#: What a table is tried with.
_WORDS = ("mapping", "raw", "media")

#: The texts of a table and of those that it extends, by their files, its own first.
Texts = dict[Path, str]

Folders = tuple[Path, ...]


class Checked(BaseModel):
    """What a check found."""

    ok: bool = Field(description="Whether there is no error; warnings do not count")
    findings: list[Finding]


class Applied(BaseModel):
    """What raw events become, in order."""

    events: list[Any] = Field(
        description='The unified event, {"quarantined": {"nativeType", "problem"}}, {"ignored": {"nativeType"}}, or '
        '{"ignored": {"line"}} with what the table calls such a line'
    )


class Explained(BaseModel):
    """Why raw events become what they become, in order."""

    explanations: list[Explanation]


class Proposed(BaseModel):
    """A table proposed from samples. Nothing is written: a table that nobody has decided is not for a service's
    folder, where it would be refused."""

    file: str = Field(description="Where its text belongs")
    mapping: str = Field(description="The text of the table; each row's type is still to be decided")
    examples_file: str = Field(description="Where its examples belong")
    examples: str = Field(description="The samples, failures first, with nothing expected of them yet")
    remarks: list[str] = Field(description="What should be known of it, such as which secrets are redacted")


class ChangedExample(BaseModel):
    """An example that the table, as its file is now, reads differently."""

    example: str
    file: str
    line: int | None
    lines: list[str] = Field(description="What would change in it, for people")
    expect: list[dict[str, object]] = Field(description="What it would expect")


class Acceptance(BaseModel):
    """What the examples' expected events would become."""

    changes: list[ChangedExample] = Field(description="Empty: every example is reproduced")
    seen: str = Field(description="Names these changes; send it as `seen` to have them written")
    written: bool = Field(description="Whether they stand in the files now")


class TableComparison(BaseModel):
    """A table in use held against a text that may take its place."""

    examples: list[Difference]
    #: Where one sees that events would be known by other keys.
    identity: str | None
    #: Of the text, and of what it extends.
    texts: Texts


@dataclass(frozen=True)
class Trial:
    """What a request brings: raw events, on the table in use or on a text that may take its place."""

    provider: str
    body: bytes
    #: Media type of the body; ``None``: JSON or lines of JSON.
    media: str | None
    #: The table that the service uses, or what is answered because there is none.
    in_use: Texts | RequestError


def check(folders: Folders, trial: Trial) -> bytes:
    """`Checked`: of a text, or of the files as they are now.

    Raises:
        RequestError: it cannot be tried; says why. So do all functions here.
    """
    tried = _read(trial)
    if tried.mapping is not None:
        found = _findings_of_text(folders, trial.provider, tried.mapping)
    elif isinstance(trial.in_use, RequestError):
        raise trial.in_use
    elif trial.body:
        raise RequestError(400, "Bad request", 'send {"mapping": TEXT} to check a text, or no body at all')
    else:
        found = _findings(folders, trial.provider)
    return _json(Checked(ok=not any(finding.error for finding in found), findings=found))


def findings(folders: Folders, provider: str) -> bytes:
    """A list of `Finding`: what the check says about a provider's files as they are now."""
    return FINDINGS.dump_json(_findings(folders, provider))


def apply(folders: Folders, trial: Trial, now: int, events_limit: int) -> bytes:
    """`Applied`. ``now``: epoch milliseconds, the arrival of the events."""
    table, records = _tried(folders, trial, events_limit)
    return _json(Applied(events=list(apply_records(table, records, now))))


def explain(folders: Folders, trial: Trial, now: int, events_limit: int) -> bytes:
    """`Explained`."""
    table, records = _tried(folders, trial, events_limit)
    return _json(Explained(explanations=list(explain_records(table, records, now))))


def propose(folders: Folders, provider: str, body: bytes, events_limit: int) -> bytes:
    """`Proposed`, from the samples in a body."""
    try:
        refuse_name(provider)
    except ValueError as error:
        raise RequestError(409, "Name is taken", str(error)) from None
    try:
        samples = read_samples(body, "the body")
        if len(samples.events) > events_limit:
            detail = f"the body holds {len(samples.events)} samples; send at most {events_limit}"
            raise RequestError(413, "Body too large", detail)
        found = draft(provider, samples, _place(folders, provider).parent)
    except (MappingError, ValueError) as error:
        raise RequestError(400, "Not readable", str(error)) from None
    proposed = Proposed(
        file=str(found.file),
        mapping=found.mapping,
        examples_file=str(found.examples_file),
        examples=found.examples,
        remarks=[*found.remarks],
    )
    return _json(proposed)


def accept(folders: Folders, provider: str, seen: str | None) -> bytes:
    """`Acceptance`: the examples against the table as its file is now, which may be refused for no other reason than
    them. ``seen``: write the changes that have this name."""
    file = table_file(provider, folders)
    if file is None:
        raise refused(f"{provider}: its mapping.yaml is gone")
    try:
        found = list(changes(load_table(file, load_catalogue(folders), folders)))
    except (MappingError, ValueError) as error:
        raise refused(str(error)) from None
    name = digest(found)
    if seen is not None:
        if is_built_in(file):
            detail = "this table comes with the adapter; write one of your own that extends it"
            raise RequestError(409, "Not yours to change", detail)
        if seen != name:
            detail = "the table or its examples have changed since; look again before you accept"
            raise RequestError(409, "Changed since", detail)
        try:
            write(found)
        except MappingError as error:
            raise RequestError(409, "Cannot be written", str(error)) from None
        except OSError as error:
            detail = f"{error.filename} cannot be written: {error.strerror}"
            raise RequestError(409, "Cannot be written", detail) from None
    return _json(Acceptance(changes=[_told(one) for one in found], seen=name, written=seen is not None))


def compare(folders: Folders, trial: Trial) -> bytes:
    """`TableComparison`."""
    tried = _read(trial)
    if tried.mapping is None or tried.body is not None:
        raise RequestError(400, "Bad request", 'send {"mapping": TEXT}: the table as it would be')
    if isinstance(trial.in_use, RequestError):
        raise trial.in_use
    old, new = table_of(folders, trial.in_use), _read_text(folders, trial.provider, tried.mapping)
    try:
        compared = TableComparison(
            examples=table_changes(old, new), identity=changed_identity(old, new), texts=new.texts
        )
    except MappingError as error:
        raise RequestError(422, "Examples refused", str(error)) from None
    return _json(compared)


def table_of(folders: Folders, texts: Texts) -> Table:
    """The table that was made of these texts.

    Raises:
        RequestError: 422, it cannot be made of them any more; says why.
    """
    try:
        catalogue = load_catalogue(folders)
        return _table_of(folders, tuple(texts.items()), catalogue.digest)
    except MappingError as error:
        raise refused(str(error)) from None


def refused(problem: str) -> RequestError:
    """The answer about a table that cannot be used."""
    return RequestError(422, "Table refused", problem)


#: The answer of `findings`.
FINDINGS: TypeAdapter[list[Finding]] = TypeAdapter(list[Finding])


@dataclass(frozen=True)
class _Tried:
    """A request's body, read."""

    #: The text of a table; ``None``: the one in use is tried.
    mapping: str | None
    #: ``None``: no raw events were given.
    body: bytes | None
    media: str | None


def _read(trial: Trial) -> _Tried:
    """A JSON object with a text ``mapping``, and besides it ``raw`` and ``media``, brings a table of its own; every
    other body is raw events."""
    if trial.media not in (None, JSON):
        return _Tried(None, trial.body, trial.media)
    try:
        given = orjson.loads(trial.body)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not isinstance(given.get("mapping"), str):
        return _Tried(None, trial.body, trial.media)
    unknown_words = [name for name in given if name not in _WORDS]
    if unknown_words:
        detail = (
            f"beside mapping there may be raw and media, and no {unknown_words[0][:100]!r}; a raw event that "
            "has a text `mapping` of its own goes in a list"
        )
        raise RequestError(400, "Bad request", detail)
    try:
        check_name(trial.provider)
    except ValueError as error:
        raise RequestError(404, "Not found", str(error)) from None
    if len(given["mapping"]) > TEXT_LIMIT:
        detail = f"the text of a table has at most {TEXT_LIMIT} characters here"
        raise RequestError(413, "Body too large", detail)
    media = given.get("media")
    if not isinstance(media, str | None):
        raise RequestError(400, "Bad request", "media must be a text, such as text/plain")
    return _Tried(given["mapping"], body_of(given["raw"]) if "raw" in given else None, media)


def _tried(folders: Folders, trial: Trial, events_limit: int) -> tuple[Table, list[Record]]:
    """The table that a trial is about, and the records that it is tried on."""
    tried = _read(trial)
    if tried.mapping is not None:
        table = _read_text(folders, trial.provider, tried.mapping)
    elif isinstance(trial.in_use, RequestError):
        raise trial.in_use
    else:
        table = table_of(folders, trial.in_use)
    if tried.body is None:
        raise RequestError(400, "Bad request", "raw is missing: the raw events, as JSON or as the text of a body")
    try:
        records = records_of(table, tried.body, tried.media)
    except NotReadable as error:
        raise RequestError(400, "Not readable", str(error)) from None
    except UnknownMedia as error:
        raise RequestError(415, "Media type not supported", str(error)) from None
    if len(records) > events_limit:
        detail = f"the body holds {len(records)} events; send at most {events_limit} at a time"
        raise RequestError(413, "Body too large", detail)
    return table, records


def _place(folders: Folders, provider: str) -> Path:
    """The provider's file, or where it would be put."""
    file = table_file(provider, folders)
    if file is None or file.parent.parent == mappings_path():
        # Built-in tables are not changed but hidden by the user's own.
        own = folders[0]
        file = (Path("mappings") if own == mappings_path() else own) / provider / "mapping.yaml"
    return file


def _read_text(folders: Folders, provider: str, text: str) -> Table:
    """A text as the provider's table."""
    try:
        return read_table(Document(_place(folders, provider), text), load_catalogue(folders), folders)
    except MappingError as error:
        raise refused(str(error)) from None


def _findings_of_text(folders: Folders, provider: str, text: str) -> list[Finding]:
    """What the check says about a text, as the provider's file."""
    try:
        document, catalogue = Document(_place(folders, provider), text), load_catalogue(folders)
    except MappingError as error:
        return findings_of(error)
    kept = table_file(provider, folders)
    return check_document(document, catalogue, folders, examples=None if kept is None else kept.parent)


def _findings(folders: Folders, provider: str) -> list[Finding]:
    file = table_file(provider, folders)
    if file is None:
        return [Finding(True, Path(provider) / "mapping.yaml", None, "is gone")]
    try:
        return check_document(Document.read(file), load_catalogue(folders), folders)
    except MappingError as error:
        return findings_of(error)


@lru_cache(maxsize=2)
def _table_of(folders: Sequence[Path], texts: tuple[tuple[Path, str], ...], _catalogue: str) -> Table:
    """Two tables are asked for again and again while a log is compared. ``_catalogue``: its digest."""
    catalogue: Catalogue = load_catalogue(folders)
    (file, text), *_ = texts
    return read_table(Document(file, text), catalogue, folders, dict(texts))


def _told(change: Change) -> ChangedExample:
    placed = change.placed
    return ChangedExample(
        example=placed.example.name,
        file=str(placed.file),
        line=placed.line,
        lines=change.lines(),
        expect=change.found,
    )


def _json(answer: BaseModel) -> bytes:
    return answer.model_dump_json(by_alias=True).encode()
