from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import structlog.testing

from adapter.delivery.health import State
from adapter.delivery.loop import reader_name
from adapter.delivery.standing import Decided, change
from adapter.errors import ClaimLost, StoreUnanswered, StoreUnavailable
from adapter.log.memory import Memory, open_memory_log
from adapter.log.protocol import Held, Removal, RetainingStore, Revision, Settlement, Store
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, Answer, Batch, Later, Never, Promise, Stop
from tests.delivery.parts import (
    FIRST_AT,
    Told,
    append,
    caught_up,
    check_law,
    check_settled_law,
    delivering,
    new_entry,
    numbers,
    until,
)

DOWN = Later("no", receiver_down=True)
REFUSED = Later("the receiver answered 400")


class Watched:
    """A log that shows the settlements made, and can hold them back or fail them."""

    def __init__(self, log: Store) -> None:
        self._log = log
        self.settlements: list[Settlement] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = 0
        #: Settlements that are stored although their answer is lost.
        self.unanswered = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def settle(self, settlement: Settlement) -> None:
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")
        self.settlements.append(settlement)
        await self._log.settle(settlement)
        if self.unanswered:
            self.unanswered -= 1
            raise StoreUnanswered("no answer")


# What is sent


async def test_every_event_is_sent_once(log: Store) -> None:
    await append(log, 300)
    sink = Told()
    async with delivering(log, sink) as delivery:
        await append(log, 200, first=301)
        await caught_up(delivery)
        counts = delivery.snapshot().counts
    assert sorted(sink.sent) == numbers(1, 500)
    assert (counts.matched, counts.delivered) == (500, 500)
    await check_settled_law(log)


async def test_one_send_at_a_time_keeps_the_order_of_the_log(log: Store) -> None:
    await append(log, 100)
    sink = Told(window=1)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
    assert sink.sent == numbers(1, 100)


async def test_a_batch_sink_gets_many_at_once_in_order(log: Store) -> None:
    await append(log, 100)
    sink = Told(window=1, batch=30)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
    assert sink.sent == numbers(1, 100)
    assert max(map(len, sink.sends)) == 30


async def test_no_send_is_larger_than_the_sink_wants(log: Store) -> None:
    await log.append([new_entry(number, details={"text": "x" * number * 50}) for number in numbers(1, 40)])
    sink = Told(window=2, batch=Batch(30, bytes=4000))
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
    events = {entry.position: len(entry.event or b"") for entry in await log.read(0)}
    assert sorted(sink.sent) == numbers(1, 40)
    assert all(sum(events[one] for one in sent) <= 4000 for sent in sink.sends if len(sent) > 1)
    assert max(map(len, sink.sends)) > 1


async def test_few_entries_wait_for_more_and_a_full_batch_does_not(log: Store) -> None:
    sink = Told(window=1, batch=Batch(10, wait=3600))
    async with delivering(log, sink) as delivery:
        await append(log, 9)
        await append(log, 3, first=10)
        await until(lambda: delivery.snapshot().counts.delivered == 10, delivery)
    assert sink.sends == [numbers(1, 10)]


async def test_few_entries_are_sent_together_when_they_have_waited(log: Store) -> None:
    sink = Told(window=1, batch=Batch(1000, wait=1.0))
    async with delivering(log, sink) as delivery:
        for number in numbers(1, 5):
            await append(log, 1, first=number)
        await caught_up(delivery)
    assert len(sink.sends) < 5
    assert sink.sent == numbers(1, 5)


async def test_what_a_sink_promises_is_shown(log: Store) -> None:
    async with delivering(log, Told()) as delivery:
        assert delivery.snapshot().promise is Promise.ACKNOWLEDGED


async def test_only_what_the_filter_takes_is_sent_and_counted(log: Store) -> None:
    types = ["access.LOGIN", "access.LOGIN_ERROR", "admin.USER-CREATE"]
    await log.append([new_entry(number, types[number % 3]) for number in numbers(1, 9)])
    sink = Told()
    async with delivering(log, sink, filter={"type": ["access.*_ERROR"]}) as delivery:
        await caught_up(delivery)
        counts = delivery.snapshot().counts
    assert sorted(sink.sent) == [1, 4, 7]
    assert counts.matched == 3


async def test_a_filter_may_look_into_events(log: Store) -> None:
    await append(log, 600)
    sink = Told()
    async with delivering(log, sink, filter={"actor": ["u-7", "u-555"]}) as delivery:
        await caught_up(delivery)
    assert sorted(sink.sent) == [7, 555]


async def test_what_was_quarantined_is_sent_once_it_is_an_event_and_corrections_only_to_who_asks(log: Store) -> None:
    await log.append([new_entry(1), new_entry(2, None)])
    plain, asking = Told(), Told()
    async with delivering(log, plain) as one, delivering(log, asking, name="all", revisions=True) as other:
        events = [new_entry(number).event or b"" for number in (1, 2)]
        await log.revise([Revision(1, 1, None, "access.LOGIN", events[0])])
        await log.revise([Revision(2, 2, None, "access.LOGIN", events[1])])
        await log.revise([Revision(2, 4, None, "access.LOGIN", events[1])])
        await caught_up(one)
        await caught_up(other)
    assert sorted(plain.sent) == [1, 4]
    assert sorted(asking.sent) == [1, 3, 4, 5]


async def test_to_ask_for_corrections_begins_a_new_epoch(log: Store) -> None:
    for epoch, revisions in ((1, False), (2, True), (2, True), (3, False)):
        async with delivering(log, Told(), revisions=revisions) as delivery:
            assert delivery.snapshot().epoch == epoch


async def test_system_events_go_only_to_sinks_that_ask(log: Store) -> None:
    await log.append([new_entry(1, "system.SINK-STOPPED"), new_entry(2)])
    everything, asking = Told(), Told()
    async with (
        delivering(log, everything, name="everything") as first,
        delivering(log, asking, name="asking", filter={"type": ["system.*"]}) as second,
    ):
        await caught_up(first)
        await caught_up(second)
    assert everything.sent == [2]
    assert asking.sent == [1]


async def test_quarantined_entries_are_passed_over(log: Store) -> None:
    await log.append([new_entry(1), new_entry(2, None), new_entry(3)])
    sink = Told()
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().cursor == 3
    assert sorted(sink.sent) == [1, 3]


# Where it begins


@pytest.mark.parametrize(
    ("begin", "sent"),
    [
        ("beginning", [1, 2, 3, 4]),
        ("now", [4]),
        (datetime.fromtimestamp(FIRST_AT / 1000 + 2, UTC), [2, 3, 4]),
    ],
)
async def test_a_new_sink_begins_where_it_is_told(log: Store, begin: object, sent: list[int]) -> None:
    await append(log, 3)
    sink = Told()
    async with delivering(log, sink, begin=begin) as delivery:
        await append(log, 1, first=4)
        await caught_up(delivery)
    assert sorted(sink.sent) == sent


async def test_now_is_fixed_when_the_sink_is_first_seen(log: Store) -> None:
    await append(log, 3)
    async with delivering(log, Told(), begin="now"):
        pass
    await append(log, 3, first=4)
    sink = Told()
    async with delivering(log, sink, begin="now") as delivery:
        await caught_up(delivery)
    assert sorted(sink.sent) == [4, 5, 6]


async def test_after_a_restart_nothing_is_sent_again(log: Store) -> None:
    await append(log, 100)
    sink = Told()
    async with delivering(log, sink):
        await until(lambda: len(sink.sent) >= 30)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().counts.delivered == 100
    assert sorted(sink.sent) == numbers(1, 100)


async def test_a_changed_filter_begins_a_new_epoch(log: Store) -> None:
    await append(log, 10)
    sink = Told(lambda entry: REFUSED if entry.position == 3 else DELIVERED)
    async with delivering(log, sink, retry=[3600]) as delivery:
        await until(lambda: delivery.snapshot().lag == 0)
        first = delivery.snapshot()
    async with delivering(log, sink, retry=[3600], filter={"type": ["access.*"]}) as delivery:
        second = delivery.snapshot()
        await append(log, 1, first=11)
        await until(lambda: delivery.snapshot().lag == 0)
        third = delivery.snapshot()
    assert (first.counts.matched, first.counts.held) == (10, 1)
    assert (second.epoch, second.cursor) == (first.epoch + 1, 10)
    assert (second.counts.matched, second.counts.held, second.counts.delivered) == (1, 1, 0)
    assert (third.counts.matched, third.counts.held, third.counts.delivered) == (2, 1, 1)


# What an answer does


async def test_a_slow_answer_holds_up_only_itself(log: Store) -> None:
    await append(log, 200)
    slow = asyncio.Event()

    async def reply(entry: Entry) -> Answer:
        if entry.position == 5:
            await slow.wait()
        return DELIVERED

    def wait_or_answer(entry: Entry) -> Any:
        return reply(entry)

    sink = Told(wait_or_answer)
    async with delivering(log, sink) as delivery:
        await until(lambda: len(sink.delivered) == 199, delivery)
        await until(lambda: delivery.snapshot().lag == 0, delivery)
        assert delivery.snapshot().counts.in_flight == 1
        # A crash now would lose nothing: the log knows that it is not delivered.
        (row,) = await log.held(reader_name("soc"))
        assert (row.position, row.tries) == (5, 0)
        assert row.due_at is not None
        slow.set()
        await caught_up(delivery)
    assert sorted(sink.sent) == numbers(1, 200)
    assert list(await log.held(reader_name("soc"))) == []
    await check_settled_law(log)


async def test_a_refused_message_is_tried_again_by_its_schedule(log: Store) -> None:
    await append(log, 20)
    tries: Counter[int] = Counter()

    def reply(entry: Entry) -> Answer:
        tries[entry.position] += 1
        return REFUSED if entry.position == 3 and tries[3] < 3 else DELIVERED

    sink = Told(reply)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().counts.delivered == 20
    assert tries[3] == 3
    assert sum(tries.values()) == 22
    await check_settled_law(log)


@pytest.mark.parametrize("window", [1, 4])
async def test_what_a_sink_does_not_answer_is_sent_again(log: Store, window: int) -> None:
    await append(log, 20)
    tries: Counter[int] = Counter()

    def reply(entry: Entry) -> Answer:
        tries[entry.position] += 1
        return cast(Answer, None) if entry.position == 3 and tries[3] < 3 else DELIVERED

    async with delivering(log, Told(reply, window=window)) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().counts.delivered == 20
    assert tries[3] == 3
    await check_settled_law(log)


async def test_a_message_refused_to_the_end_is_dead_and_kept(log: Store) -> None:
    await append(log, 20)
    sink = Told(lambda entry: REFUSED if entry.position == 3 else DELIVERED)
    async with delivering(log, sink, retry=[0.001, 0.001]) as delivery:
        await caught_up(delivery)
        counts = delivery.snapshot().counts
    assert (counts.matched, counts.delivered, counts.dead) == (20, 19, 1)
    assert sink.sent.count(3) == 3
    (row,) = await log.held(reader_name("soc"))
    assert (row.position, row.tries, row.due_at, row.answer) == (3, 3, None, "the receiver answered 400")
    await check_settled_law(log)


async def test_never_is_final_at_once(log: Store) -> None:
    await append(log, 3)
    sink = Told(lambda entry: Never("too odd") if entry.position == 2 else DELIVERED)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().counts.dead == 1
    assert sink.sent.count(2) == 1


async def test_a_held_message_waits_over_a_restart(log: Store) -> None:
    await append(log, 5)
    async with delivering(log, Told(lambda entry: REFUSED), retry=[0.2]) as delivery:
        await until(lambda: delivery.snapshot().counts.held == 5)
    sink = Told()
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().counts.delivered == 5
    assert sorted(sink.sent) == numbers(1, 5)


async def test_held_messages_that_end_while_they_are_looked_up_are_not_sent_again(log: Store) -> None:
    class Slow(Watched):
        async def held(self, reader: str, *, due_at: int | None = None, limit: int = 1000) -> list[Held]:
            rows = await self._log.held(reader, due_at=due_at, limit=limit)
            await asyncio.sleep(0.1)
            return rows

    await append(log, 40)
    tries: Counter[int] = Counter()

    def reply(entry: Entry) -> Answer:
        tries[entry.position] += 1
        return REFUSED if entry.position <= 3 and tries[entry.position] == 1 else DELIVERED

    async with delivering(Slow(log), Told(reply, window=16)) as delivery:
        await caught_up(delivery)
        await asyncio.sleep(0.15)
        assert delivery.snapshot().counts.delivered == 40
    assert sum(tries.values()) == 43


async def test_a_row_that_comes_and_ends_while_rows_are_looked_up_is_not_sent_again(log: Store) -> None:
    """An event that the cursor passes while it is on its way has a row until it is answered."""

    class Late:
        """A log that answers with the rows as they were a while ago."""

        def __getattr__(self, name: str) -> Any:
            return getattr(log, name)

        async def held(self, reader: str, **asked: Any) -> list[Held]:
            looks.set()
            rows = await log.held(reader, **asked)
            while not any(row.position == 2 for row in rows) and not answered.is_set():
                await asyncio.sleep(0.001)
                rows = await log.held(reader, **asked)
            answered.set()
            while True:
                if not any(row.position == 2 for row in await log.held(reader, **asked)):
                    break
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.1)  # the delivery knows of that, too
            told.set()
            return rows

    looks, answered, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reply(entry: Entry) -> Answer:
        if entry.position == 2:
            await answered.wait()
        return REFUSED if entry.position == 1 else DELIVERED

    sink = Told(reply)
    await append(log, 1)
    async with delivering(cast(Store, Late()), sink, retry=(3600.0,)):
        await looks.wait()
        await append(log, 12, first=2)
        await told.wait()
        await asyncio.sleep(0.1)
    assert sink.sent.count(2) == 1
    await check_settled_law(log)


async def test_a_batch_answered_in_part_is_settled_in_part(log: Store) -> None:
    await append(log, 50)
    tries: Counter[int] = Counter()

    def reply(entry: Entry) -> Answer:
        tries[entry.position] += 1
        if entry.position % 10 == 0:
            return Never("too odd")
        return REFUSED if entry.position % 10 == 5 and tries[entry.position] == 1 else DELIVERED

    sink = Told(reply, window=2, batch=8)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        counts = delivery.snapshot().counts
    assert (counts.matched, counts.delivered, counts.dead) == (50, 45, 5)
    await check_settled_law(log)


async def test_a_failure_of_our_own_is_told_and_loses_nothing(log: Store) -> None:
    await append(log, 10)
    tries: Counter[int] = Counter()

    def reply(entry: Entry) -> Answer:
        tries[entry.position] += 1
        if tries[entry.position] == 1:
            raise RuntimeError("a bug")
        return DELIVERED

    sink = Told(reply)
    with structlog.testing.capture_logs() as lines:
        async with delivering(log, sink) as delivery:
            await caught_up(delivery)
            assert delivery.snapshot().counts.delivered == 10
    assert [line["event"] for line in lines].count("sink_send_failed") == 10


async def test_gone_stops_the_sink_and_its_cursor(log: Store) -> None:
    await append(log, 100)
    sink = Told(lambda entry: Stop("the receiver answered 410") if entry.position > 10 else DELIVERED)
    async with delivering(log, sink) as delivery:
        await until(lambda: delivery.snapshot().standing.state is Decided.STOPPED, delivery)
        assert delivery.snapshot().state is State.STOPPED
        sends = len(sink.sends)
        await append(log, 10, first=101)
        await asyncio.sleep(0.1)
        shown = delivery.snapshot()
        assert len(sink.sends) <= sends + sink.window
    # One entry more tells that it stopped, and another one that it goes on.
    assert log.head == 111
    assert shown.answer == "the receiver answered 410"
    assert shown.cursor <= 10
    sink.reply = lambda _: DELIVERED
    await change(log, "soc", state="running", reason="moved", by="zoe", now=0)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
    assert sorted(sink.delivered) == [*numbers(1, 100), *numbers(102, 111)]


# The receiver is down


async def test_a_receiver_that_is_down_costs_no_tries_and_the_cursor_stands(log: Store) -> None:
    await append(log, 200)
    up = False
    sink = Told(lambda _: DELIVERED if up else DOWN)
    async with delivering(log, sink, retry=[0.001], probe=0.02) as delivery:
        await until(lambda: delivery.snapshot().state is State.DOWN, delivery)
        await asyncio.sleep(0.2)
        shown = delivery.snapshot()
        assert shown.cursor == 0
        assert (shown.counts.held, shown.counts.dead) == (0, 0)
        # The first window, and then one at a time.
        assert len(sink.sends) < 12
        up = True
        await caught_up(delivery)
        assert delivery.snapshot().state is State.RUNNING
        assert delivery.snapshot().counts.delivered == 200
    assert sorted(sink.delivered) == numbers(1, 200)
    assert list(await log.held(reader_name("soc"))) == []


async def test_one_send_at_a_time_keeps_order_over_an_outage(log: Store) -> None:
    await append(log, 50)
    outage = iter([False] * 10 + [True] * 3)
    sink = Told(lambda _: DOWN if next(outage, False) else DELIVERED, window=1)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
    assert len(sink.sent) == 50 + 3
    assert sink.delivered == numbers(1, 50)


async def test_after_a_restart_in_an_outage_nothing_is_lost(log: Store) -> None:
    await append(log, 50)
    sink = Told(lambda entry: DELIVERED if entry.position % 7 == 0 else DOWN)
    for _ in range(3):
        async with delivering(log, sink, retry=[3600]) as delivery:
            await until(lambda: delivery.snapshot().state is State.DOWN, delivery)
    sink.reply = lambda _: DELIVERED
    async with delivering(log, sink) as delivery:
        await until(lambda: delivery.snapshot().lag == 0)
        held = await log.held(reader_name("soc"))
    assert set(sink.delivered) | {row.position for row in held} == set(numbers(1, 50))


async def test_held_messages_wait_for_the_receiver_too(log: Store) -> None:
    await append(log, 5)
    replies = [REFUSED] * 5 + [DOWN] * 5
    sink = Told(lambda _: replies.pop(0) if replies else DELIVERED)
    async with delivering(log, sink, retry=[0.001]) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().counts.delivered == 5
        assert delivery.snapshot().counts.dead == 0


@pytest.mark.parametrize("window", [2, 64])
async def test_a_message_that_alone_brings_the_receiver_down_spends_its_tries(log: Store, window: int) -> None:
    await append(log, 300)
    sink = Told(lambda entry: DOWN if entry.position == 3 else DELIVERED, window=window)
    async with delivering(log, sink, retry=[0.001]) as delivery:
        await until(lambda: len(sink.delivered) == 299, delivery)
        # Later ones keep passing, so that each of its tries can be told from an outage.
        for number in numbers(301, 310):
            await append(log, 1, first=number)
            await asyncio.sleep(0.02)
        await until(lambda: delivery.snapshot().counts.dead == 1, delivery)
        await caught_up(delivery)
    assert sorted(sink.delivered) == [position for position in numbers(1, 310) if position != 3]


async def test_a_hanging_sink_delays_no_other(log: Store) -> None:
    await append(log, 100)
    never = asyncio.Event()

    async def hang(entry: Entry) -> Answer:
        await never.wait()
        return DELIVERED

    hanging, healthy = Told(lambda entry: hang(entry)), Told()
    async with (
        delivering(log, hanging, name="hanging", patience=0.01),
        delivering(log, healthy, name="healthy") as delivery,
    ):
        await caught_up(delivery)
    assert sorted(healthy.delivered) == numbers(1, 100)


# What is on disk


@pytest.mark.parametrize(("window", "batch"), [(1, 1), (8, 1), (1, 20), (3, 5)])
async def test_at_most_two_windows_are_sent_without_being_settled(log: Store, window: int, batch: int) -> None:
    await append(log, 500)
    watched = Watched(log)
    watched.gate.clear()
    sink = Told(window=window, batch=batch)
    async with delivering(watched, sink) as delivery:
        await until(lambda: len(sink.sent) >= window * batch, delivery)
        await asyncio.sleep(0.15)
        assert len(sink.sent) <= 2 * window * batch
        watched.gate.set()
        await caught_up(delivery)
    assert sorted(sink.sent) == numbers(1, 500)


async def test_settlements_are_shared_by_many_answers(log: Store) -> None:
    await append(log, 640)
    watched = Watched(log)
    sink = Told(window=64)
    async with delivering(watched, sink) as delivery:
        await caught_up(delivery)
    assert len(watched.settlements) <= 640 / 32 + 2


async def test_a_healthy_sink_writes_no_held_rows(log: Store) -> None:
    await append(log, 1000)
    watched = Watched(log)
    async with delivering(watched, Told(window=16)) as delivery:
        await caught_up(delivery)
    assert all(not settlement.hold for settlement in watched.settlements)


async def test_a_sink_whose_filter_takes_nothing_settles_rarely(log: Store) -> None:
    watched = Watched(log)
    async with delivering(watched, Told(), filter={"type": ["custom.*"]}):
        for number in numbers(1, 50):
            await append(log, 1, first=number)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.05)
        assert len(watched.settlements) <= 1
    progress = await log.progress(reader_name("soc"))
    assert progress is not None
    assert (progress.cursor, progress.matched) == (50, 0)


async def test_a_settlement_whose_answer_was_lost_counts_once(log: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.delivery.settling.STORE_WAIT", 0.01)
    await append(log, 100)
    watched = Watched(log)
    watched.unanswered = 2
    sink = Told()
    async with delivering(watched, sink) as delivery:
        await caught_up(delivery)
    assert watched.unanswered == 0
    assert sorted(sink.sent) == numbers(1, 100)
    await check_settled_law(log)
    progress = await log.progress("sink:soc")
    assert progress is not None
    assert (progress.matched, progress.delivered) == (100, 100)


async def test_a_full_disk_stops_sending_and_loses_nothing(log: Store) -> None:
    await append(log, 100)
    watched = Watched(log)
    watched.failures = 1
    sink = Told()
    async with delivering(watched, sink) as delivery:
        await until(lambda: watched.failures == 0)
        await asyncio.sleep(0.05)
        assert len(sink.sent) <= 2 * sink.window
        await caught_up(delivery)
    assert sorted(sink.sent) == numbers(1, 100)


async def test_a_stop_waits_for_answers_on_their_way(log: Store) -> None:
    await append(log, 100)

    async def reply(entry: Entry) -> Answer:
        await asyncio.sleep(0.05)
        return DELIVERED

    sink = Told(lambda entry: reply(entry))
    async with delivering(log, sink):
        await until(lambda: len(sink.sent) > 4)
    progress = await log.progress(reader_name("soc"))
    assert progress is not None
    assert sorted(sink.delivered) == sorted(sink.sent) == numbers(1, progress.cursor)


async def test_whatever_the_answers_the_counters_add_up_and_every_event_is_accounted_for(log: Store) -> None:
    chance = random.Random(7)
    total = 0
    sink = Told(window=8)

    async def reply(entry: Entry) -> Answer:
        await asyncio.sleep(chance.choice([0, 0, 0, 0.001, 0.01]))
        drawn = chance.random()
        if drawn < 0.1:
            return REFUSED
        if drawn < 0.13:
            return Never("too odd")
        return DOWN if drawn < 0.2 else DELIVERED

    sink.reply = lambda entry: reply(entry)
    for _ in range(4):
        async with delivering(log, sink, retry=[0.001] * 6, probe=0.001) as delivery:
            for _ in range(20):
                await append(log, 10, first=total + 1)
                total += 10
                check_law(delivery)
                await asyncio.sleep(0.005)
        await check_settled_law(log)
    async with delivering(log, sink, retry=[0.001] * 6, probe=0.001) as delivery:
        await caught_up(delivery)
        counts = delivery.snapshot().counts
    rows = await log.held(reader_name("soc"))
    assert {row.position for row in rows} | set(sink.delivered) == set(numbers(1, total))
    assert (counts.matched, counts.dead) == (total, len(rows))
    assert counts.delivered == len(set(sink.delivered) - {row.position for row in rows})
    assert all(len(ids) == 1 for ids in sink.ids.values())
    await check_settled_law(log)


# The clock


DAY = 86400.0


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def refused_once(log: Store, clock: Clock, retry: float) -> None:
    """One event, refused, and to be tried again in ``retry`` seconds or a little later."""
    await append(log, 1)
    async with delivering(log, Told(lambda _: REFUSED), retry=[retry], clock=clock) as delivery:
        await until(lambda: delivery.snapshot().counts.held == 1, delivery)


async def test_what_is_held_does_not_wait_a_day_longer_when_the_clock_is_set_back_by_one(log: Store) -> None:
    clock = Clock()
    await refused_once(log, clock, retry=5.0)
    clock.now -= DAY
    sink = Told()
    async with delivering(log, sink, retry=[5.0], clock=clock) as delivery:
        await caught_up(delivery)
    assert sink.delivered == [1]


async def test_a_clock_that_is_set_back_while_a_sink_runs_makes_no_wait_longer(log: Store) -> None:
    clock = Clock()
    await append(log, 1)
    sink = Told(lambda _: REFUSED)
    async with delivering(log, sink, retry=[5.0, 5.0], clock=clock) as delivery:
        await until(lambda: delivery.snapshot().counts.held == 1, delivery)
        clock.now -= DAY
        sink.reply = lambda entry: REFUSED if entry.position == 2 else DELIVERED
        # What is held is looked at again as soon as something moves there.
        await append(log, 1, first=2)
        await until(lambda: sink.delivered == [1], delivery)


async def test_a_clock_that_is_set_back_a_little_shortens_no_wait(log: Store) -> None:
    clock = Clock()
    await refused_once(log, clock, retry=5.0)
    clock.now -= 600
    sink = Told()
    async with delivering(log, sink, retry=[5.0], clock=clock) as delivery:
        await append(log, 1, first=2)
        await until(lambda: sink.delivered == [2], delivery)
        assert delivery.snapshot().counts.held == 1
    assert sink.sent == [2]


async def test_after_the_clock_is_set_forward_what_is_held_is_due(log: Store) -> None:
    clock = Clock()
    await refused_once(log, clock, retry=7200.0)
    clock.now += DAY
    sink = Told()
    async with delivering(log, sink, retry=[7200.0], clock=clock) as delivery:
        await caught_up(delivery)
    assert sink.delivered == [1]


async def test_a_delivery_whose_claim_is_lost_ends_and_the_next_one_sends_what_was_not_settled() -> None:
    memory = Memory()
    async with open_memory_log(memory) as log, open_memory_log(memory) as other:
        await append(log, 50)
        first = await log.claim("sink:soc", "a")
        assert first is not None
        answered = asyncio.Event()

        async def wait(_: Entry) -> Answer:
            await answered.wait()
            return DELIVERED

        slow, quick = Told(wait), Told()
        with pytest.raises(ClaimLost):
            async with delivering(log, slow, token=first.token) as delivery:
                await until(lambda: len(slow.sent) == slow.window)
                await log.release(first)
                second = await other.claim("sink:soc", "b")
                assert second is not None
                answered.set()
                await until(lambda: len(slow.delivered) >= slow.window, delivery)
                raise ClaimLost("sink:soc")
        assert second is not None
        async with delivering(other, quick, token=second.token) as delivery:
            await until(lambda: quick.delivered == numbers(1, 50), delivery)
        await check_settled_law(other)
        # What the first one had in flight came twice, no more.
        assert len(slow.delivered) <= 2 * slow.window


# What was removed from the log


async def remove(log: RetainingStore, last: int) -> None:
    after = 0
    while after < last:
        after = (await log.remove(Removal(after, last, (), last, log.head))).reached


async def test_what_was_removed_before_the_sink_had_it_counts_as_skipped(log: RetainingStore) -> None:
    await append(log, 10)
    async with delivering(log, Told(lambda _: DOWN)):
        pass
    await append(log, 10, first=11)
    await remove(log, 15)
    sink = Told()
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        assert sink.delivered == numbers(16, 20)
        counts = delivery.snapshot().counts
        assert (counts.matched, counts.delivered, counts.skipped) == (20, 5, 15)


async def test_a_sink_that_reads_goes_on_behind_what_is_removed(log: RetainingStore) -> None:
    sink = Told()
    async with delivering(log, sink) as delivery:
        await append(log, 5)
        await caught_up(delivery)
        await remove(log, 5)
        await append(log, 5, first=6)
        await caught_up(delivery)
        assert sink.delivered == numbers(1, 10)
        assert delivery.snapshot().counts.skipped == 0


async def test_a_sink_that_begins_late_has_skipped_nothing(log: RetainingStore) -> None:
    await append(log, 10)
    await remove(log, 6)
    sink = Told()
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        assert sink.delivered == numbers(7, 10)
        assert delivery.snapshot().counts.skipped == 0


async def test_a_log_of_which_nothing_is_left_is_read_to_its_end(log: RetainingStore) -> None:
    await append(log, 10)
    await remove(log, 10)
    sink = Told()
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        await append(log, 1, first=11)
        await caught_up(delivery)
        assert sink.delivered == [11]


async def test_what_a_sink_gave_up_on_is_skipped_when_it_is_removed(log: RetainingStore) -> None:
    await append(log, 4)
    async with delivering(log, Told(lambda entry: Never("400") if entry.position == 2 else DELIVERED)) as delivery:
        await caught_up(delivery)
        assert delivery.snapshot().counts.dead == 1
    await remove(log, 3)
    async with delivering(log, Told()) as delivery:
        await until(lambda: delivery.snapshot().counts.skipped == 1, delivery)
        assert delivery.snapshot().counts.dead == 0
    await check_settled_law(log)
    assert await log.held(reader_name("soc")) == []
