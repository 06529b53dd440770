"""The index of identities."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.log.identity import Known
from adapter.log.sqlite.index import FIND_UID, find_keys, pack_keys, store_keys
from adapter.log.sqlite.schema import connect_writing


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect_writing(tmp_path / "log.sqlite", dictionary=b"", busy_timeout=1)
    connection.execute("INSERT INTO source VALUES (1, 'prod')")
    yield connection
    connection.close()


def add_entries(connection: sqlite3.Connection, count: int) -> dict[bytes, Known]:
    """As many entries, each with a uid that is its key; some keys are shared by several events."""
    chance = random.Random(5)
    known = {}
    for position in range(1, count + 1):
        uid = chance.randbytes(16)
        size = None if position % 3 == 0 else 2
        connection.execute("INSERT INTO entry VALUES (?, ?, 0, 1, 0, NULL, NULL, '', ?)", (position, uid, size))
        numbers = chance.choice([(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (70, 900)])
        known[uid] = Known(position, uid, *numbers, quarantined=size is None)
    return known


def test_every_key_is_found_and_no_other(connection: sqlite3.Connection) -> None:
    known = add_entries(connection, 1000)
    some = dict(list(known.items())[:500])
    store_keys(connection, pack_keys(some))
    assert find_keys(connection, known) == some
    assert find_keys(connection, []) == {}


def test_what_was_stored_last_holds(connection: sqlite3.Connection) -> None:
    known = add_entries(connection, 100)
    store_keys(connection, pack_keys(known))
    for turn in range(1, 5):
        for key in list(known)[::7]:
            known[key] = known[key]._replace(taken=turn, equal=turn + 1)
        store_keys(connection, pack_keys({key: known[key] for key in list(known)[::7]}))
        assert find_keys(connection, known) == known


def test_a_uid_is_found_by_the_key_that_it_is(connection: sqlite3.Connection) -> None:
    known = add_entries(connection, 100)
    store_keys(connection, pack_keys({**known, bytes(16): Known(5, b"")}))
    for uid, one in known.items():
        assert connection.execute(FIND_UID, (uid,)).fetchone() == (one.position,)
    assert connection.execute(FIND_UID, (bytes(16),)).fetchone() is None
