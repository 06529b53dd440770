"""Forgets what sinks have tried, once it is old enough or there is too much of it: in the background, by one owner, a
little at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import structlog

from adapter.errors import StoreError
from adapter.log.protocol import Progress
from adapter.quantities import seconds_of
from adapter.retention.retaining import PACE
from adapter.settings import StoreSettings
from adapter.tasks import in_background

#: Name of the claim under which it runs.
NAME = "attempts"
#: Seconds between two looks, and rows of one step.
EVERY, STEP = 300.0, 500

_log = structlog.get_logger(__name__)


async def trim_attempts(log: Progress, *, keep: int, most: int, now: int, pace: float = PACE, step: int = STEP) -> int:
    """Forget attempts that are older than ``keep`` milliseconds, or beyond the latest ``most`` of their sink: how
    many. Between two steps of ``step`` rows it waits ``pace`` seconds."""
    gone = 0
    while removed := await log.remove_attempts(before=now - keep, most=most, limit=step):
        gone += removed
        await asyncio.sleep(pace)
    return gone


@contextlib.asynccontextmanager
async def open_trimming(
    log: Progress, settings: StoreSettings, *, clock: Callable[[], float] = time.time, every: float = EVERY
) -> AsyncIterator[None]:
    """Forget attempts in the background while the context lasts. ``clock`` gives epoch seconds."""

    async def run() -> None:
        keep = seconds_of(settings.keep_attempts) * 1000
        while True:
            try:
                now = int(clock() * 1000)
                if gone := await trim_attempts(log, keep=keep, most=settings.attempts_limit, now=now):
                    _log.info("attempts_forgotten", rows=gone)
            except StoreError as error:
                _log.warning("attempts_wait", problem=str(error))
            except Exception:
                _log.exception("attempts_failed")
            await asyncio.sleep(every)

    async with in_background(run(), "attempts"):
        yield
