"""The tables over HTTP: which are in use, what is wrong with changed ones, and a bench to try them on, by the same
functions as ``idp-adapter mapping``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from aiohttp import hdrs, web
from pydantic import BaseModel, Field

from adapter.api.arrivals import ArrivalCounts, Arrived, UntranslatedValue
from adapter.api.feed import read_switch
from adapter.api.operation import (
    Answer,
    Body,
    Limited,
    Operation,
    Parameter,
    json_answer,
    scope_of_caller,
    sees_provider,
    sees_source,
)
from adapter.api.trial import PROVIDER, is_there, read_trial, table_in_use, unknown
from adapter.errors import StoreError
from adapter.mapping.body import JSON, NDJSON
from adapter.mapping.table import table_file
from adapter.renormalization.readable import Readable
from adapter.settings import Permission
from adapter.tables.in_use import Tables
from adapter.trials.pool import Trials
from adapter.workbench import trial
from adapter.workbench.check import Finding, is_built_in
from adapter.workbench.coverage import Coverage, coverage
from adapter.workbench.trial import FINDINGS, Applied, Checked, Explained, Tried, refused
from adapter.workbench.unsaved import MAPPING, Unsaved, present_texts, version_of

_SWITCH = {"type": "string", "enum": ["0", "1"]}
_FORCE = Parameter("force", "1: also if events would be known by other keys", _SWITCH)


class MappingState(BaseModel):
    """A provider's table, and whether it is what its files say now."""

    provider: str
    title: str | None = Field(description="The table's title; null if none could ever be used")
    origin: Literal["built_in", "folder", "saved"] | None = Field(
        description="Where its files lie: with the adapter, in a folder of this machine, or, saved over HTTP, in the "
        "log that services share. The last one hides the second, and that the first; null if they are gone"
    )
    hides: list[str] = Field(description="Files of the same name that are not read because of it")
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
    writable: bool = Field(description="Whether tables may be saved over HTTP ([mappings] writable)")


class MappingPage(MappingState):
    """A table with its file."""

    file: str | None = Field(description="Where it stands; null if it is gone")
    etag: str | None = Field(description="Stands for its files, as the answer's ETag does; null if they are gone")
    text: str | None = Field(description="The file as it is now")
    files: dict[str, str] | None = Field(
        None, description="With files=1: the texts of its examples, and of the types.yaml beside its folder"
    )
    findings: list[Finding] | None = Field(
        description="What the check says about the files as they are now; null with findings=0"
    )
    coverage: Coverage | None = Field(description="The vendor's list of types held against the table in use")


class MappingReloaded(MappingState):
    """A table that was taken up, and what may be read again by it."""

    quarantined: int | None = Field(description="Entries of its sources without an event; null: not counted in time")
    readable: int | None = Field(
        description="As many of them as would be events now, by one entry of each of the largest groups; POST "
        '/renormalization with {"provider": NAME, "type": "quarantined"} makes them events'
    )


class LogCoverage(Coverage):
    """Native types, each in one of the lists, and those that have arrived."""

    arrived: list[Arrived] | None = Field(None, description="With arrived=1: native types of the log, by number")
    untranslated: list[UntranslatedValue] | None = Field(
        None, description="With arrived=1: values that the table has no word for, by number, since the service started"
    )


class Mappings:
    """Shows tables, tries them, and has them taken up."""

    def __init__(
        self,
        tables: Tables,
        arrivals: ArrivalCounts,
        trials: Trials,
        readable: Callable[[str], Awaitable[Readable]],
        *,
        events_limit: int,
        writable: bool = False,
        into: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``readable`` gives what is quarantined of a provider's sources. ``writable``: whether tables may be saved.
        ``into``: where tables lie that were saved into the log.

        Raises:
            TimeoutError: it took too long.
        """
        self._tables = tables
        self._readable = readable
        self._arrivals = arrivals
        self._trials = trials
        self._events_limit = events_limit
        self._writable = writable
        self._into = into
        self._clock = clock

    def operations(self) -> list[Operation]:
        taken = Body((JSON, *NDJSON, "text/plain"), Tried, raw=True, required=False)
        return [
            Operation(
                "GET", "/mappings", self.show_all, "The mapping tables in use",
                {200: Answer("All of them.", model=MappingList)}, Permission.READ, limited=Limited.BY_SOURCE,
            ),
            Operation(
                "GET", "/mappings/{provider}", self.show, "A table: its file, what a check finds, what it covers",
                {200: Answer("The table.", model=MappingPage, headers={"ETag": "Stands for its files"})},
                Permission.READ,
                [
                    PROVIDER,
                    Parameter("files", "1: also the texts of its examples and of types.yaml", _SWITCH),
                    Parameter("findings", "0: without a check, which may take a while", {**_SWITCH, "default": "1"}),
                ],
                limited=Limited.BY_SOURCE, errors=(422,),
            ),
            Operation(
                "GET", "/mappings/{provider}/coverage", self.cover, "The vendor's list of types held against the table",
                {200: Answer("Types in one of the lists each.", model=LogCoverage)}, Permission.READ,
                [PROVIDER, Parameter("arrived", "1: also what has arrived; all of the log is looked at", _SWITCH)],
                limited=Limited.BY_SOURCE, errors=(422,),
            ),
            Operation(
                "POST", "/mappings/{provider}/check", self.check,
                'Check the files as they are now, or texts: {"mapping": TEXT, "files": {"examples/NAME.yaml": TEXT}}',
                {200: Answer("What was found.", model=Checked)}, Permission.MAPPINGS, [PROVIDER],
                Body(model=Unsaved, required=False), limited=Limited.BY_SOURCE, errors=(409, 415, 422),
            ),
            Operation(
                "POST", "/mappings/{provider}/apply", self.apply,
                'What raw events become; a text is tried with {"mapping": TEXT, "raw": EVENTS, "media": TYPE}',
                {200: Answer("One for each event.", model=Applied)}, Permission.MAPPINGS, [PROVIDER], taken,
                limited=Limited.BY_SOURCE, errors=(409, 415, 422),
            ),
            Operation(
                "POST", "/mappings/{provider}/explain", self.explain,
                'Why raw events become what they become; a text is tried with {"mapping": TEXT, "raw": EVENTS}',
                {200: Answer("One for each event.", model=Explained)}, Permission.MAPPINGS, [PROVIDER], taken,
                limited=Limited.BY_SOURCE, errors=(409, 415, 422),
            ),
            Operation(
                "POST", "/mappings/{provider}/reload", self.reload, "Take up the files as they are now",
                {200: Answer("They are in use.", model=MappingReloaded)}, Permission.MAPPINGS, [PROVIDER, _FORCE],
                errors=(409, 422),
            ),
        ]  # fmt: skip

    async def show_all(self, request: web.Request) -> web.Response:
        providers = sorted({*self._tables, *self._tables.refused})
        if scope_of_caller(request).is_limited:
            providers = list(filter(sees_provider(request), providers))
        return _told(MappingList(mappings=[self._state(provider) for provider in providers], writable=self._writable))

    async def show(self, request: web.Request) -> web.Response:
        provider = self._known(request)
        file, texts = table_file(provider, self._tables.folders), {}
        if file is not None:
            try:
                texts = await asyncio.to_thread(present_texts, self._tables.folders, provider, into=self._into)
            except OSError:
                file = None
        told = {name: _readable(text) for name, text in texts.items()}
        text = told.pop(MAPPING, None)
        findings = None
        if "findings" not in request.query or read_switch(request, "findings"):
            with self._trials.place():
                found = await self._trials.run(trial.findings, self._tables.folders, provider)
            findings = FINDINGS.validate_json(found)
        state, table = self._state(provider), self._tables.get(provider)
        etag = f'"{version_of(texts)}"' if texts else None
        page = MappingPage(
            **state.model_dump(),
            file=None if file is None else str(file),
            etag=etag,
            text=text,
            files=told if read_switch(request, "files") else None,
            findings=findings,
            coverage=None if table is None else coverage(table),
        )
        answer = _told(page)
        if etag is not None:
            answer.headers[hdrs.ETAG] = etag
        return answer

    async def cover(self, request: web.Request) -> web.Response:
        table = table_in_use(self._tables, self._known(request))
        found = LogCoverage(**coverage(table).model_dump())
        if read_switch(request, "arrived"):
            found.arrived = await self._arrivals.of(table, sees_source(request))
            found.untranslated = self._arrivals.untranslated_of(table, sees_source(request))
        return _told(found)

    async def check(self, request: web.Request) -> web.Response:
        with self._trials.place():
            tried = await read_trial(request, self._tables)
            if tried.provider in self._tables.refused or is_there(tried.provider, self._tables):
                # Files are checked whether or not they can be used.
                tried = replace(tried, in_use={})
            return json_answer(await self._trials.run(trial.check, self._tables.folders, tried))

    async def apply(self, request: web.Request) -> web.Response:
        return await self._try(trial.apply, request)

    async def explain(self, request: web.Request) -> web.Response:
        return await self._try(trial.explain, request)

    async def _try(self, work: Callable[..., bytes], request: web.Request) -> web.Response:
        with self._trials.place():
            tried = await read_trial(request, self._tables)
            now = int(self._clock() * 1000)
            answer = await self._trials.run(work, self._tables.folders, tried, now, self._events_limit)
            return json_answer(answer)

    async def reload(self, request: web.Request) -> web.Response:
        provider = self._there(request)
        await self._tables.reload([provider], force=read_switch(request, "force"))
        state = self._state(self._known(request))
        if state.problem is not None:
            raise refused(state.problem)
        return _told(await self.reloaded(provider))

    async def reloaded(self, provider: str) -> MappingReloaded:
        """A table that was taken up, and what may be read again by it."""
        entries: int | None
        readable: int | None
        try:
            entries, readable = await self._readable(provider)
        except (TimeoutError, StoreError):  # the table is in use all the same
            entries = readable = None
        return MappingReloaded(**self._state(provider).model_dump(), quarantined=entries, readable=readable)

    def file(self, provider: str) -> Path:
        """A provider's file.

        Raises:
            RequestError: 404, there is none.
        """
        file = table_file(provider, self._tables.folders)
        if file is None:
            raise unknown(self._tables)
        return file

    def _state(self, provider: str) -> MappingState:
        table, refusal = self._tables.get(provider), self._tables.refused.get(provider)
        files = [folder / provider / MAPPING for folder in self._tables.folders]
        there = [file for file in files if file.is_file()]
        return MappingState(
            provider=provider,
            title=None if table is None else table.mapping.title,
            origin=self._origin(there[0]) if there else None,
            hides=[str(file) for file in there[1:]],
            version=None if table is None else table.version,
            state="in_use" if refusal is None else "refused",
            problem=None if refusal is None else refusal.problem,
            since=None if refusal is None else refusal.at,
        )

    def _origin(self, file: Path) -> Literal["built_in", "folder", "saved"]:
        if is_built_in(file):
            return "built_in"
        return "saved" if file.parent.parent == self._into else "folder"

    def _there(self, request: web.Request) -> str:
        """The provider that is asked about; its files may have been put there this moment, and nobody know it yet."""
        provider: str = request.match_info["provider"]
        return provider if is_there(provider, self._tables) else self._known(request)

    def _known(self, request: web.Request) -> str:
        provider: str = request.match_info["provider"]
        if provider not in self._tables and provider not in self._tables.refused:
            raise unknown(self._tables)
        return provider


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _told(found: BaseModel) -> web.Response:
    return json_answer(found.model_dump_json(by_alias=True).encode())
