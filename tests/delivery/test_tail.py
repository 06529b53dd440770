"""Sinks that read the log together: each gets what it would get alone, once and in order, whoever of them falls behind,
fails, comes or goes. In virtual time over the log in memory, and over SQLite."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from adapter.delivery.loop import Delivery, open_delivery, reader_name
from adapter.delivery.queue import FEWER
from adapter.delivery.select import Selection
from adapter.delivery.tail import KEEP, LOOK, Tail
from adapter.filter import Filter
from adapter.log.memory import Memory, open_memory_log
from adapter.log.protocol import NewEntry, Removal, RetainingStore, Settlement, Store
from adapter.log.sqlite.log import open_sqlite_log
from adapter.model import Entry
from adapter.search_fields import SearchFields
from adapter.sinks.protocol import DELIVERED, Answer, Later
from adapter.sinks.settings import SinkSettings
from tests.delivery.parts import (
    CATALOGUE,
    Told,
    append,
    check_law,
    check_settled_law,
    delivering,
    new_entry,
    numbers,
    until,
)
from tests.delivery.virtual_time import in_virtual_time, passes

USERS = 5
DOWN = Later("no connection", receiver_down=True)


def refuse(_: Entry) -> Answer:
    return DOWN


def take(_: Entry) -> Answer:
    return DELIVERED


class Watched:
    """A log that counts what is asked of it, and how many rows of readers are written."""

    def __init__(self, log: Store) -> None:
        self._log = log
        self.reads: list[int] = []
        self.rows = 0
        self.questions = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def read(self, after: int, **given: Any) -> list[Entry]:
        self.reads.append(after)
        return await self._log.read(after, **given)

    async def settle(self, settlement: Settlement) -> None:
        self.rows += 1
        await self._log.settle(settlement)

    async def advance(self, cursor: int, tokens: dict[str, int]) -> None:
        self.rows += len(tokens)
        await self._log.advance(cursor, tokens)

    async def progress(self, reader: str) -> Any:
        self.questions += 1
        return await self._log.progress(reader)


def watched(log: Store) -> tuple[Store, Watched]:
    counting = Watched(log)
    return cast(Store, counting), counting


@asynccontextmanager
async def realms(
    log: Store, count: int, *, tail: Tail | None = None
) -> AsyncIterator[tuple[list[Told], list[Delivery]]]:
    """So many sinks, each of which wants the events of a realm of its own."""
    tail = Tail(log)
    async with AsyncExitStack() as stack:
        sinks = [Told() for _ in range(count)]
        deliveries = [
            await stack.enter_async_context(
                delivering(log, sink, name=f"s-{number}", filter={"realm": f"r-{number}"}, tail=tail)
            )
            for number, sink in enumerate(sinks)
        ]
        yield sinks, deliveries


async def of_realms(log: Store, *realms: int) -> None:
    """Append an event of each of these realms."""
    await log.append([new_entry(log.head + place, realmId=f"r-{realm}") for place, realm in enumerate(realms, 1)])


@in_virtual_time
async def test_an_event_for_one_of_many_is_read_once_and_writes_one_row() -> None:
    async with open_memory_log() as memory:
        log, seen = watched(memory)
        async with realms(log, 100) as (sinks, deliveries):
            await asyncio.sleep(2 * KEEP)
            reads, rows, questions = len(seen.reads), seen.rows, seen.questions
            await of_realms(log, 7)
            await asyncio.sleep(1)
            assert [sink.delivered for sink in sinks] == [[1] if number == 7 else [] for number in range(100)]
            assert (len(seen.reads) - reads, seen.rows - rows, seen.questions - questions) == (1, 1, 0)
            # Where all are is known at once, and on disk a little later, for all together.
            assert {delivery.snapshot().lag for delivery in deliveries} == {0}
            await asyncio.sleep(KEEP)
            for number in range(100):
                progress = await log.progress(reader_name(f"s-{number}"))
                assert progress is not None
                assert progress.cursor == 1
            assert seen.rows - rows == 100


@in_virtual_time
async def test_sinks_without_events_do_nothing() -> None:
    async with open_memory_log() as memory:
        log, seen = watched(memory)
        async with realms(log, 20):
            await asyncio.sleep(2 * LOOK)
            before = len(seen.reads), seen.rows, seen.questions
            await asyncio.sleep(3600)
            assert (len(seen.reads), seen.rows, seen.questions) == before


@in_virtual_time
async def test_cursors_are_stored_once_in_a_while_however_much_comes() -> None:
    async with open_memory_log() as memory:
        log, seen = watched(memory)
        async with realms(log, 10):
            await asyncio.sleep(2 * KEEP)
            rows = seen.rows
            for _ in range(100):
                await of_realms(log, 99)
                await asyncio.sleep(KEEP / 10)
            assert seen.rows - rows <= 10 * 12


@in_virtual_time
async def test_after_a_kill_all_are_brought_up_together_and_nothing_is_sent_twice() -> None:
    memory = Memory()
    async with open_memory_log(memory) as log:
        async with realms(log, 50):
            await of_realms(log, *range(50))
            await asyncio.sleep(1)
        await of_realms(log, *[99] * 2_500, *range(50))
        again, seen = watched(log)
        async with realms(again, 50) as (sinks, _):
            await passes(lambda: all(sink.delivered == [2551 + number] for number, sink in enumerate(sinks)))
        # The whole stretch is read a few times, and not by each of them.
        assert len(seen.reads) <= 12


@in_virtual_time
async def test_a_sink_that_falls_behind_holds_up_no_other_and_comes_back() -> None:
    async with open_memory_log() as memory, AsyncExitStack() as stack:
        log, seen = watched(memory)
        tail, gate = Tail(log), asyncio.Event()

        async def wait(_: Entry) -> Answer:
            await gate.wait()
            return DELIVERED

        slow, quick = Told(wait, window=2), Told(window=64)
        first = await stack.enter_async_context(delivering(log, slow, name="slow", tail=tail))
        second = await stack.enter_async_context(delivering(log, quick, name="quick", tail=tail))
        for _ in range(40):
            await append(log, 100, first=log.head + 1)
            await asyncio.sleep(0.5)
        assert sorted(quick.delivered) == numbers(1, 4000)
        assert second.snapshot().lag == 0
        # What it cannot take is not in memory either.
        assert first.snapshot().lag == 4000
        gate.set()
        await passes(lambda: first.snapshot().lag == 0)
        assert sorted(slow.delivered) == numbers(1, 4000)
        assert len(slow.sent) == 4000
        reads = len(seen.reads)
        await append(log, 1, first=log.head + 1)
        await passes(lambda: slow.delivered[-1] == quick.delivered[-1] == 4001)
        assert len(seen.reads) - reads == 1


@in_virtual_time
async def test_a_burst_that_all_want_reaches_all() -> None:
    async with open_memory_log() as log, AsyncExitStack() as stack:
        tail, sinks = Tail(log), [Told() for _ in range(200)]
        for number, sink in enumerate(sinks):
            await stack.enter_async_context(delivering(log, sink, name=f"s-{number}", tail=tail))
        await append(log, 50)
        await passes(lambda: all(sorted(sink.delivered) == numbers(1, 50) for sink in sinks))


@in_virtual_time
async def test_sinks_come_and_go_while_events_come() -> None:
    chance = random.Random(1)
    async with open_memory_log() as log:
        tail, wanted = Tail(log), [Told() for _ in range(8)]
        stacks: dict[int, AsyncExitStack] = {}
        for _ in range(200):
            number = chance.randrange(8)
            if number in stacks:
                await stacks.pop(number).aclose()
            else:
                stacks[number] = AsyncExitStack()
                opened = delivering(log, wanted[number], name=f"s-{number}", filter={"realm": f"r-{number}"}, tail=tail)
                await stacks[number].enter_async_context(opened)
            await of_realms(log, *[chance.randrange(10) for _ in range(chance.randrange(30))])
            await asyncio.sleep(chance.choice([0, 0.001, 0.05]))
        for number in range(8):
            if number not in stacks:
                stacks[number] = AsyncExitStack()
                opened = delivering(log, wanted[number], name=f"s-{number}", filter={"realm": f"r-{number}"}, tail=tail)
                await stacks[number].enter_async_context(opened)
        entries = await log.read(0, limit=100_000)
        right = [
            [one.position for one in entries if f'"r-{number}"'.encode() in (one.event or b"")] for number in range(8)
        ]
        await passes(lambda: [sorted(sink.delivered) for sink in wanted] == right)
        assert [len(sink.sent) for sink in wanted] == [len(one) for one in right]
        for stack in stacks.values():
            await stack.aclose()
        for number in range(8):
            await check_settled_law(log, f"s-{number}")


class Faulty(Selection):
    """Fails with every entry, until it is mended."""

    is_mended = False

    def takes(self, entry: Entry, fields: SearchFields | None) -> bool:
        if not self.is_mended:
            raise RuntimeError("a bug")
        return super().takes(entry, fields)

    def select(self, entries: Sequence[Entry]) -> list[Entry]:
        if not self.is_mended:
            raise RuntimeError("a bug")
        return super().select(entries)


@in_virtual_time
async def test_a_filter_that_fails_stops_its_own_sink_alone() -> None:
    async with open_memory_log() as log, AsyncExitStack() as stack:
        tail, broken, healthy, faulty = Tail(log), Told(), Told(), Faulty(Filter(CATALOGUE))
        settings = SinkSettings.model_validate({"name": "broken", "kind": "told"})
        await stack.enter_async_context(open_delivery(settings, broken, log, faulty, tail=tail))
        await stack.enter_async_context(delivering(log, healthy, name="healthy", tail=tail))
        await append(log, 10)
        await passes(lambda: sorted(healthy.delivered) == numbers(1, 10))
        assert broken.sent == []
        faulty.is_mended = True
        await passes(lambda: sorted(broken.delivered) == numbers(1, 10))


@in_virtual_time
async def test_a_sink_whose_filter_fails_tries_again_once_a_second_though_it_is_alone() -> None:
    async with open_memory_log() as memory:
        log, seen = watched(memory)
        faulty, settings = Faulty(Filter(CATALOGUE)), SinkSettings.model_validate({"name": "broken", "kind": "told"})
        async with open_delivery(settings, Told(), log, faulty, tail=Tail(log)):
            await append(log, 10)
            await asyncio.sleep(10)
            assert 5 <= len(seen.reads) <= 25


@in_virtual_time
async def test_what_is_removed_is_counted_of_those_that_were_behind() -> None:
    async with open_memory_log() as log, AsyncExitStack() as stack:
        tail = Tail(log)
        sink, other = Told(lambda _: DOWN, window=1), Told()
        behind = await stack.enter_async_context(delivering(log, sink, name="behind", tail=tail, probe=1.0))
        ahead = await stack.enter_async_context(delivering(log, other, name="ahead", tail=tail))
        await append(log, 3000)
        await passes(lambda: len(other.delivered) == 3000)
        assert isinstance(log, RetainingStore)
        await log.remove(Removal(0, 2900, [], 2900, 3000))
        await asyncio.sleep(LOOK + 1)
        sink.reply = lambda _: DELIVERED
        await passes(lambda: behind.snapshot().lag == 0)
        for delivery in (behind, ahead):
            check_law(delivery)
        assert behind.snapshot().counts.skipped == 2900
        assert ahead.snapshot().counts.skipped == 0


@pytest.mark.parametrize("order_by", [None, "user"])
async def test_over_sqlite_each_gets_each_event_once_and_in_order_though_receivers_fail_and_services_end(
    tmp_path: Path, order_by: str | None
) -> None:
    chance = random.Random(7)
    sinks = [Told(window=8) for _ in range(6)]
    async with open_sqlite_log(tmp_path / "log", dictionary=b"") as log:
        for _ in range(3):
            async with AsyncExitStack() as stack:
                tail, deliveries = Tail(log), list[Delivery]()
                for number, sink in enumerate(sinks):
                    filter: dict[str, object] = {"realm": [f"r-{number % 3}"]} if number < 5 else {}
                    opened = delivering(log, sink, name=f"s-{number}", filter=filter, tail=tail, order_by=order_by)
                    deliveries.append(await stack.enter_async_context(opened))
                for _ in range(15):
                    is_down = chance.random() < 0.5
                    sinks[chance.randrange(6)].reply = refuse if is_down else take
                    some = range(log.head + 1, log.head + chance.randrange(2, 100))
                    await log.append([_event(one, f"r-{chance.randrange(4)}") for one in some])
                    await asyncio.sleep(chance.choice([0.0, 0.02]))
                for sink in sinks:
                    sink.reply = lambda _: DELIVERED
                # All but the last service end in the middle of it.
                await asyncio.sleep(chance.choice([0.0, 0.1]))
        async with AsyncExitStack() as stack:
            tail = Tail(log)
            for number, sink in enumerate(sinks):
                filter = {"realm": [f"r-{number % 3}"]} if number < 5 else {}
                await stack.enter_async_context(
                    delivering(log, sink, name=f"s-{number}", filter=filter, tail=tail, order_by=order_by)
                )
            entries = await _all(log)
            right = [_positions(entries, "" if number == 5 else f"r-{number % 3}") for number in range(6)]
            await until(lambda: [sorted(sink.delivered) for sink in sinks] == right)
        for number, sink in enumerate(sinks):
            await check_settled_law(log, f"s-{number}")
            # Each of these has the events of one realm, in which users are told apart.
            for user in range(USERS if order_by and number < 5 else 0):
                of_user = [position for position in sink.delivered if position % USERS == user]
                assert of_user == sorted(of_user)


def _positions(entries: Sequence[Entry], text: str) -> list[int]:
    """Of the entries in whose event the text stands."""
    return [entry.position for entry in entries if entry.event is not None and text.encode() in entry.event]


def _event(number: int, realm: str) -> NewEntry:
    """One of five users'."""
    return new_entry(number, realmId=realm, authDetails={"userId": f"u-{number % USERS}"})


async def _all(log: Store) -> list[Entry]:
    found: list[Entry] = []
    while some := await log.read(found[-1].position if found else 0):
        found += some
    return found


@in_virtual_time
async def test_of_what_a_receiver_that_is_down_misses_little_is_in_memory_and_all_arrives_later() -> None:
    async with open_memory_log() as log:
        sink = Told(refuse, window=64)
        async with delivering(log, sink, tail=Tail(log), probe=1.0) as delivery:
            await append(log, 1)
            await asyncio.sleep(1)
            for _ in range(40):
                await append(log, 100, first=log.head + 1)
                await asyncio.sleep(0.1)
            assert len(delivery._queue._fresh) <= 2 * FEWER + 250
            sink.reply = take
            await passes(lambda: delivery.snapshot().lag == 0)
            assert sorted(sink.delivered) == numbers(1, 4001)
