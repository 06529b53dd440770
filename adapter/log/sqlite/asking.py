"""How far readers are, asked on a connection of its own, so that no sink waits behind a long read of entries."""

from __future__ import annotations

import sqlite3

import aiosqlite
import orjson

from adapter.log.protocol import BlockedKey, Held, ReaderState
from adapter.log.sqlite.progress import PROGRESS


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
