"""Of one event, over HTTP: what became of it at every sink, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.attempts import AttemptShown, shown
from adapter.api.feed import UID
from adapter.api.lookup import Lookup
from adapter.api.operation import (
    Answer,
    Limited,
    Operation,
    Parameter,
    caller,
    json_answer,
    scope_of_caller,
    told_to_caller,
)
from adapter.delivery.fault import Fault
from adapter.delivery.keys import make_key_of
from adapter.delivery.loop import Delivery, reader_name
from adapter.delivery.select import Selection
from adapter.delivery.standing import Decided
from adapter.delivery.why import Present, Stage, explain
from adapter.errors import ConfigError, RequestError, unknown_sink
from adapter.log.protocol import Attempt, Store
from adapter.model import Entry, uid_text
from adapter.ownership import Ownership
from adapter.scope import RealmOf, Scope
from adapter.settings import Permission
from adapter.sinks.settings import SinkSettings

#: Entries of an event, and attempts of each at a sink, that are told: the latest.
ENTRIES, ATTEMPTS = 10, 20
#: Sinks that are asked about at the same time.
_ASKED = 32


class Delivered(BaseModel):
    """What became of one entry of an event at one sink."""

    sink: str
    kind: str
    position: int = Field(description="The entry's place in the log")
    revision: int = Field(description="0 for the event itself; corrections follow")
    stage: Stage
    reason: str = Field(description="Why, for people")
    fault: Fault | None = Field(
        description="Whose fault it is that it is not delivered: receiver, network, ours; null: nobody's, or not known"
    )
    tries: int = Field(description="Failed tries of it")
    dueAt: int | None = Field(description="Of a held one, when its next try is due, epoch milliseconds")
    lag: int | None = Field(description="Of one that the sink has not come to: entries before it")
    state: str = Field(description="What the sink is doing: running, down, paused, stopped, elsewhere, off")
    since: int | None = Field(description="Since when, epoch milliseconds")
    attempts: list[AttemptShown] = Field(description="Tries of it that are remembered, the latest first")


class Deliveries(BaseModel):
    """What became of an event at every sink."""

    uid: str
    type: str | None = Field(description="Of its latest entry; null: quarantined")
    deliveries: list[Delivered] = Field(description="By sink, the latest entry first")


class DeliveryPages:
    """Answers what became of an event."""

    def __init__(
        self,
        log: Store,
        lookup: Lookup,
        sinks: Callable[[], Sequence[SinkSettings]],
        deliveries: Mapping[str, Ownership[Delivery]],
        selection: Callable[[SinkSettings], Selection],
        standing: Callable[[str], Awaitable[Present | None]],
    ) -> None:
        """``sinks``: those there are; ``selection``: what one of them gets; ``standing``: what was decided about the
        one of a name, if it is not simply to run."""
        self._log = log
        self._lookup = lookup
        self._sinks = sinks
        self._deliveries = deliveries
        self._selection = selection
        self._standing = standing

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/events/{uid}/deliveries", self.show, "What became of an event at every sink, and why",
                {200: Answer("Each sink, also where nothing was sent.", model=Deliveries)}, Permission.SINKS,
                [UID, Parameter("sink", "Name of a sink: of this one alone", repeatable=True)],
                limited=Limited.BY_EVENT, errors=(409,),
            )
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        wanted = request.query.getall("sink", None)
        scope = scope_of_caller(request)
        there = [one for one in self._sinks() if not scope.is_limited or self._is_within(one, scope)]
        sinks = [one for one in there if wanted is None or one.name in wanted]
        if missing := set(wanted or ()) - {one.name for one in sinks}:
            raise unknown_sink(min(missing), [one.name for one in there])
        latest = await self._lookup.find(request.match_info["uid"], caller(request), scope)
        if latest is None:
            raise RequestError(
                404, "Not found", "There is no event with this uid: it never came, or was removed from the log."
            )
        entries = await self._entries(latest)
        may_tell, asked = told_to_caller(request), asyncio.Semaphore(_ASKED)

        async def at(sink: SinkSettings) -> list[Delivered]:
            async with asked:
                return await self._at(sink, entries, may_tell, is_limited=scope.is_limited)

        found = await asyncio.gather(*map(at, sinks))
        deliveries = [one for some in found for one in some]
        answer = Deliveries(uid=uid_text(latest.uid), type=latest.type, deliveries=deliveries)
        return json_answer(answer.model_dump_json().encode())

    def _is_within(self, sink: SinkSettings, scope: Scope) -> bool:
        """Whether a caller with a limit may know of a sink: it gets nothing but events within the limit."""
        try:
            filter = self._selection(sink).filter
        except ConfigError:
            return False
        said = {term.name: set(term.values) for term in filter.terms if not term.negated}
        sources, realms = said.get("source"), said.get("realm")
        for limit, values in ((scope.sources, sources), (scope.providers, said.get("provider"))):
            if limit is not None and (values is None or not values <= limit):
                return False
        if scope.realms is None:
            return True
        known = scope.realms
        return realms is not None and all(
            RealmOf(None, realm) in known
            or (sources is not None and all(RealmOf(source, realm) in known for source in sources))
            for realm in realms
        )

    async def _entries(self, latest: Entry) -> list[Entry]:
        """The entries of an event, the latest first."""
        entries, position = [latest], await self._log.before(latest.uid, latest.position)
        while position is not None and len(entries) < ENTRIES:
            entries += await self._log.fetch([position])
            position = await self._log.before(latest.uid, position)
        return entries

    async def _at(
        self, sink: SinkSettings, entries: Sequence[Entry], may_tell: Callable[[str], str], *, is_limited: bool
    ) -> list[Delivered]:
        reader, selection = reader_name(sink.name), self._selection(sink)
        owned = self._deliveries.get(sink.name)
        delivery = None if owned is None else owned.present
        present = await self.present(sink.name)
        # Before the rows: what the sink had passed then, and has no row afterwards, was delivered.
        progress = await self._log.progress(reader)
        flying = {one.position for one in entries if delivery is not None and delivery.is_flying(one.position)}
        # What the filter never took has neither rows nor tries: of most sinks nothing else is asked.
        is_first = progress is None or progress.epoch == 1
        taken = [one for one in entries if one.event is not None and selection.refusal(one) is None]
        kept = entries if taken or not is_first else []
        held = await self._log.held_at(reader, [one.position for one in kept]) if kept else []
        rows = {row.position: replace(row, answer=may_tell(row.answer)) for row in held}
        attempts = {one.position: await self._attempts(reader, one.position) for one in kept}
        blocked = (
            {}
            if sink.order_by is None or not taken
            else {one.key: one.position for one in await self._log.blocked(reader)}
        )
        key_of, told = make_key_of(sink.order_by), []
        for entry in entries:
            position = entry.position
            now = Present(present.state, present.since, may_tell(present.reason), position in flying)
            tried = [one._replace(reason=may_tell(one.reason)) for one in attempts.get(position, ())]
            if is_limited:  # of a batch, what was answered may be about events beyond the limit
                tried = [
                    one if one.entries == 1 else one._replace(position=position, last=position, entries=1, excerpt="")
                    for one in tried
                ]
            head = blocked.get(key_of(entry.event) or "") if blocked and entry.event is not None else None
            is_behind = head is not None and progress is not None and head < position <= progress.cursor
            behind = head if is_behind else None
            verdict = explain(position, entry, selection, progress, rows.get(position), tried, now, behind)
            told.append(
                Delivered(
                    sink=sink.name,
                    kind=sink.kind,
                    position=position,
                    revision=entry.revision,
                    stage=verdict.stage,
                    reason=verdict.reason,
                    fault=verdict.fault,
                    tries=verdict.tries,
                    dueAt=verdict.due_at,
                    lag=verdict.lag,
                    state=now.state,
                    since=now.since,
                    attempts=[shown(one, uid_text(entry.uid), may_tell) for one in tried],
                )
            )
        return told

    async def _attempts(self, reader: str, position: int) -> list[Attempt]:
        found = await self._log.attempts(reader, position=position, limit=ATTEMPTS)
        return [one for one in found if one.has(position)]

    async def present(self, name: str) -> Present:
        """What a sink is doing."""
        owned = self._deliveries.get(name)
        return await self._present(name, owned, None if owned is None else owned.present)

    async def _present(self, name: str, owned: Ownership[Delivery] | None, delivery: Delivery | None) -> Present:
        if delivery is None:
            decided = await self._standing(name)
            return decided or Present("off" if owned is None else "elsewhere")
        shot = delivery.snapshot()
        if shot.standing.state is not Decided.RUNNING:
            return Present(str(shot.standing.state), shot.standing.since, shot.standing.reason)
        return Present(str(shot.state), shot.since, "" if shot.state == "running" else shot.answer)
