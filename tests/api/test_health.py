import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from adapter.access import Access
from adapter.api.app import make_app
from adapter.api.health import HealthPages
from adapter.api.operation import BodyReading
from adapter.errors import StoreDamaged
from adapter.log.protocol import Store
from adapter.log.sqlite.log import open_sqlite_log
from adapter.sources.budget import Budget
from tests.log.entries import new_entry

Client = TestClient[web.Request, web.Application]

BODIES = BodyReading(Budget(10_000), 1000, 60)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_sqlite_log(tmp_path / "log.sqlite", busy_timeout=0.01) as log:
        yield log


async def test_ready_means_that_the_store_can_write(
    log: Store, tmp_path: Path, aiohttp_client: Callable[[web.Application], Awaitable[Client]]
) -> None:
    client = await aiohttp_client(make_app(Access([]), HealthPages(log, lifetime=0).operations(), BODIES))
    assert (await client.get("/readyz")).status == 200

    other = sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)
    other.execute("begin immediate")
    refused = await client.get("/readyz")
    assert refused.status == 503
    assert refused.content_type == "application/problem+json"
    assert refused.headers["Retry-After"]
    assert "database is locked" in await refused.text()
    assert str(tmp_path) not in await refused.text()
    assert (await client.get("/healthz")).status == 200

    other.execute("rollback")
    other.close()
    assert (await client.get("/readyz")).status == 200


async def test_one_trial_answers_all_who_ask_within_its_lifetime(
    log: Store, tmp_path: Path, aiohttp_client: Callable[[web.Application], Awaitable[Client]]
) -> None:
    client = await aiohttp_client(make_app(Access([]), HealthPages(log, lifetime=3600).operations(), BODIES))
    assert (await client.get("/readyz")).status == 200
    other = sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)
    other.execute("begin immediate")
    assert (await client.get("/readyz")).status == 200
    other.close()


async def test_a_damaged_log_is_not_ready_and_names_its_file(
    log: Store, tmp_path: Path, aiohttp_client: Callable[[web.Application], Awaitable[Client]]
) -> None:
    # Damage is believed at once, however long ago the store was tried.
    client = await aiohttp_client(make_app(Access([]), HealthPages(log, lifetime=3600).operations(), BODIES))
    assert (await client.get("/readyz")).status == 200
    (tmp_path / "log.sqlite-wal").unlink()
    with pytest.raises(StoreDamaged):
        await log.append([new_entry()])
    refused = await client.get("/readyz")
    assert refused.status == 503
    detail = (await refused.json(content_type=None))["detail"]
    assert "damaged" in detail
    assert "log.sqlite-wal: removed" in detail
    assert str(tmp_path) not in detail
    assert (await client.get("/healthz")).status == 200


async def test_a_writer_that_does_nothing_is_not_ready(
    tmp_path: Path,
    aiohttp_client: Callable[[web.Application], Awaitable[Client]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapter.log.sqlite.log.TRIAL_TIMEOUT", 0.2)
    async with open_sqlite_log(tmp_path / "log.sqlite") as log:
        client = await aiohttp_client(make_app(Access([]), HealthPages(log, lifetime=0).operations(), BODIES))
        assert log.writer_id is not None
        os.kill(log.writer_id, signal.SIGSTOP)
        refused = await client.get("/readyz")
        assert refused.status == 503
        assert "has not answered" in (await refused.json(content_type=None))["detail"]
        assert (await client.get("/healthz")).status == 200
        os.kill(log.writer_id, signal.SIGCONT)
        await log.append([new_entry()])
        assert (await client.get("/readyz")).status == 200
