"""Which tries are remembered, and that a healthy sink pays nothing for it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from adapter.delivery.health import State
from adapter.delivery.loop import reader_name
from adapter.log.protocol import Attempt, Settlement, Store
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, Answer, Delivered, Later, Never, Stop
from adapter.sinks.tried import Tried
from tests.delivery.parts import Told, append, caught_up, delivering, until
from tests.delivery.test_loop import Watched

READER = reader_name("soc")


def seen(number: int, status: int | None) -> Tried:
    return Tried(number, status, resolve=1, connect=2, first_byte=3, total=4, excerpt="no\u202e")


async def test_a_healthy_sink_that_remembers_failures_writes_no_row(log: Store) -> None:
    await append(log, 500)
    watched = Watched(log)
    sink = Told(lambda one: Delivered(seen(one.position, 200)))
    async with delivering(watched, sink) as delivery:
        await caught_up(delivery)
    assert sum(len(one.attempts) + len(one.hold) for one in watched.settlements) == 0
    assert await log.attempts(READER) == []


async def test_a_failed_try_is_remembered_with_what_was_seen_of_it(log: Store) -> None:
    await append(log, 3)
    tries: list[int] = []

    def reply(entry: Entry) -> Answer:
        if entry.position != 2 or len(tries) == 2:
            return DELIVERED
        tries.append(entry.position)
        return Later("the receiver answered 400", tried=seen(100 + len(tries), 400))

    async with delivering(log, Told(reply)) as delivery:
        await caught_up(delivery)
    assert await log.attempts(READER) == [
        Attempt(102, 2, 2, 1, 2, "held", 400, 1, 2, 3, 4, "no\u202e", "the receiver answered 400"),
        Attempt(101, 2, 2, 1, 1, "held", 400, 1, 2, 3, 4, "no\u202e", "the receiver answered 400"),
    ]


async def test_the_try_after_which_an_event_is_given_up_on_says_so(log: Store) -> None:
    await append(log, 2)

    def reply(entry: Entry) -> Answer:
        return Never("too large", tried=seen(7, 413)) if entry.position == 1 else Later("the receiver answered 400")

    async with delivering(log, Told(reply), retry=(0.001,)) as delivery:
        await until(lambda: delivery.snapshot().counts.dead == 2, delivery)
    told = [(one.position, one.tries, one.outcome) for one in await log.attempts(READER)]
    assert sorted(told) == [(1, 1, "dead"), (2, 1, "held"), (2, 2, "dead")]


async def test_all_tries_are_remembered_where_that_is_asked_for(log: Store) -> None:
    await append(log, 20)
    async with delivering(log, Told(lambda one: Delivered(seen(one.position, 200))), attempts="all") as delivery:
        await caught_up(delivery)
    found = await log.attempts(READER)
    assert [one.position for one in found] == list(range(20, 0, -1))
    assert {(one.outcome, one.status, one.tries, one.reason) for one in found} == {("delivered", 200, 1, "")}


async def test_none_are_remembered_where_none_are_wanted(log: Store) -> None:
    await append(log, 3)
    async with delivering(log, Told(lambda _: Never("no")), attempts="none") as delivery:
        await until(lambda: delivery.snapshot().counts.dead == 3, delivery)
    assert await log.attempts(READER) == []


async def test_one_request_for_many_events_is_one_row(log: Store) -> None:
    await append(log, 30)
    tried = seen(1, 200)
    sink = Told(lambda _: Delivered(tried), window=1, batch=30)
    async with delivering(log, sink, attempts="all") as delivery:
        await caught_up(delivery)
    (row,) = await log.attempts(READER)
    assert (row.position, row.last, row.entries) == (1, 30, 30)


@pytest.mark.parametrize("window", [1, 64])
async def test_a_receiver_that_is_down_costs_a_row_for_each_probe_and_none_for_an_event(
    log: Store, window: int
) -> None:
    watched = Watched(log)
    down = True
    number = 0

    def reply(entry: Entry) -> Answer:
        nonlocal number
        number += 1
        return Later("no connection", receiver_down=True, tried=seen(number, None)) if down else DELIVERED

    sink = Told(reply, window=window)
    async with delivering(watched, sink, probe=0.002) as delivery:
        for part in range(10):
            await append(log, 100, first=1 + 100 * part)
            await asyncio.sleep(0.01)
        await until(lambda: delivery.snapshot().state is State.DOWN)
        probes = len(sink.sends) - window  # what was in flight when it was found down, and one after the other then
        rows = [row for one in watched.settlements for row in one.attempts]
        assert 1 <= len(rows) <= max(probes, 0) + 2
        assert {(row.outcome, row.tries) for row in rows} == {("down", 0)}
        assert sum(len(one.hold) for one in watched.settlements) == 0
        down = False
        await caught_up(delivery)
    assert len(await log.attempts(READER)) < 30


async def test_a_message_that_fails_alone_like_a_receiver_that_is_down_is_remembered_when_it_spends_its_try(
    log: Store,
) -> None:
    times = itertools.count(1)

    def reply(entry: Entry) -> Answer:
        if entry.position != 5:
            return DELIVERED
        return Later("the receiver answered 500", receiver_down=True, tried=seen(next(times), 500))

    sink = Told(reply)
    async with delivering(log, sink, retry=(3600.0,)) as delivery:
        async with asyncio.timeout(20):
            while True:
                await append(log, 5, first=log.head + 1)  # others pass meanwhile
                if delivery.snapshot().counts.held:
                    break
                await asyncio.sleep(0.01)
        await _stored(log, 1, outcome="held")
    held = await log.attempts(READER, outcomes=["held"])
    assert [(row.position, row.tries, row.status) for row in held] == [(5, 1, 500)]


async def test_a_receiver_that_is_gone_is_remembered(log: Store) -> None:
    await append(log, 1)
    async with delivering(log, Told(lambda _: Stop("gone", tried=seen(3, 410)))) as delivery:
        await until(lambda: delivery.snapshot().state is State.STOPPED)
        await _stored(log, 1)
    (row,) = await log.attempts(READER)
    assert (row.outcome, row.status, row.tries) == ("stopped", 410, 0)


async def test_an_attempt_is_stored_with_the_settlement_of_its_event(log: Store) -> None:
    await append(log, 1)
    watched = Watched(log)
    async with delivering(watched, Told(lambda _: Never("no"))) as delivery:
        await until(lambda: delivery.snapshot().counts.dead == 1)
        await _stored(log, 1)
    both: list[Settlement] = [one for one in watched.settlements if one.attempts]
    assert [[row.position for row in one.hold] for one in both] == [[1]]


async def _stored(log: Store, count: int, outcome: str | None = None) -> None:
    async with asyncio.timeout(60):
        while True:
            outcomes = None if outcome is None else [outcome]
            if len(await log.attempts(READER, outcomes=outcomes)) >= count:
                return
            await asyncio.sleep(0.005)
