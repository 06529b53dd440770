"""Replays: what is sent again, by whom it is counted, and that they go on and end as they should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import pytest

from adapter.delivery.ledger import AGAIN
from adapter.delivery.loop import Delivery, reader_name, replay_reader
from adapter.errors import RequestError
from adapter.log.memory import open_memory_log
from adapter.log.protocol import Held, Note, Removal, RetainingStore, Store
from adapter.model import Entry
from adapter.ownership import Ownership
from adapter.replay.job import Job, Question, State
from adapter.replay.reading import Paced
from adapter.replay.replaying import KEPT, RUNNING, Replays, open_replays
from adapter.sinks.protocol import DELIVERED, Answer, Later, Never
from tests.delivery.parts import (
    CATALOGUE,
    FIRST_AT,
    Told,
    append,
    caught_up,
    check_law,
    delivering,
    new_entry,
    numbers,
    until,
)


@pytest.fixture
async def log() -> AsyncIterator[Store]:
    async with open_memory_log() as log:
        yield log


@dataclass
class Owned:
    """Stands for the ownership of a sink that is delivered to here."""

    present: Delivery | None


@asynccontextmanager
async def replaying(log: Store, delivery: Delivery | None, *, tick: float = 0.005) -> AsyncIterator[Replays]:
    owned = {"soc": cast(Ownership[Delivery], Owned(delivery))}
    async with open_replays(log, owned, lambda: CATALOGUE, tick=tick) as replays:
        yield replays


async def ended(replays: Replays) -> Job:
    async with asyncio.timeout(20):
        while True:
            job = await replays.look("soc")
            if job is not None and job.state is not State.RUNNING:
                return job
            await asyncio.sleep(0.005)


async def ask(replays: Replays, **question: Any) -> Job:
    return await replays.start("soc", Question.model_validate({"rate": 0, **question}), "anna")


async def stored(log: Store, *, held: int = 0, dead: int = 0) -> None:
    """Wait until the log has so many rows of the sink."""
    async with asyncio.timeout(20):
        while True:
            progress = await log.progress(reader_name("soc"))
            if progress is not None and (progress.held, progress.dead) == (held, dead):
                return
            await asyncio.sleep(0.005)


def refusing(*positions: int) -> Callable[[Entry], Answer]:
    return lambda entry: Never("the receiver answered 400") if entry.position in positions else DELIVERED


async def test_a_replay_that_is_killed_while_it_is_begun_goes_on_or_never_was(log: Store) -> None:
    await append(log, 3)

    class Killed(Exception):
        pass

    class Dying:
        """A log of a service that ends before its next note."""

        left = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(log, name)

        async def keep(self, note: Note) -> None:
            if self.left == 0:
                raise Killed
            self.left -= 1
            await log.keep(note)

    dying = Dying()
    async with delivering(log, Told()) as delivery:
        await caught_up(delivery)
        await stored(log)
        for notes in range(3):
            dying.left = notes
            async with open_replays(cast(Store, dying), {}, lambda: CATALOGUE, go_on=False) as replays:
                with suppress(Killed):
                    await ask(replays, status=["delivered"])
            async with replaying(log, delivery) as replays:
                await until(lambda: not replays._tasks)
                if await replays.look("soc") is not None:
                    assert (await ended(replays)).counts.delivered == 3


async def test_one_that_is_begun_in_the_moment_in_which_the_last_one_ends_runs_too(log: Store) -> None:
    await append(log, 3)

    class Slow:
        """A log that takes its time for the note that none is under way."""

        def __getattr__(self, name: str) -> Any:
            return getattr(log, name)

        async def keep(self, note: Note) -> None:
            if note.name == RUNNING and '"soc"' not in note.text:
                await asyncio.sleep(0.2)
            await log.keep(note)

    async with delivering(log, Told()) as delivery, replaying(cast(Store, Slow()), delivery) as replays:
        await caught_up(delivery)
        await stored(log)
        for number in (1, 2):
            await ask(replays, status=["delivered"])
            assert (await ended(replays)).id == number


async def test_of_the_last_replays_is_kept_what_they_sent_and_of_no_others(log: Store) -> None:
    await append(log, 3)
    last = KEPT + 2
    async with delivering(log, Told()) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        await stored(log)
        for _ in range(last):
            await ask(replays, status=["delivered"])
            assert (await ended(replays)).counts.delivered == 3
            await until(lambda: not replays._tasks)
    kept = [number for number in range(1, last + 1) if await log.progress(replay_reader("soc", number)) is not None]
    assert kept == numbers(3, last)


# Held and dead ones


async def test_dead_events_are_tried_anew_and_counted_as_the_sinks_own(log: Store) -> None:
    await append(log, 20)
    sink = Told(refusing(3, 7))
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await stored(log, dead=2)
        await caught_up(delivery)
        sink.reply = lambda _: DELIVERED
        await ask(replays)
        job = await ended(replays)
        await stored(log)
        counts = delivery.snapshot().counts
    assert (job.state, job.counts.matched, job.counts.renewed, job.counts.delivered) == (State.DONE, 2, 2, 0)
    assert (counts.matched, counts.delivered, counts.dead) == (20, 20, 0)
    assert sorted(sink.delivered) == numbers(1, 20)
    assert await log.rows(reader_name("soc")) == []


async def test_an_event_that_is_tried_anew_has_all_its_tries(log: Store) -> None:
    await append(log, 1)
    sink = Told(lambda _: Later("the receiver answered 400"))
    async with delivering(log, sink, retry=(0.001, 0.001)) as delivery, replaying(log, delivery) as replays:
        await stored(log, dead=1)
        assert len(sink.sends) == 3
        await ask(replays)
        await until(lambda: len(sink.sends) == 6 and delivery.snapshot().counts.dead == 1, delivery)
    (row,) = await log.rows(reader_name("soc"))
    assert row.tries == 3


async def test_a_held_event_is_replaced_and_not_raced(log: Store) -> None:
    await append(log, 5)
    sink = Told(lambda entry: Later("the receiver answered 400") if entry.position == 2 else DELIVERED)
    async with delivering(log, sink, retry=(3600.0, 3600.0)) as delivery, replaying(log, delivery) as replays:
        await stored(log, held=1)
        sink.reply = lambda _: DELIVERED
        await ask(replays, status=["held"])
        job = await ended(replays)
        await stored(log)
    assert (job.counts.matched, job.counts.renewed) == (1, 1)
    assert sink.sent.count(2) == 2


async def test_only_what_the_question_means_is_tried_anew(log: Store) -> None:
    await log.append([new_entry(number, "access.LOGIN" if number % 2 else "admin.USER-CREATE") for number in range(20)])
    sink = Told(lambda _: Never("no"))
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await stored(log, dead=20)
        sink.reply = lambda _: DELIVERED
        sink.sends.clear()
        await ask(replays, filter={"type": "admin.*", "from": str(FIRST_AT + 10)})
        await ended(replays)
        await until(lambda: delivery.snapshot().counts.dead == 15, delivery)
        await caught_up(delivery)
    assert sorted(sink.sent) == [11, 13, 15, 17, 19]


async def test_an_event_that_was_removed_is_left(log: Store) -> None:
    await append(log, 4)
    sink = Told(lambda _: Never("no"))
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await stored(log, dead=4)
        await cast(RetainingStore, log).remove(Removal(0, 2, (), 2, 4))
        await ask(replays)
        assert (await ended(replays)).counts.matched == 2


# Others: by a reader of their own


async def test_what_was_delivered_is_sent_once_more_and_counted_apart(log: Store) -> None:
    await append(log, 50)
    sink = Told()
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        ids = {position: set(known) for position, known in sink.ids.items()}
        sink.sends.clear()
        await ask(replays, status=["delivered"])
        job = await ended(replays)
        counts = delivery.snapshot().counts
        check_law(delivery)
    assert (job.state, job.counts.matched, job.counts.delivered, job.counts.dead) == (State.DONE, 50, 50, 0)
    assert sorted(sink.sent) == numbers(1, 50)
    assert sink.ids == ids, "the same message ids"
    assert (counts.matched, counts.delivered) == (50, 50)
    progress = await log.progress("sink:soc replay 1")
    assert progress is not None
    assert (progress.matched, progress.delivered) == (50, 50)


async def test_what_is_held_or_dead_is_not_sent_beside_its_row(log: Store) -> None:
    await append(log, 10)
    sink = Told(refusing(4, 9))
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await stored(log, dead=2)
        await caught_up(delivery)
        sink.sends.clear()
        await ask(replays, status=["delivered"])
        job = await ended(replays)
    assert sorted(sink.sent) == [1, 2, 3, 5, 6, 7, 8, 10]
    assert job.counts.matched == 8


async def test_events_before_the_sink_began_are_those_that_were_never_tried(log: Store) -> None:
    await append(log, 30)
    sink = Told()
    async with delivering(log, sink, begin="now") as delivery, replaying(log, delivery) as replays:
        await append(log, 5, first=31)
        await caught_up(delivery)
        assert sorted(sink.sent) == numbers(31, 35)
        sink.sends.clear()
        await ask(replays, status=["never"], filter={"from": str(FIRST_AT + 21)})
        job = await ended(replays)
    assert sorted(sink.sent) == numbers(21, 30)
    assert job.counts.delivered == 10


async def test_times_of_arrival_bound_what_is_read(log: Store) -> None:
    def arrived(number: int) -> dict[str, Any]:
        return {"name": "kc", "provider": "keycloak", "nativeType": "L", "receivedAt": FIRST_AT + number * 1000}

    await log.append([new_entry(number, source=arrived(number)) for number in numbers(1, 40)])
    sink = Told()
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        sink.sends.clear()
        times = {"received_from": str(FIRST_AT + 21_000), "received_to": str(FIRST_AT + 31_000)}
        started = await ask(replays, status=["delivered"], filter=times)
        await ended(replays)
    assert sorted(sink.sent) == numbers(21, 30)
    assert started.begin == 20


async def test_every_status_together_is_everything_once(log: Store) -> None:
    await append(log, 30)
    sink = Told(refusing(35))
    async with delivering(log, sink, begin="now") as delivery, replaying(log, delivery) as replays:
        await append(log, 10, first=31)
        await stored(log, dead=1)
        await caught_up(delivery)
        sink.reply = refusing()
        sink.sends.clear()
        await ask(replays, status=["never", "held", "dead", "delivered"])
        job = await ended(replays)
        await caught_up(delivery)
    assert sorted(sink.sent) == numbers(1, 40)
    assert job.counts.matched == 40


async def test_the_sinks_filter_of_now_counts_too(log: Store) -> None:
    await log.append([new_entry(number, "access.LOGIN" if number % 2 else "admin.USER-CREATE") for number in range(20)])
    sink = Told()
    async with delivering(log, sink, filter={"type": ["admin.*"]}) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        sink.sends.clear()
        await ask(replays, status=["delivered"])
        await ended(replays)
    assert sorted(sink.sent) == numbers(1, 20)[::2]


async def test_what_is_refused_again_is_tried_a_few_times_and_told(log: Store) -> None:
    await append(log, 5)
    sink = Told()
    retry = (0.001, 0.001, 0.001, 0.001, 0.001)
    async with delivering(log, sink, retry=retry) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        sink.reply = lambda one: Later("the receiver answered 422") if one.position == 3 else DELIVERED
        sink.sends.clear()
        await ask(replays, status=["delivered"])
        job = await ended(replays)
    assert (job.state, job.counts.delivered, job.counts.dead) == (State.DONE, 4, 1)
    assert job.answers == ["the receiver answered 422"]
    tried = await log.attempts(replay_reader("soc", job.id))
    assert [(one.position, one.tries, one.outcome) for one in tried][:1] == [(3, 4, "dead")]
    assert await log.attempts(reader_name("soc")) == []
    assert sink.sent.count(3) == 4


async def test_a_replay_runs_beside_what_comes_in_and_delays_it_not(log: Store) -> None:
    await append(log, 200)
    sink = Told()
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        sink.sends.clear()
        await ask(replays, status=["delivered"], rate=1)
        await append(log, 50, first=201)
        await caught_up(delivery)
        job = await replays.look("soc")
        assert job is not None
        assert job.state is State.RUNNING
        assert set(numbers(201, 250)) <= set(sink.sent)
        await replays.cancel("soc")


# How it begins, goes on and ends


async def test_a_dry_run_counts_and_sends_nothing(log: Store) -> None:
    await append(log, 1500)
    sink = Told(refusing(3, 700))
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await stored(log, dead=2)
        await caught_up(delivery)
        sink.sends.clear()
        await ask(replays, status=["dead"], dry_run=True)
        assert (await ended(replays)).counts.matched == 2
        await ask(replays, status=["delivered"], dry_run=True)
        assert (await ended(replays)).counts.matched == 1498
        await ask(replays, status=["delivered", "dead"], dry_run=True, filter={"actor": ["u-3", "u-4"]})
        assert (await ended(replays)).counts.matched == 2
    assert sink.sends == []
    assert [row.answer for row in await log.rows(reader_name("soc"))] == ["the receiver answered 400"] * 2


async def test_one_replay_of_a_sink_at_a_time(log: Store) -> None:
    await append(log, 100)
    async with delivering(log, Told()) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        await ask(replays, status=["delivered"], rate=1)
        with pytest.raises(RequestError, match="wait for its end, or cancel it"):
            await ask(replays, status=["dead"])
        await replays.cancel("soc")
        job = await ask(replays, status=["dead"])
        assert job.id == 2
        await ended(replays)


async def test_a_cancelled_replay_sends_nothing_more(log: Store) -> None:
    await append(log, 500)
    sink = Told(window=1)
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        sink.sends.clear()
        await ask(replays, status=["delivered"], rate=200)
        await until(lambda: len(sink.sends) > 5)
        job = await replays.cancel("soc")
        assert job is not None
        assert job.state is State.CANCELLED
        sent = len(sink.sends)
        await asyncio.sleep(0.05)
        assert len(sink.sends) == sent < 500


async def test_another_service_can_cancel_it(log: Store) -> None:
    await append(log, 500)
    sink = Told(window=1)
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        await ask(replays, status=["delivered"], rate=200)
        async with replaying(log, None) as other:
            await other.cancel("soc")
        sent = len(sink.sends)
        await asyncio.sleep(0.1)
        assert len(sink.sends) <= sent + 5


async def test_a_replay_goes_on_where_it_was_after_a_restart(log: Store) -> None:
    await append(log, 400)
    sink = Told(window=1)
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        sink.sends.clear()
        async with replaying(log, delivery) as replays:
            await ask(replays, status=["delivered"], rate=2000)
            await until(lambda: len(sink.sends) > 50)
    first = len(sink.sends)
    assert first < 400
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        job = await ended(replays)
    assert (job.state, job.counts.matched, job.counts.delivered) == (State.DONE, 400, 400)
    assert set(sink.sent) == set(numbers(1, 400))
    assert len(sink.sent) <= 402, "at most two windows twice"


async def test_a_replay_waits_for_a_service_that_delivers_to_the_sink(log: Store) -> None:
    await append(log, 5)
    sink = Told()
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        async with replaying(log, None) as elsewhere:
            await ask(elsewhere, status=["delivered"])
            await asyncio.sleep(0.03)
            job = await elsewhere.look("soc")
            assert job is not None
            assert job.state is State.RUNNING
            assert sink.sent.count(1) == 1
            async with replaying(log, delivery) as replays:
                assert (await ended(replays)).counts.delivered == 5


async def test_a_replay_waits_out_a_receiver_that_is_down(log: Store) -> None:
    await append(log, 5)
    sink = Told()
    async with delivering(log, sink) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        sink.reply = lambda _: Later("no connection", receiver_down=True)
        await ask(replays, status=["delivered"])

        async with asyncio.timeout(60):
            while True:
                job = await replays.look("soc")
                if job is not None and job.problem == "the receiver is down: no connection":
                    break
                await asyncio.sleep(0.01)
        sink.reply = lambda _: DELIVERED
        assert (await ended(replays)).counts.delivered == 5


async def test_a_filter_that_is_wrong_is_refused(log: Store) -> None:
    await append(log, 1)
    async with delivering(log, Told()) as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        with pytest.raises(RequestError, match="nothing is not known"):
            await ask(replays, filter={"nothing": "x"})


async def test_a_sink_that_has_not_begun_has_nothing_to_send_again(log: Store) -> None:
    async with replaying(log, None) as replays:
        with pytest.raises(RequestError, match="has had nothing yet"):
            await ask(replays)


# One event


async def test_a_dead_event_is_queued_when_it_is_sent_again(log: Store) -> None:
    await append(log, 3)
    sink = Told(refusing(2))
    async with delivering(log, sink) as delivery:
        await stored(log, dead=1)
        sink.reply = refusing()
        (entry,) = await log.fetch([2])
        assert await delivery.resend(entry) is None
        await stored(log)
    assert sink.sent.count(2) == 2


async def test_a_delivered_event_is_sent_at_once_and_counted_nowhere(log: Store) -> None:
    await append(log, 3)
    sink = Told()
    async with delivering(log, sink) as delivery:
        await caught_up(delivery)
        before = delivery.snapshot().counts
        (entry,) = await log.fetch([2])
        assert await delivery.resend(entry) == DELIVERED
        assert delivery.snapshot().counts == before
    assert sink.sent.count(2) == 2


async def test_an_event_that_the_filter_refuses_is_not_sent_again(log: Store) -> None:
    await append(log, 3)
    sink = Told()
    async with delivering(log, sink, filter={"type": ["admin.*"]}) as delivery:
        await caught_up(delivery)
        (entry,) = await log.fetch([2])
        with pytest.raises(ValueError, match="the filter of the sink does not take it"):
            await delivery.resend(entry)
    assert sink.sent == []


async def test_a_replay_of_a_sink_that_keeps_order_comes_to_its_end(log: Store) -> None:
    await append(log, 20)
    sink = Told()
    async with delivering(log, sink, order_by="realm") as delivery, replaying(log, delivery) as replays:
        await caught_up(delivery)
        sink.reply = refusing(5)
        await ask(replays, status=["delivered"])
        job = await ended(replays)
    assert (job.state, job.counts.delivered, job.counts.dead) == (State.DONE, 19, 1)


async def test_an_event_that_the_sink_has_not_come_to_is_not_sent_before_its_turn(log: Store) -> None:
    sink = Told(lambda _: Later("no", receiver_down=True))
    async with delivering(log, sink, probe=3600.0) as delivery:
        await append(log, 300)
        await until(lambda: delivery.snapshot().state == "down")
        (entry,) = await log.fetch([300])
        with pytest.raises(ValueError, match="has not come to it"):
            await delivery.resend(entry)
        (first,) = await log.fetch([1])
        with pytest.raises(ValueError, match="on its way"):
            await delivery.resend(first)


async def test_a_row_that_ends_while_it_is_looked_at_is_not_made_anew(log: Store) -> None:
    """The law would break by it, and the event be sent twice."""
    await append(log, 200)
    failing = set(numbers(1, 200))

    def reply(entry: Entry) -> Answer:
        if entry.position in failing:
            failing.discard(entry.position)
            return Later("the receiver answered 400")
        return DELIVERED

    sink = Told(reply, window=8)
    async with delivering(log, sink, retry=(0.005, 0.005)) as delivery, replaying(log, delivery) as replays:
        while delivery.snapshot().counts.delivered < 200:
            await ask(replays, status=["held"])
            await ended(replays)
            check_law(delivery)
        await caught_up(delivery)
        counts = delivery.snapshot().counts
    assert (counts.matched, counts.delivered, counts.held, counts.dead) == (200, 200, 0, 0)
    assert sorted(sink.delivered) == numbers(1, 200)


async def test_a_row_made_anew_says_so_until_it_is_tried(log: Store) -> None:
    await append(log, 2)
    sink = Told(refusing(1))
    async with delivering(log, sink) as delivery:
        await stored(log, dead=1)
        gate: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        async def waiting() -> Answer:
            return await gate

        sink.reply = lambda _: waiting()
        (entry,) = await log.fetch([1])
        await delivery.resend(entry)
        await until(lambda: len(sink.sends) == 3)
        (row,) = await log.rows(reader_name("soc"))
        assert row == Held(1, 0, row.due_at, AGAIN)
        gate.set_result(DELIVERED)
        await caught_up(delivery)


# Pace


async def test_events_go_no_faster_than_they_are_to() -> None:
    sink = Told()
    loop = asyncio.get_running_loop()
    paced = Paced(sink, 100)
    began = loop.time()
    entries = [Entry(n, b"", 0, 0, "kc", "t", b"{}", None, None) for n in range(11)]
    await asyncio.gather(*(paced.send([one]) for one in entries))
    assert loop.time() - began >= 0.099
