"""How far readers are: their cursors and counters, and what is held for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapter.errors import ClaimLost, StoreError
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.works import text
from adapter.log.protocol import Attempt, BlockedKey, Held, ReaderState, Settlement

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
    behind = CASE WHEN epoch = $4 THEN $26::bigint ELSE behind END,
    carried = CASE WHEN epoch = $4 THEN $30::bigint ELSE carried END
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
tried AS (
  INSERT INTO attempt
  SELECT moved.name, one.* FROM moved, unnest(
    $13::bigint[], $14::bigint[], $15::bigint[], $16::integer[], $17::integer[], $18::text[], $19::integer[],
    $20::integer[], $21::integer[], $22::integer[], $23::integer[], $24::text[], $25::text[]
  ) AS one
  ON CONFLICT DO NOTHING
),
blocked_now AS (
  INSERT INTO blocked (reader, key, position, is_held)
  SELECT moved.name, one.* FROM moved, unnest($27::text[], $28::bigint[], $31::boolean[]) AS one
  ON CONFLICT (reader, key) DO UPDATE SET position = excluded.position, is_held = excluded.is_held
),
unblocked AS (
  DELETE FROM blocked USING moved WHERE blocked.reader = moved.name AND blocked.key = ANY($29::text[])
)
SELECT is_allowed, EXISTS (SELECT FROM moved) AS is_known FROM allowed
"""
# The claims are locked in one order, so that two services never wait for each other.
_ADVANCE = """
WITH claimed AS MATERIALIZED (
  SELECT claim.name, token FROM claim JOIN unnest($2::text[]) AS asked (name) USING (name)
  ORDER BY claim.name FOR SHARE OF claim
),
allowed AS MATERIALIZED (
  SELECT asked.name FROM unnest($2::text[], $3::bigint[]) AS asked (name, token) LEFT JOIN claimed USING (name)
  WHERE coalesce(claimed.token, 0) = asked.token
),
-- Whoever settles at the same time moves its cursor itself; nobody waits for it.
free AS MATERIALIZED (
  SELECT reader.name FROM reader JOIN allowed USING (name) WHERE cursor < $1
  ORDER BY reader.name FOR UPDATE OF reader SKIP LOCKED
)
UPDATE reader SET cursor = $1 FROM free WHERE reader.name = free.name
"""
_HELD = """
SELECT position, tries, due_at, answer FROM held
WHERE reader = $1 AND ($2::bigint IS NULL OR due_at <= $2) ORDER BY due_at, position LIMIT $3
"""
_HELD_AT = """
SELECT position, tries, due_at, answer FROM held WHERE reader = $1 AND position = ANY($2::bigint[]) ORDER BY position
"""
_ROWS = """
SELECT position, tries, due_at, answer FROM held
WHERE reader = $1 AND ($2::boolean IS NULL OR (due_at IS NULL) = $2)
  AND position > $3 AND ($4::bigint IS NULL OR position <= $4)
ORDER BY position LIMIT $5
"""
# The columns of `Attempt`, in order.
_ATTEMPTS = f"""
SELECT {", ".join(Attempt._fields)} FROM attempt
WHERE reader = $1 AND ($2::bigint IS NULL OR $2 BETWEEN position AND last)
  AND ($3::text[] IS NULL OR outcome = ANY($3)) AND ($4::integer[] IS NULL OR status = ANY($4))
  AND ($5::bigint IS NULL OR began_at >= $5) AND ($6::bigint IS NULL OR began_at < $6)
  AND ($7::bigint IS NULL OR (began_at, position) < ($7, $8::bigint))
ORDER BY began_at DESC, position DESC LIMIT $9
"""
# Of each reader: before when attempts are too many, if they are.
_OLD_ATTEMPTS = """
WITH known AS (
  SELECT name, (
    SELECT began_at FROM attempt WHERE attempt.reader = name ORDER BY began_at DESC, position DESC LIMIT 1 OFFSET $2
  ) AS beyond FROM reader
),
due AS (SELECT name, greatest($1::bigint, beyond + 1) AS until FROM known),
gone AS (
  SELECT one.reader, one.began_at, one.position FROM due CROSS JOIN LATERAL (
    SELECT * FROM attempt WHERE attempt.reader = due.name AND began_at < due.until ORDER BY began_at, position LIMIT $3
  ) AS one LIMIT $3
)
DELETE FROM attempt USING gone
WHERE attempt.reader = gone.reader AND attempt.began_at = gone.began_at AND attempt.position = gone.position
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


async def read_held_at(connection: Connection, reader: str, positions: Sequence[int]) -> list[Held]:
    """As `adapter.log.protocol.Progress.held_at`."""
    return [Held(*row) for row in await connection.fetch(_HELD_AT, text(reader), list(positions))]


async def read_rows(
    connection: Connection, reader: str, *, dead: bool | None, after: int, until: int | None, limit: int
) -> list[Held]:
    """As `adapter.log.protocol.Progress.rows`."""
    return [Held(*row) for row in await connection.fetch(_ROWS, text(reader), dead, after, until, limit)]


async def read_attempts(
    connection: Connection,
    reader: str,
    *,
    position: int | None,
    outcomes: Sequence[str] | None,
    statuses: Sequence[int] | None,
    began_from: int | None,
    began_to: int | None,
    before: tuple[int, int] | None,
    limit: int,
) -> list[Attempt]:
    """As `adapter.log.protocol.Progress.attempts`."""
    rows = await connection.fetch(
        _ATTEMPTS,
        text(reader),
        position,
        None if outcomes is None else list(map(text, outcomes)),
        None if statuses is None else list(statuses),
        began_from,
        began_to,
        *((None, None) if before is None else before),
        limit,
    )
    return [Attempt(*row) for row in rows]


async def remove_attempts(connection: Connection, *, before: int, most: int, limit: int) -> int:
    """As `adapter.log.protocol.Progress.remove_attempts`."""
    said = await connection.execute(_OLD_ATTEMPTS, before, most, limit)
    return int(said.rpartition(" ")[2])


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


async def forget_reader(connection: Connection, reader: str, token: int) -> None:
    """Know nothing more of a reader, in the transaction that runs.

    Raises:
        ClaimLost: ``token`` is not that of the latest claim; nothing was written.
    """
    if await connection.fetchval(_TOKEN, reader) != (token or None):
        raise ClaimLost(f"somebody else has claimed {reader!r}")
    await connection.execute("DELETE FROM held WHERE reader = $1", reader)
    await connection.execute("DELETE FROM attempt WHERE reader = $1", reader)
    await connection.execute("DELETE FROM blocked WHERE reader = $1", reader)
    await connection.execute("DELETE FROM reader WHERE name = $1", reader)


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
        *(list(column) for column in _columns(settlement.attempts)),
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


async def advance(connection: Connection, cursor: int, tokens: Mapping[str, int]) -> None:
    """Move the cursors of many readers on to one position, as `adapter.log.protocol.Progress.advance`, in the
    transaction that runs."""
    await connection.execute(_ADVANCE, cursor, list(tokens), list(tokens.values()))


def _columns(attempts: Sequence[Attempt]) -> Sequence[Sequence[object]]:
    """The columns of the attempts' rows."""
    if not attempts:
        return [()] * len(Attempt._fields)
    checked = [
        one._replace(outcome=text(one.outcome), excerpt=text(one.excerpt), reason=text(one.reason)) for one in attempts
    ]
    return list(zip(*checked, strict=True))
