"""Revising: later readings of events that are there."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.errors import StoreError
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.packing import Standing
from adapter.log.protocol import Revision

# Of each event whose first position is asked for: its first entry, and the latest one.
_FIND = """
SELECT asked.position, first.uid, first.source, first.received_at,
  coalesce(later_batch.first + later.place, asked.position), latest.revision, latest.size IS NOT NULL,
  coalesce(later.number, 0), first.batch, first.place
FROM unnest($1::bigint[]) AS asked (position)
CROSS JOIN LATERAL (
  SELECT number, first FROM batch WHERE first <= asked.position ORDER BY first DESC LIMIT 1
) AS first_batch
JOIN entry AS first ON first.batch = first_batch.number AND first.place = asked.position - first_batch.first
LEFT JOIN LATERAL (
  SELECT number, batch, place FROM revision WHERE first = asked.position ORDER BY number DESC LIMIT 1
) AS later ON true
LEFT JOIN batch AS later_batch ON later_batch.number = later.batch
JOIN entry AS latest
  ON latest.batch = coalesce(later.batch, first.batch) AND latest.place = coalesce(later.place, first.place)
"""
# Only if all of these events are still there, and then nobody removes one of them until the transaction ends.
_INSERT = """
WITH there AS MATERIALIZED (
  SELECT FROM unnest($5::bigint[], $6::integer[]) AS asked (batch, place)
  JOIN entry ON entry.batch = asked.batch AND entry.place = asked.place
  ORDER BY asked.batch, asked.place FOR KEY SHARE OF entry
)
INSERT INTO revision (first, number, batch, place)
SELECT * FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[])
WHERE (SELECT count(*) FROM there) = cardinality($1) ON CONFLICT DO NOTHING
"""


async def find_standing(connection: Connection, firsts: Sequence[int]) -> dict[int, Standing]:
    """How the events stand whose first entries are at these positions; unknown ones are left out."""
    if not firsts:
        return {}
    return {position: Standing(*standing) for position, *standing in await connection.fetch(_FIND, sorted(set(firsts)))}


def choose(revisions: Sequence[Revision], standing: dict[int, Standing], head: int, revised: set[int]) -> bool:
    """Whether all of these revisions were made for the latest entries of their events, none of which was removed since;
    ``revised``: first positions of those that get a later entry before.

    Raises:
        StoreError: one of the positions never had an entry.
    """
    firsts = [one.first for one in revisions]
    missing = [first for first in firsts if first not in standing]
    if missing and not all(0 < first <= head for first in missing):
        raise StoreError("a revision speaks of an entry that is not in the log")
    if missing:
        return False
    is_timely = all(one.latest == standing[one.first].latest for one in revisions)
    return is_timely and len(set(firsts)) == len(firsts) and revised.isdisjoint(firsts)


async def store_revisions(
    connection: Connection, batch: int, place: int, revisions: Sequence[Revision], standing: dict[int, Standing]
) -> bool:
    """Note which events get later entries, the first at ``place``, in the transaction that runs; whether they still
    stand as they did. In their order, so that of two who revise the same ones, one waits for the other."""
    rows = sorted(
        (one.first, its.later + 1, batch, place + number, its.batch, its.place)
        for number, one in enumerate(revisions)
        for its in [standing[one.first]]
    )
    said = await connection.execute(_INSERT, *map(list, zip(*rows, strict=True)))
    return said == f"INSERT 0 {len(rows)}"
