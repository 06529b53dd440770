"""Users' tables saved over HTTP: checked and held against the one in use first, written as a whole, then taken up."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog
from aiohttp import hdrs, web
from pydantic import Field

from adapter.api.comparison import Comparisons
from adapter.api.feed import read_switch
from adapter.api.mappings import MappingReloaded, Mappings
from adapter.api.operation import Answer, Body, Operation, Parameter, authorize, caller, json_answer
from adapter.api.trial import PROVIDER, provider_name, read_body
from adapter.errors import ConfigError, NoteChanged, RequestError, StoreError
from adapter.filter import Filter
from adapter.log.protocol import NewEntry
from adapter.model import Outcome as EventOutcome
from adapter.renormalization.step import Findings
from adapter.settings import Permission
from adapter.system_events import system_event
from adapter.tables.in_use import Tables
from adapter.tables.saved import Change, SavedFiles
from adapter.timestamps import SCHEMA
from adapter.trials.pool import Trials
from adapter.workbench.check import is_built_in
from adapter.workbench.saving import Outcome, Prepared, prepare, prepare_removal
from adapter.workbench.trial import Acceptance
from adapter.workbench.unsaved import TYPES, Unsaved, present_texts, version_of

_log = structlog.get_logger("adapter.mapping")

_SWITCH = {"type": "string", "enum": ["0", "1"]}
_TAGGED = {"ETag": "Stands for the files as they are now; missing where there are none"}
_MATCH = Parameter("If-Match", "The ETag with which the table was read", place="header")
_NONE_MATCH = Parameter("If-None-Match", "*: there is no such table yet", place="header")
_DRY_RUN = Parameter("dry_run", "1: write nothing, and say what it would do", _SWITCH)
_FORCE = Parameter("force", "1: also if events would be known by other keys", _SWITCH)
_SEEN = Parameter("seen", "The answer's own `seen`: rewrite exactly the expectations that were shown with it")
_SINCE = Parameter(
    "received_from",
    "With dry_run=1: say also what it would do to stored raw events that arrived since (this needs the permission "
    "read, too); "
    "POST /mappings/{provider}/diff says how far it is meanwhile",
    SCHEMA,
)

#: Errors that are told in a line of text; all of them are in `findings`.
_TOLD = 5
#: So often a change is tried again that somebody else's change of another table came before.
_TRIES = 5

_ETAG = re.compile(r'\s*("[^"]*"|W/"[^"]*")\s*(?:,|$)')


class Saved(Outcome):
    """What saving a table did, or would do."""

    written: bool = Field(description="Whether it is saved; false: a dry run")
    etag: str | None = Field(
        None, description="Stands for the files as they are now, as the answer's ETag does; null if there is no table"
    )
    sources: list[str] = Field(
        description="Names of the sources that are read by this table; none: one is to be configured under [[sources]]"
    )
    stored: Findings | None = Field(description="What it would do to stored raw events, if that was asked")
    mapping: MappingReloaded | None = Field(
        description="The table that was taken up; null: a dry run, or no table is left"
    )


class Saving:
    """Saves and removes users' tables."""

    def __init__(
        self,
        tables: Tables,
        files: SavedFiles,
        trials: Trials,
        mappings: Mappings,
        comparisons: Comparisons,
        providers: Mapping[str, str],
        append: Callable[[NewEntry], Awaitable[object]],
        *,
        writable: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``providers``: of each configured source, by name. ``append`` puts an event into the log. ``writable``:
        whether anything may be saved here."""
        self._tables = tables
        self._files = files
        self._trials = trials
        self._mappings = mappings
        self._comparisons = comparisons
        self._providers = providers
        self._append = append
        self._writable = writable
        self._clock = clock
        self._turn = asyncio.Lock()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "PUT", "/mappings/{provider}", self.save,
                "Save a user's table, its examples and types.yaml, after the check; what is not said stays as it is",
                {
                    200: Answer("It is saved and in use, or what a dry run found.", model=Saved, headers=_TAGGED),
                    201: Answer("The same of a table that there was not.", model=Saved, headers=_TAGGED),
                },
                Permission.WRITE_MAPPINGS, [PROVIDER, _MATCH, _NONE_MATCH, _DRY_RUN, _FORCE, _SEEN, _SINCE],
                Body(model=Unsaved), errors=(409, 412, 422, 428),
            ),
            Operation(
                "DELETE", "/mappings/{provider}", self.remove,
                "Remove a user's table with its examples; what it hid is in use again",
                {200: Answer("It is gone, or what a dry run found.", model=Saved, headers=_TAGGED)},
                Permission.WRITE_MAPPINGS, [PROVIDER, _MATCH, _DRY_RUN, _FORCE], errors=(409, 412, 422, 428),
            ),
        ]  # fmt: skip

    async def save(self, request: web.Request) -> web.Response:
        provider = provider_name(request)
        since = {name: request.query.getall(name) for name in ("received_from",) if name in request.query}
        bounds = Filter.parse(since, self._tables.catalogue) if since else None
        if bounds is not None:
            authorize(request, Permission.READ)
            if not read_switch(request, "dry_run"):
                detail = "received_from is for a look before, with dry_run=1: it may take minutes"
                raise RequestError(400, "Bad parameter", detail, parameter="received_from")
        with self._trials.place():
            body = await read_body(request)
            return await self._change(request, provider, body, bounds)

    async def remove(self, request: web.Request) -> web.Response:
        provider = provider_name(request)
        with self._trials.place():
            return await self._change(request, provider, None, None)

    async def accept(self, provider: str, seen: str, by: str) -> Acceptance:
        """Rewrite the expectations of a provider's examples that have this name; the table may be refused for no other
        reason than them.

        Raises:
            RequestError: they have another one by now, or nothing may be saved here.
        """
        self._refuse_unless_writable()
        if is_built_in(self._mappings.file(provider)):
            detail = "this table comes with the adapter; write one of your own that extends it"
            raise RequestError(409, "Not yours to change", detail)
        async with self._turn:
            await self._taken_up(await self._files.refresh())
            before = await self._version(provider)
            prepared = await self._prepare(provider, b"{}", seen)
            try:
                await self._write(provider, prepared, by, force=False)
            except NoteChanged:
                detail = "somebody else has saved a table meanwhile; look again before you accept"
                raise RequestError(409, "Changed since", detail) from None
            await self._tell(provider, by, prepared, before, await self._version(provider))
        return Acceptance(changes=prepared.expectations, seen=prepared.seen, written=True)

    async def _change(
        self, request: web.Request, provider: str, body: bytes | None, bounds: Filter | None
    ) -> web.Response:
        """Save what a body brings; without one, remove the table."""
        dry_run, force = read_switch(request, "dry_run"), read_switch(request, "force")
        seen = request.query.get("seen")
        if not dry_run:
            self._refuse_unless_writable()
            async with self._turn:
                return await self._save(request, provider, body, seen, force=force)
        async with self._turn:
            prepared, version = await self._look(request, provider, body, seen)
        found = self._found(provider, prepared)
        if bounds is not None:
            found.stored = await self._stored(provider, prepared, bounds)
        return _told(found, version)

    async def _look(
        self, request: web.Request, provider: str, body: bytes | None, seen: str | None
    ) -> tuple[Prepared, str | None]:
        """What a change would do, and the version of the files that it is made from."""
        await self._taken_up(await self._files.refresh())
        version = await self._version(provider)
        _check_precondition(request, version)
        return await self._prepare(provider, body, seen), version

    async def _save(
        self, request: web.Request, provider: str, body: bytes | None, seen: str | None, *, force: bool
    ) -> web.Response:
        by = caller(request)
        for _ in range(_TRIES):
            prepared, before = await self._look(request, provider, body, seen)
            found = self._found(provider, prepared)
            self._refuse(provider, found, prepared, force)
            if await self._version(provider) != before:
                continue
            try:
                await self._write(provider, prepared, by, force=True)
            except NoteChanged:
                continue
            after = await self._version(provider)
            await self._tell(provider, by, prepared, before, after)
            found.written = True
            found.mapping = await self._mappings.reloaded(provider) if after is not None else None
            return _told(found, after, status=201 if before is None else 200)
        raise RequestError(409, "Changed meanwhile", "tables are saved by others all the time; try again")

    def _found(self, provider: str, prepared: Prepared) -> Saved:
        return Saved(
            **prepared.model_dump(include=set(Outcome.model_fields)),
            written=False,
            sources=[name for name, one in self._providers.items() if one == provider],
            stored=None,
            mapping=None,
        )

    async def _prepare(self, provider: str, body: bytes | None, seen: str | None) -> Prepared:
        table = self._tables.get(provider)
        in_use = None if table is None else table.texts
        others = {
            name: provider in one.rests_on
            for name, one in self._tables.items()
            if name != provider and not is_built_in(one.document.file)
        }
        folders, into = self._tables.folders, self._files.into
        if body is None:
            work = await self._trials.run(prepare_removal, folders, into, provider, in_use, others)
        else:
            work = await self._trials.run(prepare, folders, into, provider, body, in_use, others, seen)
        return Prepared.model_validate_json(work)

    def _refuse(self, provider: str, found: Saved, prepared: Prepared, force: bool) -> None:
        """
        Raises:
            RequestError: this is not to be written.
        """
        if not found.ok:
            wrong = [str(one) for one in found.findings if one.error]
            more = [f"and {len(wrong) - _TOLD} more"] if len(wrong) > _TOLD else []
            told = found.model_dump(mode="json", by_alias=True)
            raise RequestError(
                422, "Table refused", "\n".join([*wrong[:_TOLD], *more]),
                findings=told["findings"], expectations=told["expectations"], seen=found.seen,
            )  # fmt: skip
        if found.identity is not None and not force:
            detail = (
                f"events would be known by other keys (see {found.identity}), so that copies of those that came before "
                "would be new events; send force=1 if that is meant"
            )
            raise RequestError(422, "Other keys", detail, identity=found.identity)
        if not prepared.table and found.sources:
            names = ", ".join(found.sources)
            detail = f"no table would be left for {provider!r}, and these sources are read by it: {names}"
            raise RequestError(409, "In use", detail, sources=found.sources)

    async def _write(self, provider: str, prepared: Prepared, by: str, *, force: bool) -> None:
        """Save, and take up what was saved; ``force``: also if events would be known by other keys.

        Raises:
            NoteChanged: somebody else has saved something meanwhile; nothing was saved.
            RequestError: 409, it cannot be written.
        """
        try:
            await self._files.save(Change(provider, by, prepared.texts))
        except (OSError, ConfigError) as error:
            told = f"{error.filename} cannot be written: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise RequestError(409, "Cannot be written", told) from None
        if prepared.table:
            types = any(file.name == TYPES for file in prepared.texts)
            await self._tables.reload(None if types else [provider], force=force)
        else:
            self._tables.forget(provider)

    async def _taken_up(self, changed: Sequence[str]) -> None:
        """Take up what is other files now; whoever saved it has said that it is meant."""
        if changed:
            await self._tables.reload(None if TYPES in changed else changed, force=True)

    async def _stored(self, provider: str, prepared: Prepared, bounds: Filter) -> Findings | None:
        table = self._tables.get(provider)
        if table is None or not prepared.table:
            return None
        texts = {**prepared.table, **{file: text for file, text in prepared.texts.items() if file.name == TYPES}}
        return await self._comparisons.stored(provider, table.texts, texts, bounds)

    async def _version(self, provider: str) -> str | None:
        """Stands for the files as they are now; ``None`` if there is no table."""
        texts = await asyncio.to_thread(present_texts, self._tables.folders, provider, into=self._files.into)
        return version_of(texts) if texts else None

    async def _tell(self, provider: str, by: str, prepared: Prepared, before: str | None, after: str | None) -> None:
        """Say in the service's log and in the log of events who has changed what."""
        name = "table_saved" if after is not None and prepared.table else "table_removed"
        files = sorted(_short(file, provider) for file in prepared.texts)
        _log.info(name, provider=provider, by=by, files=files, before=before, after=after)
        details = {"provider": provider, "files": ", ".join(files)[:2000]}
        table = self._tables.get(provider)
        if table is not None:
            details["mapping"] = table.name
        event = "MAPPING-SAVED" if name == "table_saved" else "MAPPING-REMOVED"
        now = int(self._clock() * 1000)
        try:
            await self._append(system_event(event, now, details, outcome=EventOutcome.SUCCESS, username=by))
        except StoreError as error:  # it is saved all the same
            _log.warning("table_saved_untold", provider=provider, problem=str(error))

    def _refuse_unless_writable(self) -> None:
        if not self._writable:
            detail = "tables are not saved over HTTP here; [mappings] writable = true allows it"
            raise RequestError(403, "Not writable", detail)


def _check_precondition(request: web.Request, version: str | None) -> None:
    """
    Raises:
        RequestError: 428, the request says nothing of what it was made from; 412, it was something else.
    """
    match, none_match = request.headers.get(hdrs.IF_MATCH), request.headers.get(hdrs.IF_NONE_MATCH)
    if match is None and none_match is None:
        detail = (
            "say what this was made from: If-Match with the ETag of GET /mappings/NAME, or If-None-Match: * for a "
            "table that there is not yet"
        )
        raise RequestError(428, "Precondition required", detail)
    now = {} if version is None else {"ETag": f'"{version}"'}
    if none_match is not None and (version is not None or none_match.strip() != "*"):
        detail = "there is a table of this name, or If-None-Match is not *; read it, and send its ETag as If-Match"
        raise RequestError(412, "Precondition failed", detail, headers=now)
    if match is not None and (version is None or not (match.strip() == "*" or f'"{version}"' in _ETAG.findall(match))):
        detail = "the files have changed since they were read; read them again, and make the change there"
        raise RequestError(412, "Precondition failed", detail, headers=now)


def _told(found: Saved, version: str | None, *, status: int = 200) -> web.Response:
    found.etag = None if version is None else f'"{version}"'
    answer = json_answer(found.model_dump_json(by_alias=True).encode(), status=status)
    if found.etag is not None:
        answer.headers[hdrs.ETAG] = found.etag
    return answer


def _short(file: Path, provider: str) -> str:
    """A file's name, as callers call it."""
    parts = file.parts
    return "/".join(parts[parts.index(provider) + 1 :]) if provider in parts[:-1] and file.name != TYPES else file.name
