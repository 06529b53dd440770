"""One search for several services over one log: one of them fills it, all of them ask."""

from __future__ import annotations

import uuid
from pathlib import Path

import asyncpg
import pytest

from adapter.errors import StoreUnavailable
from adapter.filter import Filter
from adapter.log.opening import open_store
from adapter.log.protocol import Log, NewEntry
from adapter.search.postgresql import schema
from adapter.search.search import open_search
from tests.search.events import CATALOGUE, make_entry, make_event

ALL = Filter(CATALOGUE)


async def append(log: Log, count: int) -> None:
    entries = []
    for _ in range(count):
        event = make_event()
        made = make_entry(log.head + 1, event, uid=uuid.uuid4().bytes).event
        uid = uuid.uuid4().bytes
        entry = NewEntry(
            "prod", 1_000, b"{}", "application/json", uid, None, None, 0, "LOGIN", "access.LOGIN", made, None
        )
        entries.append(entry)
    await log.append(entries)


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET search_path = idp_adapter")
        for statement in statements:
            await connection.execute(statement)
    finally:
        connection.terminate()


async def test_what_one_appended_is_found_by_another_at_once(database_url: str, tmp_path: Path) -> None:
    opening = [open_store(database_url, dictionary=bytes, commit_timeout=30.0) for _ in range(2)]
    async with (
        opening[0] as one,
        opening[1] as other,
        open_search(tmp_path / "s", one, database_url, "one", timeout=30.0) as first,
        open_search(tmp_path / "s", other, database_url, "other", timeout=30.0) as second,
    ):
        for number in range(1, 4):
            await append(other, 5)
            assert len((await second.find(ALL)).positions) == 5 * number
            await one.wait(5 * number - 1)
            assert len((await first.find(ALL)).positions) == 5 * number
        assert first.filler is not None
        assert second.filler is None


async def test_another_one_fills_when_the_first_one_ends(database_url: str, tmp_path: Path) -> None:
    opening = [open_store(database_url, dictionary=bytes, commit_timeout=30.0) for _ in range(2)]
    async with opening[0] as one, opening[1] as other:
        async with open_search(tmp_path / "s", one, database_url, "one", timeout=30.0) as first:
            await append(one, 5)
            await first.wait(5)
            begin = open_search(tmp_path / "s", other, database_url, "other", timeout=30.0)
            second = await begin.__aenter__()
        try:
            await append(other, 5)
            assert len((await second.find(ALL)).positions) == 10
            assert second.filler is not None
        finally:
            await begin.__aexit__(None, None, None)


async def test_a_search_that_was_filled_is_there_for_a_new_service(database_url: str, tmp_path: Path) -> None:
    async with open_store(database_url, dictionary=bytes, commit_timeout=30.0) as log:
        async with open_search(tmp_path / "s", log, database_url, "one", timeout=30.0) as search:
            await append(log, 5)
            await search.wait(5)
        async with open_search(tmp_path / "s", log, database_url, "two", timeout=30.0) as search:
            assert search.position == 5
    assert not (tmp_path / "s").exists()


async def test_what_a_lost_server_had_not_told_its_disk_is_filled_in_again(database_url: str, tmp_path: Path) -> None:
    async with (
        open_store(database_url, dictionary=bytes, commit_timeout=30.0) as log,
        open_search(tmp_path / "s", log, database_url, "one", timeout=30.0) as search,
    ):
        await append(log, 3)
        assert len((await search.find(ALL)).positions) == 3
        await execute(database_url, "CREATE TABLE earlier AS SELECT position, uid, received_at FROM search")
        await append(log, 3)
        assert len((await search.find(ALL)).positions) == 6
        await execute(
            database_url,
            "BEGIN; DELETE FROM search_events_0 WHERE position > 3; UPDATE search SET position = earlier.position, "
            "uid = earlier.uid, received_at = earlier.received_at FROM earlier; COMMIT",
        )
        assert len((await search.find(ALL)).positions) == 6


async def test_tables_of_an_older_version_are_built_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(database_url, dictionary=bytes, commit_timeout=30.0) as log:
        async with open_search(tmp_path / "s", log, database_url, "one", timeout=30.0) as search:
            await append(log, 3)
            await search.wait(3)
        await execute(database_url, "UPDATE search SET version = 0", "ALTER TABLE search_part DROP COLUMN kinds")
        async with open_search(tmp_path / "s", log, database_url, "one", timeout=30.0) as search:
            assert len((await search.find(ALL)).positions) == 3


async def test_tables_of_a_newer_version_are_left_alone(database_url: str, tmp_path: Path) -> None:
    async with open_store(database_url, dictionary=bytes, commit_timeout=30.0) as log:
        async with open_search(tmp_path / "s", log, database_url, "one", timeout=30.0) as search:
            await append(log, 3)
            await search.wait(3)
        await execute(database_url, f"UPDATE search SET version = {schema.VERSION + 1}")
        async with open_search(tmp_path / "s", log, database_url, "one", timeout=30.0) as search:
            with pytest.raises(StoreUnavailable, match="newer"):
                await search.find(ALL)
