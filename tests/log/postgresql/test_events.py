"""The events of a log, for a process without an event loop."""

from __future__ import annotations

import asyncio

import pytest

from adapter.errors import StoreUnavailable
from adapter.log.opening import open_events, open_store
from adapter.log.protocol import EventRow, Revision
from tests.log.entries import new_entry, quarantined_entry


async def test_events_are_read_from_one_end_to_the_other(database_url: str) -> None:
    def read(until: int) -> tuple[list[EventRow], list[int | None]]:
        with open_events(database_url) as events:
            rows = list(events.each(0, until))
            return rows, [events.before(rows[0].uid, position) for position in (1, 2, until, until + 1)]

    async with open_store(database_url, dictionary=lambda: b"dictionary", commit_timeout=10) as log:
        await log.append([new_entry("a"), quarantined_entry()])
        await log.append([new_entry() for _ in range(1200)])
        await log.revise([Revision(1, 1, None, "access.LOGIN", b"{}")])
        rows, before = await asyncio.to_thread(read, log.head)
        entries = [entry for page in (0, 1000) for entry in await log.read(page)]
        assert [row.position for row in rows] == list(range(1, 1204))
        assert rows == [EventRow(one.position, one.uid, one.revision, one.received_at, one.event) for one in entries]
        assert before == [None, 1, 1, 1203]


async def test_events_are_given_in_bounded_pieces(database_url: str) -> None:
    def read() -> list[int]:
        with open_events(database_url) as events:
            return [len(row.event or b"") for row in events.each(0, 5)]

    async with open_store(database_url, dictionary=bytes, commit_timeout=10) as log:
        for _ in range(5):
            await log.append([new_entry(event=b" " * 3 * 1024 * 1024)])
        assert len(await asyncio.to_thread(read)) == 3


async def test_where_no_log_is_none_is_made(database_url: str) -> None:
    def read() -> None:
        with open_events(database_url):
            pass

    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(read)
