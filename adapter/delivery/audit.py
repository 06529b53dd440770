"""The audit of a sink's counters: the retained log is evaluated again with its present filter, from where the epoch
began, and held against what was counted.

What a receiver has nobody here can know; so the audit says whether each event that the filter takes was counted once,
and whether each row is of such an event. It reads in stretches, in the background, and writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import NamedTuple

import structlog
from pydantic import BaseModel, Field

from adapter.delivery.keys import kind_of, make_key_of
from adapter.delivery.loop import reader_name
from adapter.delivery.select import Selection
from adapter.errors import RequestError, StoreError, unknown_sink
from adapter.log.protocol import BlockedKey, Held, ReaderState, Store
from adapter.sinks.settings import SinkSettings

#: Entries a second, if nobody says otherwise.
RATE = 20_000
#: Entries that are read at a time, and rows that are looked at.
STRETCH, ROWS = 250, 1_000
#: Rows of a sink that are looked at; of more, those that are due soonest.
MOST_ROWS = 200_000
#: Positions that are shown of a difference.
SHOWN = 200
#: How often is looked for a moment in which nothing is settled, and the wait between two looks, seconds.
LOOKS, LOOKING = 200, 0.01
#: Wait after a failure of the store, seconds.
STORE_WAIT = 1.0

_log = structlog.get_logger("adapter.audit")


class AuditState(StrEnum):
    """How it stands with an audit."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    #: It could not be made; ``problem`` says why.
    FAILED = "failed"


class Difference(BaseModel):
    """Something that does not add up."""

    what: str = Field(description="What was counted, or found")
    counted: int | None = Field(None, description="As the sink counted")
    found: int | None = Field(None, description="As the log has it now")
    positions: list[int] = Field(default_factory=list, description=f"Of which entries, the first {SHOWN}")


class Audit(BaseModel):
    """How far an audit is, and what it found."""

    sink: str
    state: AuditState
    begin: int = Field(description="It begins after this position: where the epoch of the sink's filter began")
    end: int = Field(description="It ends with this position: the sink's when the audit began")
    position: int = Field(description="It is done up to this position")
    epoch: int = Field(description="Number of the filter's epoch")
    matched: int = Field(description="Events that the sink counted as matched in this stretch")
    found: int = Field(0, description="Events of it that the filter takes now")
    carried: int = Field(description="Events that count, too, since they were held when the epoch began")
    removed: int = Field(
        0, description="Entries of it that retention removed after the sink had passed them: so many of them may have "
        "matched"
    )  # fmt: skip
    unknown: int = Field(
        0, description="Entries that retention removed before the sink came to them: matched and skipped, as nobody "
        "knows what they were"
    )  # fmt: skip
    rows: int = Field(0, description="Held and dead events whose rows were looked at")
    rows_removed: int = Field(0, description="Of these, entries that are no more in the log")
    differences: list[Difference] = Field(default_factory=list, description="What does not add up; none: all does")
    notes: list[str] = Field(default_factory=list, description="What could not be looked at, and why")
    started_at: int = Field(description="Epoch milliseconds")
    ended_at: int | None = Field(None, description="Epoch milliseconds; null while it is under way")
    problem: str | None = Field(None, description="What holds it up, or ended it")


class _Moment(NamedTuple):
    """What is stored of a sink, all of one moment."""

    state: ReaderState
    blocked: Sequence[BlockedKey]
    rows: Sequence[Held]


class Audits:
    """Begins, shows and ends audits, one of each sink at a time. Made by `open_audits`."""

    def __init__(
        self,
        log: Store,
        sinks: Callable[[], Mapping[str, SinkSettings]],
        select: Callable[[SinkSettings], Selection],
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        self._sinks = sinks
        self._select = select
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._audits: dict[str, Audit] = {}

    async def start(self, name: str, *, rate: int = RATE) -> Audit:
        """Begin the audit of a sink; ``rate``: entries a second, 0: as fast as it goes.

        Raises:
            RequestError: 404, no such sink; 409, there is an audit of it under way, it has not begun, or it counts by
                another filter than the present one.
        """
        settings = self._sinks().get(name)
        if settings is None:
            raise unknown_sink(name, self._sinks())
        if (task := self._tasks.get(name)) is not None and not task.done():
            raise RequestError(409, "Audit under way", f"wait for its end, or cancel it (DELETE /sinks/{name}/audit)")
        selection = self._select(settings)
        state = await self._log.progress(reader_name(name))
        if state is None:
            raise RequestError(409, "Nothing to audit", f"{name} has not begun to read the log.")
        if state.filter != selection.text:
            detail = "it counts by another filter, or by what another catalogue makes of it, until it is opened again"
            raise RequestError(409, "Another filter", f"{name}: {detail}: idp-adapter reload.")
        if state.since is None:
            detail = "its epoch began before its beginning was kept; with the next change of its filter it is"
            raise RequestError(409, "Beginning unknown", f"{name}: {detail}.")
        audit = self._audits[name] = Audit(
            sink=name, state=AuditState.RUNNING, begin=state.since, end=state.cursor, position=state.since,
            epoch=state.epoch, matched=state.matched - state.carried, carried=state.carried, started_at=self._now(),
        )  # fmt: skip
        self._tasks[name] = asyncio.create_task(self._run(audit, selection, rate), name=f"audit of {name}")
        return audit

    def look(self, name: str) -> Audit:
        """The present audit of a sink, or the last one since the service began.

        Raises:
            RequestError: 404, there was none.
        """
        audit = self._audits.get(name)
        if audit is None:
            detail = f"There was no audit of {name} yet; POST /sinks/{name}/audit starts one."
            raise RequestError(404, "Not found", detail)
        return audit

    async def stop(self, name: str) -> Audit:
        """Cancel the audit of a sink, if one is under way.

        Raises:
            RequestError: 404, there was none.
        """
        audit = self.look(name)
        task = self._tasks.get(name)
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
            self._end(audit, AuditState.CANCELLED)
        return audit

    async def close(self) -> None:
        """End all of them."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, audit: Audit, selection: Selection, rate: int) -> None:
        while True:
            try:
                await _Auditing(self._log, audit, selection, rate).run()
                self._end(audit, AuditState.DONE)
                return
            except StoreError as error:
                audit.problem = str(error)
                await asyncio.sleep(STORE_WAIT)
            except Exception:
                _log.exception("audit_failed", sink=audit.sink)
                self._end(audit, AuditState.FAILED, "a fault of the adapter; its log says which")
                return

    def _end(self, audit: Audit, state: AuditState, problem: str | None = None) -> None:
        audit.state, audit.ended_at, audit.problem = state, self._now(), problem
        if audit.differences:
            told = [one.model_dump(exclude_none=True) for one in audit.differences]
            _log.warning("sink_counts_differ", sink=audit.sink, differences=told)

    def _now(self) -> int:
        return int(self._clock() * 1000)


class _Auditing:
    """One audit, from its beginning."""

    def __init__(self, log: Store, audit: Audit, selection: Selection, rate: int) -> None:
        self._log = log
        self._audit = audit
        self._reader = reader_name(audit.sink)
        self._selection = selection
        self._rate = rate

    async def run(self) -> None:
        """
        Raises:
            StoreError: the log cannot be read now; it can be run again.
        """
        audit = self._audit
        audit.differences, audit.notes, audit.found, audit.rows, audit.rows_removed = [], [], 0, 0, 0
        audit.problem = None
        moment = await self._look()
        state = moment.state
        if state.epoch != audit.epoch or state.since is None:
            audit.notes.append("the sink's filter changed meanwhile; audit it again")
            return
        audit.end, audit.position = state.cursor, audit.begin
        audit.matched, audit.carried, audit.unknown = state.matched - state.carried, state.carried, state.removed
        self._check_sum(state)
        behind = await self._walk({one.key: one.position for one in moment.blocked})
        # What was removed before the sink came to it is counted, up to the end of the log.
        ahead = await self._log.removed(audit.end, self._log.head)
        removed = await self._log.removed(audit.begin, audit.end)
        audit.removed = max(0, removed - max(0, state.removed - ahead))
        # Not less than what is there, and not more than what there can have been.
        if not audit.found <= audit.matched <= audit.found + audit.removed:
            self._differ("matched", audit.matched, audit.found)
        if not behind <= state.behind <= behind + audit.removed:
            self._differ("held behind blocked keys", state.behind, behind)
        await self._check_rows(moment.rows, state)

    async def _look(self) -> _Moment:
        """What is stored of the sink, without a settlement in between; what could not be had so is left out, which is
        noted."""
        for _ in range(LOOKS):
            before = await self._state()
            blocked = await self._log.blocked(self._reader)
            rows = await self._log.held(self._reader, limit=MOST_ROWS)
            if before == await self._state():
                if before.held + before.dead > len(rows):
                    self._audit.notes.append(f"only {len(rows)} of its rows were looked at")
                return _Moment(before, blocked, rows)
            await asyncio.sleep(LOOKING)
        self._audit.notes.append("its rows were not looked at: it settles too often; pause it, and audit it again")
        return _Moment(await self._state(), (), ())

    async def _state(self) -> ReaderState:
        state = await self._log.progress(self._reader)
        if state is None:
            raise StoreError(f"{self._audit.sink} is not known to the log")
        return state

    async def _walk(self, blocked: Mapping[str, int]) -> int:
        """Count what the filter takes up to the end; of blocked keys, how many of that are not done."""
        audit, selection = self._audit, self._selection
        kinds = {kind_of(key) for key in blocked}
        makers = [make_key_of(kind) for kind in kinds]
        behind = looked_at = 0
        clock = asyncio.get_running_loop().time
        began = clock()
        while audit.position < audit.end:
            entries = await self._log.read(audit.position, until=audit.end, limit=STRETCH)
            chosen = selection.select(entries)
            audit.found += len(chosen)
            for key_of in makers:
                for entry in chosen:
                    key = key_of(entry.event or b"")
                    behind += key is not None and entry.position > blocked.get(key, entry.position)
            audit.position = entries[-1].position if entries else audit.end
            looked_at += len(entries)
            await asyncio.sleep(max(0.0, began + looked_at / self._rate - clock()) if self._rate else 0.0)
        return behind

    async def _check_rows(self, rows: Sequence[Held], state: ReaderState) -> None:
        """Each row is of an entry that the filter takes and that the cursor has passed."""
        ahead = [row.position for row in rows if row.position > state.cursor]
        if ahead:
            self._differ("rows beyond the sink's place", found=len(ahead), positions=ahead)
        positions = sorted(row.position for row in rows if row.position <= state.cursor)
        audit, wrong = self._audit, []
        audit.rows = len(positions)
        for begin in range(0, len(positions), ROWS):
            asked = positions[begin : begin + ROWS]
            while asked:
                entries = await self._log.fetch(asked)
                last = entries[-1].position if entries else asked[-1]
                there = {entry.position for entry in entries}
                done = [position for position in asked if position <= last]
                audit.rows_removed += sum(position not in there for position in done)
                # Those of former epochs were taken by another filter.
                of_epoch = [entry for entry in entries if entry.position > audit.begin]
                taken = {entry.position for entry in self._selection.select(of_epoch)}
                wrong += [entry.position for entry in of_epoch if entry.position not in taken]
                asked = asked[len(done) :]
                await asyncio.sleep(0)
        if wrong:
            self._differ("rows of entries that the filter does not take", found=len(wrong), positions=wrong)

    def _check_sum(self, state: ReaderState) -> None:
        held = state.held + state.behind
        parts = state.delivered + held + state.dead + state.skipped
        if state.matched != parts:
            self._differ("matched = delivered + held + dead + skipped", state.matched, parts)

    def _differ(
        self, what: str, counted: int | None = None, found: int | None = None, positions: Sequence[int] = ()
    ) -> None:
        one = Difference(what=what, counted=counted, found=found, positions=list(positions[:SHOWN]))
        self._audit.differences.append(one)


@asynccontextmanager
async def open_audits(
    log: Store,
    sinks: Callable[[], Mapping[str, SinkSettings]],
    select: Callable[[SinkSettings], Selection],
    *,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Audits]:
    """Audits of the sinks that there are (``sinks``, by their names), while the context lasts. ``select`` makes what a
    sink's settings take; ``clock`` gives epoch seconds."""
    audits = Audits(log, sinks, select, clock)
    try:
        yield audits
    finally:
        await audits.close()
