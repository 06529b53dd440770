"""What was removed from the log is not found any more, and leaves nothing behind in the search."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapter.filter import Filter
from adapter.log.protocol import RetainingStore
from adapter.log.sqlite.log import open_sqlite_log
from adapter.search.cursor import BEGINNING
from adapter.search.index import ByLog
from adapter.search.sqlite.query import Asker
from adapter.search.sqlite.schema import create
from adapter.search.sqlite.store import SqliteStore, used_bytes
from tests.log.entries import quarantined_entry
from tests.search.conformance import append_logins as append
from tests.search.conformance import fill_and_prune
from tests.search.conformance import remove_from as remove
from tests.search.events import CATALOGUE

PART = 64


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[RetainingStore]:
    async with open_sqlite_log(tmp_path / "log.sqlite", dictionary=b"") as log:
        yield log


@pytest.fixture
def search(tmp_path: Path) -> Path:
    path = tmp_path / "search.sqlite"
    create(path, part_size=PART)
    return path


def filled(search: Path, log: Path, head: int) -> None:
    fill_and_prune(SqliteStore(search), log, head)


def found(search: Path, head: int, **asked: Any) -> list[int]:
    connection = sqlite3.connect(search, isolation_level=None)
    try:
        reader, filter = Asker(connection), Filter.from_settings(asked, CATALOGUE)
        return [row.position for row in reader.answer(ByLog(filter, 1000, BEGINNING, head))]
    finally:
        connection.close()


def rows(search: Path, question: str) -> list[Any]:
    connection = sqlite3.connect(search)
    try:
        return [value for (value,) in connection.execute(question)]
    finally:
        connection.close()


async def test_a_part_of_which_nothing_is_left_goes_with_its_tables(
    log: RetainingStore, search: Path, tmp_path: Path
) -> None:
    await append(log, 300, "access.LOGIN")
    filled(search, tmp_path / "log.sqlite", 300)
    assert found(search, 300, user="u-70") == [70]
    before = used_bytes(search)
    await remove(log, 255)
    filled(search, tmp_path / "log.sqlite", 300)
    assert rows(search, "SELECT id FROM part") == [4]
    assert rows(search, "SELECT count(*) FROM found_by WHERE part < 4") == [0]
    assert rows(search, "SELECT name FROM sqlite_schema WHERE name LIKE 'words!__' ESCAPE '!'") == ["words_4"]
    assert used_bytes(search) < before
    assert found(search, 300) == list(range(256, 301))
    assert found(search, 300, q="name70") == []


async def test_single_types_are_not_found_and_their_words_go_a_round_later(
    log: RetainingStore, search: Path, tmp_path: Path
) -> None:
    await append(log, 200, "access.LOGIN", "access.LOGOUT")
    filled(search, tmp_path / "log.sqlite", 200)
    await remove(log, 150, types=["access.LOGOUT"], others=0)
    left = [number for number in range(1, 201) if number % 2 == 0 or number > 150]
    for _ in range(2):
        filled(search, tmp_path / "log.sqlite", 200)
        assert found(search, 200) == left
        assert found(search, 200, q="name70") == [70]
        assert found(search, 200, q="name71") == []
        assert found(search, 200, user=["u-71", "u-72", "u-161"]) == [72, 161]
        assert found(search, 200, type="access.LOGOUT") == [number for number in left if number % 2]
    assert rows(search, "SELECT sum(stale) FROM part") == [0]
    assert rows(search, "SELECT count(DISTINCT position) FROM found_by") == [len(left)]
    assert rows(search, "SELECT count(*) FROM words_1 WHERE words_1 MATCH 'name71'") == [0]


async def test_a_part_of_which_what_is_quarantined_is_left_is_asked_for_words_no_more(
    log: RetainingStore, search: Path, tmp_path: Path
) -> None:
    await append(log, 60, "access.LOGIN")
    await log.append([quarantined_entry()])
    await append(log, 60, "access.LOGIN")
    filled(search, tmp_path / "log.sqlite", 121)
    await remove(log, 63, types=["access.*"], others=0)
    for _ in range(2):
        filled(search, tmp_path / "log.sqlite", 121)
        assert found(search, 121, q="name70") == [70]
    assert rows(search, "SELECT id FROM part") == [1]
