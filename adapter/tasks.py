"""Work in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """A task that runs while the context lasts; cancelled at its end, and waited for.

    Raises:
        Exception: at the end, the one by which the task ended before.
    """
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def to_its_end(work: Coroutine[Any, Any, None], name: str) -> None:
    """Do some work that is not to be broken off, such as ending others: whoever is cancelled meanwhile is when it is
    done.

    Raises:
        Exception: of the work.
    """
    task = asyncio.create_task(work, name=name)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def is_ending() -> bool:
    """Whether somebody ends the present task; what it calls may raise the same by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
