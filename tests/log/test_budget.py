from __future__ import annotations

import asyncio

from adapter.log.budget import Budget


async def test_whoever_finds_too_few_waits_in_order() -> None:
    budget = Budget(10)
    assert budget.take(6)
    order: list[str] = []

    async def take(name: str, size: int) -> None:
        if not budget.take(size):
            await budget.wait(size)
        order.append(name)

    waiting = [asyncio.create_task(take(name, size)) for name, size in [("a", 8), ("b", 1), ("c", 2)]]
    await asyncio.sleep(0)
    assert order == []
    assert not budget.take(1)
    budget.give(6)
    await asyncio.gather(*waiting[:2])
    assert order == ["a", "b"]
    budget.give(8)
    await waiting[2]


async def test_one_that_takes_more_than_there_is_does_so_alone() -> None:
    budget = Budget(10)
    assert budget.take(50)
    assert not budget.take(1)
    budget.give(50)
    assert budget.take(1)
    assert not budget.take(50)


async def test_who_gives_up_holds_nobody_up() -> None:
    budget = Budget(10)
    assert budget.take(10)
    first, second = (asyncio.create_task(budget.wait(size)) for size in (10, 1))
    await asyncio.sleep(0)
    first.cancel()
    budget.give(10)
    await second
    # Cancelled in the moment in which it had its turn: that is given back.
    third = asyncio.create_task(budget.wait(9))
    await asyncio.sleep(0)
    assert third.done() or budget.take(0) is not None
    third.cancel()
    await asyncio.gather(first, third, return_exceptions=True)


async def test_a_turn_that_comes_with_the_cancellation_is_given_back() -> None:
    budget = Budget(10)
    assert budget.take(10)
    waiting = asyncio.create_task(budget.wait(10))
    await asyncio.sleep(0)
    budget.give(10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert budget.take(10)
