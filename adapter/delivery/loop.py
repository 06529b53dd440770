"""One sink's delivery: reads the log past its cursor, sends what its filter takes, settles what became of it.

Its parts know each other in one direction only: the `Fetcher` brings entries to the `SendQueue`; the `Sender` takes
them from there, and answers go to the `Ledger` and to the `ReceiverHealth`; the `Settler` puts the ledger on disk. Each
sink has its own, so nothing that its receiver does can hold up another.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

from adapter.delivery.answers import AnswerPolicy
from adapter.delivery.backoff import PROBE
from adapter.delivery.fetching import Fetcher
from adapter.delivery.health import ReceiverHealth, State
from adapter.delivery.ledger import Ledger, SinkCounts
from adapter.delivery.queue import SendQueue
from adapter.delivery.rate import Pace
from adapter.delivery.reporting import Reporter
from adapter.delivery.select import Selection
from adapter.delivery.sending import Sender
from adapter.delivery.settling import STORE_WAIT, Settler
from adapter.delivery.standing import Decided, Standing, Standings, open_standings, read
from adapter.errors import ClaimLost, StoreError
from adapter.log.protocol import ReaderState, Store
from adapter.sinks.protocol import Promise, Sink
from adapter.sinks.settings import SinkSettings

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


class Delivery:
    """The delivery to one sink: its parts, and the tasks in which they run. Made by `open_delivery`."""

    def __init__(
        self,
        settings: SinkSettings,
        sink: Sink,
        log: Store,
        selection: Selection,
        progress: ReaderState,
        token: int,
        *,
        reads: asyncio.Semaphore,
        probe: float,
        clock: Callable[[], float],
        random_source: Callable[[], float],
    ) -> None:
        def now() -> int:
            return int(clock() * 1000)

        monotonic = asyncio.get_running_loop().time
        name, reader, window = settings.name, reader_name(settings.name), sink.window
        self._name = name
        self._kind = settings.kind
        self._promise = sink.promise
        self._epoch = progress.epoch
        self._workers: list[asyncio.Task[None]] = []
        self._log = log
        self._ledger = ledger = Ledger(reader, progress, token)
        self._health = ReceiverHealth(name, window=window, probe=probe, now=now, random_source=random_source)
        self._standing = Standing()
        self._pace = Pace(settings.rate, settings.catch_up, lag=self._lag, clock=monotonic)
        self._reporter = Reporter(
            name, log, self._health, disable_after=settings.disable_after_seconds, lag=self._lag, decide=self.follow,
            now=now, clock=monotonic,
        )  # fmt: skip
        queue = SendQueue(ledger, window=window, batch=sink.batch, read_to=progress.cursor)
        policy = AnswerPolicy(settings.retry, now=now, random_source=random_source)
        self._settler = Settler(name, log, ledger, queue, window=window, now=now)
        self._sender = Sender(
            name, sink, queue, self._health, ledger, policy, self._settler, self._reporter,
            self._pace if self._pace.is_bounded else None,
            window=window, begin_worker=self._begin_worker,
        )  # fmt: skip
        self._fetcher = Fetcher(
            reader, log, selection, ledger, queue, self._settler, self._sender,
            schedule=settings.retry, now=now, wait=sink.batch.wait, reads=reads,
        )  # fmt: skip

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
            cursor=self._ledger.cursor,
            lag=self._lag(),
            counts=self._ledger.counts(),
            standing=self._standing,
            failing_since=self._reporter.failing.since or None,
            rate=self._pace.rate,
        )

    def follow(self, standing: Standing) -> None:
        """This was decided about the sink, or is known already."""
        if standing.version > self._standing.version:
            self._standing = standing
            self._sender.decide(standing)

    @asynccontextmanager
    async def run(self, patience: Callable[[], float]) -> AsyncIterator[None]:
        """Read and send; at the end send nothing more, wait up to ``patience`` seconds for answers, and settle what is
        known then. Left with `ClaimLost` it waits for nothing."""
        is_lost = False
        await self._reporter.open()
        if self._standing.state is Decided.RUNNING:
            self._reporter.tell_backlog()
        settling = self._start(self._settle)
        fetcher = self._fetcher
        jobs = [fetcher.read_on, fetcher.ripen, fetcher.take_up, fetcher.watch_removed]
        others = [self._start(job) for job in [*jobs, self._reporter.run]]
        try:
            yield
        except ClaimLost:
            is_lost = True
            raise
        finally:
            seconds = 0.0 if is_lost else patience()
            await self._sender.close(seconds)
            others += self._workers
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if not is_lost:
                await self._reporter.close()
            # The settler ends by itself, so that a settlement is never left half known.
            self._settler.end()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, STORE_WAIT)):
                    await settling

    def _lag(self) -> int:
        return self._log.head - self._ledger.cursor

    def _begin_worker(self) -> None:
        self._workers.append(self._start(self._sender.work))

    def _start(self, job: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep(job), name=f"sink {self._name} {job.__name__}")

    async def _keep(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run a task again after an error that is ours: a bug must not end a delivery."""
        while True:
            try:
                return await job()
            except StoreError as error:
                _log.warning("sink_store_failed", sink=self._name, problem=str(error))
            except Exception:
                _log.exception("sink_task_failed", sink=self._name, task=job.__name__)
            await asyncio.sleep(STORE_WAIT)

    async def _settle(self) -> None:
        while await self._settler.settle():
            self._sender.wake()


def reader_name(sink: str) -> str:
    """Under which name the log keeps a sink's progress."""
    return f"sink:{sink}"


@asynccontextmanager
async def open_delivery(
    settings: SinkSettings,
    sink: Sink,
    log: Store,
    selection: Selection,
    *,
    token: int = 0,
    standings: Standings | None = None,
    reads: asyncio.Semaphore | None = None,
    patience: Callable[[], float] = lambda: 10.0,
    probe: float = PROBE,
    clock: Callable[[], float] = time.time,
    random_source: Callable[[], float] = random.random,
) -> AsyncIterator[Delivery]:
    """Deliver to a sink while the context lasts; at its end wait for answers as many seconds as ``patience`` gives.

    ``standings`` tells what is decided about sinks, one for all of a service; ``None``: it looks by itself.
    ``reads`` is what the sinks of a service take turns by in reading the log: a thousand that open at once would read
    it at the same moment.
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
    delivery = Delivery(
        settings, sink, log, selection, progress, token,
        reads=reads or asyncio.Semaphore(), probe=probe, clock=clock, random_source=random_source,
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        if standings is None:
            standings = await stack.enter_async_context(open_standings(log))
        stack.enter_context(standings.following(settings.name, delivery.follow))
        delivery.follow(await read(log, settings.name))
        await stack.enter_async_context(delivery.run(patience))
        yield delivery
