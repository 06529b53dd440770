"""What sinks have tried is forgotten: what is old, and what is too much, a little at a time."""

from __future__ import annotations

import asyncio
from typing import Any

from adapter.log.memory import open_memory_log
from adapter.log.protocol import Attempt, Settlement, Store
from adapter.retention.attempts import open_trimming, trim_attempts
from adapter.settings import StoreSettings

DAY = 86_400_000


async def remember(log: Store, reader: str, *times: int) -> None:
    await log.begin(reader, 0, "f")
    rows = [Attempt(one, 1, 1, 1, 1, "held", 503, None, None, 1, 1, "", "no") for one in times]
    await log.settle(Settlement(reader, 1, 0, attempts=rows))


async def left(log: Store, reader: str) -> list[int]:
    return [one.began_at for one in await log.attempts(reader, limit=10_000)]


class Stepped:
    """A log that tells how many rows each step forgot."""

    def __init__(self, log: Store) -> None:
        self._log = log
        self.steps: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def remove_attempts(self, *, before: int, most: int, limit: int = 500) -> int:
        self.steps.append(await self._log.remove_attempts(before=before, most=most, limit=limit))
        return self.steps[-1]


async def test_no_step_forgets_more_than_a_few() -> None:
    async with open_memory_log() as log:
        await remember(log, "sink:a", *range(1, 36))
        await remember(log, "sink:b", *range(1, 6), 50)
        stepped = Stepped(log)
        gone = await trim_attempts(stepped, keep=10, most=100, now=41, pace=0, step=8)
        assert gone == 35
        assert stepped.steps == [8, 8, 8, 8, 3, 0]
        assert (await left(log, "sink:a"), await left(log, "sink:b")) == ([35, 34, 33, 32, 31], [50])


async def test_each_sink_keeps_its_latest() -> None:
    async with open_memory_log() as log:
        await remember(log, "sink:busy", *range(1, 500))
        await remember(log, "sink:quiet", 3, 4)
        assert await trim_attempts(log, keep=10_000, most=100, now=500, pace=0) == 399
        assert await left(log, "sink:busy") == list(range(499, 399, -1))
        assert await left(log, "sink:quiet") == [4, 3]


async def test_it_goes_by_the_settings() -> None:
    settings = StoreSettings.model_validate({"keep_attempts": "2d"})
    async with open_memory_log() as log:
        await remember(log, "sink:a", 1 * DAY, 8 * DAY, 9 * DAY)
        async with open_trimming(log, settings, clock=lambda: 10 * 86_400.0, every=0.01):
            async with asyncio.timeout(60):
                while True:
                    if len(await left(log, "sink:a")) == 2:
                        break
                    await asyncio.sleep(0.005)
        assert await left(log, "sink:a") == [9 * DAY, 8 * DAY]


async def test_thirty_days_and_ten_thousand_are_kept_where_nothing_is_said() -> None:
    assert (StoreSettings().keep_attempts, StoreSettings().attempts_limit) == ("30d", 10_000)
