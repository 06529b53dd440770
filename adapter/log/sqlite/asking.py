"""How far readers are, asked on a connection of its own, so that no sink waits behind a long read of entries."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import aiosqlite
import orjson

from adapter.log.protocol import Attempt, BlockedKey, Held, ReaderState
from adapter.log.sqlite.progress import PROGRESS

_ATTEMPTS = f"""
SELECT json_group_array(json_array({", ".join(Attempt._fields)})) FROM (
  SELECT attempt.* FROM attempt JOIN reader ON reader.id = attempt.reader
  WHERE name = ?1 AND (?2 IS NULL OR ?2 BETWEEN position AND last)
    AND (?3 IS NULL OR outcome IN (SELECT value FROM json_each(?3)))
    AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4)))
    AND began_at >= ?5 AND began_at < ?6 AND (began_at, position) < (?7, ?8)
  ORDER BY began_at DESC, position DESC LIMIT ?9
)
"""
# Of each reader: its row, and before when attempts are too many, if they are; and when the first one began.
_OLD_ATTEMPTS = """
SELECT id,
  (SELECT began_at FROM attempt WHERE attempt.reader = reader.id ORDER BY began_at DESC LIMIT 1 OFFSET ?1),
  (SELECT min(began_at) FROM attempt WHERE attempt.reader = reader.id)
FROM reader
"""
_FOR_EVER = 2**62


async def ask_progress(connection: aiosqlite.Connection, reader: str) -> ReaderState | None:
    """`read_progress`, without holding up the event loop."""
    row = await _one(connection, PROGRESS, (reader,))
    return None if row is None else ReaderState(*row)


async def ask_held(
    connection: aiosqlite.Connection, reader: str, *, due_at: int | None = None, limit: int = 1000
) -> list[Held]:
    """Held rows of a reader, as `adapter.log.protocol.Progress.held`."""
    due = "" if due_at is None else "AND due_at <= ?3"
    row = await _one(
        connection,
        "SELECT json_group_array(json_array(position, tries, due_at, answer)) FROM (SELECT held.* FROM held"
        f" JOIN reader ON reader.id = held.reader WHERE name = ?1 {due}"
        " ORDER BY due_at IS NULL, due_at, position LIMIT ?2)",
        (reader, limit) if due_at is None else (reader, limit, due_at),
    )
    return [] if row is None else [Held(*held) for held in orjson.loads(row[0])]


async def ask_held_at(connection: aiosqlite.Connection, reader: str, positions: Sequence[int]) -> list[Held]:
    """Held rows at these positions, as `adapter.log.protocol.Progress.held_at`."""
    row = await _one(
        connection,
        "SELECT json_group_array(json_array(position, tries, due_at, answer)) FROM (SELECT held.* FROM held"
        " JOIN reader ON reader.id = held.reader WHERE name = ?1"
        " AND position IN (SELECT value FROM json_each(?2)) ORDER BY position)",
        (reader, orjson.dumps(list(positions)).decode()),
    )
    return [] if row is None else [Held(*held) for held in orjson.loads(row[0])]


async def ask_rows(
    connection: aiosqlite.Connection, reader: str, dead: bool | None, after: int, until: int | None, limit: int
) -> list[Held]:
    """Held rows of a stretch, as `adapter.log.protocol.Progress.rows`."""
    row = await _one(
        connection,
        "SELECT json_group_array(json_array(position, tries, due_at, answer)) FROM (SELECT held.* FROM held"
        " JOIN reader ON reader.id = held.reader WHERE name = ?1 AND (?2 IS NULL OR (due_at IS NULL) = ?2)"
        " AND position > ?3 AND position <= ?4 ORDER BY position LIMIT ?5)",
        (reader, dead, after, _FOR_EVER if until is None else until, limit),
    )
    return [] if row is None else [Held(*held) for held in orjson.loads(row[0])]


async def ask_attempts(
    connection: aiosqlite.Connection,
    reader: str,
    position: int | None,
    outcomes: Sequence[str] | None,
    statuses: Sequence[int] | None,
    began_from: int | None,
    began_to: int | None,
    before: tuple[int, int] | None,
    limit: int,
) -> list[Attempt]:
    """Attempts that are remembered, as `adapter.log.protocol.Progress.attempts`."""
    values = (
        reader,
        position,
        None if outcomes is None else orjson.dumps(list(outcomes)).decode(),
        None if statuses is None else orjson.dumps(list(statuses)).decode(),
        -_FOR_EVER if began_from is None else began_from,
        _FOR_EVER if began_to is None else began_to,
        *((_FOR_EVER, 0) if before is None else before),
        limit,
    )
    row = await _one(connection, _ATTEMPTS, values)
    return [] if row is None else [Attempt(*one) for one in orjson.loads(row[0])]


async def ask_old_attempts(connection: aiosqlite.Connection, before: int, most: int) -> list[tuple[int, int]]:
    """Rows of readers that have attempts to be forgotten, as `adapter.log.protocol.Progress.remove_attempts`: of each
    its number, and before when they began."""
    found = []
    for reader, over, first in await connection.execute_fetchall(_OLD_ATTEMPTS, (most,)):
        until = before if over is None else max(before, over + 1)
        if first is not None and first < until:
            found.append((reader, until))
    return found


async def ask_dead_removed(connection: aiosqlite.Connection, reader: str, *, limit: int = 1000) -> list[int]:
    """Positions of dead rows whose entries are gone, as `adapter.log.protocol.Progress.dead_removed`."""
    row = await _one(
        connection,
        "SELECT json_group_array(position) FROM (SELECT held.position FROM held JOIN reader ON reader.id = held.reader"
        " WHERE name = ? AND due_at IS NULL AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.position = held.position)"
        " ORDER BY held.position LIMIT ?)",
        (reader, limit),
    )
    return [] if row is None else list(orjson.loads(row[0]))


async def ask_blocked(connection: aiosqlite.Connection, reader: str) -> list[BlockedKey]:
    """Blocked keys of a reader, as `adapter.log.protocol.Progress.blocked`."""
    row = await _one(
        connection,
        "SELECT json_group_array(json_array(key, position, is_held, row, due_at)) FROM ("
        " SELECT key, blocked.position, is_held, held.position AS row, due_at FROM blocked"
        " JOIN reader ON reader.id = blocked.reader"
        " LEFT JOIN held ON is_held AND held.reader = blocked.reader AND held.position = blocked.position"
        " WHERE name = ? ORDER BY blocked.position, key)",
        (reader,),
    )
    return (
        []
        if row is None
        else [
            BlockedKey(key, position, bool(is_held), None if held is None else due_at is not None)
            for key, position, is_held, held, due_at in orjson.loads(row[0])
        ]
    )


async def ask_next_due(connection: aiosqlite.Connection, reader: str) -> int | None:
    """When the soonest held row of a reader is due, epoch milliseconds."""
    due = "SELECT min(due_at) FROM held WHERE reader = (SELECT id FROM reader WHERE name = ?)"
    row = await _one(connection, due, (reader,))
    return None if row is None or row[0] is None else int(row[0])


async def _one(connection: aiosqlite.Connection, question: str, values: tuple[object, ...]) -> sqlite3.Row | None:
    return next(iter(await connection.execute_fetchall(question, values)), None)
