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
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

from adapter.delivery.answers import AnswerPolicy
from adapter.delivery.backoff import PROBE
from adapter.delivery.fetching import Fetcher, Rereader
from adapter.delivery.health import ReceiverHealth, State
from adapter.delivery.keys import kind_of, make_key_of
from adapter.delivery.lanes import Lanes
from adapter.delivery.ledger import Ledger, SinkCounts
from adapter.delivery.ordered_ledger import OrderedLedger
from adapter.delivery.ordered_queue import OrderedQueue
from adapter.delivery.queue import SendQueue
from adapter.delivery.select import Selection
from adapter.delivery.sending import Sender
from adapter.delivery.settling import STORE_WAIT, Settler
from adapter.errors import ClaimLost, StoreError
from adapter.log.protocol import BlockedKey, ReaderState, Store
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
        probe: float,
        clock: Callable[[], float],
        random_source: Callable[[], float],
    ) -> None:
        def now() -> int:
            return int(clock() * 1000)

        name, reader, window = settings.name, reader_name(settings.name), sink.window
        self._name = name
        self._kind = settings.kind
        self._promise = sink.promise
        self._epoch = progress.epoch
        self._window = window
        self._log = log
        self._health = ReceiverHealth(name, window=window, probe=probe, now=now, random_source=random_source)
        lanes = _make_lanes(settings, progress, blocked)
        ledger: Ledger
        queue: SendQueue
        if lanes is None:
            ledger = Ledger(reader, progress, token)
            queue = SendQueue(ledger, window=window, batch=sink.batch, read_to=progress.cursor)
        else:
            ledger = OrderedLedger(reader, progress, token, lanes, batch=sink.batch.entries)
            queue = OrderedQueue(ledger, lanes, window=window, batch=sink.batch, read_to=progress.cursor)
        self._ledger = ledger
        policy = AnswerPolicy(name, settings.retry, now=now, random_source=random_source)
        self._settler = Settler(name, log, ledger, queue, window=window, now=now)
        self._sender = Sender(name, sink, queue, self._health, ledger, policy, self._settler)
        self._fetcher = Fetcher(
            reader, log, selection, ledger, queue, self._settler, self._sender,
            schedule=settings.retry, now=now, wait=sink.batch.wait,
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
            cursor=self._ledger.cursor,
            lag=self._log.head - self._ledger.cursor,
            counts=self._ledger.counts(),
        )

    @asynccontextmanager
    async def run(self, patience: Callable[[], float]) -> AsyncIterator[None]:
        """Read and send; at the end send nothing more, wait up to ``patience`` seconds for answers, and settle what is
        known then. Left with `ClaimLost` it waits for nothing."""
        is_lost = False
        settling = self._start(self._settle)
        others = [self._start(job) for job in self._jobs]
        others += [self._start(self._sender.work) for _ in range(self._window)]
        try:
            yield
        except ClaimLost:
            is_lost = True
            raise
        finally:
            seconds = 0.0 if is_lost else patience()
            await self._sender.close(seconds)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            # The settler ends by itself, so that a settlement is never left half known.
            self._settler.end()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, STORE_WAIT)):
                    await settling

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


@asynccontextmanager
async def open_delivery(
    settings: SinkSettings,
    sink: Sink,
    log: Store,
    selection: Selection,
    *,
    token: int = 0,
    patience: Callable[[], float] = lambda: 10.0,
    probe: float = PROBE,
    clock: Callable[[], float] = time.time,
    random_source: Callable[[], float] = random.random,
) -> AsyncIterator[Delivery]:
    """Deliver to a sink while the context lasts; at its end wait for answers as many seconds as ``patience`` gives.

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
        probe=probe, clock=clock, random_source=random_source,
    )  # fmt: skip
    async with delivery.run(patience):
        yield delivery
