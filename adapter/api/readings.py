"""How an event was read: its corrections, and which rows and paths of its table made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.auditing import record
from adapter.api.feed import UID
from adapter.api.lookup import Lookup
from adapter.api.operation import Answer, Limited, Operation, authorize, caller, scope_of_caller
from adapter.api.slots import Slots
from adapter.api.stream import sent_json
from adapter.api.trial import table_in_use
from adapter.errors import RequestError
from adapter.event import Event
from adapter.log.protocol import Log
from adapter.mapping.forwarders import AUTO
from adapter.model import Entry, uid_text
from adapter.normalize import further_name
from adapter.settings import Look, Permission
from adapter.sources.intake import Source
from adapter.tables.in_use import Tables
from adapter.trials.pool import Trials
from adapter.workbench.explain import Explanation
from adapter.workbench.trial import explain_stored

#: Entries of an event that are told: the latest.
ENTRIES = 20
#: Explanations under way, of one key and of all: trials of tables, which share their process, wait for none but these.
_EACH, _TOGETHER = 2, 4


class Revisions(BaseModel):
    """An event as it was read each time."""

    uid: str
    events: list[Event] = Field(description="The latest first; the last one is the event as it was stored first")
    isWhole: bool = Field(description=f"false: there are more than {ENTRIES}, and these are the latest")


class EventExplained(BaseModel):
    """Why the table in use makes of what the provider sent what it makes of it."""

    uid: str
    madeBy: str = Field(description="Name and version of the table that made the event as it is stored")
    explainedBy: str = Field(description="The same of the table in use, which is what explains")
    explanations: list[Explanation] = Field(description="One; several if what is stored reads as several events now")


class ReadingPages:
    """Answers how an event was read."""

    def __init__(
        self,
        log: Log,
        lookup: Lookup,
        tables: Tables,
        trials: Trials,
        questions: Slots,
        sources: Mapping[str, Source],
        *,
        reading_timeout: float,
    ) -> None:
        """``sources``: those that are configured, by name. ``questions`` bounds those that are under way."""
        self._log = log
        self._lookup = lookup
        self._tables = tables
        self._trials = trials
        self._questions = questions
        self._sources = sources
        self._reading_timeout = reading_timeout
        self._explanations = Slots("explanations", each=_EACH, together=_TOGETHER)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/events/{uid}/revisions", self.revisions, "An event as it was read each time",
                {200: Answer("All of its readings, or the latest.", model=Revisions)}, Permission.READ, [UID],
                limited=Limited.BY_EVENT, errors=(409,),
            ),
            Operation(
                "GET", "/events/{uid}/explain", self.explain,
                "Which row and path made each field of an event; needs the permission raw, too",
                {200: Answer("What the table in use says of it.", model=EventExplained)}, Permission.READ, [UID],
                limited=Limited.BY_EVENT, errors=(409, 422),
            ),
        ]  # fmt: skip

    async def revisions(self, request: web.Request) -> web.StreamResponse:
        with self._questions.taken(caller(request)):
            latest = await self._find(request)
            entries: list[Entry] = [latest]
            position = await self._log.before(latest.uid, latest.position)
            while position is not None and len(entries) < ENTRIES:
                entries += await self._log.fetch([position])
                position = await self._log.before(latest.uid, position)
            # An earlier reading may have said another realm.
            scope = scope_of_caller(request)
            seen = [one for one in entries if not scope.is_limited or self._lookup.is_within(one, scope)]
            told = b",".join([one.event for one in seen if one.event is not None])
            whole = orjson.dumps(position is None)
            body = b'{"uid":%b,"events":[%b],"isWhole":%b}' % (_text(latest), told, whole)
            return await sent_json(request, body, reading_timeout=self._reading_timeout)

    async def explain(self, request: web.Request) -> web.StreamResponse:
        authorize(request, Permission.RAW)
        who = caller(request)
        with self._questions.taken(who):
            # Others explain events, and try their tables, while this is read.
            with self._explanations.taken(who), self._trials.place():
                entry, made_by, explained_by, explanations = await self._explained(request)
            record(request, Look.RAW)
            told = orjson.dumps({"madeBy": made_by, "explainedBy": explained_by})[1:-1]
            body = b'{"uid":%b,%b,"explanations":%b}' % (_text(entry), told, explanations)
            return await sent_json(request, body, reading_timeout=self._reading_timeout)

    async def _explained(self, request: web.Request) -> tuple[Entry, str, str, bytes]:
        """An event, which tables made and explain it, and the explanations as JSON."""
        entry = await self._find(request)
        assert entry.event is not None
        origin: dict[str, Any] = orjson.loads(entry.event)["source"]
        kept = await self._log.raw(entry.position)
        if kept is None:
            raise RequestError(404, "Not found", "What the provider sent for this event is not kept.")
        source = self._sources.get(entry.source)
        table = table_in_use(self._tables, origin["provider"])
        unwrap = AUTO if source is None else source.unwrap
        name = further_name(entry.event)
        work = explain_stored, self._tables.folders, table.texts, *kept, entry.received_at, unwrap, name
        return entry, origin["mapping"], table.name, await self._trials.run(*work)

    async def _find(self, request: web.Request) -> Entry:
        """
        Raises:
            RequestError: 404, there is no such event; 409, there are several.
        """
        uid = request.match_info["uid"]
        entry = await self._lookup.find(uid, caller(request), scope_of_caller(request))
        if entry is None or entry.event is None:
            raise RequestError(
                404, "Not found", "There is no event with this uid, and none whose provider gave it this id."
            )
        return entry


def _text(entry: Entry) -> bytes:
    return orjson.dumps(uid_text(entry.uid))
