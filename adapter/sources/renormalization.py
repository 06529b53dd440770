"""Renormalization: stored raw events read again by the present tables, from one end of the log to the other.

One job at a time goes through the log, stretch by stretch: what was quarantined becomes an event, what reads
differently gets a revision. How far it is, is kept in the log with what it appends, so that after a kill it goes on
from there; and since what is equal is not appended, nothing is appended twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapter.errors import RequestError, StoreError, StoreUnavailable
from adapter.filter import Filter
from adapter.log.protocol import Log, Note, Revision, Stored
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.examples import differences
from adapter.mapping.table import Table
from adapter.model import Entry, uid_text
from adapter.sources.intake import Source
from adapter.sources.rereading import Rereader, Rereading, Verdict

#: Under which name the log keeps how far the job is.
NOTE = "renormalization"
#: The word that stands among the types for what has no event.
QUARANTINED = "quarantined"
#: Entries a second, if nobody says otherwise: a tenth of what a core could do.
RATE = 5_000

#: Entries that are read, and appended, together: as many as come in this time, seconds, so that no commit of theirs
#: holds others up for long; and the most.
PACE = 0.05
STRETCH = 1_000
#: What an entry counts against the rate that is passed over.
PASSED = 0.2
#: After so many of them others get a turn.
TURN = 25
#: How often the place is kept while nothing is appended, seconds.
KEEPING = 1.0
#: How often a long job reports, seconds.
REPORTING = 10.0
#: Wait after a failure of the store, seconds.
STORE_WAIT = 1.0
#: Differences of each kind that a dry run shows.
SAMPLES = 10

_log = structlog.get_logger("adapter.renormalization")


class State(StrEnum):
    """How it stands with a job."""

    RUNNING = "running"
    #: Broken off by the end of the service; the next one goes on with it.
    WAITING = "waiting"
    DONE = "done"
    CANCELLED = "cancelled"
    #: Ended by a fault of ours; the service's log says which.
    FAILED = "failed"


class Question(BaseModel):
    """Which stored entries are to be read again, and how."""

    model_config = ConfigDict(extra="forbid")

    provider: str | None = Field(None, description="Of this provider alone")
    type: tuple[str, ...] = Field(
        (), description="Types or globs as in the feed, or quarantined for what has no event; none: everything"
    )
    native_type: tuple[str, ...] = Field((), description="Native types; none: all")
    received_from: int | None = Field(None, ge=0, description="Arrived at or after this moment, epoch milliseconds")
    received_to: int | None = Field(None, ge=0, description="Arrived before this moment, epoch milliseconds")
    rate: int = Field(RATE, ge=0, description="Entries a second; 0: as fast as it goes")
    dry_run: bool = Field(False, description="Append nothing, and show what would be different")


class Tally(BaseModel):
    """What reading again came to, so far."""

    looked_at: int = Field(0, description="Entries that were read again")
    recovered: int = Field(0, description="Quarantined until then, events now")
    corrected: int = Field(0, description="Events that read differently now, and got a revision")
    unchanged: int = Field(0, description="Events that read as before")
    quarantined: int = Field(0, description="Still quarantined")
    kept: int = Field(0, description="Events that would not become one now; they stay as they are")


class Sample(BaseModel):
    """One difference, of a dry run."""

    uid: str
    verdict: Verdict
    native_type: str | None
    type: str | None = Field(description="The type that it would have; null if it would have none")
    lines: list[str] = Field(description="What would be different: where, what it was, what it would be")


class Job(BaseModel):
    """A renormalization: what was asked, and how far it is."""

    state: State
    question: Question
    begin: int = Field(description="It begins after this position")
    end: int = Field(description="It ends with this position")
    position: int = Field(description="It is done up to this position")
    started_at: int = Field(description="Epoch milliseconds")
    ended_at: int | None = Field(None, description="Epoch milliseconds; null while it is under way")
    counts: Tally = Field(default_factory=Tally)
    samples: list[Sample] = Field(default_factory=list, description="On a dry run, some of the differences")
    problem: str | None = Field(None, description="What holds it up, or ended it")


class Renormalization:
    """The one job there may be, and the last one there was. Made by `open_renormalization`."""

    def __init__(
        self,
        log: Log,
        rereader: Rereader,
        providers: Mapping[str, str],
        catalogue: Callable[[], Catalogue],
        clock: Callable[[], float],
        store_wait: float,
    ) -> None:
        #: What it came to since the service started, by verdict; for metrics.
        self.counts: Counter[Verdict] = Counter()
        #: The present job, or else the last one; ``None`` if there never was one.
        self.job: Job | None = None
        self._log = log
        self._rereader = rereader
        self._providers = providers
        self._catalogue = catalogue
        self._clock = clock
        self._store_wait = store_wait
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def start(self, question: Question) -> Job:
        """Begin a job, or go on with the one that was asked alike and broken off.

        Raises:
            RequestError: 409, there is one under way.
        """
        async with self._turn:
            before = self.job
            if before is not None and before.state is State.WAITING and before.question == question:
                return self._go_on(before)
            if before is not None and before.state in (State.RUNNING, State.WAITING):
                raise RequestError(
                    409,
                    "Renormalization under way",
                    f"one that began at {before.started_at} is {before.state}, at position {before.position} of "
                    f"{before.end}; wait for its end, or cancel it with DELETE /renormalization",
                )
            since, end = question.received_from, self._log.head
            begin = 0 if since is None else min(await self._log.position_at(since), end)
            job = Job(
                state=State.RUNNING,
                question=question,
                begin=begin,
                end=end,
                position=begin,
                started_at=self._now(),
            )
            await self._keep(job)
            return self._go_on(job)

    async def cancel(self) -> Job | None:
        """End the job that is under way; what it appended stays. The job as it is then; ``None`` if there never was
        one."""
        async with self._turn:
            await self._stop()
            if self.job is not None and self.job.state in (State.RUNNING, State.WAITING):
                await self._end(State.CANCELLED)
            return self.job

    async def look(self, *, go_on: bool) -> None:
        """See whether a job was broken off; with ``go_on`` continue it."""
        kept = await self._log.noted(NOTE)
        if kept is None:
            return
        try:
            self.job = job = Job.model_validate_json(kept)
        except ValidationError:
            _log.error("renormalization_unreadable", kept=kept)
            return
        if job.state is not State.RUNNING:
            return
        if go_on:
            self._go_on(job)
        else:
            self.job = job.model_copy(update={"state": State.WAITING})

    async def close(self) -> None:
        """Break off; the log knows how far it is."""
        await self._stop()

    def _go_on(self, job: Job) -> Job:
        self.job = job = job.model_copy(update={"state": State.RUNNING})
        asked = job.question.model_dump(exclude_defaults=True)
        _log.info("renormalization_runs", position=job.position, end=job.end, **asked)
        self._task = asyncio.create_task(self._run(job))
        return job

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _end(self, state: State, problem: str | None = None) -> None:
        assert self.job is not None
        job = self.job.model_copy(update={"state": state, "ended_at": self._now(), "problem": problem})
        await self._keep(job)
        self.job = job
        _log.info("renormalization_ended", state=str(state), **job.counts.model_dump())

    async def _keep(self, job: Job) -> None:
        await self._log.revise([], _note(job))

    async def _run(self, job: Job) -> None:
        try:
            await _Walk(self, job).run()
            while True:
                try:
                    return await self._end(State.DONE)
                except StoreUnavailable:
                    await asyncio.sleep(self._store_wait)
        except Exception:
            _log.exception("renormalization_failed")
            with suppress(StoreError):
                await self._end(State.FAILED, "a fault of the adapter; its log says which")

    def _now(self) -> int:
        return int(self._clock() * 1000)


class _Walk:
    """One way through the log, from where a job is to its end."""

    def __init__(self, whole: Renormalization, job: Job) -> None:
        self._whole = whole
        self._log = whole._log
        self._rereader = whole._rereader
        self._choice = _Choice(job.question, whole._providers, whole._catalogue())
        self._dry = job.question.dry_run
        self._rate = job.question.rate
        self._stretch = min(STRETCH, max(1, int(self._rate * PACE))) if self._rate else STRETCH
        self._end = job.end
        self._position = job.position
        self._kept = self._reported = self._began = time.monotonic()
        #: Entries that were paid for, by the rate.
        self._spent = 0.0

    async def run(self) -> None:
        """Go to the end; failures of the store are waited out."""
        while self._position < self._end:
            try:
                await self._go_through()
            except StoreUnavailable as error:
                _log.warning("renormalization_waits", problem=str(error))
                self._say(problem=str(error))
                await asyncio.sleep(self._whole._store_wait)

    async def _go_through(self) -> None:
        """Go on until the end, or until somebody else has appended to one of the events: they are read again.

        One stretch is read and another one appended while the one between them is worked on.
        """
        reading = self._read(self._position)
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
        reading = asyncio.create_task(self._log.read_stored(after, until=self._end, limit=self._stretch))
        reading.add_done_callback(_look_away)
        return reading

    async def _work(self, stored: list[Stored]) -> _Step:
        """Read a stretch again."""
        step = _Step(stored[-1].entry.position)
        chosen = [one for one in stored if one.raw is not None and self._choice.may_take(one.entry)]
        later = [one.latest for one in chosen if one.latest != one.entry.position]
        latest = {entry.position: entry for entry in await self._log.fetch(later)} if later else {}
        now = self._whole._now()
        for number, one in enumerate(chosen, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            before = latest.get(one.latest, one.entry)
            if not self._choice.takes(before):
                continue
            again = self._rereader.read(one, before, now)
            step.counts[again.verdict] += 1
            if self._dry:
                step.samples += _samples(before, again)
            elif again.revision is not None:
                step.revisions.append(again.revision)
        looked_at = step.counts.total()
        self._spent += looked_at + (len(stored) - looked_at) * PASSED
        return step

    async def _take(self, step: _Step) -> bool:
        """Append what is new, and move on; whether nobody else was faster."""
        job = self._whole.job
        assert job is not None
        job = _moved(job, step)
        moment = time.monotonic()
        if step.revisions or moment - self._kept >= KEEPING or step.position >= self._end:
            if await self._append(step.revisions, _note(job)) is None:
                return False
            self._kept = moment
        self._whole.job = job
        self._whole.counts.update(step.counts)
        self._position = step.position
        if moment - self._reported >= REPORTING:
            _log.info("renormalization_under_way", position=step.position, end=self._end, **job.counts.model_dump())
            self._reported = moment
        return True

    async def _append(self, revisions: list[Revision], note: Note) -> list[int] | None:
        try:
            return await self._log.revise(revisions, note)
        except StoreUnavailable:
            raise
        except StoreError as error:
            if len(revisions) < 2:
                _log.error("renormalization_left_one_out", problem=str(error))
                return await self._log.revise([], note)
            # One of them cannot be stored: each is tried alone.
            for revision in revisions:
                if await self._append([revision], note) is None:
                    return None
            return []

    async def _keep_to_the_rate(self) -> None:
        if self._rate:
            ahead = self._began + self._spent / self._rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)

    def _say(self, problem: str) -> None:
        assert self._whole.job is not None
        self._whole.job = self._whole.job.model_copy(update={"problem": problem})


@dataclass(slots=True)
class _Step:
    """A stretch that was read again."""

    #: Of its last entry.
    position: int
    counts: Counter[Verdict] = field(default_factory=Counter)
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


class _Choice:
    """Which entries a job is about."""

    def __init__(self, question: Question, providers: Mapping[str, str], catalogue: Catalogue) -> None:
        self._question = question
        self._providers = providers
        globs = [one for one in question.type if one != QUARANTINED]
        self._filter = Filter.parse({"type": globs}, catalogue) if globs else None
        self._quarantined = not question.type or QUARANTINED in question.type

    def may_take(self, first: Entry) -> bool:
        """Whether a first entry may be one, whatever became of it since."""
        question = self._question
        if question.received_from is not None and first.received_at < question.received_from:
            return False
        if question.received_to is not None and first.received_at >= question.received_to:
            return False
        known = self._providers.get(first.source)
        return question.provider is None or known is None or known == question.provider

    def takes(self, latest: Entry) -> bool:
        """Whether an entry is one, which stands for its event now."""
        question = self._question
        if question.native_type and latest.native_type not in question.native_type:
            return False
        if latest.type is None:
            return self._quarantined and (question.provider is None or latest.source in self._providers)
        if question.type and (self._filter is None or not self._filter.may_match_type(latest.type)):
            return False
        if question.provider is None or latest.source in self._providers:
            return True
        # Of a source that is not configured any more, its events alone say which provider's it was.
        assert latest.event is not None
        return bool(orjson.loads(latest.event)["source"]["provider"] == question.provider)


def _moved(job: Job, step: _Step) -> Job:
    """The job after one more stretch."""
    tally = job.counts.model_dump()
    for verdict, count in step.counts.items():
        tally[verdict] += count
        tally["looked_at"] += count
    shown = list(job.samples)
    seen = Counter(one.verdict for one in shown)
    for sample in step.samples:
        seen[sample.verdict] += 1
        if seen[sample.verdict] <= SAMPLES:
            shown.append(sample)
    update = {"position": step.position, "counts": Tally(**tally), "samples": shown, "problem": None}
    return job.model_copy(update=update)


def _samples(before: Entry, again: Rereading) -> list[Sample]:
    """What a dry run shows of an entry, if there is anything to see."""
    lines: list[str] = []
    match again.verdict:
        case Verdict.UNCHANGED | Verdict.QUARANTINED:
            return []
        case Verdict.KEPT:
            lines = [again.problem or ""]
        case Verdict.RECOVERED:
            lines = [f"was quarantined: {before.problem}"]
        case Verdict.CORRECTED:
            assert before.event is not None and again.revision is not None
            lines = list(differences(_shown(before.event), _shown(again.revision.event)))
    revision = again.revision
    native = before.native_type if revision is None else revision.native_type
    type = None if revision is None else revision.type
    uid = uid_text(before.uid)
    return [Sample(uid=uid, verdict=again.verdict, native_type=native, type=type, lines=lines)]


def _shown(event: bytes) -> dict[str, Any]:
    """An event without what differs anyway."""
    read: dict[str, Any] = orjson.loads(event)
    for name in ("mapping", "normalizedAt"):
        read["source"].pop(name, None)
    return read


def _note(job: Job) -> Note:
    return Note(NOTE, job.model_dump_json())


@asynccontextmanager
async def open_renormalization(
    log: Log,
    sources: Mapping[str, Source],
    tables: Mapping[str, Table],
    catalogue: Callable[[], Catalogue],
    *,
    go_on: bool = True,
    clock: Callable[[], float] = time.time,
    store_wait: float = STORE_WAIT,
) -> AsyncIterator[Renormalization]:
    """Renormalization over the log. A job that was broken off goes on, or waits, without ``go_on``, until it is asked
    for again; at the end of the context it is broken off. ``clock`` gives epoch
    seconds; after a failure of the store it waits ``store_wait`` seconds.

    Raises:
        StoreError: the log cannot be read.
    """
    providers = {name: source.provider for name, source in sources.items()}
    whole = Renormalization(log, Rereader(sources, tables), providers, catalogue, clock, store_wait)
    await whole.look(go_on=go_on)
    try:
        yield whole
    finally:
        await whole.close()
