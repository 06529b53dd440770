"""Retention and the disk, as a service shows them."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from adapter.errors import ConfigError
from adapter.log.postgresql.log import open_postgresql_log
from adapter.log.sqlite.log import open_sqlite_log
from tests.log.conformance import remove
from tests.opened import login, opened


async def test_little_room_is_a_warning_and_an_event_and_events_are_taken(tmp_path: Path) -> None:
    async with opened(tmp_path, store={"low_disk": "100%", "full_disk": "0%"}) as service:
        status, ready = await service.get("/readyz")
        assert status == 200
        assert any("store.low_disk is 100%" in warning for warning in ready["warnings"])
        await service.post([login(1)])
        _, page = await service.get("/events", type="system.*")
        (event,) = page["events"]
        assert (event["type"], event["source"]["name"]) == ("system.DISK-LOW", "adapter")
        async with service.session.get("/metrics") as response:
            told = await response.text()
        assert 'idp_adapter_disk_room{room="low"} 1.0' in told


async def test_before_the_disk_is_full_posts_are_refused_and_readers_are_not(tmp_path: Path) -> None:
    async with opened(tmp_path, store={"full_disk": "100%"}) as service:
        async with service.session.post("/ingest/keycloak", json=login(1)) as response:
            problem = await response.json()
            assert (response.status, response.headers["Retry-After"]) == (503, "60")
            assert problem["title"] == "Disk nearly full"
        async with service.session.get("/readyz") as response:
            assert response.status == 503
        status, _ = await service.get("/quarantine")
        assert status == 200


async def test_who_does_not_prove_itself_is_not_told_of_the_disk(tmp_path: Path) -> None:
    async with opened(tmp_path, store={"full_disk": "100%"}) as service:
        headers = {"Authorization": "Bearer wrong"}
        async with service.session.post("/ingest/keycloak", json=login(1), headers=headers) as response:
            assert response.status == 401


async def test_a_page_says_how_many_entries_behind_its_cursor_were_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as service:
        await service.post([login(number) for number in range(1, 21)])
        _, first = await service.get("/events", order="log", limit="2")
        assert "removed" not in first
    async with open_sqlite_log(tmp_path / "log.sqlite") as log:
        await remove(log, until=15)
    async with opened(tmp_path, store={"keep": "10y"}) as service:
        _, page = await service.get("/events", order="log", limit="3", cursor=first["next"])
        found, removed = len(page["events"]), page["removed"]
        cursor = ""
        while page["next"] != cursor:
            cursor = page["next"]
            _, page = await service.get("/events", order="log", limit="3", cursor=cursor)
            found, removed = found + len(page["events"]), removed + page.get("removed", 0)
        assert (found, removed) == (5, 13)
        _, preview = await service.get("/retention/preview")
        assert (preview["entries"], preview["stored"], preview["first"]) == (0, 5, 16)


async def test_a_slip_in_the_types_that_are_kept_longer_is_a_warning(tmp_path: Path) -> None:
    kept = {"keep": "90d", "keep_types": [{"type": ["acess.LOGIN", "admin.*"], "keep": "7y"}]}
    async with opened(tmp_path, store=kept) as service:
        status, ready = await service.get("/readyz")
        assert status == 200
        (warning,) = [one for one in ready["warnings"] if one.startswith("store.keep_types: ")]
        assert "type=acess.LOGIN: the catalogue has no such type; did you mean access.LOGIN" in warning


async def test_events_are_kept_by_time_in_postgresql_too_and_are_found_no_more(
    tmp_path: Path, database_url: str
) -> None:
    async with opened(tmp_path, store={"url": database_url}) as service:
        await service.post([login(number) for number in range(1, 21)])
        _, page = await service.get("/events", user="user-1", limit="100")
        assert len(page["events"]) == 20
    async with open_postgresql_log(database_url) as log:
        await remove(log, until=15)
    async with opened(tmp_path, store={"url": database_url, "keep": "10y"}) as service:
        _, page = await service.get("/events", user="user-1", limit="100")
        assert len(page["events"]) == 5
        _, preview = await service.get("/retention/preview")
        assert (preview["entries"], preview["stored"], preview["first"]) == (0, 5, 16)
        await wait_for_events(database_url, 5)


async def test_a_size_is_refused_for_a_log_in_postgresql(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(ConfigError, match="kept by time"):
        async with opened(tmp_path, store={"url": database_url, "keep": "200GB"}):
            pass


def wait_for(folder: Path, events: int) -> None:
    """Wait until the search has so many events."""
    with closing(sqlite3.connect(folder / "search.sqlite")) as search:
        while search.execute("SELECT count(*) FROM event").fetchone() != (events,):
            time.sleep(0.05)


async def wait_for_events(url: str, events: int) -> None:
    """Wait until the search in a database has so many events."""
    connection = await asyncpg.connect(url)
    try:
        for _ in range(600):
            if await connection.fetchval("SELECT count(*) FROM idp_adapter.search_events_0") == events:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not {events} events after 30 s")
    finally:
        connection.terminate()
