"""The tables over HTTP: which are in use, what is wrong with changed ones, and a bench to try them on, by the same
functions as ``idp-adapter mapping``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.arrivals import ArrivalCounts, Arrived
from adapter.api.feed import read_switch
from adapter.api.operation import Answer, Operation, Parameter, json_answer
from adapter.api.trial import (
    PROVIDER,
    Trial,
    is_there,
    read_trial,
    refused,
    table_in_use,
    tried_document,
    tried_table,
    unknown,
)
from adapter.errors import MappingError, RequestError
from adapter.mapping.apply import apply_records, records_of
from adapter.mapping.body import JSON, NDJSON, NotReadable, Record, UnknownMedia
from adapter.mapping.document import Document
from adapter.mapping.table import Table, table_file
from adapter.settings import Permission
from adapter.tables.in_use import Tables
from adapter.workbench.check import Finding, check_document, findings_of
from adapter.workbench.coverage import Coverage, coverage
from adapter.workbench.explain import Explanation, explain

Found = TypeVar("Found")

_SWITCH = {"type": "string", "enum": ["0", "1"]}
_FORCE = Parameter("force", "1: also if events would be known by other keys", _SWITCH)


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


class LogCoverage(Coverage):
    """Native types, each in one of the lists, and those that have arrived."""

    arrived: list[Arrived] | None = Field(None, description="With arrived=1: native types of the log, by number")


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


class Mappings:
    """Shows tables, tries them, and has them taken up. Trials run in a thread, one at a time."""

    def __init__(
        self, tables: Tables, arrivals: ArrivalCounts, *, events_limit: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._tables = tables
        self._arrivals = arrivals
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
                {200: Answer("The table.", model=MappingPage)}, Permission.READ, [PROVIDER],
            ),
            Operation(
                "GET", "/mappings/{provider}/coverage", self.cover, "The vendor's list of types held against the table",
                {200: Answer("Types in one of the lists each.", model=LogCoverage)}, Permission.READ,
                [PROVIDER, Parameter("arrived", "1: also what has arrived; all of the log is looked at", _SWITCH)],
            ),
            Operation(
                "POST", "/mappings/{provider}/check", self.check,
                'Check the files as they are now, or a text: {"mapping": TEXT}',
                {200: Answer("What was found.", model=Checked)}, Permission.MAPPINGS, [PROVIDER], (JSON,),
            ),
            Operation(
                "POST", "/mappings/{provider}/apply", self.apply,
                'What raw events become; a text is tried with {"mapping": TEXT, "raw": EVENTS, "media": TYPE}',
                {200: Answer("One for each event.", model=Applied)}, Permission.MAPPINGS, [PROVIDER], taken,
            ),
            Operation(
                "POST", "/mappings/{provider}/explain", self.explain,
                'Why raw events become what they become; a text is tried with {"mapping": TEXT, "raw": EVENTS}',
                {200: Answer("One for each event.", model=Explained)}, Permission.MAPPINGS, [PROVIDER], taken,
            ),
            Operation(
                "POST", "/mappings/{provider}/reload", self.reload, "Take up the files as they are now",
                {200: Answer("They are in use.", model=MappingState)}, Permission.MAPPINGS, [PROVIDER, _FORCE],
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
        table = table_in_use(self._tables, self._known(request))
        found = LogCoverage(**coverage(table).model_dump())
        if read_switch(request, "arrived"):
            found.arrived = await self._arrivals.of(table)
        return _told(found)

    async def check(self, request: web.Request) -> web.Response:
        trial = await read_trial(request)

        if trial.mapping is None:
            self._there(request)
            if trial.body:
                raise RequestError(400, "Bad request", 'send {"mapping": TEXT} to check a text, or no body at all')

        def found() -> list[Finding]:
            if trial.mapping is None:
                return self._findings(trial.provider)
            try:
                document = tried_document(self._tables, trial.provider, trial.mapping)
            except MappingError as error:
                return findings_of(error)
            kept = table_file(trial.provider, self._tables.folders)
            examples = None if kept is None else kept.parent
            return check_document(document, self._tables.catalogue, self._tables.folders, examples=examples)

        findings = await self._alone(found)
        return _told(Checked(ok=not any(finding.error for finding in findings), findings=findings))

    async def apply(self, request: web.Request) -> web.Response:
        trial = await read_trial(request)

        def applied() -> Applied:
            table = self._tried(trial)
            records = self._records(table, trial)
            return Applied(events=list(apply_records(table, records, self._now())))

        return _told(await self._alone(applied))

    async def explain(self, request: web.Request) -> web.Response:
        trial = await read_trial(request)

        def explained() -> Explained:
            table = self._tried(trial)
            return Explained(explanations=list(explain(table, self._records(table, trial), self._now())))

        return _told(await self._alone(explained))

    async def reload(self, request: web.Request) -> web.Response:
        provider = self._there(request)
        await self._tables.reload([provider], force=read_switch(request, "force"))
        state = self._state(self._known(request))
        if state.problem is not None:
            raise refused(state.problem)
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
            return findings_of(error)
        return check_document(document, self._tables.catalogue, self._tables.folders)

    def _there(self, request: web.Request) -> str:
        """The provider that is asked about; its files may have been put there this moment, and nobody know it yet."""
        provider: str = request.match_info["provider"]
        return provider if is_there(provider, self._tables) else self._known(request)

    def _known(self, request: web.Request) -> str:
        provider: str = request.match_info["provider"]
        if provider not in self._tables and provider not in self._tables.refused:
            raise unknown(self._tables)
        return provider

    def _tried(self, trial: Trial) -> Table:
        """The table that a trial is about."""
        if trial.mapping is None:
            return table_in_use(self._tables, trial.provider)
        return tried_table(self._tables, trial.provider, trial.mapping)

    def _records(self, table: Table, trial: Trial) -> list[Record]:
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


def _told(found: BaseModel) -> web.Response:
    return json_answer(found.model_dump_json(by_alias=True).encode())
