"""Work in the background lasts as long as the context that runs it."""

from __future__ import annotations

import asyncio

import pytest

from adapter.tasks import in_background, to_its_end


async def test_the_work_is_cancelled_and_waited_for() -> None:
    left: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            left.append("in order")

    async with in_background(work(), "work"):
        await asyncio.sleep(0)
        assert left == []
    assert left == ["in order"]


async def test_an_error_of_the_work_surfaces_at_the_end() -> None:
    async def work() -> None:
        raise ValueError("broken")

    seen = False
    with pytest.raises(ValueError, match="broken"):
        async with in_background(work(), "work"):
            await asyncio.sleep(0)
            seen = True
    assert seen


async def test_work_that_ends_by_itself_is_no_error() -> None:
    async def work() -> None:
        pass

    async with in_background(work(), "work"):
        await asyncio.sleep(0)


async def test_cancelling_the_context_is_not_swallowed() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def outer() -> None:
        async with in_background(work(), "work"):
            await asyncio.Event().wait()

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_work_that_is_to_end_ends_although_who_waits_is_cancelled() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    left: list[str] = []

    async def work() -> None:
        begun.set()
        await may_end.wait()
        left.append("in order")

    waiting = asyncio.create_task(to_its_end(work(), "work"))
    await begun.wait()
    waiting.cancel()
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert left == ["in order"]


async def test_an_error_of_work_that_is_to_end_surfaces() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await to_its_end(work(), "work")
