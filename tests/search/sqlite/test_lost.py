"""A log that was lost is not begun anew without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.errors import ConfigError
from adapter.log.sqlite.log import open_sqlite_log
from adapter.service import open_service
from adapter.settings import Settings
from tests.opened import login, opened


def remove(folder: Path) -> None:
    for end in ("", "-wal", "-shm"):
        (folder / f"log.sqlite{end}").unlink(missing_ok=True)


async def post(folder: Path) -> None:
    async with opened(folder) as service:
        await service.post([login(1), login(2)])
        status, _ = await service.get("/events", limit="1")
        assert status == 200


async def test_a_log_that_is_missing_beside_its_search_is_not_begun_anew(tmp_path: Path) -> None:
    await post(tmp_path)
    remove(tmp_path)
    with pytest.raises(ConfigError, match=r"log\.sqlite: is missing, but .* entry 2; .* --new-log"):
        async with opened(tmp_path):
            pass
    assert not (tmp_path / "log.sqlite").exists()
    # Nor is an empty one in its place taken for it.
    async with open_sqlite_log(tmp_path / "log.sqlite", dictionary=b""):
        pass
    with pytest.raises(ConfigError, match=r"log\.sqlite: is empty"):
        async with opened(tmp_path):
            pass
    # On purpose it is.
    settings = Settings.model_validate({"data": {"folder": tmp_path}})
    async with open_service(settings, port=0, new_log=True):
        pass


async def test_a_log_of_no_bytes_is_missing(tmp_path: Path) -> None:
    await post(tmp_path)
    remove(tmp_path)
    (tmp_path / "log.sqlite").touch()
    with pytest.raises(ConfigError, match="is missing"):
        async with opened(tmp_path):
            pass


async def test_a_journal_without_its_log_is_not_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite-wal").write_bytes(b"entries")
    with pytest.raises(ConfigError, match=r"log\.sqlite-wal beside it holds entries"):
        async with opened(tmp_path):
            pass
    assert (tmp_path / "log.sqlite-wal").read_bytes() == b"entries"


async def test_a_search_that_was_thrown_away_is_no_reason(tmp_path: Path) -> None:
    await post(tmp_path)
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"search.sqlite{end}").unlink(missing_ok=True)
    async with opened(tmp_path) as service:
        assert (await service.post([login(1)]))["duplicates"] == 1
