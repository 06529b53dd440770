"""Removing from the search database what was removed from the log.

Each part knows how many entries of its stretch were gone when it was looked at last. Where the log says that there are
more of them now, their events are deleted, so that nothing finds or counts them any more; their keys, words and values,
which cannot be deleted alone, stay until the part has not changed for a round: then it is filled again with what is
left. A part of which nothing is left goes as a whole. Names go with the part that has the last entry which says them,
unless what is left there says them, too.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from adapter.log.protocol import Events
from adapter.search.sqlite.schema import words_of

if TYPE_CHECKING:
    from adapter.search.sqlite.store import SqliteStore

#: Events of one transaction.
BATCH = 10_000


class _Part(NamedTuple):
    id: int
    removed: int
    stale: int
    first: int
    last: int


def prune(store: SqliteStore, log: Events) -> Iterator[None]:
    """Remove, step by step: whoever has something else to do does it in between.

    Raises: as `adapter.search.sqlite.store.SqliteStore.transaction`, and as `adapter.log.protocol.Events`.
    """
    for part in _parts(store):
        last = min(part.last, store.position)
        removed = log.removed(part.first - 1, last)
        if removed == part.removed and not part.stale:
            continue
        if removed == part.last - part.first + 1:
            yield from _delete(store, part, [])
            _drop(store, part)
        elif removed != part.removed:
            left = log.left(part.first - 1, last)
            yield from _delete(store, part, left, removed)
            # Where some go in every round, none is quiet: names that nothing says any more must not stay for long.
            if part.stale * 4 > len(left):
                _fill_again(store, part, log, last)
        else:
            _fill_again(store, part, log, last)
        yield


def _parts(store: SqliteStore) -> list[_Part]:
    size = store.part_size
    rows = store.rows("SELECT id, removed, stale FROM part ORDER BY id")
    return [_Part(id, removed, stale, max(id * size, 1), id * size + size - 1) for id, removed, stale in rows]


def _delete(store: SqliteStore, part: _Part, left: list[int], removed: int | None = None) -> Iterator[None]:
    """Delete the events that are not ``left``; ``removed`` entries are gone from the part then."""
    there = set(left)
    events = store.rows("SELECT position FROM event WHERE position BETWEEN ? AND ?", (part.first, part.last))
    gone = [row for row in events if row[0] not in there and row[0] <= store.position]
    for begin in range(0, len(gone), BATCH):
        some = gone[begin : begin + BATCH]
        with store.transaction() as connection:
            hours: Counter[tuple[int, int, int]] = Counter()
            hours.subtract(store.counted([position for (position,) in some]))
            store.count(hours)
            accounts = store.saying([position for (position,) in some])
            connection.executemany("DELETE FROM event WHERE position = ?", some)
            store.count_again(accounts)
            connection.executemany("DELETE FROM any_type WHERE position = ?", some)
            connection.execute("UPDATE part SET stale = stale + ? WHERE id = ?", (len(some), part.id))
        yield
    if removed is not None:
        with store.transaction() as connection:
            connection.execute("UPDATE part SET removed = ? WHERE id = ?", (removed, part.id))


def _drop(store: SqliteStore, part: _Part) -> None:
    with store.transaction() as connection:
        _clear(connection, part)
        store.forget_names(part.id)
        connection.execute("DELETE FROM part WHERE id = ?", (part.id,))


def _fill_again(store: SqliteStore, part: _Part, log: Events, last: int) -> None:
    """Keys and words of what is left, in the place of all."""
    with store.transaction() as connection:
        _clear(connection, part)
        store.forget_names(part.id)
        after = part.first - 1
        while after < last:
            entries = list(log.each(after, min(last, after + BATCH)))
            store.add_again(entries)
            after = entries[-1].position if entries else min(last, after + BATCH)
        connection.execute("UPDATE part SET stale = 0 WHERE id = ?", (part.id,))
        # What is left may all be quarantined: then the part has no words.
        none = "NOT EXISTS (SELECT 1 FROM event WHERE position BETWEEN ? AND ?)"
        connection.execute(f"DELETE FROM part WHERE id = ? AND {none}", (part.id, part.first, part.last))


def _clear(connection: sqlite3.Connection, part: _Part) -> None:
    connection.execute("DELETE FROM found_by WHERE part = ?", (part.id,))
    connection.execute(f"DROP TABLE IF EXISTS {words_of(part.id)}")
