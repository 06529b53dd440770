"""How far readers are: their cursors and counters, and what is held for them."""

from __future__ import annotations

from adapter.errors import ClaimLost, StoreError
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.works import text
from adapter.log.protocol import BlockedKey, Held, ReaderState, Settlement

# The columns of `ReaderState`, in order.
_PROGRESS = """
SELECT cursor, epoch, filter, matched, delivered, skipped,
  (SELECT count(*) FROM held WHERE reader = name AND due_at IS NOT NULL),
  (SELECT count(*) FROM held WHERE reader = name AND due_at IS NULL), removed,
  least(
    (SELECT min(position) FROM held WHERE reader = name AND due_at IS NOT NULL),
    (SELECT min(position) + 1 FROM blocked WHERE reader = name)
  ),
  since, behind, carried
FROM reader WHERE name = $1
"""
# Locked until the transaction ends: nobody takes the claim over between the check and the commit.
_TOKEN = "SELECT token FROM claim WHERE name = $1 FOR SHARE"
# One statement, so that a settlement costs one exchange: the counters only if the token is that of the latest claim,
# what is held only if the reader is known.
_SETTLE = f"""
WITH claimed AS MATERIALIZED ({_TOKEN}),
allowed AS MATERIALIZED (SELECT coalesce((SELECT token FROM claimed), 0) = $2 AS is_allowed),
moved AS (
  UPDATE reader SET cursor = greatest(cursor, $3),
    matched = greatest(matched, CASE WHEN epoch = $4 THEN $5::bigint ELSE 0 END),
    delivered = greatest(delivered, CASE WHEN epoch = $4 THEN $6::bigint ELSE 0 END),
    skipped = greatest(skipped, CASE WHEN epoch = $4 THEN $7::bigint ELSE 0 END),
    behind = CASE WHEN epoch = $4 THEN $13::bigint ELSE behind END,
    carried = CASE WHEN epoch = $4 THEN $17::bigint ELSE carried END
  WHERE name = $1 AND (SELECT is_allowed FROM allowed)
  RETURNING name
),
held_back AS (
  INSERT INTO held (reader, position, tries, due_at, answer)
  SELECT moved.name, one.* FROM moved, unnest($8::bigint[], $9::integer[], $10::bigint[], $11::text[]) AS one
  ON CONFLICT (reader, position) DO UPDATE
  SET tries = excluded.tries, due_at = excluded.due_at, answer = excluded.answer
),
released AS (
  DELETE FROM held USING moved WHERE held.reader = moved.name AND held.position = ANY($12::bigint[])
),
blocked_now AS (
  INSERT INTO blocked (reader, key, position, is_held)
  SELECT moved.name, one.* FROM moved, unnest($14::text[], $15::bigint[], $18::boolean[]) AS one
  ON CONFLICT (reader, key) DO UPDATE SET position = excluded.position, is_held = excluded.is_held
),
unblocked AS (
  DELETE FROM blocked USING moved WHERE blocked.reader = moved.name AND blocked.key = ANY($16::text[])
)
SELECT is_allowed, EXISTS (SELECT FROM moved) AS is_known FROM allowed
"""
_HELD = """
SELECT position, tries, due_at, answer FROM held
WHERE reader = $1 AND ($2::bigint IS NULL OR due_at <= $2) ORDER BY due_at, position LIMIT $3
"""
# Parameters: reader, limit.
_DEAD_REMOVED = """
SELECT position FROM held WHERE reader = $1 AND due_at IS NULL AND NOT EXISTS (
  SELECT FROM (SELECT number, first FROM batch WHERE first <= held.position ORDER BY first DESC LIMIT 1) AS its
  JOIN entry ON entry.batch = its.number AND entry.place = held.position - its.first
) ORDER BY position LIMIT $2
"""
_BLOCKED = """
SELECT key, blocked.position, is_held, CASE WHEN held.position IS NOT NULL THEN due_at IS NOT NULL END
FROM blocked LEFT JOIN held ON is_held AND held.reader = blocked.reader AND held.position = blocked.position
WHERE blocked.reader = $1 ORDER BY blocked.position, key COLLATE "C"
"""
_NEXT_DUE = "SELECT min(due_at) FROM held WHERE reader = $1"


async def read_progress(connection: Connection, reader: str) -> ReaderState | None:
    """How far a reader is; ``None`` if it was never seen."""
    row = await connection.fetchrow(_PROGRESS, text(reader))
    return None if row is None else ReaderState(*row)


async def read_held(connection: Connection, reader: str, *, due_at: int | None, limit: int) -> list[Held]:
    """As `adapter.log.protocol.Progress.held`."""
    return [Held(*row) for row in await connection.fetch(_HELD, text(reader), due_at, limit)]


async def read_dead_removed(connection: Connection, reader: str, limit: int) -> list[int]:
    """As `adapter.log.protocol.Progress.dead_removed`."""
    return [position for (position,) in await connection.fetch(_DEAD_REMOVED, text(reader), limit)]


async def read_blocked(connection: Connection, reader: str) -> list[BlockedKey]:
    """As `adapter.log.protocol.Progress.blocked`."""
    return [BlockedKey(*row) for row in await connection.fetch(_BLOCKED, text(reader))]


async def read_next_due(connection: Connection, reader: str) -> int | None:
    """When the soonest held row of a reader is due, epoch milliseconds."""
    found: int | None = await connection.fetchval(_NEXT_DUE, text(reader))
    return found


async def begin(connection: Connection, reader: str, cursor: int, filter: str, token: int) -> ReaderState:
    """Make a reader known, or begin a new epoch of one whose filter changed, in the transaction that runs.

    Raises:
        ClaimLost: ``token`` is not that of the latest claim; nothing was written.
    """
    reader, filter = text(reader), text(filter)
    if await connection.fetchval(_TOKEN, reader) != (token or None):
        raise ClaimLost(f"somebody else has claimed {reader!r}")
    await connection.execute(
        "INSERT INTO reader VALUES ($1, $2, 1, $3, 0, 0, 0, 0, $2) ON CONFLICT (name) DO UPDATE"
        " SET epoch = reader.epoch + 1, filter = excluded.filter, delivered = 0, skipped = 0, removed = 0,"
        " since = reader.cursor, behind = 0,"
        " (matched, carried) = (SELECT count(*), count(*) FROM held WHERE held.reader = excluded.name)"
        " WHERE reader.filter <> excluded.filter",
        reader,
        cursor,
        filter,
    )
    progress = await read_progress(connection, reader)
    assert progress is not None
    return progress


async def settle(connection: Connection, settlement: Settlement) -> None:
    """Store one step of a reader's progress in the transaction that runs; a second time it changes nothing. A
    settlement of an earlier epoch counts for nothing, but its cursor and held rows hold.

    Raises:
        ClaimLost: its token is not that of the latest claim; nothing was written.
        StoreError: the reader was never begun; nothing was written.
    """
    reader = text(settlement.reader)
    released = set(settlement.release)
    # One statement writes a row once: of several for one position, the last counts.
    hold = {one.position: one for one in settlement.hold if one.position not in released}.values()
    block = {text(one.key): one for one in settlement.block}
    row = await connection.fetchrow(
        _SETTLE,
        reader,
        settlement.token,
        settlement.cursor,
        settlement.epoch,
        settlement.matched,
        settlement.delivered,
        settlement.skipped,
        [one.position for one in hold],
        [one.tries for one in hold],
        [one.due_at for one in hold],
        [text(one.answer) for one in hold],
        list(released),
        settlement.behind,
        list(block),
        [one.position for one in block.values()],
        [text(key) for key in settlement.unblock],
        settlement.carried,
        [one.is_held for one in block.values()],
    )
    assert row is not None
    if not row["is_allowed"]:
        raise ClaimLost(f"somebody else has claimed {reader!r}")
    if not row["is_known"]:
        raise StoreError(f"reader {reader!r} is not known to the log; begin it first")
