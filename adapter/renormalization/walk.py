"""One way through the log: stretch by stretch, entries are read again and what is new is appended."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
import structlog

from adapter.errors import NoteChanged, StoreError, StoreUnavailable
from adapter.formats.text import shortened
from adapter.log.protocol import Log, Note, Revision, Stored
from adapter.mapping.body import LONG
from adapter.memory import uncollected
from adapter.model import Entry, uid_text
from adapter.renormalization.choice import Choice
from adapter.renormalization.job import SAMPLES, Job, KeptJob, Sample, State
from adapter.renormalization.rereading import Rereader, Rereading, Verdict
from adapter.workbench.examples import differing

#: Entries that are read, and appended, together: as many as come in this time, seconds, so that no commit of theirs
#: holds others up for long; and the most.
PACE = 0.05
STRETCH = 1_000
#: What an entry counts against the rate that is skipped.
PASSED = 0.2
#: Differences that are shown of one event of a dry run.
LINES = 20
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
        kept: KeptJob,
        rereader: Rereader,
        choice: Choice,
        job: Job,
        counts: Counter[Verdict],
        *,
        now: Callable[[], int],
        store_wait: float,
    ) -> None:
        """What entries come to is added to ``counts``, but by a dry run. ``now`` gives epoch milliseconds; after a
        failure of the store it waits ``store_wait`` seconds."""
        #: How far it is.
        self.job = job
        self._log = log
        self._kept = kept
        self._rereader = rereader
        self._choice = choice
        self._counts = counts
        self._now = now
        self._store_wait = store_wait
        self._rate = job.question.rate
        self._stretch = min(STRETCH, max(1, int(self._rate * PACE))) if self._rate else STRETCH
        self._kept_at = self._reported = self._began = time.monotonic()
        #: Entries that were paid for, by the rate.
        self._spent = 0.0

    async def run(self) -> bool:
        """Go to the end; failures of the store are waited out. ``False`` if somebody else has ended the job."""
        while self.job.position < self.job.end:
            try:
                await self._go_through()
            except NoteChanged:
                # By a step of ours whose answer was lost, or by somebody who has ended the job.
                kept = await self._kept.read()
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
                step = await self._work(stored)
                if appending is not None and not await _outcome(appending):
                    return
                appending = asyncio.create_task(self._take(step))
                appending.add_done_callback(_look_away)
                await self._keep_to_the_rate()
            if appending is not None:
                await _outcome(appending)
        finally:
            reading.cancel()
            if appending is not None:
                # What was handed over is stored, whoever breaks off: the job has to know.
                await asyncio.wait([appending])

    def _read(self, after: int) -> asyncio.Task[list[Stored]]:
        reading = asyncio.create_task(self._log.read_stored(after, until=self.job.end, limit=self._stretch))
        reading.add_done_callback(_look_away)
        return reading

    async def _work(self, stored: list[Stored]) -> _Step:
        """Read a stretch again."""
        step = _Step(stored[-1].entry.position)
        chosen = [one for one in stored if one.raw is not None and self._choice.may_take(one.entry)]
        later = [one.latest for one in chosen if one.latest != one.entry.position]
        latest: dict[int, Entry] = {}
        shown: Counter[Verdict] = Counter()
        now = self._now()
        for number, one in enumerate(chosen, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            if one.latest != one.entry.position and one.latest not in latest:
                # As many as fit into memory at a time.
                latest = {entry.position: entry for entry in await self._log.fetch(later)}
                later = later[len(latest) :]
            before = latest.get(one.latest, one.entry)
            if not self._choice.takes(before):
                continue
            if one.raw is not None and len(one.raw) > LONG:
                again = await asyncio.to_thread(uncollected, self._rereader.read, one, before, now)
            else:
                again = self._rereader.read(one, before, now)
            step.counts[again.verdict] += 1
            if again.problem is not None:
                # Where in a text it was found makes no problem of its own.
                step.problems[shortened(again.problem.partition(": line ")[0])] += 1
            if self.job.question.dry_run:
                shown[again.verdict] += 1
                if shown[again.verdict] <= SAMPLES:
                    step.samples += _samples(before, again)
            elif again.revision is not None:
                step.revisions.append(again.revision)
        looked_at = step.counts.total()
        self._spent += looked_at + (len(stored) - looked_at) * PASSED
        return step

    async def _take(self, step: _Step) -> bool:
        """Append what is new, and move on; whether nobody else was faster."""
        job = self.job.moved(step.position, step.counts, step.problems, step.samples)
        now = time.monotonic()
        if step.revisions or now - self._kept_at >= KEEPING or job.position >= job.end:
            note = self._kept.next(job)
            if await self._append(step.revisions, note) is None:
                return False
            self._kept.take(note)
            self._kept_at = now
        self.job = job
        if not job.question.dry_run:
            self._counts.update(step.counts)
        if now - self._reported >= REPORTING:
            _log.info("renormalization_under_way", position=job.position, end=job.end, **job.counts.model_dump())
            self._reported = now
        return True

    async def _append(self, revisions: list[Revision], note: Note | None) -> list[int] | None:
        try:
            return await self._log.revise(revisions, note)
        except (StoreUnavailable, NoteChanged):
            raise
        except StoreError as error:
            if len(revisions) < 2:
                _log.error("renormalization_left_one_out", problem=str(error))
                return [] if note is None else await self._log.revise([], note)
            # One of them cannot be stored: each is tried alone.
            for revision in revisions:
                if await self._append([revision], None) is None:
                    return None
            return await self._log.revise([], note)

    async def _keep_to_the_rate(self) -> None:
        if self._rate:
            ahead = self._began + self._spent / self._rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)


@dataclass(slots=True)
class _Step:
    """A stretch that was read again."""

    #: Of its last entry.
    position: int
    counts: Counter[Verdict] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    revisions: list[Revision] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


async def _outcome(appending: asyncio.Task[bool]) -> bool:
    """What a task gives; to cancel this does not cancel the task."""
    await asyncio.wait([appending])
    return appending.result()


def _look_away(task: asyncio.Task[Any]) -> None:
    """If it was not waited for, what went wrong with it is nobody's concern."""
    if not task.cancelled():
        task.exception()


def _samples(before: Entry, again: Rereading) -> list[Sample]:
    """What a dry run shows of an entry, if there is anything to see."""
    lines: list[str] = []
    match again.verdict:
        case Verdict.UNCHANGED | Verdict.QUARANTINED:
            return []
        case Verdict.KEPT:
            lines = [shortened(again.problem or "")]
        case Verdict.RECOVERED:
            lines = [f"was quarantined: {shortened(before.problem or '')}"]
        case Verdict.CORRECTED:
            assert before.event is not None and again.revision is not None
            changes = differing(_shown(before.event), _shown(again.revision.event))
            lines = [
                f"{shortened(place)}: {shortened(repr(one))} becomes {shortened(repr(other))}"
                for place, one, other in islice(changes, LINES)
            ]
    revision = again.revision
    native = before.native_type if revision is None else revision.native_type
    type = None if revision is None else revision.type
    uid = uid_text(before.uid)
    native, type = (None if name is None else shortened(name) for name in (native, type))
    return [Sample(uid=uid, verdict=again.verdict, native_type=native, type=type, lines=lines)]


def _shown(event: bytes) -> dict[str, Any]:
    """An event without what differs anyway."""
    read: dict[str, Any] = orjson.loads(event)
    for name in ("mapping", "normalizedAt", "revision"):
        read["source"].pop(name, None)
    return read
