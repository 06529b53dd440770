"""The one way through the log: stretch by stretch, what holds a secret is replaced, or counted.

What was changed and nobody was told yet stands in the job's note, which is kept in the transaction of the change. So
whatever ends the service, the next one tells it, and has the search built again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import structlog

from adapter.delivery.loop import reader_name
from adapter.delivery.settling import IDLE_SETTLE
from adapter.errors import NoteChanged, StoreUnavailable
from adapter.kept import Kept
from adapter.log.protocol import Note, Replacement, Store, Stored
from adapter.scrub.cleaning import Cleaner
from adapter.scrub.job import SHOWN, Job, State, joined, up_to
from adapter.scrub.telling import changed_event

#: Entries that are read together; entries, and bytes, that are replaced in one transaction: appends wait for it.
STRETCH, MOST, MOST_BYTES = 1_000, 100, 512 * 1024
#: Stretches of positions that one event tells.
TOLD = 500
#: How often the place is kept while nothing is found, and how often a long job reports, seconds.
KEEPING, REPORTING = 1.0, 10.0
#: Seconds after which what a sink had is in its cursor.
SETTLED = 2 * IDLE_SETTLE
#: How often the log is asked to wipe what was there, and how long is waited in between, seconds.
WIPES, WIPING = 100, 0.1

_log = structlog.get_logger("adapter.scrub")

_Result = TypeVar("_Result")


class Walk:
    """One way through the log, from where a job is to its end."""

    def __init__(
        self,
        log: Store,
        kept: Kept[Job],
        job: Job,
        sinks: Iterable[str],
        rebuild_search: Callable[[str], Awaitable[None]],
        *,
        now: Callable[[], int],
        store_wait: float,
    ) -> None:
        """``sinks``: names of the configured ones; ``rebuild_search`` has the search built again, for a reason that it
        is told; ``now`` gives epoch milliseconds; after a failure of the store it waits ``store_wait`` seconds."""
        #: How far it is.
        self.job = job
        self._log = log
        self._kept = kept
        self._sinks = sinks
        self._rebuild_search = rebuild_search
        self._now = now
        self._store_wait = store_wait

    async def run(self, cleaner: Cleaner) -> None:
        """Go to the end; failures of the store are waited out.

        Raises:
            NoteChanged: somebody else has begun a job.
        """
        began = kept_at = reported = time.monotonic()
        looked_at, rate = 0, self.job.question.rate
        while self.job.position < self.job.end:
            stored = await self.patiently(self._read)
            problems: Counter[str] = Counter()
            found = await asyncio.to_thread(cleaner.clean, stored, problems)
            self._change(problems=self.job.problems + problems)
            sources = {one.entry.position: one.entry.source for one in stored}
            for some, is_event in _parts(found, {one.entry.position: one.entry.event for one in stored}):
                await self.patiently(partial(self._take, some, sources, is_event))
            self._change(position=stored[-1].entry.position if stored else self.job.end, problem=None)
            now = time.monotonic()
            if now - kept_at >= KEEPING:
                await self.patiently(lambda: self._keep_with(self.job, self._log.keep))
                kept_at = now
            if now - reported >= REPORTING:
                told = {"position": self.job.position, "end": self.job.end, "entries": self.job.entries}
                _log.info("scrub_under_way", **told)
                reported = now
            looked_at += len(stored)
            if rate:
                await asyncio.sleep(max(0.0, began + looked_at / rate - time.monotonic()))

    async def end(self, state: State, problem: str | None = None) -> None:
        """Tell what was changed, leave nothing of what was there, and keep how the job ended.

        Raises:
            NoteChanged: somebody else has begun a job.
            StoreError: some of it is still to be done.
        """
        kept = await self._kept.read()
        if kept is not None and kept.started_at == self.job.started_at and not self.job.question.dry_run:
            # Of what was broken off, the log knows best what was stored. What could not be looked into stands in the
            # note with the next change alone.
            further = {"position": max(kept.position, self.job.position), "problems": self.job.problems}
            self.job = kept.model_copy(update=further)
        is_changed = bool(self.job.untold) or self.job.rebuild
        await self._tell()
        if is_changed and not await self._wipe():
            problem = "the WAL of the log still holds what was there, since somebody reads from it; restart the service"
        if self.job.rebuild:
            await self._rebuild_search("a secret was taken out of the log")
        ended = {"state": state, "ended_at": self._now(), "problem": problem, "rebuild": False}
        await self._keep_with(self.job.model_copy(update=ended), self._log.keep)
        _log.info("scrub_ended", state=str(state), entries=self.job.entries, dry_run=self.job.question.dry_run)

    async def patiently(self, step: Callable[[], Awaitable[_Result]]) -> _Result:
        """Take a step, again and again while the store cannot."""
        while True:
            try:
                return await step()
            except StoreUnavailable as error:
                _log.warning("scrub_waits", problem=str(error))
                self._change(problem=str(error))
                await asyncio.sleep(self._store_wait)

    def _change(self, **members: object) -> None:
        self.job = self.job.model_copy(update=members)

    async def _read(self) -> list[Stored]:
        return await self._log.read_stored(self.job.position, until=self.job.end, limit=STRETCH)

    async def _take(self, some: Sequence[Replacement], sources: Mapping[int, str], is_event: bool) -> None:
        """Replace what some entries hold, or count them. ``is_event``: their events are among it."""
        if len(self.job.untold) >= TOLD:
            await self._tell()
        job, positions = self.job, [one.position for one in some]
        is_dry = job.question.dry_run
        cursors = await self._cursors()
        had = Counter({name: up_to(joined([], positions), cursor) for name, cursor in cursors.items()})
        moved = job.model_copy(
            update={
                "position": positions[-1],
                "entries": job.entries + len(positions),
                "positions": joined(job.positions, positions)[:SHOWN],
                "sources": job.sources + Counter(sources[position] for position in positions),
                "sinks": job.sinks + had,
                "untold": job.untold if is_dry else joined(job.untold, positions),
                "rebuild": job.rebuild or (is_event and not is_dry),
            }
        )
        if is_dry:
            self.job = moved
        else:
            await self._keep_with(moved, lambda note: self._log.replace(some, note))

    async def _cursors(self) -> dict[str, int]:
        """Up to where each sink has had what is in the log."""
        states = {name: await self._log.progress(reader_name(name)) for name in self._sinks}
        return {name: state.cursor for name, state in states.items() if state is not None}

    async def _tell(self) -> None:
        """Append the event that says which entries were changed, and which sinks had had them."""
        if self.job.untold:
            # What a sink had before the change is not in its cursor at once.
            await asyncio.sleep(SETTLED)
            event = changed_event(self.job, await self._cursors(), self._now())
            told = self.job.model_copy(update={"untold": []})
            await self._keep_with(told, lambda note: self._log.append([event], note))

    async def _keep_with(self, job: Job, work: Callable[[Note], Awaitable[object]]) -> None:
        """Do something, and keep the job as it is then, in one transaction.

        Raises:
            NoteChanged: somebody else has begun a job.
        """
        try:
            await self._kept.keep_with(job, work)
        except NoteChanged:
            kept = await self._kept.read()
            if kept is None or not _is_same(kept, job):
                raise
            job = kept  # it was stored, and the answer was lost
        self.job = job

    async def _wipe(self) -> bool:
        for _ in range(WIPES):
            if await self._log.wipe():
                return True
            await asyncio.sleep(WIPING)
        return False


def _is_same(kept: Job, job: Job) -> bool:
    """Whether what is kept is this job, as far as this."""
    return (kept.started_at, kept.state, kept.position, kept.untold) == (
        job.started_at, job.state, job.position, job.untold,
    )  # fmt: skip


def _parts(
    found: Sequence[Replacement], events: Mapping[int, bytes | None]
) -> Iterator[tuple[Sequence[Replacement], bool]]:
    """Those that are stored in one transaction, and whether any of their events, which are known by position, is
    another one then."""
    begin, size, is_event = 0, 0, False
    for number, one in enumerate(found):
        weight = len(one.event or b"") + len(one.raw or b"")
        if number > begin and (number - begin == MOST or size + weight > MOST_BYTES):
            yield found[begin:number], is_event
            begin, size, is_event = number, 0, False
        size += weight
        is_event = is_event or one.event != events[one.position]
    if found:
        yield found[begin:], is_event


def left_over(job: Job) -> bool:
    """Whether something of a job is to be ended by the next service: it was killed."""
    return job.state is State.RUNNING or bool(job.untold) or job.rebuild
