"""What can go wrong in a call goes wrong: every method of the log that a delivery uses raises in every way, before it
has done something or after, answers of the sink are none, and the clock steps by a day either way meanwhile. Nothing
freezes, nothing is lost, and the books are right. All in virtual time, over the log in memory."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from adapter.delivery.loop import open_delivery, reader_name
from adapter.delivery.select import Selection
from adapter.delivery.tail import Tail
from adapter.errors import StoreUnanswered, StoreUnavailable
from adapter.filter import Filter
from adapter.log.memory import open_memory_log
from adapter.log.protocol import Store
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, Answer, Batch, Later, Never, Promise, Skip
from adapter.sinks.settings import SinkSettings
from tests.delivery.parts import CATALOGUE, check_law, check_settled_law, new_entry
from tests.delivery.virtual_time import passes, run_virtual


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of errors are not written out."""
    with capture_logs():
        yield


DAY = 86_400.0
EVENTS = 60
#: Seconds of such a time in which everything is sent in the end: a few waits of a minute.
LONG = 3600.0

Fault = Callable[[], BaseException]

FAULTS: dict[str, Fault] = {
    "unavailable": lambda: StoreUnavailable("the disk is full"),
    "unanswered": lambda: StoreUnanswered("no answer came"),
    "a bug": lambda: RuntimeError("a bug"),
    "no memory": MemoryError,
    "cancelled": asyncio.CancelledError,
}
#: Methods of `Store` that a delivery calls.
METHODS = [
    "advance", "append", "blocked", "dead_removed", "fetch", "held", "keep", "noted", "progress", "read", "removed",
    "rows", "settle", "wait",
]  # fmt: skip


class Clock:
    """Epoch seconds that can be set."""

    def __init__(self) -> None:
        self.offset = 1_700_000_000.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.offset


class FaultyLog:
    """A log of which ``rolls`` says at each call whether it fails: before it does anything, or after."""

    def __init__(self, log: Store, rolls: Callable[[str], tuple[Fault | None, Fault | None]]) -> None:
        self._log = log
        self.rolls = rolls
        #: A delivery that cannot be opened is opened again by whoever did.
        self.is_open = False

    @property
    def head(self) -> int:
        return self._log.head

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._log, name)
        if not asyncio.iscoroutinefunction(real):
            return real

        @wraps(real)
        async def call(*arguments: Any, **named: Any) -> Any:
            before, after = self.rolls(name) if self.is_open else (None, None)
            if before is not None:
                raise before()
            result = await real(*arguments, **named)
            if after is not None:
                raise after()
            return result

        return call


class FaultySink:
    """A sink whose answers are what ``answers`` makes of its entries."""

    promise = Promise.ACKNOWLEDGED

    def __init__(self, answers: Callable[[Sequence[Entry]], Any], *, batch: Batch = Batch()) -> None:  # noqa: B008
        self.answers = answers
        self.window = 4
        self.batch = batch
        self.taken: list[int] = []

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        await asyncio.sleep(0.05)
        answers = self.answers(entries)
        if isinstance(answers, BaseException):
            raise answers
        if isinstance(answers, list) and len(answers) == len(entries):
            pairs = zip(entries, answers, strict=True)
            self.taken += [entry.position for entry, one in pairs if one == DELIVERED]
        return cast(Sequence[Answer], answers)


async def deliver(
    log: FaultyLog,
    sink: FaultySink,
    clock: Clock,
    during: Callable[[float], None],
    order_by: str | None,
    tail: Tail | None = None,
) -> None:
    """Deliver all events; ``during`` is told again and again how many seconds have passed."""
    settings = SinkSettings.model_validate(
        {"name": "soc", "kind": "told", "from": "beginning", "retry": [1.0, 30.0, 300.0] * 20, "attempts": "all",
         "order_by": order_by, "when_dead": "skip"}
    )  # fmt: skip
    selection = Selection(Filter.from_settings({}, CATALOGUE))
    opened = open_delivery(settings, sink, cast(Store, log), selection, clock=clock, patience=lambda: 5.0, tail=tail)
    async with opened as delivery:
        log.is_open = True

        def is_done() -> bool:
            check_law(delivery)
            during(asyncio.get_running_loop().time())
            shot = delivery.snapshot()
            return shot.lag == 0 and not (shot.counts.in_flight or shot.counts.held)

        await passes(is_done, within=LONG * 3, step=1.0)


def entries() -> list[Any]:
    return [new_entry(number, authDetails={"userId": f"u-{number % 5}"}) for number in range(1, EVENTS + 1)]


async def check(log: Store, sink: FaultySink, kept: set[int]) -> None:
    """Everything arrived that was not given up on, and what is stored tells the same."""
    assert set(sink.taken) == kept
    await check_settled_law(log)
    state = await log.progress(reader_name("soc"))
    assert state is not None
    assert state.delivered == len(kept)
    assert state.cursor == log.head
    assert not state.held + state.behind


@pytest.mark.parametrize(
    "order_by, is_together", [(None, False), (None, True), ("user", True)], ids=["alone", "together", "in order"]
)
@pytest.mark.parametrize("is_done", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", METHODS)
def test_whatever_call_of_the_log_fails_nothing_freezes_and_nothing_is_lost(
    method: str, fault: str, is_done: bool, order_by: str | None, is_together: bool
) -> None:
    async def main() -> None:
        dice, clock = random.Random(1), Clock()
        failed = 0

        def rolls(called: str) -> tuple[Fault | None, Fault | None]:
            nonlocal failed
            # Some calls fail, and two in a row.
            if called != method or dice.random() < 0.4 or failed == 4:
                return None, None
            failed += 1
            return (None, FAULTS[fault]) if is_done else (FAULTS[fault], None)

        refused: dict[int, int] = {}

        def answers(some: Sequence[Entry]) -> list[Answer]:
            for entry in some:
                refused[entry.position] = refused.get(entry.position, 0) + 1
            return [
                Later("not yet") if entry.position % 7 == 0 and refused[entry.position] < 3 else DELIVERED
                for entry in some
            ]

        async with open_memory_log() as real:
            log, sink = FaultyLog(real, rolls), FaultySink(answers)
            await real.append(entries())
            tail = Tail(cast(Store, log)) if is_together else None
            await deliver(log, sink, clock, lambda _: None, order_by, tail)
            await check(real, sink, set(range(1, EVENTS + 1)))

    run_virtual(main())


def blocks(some: Sequence[Entry]) -> list[Answer]:
    time.sleep(0.01)  # nobody else can run meanwhile
    return [DELIVERED for _ in some]


NO_ANSWERS: dict[str, Callable[[Sequence[Entry]], Any]] = {
    "none": lambda some: None,
    "no list": lambda some: 7,
    "none of them": lambda some: [],
    "too few": lambda some: [DELIVERED] * (len(some) - 1),
    "too many": lambda some: [DELIVERED] * (len(some) + 1),
    "no answers": lambda some: ["delivered"] * len(some),
    "a wait that is none": lambda some: [Later("later", after=float("nan"))] * len(some),
    "a wait for ever": lambda some: [Later("later", after=float("inf"))] * len(some),
    "a wait in the past": lambda some: [Later("later", after=-5.0)] * len(some),
    "no reason": lambda some: [Later(None)] * len(some),  # type: ignore[arg-type]
    "an error": lambda some: ValueError("a bug"),
    "no memory": lambda some: MemoryError(),
    "cancelled": lambda some: asyncio.CancelledError(),
    "the loop is blocked": blocks,
    "down": lambda some: [Later("the receiver answered 500", receiver_down=True)] * len(some),
    "too many requests": lambda some: [Later("429", after=30.0, receiver_down=True, spares=True)] * len(some),
}


@pytest.mark.parametrize("order_by", [None, "user"])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_whatever_a_sink_answers_everything_arrives_once_it_answers_well(
    kind: str, batch: int, order_by: str | None
) -> None:
    async def main() -> None:
        dice, clock = random.Random(2), Clock()
        sent = 0

        def answers(some: Sequence[Entry]) -> Any:
            nonlocal sent
            sent += 1
            if sent < 40 and dice.random() < 0.5:
                return NO_ANSWERS[kind](some)
            return [DELIVERED] * len(some)

        async with open_memory_log() as real:
            sink = FaultySink(answers, batch=Batch(batch, alike=batch > 1))
            await real.append(entries())
            await deliver(FaultyLog(real, lambda _: (None, None)), sink, clock, lambda _: None, order_by)
            if kind != "the loop is blocked":
                await check(real, sink, set(range(1, EVENTS + 1)))

    run_virtual(main())


@pytest.mark.parametrize("order_by", [None, "user"])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("seed", range(6))
def test_all_of_it_at_once_while_the_clock_steps_by_days(seed: int, batch: int, order_by: str | None) -> None:
    async def main() -> None:
        dice, clock = random.Random(seed), Clock()
        ended: dict[int, Answer] = {}
        loop = asyncio.get_running_loop()

        def rolls(called: str) -> tuple[Fault | None, Fault | None]:
            if loop.time() > LONG or dice.random() > 0.15:
                return None, None
            fault = dice.choice([*FAULTS.values()])
            return (None, fault) if dice.random() < 0.5 else (fault, None)

        def answers(some: Sequence[Entry]) -> Any:
            if loop.time() < LONG and dice.random() < 0.2:
                return dice.choice([*NO_ANSWERS.values()])(some)
            found: list[Answer] = [DELIVERED] * len(some)
            for number, entry in enumerate(some):
                if loop.time() < LONG and dice.random() < 0.1:
                    finals: list[Answer] = [Never("no"), Skip("not that one")]
                    found[number] = ended[entry.position] = dice.choice(finals)
                elif entry.position in ended:
                    found[number] = ended[entry.position]  # it stays with what it said
            return found

        def during(at: float) -> None:
            if at < LONG and dice.random() < 0.05:
                clock.offset += dice.choice([-DAY, DAY])

        async with open_memory_log() as real:
            log = FaultyLog(real, rolls)
            sink = FaultySink(answers, batch=Batch(batch, alike=False))
            await real.append(entries())
            await deliver(log, sink, clock, during, order_by)
            await check_settled_law(real)
            for position in range(1, EVENTS + 1):
                assert position in ended or position in sink.taken

    run_virtual(main())
