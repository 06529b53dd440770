"""Whose question runs next."""

from __future__ import annotations

import asyncio

import pytest

from adapter.search.turns import Turns


class Asker:
    """Asks questions that run until they are told to end, and notes the order in which they began."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.began: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def ask(self, caller: str, name: str, *, timeout: float | None = None) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()
        return asyncio.create_task(self._ask(caller, name, timeout))

    async def _ask(self, caller: str, name: str, timeout: float | None) -> None:
        async with self._turns.of(caller, timeout=timeout):
            self.began.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()


async def settle() -> None:
    """Let everybody run who can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_questions_of_one_caller_leave_room_for_one_of_another() -> None:
    asker = Asker(Turns(2))
    tasks = [asker.ask("busy", f"b{number}") for number in range(8)]
    await settle()
    assert asker.began == ["b0"]
    tasks.append(asker.ask("other", "o"))
    await settle()
    assert asker.began == ["b0", "o"]
    for name in ("o", *(f"b{number}" for number in range(8))):
        await asker.end(name)
    await asyncio.gather(*tasks)
    assert asker.began == ["b0", "o", *(f"b{number}" for number in range(1, 8))]


async def test_callers_who_wait_come_in_turn() -> None:
    asker = Asker(Turns(1))
    for caller, name in [("a", "a0"), ("a", "a1"), ("a", "a2"), ("b", "b0"), ("b", "b1"), ("c", "c0")]:
        asker.ask(caller, name)
    await settle()
    for number in range(6):
        await asker.end(asker.began[number])
    assert asker.began == ["a0", "a1", "b0", "c0", "a2", "b1"]


async def test_who_gives_up_waiting_leaves_his_place_to_the_next_one() -> None:
    asker = Asker(Turns(1))
    asker.ask("a", "a0")
    given_up, next_one = asker.ask("b", "b0"), asker.ask("b", "b1")
    await settle()
    given_up.cancel()
    await settle()
    await asker.end("a0")
    assert asker.began == ["a0", "b1"]
    await asker.end("b1")
    await next_one
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_a_turn_that_does_not_come_in_time_is_given_up() -> None:
    asker = Asker(Turns(1))
    asker.ask("a", "a0")
    with pytest.raises(TimeoutError):
        await asker.ask("b", "b0", timeout=0)
    await asker.end("a0")
    asker.ask("b", "b1")
    await settle()
    assert asker.began == ["a0", "b1"]


async def test_one_who_is_ended_while_his_turn_comes_gives_it_back() -> None:
    turns = Turns(1)
    asker = Asker(turns)
    asker.ask("a", "a0")
    waiting = asker.ask("b", "b0")
    await settle()
    asker._ends["a0"].set()
    await asyncio.sleep(0)  # a0 ends and hands its turn on
    waiting.cancel()
    await settle()
    asker.ask("c", "c0")
    await settle()
    assert asker.began[-1] == "c0"
