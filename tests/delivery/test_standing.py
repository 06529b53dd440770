from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any

import orjson
import pytest

from adapter.delivery.standing import Decided, Standing, Standings, change, note_name, open_standings, read
from adapter.log.memory import Memory, open_memory_log
from adapter.log.protocol import Note, Store
from tests.delivery.parts import until

NOW = 1_700_000_000_000


async def events(log: Store) -> list[dict[str, Any]]:
    """Type and details of what was told."""
    found = [orjson.loads(entry.event) for entry in await log.read(0) if entry.event is not None]
    return [{"type": one["type"], **one["details"]} for one in found]


async def paused(log: Store, name: str = "soc") -> Standing:
    return await change(log, name, state="paused", reason="maintenance", by="zoe", now=NOW)


async def test_a_sink_about_which_nothing_was_decided_is_running(log: Store) -> None:
    assert await read(log, "soc") == Standing(Decided.RUNNING, "", 0, "", 0)


async def test_what_was_decided_is_read_again_with_reason_time_and_who(log: Store) -> None:
    standing = await paused(log)
    assert standing == Standing(Decided.PAUSED, "maintenance", NOW, "zoe", 1)
    assert await read(log, "soc") == standing
    assert (await read(log, "other")).state is Decided.RUNNING


async def test_each_decision_is_told_as_an_event_of_the_log(log: Store) -> None:
    await paused(log)
    await change(log, "soc", state="running", reason="done", by="zoe", now=NOW + 1, lag=7)
    await change(log, "soc", state="stopped", reason="the receiver answered 410", by="receiver", now=NOW + 2)
    assert await events(log) == [
        {"type": "system.SINK-PAUSED", "sink": "soc", "reason": "maintenance", "by": "zoe"},
        {
            "type": "system.SINK-RESUMED", "sink": "soc", "reason": "done", "by": "zoe",
            "before": "paused", "since": "2023-11-14T22:13:20Z", "lag": "7",
        },
        {"type": "system.SINK-STOPPED", "sink": "soc", "reason": "the receiver answered 410", "by": "receiver"},
    ]  # fmt: skip


async def test_what_a_sink_is_already_stays_as_it_is_and_is_not_told_again(log: Store) -> None:
    first = await paused(log)
    assert await change(log, "soc", state="paused", reason="again", by="bob", now=NOW + 1) == first
    assert await change(log, "other", state="running", reason="", by="bob", now=NOW + 1) == Standing()
    assert len(await events(log)) == 1


async def test_of_two_who_decide_at_once_both_are_heard_one_after_the_other() -> None:
    memory = Memory()
    async with open_memory_log(memory) as log, open_memory_log(memory) as other:

        class Slow:
            """A log to which somebody else writes between a look and what follows from it."""

            def __getattr__(self, name: str) -> Any:
                return getattr(log, name)

            async def append(self, entries: Any, note: Note | None = None) -> Any:
                if not await other.noted(note_name("soc")):
                    await paused(other)
                return await log.append(entries, note)

        slow: Any = Slow()
        standing = await change(slow, "soc", state="stopped", reason="410", by="receiver", now=NOW + 1)
        assert standing.version == 2
        assert await read(other, "soc") == standing
        assert [one["type"] for one in await events(log)] == ["system.SINK-PAUSED", "system.SINK-STOPPED"]


async def test_who_follows_a_sink_is_told_at_once_what_is_decided_in_the_same_service(log: Store) -> None:
    told: list[Standing] = []
    async with open_standings(log, every=3600) as standings:
        with standings.following("soc", told.append), standings.following("other", told.append):
            standing = await standings.change("soc", state="paused", reason="", by="zoe", now=NOW)
            assert told == [standing]
        await standings.change("soc", state="running", reason="", by="zoe", now=NOW)
    assert told == [standing]


async def test_what_another_service_decides_is_heard() -> None:
    memory = Memory()
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(open_memory_log(memory))
        other = await stack.enter_async_context(open_memory_log(memory))
        standings = await stack.enter_async_context(open_standings(log, every=0.01))
        told: list[Standing] = []
        stack.enter_context(standings.following("soc", told.append))
        standing = await paused(other)
        await until(lambda: told[-1:] == [standing])


class Counted:
    """A log that counts the notes that are asked for."""

    def __init__(self, log: Store) -> None:
        self._log = log
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def noted(self, name: str) -> Note | None:
        self.asked.append(name)
        return await self._log.noted(name)


async def test_to_follow_a_thousand_sinks_is_one_question_as_long_as_nothing_is_decided(log: Store) -> None:
    counted: Any = Counted(log)
    standings = Standings(counted)
    told: dict[str, Standing] = {}
    with ExitStack() as stack:
        for number in range(1000):
            name = f"sink-{number}"
            stack.enter_context(standings.following(name, partial(told.__setitem__, name)))
        await standings.look()
        assert len(counted.asked) == 1
        await paused(log, "sink-7")
        await standings.look()
        assert told["sink-7"].state is Decided.PAUSED
        counted.asked.clear()
        await standings.look()
        assert len(counted.asked) == 1


async def test_a_change_whose_teller_was_killed_is_found_all_the_same(
    log: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(notes: object) -> None:
        pass

    monkeypatch.setattr("adapter.delivery.standing._tell", killed)
    standings, told = Standings(log), list[Standing]()
    with standings.following("soc", told.append):
        standing = await paused(log)
        await standings.look()
        assert told == []
        await standings.look(at_all=True)
    assert told == [standing]
