"""The one scrub there may be, and the last one there was.

The texts that were given are in memory alone, so a job that is broken off is not gone on with by itself: whoever has
them begins another one behind the place where it ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from pydantic import ValidationError

from adapter.errors import NoteChanged, RequestError, StoreError
from adapter.kept import Kept
from adapter.log.protocol import Claim, Note, Store
from adapter.scrub.cleaning import Cleaner
from adapter.scrub.job import NOTE, Job, Question, State
from adapter.scrub.walk import Walk, left_over
from adapter.tasks import in_background

#: Wait after a failure of the store, and between two looks at what a service has left, seconds.
STORE_WAIT, LEFT_WAIT = 1.0, 5.0

_log = structlog.get_logger("adapter.scrub")


class Scrubbing:
    """Begins, shows and ends it. Made by `open_scrubbing`."""

    def __init__(
        self,
        log: Store,
        sinks: Iterable[str],
        rebuild_search: Callable[[str], Awaitable[None]],
        notes: Sequence[str],
        forget_samples: Callable[[], None],
        *,
        owner: str,
        clock: Callable[[], float],
        store_wait: float,
    ) -> None:
        self._log = log
        self._sinks = sinks
        self._rebuild_search = rebuild_search
        self._others = notes
        self._forget_samples = forget_samples
        self._owner = owner
        self._clock = clock
        self._store_wait = store_wait
        self._kept: Kept[Job] = Kept(log, NOTE, Job)
        #: As it was left; while there is a walk, that one knows better.
        self._left: Job | None = None
        self._walk: Walk | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def look(self) -> Job | None:
        """The present job, or else the last one, as all services know it; ``None`` if there never was one.

        Raises:
            StoreError: the log cannot be read.
        """
        if self._walk is None:
            try:
                self._left = await self._kept.read()
            except ValidationError as error:
                _log.error("scrub_unreadable", problem=str(error))
        return self._left if self._walk is None else self._walk.job

    async def start(self, question: Question, cleaner: Cleaner, *, texts: int, by: str) -> Job:
        """Begin a job. ``texts``: how many the cleaner was given; ``by``: who asks.

        Raises:
            RequestError: 409, there is one under way.
        """
        async with self._turn:
            before = await self.look()
            claim = None if self._walk is not None else await self._log.claim(NOTE, self._owner)
            if claim is None:
                detail = "wait for its end, or cancel it (DELETE /scrub, or on the command line events scrub --cancel)"
                raise RequestError(409, "Scrub under way", detail)
            end = self._log.head
            begin = min(question.after, end)
            job = Job(
                state=State.RUNNING,
                question=question,
                texts=texts,
                by=by,
                begin=begin,
                end=end,
                position=begin,
                started_at=self._now(),
                # Of one that was killed.
                untold=[] if before is None else before.untold,
                rebuild=before is not None and before.rebuild,
            )
            try:
                await self._kept.keep(job)
            except NoteChanged:
                raise RequestError(409, "Scrub under way", "somebody else has just started one") from None
            self._walk = self._made_walk(job)
            self._task = asyncio.create_task(self._run(self._walk, claim, cleaner))
            return job

    async def stop(self, state: State) -> Job | None:
        """End the job that is under way here; what it changed stays changed. The job as it is then; ``None`` if there
        never was one."""
        async with self._turn:
            walk, task = self._walk, self._task
            if walk is not None and task is not None:
                task.cancel()
                await asyncio.wait([task])
                if self._walk is walk:
                    try:
                        await walk.end(state)
                    except StoreError as error:
                        _log.warning("scrub_left", problem=str(error))
                    self._walk = None
            return await self.look()

    async def finish(self) -> None:
        """End what services leave that are killed: tell what it changed, and have the search built again. It is looked
        for as long as this one runs, since another service over the log may be killed at any time, and none follow."""
        while True:
            try:
                async with self._turn:
                    await self._finish_left()
            except StoreError as error:
                _log.warning("scrub_waits", problem=str(error))
            except Exception:
                _log.exception("scrub_left")
                return
            await asyncio.sleep(LEFT_WAIT)

    async def _finish_left(self) -> None:
        job = await self.look()
        if self._walk is not None or job is None or not left_over(job):
            return
        claim = await self._log.claim(NOTE, self._owner)
        if claim is None:
            return  # another service is at it, or the database has not forgotten yet that one was
        try:
            await self._made_walk(job).end(State.BROKEN_OFF if job.state is State.RUNNING else job.state, job.problem)
        except NoteChanged:
            pass  # another service has begun one, and has taken over what was left
        finally:
            await self._log.release(claim)

    def _made_walk(self, job: Job) -> Walk:
        return Walk(
            self._log, self._kept, job, self._sinks, self._rebuild_search, now=self._now, store_wait=self._store_wait
        )

    async def _run(self, walk: Walk, claim: Claim, cleaner: Cleaner) -> None:
        renewing = asyncio.create_task(self._renew(claim))
        is_ended = False
        try:
            asked = walk.job.question
            _log.info("scrub_runs", by=walk.job.by, texts=walk.job.texts, end=walk.job.end, **asked.model_dump())
            await walk.run(cleaner)
            if not asked.dry_run:
                self._forget_samples()
                await self._clean_notes(walk, cleaner)
            await walk.patiently(lambda: walk.end(State.DONE))
            is_ended = True
        except NoteChanged:
            _log.warning("scrub_lost", problem="somebody else has begun one")
            is_ended = True
        except Exception:
            _log.exception("scrub_failed")
            with suppress(StoreError):
                await walk.end(State.FAILED, "a fault of the adapter; its log says which")
            is_ended = True
        finally:
            renewing.cancel()
            with suppress(StoreError):
                await self._log.release(claim)
            if is_ended:
                self._walk = None

    async def _renew(self, claim: Claim) -> None:
        while claim.seconds is not None:
            await asyncio.sleep(claim.seconds / 3)
            with suppress(StoreError):
                await self._log.claim(NOTE, self._owner)

    async def _clean_notes(self, walk: Walk, cleaner: Cleaner) -> None:
        """Other jobs show samples of events in their notes."""

        async def clean(name: str) -> None:
            note = await self._log.noted(name)
            if note is not None and (text := cleaner.clean_text(note.text)) is not note.text:
                with suppress(NoteChanged):
                    await self._log.keep(Note(name, text, note.version + 1))

        for name in self._others:
            await walk.patiently(lambda name=name: clean(name))  # type: ignore[misc]

    def _now(self) -> int:
        return int(self._clock() * 1000)


@asynccontextmanager
async def open_scrubbing(
    log: Store,
    sinks: Iterable[str],
    rebuild_search: Callable[[str], Awaitable[None]],
    notes: Sequence[str] = (),
    forget_samples: Callable[[], None] = lambda: None,
    *,
    owner: str = "service",
    clock: Callable[[], float] = time.time,
    store_wait: float = STORE_WAIT,
) -> AsyncIterator[Scrubbing]:
    """Scrubs over the log, while the context lasts; one that is under way at its end is broken off. ``sinks``: names
    of the configured ones; ``rebuild_search`` has the search built again, for a reason that it is told; ``notes``:
    names of those in which other jobs keep samples of events; ``forget_samples`` drops those in memory. ``owner`` tells
    services over one log apart; ``clock`` gives epoch seconds; after a failure of the store it waits ``store_wait``
    seconds."""
    scrubbing = Scrubbing(
        log, sinks, rebuild_search, notes, forget_samples, owner=owner, clock=clock, store_wait=store_wait
    )
    async with in_background(scrubbing.finish(), "what a scrub left"):
        try:
            yield scrubbing
        finally:
            await scrubbing.stop(State.BROKEN_OFF)
