"""The replays of a service's sinks: begun, followed, gone on with after a restart, cancelled. One of a sink at a time.

Held and dead events are the sink's own: their rows are made due at once with all their tries, so there is one row for
each, and its counters stay whole. All others are read once more, by a reader of their own over the older range: it has
its own cursor, counters, rows and breaker, and sends by the same sink. So what a replay sends counts for the replay
alone, and the sink's conservation law knows nothing of it.

A replay runs where the sink is delivered to. How far it is, is a note of the log; a second note, one for all sinks,
names those with a replay under way, so that a service which takes a sink over finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import structlog
from pydantic import ValidationError

from adapter.delivery.health import State as SinkState
from adapter.delivery.loop import Delivery, open_delivery, reader_name, replay_note, replay_reader
from adapter.errors import ConfigError, NoteChanged, RequestError, StoreError
from adapter.filter import Filter
from adapter.kept import Kept
from adapter.log.protocol import Claim, ReaderState, Store
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry
from adapter.ownership import Ownership
from adapter.replay.job import SHOWN, Job, Question, Running, State, Status
from adapter.replay.reading import Chosen, Paced, Stretch
from adapter.tasks import in_background

#: Name of the note that names the sinks with a replay under way.
RUNNING = "sink-replays"
#: Seconds between two looks at it where other services may write it, and between two notes of how far a replay is.
LOOK, TICK = 2.0, 0.5
#: Rows, and entries, that are looked at in one step.
STEP = 500
#: Waits after failed tries of what a replay sends by itself: it is to come to an end.
TRIES = 3
#: Replays of a sink of which is kept what they sent, tried and gave up on.
KEPT = 10

_ROWS = {Status.HELD, Status.DEAD}

_log = structlog.get_logger("adapter.replay")


class Stopped(Exception):
    """A replay is not to go on here: it was cancelled, or somebody else goes on with it."""


class Replays:
    """Begins, shows and ends them. Made by `open_replays`."""

    def __init__(
        self,
        log: Store,
        deliveries: Mapping[str, Ownership[Delivery]],
        catalogue: Callable[[], Catalogue],
        *,
        owner: str,
        clock: Callable[[], float],
        tick: float,
    ) -> None:
        self._log = log
        self._deliveries = deliveries
        self._catalogue = catalogue
        self._owner = owner
        self._clock = clock
        self._tick = tick
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def look(self, sink: str) -> Job | None:
        """The present replay of a sink, or else the last one; ``None`` if there never was one.

        Raises:
            StoreError: the log cannot be read.
        """
        return await self._kept(sink).read()

    async def start(self, sink: str, question: Question, by: str, *, after: int | None = None) -> Job:
        """Begin a replay. ``by``: who asks; ``after``: which one must be the last so far, such as the one that counted.

        Raises:
            RequestError: 400, the filter is wrong; 409, one is under way, or the sink has not begun; 412, the last one
                is not ``after``.
            StoreError: the log cannot be read or written.
        """
        filter = self._filter(question)
        kept = self._kept(sink)
        before = await kept.read()
        if after is not None and (before is None or before.id != after):
            raise RequestError(412, "Changed meanwhile", f"the last replay is not {after} any more; count again")
        if before is not None and before.state is State.RUNNING:
            # Whoever began it may have been killed before this was noted.
            await self._set_running(sink, is_running=True)
            self._wake.set()
            hint = f"wait for its end, or cancel it (DELETE /sinks/{sink}/replay, or sinks replay {sink} --cancel)"
            raise RequestError(409, "Replay under way", hint)
        progress = await self._log.progress(reader_name(sink))
        if progress is None:
            raise RequestError(409, "Not begun", "the sink has had nothing yet; what it gets is said by its `from`")
        begin, end = 0, progress.cursor
        if filter.received_from is not None:
            begin = min(end, await self._log.position_at(filter.received_from))
        job = Job(
            id=1 if before is None else before.id + 1,
            state=State.RUNNING,
            question=question,
            by=by,
            begin=begin,
            end=end,
            since=progress.since or 0,
            position=begin,
            started_at=self._now(),
        )
        try:
            await kept.keep(job)
        except NoteChanged:
            raise RequestError(409, "Replay under way", "somebody else has just started one") from None
        await self._set_running(sink, is_running=True)
        self._wake.set()
        return job

    async def cancel(self, sink: str) -> Job | None:
        """End a replay; what it has sent is sent. It as it is then; ``None`` if there never was one.

        Raises:
            StoreError: the log cannot be read or written.
        """
        while True:
            kept = self._kept(sink)
            job = await kept.read()
            if job is None or job.state is not State.RUNNING:
                return job
            job = job.model_copy(update={"state": State.CANCELLED, "ended_at": self._now(), "problem": None})
            with suppress(NoteChanged):
                await kept.keep(job)
                break
        if (task := self._tasks.get(sink)) is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._set_running(sink, is_running=False)
        return job

    async def run(self) -> None:
        """Go on with replays whose sinks are delivered to here, for ever."""
        are_found = False
        while True:
            self._wake.clear()
            try:
                if not are_found:
                    await self._find()
                    are_found = True
                await self._go_on()
            except StoreError as error:
                _log.warning("replays_wait", problem=str(error))
            except Exception:
                _log.exception("replays_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()

    async def close(self) -> None:
        """End those that run here; the next service goes on with them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _find(self) -> None:
        """Name those that a service had kept, and was killed before it named them."""
        for note in await self._log.notes(replay_note("")):
            with suppress(ValidationError):
                if Job.model_validate_json(note.text).state is State.RUNNING:
                    await self._set_running(note.name.removeprefix(replay_note("")), is_running=True)

    async def _go_on(self) -> None:
        running = await Kept(self._log, RUNNING, Running).read()
        for sink in [] if running is None else running.sinks:
            owned = self._deliveries.get(sink)
            if sink not in self._tasks and owned is not None and owned.present is not None:
                task = asyncio.create_task(self._run(sink, owned), name=f"replay of {sink}")
                self._tasks[sink] = task
                task.add_done_callback(lambda _, sink=sink: self._tasks.pop(sink, None))  # type: ignore[misc]

    async def _run(self, sink: str, owned: Ownership[Delivery]) -> None:
        kept = self._kept(sink)
        claim: Claim | None = None
        try:
            job = await kept.read()
            delivery = owned.present
            if job is None or job.state is not State.RUNNING:
                return await self._set_running(sink, is_running=False)
            if delivery is None:
                return None
            claim = await self._log.claim(replay_reader(sink, job.id), self._owner)
            if claim is None:
                return None  # another service has not given it up yet
            _log.info("replay_runs", sink=sink, by=job.by, end=job.end, **job.question.model_dump(mode="json"))
            walk = _Walk(self, sink, owned, delivery, kept, job, claim, self._filter(job.question))
            renewing = asyncio.create_task(self._renew(claim))
            try:
                await walk.run()
            finally:
                renewing.cancel()
            await self._set_running(sink, is_running=False)
            _log.info("replay_done", sink=sink, **walk.job.counts.model_dump())
            for number in range(1, job.id - KEPT + 1):
                await self._forget(replay_reader(sink, number))
        except (Stopped, NoteChanged):
            _log.info("replay_left", sink=sink)
        except StoreError as error:
            _log.warning("replay_waits", sink=sink, problem=str(error))
            await asyncio.sleep(self._tick)
        except (RequestError, ValidationError, ConfigError) as error:
            await self._fail(sink, kept, f"its filter cannot be used any more: {error}")
        except Exception:
            _log.exception("replay_failed", sink=sink)
            await self._fail(sink, kept, "a fault of the adapter; its log says which")
        finally:
            if claim is not None:
                with suppress(StoreError):
                    await asyncio.shield(self._log.release(claim))

    async def _fail(self, sink: str, kept: Kept[Job], problem: str) -> None:
        with suppress(StoreError, ValidationError):
            job = await kept.read()
            if job is not None and job.state is State.RUNNING:
                update = {"state": State.FAILED, "ended_at": self._now(), "problem": problem}
                await kept.keep(job.model_copy(update=update))
            await self._set_running(sink, is_running=False)

    async def _renew(self, claim: Claim) -> None:
        while claim.seconds is not None:
            await asyncio.sleep(claim.seconds / 3)
            with suppress(StoreError):
                await self._log.claim(claim.name, self._owner)

    async def _forget(self, reader: str) -> None:
        """Know nothing more of a replay that has ended, but for those who hold its claim still."""
        if await self._log.progress(reader) is None or (claim := await self._log.claim(reader, self._owner)) is None:
            return
        try:
            await self._log.forget_reader(reader, claim.token)
        finally:
            await self._log.release(claim)

    async def _set_running(self, sink: str, *, is_running: bool) -> None:
        while True:
            kept = Kept(self._log, RUNNING, Running)
            sinks = (await kept.read() or Running()).sinks
            if not is_running:
                # Read after the list, which whoever begins a replay writes after that: so none that begins meanwhile
                # is taken off.
                job = await self._kept(sink).read()
                if sink not in sinks or (job is not None and job.state is State.RUNNING):
                    return None
            changed = [one for one in sinks if one != sink] + ([sink] if is_running else [])
            with suppress(NoteChanged):
                return await kept.keep(Running(sinks=changed))

    def _filter(self, question: Question) -> Filter:
        """
        Raises:
            RequestError: 400, it is wrong; says what.
        """
        # Of the system's own events, too: the sink's filter says whether it gets them.
        asked = {"type": ["*", "system.*"], **question.filter}
        try:
            return Filter.from_settings(asked, self._catalogue())
        except ConfigError as error:
            raise RequestError(400, "Bad parameter", str(error), parameter="filter") from None

    def _kept(self, sink: str) -> Kept[Job]:
        return Kept(self._log, replay_note(sink), Job)

    def _now(self) -> int:
        return int(self._clock() * 1000)


class _Walk:
    """One replay on its way."""

    def __init__(
        self,
        replays: Replays,
        sink: str,
        owned: Ownership[Delivery],
        delivery: Delivery,
        kept: Kept[Job],
        job: Job,
        claim: Claim,
        filter: Filter,
    ) -> None:
        self.job = job
        self._log = replays._log
        self._clock = replays._clock
        self._tick = replays._tick
        self._sink = sink
        self._owned = owned
        self._delivery = delivery
        self._kept = kept
        self._claim = claim
        self._chosen = Chosen(delivery.selection, filter)
        self._saved = job
        self._version = kept.next(job).version - 1

    async def run(self) -> None:
        """
        Raises:
            Stopped: it is not to go on here.
            StoreError: the log cannot be read or written.
        """
        asked = set(self.job.question.status)
        # First: what has a row now would be taken for delivered once it is.
        if (others := asked - _ROWS) and not self.job.others_done:
            progress = await self._log.progress(reader_name(self._sink))
            begin, end = self._range(others, progress)
            if begin < end:
                await (self._count(begin, end) if self.job.question.dry_run else self._send(begin, end))
        if not self.job.others_done:
            self._change(others_done=True, position=self.job.begin)
            await self._save()
        if asked & _ROWS:
            await self._rows(None if asked >= _ROWS else Status.DEAD in asked)
        now = int(self._clock() * 1000)
        self._change(state=State.DONE, position=self.job.end, ended_at=now, problem=None)
        await self._save()

    def _range(self, others: set[Status], progress: ReaderState | None) -> tuple[int, int]:
        """Behind which position, and up to which, those lie that are read once more."""
        begin, end = self.job.begin, self.job.end
        since = self.job.since
        if since is None:
            since = 0 if progress is None or progress.since is None else progress.since
        if Status.NEVER not in others:
            begin = max(begin, since)
        if Status.DELIVERED not in others:
            end = min(end, since)
        return begin, end

    async def _rows(self, dead: bool | None) -> None:
        """Have held and dead ones tried anew, or count them."""
        rate = self.job.question.rate
        step = min(STEP, rate) if rate else STEP
        while self.job.position < self.job.end:
            began = asyncio.get_running_loop().time()
            if self.job.question.dry_run:
                reached, chosen, renewed = await self._count_rows(dead, step)
            else:
                found = await self._delivery.renew(
                    dead=dead, after=self.job.position, until=self.job.end, limit=step, wanted=self._chosen.wants
                )
                reached, chosen, renewed = found
            counts = self.job.counts
            busy = 0 if self.job.question.dry_run else chosen - renewed
            counts = counts.model_copy(
                update={
                    "matched": counts.matched + chosen,
                    "renewed": counts.renewed + renewed,
                    "busy": counts.busy + busy,
                }
            )
            self._change(position=reached, counts=counts)
            await self._save()
            if rate and not self.job.question.dry_run:
                await asyncio.sleep(max(0.0, began + chosen / rate - asyncio.get_running_loop().time()))

    async def _count_rows(self, dead: bool | None, step: int) -> tuple[int, int, int]:
        reader = reader_name(self._sink)
        rows = await self._log.rows(reader, dead=dead, after=self.job.position, until=self.job.end, limit=step)
        entries = await _all(self._log, [row.position for row in rows])
        chosen = sum(1 for entry in entries if self._chosen.wants(entry))
        return (rows[-1].position if len(rows) == step else self.job.end), chosen, 0

    async def _count(self, begin: int, end: int) -> None:
        """Count those that would be read once more."""
        stretch = Stretch(self._log, reader_name(self._sink), end)
        position = max(self.job.position, begin)
        while position < end:
            entries = await stretch.read(position, until=end, limit=STEP)
            position = entries[-1].position if entries else end
            counts = self.job.counts
            found = len(self._chosen.select(entries))
            self._change(position=position, counts=counts.model_copy(update={"matched": counts.matched + found}))
            await self._save()

    async def _send(self, begin: int, end: int) -> None:
        """Read a stretch once more, and send it."""
        reader = replay_reader(self._sink, self.job.id)
        token = self._claim.token
        await self._log.begin(reader, begin, self._chosen.text, token)
        settings = self._delivery.settings.model_copy(
            update={
                "name": reader.removeprefix(reader_name("")),
                "retry": self._delivery.settings.retry[:TRIES],
                # It is to come to an end: nothing is kept back behind what the receiver does not take.
                "order_by": None,
            }
        )
        stretch = Stretch(self._log, reader_name(self._sink), end).as_store()
        paced = Paced(self._delivery.sink, self.job.question.rate)
        is_done = False
        while not is_done:
            await self._wait_for_sink()
            opened = open_delivery(
                settings,
                paced,
                stretch,
                self._chosen,
                token=token,
                replay_of=self._sink,
                pace=self._delivery.pace,
                patience=lambda: 1.0,
            )
            async with opened as replay:
                while self._may_send() and not is_done:
                    shot = replay.snapshot()
                    counts = shot.counts
                    is_done = shot.cursor >= end and not counts.in_flight and not counts.held
                    await self._note_sent(replay, min(shot.cursor, end))
                    if not is_done:
                        await asyncio.sleep(self._tick)
        dead = await self._log.rows(reader, dead=True, limit=SHOWN)
        self._change(answers=[row.answer for row in dead])

    async def _note_sent(self, replay: Delivery, position: int) -> None:
        shot = replay.snapshot()
        counts, known = shot.counts, self.job.counts
        told = known.model_copy(
            update={
                "matched": known.renewed + known.busy + counts.matched,
                "delivered": counts.delivered,
                "held": counts.held,
                "dead": counts.dead,
                "skipped": counts.skipped,
            }
        )
        problem = None if shot.state is SinkState.RUNNING else f"the receiver is down: {shot.answer}"
        self._change(position=position, counts=told, problem=problem)
        await self._save()

    def _may_send(self) -> bool:
        return self._delivery.snapshot().state in (SinkState.RUNNING, SinkState.DOWN)

    async def _wait_for_sink(self) -> None:
        """Return when the sink sends."""
        while not self._may_send():
            self._change(problem=f"the sink is {self._delivery.snapshot().state}")
            await self._save()
            await asyncio.sleep(self._tick)

    def _change(self, **update: object) -> None:
        self.job = self.job.model_copy(update=update)

    async def _save(self) -> None:
        """
        Raises:
            Stopped: it was cancelled, or the sink is delivered to elsewhere.
            StoreError: the log cannot be read or written.
        """
        if self._owned.present is not self._delivery:
            raise Stopped
        note = await self._log.noted(replay_note(self._sink))
        if note is None or note.version != self._version:
            raise Stopped
        if self.job != self._saved:
            await self._kept.keep(self.job)
            self._saved = self.job
            self._version += 1


async def _all(log: Store, positions: list[int]) -> list[Entry]:
    """The entries at these positions that are left."""
    found: list[Entry] = []
    while positions and (entries := await log.fetch(positions)):
        found += entries
        positions = positions[positions.index(entries[-1].position) + 1 :]
    return found


@asynccontextmanager
async def open_replays(
    log: Store,
    deliveries: Mapping[str, Ownership[Delivery]],
    catalogue: Callable[[], Catalogue],
    *,
    owner: str = "service",
    clock: Callable[[], float] = time.time,
    tick: float = TICK,
    go_on: bool = True,
) -> AsyncIterator[Replays]:
    """Replays of these sinks, while the context lasts; what is under way at its end goes on when somebody delivers to
    the sink again. ``go_on``: go on with those that were left. ``owner`` tells services over one log apart; ``clock``
    gives epoch seconds; ``tick``: seconds between two notes of how far one is."""
    replays = Replays(log, deliveries, catalogue, owner=owner, clock=clock, tick=tick)
    if not go_on:
        yield replays
        return
    async with in_background(replays.run(), "replays"):
        try:
            yield replays
        finally:
            await replays.close()
