"""Reading by a process of its own: one entry after the other, the same as in stretches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapter.log.protocol import READ_SIZE
from adapter.log.sqlite.log import open_sqlite_log
from adapter.log.sqlite.reading import Reader, each_event, open_reader, read_entries
from tests.log.entries import new_entry, quarantined_entry

COUNT = 2_100


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    """Reads a log of several stretches, every seventh of whose entries, and the first hundred, are quarantined."""
    path = tmp_path / "log.sqlite"
    async with open_sqlite_log(path, dictionary=b'{"unified": ') as log:
        entries = [quarantined_entry() if n <= 100 or n % 7 == 0 else new_entry() for n in range(1, COUNT + 1)]
        for start in range(0, COUNT, 300):
            await log.append(entries[start : start + 300])
    with open_reader(path) as reader:
        yield reader


@pytest.mark.parametrize(("after", "until"), [(0, COUNT), (0, 1), (36, 37), (70, 1_999), (995, 1_005), (2_000, 9_999)])
async def test_one_by_one_they_are_what_they_are_in_a_stretch(reader: Reader, after: int, until: int) -> None:
    expected = [
        (entry.position, entry.uid, entry.revision, entry.received_at, entry.event)
        for entry in read_entries(reader, after, until=until, limit=COUNT)
    ]
    assert expected
    assert list(each_event(reader, after, until)) == expected


async def test_none_are_given_where_there_are_none(reader: Reader) -> None:
    assert list(each_event(reader, COUNT, COUNT + 5)) == []
    assert list(each_event(reader, 5, 5)) == []


async def test_large_events_end_a_reading_early(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    async with open_sqlite_log(path) as log:
        for _ in range(12):
            await log.append([new_entry(event=b'"%s"' % (b"x" * (READ_SIZE // 800))) for _ in range(100)])
    with open_reader(path) as reader:
        read = list(each_event(reader, 0, 1_200))
    assert [row.position for row in read] == list(range(1, 1_001))
