"""How far readers are: their cursors, counters and held rows. What writes does so inside the transaction of whoever
calls; what asks has a connection of its own, so that no sink waits behind a long read of entries."""

from __future__ import annotations

import sqlite3

import aiosqlite
import orjson

from adapter.errors import StoreError
from adapter.log.protocol import Held, Progress, Settlement

#: Parameter: the reader's name. The columns of `Progress`, in order.
PROGRESS = """
SELECT cursor, epoch, filter, matched, delivered, skipped,
  (SELECT count(*) FROM held WHERE reader = reader.id AND due_at IS NOT NULL),
  (SELECT count(*) FROM held WHERE reader = reader.id AND due_at IS NULL)
FROM reader WHERE name = ?
"""

_HOLD = """
INSERT INTO held (reader, position, tries, due_at, answer)
SELECT reader.id, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM reader, json_each(?2) WHERE name = ?1
ON CONFLICT (reader, position) DO UPDATE
SET tries = excluded.tries, due_at = excluded.due_at, answer = excluded.answer
"""
_RELEASE = """
DELETE FROM held WHERE reader = (SELECT id FROM reader WHERE name = ?1)
AND position IN (SELECT value FROM json_each(?2))
"""


def read_progress(connection: sqlite3.Connection, reader: str) -> Progress | None:
    """How far a reader is; ``None`` if it was never seen."""
    row = connection.execute(PROGRESS, (reader,)).fetchone()
    return None if row is None else Progress(*row)


def begin(connection: sqlite3.Connection, reader: str, cursor: int, filter: str) -> Progress:
    """Make a reader known, or begin a new epoch of one whose filter changed, as `adapter.log.protocol.Log.begin`."""
    known = read_progress(connection, reader)
    if known is None:
        row = (reader, cursor, filter)
        connection.execute("INSERT INTO reader VALUES (NULL, ?, ?, 1, ?, 0, 0, 0)", row)
    elif known.filter != filter:
        connection.execute(
            "UPDATE reader SET epoch = epoch + 1, filter = ?, matched = ?, delivered = 0, skipped = 0 WHERE name = ?",
            (filter, known.held + known.dead, reader),
        )
    else:
        return known
    progress = read_progress(connection, reader)
    assert progress is not None
    return progress


def settle(connection: sqlite3.Connection, settlement: Settlement) -> None:
    """Store one step of a reader's progress. A settlement of an earlier epoch counts for nothing, but its cursor and
    held rows hold.

    Raises:
        StoreError: the reader was never begun; nothing was stored.
    """
    name = settlement.reader
    updated = connection.execute(
        "UPDATE reader SET cursor = max(cursor, ?2), matched = matched + iif(epoch = ?3, ?4, 0),"
        " delivered = delivered + iif(epoch = ?3, ?5, 0), skipped = skipped + iif(epoch = ?3, ?6, 0) WHERE name = ?1",
        (name, settlement.cursor, settlement.epoch, settlement.matched, settlement.delivered, settlement.skipped),
    )
    if updated.rowcount != 1:
        raise StoreError(f"reader {name!r} is not known to the log; begin it first")
    if settlement.hold:
        rows = [(held.position, held.tries, held.due_at, held.answer) for held in settlement.hold]
        connection.execute(_HOLD, (name, orjson.dumps(rows).decode()))
    if settlement.release:
        connection.execute(_RELEASE, (name, orjson.dumps(list(settlement.release)).decode()))


async def ask_progress(connection: aiosqlite.Connection, reader: str) -> Progress | None:
    """`read_progress`, without holding up the event loop."""
    row = await _one(connection, PROGRESS, (reader,))
    return None if row is None else Progress(*row)


async def ask_held(
    connection: aiosqlite.Connection, reader: str, *, due_at: int | None = None, limit: int = 1000
) -> list[Held]:
    """Held rows of a reader, as `adapter.log.protocol.Log.held`."""
    due = "" if due_at is None else "AND due_at <= ?3"
    row = await _one(
        connection,
        "SELECT json_group_array(json_array(position, tries, due_at, answer)) FROM (SELECT held.* FROM held"
        f" JOIN reader ON reader.id = held.reader WHERE name = ?1 {due}"
        " ORDER BY due_at IS NULL, due_at, position LIMIT ?2)",
        (reader, limit) if due_at is None else (reader, limit, due_at),
    )
    return [] if row is None else [Held(*held) for held in orjson.loads(row[0])]


async def ask_next_due(connection: aiosqlite.Connection, reader: str) -> int | None:
    """When the soonest held row of a reader is due, epoch milliseconds."""
    due = "SELECT min(due_at) FROM held WHERE reader = (SELECT id FROM reader WHERE name = ?)"
    row = await _one(connection, due, (reader,))
    return None if row is None or row[0] is None else int(row[0])


async def _one(connection: aiosqlite.Connection, question: str, values: tuple[object, ...]) -> sqlite3.Row | None:
    return next(iter(await connection.execute_fetchall(question, values)), None)
