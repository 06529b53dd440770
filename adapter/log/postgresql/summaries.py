"""What lies in the log, in groups."""

from __future__ import annotations

from typing import Any

from adapter.log.arrivals import TYPE_LENGTH
from adapter.log.postgresql.connecting import Connection
from adapter.log.protocol import TOLD_LENGTH, Quarantine, QuarantineGroup

# What became an event since then has a later entry. Where in a text an error was found makes no group of its own.
# Parameters: names of sources and native types (null: all), limit.
_GROUPS = f"""
SELECT source, left(native_type, {TOLD_LENGTH}),
  left(split_part(problem, ': line ', 1), {TOLD_LENGTH}), count(*), min(received_at), max(received_at),
  min(batch.first + entry.place), max(batch.first + entry.place), count(*) OVER (), (sum(count(*)) OVER ())::bigint
FROM entry JOIN batch ON batch.number = entry.batch
WHERE size IS NULL AND NOT EXISTS (SELECT FROM revision WHERE revision.first = batch.first + entry.place)
  AND ($1::text[] IS NULL OR source = ANY($1)) AND ($2::text[] IS NULL OR native_type = ANY($2))
GROUP BY 1, 2, 3
ORDER BY count(*) DESC, max(batch.first + entry.place) DESC LIMIT $3
"""
# Each event once, as what it is now: not its corrections, and not what was quarantined before it could be read.
# Parameters: after, until.
_ARRIVALS = f"""
SELECT source, left(native_type, {TYPE_LENGTH}), count(*), count(*) FILTER (WHERE size IS NULL), max(received_at)
FROM batch JOIN entry ON entry.batch = batch.number AND entry.place > $1 - batch.first
  AND entry.place <= $2 - batch.first
WHERE batch.first >= coalesce((SELECT first FROM batch WHERE first <= $1 + 1 ORDER BY first DESC LIMIT 1), 0)
  AND batch.first <= $2 AND revision = 0
  AND NOT (size IS NULL AND EXISTS (SELECT FROM revision WHERE revision.first = batch.first + entry.place))
GROUP BY 1, 2
"""


async def read_quarantine(
    connection: Connection, sources: list[str] | None, native_types: list[str] | None, limit: int
) -> Quarantine:
    """As `adapter.log.protocol.Summaries.quarantine`."""
    rows = [tuple(row) for row in await connection.fetch(_GROUPS, sources, native_types, limit)]
    kinds, entries = rows[0][-2:] if rows else (0, 0)
    return Quarantine(entries, kinds, [QuarantineGroup(*row[:-2]) for row in rows])


async def count_arrivals(connection: Connection, after: int, until: int) -> list[tuple[Any, ...]]:
    """What has arrived in a stretch, as `adapter.log.arrivals.ArrivalCounts.add` takes it."""
    return [tuple(row) for row in await connection.fetch(_ARRIVALS, after, until)]
