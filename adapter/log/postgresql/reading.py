"""Reading entries. A position leads to its batch, the largest first position that is not beyond it, and from there to
the entry by its place. Sizes are read before contents, so that no read holds more than it may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from adapter.log.compression import Compression
from adapter.log.pieces import length_of, opened
from adapter.log.postgresql.connecting import Connection
from adapter.log.protocol import READ_SIZE, Raw, Stored
from adapter.log.runs import split
from adapter.model import Entry

#: Positions that are fetched in one statement: each may lie in a run of its own, all of which is decompressed.
_FETCHED = 128

_COLUMNS = """
SELECT {position} AS position, entry.uid, entry.revision, entry.received_at, entry.source, entry.type, entry.size,
  entry.problem, entry.native_type, entry.batch, entry.place, entry.run
"""
#: Widest stretch in which entries are looked for, positions.
_WIDEST = 10_000

#: The entries of a stretch. Parameters: after, until (both bigint).
STRETCH = """
FROM batch JOIN entry ON entry.batch = batch.number AND entry.place > $1 - batch.first
  AND entry.place <= $2 - batch.first
WHERE batch.first >= coalesce((SELECT first FROM batch WHERE first <= $1 + 1 ORDER BY first DESC LIMIT 1), 0)
  AND batch.first <= $2
"""
#: Its entries, and with what is told of their latest entries.
_READ = f"{_COLUMNS.format(position='batch.first + entry.place')} {STRETCH} ORDER BY 1"
_READ_STORED = f"""
SELECT stretch.*, coalesce(later_batch.first + later.place, stretch.position) AS latest
FROM ({_COLUMNS.format(position="batch.first + entry.place")} {STRETCH}) AS stretch
LEFT JOIN LATERAL (
  SELECT batch, place FROM revision WHERE revision.first = stretch.position ORDER BY number DESC LIMIT 1
) AS later ON true
LEFT JOIN batch AS later_batch ON later_batch.number = later.batch
ORDER BY stretch.position
"""
_SKIP = """
SELECT coalesce(
  (SELECT $1 FROM (SELECT first + entries AS next FROM batch WHERE first <= $1 + 1 ORDER BY first DESC LIMIT 1) AS here
   WHERE next > $1 + 1),
  (SELECT first - 1 FROM batch WHERE first > $1 ORDER BY first LIMIT 1)
)
"""
_AT = """
CROSS JOIN LATERAL (
  SELECT number, first FROM batch WHERE first <= asked.position ORDER BY first DESC LIMIT 1
) AS batch
JOIN entry ON entry.batch = batch.number AND entry.place = asked.position - batch.first
"""
_FETCH = f"{_COLUMNS.format(position='asked.position')} FROM unnest($1::bigint[]) AS asked (position) {_AT}"
# What was sent for an event lies with its first entry, which its uid leads to.
_RAW = f"""
SELECT raw.sizes, raw.media, raw.content, first.place - first.run AS number
FROM (SELECT $1::bigint AS position) AS asked {_AT}
JOIN identity ON identity.key = entry.uid
JOIN entry AS first ON first.batch = identity.batch AND first.place = identity.place
JOIN raw ON raw.batch = first.batch AND raw.place = first.run
"""
_LATEST = """
SELECT coalesce(later_batch.first + later.place, first_batch.first + identity.place)
FROM identity JOIN batch AS first_batch ON first_batch.number = identity.batch
LEFT JOIN LATERAL (
  SELECT batch, place FROM revision WHERE revision.first = first_batch.first + identity.place
  ORDER BY number DESC LIMIT 1
) AS later ON true
LEFT JOIN batch AS later_batch ON later_batch.number = later.batch
WHERE identity.key = $1 AND identity.uid IS NULL
  AND EXISTS (SELECT FROM entry WHERE entry.batch = identity.batch AND entry.place = identity.place)
"""
# Of the entries that stand for an event, the last one before a position.
_BEFORE = """
SELECT max(found.position) FROM identity JOIN batch AS first_batch ON first_batch.number = identity.batch
CROSS JOIN LATERAL (
  SELECT first_batch.first + identity.place AS position
  UNION ALL
  SELECT batch.first + revision.place FROM revision JOIN batch ON batch.number = revision.batch
  WHERE revision.first = first_batch.first + identity.place
) AS found
WHERE identity.key = $1 AND identity.uid IS NULL AND found.position < $2
"""
# The first batch up to which something arrived as late, and in it the first entry that did, if it is left.
_POSITION_AT = """
SELECT arrived.first + coalesce(min(entry.place), 0) - 1
FROM (
  (SELECT number, first, latest FROM batch WHERE latest >= $1 ORDER BY latest, first LIMIT 1)
  UNION ALL
  (SELECT number, first, latest FROM emptied WHERE latest >= $1 ORDER BY latest, first LIMIT 1)
  ORDER BY latest, first LIMIT 1
) AS arrived
LEFT JOIN entry ON entry.batch = arrived.number AND entry.received_at >= $1
GROUP BY arrived.first
"""
_ASKED = "FROM unnest($1::bigint[], $2::integer[]) AS asked (batch, place)"
_EVENTS = f"""
SELECT event.batch, event.place, event.sizes, event.content
{_ASKED} JOIN event ON event.batch = asked.batch AND event.place = asked.place
"""
_RAW_SIZES = f"""
SELECT raw.batch, raw.place, raw.sizes, raw.media
{_ASKED} JOIN raw ON raw.batch = asked.batch AND raw.place = asked.place
"""
_RAWS = f"""
SELECT raw.batch, raw.place, raw.sizes, raw.content
{_ASKED} JOIN raw ON raw.batch = asked.batch AND raw.place = asked.place
"""


class _Row(NamedTuple):
    """An entry without its event, and where that lies."""

    position: int
    uid: bytes
    revision: int
    received_at: int
    source: str
    type: str | None
    size: int | None
    problem: str | None
    native_type: str | None
    batch: int
    place: int
    run: int
    #: Position of the event's latest entry, where that was asked for.
    latest: int = 0


#: Where a run lies: its batch, and the place of its first entry.
_RunPlace = tuple[int, int]


async def read_entries(
    connection: Connection, compression: Compression, after: int, *, until: int, limit: int, size: int = READ_SIZE
) -> list[Entry]:
    """As `adapter.log.protocol.Log.read`; about ``size`` bytes of events at most."""
    rows = _fitting(await _stretch(connection, _READ, after, until, limit), size)
    return _entries(rows, await _contents(connection, compression, _EVENTS, rows))


async def fetch_entries(
    connection: Connection, compression: Compression, positions: Sequence[int], *, size: int
) -> list[Entry]:
    """As `adapter.log.protocol.Log.fetch`; the positions are not beyond the head."""
    found: list[Entry] = []
    for start in range(0, len(positions), _FETCHED):
        asked = positions[start : start + _FETCHED]
        by_position = {row[0]: _Row(*row) for row in await connection.fetch(_FETCH, list(set(asked)))}
        there = [by_position[position] for position in asked if position in by_position]
        rows = _fitting(there, size)
        found += _entries(rows, await _contents(connection, compression, _EVENTS, rows))
        size -= sum([row.size or 0 for row in rows])
        if size <= 0:
            break
    return found


async def read_stored(
    connection: Connection, compression: Compression, after: int, *, until: int, limit: int
) -> list[Stored]:
    """As `adapter.log.protocol.Log.read_stored`."""
    rows = _fitting(await _stretch(connection, _READ_STORED, after, until, limit), READ_SIZE)
    medias: dict[_RunPlace, str] = {}
    sizes: dict[_RunPlace, list[int]] = {}
    for batch, place, its_sizes, media in await connection.fetch(_RAW_SIZES, *_runs(rows)):
        sizes[batch, place], medias[batch, place] = its_sizes, media
    room = READ_SIZE
    for number, row in enumerate(rows):
        run = row.batch, row.run
        room -= sizes[run][row.place - row.run] if run in sizes else 0
        if room < 0 and number:
            rows = rows[:number]
            break
    entries = _entries(rows, await _contents(connection, compression, _EVENTS, rows))
    raws = await _contents(connection, compression, _RAWS, rows)
    stored = []
    for entry, row in zip(entries, rows, strict=True):
        run = row.batch, row.run
        if run not in raws:
            stored.append(Stored(entry, None, "", row.latest))
            continue
        raw = opened(raws[run][row.place - row.run], medias[run])
        stored.append(Stored(entry, raw.content, raw.media, row.latest, raw.envelope))
    return stored


async def read_raw(connection: Connection, compression: Compression, position: int, size: int | None) -> Raw | None:
    """As `adapter.log.protocol.Log.raw`; the position is not beyond the head."""
    row = await connection.fetchrow(_RAW, position)
    if row is None:
        return None
    sizes, number, media = row["sizes"], row["number"], row["media"]
    begin = sum(sizes[:number])
    end = begin + (sizes[number] if size is None else min(length_of(media, size), sizes[number]))
    return opened(compression.decompress_head(row["content"], end)[begin:end], media, size)


async def find_latest(connection: Connection, uid: bytes) -> int | None:
    """Position of the latest entry of an event."""
    found: int | None = await connection.fetchval(_LATEST, uid)
    return found


async def find_before(connection: Connection, uid: bytes, position: int) -> int | None:
    """As `adapter.log.protocol.Events.before`."""
    found: int | None = await connection.fetchval(_BEFORE, uid, position)
    return found


async def find_position_at(connection: Connection, received_at: int) -> int | None:
    """As `adapter.log.protocol.Log.position_at`; ``None``: all arrived before."""
    found: int | None = await connection.fetchval(_POSITION_AT, received_at)
    return found


async def skip_removed(connection: Connection, after: int) -> int | None:
    """Behind which position the next batch begins of which something is left, or ``after`` where that lies in one;
    ``None``: nothing more is left."""
    found: int | None = await connection.fetchval(_SKIP, after)
    return found


async def _stretch(connection: Connection, statement: str, after: int, until: int, limit: int) -> list[_Row]:
    """The next entries. Nearly always they follow each other; where some were removed, a wider stretch is read."""
    rows: list[_Row] = []
    width = limit
    while after < until and len(rows) < limit:
        end = min(until, after + width)
        found = [_Row(*row) for row in await connection.fetch(statement, after, end)]
        rows += found
        if len(found) < end - after:
            skipped = await skip_removed(connection, end)
            end, width = until if skipped is None else skipped, min(2 * width, _WIDEST)
        after = end
    return rows[:limit]


def _fitting(rows: Sequence[_Row], size: int) -> list[_Row]:
    """Those that come first, up to so many bytes of events, and at least one."""
    for number, row in enumerate(rows, 1):
        size -= row.size or 0
        if size <= 0:
            return list(rows[:number])
    return list(rows)


def _runs(rows: Iterable[_Row]) -> tuple[list[int], list[int]]:
    runs = dict.fromkeys([(row.batch, row.run) for row in rows])
    return [batch for batch, _ in runs], [place for _, place in runs]


async def _contents(
    connection: Connection, compression: Compression, statement: str, rows: Sequence[_Row]
) -> dict[_RunPlace, list[bytes]]:
    """The contents of the runs that these entries lie in."""
    if not rows:
        return {}
    found = await connection.fetch(statement, *_runs(rows))
    frames = [content for *_, content in found]
    contents = compression.decompress(b"".join(frames), list(map(len, frames)))
    return {
        (batch, place): split(content, sizes)
        for (batch, place, sizes, _), content in zip(found, contents, strict=True)
    }  # fmt: skip


def _entries(rows: Iterable[_Row], events: dict[_RunPlace, list[bytes]]) -> list[Entry]:
    return [
        Entry(
            row.position,
            row.uid,
            row.revision,
            row.received_at,
            row.source,
            row.type,
            None if row.size is None else events[row.batch, row.run][row.place - row.run],
            row.problem,
            row.native_type,
        )
        for row in rows
    ]
