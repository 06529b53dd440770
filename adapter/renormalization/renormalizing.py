"""Renormalization: stored raw events read again by the present tables, from one end of the log to the other.

One job at a time goes through the log, stretch by stretch: what was quarantined becomes an event, what reads
differently gets a revision. How far it is, is kept in the log with what it appends, so that after a kill it goes on
from there; and since what is equal is not appended, nothing is appended twice. Of several services over one log any may
start a job, show it and cancel it; the one that holds the claim does it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from adapter.errors import NoteChanged, RequestError, StoreError, StoreUnavailable
from adapter.log.protocol import Claim, Store
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.table import Table
from adapter.ownership import open_ownership
from adapter.renormalization.choice import Choice
from adapter.renormalization.job import NOTE, Job, KeptJob, Question, State
from adapter.renormalization.rereading import Rereader
from adapter.renormalization.walk import STORE_WAIT, Walk, stretch_of
from adapter.sources.intake import Source
from adapter.workbench.compare import Verdict

_log = structlog.get_logger("adapter.renormalization")


class Renormalization:
    """The one job there may be, and the last one there was. Made by `open_renormalization`."""

    def __init__(
        self,
        log: Store,
        rereader: Rereader,
        providers: Mapping[str, str],
        catalogue: Callable[[], Catalogue],
        clock: Callable[[], float],
        store_wait: float,
    ) -> None:
        #: What it came to since the service started, by verdict, dry runs aside; for metrics.
        self.counts: Counter[Verdict] = Counter()
        self._log = log
        self._kept = KeptJob(log)
        self._rereader = rereader
        self._providers = providers
        self._catalogue = catalogue
        self._clock = clock
        self._store_wait = store_wait
        #: As it was left; while there is a walk, that one knows better.
        self._left: Job | None = None
        self._walk: Walk | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        #: Whether this service is the one that does jobs.
        self._is_owner = False

    @property
    def job(self) -> Job | None:
        """The present job, or else the last one, as this service knows it; ``None`` if there never was one."""
        return self._left if self._walk is None else self._walk.job

    async def start(self, question: Question) -> Job:
        """Begin a job, or go on with the one that was asked alike and broken off.

        Raises:
            RequestError: 409, there is one under way.
        """
        async with self._turn:
            before = await self.look()
            if before is not None and before.state is State.WAITING and before.question == question:
                return self._go_on(before)
            if before is not None and before.state in (State.RUNNING, State.WAITING):
                raise RequestError(
                    409,
                    "Renormalization under way",
                    f"one that began at {_said(before.started_at)} is {before.state}, at position {before.position} of "
                    f"{before.end}; wait for its end, or cancel it (DELETE /renormalization, or on the command line "
                    "events renormalize --cancel; --watch follows it)",
                )
            begin, end = await stretch_of(self._log, question)
            job = Job(
                state=State.RUNNING,
                question=question,
                begin=begin,
                end=end,
                position=begin,
                started_at=self._now(),
            )
            try:
                await self._kept.keep(job)
            except NoteChanged:
                raise RequestError(409, "Renormalization under way", "somebody else has just started one") from None
            if self._is_owner:
                return self._go_on(job)
            self._left = job
            return job

    async def cancel(self) -> Job | None:
        """End the job that is under way; what it appended stays. The job as it is then; ``None`` if there never was
        one."""
        async with self._turn:
            await self._stop()
            while True:
                job = await self.look()
                if job is not None and job.state in (State.RUNNING, State.WAITING):
                    try:
                        await self._end(State.CANCELLED)
                    except NoteChanged:
                        continue  # whoever does it has gone on meanwhile
                return self.job

    async def look(self) -> Job | None:
        """The present job, or else the last one, as all services know it.

        Raises:
            StoreError: the log cannot be read.
        """
        if self._walk is None:
            try:
                job = await self._kept.read()
            except ValidationError as error:
                _log.error("renormalization_unreadable", problem=str(error))
                return self._left
            if self._walk is None:
                left = self._left
                is_waiting = (
                    job is not None and left is not None
                    and left.state is State.WAITING and left.started_at == job.started_at
                )  # fmt: skip
                self._left = left if is_waiting and job is not None and job.state is State.RUNNING else job
        return self.job

    @asynccontextmanager
    async def own(self, claim: Claim, *, go_on: bool) -> AsyncIterator[None]:
        """Do the jobs while the context lasts. One that was broken off goes on, or waits, without ``go_on``; one that
        is under way at the end is broken off, and the log knows how far it is."""
        job = await self.look()
        self._is_owner = True
        if job is not None and job.state is State.RUNNING:
            if go_on:
                self._go_on(job)
            else:
                self._left = job.model_copy(update={"state": State.WAITING})
        # Where others may start one, too.
        following = asyncio.create_task(self._follow()) if claim.seconds is not None else None
        try:
            yield
        finally:
            self._is_owner = False
            if following is not None:
                following.cancel()
                await asyncio.wait([following])
            await self._stop()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._store_wait)
            try:
                async with self._turn:
                    job = await self.look()
                    if self._walk is None and job is not None and job.state is State.RUNNING:
                        self._go_on(job)
            except StoreError as error:
                _log.warning("renormalization_waits", problem=str(error))

    def _go_on(self, job: Job) -> Job:
        job = job.model_copy(update={"state": State.RUNNING})
        asked = job.question.model_dump(exclude_defaults=True)
        _log.info("renormalization_runs", position=job.position, end=job.end, **asked)
        self._walk = Walk(
            self._log,
            self._kept,
            self._rereader,
            Choice(job.question, self._providers, self._catalogue()),
            job,
            self.counts,
            now=self._now,
            store_wait=self._store_wait,
        )
        self._task = asyncio.create_task(self._run(self._walk))
        return job

    async def _run(self, walk: Walk) -> None:
        try:
            if not await walk.run():
                self._left, self._walk = walk.job, None
                return None
            while True:
                try:
                    return await self._end(State.DONE)
                except StoreUnavailable:
                    await asyncio.sleep(self._store_wait)
        except Exception:
            _log.exception("renormalization_failed")
            with suppress(StoreError):
                await self._end(State.FAILED, "a fault of the adapter; its log says which")

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._left, self._walk, self._task = self.job, None, None

    async def _end(self, state: State, problem: str | None = None) -> None:
        assert self.job is not None
        job = self.job.model_copy(update={"state": state, "ended_at": self._now(), "problem": problem})
        await self._kept.keep(job)
        self._left, self._walk = job, None
        _log.info("renormalization_ended", state=str(state), **job.counts.model_dump())

    def _now(self) -> int:
        return int(self._clock() * 1000)


@asynccontextmanager
async def open_renormalization(
    log: Store,
    sources: Mapping[str, Source],
    tables: Mapping[str, Table],
    catalogue: Callable[[], Catalogue],
    *,
    owner: str = "service",
    go_on: bool = True,
    clock: Callable[[], float] = time.time,
    store_wait: float = STORE_WAIT,
) -> AsyncIterator[Renormalization]:
    """Renormalization over the log. A job that was broken off goes on, or waits, without ``go_on``, until it is asked
    for again; at the end of the context it is broken off. ``owner`` tells services over one log apart. ``clock`` gives
    epoch seconds; after a failure of the store, and between two looks for a job that another service started, it waits
    ``store_wait`` seconds.

    Raises:
        StoreError: the log cannot be read.
    """
    providers = {name: source.provider for name, source in sources.items()}
    whole = Renormalization(log, Rereader(sources, tables), providers, catalogue, clock, store_wait)
    await whole.look()
    async with open_ownership(log, NOTE, owner, lambda claim: whole.own(claim, go_on=go_on)):
        yield whole


def _said(time: int) -> str:
    """Epoch milliseconds for people."""
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
