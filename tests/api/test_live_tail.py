"""What arrives reaches everybody who listens, with each engine: once, in order, and at nobody else's cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapter.api.live_tail import EVENTS, Listener, Taken, open_live_tail
from adapter.delivery.select import Selection
from adapter.filter import Filter
from adapter.log.memory import open_memory_log
from adapter.log.opening import file_url, open_store
from adapter.log.protocol import Store
from adapter.model import Entry
from adapter.search_fields import SearchFields
from tests.delivery.parts import CATALOGUE, append, new_entry, numbers
from tests.postgresql import Server

#: Seconds that nothing takes.
PATIENCE = 60.0


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield await stack.enter_async_context(open_memory_log())
            return
        url = file_url(tmp_path / "log.sqlite")
        if request.param == "postgresql":
            server: Server = request.getfixturevalue("postgresql")
            url = await stack.enter_async_context(server.database())
        yield await stack.enter_async_context(open_store(url, dictionary=lambda: b"", commit_timeout=PATIENCE))


def selection(**wanted: list[str]) -> Selection:
    return Selection(Filter.parse(wanted, CATALOGUE))


async def until(listener: Listener, position: int) -> list[Taken]:
    """All that a listener takes until it has what it gets up to a position."""
    taken: list[Taken] = []
    while not taken or taken[-1].position < position:
        one = await listener.take(PATIENCE)
        assert one is not None
        taken.append(one)
    return taken


def positions(taken: list[Taken]) -> list[int]:
    return [entry.position for one in taken for entry in one.entries]


async def test_each_gets_what_comes_by_its_own_filter_in_order(log: Store) -> None:
    await append(log, 5)
    async with (
        open_live_tail(log) as tail,
        tail.listening(selection(), None) as all,
        tail.listening(selection(user=["u-7"]), None) as one,
    ):
        await until(all, 5)
        await until(one, 5)
        for first in (6, 7, 8):
            await append(log, 1, first)
        await log.append([new_entry(9, type=None), new_entry(10)])
        assert positions(await until(all, 10)) == [6, 7, 8, 10]
        assert positions(await until(one, 7)) == [7]


async def test_who_begins_at_a_place_gets_what_is_there_and_what_comes_meanwhile_once(log: Store) -> None:
    await append(log, 300)
    async with open_live_tail(log) as tail, tail.listening(selection(), 20) as listener:
        taken = await until(listener, 100)
        await append(log, 50, first=301)
        taken += await until(listener, 350)
    assert positions(taken) == numbers(21, 350)
    assert all(one.passed_over is None for one in taken)


async def test_who_takes_nothing_holds_little_and_goes_on_where_he_was(log: Store) -> None:
    async with (
        open_live_tail(log) as tail,
        tail.listening(selection(), None) as slow,
        tail.listening(selection(), None) as prompt,
    ):
        await until(slow, 0)
        await append(log, 2_000)
        assert positions(await until(prompt, 2_000)) == numbers(1, 2_000)
        taken = await until(slow, 2_000)
    assert positions(taken) == numbers(1, 2_000)
    assert max(len(one.entries) for one in taken) <= EVENTS
    assert all(one.passed_over is None for one in taken)


async def test_who_is_too_far_behind_is_told_from_where_and_goes_on_from_the_end(log: Store) -> None:
    async with (
        open_live_tail(log, far=1_000) as tail,
        tail.listening(selection(), None) as slow,
        tail.listening(selection(), None) as prompt,
    ):
        await until(slow, 0)
        for first in range(1, 3_001, 500):
            await append(log, 500, first)
            await until(prompt, first + 499)
        taken = await until(slow, 3_000)
        await append(log, 1, 3_001)
        taken += await until(slow, 3_001)
    (gap,) = [one for one in taken if one.passed_over is not None]
    before = taken[: taken.index(gap)]
    assert gap.passed_over is not None
    assert positions(before) == numbers(1, gap.passed_over)
    assert 0 < gap.passed_over <= EVENTS
    assert positions(taken[len(before) :]) == [3_001]


async def test_who_begins_too_far_behind_is_told_at_once(log: Store) -> None:
    await append(log, 500)
    async with open_live_tail(log, far=100) as tail, tail.listening(selection(), 3) as listener:
        assert await listener.take(PATIENCE) == Taken((), 500, passed_over=3)


async def test_who_begins_ahead_of_the_end_gets_nothing_before_that_place(log: Store) -> None:
    async with open_live_tail(log) as tail, tail.listening(selection(), 3) as listener:
        await append(log, 5)
        assert positions(await until(listener, 5)) == [4, 5]


async def test_what_has_no_event_is_passed(log: Store) -> None:
    await log.append([new_entry(number, type=None) for number in range(1, 251)])
    await append(log, 1, 300)
    async with open_live_tail(log) as tail, tail.listening(selection(), 0) as listener:
        assert positions(await until(listener, 251)) == [251]


async def test_events_of_another_service_over_the_same_log_come_too(database_url: str) -> None:
    async with (
        open_store(database_url, dictionary=lambda: b"", commit_timeout=PATIENCE) as here,
        open_store(database_url, dictionary=lambda: b"", commit_timeout=PATIENCE) as there,
        open_live_tail(here) as tail,
        tail.listening(selection(), None) as listener,
    ):
        await until(listener, 0)
        await append(there, 3)
        assert positions(await until(listener, 3)) == [1, 2, 3]


async def test_at_a_stop_everybody_is_told(log: Store) -> None:
    async with (
        open_live_tail(log) as tail,
        tail.listening(selection(), None) as following,
        tail.listening(selection(), 0) as beginning,
    ):
        await until(following, 0)
        tail.end()
        assert await following.take(PATIENCE) is None
        assert await beginning.take(PATIENCE) is None


async def test_who_comes_after_nobody_listened_gets_what_comes_then(log: Store) -> None:
    async with open_live_tail(log) as tail:
        async with tail.listening(selection(), None) as first:
            await until(first, 0)
        await append(log, 10)
        async with tail.listening(selection(), None) as second:
            await until(second, 10)
            await append(log, 1, 11)
            assert positions(await until(second, 11)) == [11]


class Failing(Selection):
    """A bug."""

    def takes(self, entry: Entry, fields: SearchFields | None) -> bool:
        raise RuntimeError("a bug")

    def select(self, entries: Sequence[Entry]) -> list[Entry]:
        raise RuntimeError("a bug")


async def test_a_filter_that_fails_ends_its_own_listener_alone(log: Store) -> None:
    async with (
        open_live_tail(log) as tail,
        tail.listening(selection(), None) as good,
        tail.listening(Failing(Filter(CATALOGUE)), 1) as bad,
    ):
        await until(good, 0)
        assert await bad.take(PATIENCE) == Taken((), 1)
        await append(log, 3)
        assert positions(await until(good, 3)) == [1, 2, 3]
        with pytest.raises(RuntimeError):
            await until(bad, 3)
