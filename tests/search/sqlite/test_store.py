"""How entries get into the search database, and what it notices about itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from adapter.filter import Filter
from adapter.search.cursor import newest
from adapter.search.index import ByTime
from adapter.search.keys import Keys
from adapter.search.sqlite.query import Asker
from adapter.search.sqlite.schema import create, stored_address, stored_ranges
from adapter.search.sqlite.store import SqliteStore
from adapter.search.store import Unusable
from tests.search.conformance import parse
from tests.search.events import CATALOGUE, make_entry, make_event

ALL = Filter(CATALOGUE)


def found(path: Path, snapshot: int) -> list[int]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return [row.position for row in Asker(connection).answer(ByTime(ALL, 1000, newest(snapshot)))]
    finally:
        connection.close()


def test_a_batch_that_the_disk_refuses_leaves_nothing_and_may_come_again(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    store = SqliteStore(path)
    entries = [make_entry(n, make_event(type=f"custom.{n % 7}", time=n)) for n in range(1, 301)]
    store._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.add(entries, lambda uid, position: None)
    assert store.position == 0
    assert found(path, 300) == []
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.add(entries, lambda uid, position: None)
    assert found(path, 300) == list(range(300, 0, -1))
    store.close()


def test_a_database_of_a_newer_version_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Unusable, match="of version 99"):
        SqliteStore(path)


def test_two_databases_have_different_fingerprints() -> None:
    assert Keys(b"one", "a")["alice"] != Keys(b"two", "a")["alice"]
    assert Keys(b"one", "a")["alice"] == Keys(b"one", "a").fingerprint("alice") < 0
    assert Keys(b"one", "a")["alice"] != Keys(b"one", "t")["alice"]


def test_an_ipv4_address_is_a_number_and_a_range_over_both_kinds_is_two() -> None:
    mapped = bytes(10) + b"\xff\xff"
    assert stored_address(mapped + bytes([10, 0, 0, 1])) == 0x0A000001
    assert stored_address(bytes(15) + b"\x01") == bytes(15) + b"\x01"
    everything = stored_ranges(bytes(16), b"\xff" * 16)
    assert everything == [(bytes(16), b"\xff" * 16), (0, 0xFFFFFFFF)]
    assert stored_ranges(mapped + bytes(4), mapped + bytes([0, 0, 0, 255])) == [(0, 255)]


def test_what_a_login_costs_on_disk_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    store = SqliteStore(path)
    entries = [
        make_entry(
            n,
            make_event(
                time=1_795_230_294_395 + n,
                source={"receivedAt": 1_795_230_294_400 + n},
                authDetails={
                    "userId": f"6abba41c-2362-4d1c-93c7-{n % 997:012d}",
                    "username": f"user{n % 997}",
                    "clientId": "app",
                    "ipAddress": f"203.0.113.{n % 256}",
                    "sessionId": f"039729f9-eef6-4f36-b5af-{n:012d}",
                },
            ),
        )
        for n in range(1, 5_001)
    ]
    store.add(entries, lambda uid, position: None)
    store.close()
    assert path.stat().st_size / 5_000 < 350


def test_what_a_question_does_before_its_page_is_full_grows_with_no_number_of_values(tmp_path: Path) -> None:
    entries = [make_entry(n, make_event(time=n, authDetails={"userId": f"u{n}"})) for n in range(1, 20_001)]
    create(tmp_path / "search.sqlite", part_size=5_000)
    store = SqliteStore(tmp_path / "search.sqlite")
    store.add(entries, lambda uid, position: None)
    store.close()
    reader = Asker(sqlite3.connect(tmp_path / "search.sqlite", isolation_level=None))
    steps: list[int] = []

    def count(filter: Filter) -> int:
        steps.clear()
        reader.connection.set_progress_handler(lambda: steps.append(1), 1_000)
        reader.answer(ByTime(filter, 10, newest(20_000)))
        reader.connection.set_progress_handler(None, 0)
        return len(steps)

    one_by_one = 20_000 * 64 * 2 / 1_000  # what 64 users cost when each was looked for on each row
    assert count(parse(user=[f"nobody-{n}" for n in range(1_000)])) < one_by_one / 4
    assert count(parse(not_user=[f"u{n}" for n in range(1, 1_000)])) < one_by_one / 4
