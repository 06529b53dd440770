"""The tables over HTTP: which are in use, what is wrong with changed ones, and a bench to try them on, by the same
functions as ``idp-adapter mapping``."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel, Field

from adapter.api.operation import Answer, Operation, Parameter, json_answer
from adapter.errors import MappingError, RequestError
from adapter.mapping.apply import apply_records, records_of
from adapter.mapping.body import JSON, NDJSON, NotReadable, Record, UnknownMedia
from adapter.mapping.check import Finding, check_document, finding_of
from adapter.mapping.coverage import Coverage, coverage
from adapter.mapping.document import Document
from adapter.mapping.examples import body_of
from adapter.mapping.explain import Explanation, explain
from adapter.mapping.table import Table, read_table, table_file
from adapter.mapping.tables import Tables
from adapter.resources import mappings_path
from adapter.settings import Permission

Found = TypeVar("Found")

#: Characters of a table's text that is tried: many times what the largest has.
TEXT_LIMIT = 1_000_000

_NAME = re.compile(r"[a-z][a-z0-9-]*")

_PROVIDER = Parameter("provider", "Name of the provider")
_FORCE = Parameter(
    "force", "true: also if events would be known by other keys", {"type": "string", "enum": ["true", "false"]}
)


class MappingState(BaseModel):
    """A provider's table, and whether it is what its files say now."""

    provider: str
    title: str | None = Field(description="The table's title; null if none could ever be used")
    version: str | None = Field(description="Version of the table in use; null if there is none")
    state: Literal["in_use", "refused"] = Field(
        description="refused: the files as they are now are wrong; the table before them is in use, or, since a start, "
        "they are all the same"
    )
    problem: str | None = Field(description="Why they were refused")
    since: int | None = Field(description="When they were refused, epoch milliseconds")


class MappingList(BaseModel):
    """All providers that have a table."""

    mappings: list[MappingState]


class MappingPage(MappingState):
    """A table with its file."""

    file: str | None = Field(description="Where it stands; null if it is gone")
    text: str | None = Field(description="The file as it is now")
    findings: list[Finding] = Field(description="What the check says about the files as they are now")
    coverage: Coverage | None = Field(description="The vendor's list of types held against the table in use")


class Checked(BaseModel):
    """What a check found."""

    ok: bool = Field(description="Whether there is no error; warnings do not count")
    findings: list[Finding]


class Applied(BaseModel):
    """What raw events become, in order."""

    events: list[Any] = Field(
        description='The unified event, {"quarantined": {"nativeType", "problem"}} or {"ignored": {"nativeType"}}'
    )


class Explained(BaseModel):
    """Why raw events become what they become, in order."""

    explanations: list[Explanation]


@dataclass(frozen=True)
class _Trial:
    """What somebody wants to try: raw events, on the table in use or on a text that may take its place."""

    provider: str
    mapping: str | None
    #: ``None``: none were given.
    body: bytes | None
    #: ``None``: JSON or lines of JSON.
    media: str | None


class Mappings:
    """Shows tables, tries them, and has them taken up. Trials run in a thread, one at a time."""

    def __init__(self, tables: Tables, *, events_limit: int, clock: Callable[[], float] = time.time) -> None:
        self._tables = tables
        self._events_limit = events_limit
        self._clock = clock
        self._turn = asyncio.Lock()

    def operations(self) -> list[Operation]:
        taken = (JSON, *NDJSON, "text/plain")
        return [
            Operation(
                "GET", "/mappings", self.show_all, "The mapping tables in use",
                {200: Answer("All of them.", model=MappingList)}, Permission.READ,
            ),
            Operation(
                "GET", "/mappings/{provider}", self.show, "A table: its file, what a check finds, what it covers",
                {200: Answer("The table.", model=MappingPage)}, Permission.READ, [_PROVIDER],
            ),
            Operation(
                "GET", "/mappings/{provider}/coverage", self.cover, "The vendor's list of types held against the table",
                {200: Answer("Types in one of the lists each.", model=Coverage)}, Permission.READ, [_PROVIDER],
            ),
            Operation(
                "POST", "/mappings/{provider}/check", self.check,
                'Check the files as they are now, or a text: {"mapping": TEXT}',
                {200: Answer("What was found.", model=Checked)}, Permission.MAPPINGS, [_PROVIDER], (JSON,),
            ),
            Operation(
                "POST", "/mappings/{provider}/apply", self.apply,
                'What raw events become; a text is tried with {"mapping": TEXT, "raw": EVENTS, "media": TYPE}',
                {200: Answer("One for each event.", model=Applied)}, Permission.MAPPINGS, [_PROVIDER], taken,
            ),
            Operation(
                "POST", "/mappings/{provider}/explain", self.explain,
                'Why raw events become what they become; a text is tried with {"mapping": TEXT, "raw": EVENTS}',
                {200: Answer("One for each event.", model=Explained)}, Permission.MAPPINGS, [_PROVIDER], taken,
            ),
            Operation(
                "POST", "/mappings/{provider}/reload", self.reload, "Take up the files as they are now",
                {200: Answer("They are in use.", model=MappingState)}, Permission.MAPPINGS, [_PROVIDER, _FORCE],
            ),
        ]  # fmt: skip

    async def show_all(self, request: web.Request) -> web.Response:
        providers = sorted({*self._tables, *self._tables.refused})
        return _told(MappingList(mappings=[self._state(provider) for provider in providers]))

    async def show(self, request: web.Request) -> web.Response:
        provider = self._known(request)
        state, table = self._state(provider), self._tables.get(provider)
        return _told(await self._alone(lambda: self._page(state, table)))

    async def cover(self, request: web.Request) -> web.Response:
        return _told(coverage(self._table(self._known(request))))

    async def check(self, request: web.Request) -> web.Response:
        trial = await _trial(request)

        if trial.mapping is None:
            self._known(request)
            if trial.body:
                raise RequestError(400, "Bad request", 'send {"mapping": TEXT} to check a text, or no body at all')

        def found() -> list[Finding]:
            if trial.mapping is None:
                return self._findings(trial.provider)
            try:
                document = self._document(trial.provider, trial.mapping)
            except MappingError as error:
                return [finding_of(error)]
            kept = table_file(trial.provider, self._tables.folders)
            examples = None if kept is None else kept.parent
            return check_document(document, self._tables.catalogue, self._tables.folders, examples=examples)

        findings = await self._alone(found)
        return _told(Checked(ok=not any(finding.error for finding in findings), findings=findings))

    async def apply(self, request: web.Request) -> web.Response:
        trial = await _trial(request)

        def applied() -> Applied:
            table = self._tried(trial)
            records = self._records(table, trial)
            return Applied(events=list(apply_records(table, records, self._now())))

        return _told(await self._alone(applied))

    async def explain(self, request: web.Request) -> web.Response:
        trial = await _trial(request)

        def explained() -> Explained:
            table = self._tried(trial)
            now = self._now()
            return Explained(explanations=[explain(table, record, now) for record in self._records(table, trial)])

        return _told(await self._alone(explained))

    async def reload(self, request: web.Request) -> web.Response:
        provider = request.match_info["provider"]
        # A folder that was put there this moment is not known yet.
        if not _is_there(provider, self._tables):
            self._known(request)
        force = request.query.get("force", "false")
        if force not in ("true", "false"):
            raise RequestError(400, "Bad parameter", f"force={force!r} is not true or false", parameter="force")
        await self._tables.reload([provider], force=force == "true")
        state = self._state(self._known(request))
        if state.problem is not None:
            raise _refused(state.problem)
        return _told(state)

    def _state(self, provider: str) -> MappingState:
        table, refusal = self._tables.get(provider), self._tables.refused.get(provider)
        return MappingState(
            provider=provider,
            title=None if table is None else table.mapping.title,
            version=None if table is None else table.version,
            state="in_use" if refusal is None else "refused",
            problem=None if refusal is None else refusal.problem,
            since=None if refusal is None else refusal.at,
        )

    def _page(self, state: MappingState, table: Table | None) -> MappingPage:
        file = table_file(state.provider, self._tables.folders)
        text = None
        if file is not None:
            try:
                text = file.read_bytes().decode("utf-8", "replace")
            except OSError:
                file = None
        return MappingPage(
            **state.model_dump(),
            file=None if file is None else str(file),
            text=text,
            findings=self._findings(state.provider),
            coverage=None if table is None else coverage(table),
        )

    def _findings(self, provider: str) -> list[Finding]:
        """What the check says about a provider's files as they are now."""
        file = table_file(provider, self._tables.folders)
        if file is None:
            return [Finding(True, Path(provider) / "mapping.yaml", None, "is gone")]
        try:
            document = Document.read(file)
        except MappingError as error:
            return [finding_of(error)]
        return check_document(document, self._tables.catalogue, self._tables.folders)

    def _known(self, request: web.Request) -> str:
        provider: str = request.match_info["provider"]
        if provider not in self._tables and provider not in self._tables.refused:
            raise RequestError(
                404, "Not found", f"There is no table for this provider; there are {', '.join(self._tables)}."
            )
        return provider

    def _table(self, provider: str) -> Table:
        table = self._tables.get(provider)
        if table is None:
            refusal = self._tables.refused.get(provider)
            if refusal is not None:
                raise _refused(refusal.problem)
            raise RequestError(
                404, "Not found", f"There is no table for this provider; there are {', '.join(self._tables)}."
            )
        return table

    def _tried(self, trial: _Trial) -> Table:
        """The table that a trial is about."""
        if trial.mapping is None:
            return self._table(trial.provider)
        try:
            document = self._document(trial.provider, trial.mapping)
            return read_table(document, self._tables.catalogue, self._tables.folders)
        except MappingError as error:
            raise _refused(str(error)) from None

    def _document(self, provider: str, text: str) -> Document:
        """A text as the provider's file, where it would be put.

        Raises:
            MappingError: it is not YAML.
        """
        file = table_file(provider, self._tables.folders)
        if file is None or file.parent.parent == mappings_path():
            # Built-in tables are not changed but hidden by the user's own.
            own = self._tables.folders[0]
            file = (Path("mappings") if own == mappings_path() else own) / provider / "mapping.yaml"
        return Document(file, text)

    def _records(self, table: Table, trial: _Trial) -> list[Record]:
        if trial.body is None:
            raise RequestError(400, "Bad request", "raw is missing: the raw events, as JSON or as the text of a body")
        try:
            records = records_of(table, trial.body, trial.media)
        except NotReadable as error:
            raise RequestError(400, "Not readable", str(error)) from None
        except UnknownMedia as error:
            raise RequestError(415, "Media type not supported", str(error)) from None
        if len(records) > self._events_limit:
            detail = f"the body holds {len(records)} events; send at most {self._events_limit} at a time"
            raise RequestError(413, "Body too large", detail)
        return records

    async def _alone(self, work: Callable[[], Found]) -> Found:
        """Work that takes long, in a thread, while no other of its kind runs."""
        async with self._turn:
            return await asyncio.to_thread(work)

    def _now(self) -> int:
        return int(self._clock() * 1000)


async def _trial(request: web.Request) -> _Trial:
    """What a request wants to try. A JSON object with a text ``mapping``, and besides it nothing but ``raw`` and
    ``media``, brings a table of its own; every other body is raw events."""
    provider = request.match_info["provider"]
    body = await request.read()
    media = request.content_type if hdrs.CONTENT_TYPE in request.headers else None
    if media in (None, JSON):
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError:
            given = None
        if (
            isinstance(given, dict)
            and isinstance(given.get("mapping"), str)
            and {*given} <= {"mapping", "raw", "media"}
        ):
            if _NAME.fullmatch(provider) is None:
                detail = f"{provider!r} is no name for a provider; use small letters, digits and -"
                raise RequestError(404, "Not found", detail)
            if len(given["mapping"]) > TEXT_LIMIT:
                detail = f"the text of a table has at most {TEXT_LIMIT} characters here"
                raise RequestError(413, "Body too large", detail)
            raw = body_of(given["raw"]) if "raw" in given else None
            media = given.get("media")
            if not isinstance(media, str | None):
                raise RequestError(400, "Bad request", "media must be a text, such as text/plain")
            return _Trial(provider, given["mapping"], raw, media)
    return _Trial(provider, None, body, media)


def _is_there(provider: str, tables: Tables) -> bool:
    return _NAME.fullmatch(provider) is not None and table_file(provider, tables.folders) is not None


def _refused(problem: str) -> RequestError:
    return RequestError(422, "Table refused", problem)


def _told(found: BaseModel) -> web.Response:
    return json_answer(found.model_dump_json(by_alias=True).encode())
