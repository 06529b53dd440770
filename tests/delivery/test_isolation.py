"""No sink waits for another one, and nothing new for what failed. All of it in virtual time, over the log in memory:
whatever takes time there, is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from adapter.delivery.reads import GATHER, gather
from adapter.delivery.settling import SETTLE
from adapter.log.memory import open_memory_log
from adapter.log.protocol import Store
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, Answer, Later
from tests.delivery.parts import Told, append, delivering
from tests.delivery.virtual_time import run_virtual

#: How long a request may take, seconds.
DEADLINE = 15.0
DOWN = Later("no connection", receiver_down=True)
REFUSED = Later("the receiver answered 400")


class Timed(Told):
    """Answers after some time, and remembers how long after its arrival each event was taken first."""

    def __init__(self, arrived: dict[int, float], *, answer: Answer = DELIVERED, takes: float = 0.0, window: int = 64):
        super().__init__(lambda _: answer, window=window)
        self.arrived = arrived
        self.takes = takes
        self.waits: dict[int, float] = {}

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        await asyncio.sleep(self.takes)
        answers = await super().send(entries)
        for entry, answer in zip(entries, answers, strict=True):
            if answer is DELIVERED:
                waited = asyncio.get_running_loop().time() - self.arrived[entry.position]
                self.waits.setdefault(entry.position, waited)
        return answers


async def arrive(log: Store, arrived: dict[int, float], count: int) -> None:
    now = asyncio.get_running_loop().time()
    arrived |= {log.head + number: now for number in range(1, count + 1)}
    await append(log, count, first=log.head + 1)


async def waits_of_healthy(others: Sequence[tuple[Answer, float]]) -> list[list[float]]:
    """How long each event took to each of the healthy ones of a hundred sinks, while the ``others`` answer so, after so
    many seconds."""
    arrived: dict[int, float] = {}
    sick = [Timed(arrived, answer=answer, takes=takes) for answer, takes in others]
    healthy = [Timed(arrived, takes=0.1) for _ in range(100 - len(sick))]
    async with open_memory_log() as log, AsyncExitStack() as stack:
        for number, sink in enumerate([*sick, *healthy]):
            opened = delivering(log, sink, name=f"s-{number}", retry=[5.0] * 9, probe=1.0, patience=0.0)
            await stack.enter_async_context(opened)
        for count in [1, 70, 1, 5]:
            await arrive(log, arrived, count)
            await asyncio.sleep(2)
        assert all(len(sink.waits) == len(arrived) for sink in healthy)
        return [list(sink.waits.values()) for sink in healthy]


def test_one_that_hangs_and_one_that_refuses_leave_98_alone() -> None:
    alone = run_virtual(waits_of_healthy([]))
    beside = run_virtual(waits_of_healthy([(DOWN, DEADLINE), (REFUSED, 0.0)]))
    assert beside == alone[2:]
    # Two windows of answers, what is gathered, and what is settled between.
    assert max(map(max, beside)) <= 2 * 0.1 + 2 * GATHER + SETTLE


@pytest.mark.parametrize("window", [1, 2, 8])
def test_first_tries_do_not_wait_for_thousands_of_retries_and_those_go_on(window: int) -> None:
    async def main() -> None:
        arrived: dict[int, float] = {}
        sink = Timed(arrived, answer=REFUSED, window=window)
        loop = asyncio.get_running_loop()
        async with open_memory_log() as log:
            opened = delivering(
                log, sink, retry=[1000.0, *[5.0] * 9], patience=0.0, clock=lambda: 1_800_000_000.0 + loop.time()
            )
            async with opened as delivery:
                await arrive(log, arrived, 2000)
                await asyncio.sleep(900)
                assert delivery.snapshot().counts.held == 2000
                # Soon all of them are due, and each send takes its time then.
                sink.reply, sink.takes = (lambda _: DELIVERED), 1.0
                await asyncio.sleep(210)
                before = delivery.snapshot().counts
                assert before.held > 1000
                first = log.head + 1
                for _ in range(20):
                    await arrive(log, arrived, 1)
                    await asyncio.sleep(3)
                fresh = [sink.waits.get(position) for position in range(first, log.head + 1)]
                assert all(wait is not None and wait <= 2 * sink.takes + 0.5 for wait in fresh), fresh
                after = delivery.snapshot().counts
                assert before.held - after.held >= max(1, window // 2) * 60 / sink.takes / 2
                await asyncio.sleep(3000)
                assert delivery.snapshot().counts.held == 0

    run_virtual(main())


def test_what_comes_alone_is_read_at_once_and_much_is_read_together() -> None:
    assert gather(1) == 0.001
    assert gather(1000) == GATHER
