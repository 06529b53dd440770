"""How entries get into the search database, and what it notices about itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from adapter.filter import Filter
from adapter.search.cursor import newest
from adapter.search.query import Reader
from adapter.search.store import Keys, Overtaken, Store, Unusable, stored_address, stored_ranges
from tests.search.events import CATALOGUE, make_entry, make_event

ALL = Filter(CATALOGUE)


def found(path: Path, snapshot: int) -> list[int]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return [row.position for row in Reader(connection).by_time(ALL, 1000, newest(snapshot))]
    finally:
        connection.close()


def test_a_batch_that_the_disk_refuses_leaves_nothing_and_may_come_again(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    store = Store(path)
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


def test_of_two_fillers_one_is_told_that_the_other_was_faster(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    one, other = Store(path), Store(path)
    one.add([make_entry(1, make_event())], lambda uid, position: None)
    with pytest.raises(Overtaken):
        other.add([make_entry(1, make_event())], lambda uid, position: None)
    assert found(path, 1) == [1]
    one.close()
    other.close()


def test_a_database_goes_on_where_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    first = Store(path)
    first.add([make_entry(1, make_event(type="custom.a", time=1))], lambda uid, position: None)
    first.close()
    second = Store(path)
    assert second.position == 1
    second.add([make_entry(2, make_event(type="custom.b", time=2))], lambda uid, position: None)
    second.close()
    assert found(path, 2) == [2, 1]


def test_a_database_of_a_newer_version_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Unusable, match="of version 99"):
        Store(path)


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
    store = Store(path)
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
    assert path.stat().st_size / 5_000 < 300
