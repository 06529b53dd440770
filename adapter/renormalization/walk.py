"""The one way through the log: stretch by stretch, a reader reads entries again by the tables that it has, and what is
new is appended, if that is asked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any

import structlog

from adapter.errors import NoteChanged, StoreError, StoreUnavailable
from adapter.log.protocol import Log, NewEntry, Note, Receipt, Revision, Stored
from adapter.model import Entry
from adapter.renormalization.choice import Choice
from adapter.renormalization.job import Job, KeptJob, Question, State
from adapter.renormalization.step import Step, StretchReader
from adapter.workbench.compare import Verdict

#: Entries are read, and appended, together that come in this time, seconds, so that no commit of theirs holds others up
#: for long.
PACE = 0.05
#: What an entry counts against the rate that is skipped.
PASSED = 0.2
#: After so many of them others get a turn.
TURN = 25
#: How often the place is kept while nothing is appended, seconds.
KEEPING = 1.0
#: How often a long job reports, seconds.
REPORTING = 10.0
#: Wait after a failure of the store, seconds.
STORE_WAIT = 1.0

_log = structlog.get_logger("adapter.renormalization")


class Walk:
    """One way through the log, from where a job is to its end."""

    def __init__(
        self,
        log: Log,
        kept: KeptJob | None,
        reader: StretchReader,
        choice: Choice,
        job: Job,
        counts: Counter[Verdict],
        *,
        now: Callable[[], int],
        store_wait: float = STORE_WAIT,
    ) -> None:
        """``kept``: where the log keeps how far it is; ``None``: nowhere, and nothing is to be appended. What entries
        come to is added to ``counts``, but by a dry run. ``now`` gives epoch milliseconds; after a failure of the store
        it waits ``store_wait`` seconds."""
        #: How far it is.
        self.job = job
        self._log = log
        self._kept = kept
        self._reader = reader
        self._choice = choice
        self._counts = counts
        self._now = now
        self._store_wait = store_wait
        self._rate = job.question.rate
        self._stretch = min(reader.stretch, max(1, int(self._rate * PACE))) if self._rate else reader.stretch
        self._kept_at = self._reported = self._began = time.monotonic()
        #: Entries that were paid for, by the rate.
        self._spent = 0.0
        #: Further events that were appended, and are in no job's counts yet.
        self._added = 0

    async def run(self) -> bool:
        """Go to the end; failures of the store are waited out. ``False`` if somebody else has ended the job."""
        while self.job.position < self.job.end:
            try:
                await self._go_through()
            except NoteChanged:
                # By a step of ours whose answer was lost, or by somebody who has ended the job.
                kept = None if self._kept is None else await self._kept.read()
                is_ours = kept is not None and kept.started_at == self.job.started_at
                self.job = kept or self.job
                if not is_ours or self.job.state is not State.RUNNING:
                    return False
            except StoreUnavailable as error:
                _log.warning("renormalization_waits", problem=str(error))
                self.job = self.job.model_copy(update={"problem": str(error)})
                await asyncio.sleep(self._store_wait)
        return True

    async def _go_through(self) -> None:
        """Go on until the end, or until somebody else has appended to one of the events: they are read again.

        One stretch is read and another one appended while the one between them is worked on.
        """
        reading = self._read(self.job.position)
        appending: asyncio.Task[bool] | None = None
        try:
            while stored := await reading:
                reading = self._read(stored[-1].entry.position)
                step, position = await self._work(stored), stored[-1].entry.position
                if appending is not None and not await _result_of(appending):
                    return
                appending = asyncio.create_task(self._take(step, position))
                appending.add_done_callback(_look_away)
                await self._keep_to_the_rate()
            if appending is not None and not await _result_of(appending):
                return
            if self.job.position < self.job.end:
                # What followed was removed.
                await self._take(Step(), self.job.end)
        finally:
            reading.cancel()
            if appending is not None:
                # What was handed over is stored, whoever breaks off: the job has to know.
                await asyncio.wait([appending])

    def _read(self, after: int) -> asyncio.Task[list[Stored]]:
        reading = asyncio.create_task(self._log.read_stored(after, until=self.job.end, limit=self._stretch))
        reading.add_done_callback(_look_away)
        return reading

    async def _work(self, stored: list[Stored]) -> Step:
        """Read a stretch again."""
        step = await self._reader.read(self._chosen(stored), self._now(), show=self.job.question.dry_run)
        looked_at = step.counts.total() - step.counts[Verdict.ADDED]
        self._spent += looked_at + (len(stored) - looked_at) * PASSED
        return step

    async def _chosen(self, stored: list[Stored]) -> AsyncGenerator[tuple[Stored, Entry], None]:
        """Those of a stretch that are asked for, each with what stands for its event now."""
        first = [one for one in stored if one.raw is not None and self._choice.may_take(one.entry)]
        later = [one.latest for one in first if one.latest != one.entry.position]
        latest: dict[int, Entry] = {}
        for number, one in enumerate(first, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            if one.latest != one.entry.position and one.latest not in latest:
                # As many as fit into memory at a time.
                latest = {entry.position: entry for entry in await self._log.fetch(later)}
                later = later[len(latest) :]
            now = latest.get(one.latest, one.entry)
            if self._choice.takes(now):
                yield one, now

    async def _take(self, step: Step, position: int) -> bool:
        """Append what is new, and move on; whether nobody else was faster."""
        if step.further:
            self._added += await self._add(step)
            step.counts[Verdict.ADDED] = self._added
        job = self.job.moved(position, step)
        now = time.monotonic()
        due = step.revisions or now - self._kept_at >= KEEPING or job.position >= job.end
        if self._kept is not None and due:
            note = self._kept.next(job)
            positions = await self._append(step.revisions, note)
            if positions is None:
                return False
            self._kept.take(note)
            self._kept_at = now
            if copies := positions.count(None):
                step.found_copies(copies)
                job = self.job.moved(position, step)
        self.job, self._added = job, 0
        if not job.question.dry_run:
            self._counts.update(step.counts)
        if self._kept is not None and now - self._reported >= REPORTING:
            _log.info("renormalization_under_way", position=job.position, end=job.end, **job.counts.model_dump())
            self._reported = now
        return True

    async def _add(self, step: Step) -> int:
        """Append further events of records that the log does not have yet, and say how many. That comes before it is
        kept that this stretch is done: after a kill they are handed over again, and known."""
        if not self.job.question.dry_run:
            return sum([one.position is not None for one in await self._append_new(step.further)])
        new = [one for one in step.further if await self._log.latest(one.uid) is None]
        for one in new:
            step.show(one, Verdict.ADDED, one.native_type, one.type, {"type": f"nothing becomes {one.type}"})
        return len(new)

    async def _append_new(self, entries: list[NewEntry]) -> list[Receipt]:
        try:
            return await self._log.append(entries)
        except StoreUnavailable:
            raise
        except StoreError as error:
            if len(entries) < 2:
                _log.error("renormalization_left_one_out", problem=str(error))
                return []
            return [receipt for entry in entries for receipt in await self._append_new([entry])]

    async def _append(self, revisions: list[Revision], note: Note | None) -> list[int | None] | None:
        try:
            return await self._log.revise(revisions, note)
        except (StoreUnavailable, NoteChanged):
            raise
        except StoreError as error:
            if len(revisions) < 2:
                _log.error("renormalization_left_one_out", problem=str(error))
                return [] if note is None else await self._log.revise([], note)
            # One of them cannot be stored: each is tried alone.
            positions: list[int | None] = []
            for revision in revisions:
                position = await self._append([revision], None)
                if position is None:
                    return None
                positions += position
            return positions if await self._log.revise([], note) is not None else None

    async def _keep_to_the_rate(self) -> None:
        if self._rate:
            ahead = self._began + self._spent / self._rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)


async def stretch_of(log: Log, question: Question) -> tuple[int, int]:
    """Where the entries that are asked for begin (after this position) and end. Arrivals are not in order: what lies
    behind the last one in question is left out by its own timestamp."""
    since, end = question.received_from, log.head
    return (0 if since is None else min(await log.position_at(since), end)), end


async def _result_of(appending: asyncio.Task[bool]) -> bool:
    """What a task gives; to cancel this does not cancel the task."""
    await asyncio.wait([appending])
    return appending.result()


def _look_away(task: asyncio.Task[Any]) -> None:
    """If it was not waited for, what went wrong with it is nobody's concern."""
    if not task.cancelled():
        task.exception()
