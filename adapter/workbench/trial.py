"""What somebody tries on a table: raw events, or a text that may take a table's place, out of a request's body.

Each public function here is a work for a process of its own (`adapter.trials`): plain values in, the JSON of the answer
out. ``folders`` are where tables lie.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapter.errors import MappingError, RequestError
from adapter.finding_codes import Code
from adapter.mapping.body import JSON, NotReadable, Record, UnknownMedia
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.language import check_name
from adapter.mapping.table import Table, load_table, table_file
from adapter.mapping.wrapping import time_in
from adapter.workbench.accept import Change, changes, digest
from adapter.workbench.apply import apply_records, records_of
from adapter.workbench.check import Finding, check_document, findings_of
from adapter.workbench.compare import Difference, changed_identity, table_changes
from adapter.workbench.draft import draft, refuse_name
from adapter.workbench.examples import Example, body_of, read_examples
from adapter.workbench.explain import Explanation
from adapter.workbench.explain import explain as explain_records
from adapter.workbench.samples import read_samples
from adapter.workbench.unsaved import TEXT_LIMIT, TYPES, Unsaved, place_of, refuse_names, texts_of

#: The texts of a table and of those that it extends, by their files, its own first; and of a ``types.yaml`` that is not
#: in its place.
Texts = Mapping[Path, str | None]

Folders = tuple[Path, ...]


class Tried(Unsaved):
    """Raw events, and a table as it would be, on which they are tried."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "mapping": "extends: keycloak\nprovider: acme\ntitle: Acme\n",
                    "raw": {"id": "1", "time": 1790000000000, "type": "LOGIN"},
                }
            ]
        }
    )

    mapping: str = Field(max_length=TEXT_LIMIT, description="The text of mapping.yaml")
    raw: Any = Field(None, description="The raw events, as JSON or as the text of a body")
    media: str | None = Field(None, description="Media type of raw, if it is a text")


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


class PlacedExample(Example):
    """An example, and where it stands."""

    file: str
    line: int | None


class Examples(BaseModel):
    """The examples of a table."""

    examples: list[PlacedExample]


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
    tried = _read(trial, alone=True)
    if tried.unsaved is not None:
        found = _findings_of_texts(folders, trial.provider, tried.unsaved)
    elif isinstance(trial.in_use, RequestError):
        raise trial.in_use
    elif trial.body:
        detail = 'send {"mapping": TEXT} or {"files": {NAME: TEXT}} to check texts, or no body at all'
        raise RequestError(400, "Bad request", detail)
    else:
        found = _findings(folders, trial.provider)
    return _json(Checked(ok=not any(finding.error for finding in found), findings=found))


def findings(folders: Folders, provider: str) -> bytes:
    """A list of `Finding`: what the check says about a provider's files as they are now."""
    return FINDINGS.dump_json(_findings(folders, provider))


def examples(folders: Folders, provider: str) -> bytes:
    """`Examples` of a provider's files as they are now."""
    file = table_file(provider, folders)
    if file is None:
        raise refused(f"{provider}: its mapping.yaml is gone")
    try:
        placed = list(read_examples(file.parent))
    except MappingError as error:
        raise _refused(error) from None
    found = [
        PlacedExample(**one.example.model_dump(), file=f"examples/{one.file.name}", line=one.line) for one in placed
    ]
    return _json(Examples(examples=found))


def apply(folders: Folders, trial: Trial, now: int, events_limit: int) -> bytes:
    """`Applied`. ``now``: epoch milliseconds, the arrival of the events."""
    table, records = _tried(folders, trial, events_limit)
    return _json(Applied(events=list(apply_records(table, records, now))))


def explain(folders: Folders, trial: Trial, now: int, events_limit: int) -> bytes:
    """`Explained`."""
    table, records = _tried(folders, trial, events_limit)
    return _json(Explained(explanations=list(explain_records(table, records, now))))


def explain_stored(
    folders: Folders, texts: Texts, raw: bytes, media: str, envelope: bytes, received_at: int, unwrap: str,
    name: str | None,
) -> bytes:  # fmt: skip
    """A list of `Explanation`: of what is stored for an event, by the table of these texts; without uid and source,
    which are not the table's to say. ``unwrap``, ``name``, ``envelope``: as `adapter.normalize.read_stored`."""
    table = table_of(folders, texts)
    try:
        records = table.split(raw, media, sys.maxsize, unwrap)
    except (NotReadable, UnknownMedia) as error:
        raise RequestError(422, "Not readable", f"the table in use cannot read what is stored: {error}") from None
    for record in records:
        if record.forwarded_at is None:
            record.forwarded_at = time_in(envelope)
    explained = list(explain_records(table, records, received_at))
    for one in explained:
        if one.event is not None:
            one.event = {field: value for field, value in one.event.items() if field not in ("uid", "source")}
    return _EXPLANATIONS.dump_json([one for one in explained if one.also == name] or explained, by_alias=True)


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
        found = draft(provider, samples, place_of(folders, provider).parent)
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


def accept(folders: Folders, provider: str) -> bytes:
    """`Acceptance`: the examples against the table as its file is now, which may be refused for no other reason than
    them."""
    file = table_file(provider, folders)
    if file is None:
        raise refused(f"{provider}: its mapping.yaml is gone")
    try:
        found = list(changes(load_table(file, load_catalogue(folders), folders)))
    except MappingError as error:
        raise _refused(error) from None
    except ValueError as error:
        raise refused(str(error)) from None
    return _json(Acceptance(changes=[told_change(one) for one in found], seen=digest(found), written=False))


def compare(folders: Folders, trial: Trial) -> bytes:
    """`TableComparison`."""
    tried = _read(trial, alone=True)
    if tried.unsaved is None or tried.body is not None:
        raise RequestError(400, "Bad request", 'send {"mapping": TEXT}: the table as it would be')
    if isinstance(trial.in_use, RequestError):
        raise trial.in_use
    old, (new, unsaved) = table_of(folders, trial.in_use), _read_texts(folders, trial.provider, tried.unsaved)
    try:
        compared = TableComparison(
            examples=table_changes(old, new),
            identity=changed_identity(old, new, unsaved),
            texts={**new.texts, **{file: text for file, text in unsaved.items() if file.name == TYPES}},
        )
    except MappingError as error:
        found = FINDINGS.dump_python(findings_of(error), mode="json")
        raise RequestError(422, "Examples refused", str(error), findings=found) from None
    return _json(compared)


def table_of(folders: Folders, texts: Texts) -> Table:
    """The table that was made of these texts.

    Raises:
        RequestError: 422, it cannot be made of them any more; says why.
    """
    try:
        catalogue = load_catalogue(folders, texts)
        return _table_of(folders, tuple(texts.items()), catalogue.digest)
    except MappingError as error:
        raise _refused(error) from None


def refused(problem: str) -> RequestError:
    """The answer about a table that cannot be used."""
    return RequestError(422, "Table refused", problem)


def _refused(error: MappingError) -> RequestError:
    """The same about one whose text says where it is wrong."""
    found = FINDINGS.dump_python(findings_of(error), mode="json")
    return RequestError(422, "Table refused", str(error), findings=found)


_EXPLANATIONS: TypeAdapter[list[Explanation]] = TypeAdapter(list[Explanation])
#: The answer of `findings`.
FINDINGS: TypeAdapter[list[Finding]] = TypeAdapter(list[Finding])


@dataclass(frozen=True)
class _Tried:
    """A request's body, read."""

    #: The texts of a table; ``None``: the one in use is tried.
    unsaved: Unsaved | None
    #: ``None``: no raw events were given.
    body: bytes | None
    media: str | None


def _read(trial: Trial, *, alone: bool = False) -> _Tried:
    """A JSON object with a text ``mapping``, and besides it ``files``, ``raw`` and ``media``, brings a table of its
    own; every other body is raw events. ``alone``: nobody sends raw events alone here, so ``files`` may do without
    ``mapping``."""
    if trial.media not in (None, JSON):
        return _Tried(None, trial.body, trial.media)
    try:
        given = orjson.loads(trial.body)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not (
        isinstance(given.get("mapping"), str) or (alone and isinstance(given.get("files"), dict))
    ):
        return _Tried(None, trial.body, trial.media)
    unknown_words = [name for name in given if name not in Tried.model_fields]
    if unknown_words:
        detail = (
            f"beside mapping there may be files, raw and media, and no {unknown_words[0][:100]!r}; a raw event that "
            "has a text `mapping` of its own goes in a list"
        )
        raise RequestError(400, "Bad request", detail)
    try:
        check_name(trial.provider)
    except ValueError as error:
        raise RequestError(404, "Not found", str(error)) from None
    if len(given.get("mapping") or "") > TEXT_LIMIT:
        detail = f"the text of a table has at most {TEXT_LIMIT} characters here"
        raise RequestError(413, "Body too large", detail)
    unsaved = read_unsaved({name: given[name] for name in Unsaved.model_fields if name in given})
    media = given.get("media")
    if not isinstance(media, str | None):
        raise RequestError(400, "Bad request", "media must be a text, such as text/plain")
    return _Tried(unsaved, body_of(given["raw"]) if "raw" in given else None, media)


def _tried(folders: Folders, trial: Trial, events_limit: int) -> tuple[Table, list[Record]]:
    """The table that a trial is about, and the records that it is tried on."""
    tried = _read(trial)
    if tried.unsaved is not None:
        table, _ = _read_texts(folders, trial.provider, tried.unsaved)
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


def read_unsaved(given: Any) -> Unsaved:
    """The texts that a request brings, read.

    Raises:
        RequestError: 400, they are none of a table's; says which.
    """
    try:
        unsaved = Unsaved.model_validate(given)
        refuse_names(unsaved.files)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:150]
        raise RequestError(400, "Bad request", f"{place}: {first['msg']}" if place else first["msg"]) from None
    except ValueError as error:
        raise RequestError(400, "Bad request", str(error)) from None
    return unsaved


def _read_texts(folders: Folders, provider: str, unsaved: Unsaved) -> tuple[Table, Texts]:
    """The provider's table as it would be, and the texts that stand for files."""
    texts = dict(texts_of(folders, provider, unsaved))
    file = place_of(folders, provider)
    if file not in texts and not file.is_file():
        raise refused(f"{file}: is not there; send its text as mapping, too")
    try:
        return load_table(file, load_catalogue(folders, texts), folders, texts), texts
    except MappingError as error:
        raise _refused(error) from None


def _findings_of_texts(folders: Folders, provider: str, unsaved: Unsaved) -> list[Finding]:
    """What the check says about a table as it would be."""
    texts, file = texts_of(folders, provider, unsaved), place_of(folders, provider)
    try:
        document, catalogue = Document.read(file, texts), load_catalogue(folders, texts)
    except MappingError as error:
        return findings_of(error)
    kept = table_file(provider, folders)
    # Where one's own table has no examples yet, it is held against those of the one that it would hide.
    own = any(one.parent.parent == file.parent for one in texts)
    return check_document(
        document, catalogue, folders, examples=None if kept is None or own else kept.parent, texts=texts
    )


def _findings(folders: Folders, provider: str) -> list[Finding]:
    file = table_file(provider, folders)
    if file is None:
        return [Finding(True, Path(provider) / "mapping.yaml", None, None, "is gone", Code.NOT_READABLE)]
    try:
        return check_document(Document.read(file), load_catalogue(folders), folders)
    except MappingError as error:
        return findings_of(error)


@lru_cache(maxsize=2)
def _table_of(folders: Sequence[Path], texts: tuple[tuple[Path, str | None], ...], _catalogue: str) -> Table:
    """Two tables are asked for again and again while a log is compared. ``_catalogue``: its digest."""
    catalogue: Catalogue = load_catalogue(folders, dict(texts))
    (file, _), *_ = texts
    return load_table(file, catalogue, folders, dict(texts))


def told_change(change: Change) -> ChangedExample:
    """A change as it is answered."""
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
