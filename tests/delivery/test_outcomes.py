"""What becomes of events and of the sink, answer by answer, over days: in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import orjson
import pytest
import structlog.testing

from adapter.delivery.health import State
from adapter.delivery.loop import Delivery, open_delivery, reader_name
from adapter.delivery.select import Selection
from adapter.delivery.standing import Decided, Standings, open_standings, read
from adapter.delivery.tail import Tail
from adapter.filter import Filter
from adapter.log.memory import Memory, open_memory_log
from adapter.log.protocol import Removal, Store
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, Answer, Delivered, Later, Never, Skip, Stop
from adapter.sinks.settings import RETRY, SinkSettings
from tests.delivery.parts import CATALOGUE, Reply, Told, append, check_law, check_settled_law, new_entry, numbers
from tests.delivery.virtual_time import in_virtual_time, now, passes

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
#: Epoch seconds at which each test begins.
BEGIN = 1_800_000_000.0

REFUSED = Later("the receiver answered 400")
DOWN = Later("the receiver answered 503", receiver_down=True)
UNREACHED = Later("cannot connect", receiver_down=True, spares=True)
GONE = Stop("the receiver answered 410")


class Receiver(Told):
    """A sink that remembers when it was sent what, in seconds of the loop."""

    def __init__(self, reply: Reply = lambda _: DELIVERED, *, window: int = 4, batch: int = 1) -> None:
        super().__init__(reply, window=window, batch=batch)
        self.times: list[tuple[float, int]] = []

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        self.times += [(now(), entry.position) for entry in entries]
        return await super().send(entries)

    def times_of(self, position: int) -> list[float]:
        return [at for at, sent in self.times if sent == position]

    def most_within(self, seconds: float) -> int:
        """The most events that came within any such time."""
        times = [at for at, _ in self.times]
        return max(sum(1 for other in times if at <= other < at + seconds) for at in times)


class Wall:
    """The clock on the wall, which somebody may set."""

    def __init__(self) -> None:
        self.ahead = BEGIN

    def __call__(self) -> float:
        return now() + self.ahead


@asynccontextmanager
async def delivering(
    log: Store,
    sink: Told,
    *,
    name: str = "soc",
    filter: dict[str, object] | None = None,
    standings: Standings | None = None,
    clock: Callable[[], float] | None = None,
    look: float = HOUR,
    tail: Tail | None = None,
    **settings: Any,
) -> AsyncIterator[Delivery]:
    """``look``: seconds between two looks at what others decided."""
    given = {"name": name, "kind": "told", "from": "beginning", **settings}
    selection = Selection(Filter.from_settings(filter or {}, CATALOGUE), sink=name)
    async with open_standings(log, every=look) as own:
        opened = open_delivery(
            SinkSettings.model_validate(given), sink, log, selection,
            standings=standings or own, tail=tail or Tail(log), clock=clock or Wall(), random_source=lambda: 0.0,
        )  # fmt: skip
        async with opened as delivery:
            yield delivery
    check_law(delivery)
    await check_settled_law(log, name)


def delivered(delivery: Delivery, events: int) -> Callable[[], bool]:
    def is_so() -> bool:
        check_law(delivery)
        return delivery.snapshot().counts.delivered == events

    return is_so


async def told(log: Store, *names: str) -> list[dict[str, str]]:
    """The events ``system.SINK-…`` of the log, of these names or all: their details, with the name."""
    found: list[dict[str, str]] = []
    for entry in await log.read(0, limit=100_000):
        if entry.type is not None and entry.type.startswith("system.SINK-"):
            assert entry.event is not None
            name = entry.type.removeprefix("system.")
            if not names or name in names:
                found.append({"event": name, **orjson.loads(entry.event)["details"]})
    return found


# The schedule


@in_virtual_time
async def test_a_refused_message_has_ten_tries_within_three_days() -> None:
    async with open_memory_log() as log:
        await append(log, 3)
        sink = Receiver(lambda entry: REFUSED if entry.position == 2 else DELIVERED)
        async with delivering(log, sink) as delivery:
            await passes(lambda: delivery.snapshot().counts.dead == 1, within=4 * DAY, step=MINUTE)
        times = sink.times_of(2)
        assert len(times) == 10
        # Each is a little later than the schedule has it, since the row is written first.
        assert [after - before for before, after in pairwise(times)] == pytest.approx(list(RETRY), abs=0.2)
        assert all(after - before >= wait for (before, after), wait in zip(pairwise(times), RETRY, strict=True))


@in_virtual_time
async def test_a_sinks_own_schedule_is_kept_over_restarts() -> None:
    async with open_memory_log() as log:
        await append(log, 1)
        sink = Receiver(lambda _: REFUSED)
        for _ in range(6):
            async with delivering(log, sink, retry=[600, 1200]):
                await asyncio.sleep(400)
        assert sink.times_of(1) == pytest.approx([0, 600, 1800], abs=1)


# What a receiver asks for


@pytest.mark.parametrize("answer", [REFUSED, DOWN])
@in_virtual_time
async def test_who_asks_for_time_gets_it_for_all_events_and_no_less(answer: Later) -> None:
    asks = Later(answer.reason, 600.0, receiver_down=answer.receiver_down)
    async with open_memory_log() as log:
        await append(log, 20)
        sink = Receiver(lambda entry: asks if now() < 1 and entry.position == 2 else DELIVERED, window=2)
        async with delivering(log, sink) as delivery:
            await passes(lambda: delivery.snapshot().state is State.DOWN)
            begin = max(at for at, _ in sink.times)
            await passes(delivered(delivery, 20), within=HOUR)
        assert [at for at, _ in sink.times if begin < at < 600] == []
        assert sorted(sink.delivered) == numbers(1, 20)


@pytest.mark.parametrize("after", [1e9, float("inf"), float("nan"), -5.0, 0.0])
@in_virtual_time
async def test_no_receiver_gets_more_time_than_an_hour_or_what_is_no_time_at_all(after: float) -> None:
    async with open_memory_log() as log:
        await append(log, 1)
        sink = Receiver(lambda _: Later("busy", after, receiver_down=True) if now() == 0 else DELIVERED)
        async with delivering(log, sink) as delivery:
            await passes(delivered(delivery, 1), within=HOUR + MINUTE)


# The receiver as a whole


@pytest.mark.parametrize("answer", [DOWN, UNREACHED, Later("429", 1.0, receiver_down=True, spares=True)])
@in_virtual_time
async def test_an_outage_costs_no_event_a_try_and_no_row(answer: Later) -> None:
    async with open_memory_log() as log:
        await append(log, 500)
        sink = Receiver(lambda _: answer if now() < DAY else DELIVERED)
        async with delivering(log, sink, retry=[1.0]) as delivery:
            await asyncio.sleep(DAY / 2)
            counts = delivery.snapshot().counts
            assert (counts.held, counts.dead, delivery.snapshot().cursor) == (0, 0, 0)
            assert await log.held(reader_name("soc")) == []
            assert len(sink.times) <= DAY / 2 / 60 + 20
            await passes(delivered(delivery, 500), within=DAY, step=MINUTE)
        assert sorted(set(sink.delivered)) == numbers(1, 500)


@in_virtual_time
async def test_what_cannot_be_its_own_fault_costs_a_message_no_try_even_while_others_pass() -> None:
    async with open_memory_log() as log:
        await append(log, 1)
        total = 1
        sink = Receiver(lambda entry: UNREACHED if entry.position == 1 and now() < HOUR else DELIVERED)
        async with delivering(log, sink, retry=[1.0]) as delivery:
            while now() < HOUR + MINUTE:
                await append(log, 5, first=total + 1)
                total += 5
                await asyncio.sleep(10)
            await passes(lambda: 1 in sink.delivered)
            assert delivery.snapshot().counts.dead == 0
        # Nor is it sent again and again without a wait.
        assert len(sink.times_of(1)) <= HOUR / 2


# Gone


@in_virtual_time
async def test_who_is_gone_is_sent_nothing_until_somebody_resumes_the_sink_over_restarts_too() -> None:
    async with open_memory_log() as log:
        await append(log, 50)
        gone = True
        sink = Receiver(lambda entry: GONE if gone and entry.position > 10 else DELIVERED)
        async with delivering(log, sink) as delivery:
            await passes(lambda: delivery.snapshot().standing.state is Decided.STOPPED)
            assert delivery.snapshot().state is State.STOPPED
        sends = len(sink.times)
        assert sends <= 10 + sink.window
        for _ in range(3):
            async with delivering(log, sink) as delivery:
                await asyncio.sleep(DAY)
                shown = delivery.snapshot()
                assert (shown.state, shown.standing.reason) == (State.STOPPED, "the receiver answered 410")
        assert len(sink.times) == sends
        gone = False
        async with open_standings(log, every=HOUR) as standings, delivering(log, sink, standings=standings) as delivery:
            await standings.change("soc", state="running", reason="moved", by="zoe", now=0)
            await passes(delivered(delivery, 50))
        assert sorted(sink.delivered) == numbers(1, 50)
        assert [(one["event"], one["by"]) for one in await told(log)] == [
            ("SINK-STOPPED", "receiver"), ("SINK-RESUMED", "zoe"),
        ]  # fmt: skip


@in_virtual_time
async def test_what_a_stopped_sink_missed_for_too_long_is_skipped_and_the_rest_is_sent() -> None:
    async with open_memory_log() as log, open_standings(log, every=HOUR) as standings:
        await append(log, 20)
        sink = Receiver(lambda entry: GONE if entry.position > 4 else DELIVERED, window=1)
        async with delivering(log, sink, standings=standings) as delivery:
            await passes(lambda: delivery.snapshot().state is State.STOPPED)
        # Retention, when its time and that of its patience is over.
        assert (await log.remove(Removal(0, 10, (), 10, log.head))).reached == 10
        sink.reply = lambda _: DELIVERED
        async with delivering(log, sink, standings=standings) as delivery:
            await asyncio.sleep(HOUR)
            assert delivery.snapshot().state is State.STOPPED
            await standings.change("soc", state="running", reason="", by="zoe", now=0)
            await passes(delivered(delivery, 14))
            assert delivery.snapshot().counts.skipped == 6
        assert sink.delivered == [*numbers(1, 4), *numbers(11, 20)]


@in_virtual_time
async def test_that_a_receiver_is_gone_is_kept_even_if_the_service_stops_at_that_moment() -> None:
    async with open_memory_log() as log:
        await append(log, 1)

        async def slowly(entry: Entry) -> Answer:
            await asyncio.sleep(5)
            return GONE

        async with delivering(log, Receiver(lambda entry: slowly(entry))):
            await asyncio.sleep(1)
        assert (await read(log, "soc")).state is Decided.STOPPED


@in_virtual_time
async def test_a_receiver_may_take_a_message_and_want_no_other() -> None:
    async with open_memory_log() as log:
        await append(log, 10)
        sink = Receiver(lambda entry: Stop("disable", delivered=True) if entry.position == 3 else DELIVERED, window=1)
        async with delivering(log, sink) as delivery:
            await passes(lambda: delivery.snapshot().standing.state is Decided.STOPPED)
            assert delivery.snapshot().counts.delivered == 3
            assert sink.sent == [1, 2, 3]


@in_virtual_time
async def test_what_a_receiver_asks_not_to_get_is_skipped_the_first_time_and_later() -> None:
    async with open_memory_log() as log:
        await append(log, 10)
        tries: Counter[int] = Counter()

        def reply(entry: Entry) -> Answer:
            tries[entry.position] += 1
            if entry.position == 7 and tries[7] == 1:
                return REFUSED
            return Skip("abort-message") if entry.position in (3, 7) else DELIVERED

        async with delivering(log, Receiver(reply), retry=[5.0]) as delivery:
            await passes(delivered(delivery, 8))
            await passes(lambda: delivery.snapshot().counts.skipped == 2)
            assert delivery.snapshot().counts.held == 0
        assert (tries[3], tries[7]) == (1, 2)


# Paused


@in_virtual_time
async def test_a_paused_sink_lets_land_what_is_in_flight_and_sends_nothing_more() -> None:
    async with open_memory_log() as log:
        await append(log, 20)

        async def slowly(entry: Entry) -> Answer:
            await asyncio.sleep(10)
            return DELIVERED

        sink = Receiver(lambda entry: slowly(entry))
        async with open_standings(log, every=HOUR) as standings, delivering(log, sink, standings=standings) as delivery:
            await asyncio.sleep(5)
            await standings.change("soc", state="paused", reason="maintenance", by="zoe", now=5000)
            assert (delivery.snapshot().state, delivery.snapshot().since) == (State.PAUSED, 5000)
            await asyncio.sleep(DAY)
            assert sorted(sink.delivered) == numbers(1, 4)
            assert len(sink.times) == 4
            await append(log, 10, first=21)
            await standings.change("soc", state="running", reason="", by="zoe", now=6000)
            assert delivery.snapshot().state is State.RUNNING
            # The events that tell it are system events, which it does not get.
            await passes(delivered(delivery, 30), within=HOUR)
        assert sorted(sink.delivered) == [*numbers(1, 20), *numbers(22, 31)]
        assert len(sink.times) == 30


@in_virtual_time
async def test_what_is_held_can_be_skipped_while_its_sink_is_paused() -> None:
    async with open_memory_log() as log:
        await append(log, 3)
        sink = Receiver(lambda entry: Later("not yet") if entry.position == 2 else DELIVERED)
        async with open_standings(log, every=HOUR) as standings, delivering(log, sink, standings=standings) as delivery:
            await passes(delivered(delivery, 2))
            await standings.change("soc", state="paused", reason="maintenance", by="zoe", now=5000)
            await asyncio.sleep(DAY)  # it has been due for long
            row = await delivery.skip(2, "skipped by zoe")
            assert row.position == 2
            counts = delivery.snapshot().counts
            assert (counts.held, counts.skipped, counts.delivered) == (0, 1, 2)
            await standings.change("soc", state="running", reason="", by="zoe", now=6000)
            await asyncio.sleep(HOUR)
            assert sorted(sink.delivered) == [1, 3]


@in_virtual_time
async def test_a_sink_that_another_service_pauses_hears_of_it_within_seconds() -> None:
    memory = Memory()
    async with open_memory_log(memory) as log, open_memory_log(memory) as other:
        sink = Receiver()
        async with delivering(log, sink, look=1.0) as delivery, open_standings(other) as elsewhere:
            await elsewhere.change("soc", state="paused", reason="", by="zoe", now=0)
            await passes(lambda: delivery.snapshot().state is State.PAUSED, within=2)
            await append(log, 5, first=10)
            await asyncio.sleep(MINUTE)
            assert sink.sent == []
            await elsewhere.change("soc", state="running", reason="", by="zoe", now=0)
            await passes(lambda: len(sink.delivered) == 5, within=3)


@in_virtual_time
async def test_to_pause_a_sink_whose_receiver_is_down_spends_no_tries_and_resuming_probes_at_once() -> None:
    async with open_memory_log() as log:
        await append(log, 20)
        up = False
        sink = Receiver(lambda _: DELIVERED if up else DOWN)
        async with open_standings(log, every=HOUR) as standings, delivering(log, sink, standings=standings) as delivery:
            await asyncio.sleep(10 * MINUTE)
            await standings.change("soc", state="paused", reason="", by="zoe", now=0)
            sends = len(sink.times)
            await asyncio.sleep(DAY)
            assert len(sink.times) == sends
            up = True
            await standings.change("soc", state="running", reason="", by="zoe", now=0)
            await passes(delivered(delivery, 20), within=2)
            assert delivery.snapshot().counts.dead == 0


# Nothing but failures


@in_virtual_time
async def test_a_sink_that_only_fails_is_stopped_after_its_time_with_warnings_before() -> None:
    async with open_memory_log() as log:
        await append(log, 5)
        sink = Receiver(lambda _: DOWN)
        async with delivering(log, sink, disable_after="2d") as delivery:
            await passes(lambda: delivery.snapshot().state is State.STOPPED, within=3 * DAY, step=MINUTE)
            assert now() == pytest.approx(2 * DAY, abs=HOUR)
            await asyncio.sleep(HOUR)
            assert delivery.snapshot().counts.held == delivery.snapshot().counts.dead == 0
        found = await told(log)
        assert [(one["event"], one.get("share")) for one in found] == [
            ("SINK-DOWN", None),
            ("SINK-WARNING", "50%"),
            ("SINK-WARNING", "70%"),
            ("SINK-WARNING", "90%"),
            ("SINK-STOPPED", None),
        ]
        assert all(one["sink"] == "soc" and one["reason"] and one["lag"] for one in found)
        assert found[-1]["by"] == "disable_after"


@in_virtual_time
async def test_restarts_and_a_clock_that_is_set_by_a_day_neither_stop_a_sink_nor_put_it_off() -> None:
    wall = Wall()
    async with open_memory_log() as log:
        await append(log, 5)
        sink = Receiver(lambda _: DOWN)
        stopped_at = None
        for number in range(15):
            async with delivering(log, sink, disable_after="2d", clock=wall) as delivery:
                for _ in range(2):
                    await asyncio.sleep(2 * HOUR)
                    if stopped_at is None and delivery.snapshot().state is State.STOPPED:
                        stopped_at = now()
                    wall.ahead += DAY * (-1) ** number
        assert stopped_at == pytest.approx(2 * DAY, abs=5 * HOUR)


@in_virtual_time
async def test_time_in_which_the_service_was_off_is_no_failing_time() -> None:
    async with open_memory_log() as log:
        await append(log, 1)
        for _ in range(10):
            async with delivering(log, Receiver(lambda _: DOWN), disable_after="1d"):
                await asyncio.sleep(HOUR)
            await asyncio.sleep(DAY)
        assert (await read(log, "soc")).state is Decided.RUNNING


@in_virtual_time
async def test_one_success_ends_the_failing() -> None:
    async with open_memory_log() as log:
        await append(log, 5)
        sink = Receiver(lambda _: DELIVERED if 1.5 * DAY < now() < 1.5 * DAY + 2 * MINUTE else DOWN)
        async with delivering(log, sink, disable_after="2d") as delivery:
            await asyncio.sleep(1.5 * DAY + 3 * MINUTE)
            assert delivery.snapshot().counts.delivered == 5
            await append(log, 5, first=100)
            await asyncio.sleep(DAY)
            assert delivery.snapshot().state is State.DOWN


@in_virtual_time
async def test_without_a_time_a_sink_that_only_fails_is_tried_for_ever_and_told_once_a_day() -> None:
    async with open_memory_log() as log:
        await append(log, 5)
        async with delivering(log, Receiver(lambda _: DOWN)) as delivery:
            await asyncio.sleep(3.5 * DAY)
            assert delivery.snapshot().state is State.DOWN
            assert delivery.snapshot().failing_since == int(BEGIN * 1000)
        assert Counter(one["event"] for one in await told(log)) == {"SINK-DOWN": 1, "SINK-WARNING": 3}


@in_virtual_time
async def test_a_resumed_sink_has_all_of_its_time_again() -> None:
    async with open_memory_log() as log:
        await append(log, 5)
        async with open_standings(log, every=HOUR) as standings:
            for _ in range(2):
                async with delivering(log, Receiver(lambda _: DOWN), standings=standings, disable_after="12h") as one:
                    await asyncio.sleep(0.6 * DAY)
                    assert one.snapshot().state is State.STOPPED
                    await standings.change("soc", state="running", reason="", by="zoe", now=0)
                    await asyncio.sleep(HOUR)
                    assert one.snapshot().state is State.DOWN


@in_virtual_time
async def test_up_and_down_are_told_once_however_often_the_receiver_flaps() -> None:
    async with open_memory_log() as log:
        sink = Receiver(lambda _: DOWN if int(now()) % 10 < 5 else DELIVERED)
        async with delivering(log, sink):
            for number in range(600):
                await append(log, 1, first=number)
                await asyncio.sleep(5)
        assert await told(log) == []
        sink.reply = lambda _: DOWN if 4000 < now() < 5000 else DELIVERED
        async with delivering(log, sink):
            for number in range(600, 1200):
                await append(log, 1, first=number)
                await asyncio.sleep(5)
        assert [one["event"] for one in await told(log)] == ["SINK-DOWN", "SINK-UP"]


@in_virtual_time
async def test_that_a_receiver_is_up_again_is_told_after_a_restart_too() -> None:
    async with open_memory_log() as log:
        await append(log, 5)
        async with delivering(log, Receiver(lambda _: DOWN)):
            await asyncio.sleep(HOUR)
        async with delivering(log, Receiver()) as delivery:
            await passes(delivered(delivery, 5))
        async with delivering(log, Receiver()) as delivery:
            await asyncio.sleep(HOUR)
        assert [one["event"] for one in await told(log)] == ["SINK-DOWN", "SINK-UP"]


@in_virtual_time
async def test_what_is_given_up_on_is_told_once_for_many_events() -> None:
    async with open_memory_log() as log:
        await append(log, 500)
        sink = Receiver(lambda entry: Never("too odd") if entry.position <= 400 else DELIVERED)
        async with delivering(log, sink) as delivery:
            await passes(lambda: delivery.snapshot().counts.dead == 400)
            await asyncio.sleep(MINUTE)
            sink.reply = lambda _: Never("too late")
            for number in range(3):
                await append(log, 1, first=1000 + number)
                await asyncio.sleep(MINUTE)
            await asyncio.sleep(3 * HOUR)
        assert [(one["event"], one["events"], one["reason"]) for one in await told(log)] == [
            ("SINK-EVENT-DEAD", "400", "too odd"), ("SINK-EVENT-DEAD", "3", "too late"),
        ]  # fmt: skip


@in_virtual_time
async def test_a_sink_never_gets_what_speaks_of_itself_and_others_do() -> None:
    async with open_memory_log() as log:
        await append(log, 5)
        system: dict[str, object] = {"type": ["system.*"]}
        own, other = Receiver(), Receiver()
        async with (
            delivering(log, Receiver(lambda _: DOWN), name="soc"),
            delivering(log, own, name="own", filter=system),
            delivering(log, other, name="other", filter=system),
            open_standings(log, every=HOUR) as standings,
        ):
            await asyncio.sleep(10 * MINUTE)
            await standings.change("own", state="paused", reason="", by="zoe", now=0)
            await standings.change("own", state="running", reason="", by="zoe", now=0)
            await asyncio.sleep(MINUTE)
        names = {entry.position: entry.type for entry in await log.read(5)}
        assert [names[position] for position in own.delivered] == ["system.SINK-DOWN"]
        assert sorted(names[position] or "" for position in other.delivered) == [
            "system.SINK-DOWN", "system.SINK-PAUSED", "system.SINK-RESUMED",
        ]  # fmt: skip


# How fast


@in_virtual_time
async def test_a_sink_gets_no_more_events_a_second_than_its_rate_and_not_many_less() -> None:
    async with open_memory_log() as log:
        await append(log, 1000)
        sink = Receiver(window=16)
        async with delivering(log, sink, rate=100) as delivery:
            await passes(delivered(delivery, 1000))
        assert 9.5 <= sink.times[-1][0] <= 10.5
        assert sink.most_within(1.0) <= 105


@in_virtual_time
async def test_batches_keep_to_the_rate_of_events() -> None:
    async with open_memory_log() as log:
        await append(log, 1000)
        sink = Receiver(batch=50)
        async with delivering(log, sink, rate=10) as delivery:
            await passes(delivered(delivery, 1000), within=HOUR)
        assert sink.times[-1][0] == pytest.approx(95, abs=2)


@in_virtual_time
async def test_what_was_missed_is_caught_up_with_at_its_own_rate() -> None:
    async with open_memory_log() as log:
        await append(log, 3000)
        sink = Receiver(window=16)
        async with delivering(log, sink, catch_up=10) as delivery:
            assert delivery.snapshot().rate == 10
            await asyncio.sleep(150)
            assert sink.most_within(1.0) <= 11
            assert len(sink.times) == pytest.approx(1500, abs=20)
            # Near the end of the log it is as fast as it can be.
            await passes(delivered(delivery, 3000))
            assert delivery.snapshot().rate is None
            assert now() < 220


@in_virtual_time
async def test_what_waits_for_a_sink_that_goes_on_is_said_before_it_is_sent() -> None:
    async with open_memory_log() as log, open_standings(log, every=HOUR) as standings:
        await append(log, 2000)
        with structlog.testing.capture_logs() as lines:
            async with delivering(log, Receiver(), standings=standings) as delivery:
                await passes(lambda: delivery.snapshot().lag == 0)
                await standings.change("soc", state="paused", reason="", by="zoe", now=0)
                await append(log, 3000, first=5000)
                await standings.change("soc", state="running", reason="", by="zoe", now=0)
                await passes(delivered(delivery, 5000))
        # With the event that tells of the last decision; the one before is behind it already.
        assert [line["entries"] for line in lines if line["event"] == "sink_backlog"] == [2000, 3001]


@pytest.mark.parametrize("window", [1, 4])
@in_virtual_time
async def test_neither_first_tries_nor_repeats_starve(window: int) -> None:
    async with open_memory_log() as log:
        await append(log, 200)
        async with delivering(log, Receiver(lambda _: REFUSED, window=window), retry=[5.0]) as delivery:
            await passes(lambda: delivery.snapshot().counts.held == 200)
        await asyncio.sleep(10)
        await append(log, 200, first=201)
        sink = Receiver(window=window)
        async with delivering(log, sink, rate=10) as delivery:
            await asyncio.sleep(10)
            first = sum(1 for position in sink.sent if position > 200)
            assert 30 <= first <= 70
            await passes(delivered(delivery, 400))


class Busy:
    """A log that knows how many read it at a time."""

    def __init__(self, log: Store) -> None:
        self._log = log
        self._reading = 0
        self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def read(self, *args: Any, **kwargs: Any) -> list[Entry]:
        self._reading += 1
        self.most = max(self.most, self._reading)
        await asyncio.sleep(0.1)
        self._reading -= 1
        return await self._log.read(*args, **kwargs)


@in_virtual_time
async def test_sinks_that_are_far_behind_take_turns_in_reading() -> None:
    async with open_memory_log() as log, AsyncExitStack() as stack:
        await append(log, 1500)
        await log.append([new_entry(1501, "admin.USER-CREATE")])
        busy: Any = Busy(log)
        tail, sinks = Tail(busy, near=1000), [Receiver() for _ in range(50)]
        for number, sink in enumerate(sinks):
            opened = delivering(busy, sink, name=f"sink-{number}", tail=tail, filter={"type": "admin.*"})
            await stack.enter_async_context(opened)
        await passes(lambda: all(sink.delivered == [1501] for sink in sinks), within=10)
        assert busy.most == 4 + 1  # and what keeps up waits for none of them


# A sink that does not what it should


MISTAKES: dict[str, Callable[[Sequence[Entry]], object]] = {
    "none": lambda _: None,
    "nothing": lambda _: [],
    "too few": lambda entries: [DELIVERED] * (len(entries) - 1),
    "too many": lambda entries: [DELIVERED] * (len(entries) + 1),
    "one for all": lambda _: DELIVERED,
    "none among them": lambda entries: [None] * len(entries),
    "words": lambda entries: ["delivered"] * len(entries),
    "a word": lambda entries: "x" * len(entries),
    "a class": lambda entries: [Delivered] * len(entries),
    "a reason that is no text": lambda entries: [Later(cast(str, None))] * len(entries),
    "a wait that is no number": lambda entries: [Later("x", cast(float, "5"))] * len(entries),
    "a wait without an end": lambda entries: [Later("x", float("nan"))] * len(entries),
    "a reason that no file takes": lambda entries: [Later("\ud800" * 100_000)] * len(entries),
}


def raising(error: type[BaseException]) -> Callable[[Sequence[Entry]], object]:
    def fail(_: Sequence[Entry]) -> object:
        raise error

    return fail


MISTAKES |= {
    error.__name__: raising(error)
    for error in (RuntimeError, MemoryError, TimeoutError, asyncio.CancelledError, StopAsyncIteration)
}


class Mistaken(Receiver):
    """Makes the mistake with everything that it is sent for the first time."""

    def __init__(self, mistake: Callable[[Sequence[Entry]], object], *, window: int, batch: int) -> None:
        super().__init__(window=window, batch=batch)
        self._mistake = mistake
        self._seen: set[int] = set()

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        positions = {entry.position for entry in entries}
        if not positions <= self._seen:
            self._seen |= positions
            return cast(Sequence[Answer], self._mistake(entries))
        return await super().send(entries)


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
@pytest.mark.parametrize(("window", "batch"), [(1, 1), (4, 1), (2, 5)])
@in_virtual_time
async def test_whatever_a_sink_answers_or_raises_nothing_is_lost_and_nothing_stands_still(
    mistake: Callable[[Sequence[Entry]], object], window: int, batch: int
) -> None:
    # What is told of a mistake is long.
    with structlog.testing.capture_logs():
        async with open_memory_log() as log:
            await append(log, 20)
            sink = Mistaken(mistake, window=window, batch=batch)
            async with delivering(log, sink) as delivery:
                await passes(delivered(delivery, 20), within=2 * HOUR)
                # Nobody who sends has gone.
                await append(log, 20, first=21)
                await passes(delivered(delivery, 40), within=2 * HOUR)
            assert sorted(set(sink.delivered)) == numbers(1, 40)


@in_virtual_time
async def test_whatever_the_clock_does_everything_arrives() -> None:
    wall = Wall()
    async with open_memory_log() as log:
        answers: list[Answer] = [
            REFUSED,
            DOWN,
            Later("busy", 30.0, receiver_down=True),
            DELIVERED,
            DELIVERED,
            UNREACHED,
        ]
        count = 0

        def reply(_: Entry) -> Answer:
            nonlocal count
            count += 1
            return answers[count % len(answers)] if now() < 10 * DAY else DELIVERED

        sink, total = Receiver(reply), 0
        async with delivering(log, sink, clock=wall, retry=[5.0] * 1000) as delivery:
            for number in range(20):
                await log.append([new_entry(one) for one in numbers(total + 1, total + 10)])
                total += 10
                await asyncio.sleep(HOUR)
                wall.ahead += DAY * (1, -1, -1, 1)[number % 4]
            await asyncio.sleep(10 * DAY)
            await passes(delivered(delivery, total), within=DAY)
        assert len(set(sink.delivered)) == total
