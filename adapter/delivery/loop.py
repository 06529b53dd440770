"""One sink's delivery: reads the log past its cursor, sends what its filter takes, settles what became of it.

Its parts know each other in one direction only: the `Fetcher` brings entries to the `SendQueue`; the `Sender` takes
them from there, and answers go to the `Ledger` and to the `ReceiverHealth`; the `Settler` puts the ledger on disk. Each
sink has its own, so nothing that its receiver does can hold up another.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import structlog

from adapter.delivery.answers import AnswerPolicy
from adapter.delivery.attempts import REASON, AttemptBook, Outcome
from adapter.delivery.backoff import PROBE
from adapter.delivery.fetching import Fetcher, Rereader
from adapter.delivery.health import ReceiverHealth, State
from adapter.delivery.keys import kind_of, make_key_of
from adapter.delivery.lanes import Lanes
from adapter.delivery.ledger import Ledger, SinkCounts
from adapter.delivery.ordered_ledger import OrderedLedger
from adapter.delivery.ordered_queue import OrderedQueue
from adapter.delivery.queue import SendQueue
from adapter.delivery.rate import Pace
from adapter.delivery.reporting import Reporter
from adapter.delivery.select import Selection
from adapter.delivery.sending import Sender
from adapter.delivery.settling import SETTLE, STORE_WAIT, Settler
from adapter.delivery.standing import Decided, Standing, Standings, open_standings, read
from adapter.delivery.tail import Tail
from adapter.errors import ClaimLost, StoreError
from adapter.log.protocol import Attempt, BlockedKey, Held, ReaderState, Store
from adapter.model import Entry
from adapter.sinks.protocol import Answer, Promise, Sink
from adapter.sinks.settings import SinkSettings
from adapter.tasks import is_ending, to_its_end

_log = structlog.get_logger(__name__)


@dataclass(slots=True, frozen=True)
class Snapshot:
    """How it stands with a sink, this moment."""

    name: str
    kind: str
    promise: Promise
    state: State
    #: Since when the state lasts, epoch milliseconds.
    since: int
    #: The last answer, for people.
    answer: str
    #: Number of the filter's epoch, over which is counted.
    epoch: int
    cursor: int
    #: Entries between the cursor and the head of the log.
    lag: int
    counts: SinkCounts
    #: What was decided about it: running, or why, since when and by whom it is paused or stopped.
    standing: Standing
    #: Since when it has had nothing but failures, epoch milliseconds; ``None``: it has not.
    failing_since: int | None = None
    #: Events a second that may go now; ``None``: any number.
    rate: float | None = None


class Renewed(NamedTuple):
    """What became of the rows of a stretch that were to be tried anew."""

    #: Up to here all were looked at.
    reached: int
    #: How many were wanted, and how many of those are tried anew: the others are on their way.
    chosen: int
    renewed: int


class Delivery:
    """The delivery to one sink: its parts, and the tasks in which they run. Made by `open_delivery`."""

    def __init__(
        self,
        settings: SinkSettings,
        sink: Sink,
        log: Store,
        selection: Selection,
        progress: ReaderState,
        blocked: Sequence[BlockedKey],
        token: int,
        *,
        replay_of: str | None,
        tail: Tail | None,
        pace: Pace | None,
        probe: float,
        clock: Callable[[], float],
        random_source: Callable[[], float],
    ) -> None:
        def now() -> int:
            return int(clock() * 1000)

        monotonic = asyncio.get_running_loop().time
        name, reader, window = settings.name, reader_name(settings.name), sink.window
        self.settings = settings
        self.sink = sink
        self.selection = selection
        self._name = name
        self._reader = reader
        self._now = now
        self._renewing = asyncio.Lock()
        self._kind = settings.kind
        self._promise = sink.promise
        self._epoch = progress.epoch
        self._workers: list[asyncio.Task[None]] = []
        self._log = log
        self._health = ReceiverHealth(name, window=window, probe=probe, now=now, random_source=random_source)
        self._standing = Standing()
        #: How fast it may send; a replay and its sink share one.
        self.pace = pace or Pace(settings.rate, settings.catch_up, lag=self._lag, clock=monotonic)
        self._reporter = Reporter(
            replay_of or name, log, self._health, disable_after=settings.disable_after_seconds, lag=self._lag,
            decide=self.follow, now=now, clock=monotonic, is_replay=replay_of is not None,
        )  # fmt: skip
        self._lanes = lanes = _make_lanes(settings, progress, blocked)
        ledger: Ledger
        queue: SendQueue
        if lanes is None:
            ledger = Ledger(reader, progress, token)
            queue = SendQueue(ledger, window=window, batch=sink.batch, read_to=progress.cursor, goes=self._goes)
        else:
            ledger = OrderedLedger(reader, progress, token, lanes, batch=sink.batch.entries)
            queue = OrderedQueue(
                ledger, lanes, window=window, batch=sink.batch, read_to=progress.cursor, goes=self._goes
            )
        self._ledger = ledger
        self._queue = queue
        self._tail = tail
        policy = AnswerPolicy(settings.retry, now=now, random_source=random_source)
        self._settler = Settler(name, log, ledger, queue, window=window, now=now)
        self._attempts = attempts = AttemptBook(settings.attempts, self._remember, now=now)
        self._sender = Sender(
            name, sink, queue, self._health, ledger, policy, self._settler, attempts, self._reporter,
            self.pace if self.pace.is_bounded else None,
            window=window, begin_worker=self._begin_worker,
        )  # fmt: skip
        self._fetcher = Fetcher(
            reader, log, selection, ledger, queue, self._settler, self._sender,
            schedule=settings.retry, now=now, token=token, wait=sink.batch.wait, tail=tail,
        )  # fmt: skip
        self._jobs = [self._fetcher.read_on, self._fetcher.ripen, self._fetcher.take_up, self._fetcher.watch_removed]
        if lanes is not None and isinstance(ledger, OrderedLedger) and isinstance(queue, OrderedQueue):
            rereader = Rereader(
                reader, log, selection, lanes, ledger, queue, self._settler, self._sender,
                make_key_of(settings.order_by), progress.since or 0,
            )  # fmt: skip
            self._jobs.append(rereader.read_again)

    def snapshot(self) -> Snapshot:
        """How it stands now."""
        return Snapshot(
            name=self._name,
            kind=self._kind,
            promise=self._promise,
            state=self._health.state,
            since=self._health.since,
            answer=self._health.answer,
            epoch=self._epoch,
            cursor=self._cursor(),
            lag=self._lag(),
            counts=self._ledger.counts(),
            standing=self._standing,
            failing_since=self._reporter.failing.since or None,
            rate=self.pace.rate,
        )

    def follow(self, standing: Standing) -> None:
        """This was decided about the sink, or is known already."""
        if standing.version > self._standing.version:
            self._standing = standing
            self._sender.decide(standing)

    async def renew(
        self, *, dead: bool | None, after: int, until: int, limit: int, wanted: Callable[[Entry], bool]
    ) -> Renewed:
        """Let held rows of a stretch be tried anew, at once and with all their tries: dead ones, or those that wait, or
        both (``None``); of those whose entries are wanted. At most ``limit`` are looked at.

        Raises:
            StoreError: the log cannot be read, or the delivery ended; ask again.
        """
        async with self._renewing:
            self._ledger.begin_renewing()
            rows = await self._log.rows(self._reader, dead=dead, after=after, until=until, limit=limit)
            chosen: set[int] = set()
            left = [row.position for row in rows]
            while left and (entries := await self._log.fetch(left)):
                chosen.update([entry.position for entry in entries if wanted(entry)])
                left = left[left.index(entries[-1].position) + 1 :]
            count = self._ledger.renew([row for row in rows if row.position in chosen], self._now())
        if count:
            self._settler.note_more()
            # Whoever notes that it is done must be right.
            while not self._ledger.renewing.isdisjoint(chosen):
                if self._settler.has_ended:
                    raise StoreError("the delivery ended before it was stored; ask again")
                await asyncio.sleep(SETTLE)
        return Renewed(rows[-1].position if len(rows) == limit else until, len(chosen), count)

    async def resend(self, entry: Entry) -> Answer | None:
        """Send one event now, whatever became of it: one that is held or dead takes its turn at once with all its tries
        (``None``); any other one that the sink is past is sent beside all others, and counted nowhere.

        Raises:
            StoreError: the log cannot be read.
            ValueError: it is on its way, or the sink has not come to it; says so.
        """
        if self._ledger.is_flying(entry.position):
            raise ValueError("it is on its way to the receiver, or waits until that can be sent to again")
        after = entry.position - 1
        found = await self.renew(dead=None, after=after, until=entry.position, limit=1, wanted=lambda _: True)
        if found.renewed:
            return None
        if found.chosen or self._ledger.is_flying(entry.position):
            raise ValueError("it is on its way to the receiver, or waits until that can be sent to again")
        if entry.position > self._cursor():
            raise ValueError("the sink has not come to it; it is sent when its turn comes")
        if (refusal := self.selection.refusal(entry)) is not None:
            raise ValueError(f"the filter of the sink does not take it: {refusal}")
        if self._lanes is not None and self._lanes.is_behind(entry):
            raise ValueError("it waits for an earlier event of its key; send that one again first")
        (answer,) = await self.sink.send([entry])
        self._attempts.resent(entry, answer)
        return answer

    async def skip(self, position: int, reason: str) -> Held:
        """Give up an event that is held or dead, for good: it counts as skipped, and what waits for it in its key goes
        on. Its row as it was. ``reason``: who skips it, and why; kept as an attempt, whatever the sink's setting says.

        Raises:
            StoreError: the log cannot be read, or the delivery ended; ask again.
            ValueError: it is neither held nor dead, or it is on its way; says so.
        """
        async with self._renewing:
            if not await self._log.held_at(self._reader, [position]):
                # It may have been given up on a moment ago, and its row not be on disk.
                self._settler.note_more()
                await asyncio.sleep(3 * SETTLE)
            # While nothing is sent, what is due waits as if it was on its way.
            self._queue.give_back(position)
            self._ledger.begin_renewing()
            rows = await self._log.held_at(self._reader, [position])
            is_dropped = self._ledger.drop(rows) > 0
            if not rows and not self._ledger.is_flying(position):
                if position > self._ledger.cursor:
                    raise ValueError("an event before it has no answer yet, so this one is not settled; try again soon")
                raise ValueError("it is neither held nor dead at this sink, so there is nothing to skip")
            if not is_dropped:
                raise ValueError("it is on its way to the receiver, or waits until that can be sent to again")
            [row] = rows
            nothing = (None, None, None, None, None, "")
            self._remember(
                [Attempt(self._now(), position, position, 1, row.tries, Outcome.SKIPPED, *nothing, reason[:REASON])]
            )
            while position in self._ledger.busy:
                if self._settler.has_ended:
                    raise StoreError("the delivery ended before it was stored; ask again")
                await asyncio.sleep(SETTLE)
        return row

    def is_flying(self, position: int) -> bool:
        """Whether the entry at a position is on its way to the receiver, or waits to be sent again at once."""
        return self._ledger.is_flying(position)

    @asynccontextmanager
    async def run(self, patience: Callable[[], float]) -> AsyncIterator[None]:
        """Read and send; at the end send nothing more, wait up to ``patience`` seconds for answers, and settle what is
        known then. Left with `ClaimLost` it waits for nothing."""
        await self._reporter.open()
        if self._standing.state is Decided.RUNNING:
            self._reporter.tell_backlog()
        async with AsyncExitStack() as stack:
            if self._tail is not None:
                await stack.enter_async_context(self._tail.shared_by(self._fetcher))
            async with self._running(patience):
                yield

    @asynccontextmanager
    async def _running(self, patience: Callable[[], float]) -> AsyncIterator[None]:
        is_lost = False
        settling = self._start(self._settle)
        others = [self._start(job) for job in [*self._jobs, self._reporter.run]]
        try:
            yield
        except ClaimLost:
            is_lost = True
            raise
        finally:
            seconds = 0.0 if is_lost else patience()
            # Workers that were left would go on sending.
            ending = self._end(settling, others, seconds, is_lost=is_lost)
            await to_its_end(ending, f"end of sink {self._name}")

    async def _end(
        self, settling: asyncio.Task[None], others: Sequence[asyncio.Task[None]], seconds: float, *, is_lost: bool
    ) -> None:
        """Send nothing more, wait up to so many seconds for answers, and settle."""
        await self._sender.close(seconds)
        others = [*others, *self._workers]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if not is_lost:
            try:
                await self._reporter.close()
            except Exception:  # what was sent is settled all the same
                _log.exception("sink_task_failed", sink=self._name, task="close")
        # The settler ends by itself, so that a settlement is never left half known.
        self._settler.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, STORE_WAIT)):
                await settling

    def _lag(self) -> int:
        return self._log.head - self._cursor()

    def _goes(self) -> bool:
        return self._health.state is State.RUNNING

    def _cursor(self) -> int:
        """Up to here everything is done, the held ones aside; on disk it is a moment later."""
        return self._ledger.passable(self._queue.reached)

    def _begin_worker(self) -> None:
        self._workers.append(self._start(self._sender.work))

    def _remember(self, attempts: Sequence[Attempt]) -> None:
        self._ledger.remember(attempts)
        self._settler.note_more()

    def _start(self, job: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep(job), name=f"sink {self._name} {job.__name__}")

    async def _keep(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run a task again after an error that is ours: a bug must not end a delivery."""
        while True:
            try:
                return await job()
            except StoreError as error:
                _log.warning("sink_store_failed", sink=self._name, problem=str(error))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and is_ending():
                    raise
                _log.exception("sink_task_failed", sink=self._name, task=job.__name__)
            await asyncio.sleep(STORE_WAIT)

    async def _settle(self) -> None:
        while await self._settler.settle():
            self._sender.wake()


def _make_lanes(settings: SinkSettings, progress: ReaderState, blocked: Sequence[BlockedKey]) -> Lanes | None:
    """Where order is kept within keys. Keys that are blocked were perhaps made otherwise than the settings say now:
    then all are made so, until none is blocked."""
    if settings.order_by is None and not blocked:
        return None
    order_by = kind_of(blocked[0].key) if blocked else settings.order_by
    if order_by != settings.order_by:
        _log.warning("sink_order_kept", sink=settings.name, order_by=order_by, blocked=len(blocked))
    return Lanes(make_key_of(order_by), blocked, skips=settings.when_dead == "skip", read_to=progress.cursor)


def reader_name(sink: str) -> str:
    """Under which name the log keeps a sink's progress."""
    return f"sink:{sink}"


def replay_note(sink: str) -> str:
    """Under which name the log keeps the replay of a sink (`adapter.replay`)."""
    return f"sink-replay {sink}"


def replay_reader(sink: str, number: int) -> str:
    """Under which name the log keeps how far a replay is that reads once more, and what it tried."""
    return f"{reader_name(sink)} replay {number}"


@asynccontextmanager
async def open_delivery(
    settings: SinkSettings,
    sink: Sink,
    log: Store,
    selection: Selection,
    *,
    token: int = 0,
    replay_of: str | None = None,
    standings: Standings | None = None,
    tail: Tail | None = None,
    pace: Pace | None = None,
    patience: Callable[[], float] = lambda: 10.0,
    probe: float = PROBE,
    clock: Callable[[], float] = time.time,
    random_source: Callable[[], float] = random.random,
) -> AsyncIterator[Delivery]:
    """Deliver to a sink while the context lasts; at its end wait for answers as many seconds as ``patience`` gives.

    ``replay_of`` names the sink beside which it sends what that was sent before, as what is decided about it says.
    ``standings`` tells what is decided about sinks, one for all of a service; ``None``: it looks by itself.
    ``pace`` is that of the sink that it sends beside; ``None``: its own.
    ``tail`` is what the sinks of a service read the log with; ``None``: it reads alone.
    ``token`` is that of the claim of `reader_name`, under which all progress is stored; 0 where it was never claimed.
    ``probe`` is the first wait of seconds before a receiver that is down is tried again; ``clock`` gives epoch seconds,
    ``random_source`` a number from 0 to 1.

    Raises:
        ClaimLost: somebody else delivers to it.
        StoreError: the sink's progress cannot be read or begun.
    """
    reader = reader_name(settings.name)
    progress = await log.progress(reader)
    if progress is None:
        match settings.from_:
            case "beginning":
                cursor = 0
            case "now":
                cursor = log.head
            case datetime() as begin:
                cursor = await log.position_at(int(begin.timestamp() * 1000))
    else:
        cursor = progress.cursor
    progress = await log.begin(reader, cursor, selection.text, token)
    blocked = await log.blocked(reader)
    delivery = Delivery(
        settings, sink, log, selection, progress, blocked, token,
        replay_of=replay_of, tail=tail, pace=pace, probe=probe, clock=clock, random_source=random_source,
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        if standings is None:
            standings = await stack.enter_async_context(open_standings(log))
        stack.enter_context(standings.following(replay_of or settings.name, delivery.follow))
        delivery.follow(await read(log, replay_of or settings.name))
        await stack.enter_async_context(delivery.run(patience))
        yield delivery
