"""Counting what is quarantined."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.log.sqlite.log import open_sqlite_log
from tests.log.entries import quarantined_entry


async def test_a_count_that_takes_too_long_is_given_up_and_long_names_are_told_by_their_beginning(
    tmp_path: Path,
) -> None:
    async with open_sqlite_log(tmp_path / "log.sqlite") as log:
        await log.append([quarantined_entry(native_type=f"{number}") for number in range(3_000)])
        await log.append([quarantined_entry(native_type="x" * 1_000_000, problem="y" * 1_000_000) for _ in range(2)])
        with pytest.raises(TimeoutError):
            await log.quarantine(timeout=0)
        found = await log.quarantine(timeout=60, limit=1)
        assert (found.entries, found.kinds) == (3_002, 3_001)
        assert (len(found.groups[0].native_type or ""), len(found.groups[0].problem)) == (1_000, 1_000)
        [counted, *_] = await log.arrivals()
        assert (counted.native_type, counted.entries) == ("x" * 200, 2)
