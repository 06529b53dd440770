"""What was removed from the log is not found any more, and leaves nothing behind in the search."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapter.filter import Filter
from adapter.log.opening import file_url, open_events
from adapter.log.protocol import NewEntry, Removal, RetainingStore
from adapter.log.sqlite.log import open_sqlite_log
from adapter.search.cursor import BEGINNING, newest
from adapter.search.filler import check_origin, fill
from adapter.search.pruning import prune
from adapter.search.query import Reader
from adapter.search.store import Store as SearchStore
from adapter.search.store import Unusable, create, used_bytes
from tests.log.entries import quarantined_entry
from tests.search.events import CATALOGUE, make_entry, make_event

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


async def append(log: RetainingStore, count: int, *types: str) -> None:
    """Logins, of these types in turn, each of a person of its own."""
    entries = []
    for number in range(log.head + 1, log.head + count + 1):
        who = {"userId": f"u-{number}", "username": f"name{number}"}
        event = make_event(time=number, type=types[number % len(types)], authDetails=who)
        made = make_entry(number, event, uid=uuid.uuid4().bytes)
        entries.append(
            NewEntry(
                "prod",
                1_000 + number,
                b"{}",
                "application/json",
                made.uid,
                None,
                None,
                number,
                "LOGIN",
                event["type"],
                made.event,
                None,
            )
        )
    await log.append(entries)


async def remove(log: RetainingStore, until: int, types: Sequence[str] = (), others: int | None = None) -> None:
    after = 0
    while after < until:
        groups = [(types, until)] if types else []
        removal = Removal(after, until, groups, until if others is None else others, log.head)
        after = (await log.remove(removal)).reached


def filled(search: Path, log: Path, head: int) -> None:
    """Fill, and prune once."""
    store = SearchStore(search)
    with open_events(file_url(log)) as events:
        check_origin(store, events)
        while fill(store, events, head, batch=50):
            pass
        for _ in prune(store, events):
            pass
    store.close()


def found(search: Path, head: int, **asked: Any) -> list[int]:
    connection = sqlite3.connect(search, isolation_level=None)
    try:
        reader, filter = Reader(connection), Filter.from_settings(asked, CATALOGUE)
        by_time = [row.position for row in reader.by_time(filter, 1000, newest(head))]
        by_log = [row.position for row in reader.by_log(filter, 1000, BEGINNING, head, False)]
        assert by_log == sorted(by_time)
        return by_log
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


async def test_the_search_goes_on_behind_what_was_removed(log: RetainingStore, search: Path, tmp_path: Path) -> None:
    await append(log, 100, "access.LOGIN")
    filled(search, tmp_path / "log.sqlite", 60)
    await remove(log, 100)
    filled(search, tmp_path / "log.sqlite", 100)
    assert found(search, 100) == []
    await append(log, 10, "access.LOGIN")
    filled(search, tmp_path / "log.sqlite", 110)
    assert found(search, 110) == list(range(101, 111))


async def test_a_search_of_another_log_is_known_although_the_entry_was_removed(
    log: RetainingStore, search: Path, tmp_path: Path
) -> None:
    await append(log, 10, "access.LOGIN")
    filled(search, tmp_path / "log.sqlite", 10)
    await remove(log, 10)
    filled(search, tmp_path / "log.sqlite", 10)
    other = tmp_path / "other.sqlite"
    async with open_sqlite_log(other, dictionary=b"") as second:
        await append(second, 10, "access.LOGIN")
        await remove(second, 10)
        with pytest.raises(Unusable, match="another log"):
            filled(search, other, 10)


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
