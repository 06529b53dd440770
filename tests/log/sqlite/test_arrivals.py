"""Counting what has arrived: in stretches, and in bounded memory whatever somebody sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.log import arrivals as counting
from adapter.log.protocol import Arrivals
from adapter.log.sqlite import arrivals
from adapter.log.sqlite.log import open_sqlite_log
from tests.log.entries import new_entry


async def test_stretches_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "STRETCH", 2)
    async with open_sqlite_log(tmp_path / "log.sqlite") as log:
        await log.append([new_entry(received_at=moment) for moment in (3, 1, 5, 2, 4)])
        assert await log.arrivals() == [Arrivals("prod", "LOGIN", 5, 0, 5)]
        assert await log.arrivals(after=3) == [Arrivals("prod", "LOGIN", 2, 0, 4)]
        assert await log.arrivals(after=5) == []


async def test_more_native_types_than_any_provider_has_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "STRETCH", 2)
    monkeypatch.setattr(counting, "TYPES_LIMIT", 3)
    async with open_sqlite_log(tmp_path / "log.sqlite") as log:
        await log.append([new_entry(native_type=f"T{number}") for number in (1, 2, 3, 4, 5, 1)])
        found = await log.arrivals()
        assert sum(one.entries for one in found) == 6
        assert [one.entries for one in found if one.native_type == counting.OTHERS] == [2]
        assert len(found) == 4
