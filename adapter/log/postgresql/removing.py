"""Removing what is old: in steps of one transaction each, while others append, read and revise.

As in the embedded log, what is compressed together goes apart, and a block of positions has a count of those that are
empty. What an event is known by names its uid itself, so nothing else of an entry is left behind. The rows of a month
whose entries are all gone go as a whole (`adapter.log.postgresql.schema`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from adapter.log.compression import Compression
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.reading import STRETCH, skip_removed
from adapter.log.postgresql.schema import drop_empty_months
from adapter.log.protocol import Removal, Removed, Share, Usage
from adapter.log.removal import BLOCK, Limits, divide
from adapter.log.runs import RUN_ENTRIES, split

#: Positions of one step, or keys or batches.
_STEP, _KEYS = 512, 1000

# The entries of a stretch, locked: whoever would read one of them again waits, and then finds it gone.
_NEXT = f"""
SELECT batch.first + entry.place AS position, entry.batch, entry.place, entry.run, entry.type,
  EXISTS (SELECT FROM revision WHERE revision.batch = entry.batch AND revision.place = entry.place) AS is_later
{STRETCH} ORDER BY 1 FOR UPDATE OF entry
"""
# The later entries of the events among these.
_LATER = """
SELECT revision.first, batch.first + entry.place AS position, entry.batch, entry.place, entry.run, entry.type
FROM revision JOIN batch ON batch.number = revision.batch
JOIN entry ON entry.batch = revision.batch AND entry.place = revision.place
WHERE revision.first BETWEEN $1 AND $2 ORDER BY revision.first, revision.number
"""
_GONE = "unnest($1::bigint[], $2::integer[]) AS gone (batch, place)"
_DELETE = f"DELETE FROM entry USING {_GONE} WHERE entry.batch = gone.batch AND entry.place = gone.place"
_COUNT = """
INSERT INTO gap (block, entries) SELECT * FROM unnest($1::bigint[], $2::integer[])
ON CONFLICT (block) DO UPDATE SET entries = gap.entries + excluded.entries
"""
_EMPTY = """
WITH moved AS (
  DELETE FROM batch WHERE number = ANY($1) AND NOT EXISTS (SELECT FROM entry WHERE entry.batch = batch.number)
  RETURNING number, first, entries, latest
)
INSERT INTO emptied (number, first, entries, latest) SELECT * FROM moved
"""
# Of the runs that these lie in: how many entries each had, and the places of those that are left.
_OUTLINE = """
SELECT run.batch, run.place, cardinality(run.sizes), array(
  SELECT entry.place - run.place FROM entry WHERE entry.batch = run.batch AND entry.place >= run.place
    AND entry.place < run.place + cardinality(run.sizes)
)
FROM unnest($1::bigint[], $2::integer[]) AS asked (batch, place)
JOIN {table} AS run ON run.batch = asked.batch AND run.place = asked.place
"""
_DROP = "DELETE FROM {table} AS run USING " + _GONE + " WHERE run.batch = gone.batch AND run.place = gone.place"
_CONTENT = "SELECT sizes, content FROM {table} WHERE batch = $1 AND place = $2"
_REPLACE = "UPDATE {table} SET sizes = $3, content = $4 WHERE batch = $1 AND place = $2"
_BEHIND = "SELECT name, cursor FROM reader WHERE cursor < $1 ORDER BY name FOR UPDATE"
_MISSED = "UPDATE reader SET removed = removed + $2 WHERE name = $1"

# The runs of native bytes that begin in a stretch, or before it and end there, up to a position, and how many of their
# entries are left. Parameters: after, until, position.
_RAWS = f"""
SELECT raw.batch, raw.place, (
  SELECT count(*) FROM entry WHERE entry.batch = raw.batch AND entry.place >= raw.place
    AND entry.place < raw.place + cardinality(raw.sizes)
)
FROM batch JOIN raw ON raw.batch = batch.number
WHERE batch.first >= coalesce((SELECT first FROM batch WHERE first <= $1 + 1 ORDER BY first DESC LIMIT 1), 0)
  AND batch.first <= $2 AND raw.place > $1 - batch.first - {RUN_ENTRIES} AND raw.place <= $2 - batch.first
  AND batch.first + raw.place + cardinality(raw.sizes) - 1 BETWEEN $1 + 1 AND $3
"""

# Keys of events that happened up to some time.
_KEYS_THERE = "SELECT key, batch, place FROM identity WHERE key > $1 AND key < $2 ORDER BY key LIMIT $3"
_FORGET = """
DELETE FROM identity USING unnest($1::text::uuid[], $2::bigint[], $3::integer[]) AS known (key, batch, place)
WHERE identity.key = known.key AND identity.batch = known.batch AND identity.place = known.place
  -- A batch that is neither here nor there is forgotten itself.
  AND coalesce((SELECT first FROM batch WHERE number = known.batch),
    (SELECT first FROM emptied WHERE number = known.batch), 0) + known.place <= $4
  AND NOT EXISTS (SELECT FROM entry WHERE entry.batch = known.batch AND entry.place = known.place)
"""
_FORGET_BATCHES = """
DELETE FROM emptied WHERE number IN (
  SELECT number FROM emptied WHERE first + entries - 1 <= $1 ORDER BY first LIMIT $2
)
"""

_LEFT = f"SELECT count(*) {STRETCH}"
_POSITIONS = f"SELECT batch.first + entry.place AS position {STRETCH} ORDER BY 1"
_SHARES = f"SELECT source, type, count(*), coalesce(sum(size), 0)::bigint {STRETCH} GROUP BY 1, 2"
_FIRST = """
SELECT first + (SELECT min(place) FROM entry WHERE batch = number) FROM batch ORDER BY first LIMIT 1
"""
_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind = 'r'
"""


class _Place(NamedTuple):
    """Where an entry lies."""

    position: int
    batch: int
    place: int
    #: Place of the first entry whose contents lie with those of this.
    run: int


async def remove(connection: Connection, compression: Compression, removal: Removal) -> Removed:
    """As `adapter.log.protocol.Retention.remove`."""
    limits = Limits(removal)
    async with connection.transaction():
        reached, going = await _choose(connection, removal, limits)
        if going:
            await _remove(connection, compression, going)
    return Removed(reached, len(going))


async def _choose(connection: Connection, removal: Removal, limits: Limits) -> tuple[int, list[_Place]]:
    """What goes of the next entries, in their order, and up to where that is all."""
    after = await skip_removed(connection, removal.after)
    if after is None or after >= removal.until:
        return removal.until, []
    reached = min(after + _STEP, removal.until)
    rows = await connection.fetch(_NEXT, after, reached)
    if not rows:
        return reached, []
    later: dict[int, list[tuple[_Place, str | None]]] = {}
    for first, *place, type in await connection.fetch(_LATER, rows[0]["position"], rows[-1]["position"]):
        later.setdefault(first, []).append((_Place(*place), type))
    going: list[_Place] = []
    for *place, type, is_later in rows:
        if is_later:
            continue
        here = _Place(*place)
        others = later.get(here.position, [])
        if here.position > limits.of(others[-1][1] if others else type):
            continue
        if others and others[-1][0].position > removal.had:
            reached = here.position - 1
            break
        going.append(here)
        going += [one for one, _ in others]
    return reached, sorted(going)


async def _remove(connection: Connection, compression: Compression, going: Sequence[_Place]) -> None:
    positions = [one.position for one in going]
    await connection.execute(_DELETE, [one.batch for one in going], [one.place for one in going])
    await connection.execute("DELETE FROM revision WHERE first = ANY($1)", positions)
    blocks = sorted(Counter([position // BLOCK for position in positions]).items())
    await connection.execute(_COUNT, *map(list, zip(*blocks, strict=True)))
    await connection.execute(_EMPTY, list({one.batch for one in going}))
    runs = sorted({(one.batch, one.run) for one in going})
    for table in ("event", "raw"):
        await _rewrite(connection, compression, table, runs)
    for name, cursor in await connection.fetch(_BEHIND, positions[-1]):
        await connection.execute(_MISSED, name, len(positions) - bisect_right(positions, cursor))


async def _rewrite(
    connection: Connection, compression: Compression, table: str, runs: Sequence[tuple[int, int]]
) -> None:
    """Take the contents out of their runs whose entries are gone."""
    dropped = []
    for batch, place, entries, left in await connection.fetch(_OUTLINE.format(table=table), *_columns(runs)):
        if not left:
            dropped.append((batch, place))
            continue
        if len(left) == entries:
            continue
        row = await connection.fetchrow(_CONTENT.format(table=table), batch, place)
        assert row is not None
        sizes, content = row
        kept = set(left)
        pieces = [
            piece if number in kept else b""
            for number, piece in enumerate(split(compression.decompress_one(content), sizes))
        ]
        (frame,) = compression.compress([b"".join(pieces)])
        await connection.execute(_REPLACE.format(table=table), batch, place, list(map(len, pieces)), frame)
    if dropped:
        await connection.execute(_DROP.format(table=table), *_columns(dropped))


async def remove_raw(connection: Connection, after: int, until: int) -> Removed:
    """As `adapter.log.protocol.Retention.remove_raw`. A run goes as a whole, once all of it is to go."""
    begin = await skip_removed(connection, after)
    if begin is None or begin >= until:
        return Removed(until, 0)
    reached = min(begin + _STEP, until)
    rows = await connection.fetch(_RAWS, begin, reached, until)
    if rows:
        await connection.execute(_DROP.format(table="raw"), *_columns((row["batch"], row["place"]) for row in rows))
    return Removed(reached, sum(row["count"] for row in rows))


class Forgetting:
    """Forgets step by step what removed events were known by: a pass over the keys, then over the emptied batches."""

    def __init__(self) -> None:
        #: Up to which key this pass came; ``None`` when it is through the keys.
        self._key: bytes | None = bytes(16)

    async def forget(self, connection: Connection, until: int, seconds: int) -> bool:
        """As `adapter.log.protocol.Retention.forget`."""
        last = min(seconds + 1, 0xFFFFFFFF).to_bytes(4, "big") + bytes(12)
        if self._key is None:
            more = await connection.execute(_FORGET_BATCHES, until, _KEYS) == f"DELETE {_KEYS}"
            if not more:
                self._key = bytes(16)
            return more
        if self._key == bytes(16):
            await drop_empty_months(connection)
        rows = await connection.fetch(_KEYS_THERE, self._key, last, _KEYS)
        if rows:
            keys, batches, places = zip(*rows, strict=True)
            await connection.execute(
                _FORGET, f"{{{b''.join(keys).hex(',', 16)}}}", list(batches), list(places), until
            )  # fmt: skip
        self._key = rows[-1]["key"] if len(rows) == _KEYS else None
        return True


# Asked by readers


async def count_removed(connection: Connection, after: int, until: int) -> int:
    """How many entries of a stretch were removed; ``until``: the head at most."""
    blocks, rests = divide(after, until)
    removed = 0
    if blocks:
        total = "SELECT coalesce(sum(entries), 0)::bigint FROM gap WHERE block BETWEEN $1 AND $2"
        removed += await connection.fetchval(total, blocks[0], blocks[-1])
    for first, last in rests:
        removed += last - first + 1 - await connection.fetchval(_LEFT, first - 1, last)
    return removed


async def find_left(connection: Connection, after: int, until: int) -> list[int]:
    """Positions of the entries of a stretch that were not removed, ascending."""
    return [position for (position,) in await connection.fetch(_POSITIONS, after, until)]


async def count_shares(connection: Connection, after: int, until: int) -> list[Share]:
    """As `adapter.log.protocol.Retention.shares`."""
    return [Share(*row) for row in await connection.fetch(_SHARES, after, until)]


async def read_usage(connection: Connection, head: int) -> Usage:
    """As `adapter.log.protocol.Retention.usage`; what is free in the database's files is not known."""
    first: int | None = await connection.fetchval(_FIRST)
    entries = head - await count_removed(connection, 0, head)
    size: int = await connection.fetchval(_SIZE)
    return Usage(head + 1 if first is None else first, entries, size, 0)


def _columns(places: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    listed = list(places)
    return [batch for batch, _ in listed], [place for _, place in listed]
