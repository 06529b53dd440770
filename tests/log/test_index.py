"""The index of identities, with so little room in memory that keys move into the tree all the time."""

from __future__ import annotations

import random
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.log.identity import Known
from adapter.log.index import FIND_UID, Index
from adapter.log.schema import connect_writing


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
        connection.execute("INSERT INTO entry VALUES (?, ?, 0, 1, 0, NULL, NULL, '', NULL)", (position, uid))
        known[uid] = Known(position, uid, *chance.choice([(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (70, 900)]))
    return known


def store(connection: sqlite3.Connection, index: Index, added: dict[bytes, Known]) -> None:
    connection.execute("BEGIN")
    index.store(added)
    connection.execute("COMMIT")
    index.commit()


def some(known: dict[bytes, Known], start: int, size: int) -> dict[bytes, Known]:
    return dict(list(known.items())[start : start + size])


@pytest.mark.parametrize("size", [0, 1, 100, 400, 10_000])
def test_every_key_is_found_wherever_it_lies(connection: sqlite3.Connection, size: int) -> None:
    known = add_entries(connection, 1000)
    index = Index(connection, size)
    for start in range(0, 1000, 50):
        store(connection, index, some(known, start, 50))
        assert index.find(list(known)) == some(known, 0, start + 50)
    assert Index(connection, size).find(list(known)) == known


def test_what_changed_last_holds(connection: sqlite3.Connection) -> None:
    known = add_entries(connection, 600)
    index = Index(connection, 100)
    for start in range(0, 600, 50):
        store(connection, index, some(known, start, 50))
    for turn in range(1, 5):
        for key in list(known)[::7]:
            known[key] = known[key]._replace(taken=turn, equal=turn + 1)
        store(connection, index, {key: known[key] for key in list(known)[::7]})
        assert index.find(list(known)) == known
        assert Index(connection, 100).find(list(known)) == known


def test_what_was_rolled_back_is_not_known(connection: sqlite3.Connection) -> None:
    known = add_entries(connection, 600)
    index = Index(connection, 100)
    for start in range(0, 500, 50):
        store(connection, index, some(known, start, 50))
    connection.execute("BEGIN")
    index.store(some(known, 500, 100))
    connection.execute("ROLLBACK")
    index.roll_back()
    assert index.find(list(known)) == some(known, 0, 500)
    store(connection, index, some(known, 500, 100))
    assert index.find(list(known)) == known


def test_rows_that_are_not_needed_any_more_go(connection: sqlite3.Connection) -> None:
    known = add_entries(connection, 5000)
    index = Index(connection, 200)
    for start in range(0, 5000, 50):
        store(connection, index, some(known, start, 50))
    (rows,) = connection.execute("SELECT count(*) FROM recent").fetchone()
    # Buckets have had their turn many times over.
    assert rows < 30
    assert Index(connection, 200).find(list(known)) == known


def test_a_uid_is_found_wherever_it_lies(connection: sqlite3.Connection) -> None:
    known = add_entries(connection, 500)
    index = Index(connection, 250)
    for start in range(0, 500, 50):
        store(connection, index, some(known, start, 50))
    found = [connection.execute(FIND_UID, (uid,)).fetchone() for uid in known]
    assert found == [(known[uid].position,) for uid in known]
    assert connection.execute(FIND_UID, (uuid.uuid4().bytes,)).fetchone() is None
