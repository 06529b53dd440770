"""How far readers are: their cursors and counters, written inside the transaction of whoever calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import orjson

from adapter.errors import StoreError
from adapter.log.protocol import Attempt, ReaderState, Settlement
from adapter.log.sqlite.notes import check_token

#: Parameter: the reader's name. The columns of `ReaderState`, in order.
PROGRESS = """
SELECT cursor, epoch, filter, matched, delivered, skipped,
  (SELECT count(*) FROM held WHERE reader = reader.id AND due_at IS NOT NULL),
  (SELECT count(*) FROM held WHERE reader = reader.id AND due_at IS NULL),
  removed,
  (SELECT min(position) FROM (
    SELECT min(position) AS position FROM held WHERE reader = reader.id AND due_at IS NOT NULL
    UNION ALL SELECT min(position) + 1 FROM blocked WHERE reader = reader.id
  )),
  since, behind, carried
FROM reader WHERE name = ?
"""

_BEGIN = """
INSERT INTO reader (name, cursor, epoch, filter, matched, delivered, skipped, since)
VALUES (?1, ?2, 1, ?3, 0, 0, 0, ?2)
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
_ADVANCE = """
UPDATE reader SET cursor = ?1 FROM json_each(?2) AS moved
WHERE name = moved.key AND cursor < ?1
AND coalesce((SELECT token FROM claim WHERE claim.name = moved.key), 0) = moved.value
"""
# The columns of `Attempt`, in order.
_TRIED = f"""
INSERT INTO attempt
SELECT reader.id, {", ".join(f"value ->> {number}" for number in range(len(Attempt._fields)))}
FROM reader, json_each(?2) WHERE name = ?1 ON CONFLICT DO NOTHING
"""
_FORGET_ATTEMPTS = """
DELETE FROM attempt WHERE reader = ?1 AND began_at < ?2 AND (began_at, position) IN (
  SELECT began_at, position FROM attempt WHERE reader = ?1 AND began_at < ?2 ORDER BY began_at, position LIMIT ?3
)
"""
_BLOCK = """
INSERT INTO blocked (reader, key, position, is_held)
SELECT reader.id, value ->> 0, value ->> 1, value ->> 2 FROM reader, json_each(?2) WHERE name = ?1
ON CONFLICT (reader, key) DO UPDATE SET position = excluded.position, is_held = excluded.is_held
"""
_UNBLOCK = """
DELETE FROM blocked WHERE reader = (SELECT id FROM reader WHERE name = ?1) AND key IN (SELECT value FROM json_each(?2))
"""


def read_progress(connection: sqlite3.Connection, reader: str) -> ReaderState | None:
    """How far a reader is; ``None`` if it was never seen."""
    row = connection.execute(PROGRESS, (reader,)).fetchone()
    return None if row is None else ReaderState(*row)


def begin(connection: sqlite3.Connection, reader: str, cursor: int, filter: str, token: int) -> ReaderState:
    """Make a reader known, or begin a new epoch of one whose filter changed, as `adapter.log.protocol.Progress.begin`.

    Raises:
        ClaimLost: ``token`` is not that of the latest claim.
    """
    check_token(connection, reader, token)
    known = read_progress(connection, reader)
    if known is None:
        row = (reader, cursor, filter)
        connection.execute(_BEGIN, row)
    elif known.filter != filter:
        connection.execute(
            "UPDATE reader SET epoch = epoch + 1, filter = ?, matched = ?, delivered = 0, skipped = 0, removed = 0,"
            " since = cursor, behind = 0, carried = ? WHERE name = ?",
            (filter, known.held + known.dead, known.held + known.dead, reader),
        )
    else:
        return known
    progress = read_progress(connection, reader)
    assert progress is not None
    return progress


def forget_reader(connection: sqlite3.Connection, reader: str, token: int) -> None:
    """Know nothing more of a reader, as `adapter.log.protocol.Progress.forget_reader`.

    Raises:
        ClaimLost: ``token`` is not that of the latest claim.
    """
    check_token(connection, reader, token)
    for table in ("held", "attempt", "blocked"):
        connection.execute(f"DELETE FROM {table} WHERE reader = (SELECT id FROM reader WHERE name = ?)", (reader,))
    connection.execute("DELETE FROM reader WHERE name = ?", (reader,))


def settle(connection: sqlite3.Connection, settlement: Settlement) -> None:
    """Store one step of a reader's progress; a second time it changes nothing. A settlement of an earlier epoch counts
    for nothing, but its cursor and held rows hold.

    Raises:
        ClaimLost: its token is not that of the latest claim; nothing was stored.
        StoreError: the reader was never begun; nothing was stored.
    """
    name = settlement.reader
    check_token(connection, name, settlement.token)
    updated = connection.execute(
        "UPDATE reader SET cursor = max(cursor, ?2), matched = max(matched, iif(epoch = ?3, ?4, 0)),"
        " delivered = max(delivered, iif(epoch = ?3, ?5, 0)), skipped = max(skipped, iif(epoch = ?3, ?6, 0)),"
        " behind = iif(epoch = ?3, ?7, behind), carried = iif(epoch = ?3, ?8, carried) WHERE name = ?1"
        # An attempt alone, such as a probe of a receiver that is down, writes no row but its own.
        " AND (cursor < ?2 OR epoch = ?3 AND"
        " (matched < ?4 OR delivered < ?5 OR skipped < ?6 OR behind <> ?7 OR carried <> ?8))",
        (
            name,
            settlement.cursor,
            settlement.epoch,
            settlement.matched,
            settlement.delivered,
            settlement.skipped,
            settlement.behind,
            settlement.carried,
        ),
    )
    if updated.rowcount != 1 and connection.execute("SELECT 1 FROM reader WHERE name = ?", (name,)).fetchone() is None:
        raise StoreError(f"reader {name!r} is not known to the log; begin it first")
    if settlement.hold:
        rows = [(held.position, held.tries, held.due_at, held.answer) for held in settlement.hold]
        connection.execute(_HOLD, (name, orjson.dumps(rows).decode()))
    if settlement.release:
        connection.execute(_RELEASE, (name, orjson.dumps(list(settlement.release)).decode()))
    if settlement.attempts:
        tried = [tuple(attempt) for attempt in settlement.attempts]
        connection.execute(_TRIED, (name, orjson.dumps(tried).decode()))
    if settlement.block:
        connection.execute(_BLOCK, (name, orjson.dumps([list(one) for one in settlement.block]).decode()))
    if settlement.unblock:
        connection.execute(_UNBLOCK, (name, orjson.dumps(list(settlement.unblock)).decode()))


def advance(connection: sqlite3.Connection, cursor: int, tokens: Mapping[str, int]) -> None:
    """Move the cursors of many readers on to one position, as `adapter.log.protocol.Progress.advance`."""
    connection.execute(_ADVANCE, (cursor, orjson.dumps(tokens).decode()))


def forget_attempts(connection: sqlite3.Connection, reader: int, before: int, limit: int) -> int:
    """Forget the earliest attempts of a reader, by its row, of those that began before then (epoch ms): how many."""
    return connection.execute(_FORGET_ATTEMPTS, (reader, before, limit)).rowcount
