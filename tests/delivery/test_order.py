"""Order within keys. All of it in virtual time, over the log in memory."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.delivery import lanes
from adapter.delivery.keys import make_key_of
from adapter.delivery.loop import Delivery, reader_name
from adapter.errors import ClaimLost
from adapter.log.memory import MemoryLog, open_memory_log
from adapter.log.protocol import NewEntry, Removal, Settlement, Store
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, Answer, Batch, Later, Never
from tests.delivery.parts import Told, check_law, check_settled_law, delivering, new_entry, numbers
from tests.delivery.virtual_time import run_virtual

DOWN = Later("no", receiver_down=True)
REFUSED = Later("the receiver answered 400")


def of_user(number: int, user: str | None) -> NewEntry:
    """The ``number``-th event of a test, of a user; of nobody."""
    return new_entry(number, authDetails={} if user is None else {"userId": user})


async def append_users(log: Store, users: Sequence[str | None], first: int = 1) -> None:
    await log.append([of_user(number, user) for number, user in enumerate(users, first)])


def user_of(entry: Entry) -> str | None:
    user: str | None = orjson.loads(entry.event or b"{}")["authDetails"].get("userId")
    return user


class Receiver(Told):
    """Takes its time for each send, and remembers who was taken in which order."""

    def __init__(
        self, reply: Callable[[Entry], Answer] = lambda _: DELIVERED, *, takes: float = 0.05, **how: Any
    ) -> None:
        super().__init__(reply, **how)
        self.takes = takes
        #: Positions by user, as they were taken.
        self.taken: dict[str | None, list[int]] = defaultdict(list)
        #: Users of which something is on its way, and how often two events of one were.
        self.on_the_way: Counter[str | None] = Counter()
        self.raced = 0

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        users = [user_of(entry) for entry in entries]
        self.raced += sum(self.on_the_way[user] for user in users if user is not None)
        self.on_the_way.update(users)
        await asyncio.sleep(self.takes)
        answers = await super().send(entries)
        for entry, user, answer in zip(entries, users, answers, strict=True):
            if answer is DELIVERED:
                self.taken[user].append(entry.position)
        self.on_the_way.subtract(users)
        return answers

    def check_order(self) -> None:
        """Of each user, what was taken for the first time came in the order of the log."""
        assert self.raced == 0
        for user, positions in self.taken.items():
            firsts = list(dict.fromkeys(positions))
            assert user is None or firsts == sorted(firsts), (user, positions)


@asynccontextmanager
async def ordering(log: Store, sink: Told, **how: Any) -> AsyncIterator[Delivery]:
    loop = asyncio.get_running_loop()
    how = {"order_by": "user", "clock": lambda: 1_800_000_000.0 + loop.time(), **how}
    async with delivering(log, sink, **how) as delivery:
        yield delivery


async def until_freed(log: Store) -> None:
    """Wait until no key is blocked."""
    async with asyncio.timeout(120.0):
        while True:
            if not await log.blocked(reader_name("soc")):
                return
            await asyncio.sleep(0.05)


async def done(delivery: Delivery, *, held: int = 0, within: float = 3600.0, every: float = 0.01) -> None:
    """Wait until all that can be is sent, and look at the counters meanwhile."""
    async with asyncio.timeout(within):
        while True:
            check_law(delivery)
            now = delivery.snapshot()
            if now.lag == 0 and now.counts.in_flight == 0 and now.counts.held == held:
                return
            await asyncio.sleep(every)


def test_events_of_one_user_go_one_after_another_and_those_of_others_beside_them() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b"] * 50)
            sink = Receiver(window=8)
            began = asyncio.get_running_loop().time()
            async with ordering(log, sink) as delivery:
                await done(delivery)
            took = asyncio.get_running_loop().time() - began
            assert sink.taken == {"a": numbers(1, 100)[::2], "b": numbers(1, 100)[1::2]}
            assert 50 * sink.takes <= took < 55 * sink.takes
            sink.check_order()

    run_virtual(main())


def test_a_failing_event_keeps_back_its_user_alone() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b", "c", None] * 100)
            is_fixed = False
            sink = Receiver(lambda entry: DELIVERED if is_fixed or entry.position != 5 else REFUSED, window=8)
            async with ordering(log, sink, retry=[60.0] * 10) as delivery:
                await done(delivery, held=99)
                assert sink.taken["a"] == [1]
                assert len(sink.taken["b"]) == len(sink.taken["c"]) == len(sink.taken[None]) == 100
                await asyncio.sleep(1)
                # One row for all of them.
                assert len(await log.held(reader_name("soc"))) == len(await log.blocked(reader_name("soc"))) == 1
                is_fixed = True
                await done(delivery)
                assert delivery.snapshot().counts.delivered == 400
            sink.check_order()
            assert len(sink.taken["a"]) == 100
            assert await log.blocked(reader_name("soc")) == []
            await check_settled_law(log)

    run_virtual(main())


def test_what_is_kept_back_stays_so_over_a_restart() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b"] * 20)
            sink = Receiver(lambda entry: REFUSED if user_of(entry) == "a" else DELIVERED)
            async with ordering(log, sink, retry=[3600.0] * 9) as delivery:
                await done(delivery, held=20)
            sink.reply = lambda _: DELIVERED
            async with ordering(log, sink, retry=[3600.0] * 9) as delivery:
                assert delivery.snapshot().counts.held == 20
                await append_users(log, ["a", "b"], first=41)
                await asyncio.sleep(10)
                assert sink.taken["a"] == []
                assert delivery.snapshot().counts.held == 21
                await done(delivery, within=7200, every=1.0)
            assert sink.taken["a"] == numbers(1, 42)[::2]
            sink.check_order()
            await check_settled_law(log)

    run_virtual(main())


@pytest.mark.parametrize("when_dead", ["block", "skip"])
def test_a_dead_event_keeps_back_what_follows_or_is_skipped(when_dead: str) -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a"] * 10)
            sink = Receiver(lambda entry: Never("too odd") if entry.position == 4 else DELIVERED)
            how = {"when_dead": when_dead}
            async with ordering(log, sink, **how) as delivery:
                await done(delivery, held=6 if when_dead == "block" else 0)
                assert delivery.snapshot().counts.dead == 1
            async with ordering(log, sink, **how) as delivery:
                await done(delivery, held=6 if when_dead == "block" else 0)
            assert sink.taken["a"] == (numbers(1, 3) if when_dead == "block" else [1, 2, 3, *numbers(5, 10)])
            async with ordering(log, sink, when_dead="skip") as delivery:
                await done(delivery)
            assert sink.taken["a"] == [1, 2, 3, *numbers(5, 10)]
            await check_settled_law(log)

    run_virtual(main())


def test_a_user_with_many_events_holds_up_no_other() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, [*["a"] * 5000, *["b", "c"] * 50])
            sink = Receiver(window=8)
            async with ordering(log, sink) as delivery:
                await asyncio.sleep(5)
                assert len(sink.taken["b"]) == len(sink.taken["c"]) == 50
                assert len(sink.taken["a"]) < 200
                assert delivery.snapshot().lag == 0
                await done(delivery)
            assert sink.taken["a"] == numbers(1, 5000)
            await check_settled_law(log)

    run_virtual(main())


def test_a_healthy_sink_writes_no_rows() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            watched = Watched(log)
            await append_users(log, [f"u-{number % 40}" for number in range(2000)])
            async with ordering(watched, Receiver(window=16)) as delivery:
                await done(delivery)
            assert all(not one.hold for one in watched.settlements)
            assert sum(len(one.block) + len(one.unblock) for one in watched.settlements) <= 0.2 * 2000

    run_virtual(main())


def test_above_the_limit_of_blocked_users_the_cursor_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lanes", "ordered_queue", "ordered_ledger"):
        monkeypatch.setattr(f"adapter.delivery.{module}.KEYS", 50)

    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, [f"u-{number}" for number in range(10_000)])
            sink = Receiver(lambda _: REFUSED, window=16)
            async with ordering(log, sink, retry=[10_000.0]) as delivery:
                await asyncio.sleep(1000)
                blocked, cursor = len(await log.blocked(reader_name("soc"))), delivery.snapshot().cursor
                # What was read already is tried.
                assert 50 <= blocked <= 50 + 2000
                assert cursor < 5000
                sink.reply = lambda _: DELIVERED
                await done(delivery, within=30_000, every=10.0)
            assert len(sink.delivered) == 10_000

    run_virtual(main())


def test_a_receiver_that_is_down_blocks_nobody() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, [f"u-{number % 7}" for number in range(300)])
            sink = Receiver(lambda _: DOWN, window=8)
            async with ordering(log, sink, probe=1.0) as delivery:
                await asyncio.sleep(600)
                assert delivery.snapshot().cursor == 0
                assert await log.blocked(reader_name("soc")) == []
                sink.reply = lambda _: DELIVERED
                await done(delivery)
            sink.check_order()
            assert len(sink.delivered) == 300

    run_virtual(main())


@pytest.mark.parametrize("alike", [False, True])
def test_a_batch_holds_several_events_of_a_user_only_if_all_are_answered_alike(alike: bool) -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "a", "b", "a", "b", "c"] * 10)
            sink = Receiver(window=1, batch=Batch(6, alike=alike))
            sink.on_the_way = Quiet()
            async with ordering(log, sink) as delivery:
                await done(delivery)
            entries = {entry.position: user_of(entry) for entry in await log.read(0)}
            users = [[entries[position] for position in send] for send in sink.sends]
            assert all(len(set(send)) == len(send) for send in users) is not alike
            assert max(map(len, sink.sends)) == (6 if alike else 3)
            for user, positions in sink.taken.items():
                assert positions == [position for position, its in entries.items() if its == user]

    run_virtual(main())


def test_what_waits_for_its_turn_waits_for_no_more_to_fill_its_batch() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            sink = Receiver(takes=5.0, batch=Batch(10, wait=1.0))
            async with ordering(log, sink) as delivery:
                for number in (1, 2):
                    await append_users(log, ["a"], first=number)
                    await asyncio.sleep(2.0)
                await done(delivery, within=30.0)
            assert sink.taken == {"a": [1, 2]}

    run_virtual(main())


def test_of_what_waits_behind_a_blocked_event_nothing_is_sent_by_itself() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "a", "b"])
            sink = Receiver(lambda entry: REFUSED if entry.position == 1 else DELIVERED)
            async with ordering(log, sink, retry=[3600.0]) as delivery:
                await done(delivery, held=2)
                behind, *_ = await log.fetch([2])
                with pytest.raises(ValueError, match="an earlier event of its key"):
                    await delivery.resend(behind)
            assert sorted(sink.sent) == [1, 3]

    run_virtual(main())


class Quiet(Counter[str | None]):
    """Sees no two events of one user: they are in one send."""

    def __missing__(self, user: str | None) -> int:
        return 0

    def __getitem__(self, user: str | None) -> int:
        return 0


def test_a_batch_that_fails_is_sent_again_in_order() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "a", "b", "a", "b", "c"] * 10)
            sink = Receiver(window=2, batch=Batch(6, alike=True))
            sink.on_the_way = Quiet()
            fails = iter([True, False, True, True, *[False] * 1000])
            answer: Answer = DELIVERED

            async def send(entries: Sequence[Entry]) -> Sequence[Answer]:
                nonlocal answer
                answer = REFUSED if next(fails) else DELIVERED
                sink.reply = lambda _: answer
                return await Receiver.send(sink, entries)

            sink.send = send  # type: ignore[method-assign]
            async with ordering(log, sink, retry=[5.0] * 9) as delivery:
                await done(delivery)
            assert len(sink.delivered) == len(set(sink.delivered)) == 60
            sink.raced = 0
            sink.check_order()
            await check_settled_law(log)

    run_virtual(main())


def test_another_order_holds_as_soon_as_nobody_is_blocked_by_the_former() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b"] * 20)
            sink = Receiver(lambda entry: REFUSED if entry.position == 1 else DELIVERED)
            async with ordering(log, sink, retry=[60.0] * 9) as delivery:
                await done(delivery, held=20)
            sink.reply = lambda _: DELIVERED
            async with ordering(log, sink, retry=[60.0] * 9, order_by=None) as delivery:
                await append_users(log, ["a", "b"] * 20, first=41)
                await done(delivery)
                sink.check_order()
                await append_users(log, ["a"] * 20, first=81)
                await done(delivery)
            assert sink.raced > 0
            await check_settled_law(log)

    run_virtual(main())


def test_what_was_removed_behind_a_blocked_user_is_skipped() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b"] * 20)
            sink = Receiver(lambda entry: REFUSED if entry.position == 1 else DELIVERED)
            async with ordering(log, sink, retry=[60.0] * 9) as delivery:
                await done(delivery, held=20)
                await log.remove(Removal(0, 30, (), 30, log.head))
                await done(delivery)
                counts = delivery.snapshot().counts
                assert (counts.matched, counts.delivered, counts.skipped) == (40, 25, 15)
            assert sink.taken["a"] == [31, 33, 35, 37, 39]
            await check_settled_law(log)

    run_virtual(main())


def test_what_was_removed_over_a_restart_is_skipped() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b"] * 20)
            sink = Receiver(lambda entry: REFUSED if entry.position == 1 else DELIVERED)
            async with ordering(log, sink, retry=[60.0] * 9) as delivery:
                await done(delivery, held=20)
            await log.remove(Removal(0, 30, (), 30, log.head))
            async with ordering(log, sink, retry=[60.0] * 9) as delivery:
                await done(delivery)
                counts = delivery.snapshot().counts
                assert (counts.matched, counts.delivered, counts.skipped) == (40, 25, 15)
            await check_settled_law(log)

    run_virtual(main())


def test_a_changed_filter_counts_what_is_kept_back_anew() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b"] * 20)
            sink = Receiver(lambda entry: REFUSED if entry.position == 1 else DELIVERED)
            async with ordering(log, sink, retry=[60.0] * 9) as delivery:
                await done(delivery, held=20)
            sink.reply = lambda _: DELIVERED
            async with ordering(log, sink, retry=[60.0] * 9, filter={"type": ["access.*"]}) as delivery:
                counts = delivery.snapshot().counts
                assert (counts.matched, counts.held) == (1, 1)
                await append_users(log, ["a", "b"], first=41)
                await asyncio.sleep(2)
                counts = delivery.snapshot().counts
                assert (counts.matched, counts.held, counts.delivered) == (3, 2, 1)
                await done(delivery)
                counts = delivery.snapshot().counts
                # The one that was held, nineteen behind it, and the two new ones.
                assert (counts.matched, counts.delivered) == (22, 22)
            assert sink.taken["a"] == numbers(1, 42)[::2]
            await check_settled_law(log)

    run_virtual(main())


# Keys


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"authDetails": {"userId": "u"}}, {"authDetails": {"userId": "u", "username": "zoe"}}, True),
        ({"authDetails": {"userId": "u"}}, {"authDetails": {"userId": "v"}}, False),
        ({"authDetails": {"username": "Zoe"}}, {"authDetails": {"username": "zoe"}}, True),
        ({"authDetails": {"userId": "u"}}, {"authDetails": {"userId": "u"}, "realmId": "acme"}, False),
        # Whoever was acted upon comes first.
        (
            {"authDetails": {"userId": "u"}},
            {"type": "admin.USER-UPDATE", "authDetails": {"userId": "admin"}, "resourcePath": "users/u"},
            True,
        ),
    ],
)
def test_the_key_of_a_user(one: dict[str, Any], other: dict[str, Any], is_same: bool) -> None:
    key_of = make_key_of("user")
    keys = [key_of(new_entry(number, **event).event or b"") for number, event in enumerate((one, other))]
    assert None not in keys
    assert (keys[0] == keys[1]) is is_same


@pytest.mark.parametrize("order_by", ["user", "session", "realm", None])
def test_an_event_without_the_field_has_no_key(order_by: str | None) -> None:
    assert make_key_of(order_by)(new_entry(1, authDetails={}).event or b"") is None


def test_no_person_stands_in_a_key() -> None:
    key = make_key_of("user")(new_entry(1, authDetails={"userId": "zoe"}).event or b"")
    assert key is not None
    assert key.startswith("user:")
    assert "zoe" not in key


# Whatever happens


class Watched:
    """A log that shows settlements, and takes none any more once it is cut off."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.settlements: list[Settlement] = []
        self.is_cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def settle(self, settlement: Settlement) -> None:
        if self.is_cut:
            raise ClaimLost("killed")
        self.settlements.append(settlement)
        await self._log.settle(settlement)


@given(
    seed=st.integers(0, 2**32),
    users=st.integers(1, 12),
    window=st.sampled_from([1, 2, 4, 8]),
    batch=st.sampled_from([1, 1, 3]),
    alike=st.booleans(),
    when_dead=st.sampled_from(["block", "skip"]),
    waiting=st.sampled_from([1, 3, 100]),
    rounds=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_answered_and_whenever_it_is_killed_order_is_kept_and_nothing_is_lost(
    seed: int, users: int, window: int, batch: int, alike: bool, when_dead: str, waiting: int, rounds: int
) -> None:
    chance = random.Random(seed)
    before = lanes.WAITING
    lanes.WAITING = waiting

    async def main() -> None:
        async with open_memory_log() as log:
            taken: dict[str | None, list[int]] = defaultdict(list)
            #: Those that may have been given up, with those behind them going on, before a kill forgot that.
            refused: set[int] = set()
            alive, total, is_calm = 0, 0, False

            class Chancy(Told):
                def __init__(self, number: int) -> None:
                    super().__init__(window=window, batch=Batch(batch, alike=alike))
                    self.number = number
                    self.under_way: set[str] = set()

                async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
                    named = [user for entry in entries if (user := user_of(entry)) is not None]
                    assert alike or len(named) == len(set(named))
                    assert self.under_way.isdisjoint(named)
                    self.under_way.update(named)
                    await asyncio.sleep(chance.choice([0.0, 0.001, 0.01, 0.2]))
                    self.under_way.difference_update(named)
                    answers: list[Answer] = []
                    for _ in entries:
                        drawn = 1.0 if is_calm else chance.random()
                        answer: Answer = DELIVERED
                        if drawn < 0.1:
                            answer = REFUSED
                        elif drawn < 0.13:
                            answer = Never("too odd")
                        elif drawn < 0.18:
                            answer = DOWN
                        answers.append(answer)
                    if alike:
                        answers = [answers[0]] * len(answers)
                    for entry, answer in zip(entries, answers, strict=True):
                        if answer is DELIVERED and self.number == alive:
                            taken[user_of(entry)].append(entry.position)
                        elif when_dead == "skip":
                            refused.add(entry.position)
                    return answers

            how: dict[str, Any] = {"retry": [0.5] * 4, "probe": 0.05, "when_dead": when_dead}
            for number in range(rounds):
                alive = number
                watched = Watched(log)
                try:
                    async with ordering(watched, Chancy(number), **how) as delivery:
                        for _ in range(chance.randint(1, 8)):
                            count = chance.randint(1, 30)
                            drawn = [chance.choice([None, *map(str, range(users))]) for _ in range(count)]
                            await append_users(log, drawn, first=total + 1)
                            total += count
                            await asyncio.sleep(chance.choice([0.0, 0.01, 0.1, 1.0]))
                            check_law(delivery)
                        if chance.random() < 0.7:
                            watched.is_cut = True
                            alive = -1
                            raise ClaimLost("killed")
                except ClaimLost:
                    pass
                await check_settled_law(log)
            alive, is_calm = rounds, True
            async with ordering(log, Chancy(rounds), **{**how, "when_dead": "skip"}) as delivery:
                await done(delivery, within=120.0, every=0.05)
                # A key behind whose dead head nothing waits is free as soon as that was looked at.
                await until_freed(log)
                counts = delivery.snapshot().counts
            rows = await log.held(reader_name("soc"))
            assert all(row.due_at is None for row in rows)
            dead = {row.position for row in rows}
            got = {position for positions in taken.values() for position in positions}
            assert got | dead == set(numbers(1, total))
            assert (counts.matched, counts.dead) == (total, len(dead))
            for user, positions in taken.items():
                firsts = [position for position in dict.fromkeys(positions) if position not in refused]
                assert user is None or firsts == sorted(firsts), (user, positions)
            await check_settled_law(log)

    try:
        run_virtual(main())
    finally:
        lanes.WAITING = before
