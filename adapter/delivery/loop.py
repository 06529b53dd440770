"""One sink's delivery: reads the log past its cursor, sends what its filter takes, settles what became of it.

Four kinds of tasks share a `Ledger`, each simple on its own: a reader that keeps a stretch of entries ready, a worker
for each send in flight, one that takes up held rows when they are due, and one that settles. They belong to one sink
alone, so nothing that its receiver does can hold up another.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from adapter.delivery.backoff import PROBE, Breaker, wait_after
from adapter.delivery.ledger import Counts, Flight, Ledger
from adapter.delivery.select import Selection
from adapter.errors import StoreError
from adapter.log.protocol import Held, Log, Progress
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, Answer, Delivered, Later, Never, Sink, Stop
from adapter.sinks.settings import SinkSettings

#: Answers are settled within this time, seconds.
SETTLE = 0.05
#: A cursor that only passed entries which the filter does not take is settled after this time, seconds, or after this
#: many of them.
IDLE_SETTLE = 1.0
IDLE_STRETCH = 10_000
#: While entries come all the time, those of this long are read together, seconds.
GATHER = 0.01
#: Waits after a failure of the store, seconds.
STORE_WAIT = 1.0
#: The breaker opens after so many failures in a row, or when nothing is left that could disprove that the receiver is
#: down.
FAILURES = 5
#: A message upon which the breaker opened so often, while others passed in between, spends its tries from then on.
DOWNS = 2
#: The longest a due row is left alone because the clock was set back, seconds.
LONGEST_WAIT = 60.0

_log = structlog.get_logger(__name__)


class State(StrEnum):
    """What a sink is doing."""

    #: Sends what comes, or has nothing to send.
    RUNNING = "running"
    #: The receiver is down: only a probe goes out now and then, and the cursor stands.
    DOWN = "down"
    #: The receiver said that it is gone for good: nothing is sent until the service starts again.
    STOPPED = "stopped"


@dataclass(slots=True, frozen=True)
class Snapshot:
    """How it stands with a sink, this moment."""

    name: str
    kind: str
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
    counts: Counts


class Delivery:
    """The delivery to one sink. Made by `open_delivery`."""

    def __init__(
        self,
        settings: SinkSettings,
        sink: Sink,
        log: Log,
        selection: Selection,
        progress: Progress,
        *,
        probe: float,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._name = settings.name
        self._kind = settings.kind
        self._retry = settings.retry
        self._sink = sink
        self._log = log
        self._selection = selection
        self._clock = clock
        self._chance = chance
        self._reader = reader_name(settings.name)
        self._epoch = progress.epoch
        self._ledger = Ledger(self._reader, progress)
        #: Entries that may be in flight at once. Twice as many may be sent without being settled.
        self._room = sink.window * sink.batch
        self._stretch = max(1000, min(sink.batch, 10_000))

        #: How far the log was read.
        self._read_to = progress.cursor
        #: Read, taken by the filter, never sent.
        self._fresh: deque[Entry] = deque()
        #: Due rows, taken up.
        self._due: deque[Flight] = deque()
        #: To be sent again without a try being spent: the receiver was down.
        self._again: deque[Flight] = deque()
        #: Failed as if the receiver were down: the number of sends until then, the flight, its answer.
        self._suspects: list[tuple[int, Flight, Later]] = []
        self._breaker = Breaker(probe)
        #: While the breaker is open: whether a probe may go, which one is out, how many there were.
        self._probe_due = False
        self._probe: Flight | None = None
        self._probes = 0
        self._sends = 0
        self._flying = 0
        #: Entries answered since the last settlement.
        self._answered = 0
        self._closing = False

        self._state = State.RUNNING
        self._since = self._now()
        self._answer = "nothing sent yet"

        self._sleepers: list[asyncio.Future[None]] = []
        self._thirsty = asyncio.Event()
        self._unsettled = asyncio.Event()
        self._plenty = asyncio.Event()
        self._rows_moved = asyncio.Event()
        self._landed = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def snapshot(self) -> Snapshot:
        """How it stands now."""
        return Snapshot(
            name=self._name,
            kind=self._kind,
            state=self._state,
            since=self._since,
            answer=self._answer,
            epoch=self._epoch,
            cursor=self._ledger.cursor,
            lag=self._log.head - self._ledger.cursor,
            counts=self._ledger.counts(),
        )

    def start(self) -> None:
        """Begin to read and send."""
        jobs = [self._read, self._take_up, self._settle] + [self._work] * self._sink.window
        self._tasks = [asyncio.create_task(self._keep(job), name=f"sink {self._name}{job.__name__}") for job in jobs]

    async def close(self, patience: float) -> None:
        """Send nothing more, wait up to ``patience`` seconds for answers, and settle what is known then."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._flying:
                    self._landed.clear()
                    await self._landed.wait()
        for timer in self._timers.values():
            timer.cancel()
        settler = self._tasks[2]
        others = [task for task in self._tasks if task is not settler]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # The settler ends by itself, so that a settlement is never left half known.
        self._unsettled.set()
        self._plenty.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(patience, STORE_WAIT)):
                await settler

    # Tasks

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

    async def _read(self) -> None:
        """Keep a stretch of entries ready to be sent."""
        loop = asyncio.get_running_loop()
        last_at = 0.0
        while True:
            while len(self._fresh) > self._stretch // 2:
                self._thirsty.clear()
                await self._thirsty.wait()
            if self._log.head <= self._read_to:
                await self._log.wait(self._read_to)
                if loop.time() - last_at < 2 * GATHER:
                    await asyncio.sleep(GATHER)
            last_at = loop.time()
            entries = await self._log.read(self._read_to, limit=self._stretch)
            for begin in range(0, len(entries), self._selection.stretch):
                part = entries[begin : begin + self._selection.stretch]
                chosen = self._selection.select(part)
                self._fresh.extend(chosen)
                self._read_to = part[-1].position
                if chosen:
                    self._wake()
                if len(part) < len(entries):
                    await asyncio.sleep(0)
            if self._read_to - self._ledger.cursor >= IDLE_STRETCH:
                self._unsettled.set()
            else:
                self._later("idle", IDLE_SETTLE, self._unsettled.set)

    async def _work(self) -> None:
        """Send, one flight after the other."""
        loop = asyncio.get_running_loop()
        while True:
            flight = self._take()
            if flight is None:
                if self._suspects and not self._flying and not self._closing:
                    self._open_breaker(None)
                sleeper = loop.create_future()
                self._sleepers.append(sleeper)
                await sleeper
                continue
            self._flying += 1
            flight.flying = True
            answers: Sequence[Answer]
            try:
                answers = await self._sink.send(flight.entries)
                if len(answers) != len(flight.entries):
                    raise ValueError(f"{len(answers)} answers for {len(flight.entries)} entries")
            except Exception:
                _log.exception("sink_send_failed", sink=self._name)
                answers = [Later("this program failed to send it; its log says how")] * len(flight.entries)
            finally:
                flight.flying = False
                self._flying -= 1
                self._landed.set()
            self._take_answers(flight, answers)

    async def _take_up(self) -> None:
        """Make flights of held rows when they are due; they never take more than half of the room."""
        room = max(1, self._room // 2)
        ledger = self._ledger
        while True:
            self._rows_moved.clear()
            free = room - len(ledger.busy)
            if ledger.held <= 0 or free <= 0:
                await self._rows_moved.wait()
                continue
            # What was busy when the question was asked may be answered with a row that has ended since.
            busy = set(ledger.busy)
            rows = await self._log.held(self._reader, limit=len(busy) + free)
            busy |= ledger.busy
            waiting = [(row, row.due_at) for row in rows if row.due_at is not None and row.position not in busy]
            now = self._now()
            due = {row.position: row.tries for row, due_at in waiting if due_at <= now}
            if due:
                entries = await self._log.fetch(list(due))
                ledger.reserve(due)
                if missing := due.keys() - {entry.position for entry in entries}:
                    ledger.skip(list(missing))
                    self._unsettled.set()
                for begin in range(0, len(entries), self._sink.batch):
                    part = entries[begin : begin + self._sink.batch]
                    self._due.append(Flight(part, tries={e.position: due[e.position] for e in part}, has_rows=True))
                self._wake()
                continue
            wait = (waiting[0][1] - now) / 1000 if waiting else None
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait is None else min(wait, LONGEST_WAIT)):
                    await self._rows_moved.wait()

    async def _settle(self) -> None:
        """Put on disk what became of what was sent: every half window of answers, or soon after the first."""
        patience = self._sink.window // 4
        while True:
            await self._unsettled.wait()
            if not self._closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SETTLE):
                        await self._plenty.wait()
            last = self._closing and all(task.done() for task in self._tasks if task is not asyncio.current_task())
            self._unsettled.clear()
            self._plenty.clear()
            self._answered = 0
            reached = self._fresh[0].position - 1 if self._fresh else self._read_to
            settlement = self._ledger.settle(reached, 0 if last else patience, self._now(), stopping=last)
            while settlement is not None:
                try:
                    await self._log.settle(settlement)
                    break
                except StoreError as error:
                    _log.warning("sink_store_failed", sink=self._name, problem=str(error))
                    await asyncio.sleep(STORE_WAIT)
            if last:
                return
            if settlement is not None:
                self._ledger.commit()
                if settlement.hold or settlement.release:
                    self._rows_moved.set()
                self._wake()

    # What to send next, and what the answers mean

    def _take(self) -> Flight | None:
        """The next flight to send, or ``None`` if there is none or it may not go now."""
        if self._closing or self._state is State.STOPPED:
            return None
        if self._breaker.is_open:
            if not self._probe_due:
                return None
            flight = self._probe = self._take_probe()
            self._probe_due = flight is None
        else:
            flight = self._again.popleft() if self._again else self._take_due() or self._take_fresh()
        if flight is not None:
            self._sends += 1
            flight.number = self._sends
        return flight

    def _take_probe(self) -> Flight | None:
        # Another one each time where order does not matter: one message alone may be what the receiver cannot take.
        self._probes += 1
        fresh = self._take_fresh() if self._probes % 2 == 0 and self._sink.window > 1 else None
        if fresh is None and self._again:
            return self._again.popleft()
        return fresh or self._take_due() or self._take_fresh()

    def _take_due(self) -> Flight | None:
        if not self._due or self._ledger.exposed + self._due[0].size > 2 * self._room:
            return None
        flight = self._due.popleft()
        self._ledger.add(flight)
        return flight

    def _take_fresh(self) -> Flight | None:
        fresh = self._fresh
        size = min(len(fresh), self._sink.batch, 2 * self._room - self._ledger.exposed)
        if size <= 0:
            return None
        if size == 1:
            entries = [fresh.popleft()]
        elif size == len(fresh):
            entries = list(fresh)
            fresh.clear()
        else:
            entries = [fresh.popleft() for _ in range(size)]
        if len(fresh) <= self._stretch // 2:
            self._thirsty.set()
        flight = Flight(entries)
        self._ledger.add(flight)
        return flight

    def _wake(self) -> None:
        """Wake as many workers as there may be work for."""
        if self._breaker.is_open:
            wanted = 1
        else:
            entries = min(len(self._fresh), 2 * self._room - self._ledger.exposed)
            wanted = len(self._again) + len(self._due) + -(-entries // self._sink.batch)
        while wanted > 0 and self._sleepers:
            sleeper = self._sleepers.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                wanted -= 1

    def _take_answers(self, flight: Flight, answers: Sequence[Answer]) -> None:
        entries = flight.entries
        if answers.count(DELIVERED) == len(entries):
            self._ledger.answer(flight, entries, (), ())
            self._answer = "delivered"
            self._note_alive(flight)
        else:
            self._take_refusals(flight, answers)
        self._answered += len(entries) - len(flight.entries)
        self._unsettled.set()
        if 2 * self._answered >= self._room:
            self._plenty.set()

    def _take_refusals(self, flight: Flight, answers: Sequence[Answer]) -> None:
        delivered: list[Entry] = []
        hold: list[Held] = []
        left: list[Entry] = []
        stop: Stop | None = None
        down: Later | None = None
        for entry, answer in zip(flight.entries, answers, strict=True):
            match answer:
                case Delivered():
                    delivered.append(entry)
                    continue
                case Never(reason):
                    hold.append(Held(entry.position, flight.tried(entry) + 1, None, reason))
                case Later(reason, after, receiver_down=False):
                    hold.append(self._hold(flight, entry, reason, after))
                case Later(reason):
                    left.append(entry)
                    down = answer if down is None or (answer.after or 0) > (down.after or 0) else down
                case Stop(reason):
                    left.append(entry)
                    stop = answer
            self._answer = reason
        self._ledger.answer(flight, delivered, hold, left)
        if stop is not None:
            self._again.append(flight)
            self._enter(State.STOPPED)
        elif down is not None:
            self._note_down(flight, down)
        else:
            self._note_alive(flight)

    def _hold(self, flight: Flight, entry: Entry, reason: str, after: float | None) -> Held:
        """The row of an entry that spends a try."""
        tries = flight.tried(entry) + 1
        wait = wait_after(tries, self._retry, after, self._chance())
        if wait is None:
            _log.warning("sink_gave_up", sink=self._name, position=entry.position, tries=tries, answer=reason)
        return Held(entry.position, tries, None if wait is None else self._now() + round(wait * 1000), reason)

    def _note_alive(self, flight: Flight) -> None:
        """The receiver answered this flight for itself: what failed before it was sent, failed for its own sake."""
        if flight is self._probe:
            self._probe = None
            self._breaker.close()
            if self._state is State.DOWN:
                self._enter(State.RUNNING)
            self._wake()
        elif self._suspects and not self._breaker.is_open:
            suspects, self._suspects = self._suspects, []
            for suspicion in suspects:
                sent, suspect, answer = suspicion
                if sent < flight.number:
                    self._charge(suspect, answer)
                else:
                    self._suspects.append(suspicion)

    def _note_down(self, flight: Flight, answer: Later) -> None:
        """The receiver is down, or seems so to this flight."""
        if self._breaker.is_open:
            self._queue_again(flight)
            if flight is self._probe:
                self._probe = None
                self._fail_breaker(answer.after)
            elif answer.after is not None and not self._probe_due and self._probe is None:
                self._plan_probe(answer.after)
            return
        self._suspects.append((self._sends, flight, answer))
        if answer.after is not None or len(self._suspects) >= FAILURES or self._sink.window == 1:
            self._open_breaker(answer.after)

    def _open_breaker(self, after: float | None) -> None:
        suspects, self._suspects = self._suspects, []
        for _, flight, answer in suspects:
            self._answer = answer.reason
            flight.downs += 1
            if flight.downs > DOWNS and self._sink.window > 1:
                self._charge(flight, answer)
            else:
                self._queue_again(flight)
        self._fail_breaker(after)
        if self._state is State.RUNNING:
            self._enter(State.DOWN)

    def _fail_breaker(self, after: float | None) -> None:
        self._plan_probe(self._breaker.fail(after, self._chance()))

    def _plan_probe(self, wait: float) -> None:
        """Let a probe go after ``wait`` seconds; one that is planned for later stays."""

        def ring() -> None:
            self._probe_due = True
            self._wake()

        planned = self._timers.get("probe")
        if planned is not None and planned.when() < asyncio.get_running_loop().time() + wait:
            planned.cancel()
            del self._timers["probe"]
        self._later("probe", wait, ring)

    def _queue_again(self, flight: Flight) -> None:
        # Probes go round among them, but with one send at a time the order of the log is kept.
        if self._sink.window == 1:
            self._again.appendleft(flight)
        else:
            self._again.append(flight)

    def _charge(self, flight: Flight, answer: Later) -> None:
        """The flight failed while the receiver was up: each entry spends a try."""
        rows = [self._hold(flight, entry, answer.reason, answer.after) for entry in flight.entries]
        self._answered += len(rows)
        self._ledger.answer(flight, (), rows, ())
        self._unsettled.set()

    # Small parts

    def _enter(self, state: State) -> None:
        self._state = state
        self._since = self._now()
        tell = _log.info if state is State.RUNNING else _log.warning
        tell("sink_state", sink=self._name, state=str(state), answer=self._answer)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _later(self, name: str, delay: float, call: Callable[[], None]) -> None:
        """Call once after ``delay`` seconds; a call of this name that is already planned stays as it is."""

        def ring() -> None:
            self._timers.pop(name, None)
            call()

        if name not in self._timers:
            self._timers[name] = asyncio.get_running_loop().call_later(max(0.0, delay), ring)


def reader_name(sink: str) -> str:
    """Under which name the log keeps a sink's progress."""
    return f"sink:{sink}"


@asynccontextmanager
async def open_delivery(
    settings: SinkSettings,
    sink: Sink,
    log: Log,
    selection: Selection,
    *,
    patience: float = 10.0,
    probe: float = PROBE,
    clock: Callable[[], float] = time.time,
    chance: Callable[[], float] = random.random,
) -> AsyncIterator[Delivery]:
    """Deliver to a sink while the context lasts; at its end wait up to ``patience`` seconds for answers.

    ``probe`` is the first wait of seconds before a receiver that is down is tried again; ``clock`` gives epoch seconds,
    ``chance`` a number from 0 to 1.

    Raises:
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
            case datetime() as moment:
                cursor = await log.position_at(int(moment.timestamp() * 1000))
    else:
        cursor = progress.cursor
    progress = await log.begin(reader, cursor, selection.text)
    delivery = Delivery(settings, sink, log, selection, progress, probe=probe, clock=clock, chance=chance)
    delivery.start()
    try:
        yield delivery
    finally:
        await delivery.close(patience)
