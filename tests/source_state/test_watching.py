"""Services over one log tell each thing once, and know of each other's sources; whenever one of them dies."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import orjson
import pytest

from adapter.counts import IngestCounts, RefusalCounts
from adapter.errors import StoreUnanswered
from adapter.log.memory import Memory, open_memory_log
from adapter.log.opening import open_store
from adapter.log.protocol import Store
from adapter.source_state.state import NOTE
from adapter.source_state.watching import PAUSED, WatchedSource, Watching
from adapter.sources.intake import Intake, Source
from tests.mapping.built_in import table
from tests.opened import login

KEYCLOAK = {"keycloak": table("keycloak")}
START = 1_700_000_000_000
MINUTE = 60_000


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Service:
    """What of a service receives and watches."""

    def __init__(self, log: Store, clock: Clock, silence: float | None = 600.0) -> None:
        self.counts = IngestCounts()
        self.clock = clock
        self.watching = Watching(log, self.counts, [WatchedSource("kc", "keycloak", "first", silence)], now=clock)
        self._intake = Intake(log, self.counts)
        self._source = Source("kc", "keycloak", "first", KEYCLOAK)

    async def post(self, *numbers: int) -> None:
        body = orjson.dumps([login(number) for number in numbers])
        await self._intake.take(self._source, body, "application/json", self.clock.now)

    async def look(self) -> None:
        await self.watching.look()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def told(log: Store) -> list[str]:
    """The events that stand in the log, in their order."""
    return [one.type or "" for one in await log.read(0) if one.source == "adapter"]


async def pass_time(clock: Clock, minutes: int, *services: Service) -> None:
    for _ in range(6 * minutes):
        clock.now += 10_000
        # At the same time: of each two that write the note, one has to begin anew.
        await asyncio.gather(*(one.look() for one in services))


async def test_of_two_services_one_tells_and_each_hears_the_others_sources(clock: Clock) -> None:
    memory = Memory()
    async with open_memory_log(memory) as log, open_memory_log(memory) as same:
        await tell_once(log, same, clock)


async def test_so_do_services_over_one_postgresql(database_url: str, clock: Clock) -> None:
    async with (
        open_store(database_url, dictionary=lambda: b"", commit_timeout=10) as log,
        open_store(database_url, dictionary=lambda: b"", commit_timeout=10) as same,
    ):
        await tell_once(log, same, clock)


async def tell_once(log: Store, same: Store, clock: Clock) -> None:
    one, other = Service(log, clock), Service(same, clock)
    await pass_time(clock, 1, one, other)
    for number in range(5):
        # What comes to the one keeps the source from being silent to the other.
        await (one if number % 2 else other).post(number)
        await pass_time(clock, 9, one, other)
    assert await told(log) == []
    await pass_time(clock, 5, one, other)
    assert await told(log) == ["system.SOURCE-SILENT"]
    assert [*one.watching.warnings()] == [*other.watching.warnings()] != []
    await other.post(100)
    await pass_time(clock, 2, one, other)
    assert await told(log) == ["system.SOURCE-SILENT", "system.SOURCE-BACK"]
    assert one.watching.warnings() == []
    for service in (one, other):
        state = (await service.watching.present())["first"]
        assert state.total.accepted == 6


async def test_silence_goes_on_through_a_restart(clock: Clock) -> None:
    memory = Memory()
    async with open_memory_log(memory) as log:
        service = Service(log, clock)
        await service.post(1)
        await pass_time(clock, 6, service)
    async with open_memory_log(memory) as log:
        again = Service(log, clock)
        await pass_time(clock, 5, again)
        assert await told(log) == ["system.SOURCE-SILENT"]
        assert (await again.watching.present())["first"].heard_at == START
    async with open_memory_log(memory) as log:
        await pass_time(clock, 20, Service(log, clock))
        assert await told(log) == ["system.SOURCE-SILENT"]


async def test_what_a_killed_service_had_no_time_to_say_is_found_in_the_log(clock: Clock) -> None:
    memory = Memory()
    async with open_memory_log(memory) as log:
        service = Service(log, clock)
        await pass_time(clock, 9, service)
        await service.post(1)
    async with open_memory_log(memory) as log:
        again = Service(log, clock)
        await pass_time(clock, 9, again)
        assert await told(log) == []
        assert (await again.watching.present())["first"].heard_at == START + 9 * MINUTE
        await pass_time(clock, 2, again)
        assert await told(log) == ["system.SOURCE-SILENT"]


async def test_while_no_service_ran_nothing_was_silent(clock: Clock) -> None:
    memory = Memory()
    async with open_memory_log(memory) as log:
        service = Service(log, clock)
        await service.post(1)
        await service.look()
    clock.now += PAUSED + 24 * 60 * MINUTE
    async with open_memory_log(memory) as log:
        again = Service(log, clock)
        await pass_time(clock, 9, again)
        assert await told(log) == []
        await pass_time(clock, 3, again)
        assert await told(log) == ["system.SOURCE-SILENT"]


@pytest.mark.parametrize("is_noted", [True, False])
async def test_a_clock_that_was_a_year_ahead_keeps_no_silence_from_being_told(clock: Clock, is_noted: bool) -> None:
    """A machine that starts before it is told the time: before or after what it heard was noted."""
    async with open_memory_log() as log:
        service = Service(log, clock)
        await service.post(1)
        await pass_time(clock, 1, service)
        right = clock.now
        clock.now += 365 * 24 * 60 * MINUTE
        await service.post(2)
        service.counts.refusals["kc"] = RefusalCounts()
        service.counts.refusals["kc"].add("wrong", None, clock.now)
        if is_noted:
            await service.look()
        clock.now = right
        await service.look()
        state = (await service.watching.present())["first"]
        assert state.heard_at == right
        assert state.lately(right, 60).received == (0 if is_noted else 2)
        await pass_time(clock, 12, service)
        assert "system.SOURCE-SILENT" in await told(log)
        await pass_time(clock, 60, service)
        assert (await service.watching.present())["first"].refusing is None


async def test_clocks_of_services_that_differ_by_minutes_change_nothing(clock: Clock) -> None:
    ahead = Clock()
    memory = Memory()
    async with open_memory_log(memory) as log, open_memory_log(memory) as same:
        one, other = Service(log, clock), Service(same, ahead)
        for _ in range(60):
            clock.now += 10_000
            ahead.now = clock.now + 5 * MINUTE
            await other.look()
            await one.look()
        await other.post(1)
        await other.look()
        await one.look()
        assert (await one.watching.present())["first"].heard_at == ahead.now


async def test_copies_and_what_is_ignored_are_heard(clock: Clock) -> None:
    async with open_memory_log() as log:
        service = Service(log, clock)
        for _ in range(6):
            await service.post(1)
            await pass_time(clock, 9, service)
        assert await told(log) == []
        state = (await service.watching.present())["first"]
        assert (state.total.accepted, state.total.duplicates) == (1, 5)
        assert state.event_at == login(1)["time"]


class Unanswered:
    """A log that stores, and does not say so."""

    def __init__(self, log: Store) -> None:
        self._log = log
        self.is_cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, *given: Any) -> Any:
        receipts = await self._log.append(*given)
        if self.is_cut:
            raise StoreUnanswered("no answer")
        return receipts


async def test_what_is_stored_without_an_answer_counts_once_and_is_told_once(clock: Clock) -> None:
    async with open_memory_log() as kept:
        log: Any = Unanswered(kept)
        service = Service(log, clock)
        await service.post(1, 2, 3)
        log.is_cut = True
        for _ in range(3):
            with pytest.raises(StoreUnanswered):
                clock.now += 11 * MINUTE  # longer than a service may pause
                await service.look()
        log.is_cut = False
        await pass_time(clock, 12, service)
        assert (await service.watching.present())["first"].total.accepted == 3
        assert await told(kept) == ["system.SOURCE-SILENT"]


async def test_a_quiet_service_writes_once_a_minute(clock: Clock) -> None:
    async with open_memory_log() as log:
        service = Service(log, clock, inf)
        for _ in range(60):
            clock.now += 10_000
            await service.look()
        note = await log.noted(NOTE)
        assert note is not None
        assert note.version <= 11


async def test_a_source_that_is_not_set_up_leaves_nothing(clock: Clock) -> None:
    async with open_memory_log() as log:
        service = Service(log, clock, None)
        await pass_time(clock, 30, service)
        assert await service.watching.present() == {}
