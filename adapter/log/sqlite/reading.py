"""Reading entries: one statement and one row a call, since each row more may wait for the busy event loop.

A process without an event loop reads rows one by one with `each_event`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import orjson

from adapter.log.compression import Compression
from adapter.log.pieces import length_of, opened
from adapter.log.protocol import READ_SIZE, EventRow, Raw
from adapter.log.sqlite.index import FIND_UID
from adapter.log.sqlite.schema import READ_ERRORS, UnreadableRow, check_version, reading_uri, store_error
from adapter.model import Entry

#: Positions that are fetched in one statement: each may lie in a run of its own, all of which is decompressed.
_FETCHED = 128

# The fields of `Entry`, each as a list of its own, which costs half of a list of entries; the event's size in its
# place.
_ENTRIES = """
SELECT json_group_array(entry.position) AS positions, CAST(group_concat(entry.uid, '') AS BLOB) AS uids,
  json_group_array(entry.revision) AS revisions, json_group_array(entry.received_at) AS arrivals,
  json_group_array(source.name) AS sources, json_group_array(entry.type) AS types,
  json_group_array(entry.size) AS sizes, json_group_array(entry.problem) AS problems,
  json_group_array(entry.native_type) AS native_types
"""
# The runs that hold the events: first position, lengths of the events, length of the frame; and all frames in one.
_RUNS = """
SELECT json_group_array(json_array(position, json(lengths), length(content))) AS runs,
  CAST(group_concat(content, '') AS BLOB) AS frames FROM event
"""

#: Parameters: after, until, limit. Up to ``until`` there are no more entries than that, or else too many runs are read.
READ = f"""
SELECT * FROM ({_ENTRIES}
  FROM (SELECT * FROM entry WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3) AS entry
  JOIN source ON source.id = entry.source
), ({_RUNS}
  WHERE position >= coalesce((SELECT max(position) FROM event WHERE position <= ?1 + 1), 0) AND position <= ?2
)
"""

#: Where the entries stand that `READ` would give with these parameters: the first and the last of them (null: there are
#: none), and how many bytes of events they are.
EXTENT = """
SELECT min(position), max(position), coalesce(sum(size), 0)
FROM (SELECT position, size FROM entry WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3)
"""

#: The last one that it may give for them to stay below a fourth parameter; it costs more than to ask for their sum.
FITTING = """
SELECT max(position) FROM (
  SELECT position, sum(coalesce(size, 0)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - coalesce(size, 0)
    AS before
  FROM entry WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3
) WHERE before < ?4
"""

#: Parameter: positions as JSON.
FETCH = f"""
SELECT * FROM ({_ENTRIES}
  FROM json_each(?1) AS asked
  CROSS JOIN entry ON entry.position = asked.value JOIN source ON source.id = entry.source
), ({_RUNS}
  WHERE position IN (SELECT (SELECT max(position) FROM event WHERE position <= asked.value) FROM json_each(?1) AS asked)
)
"""

#: Parameters: positions as JSON, bytes. How many of the positions may be fetched for their events, and what stands
#: beside them, to stay below.
FETCHABLE = """
SELECT count(*) FROM (
  SELECT sum(bytes) OVER (ORDER BY key ROWS UNBOUNDED PRECEDING) - bytes AS before FROM (
    SELECT key, coalesce(size, 0) + coalesce(length(native_type), 0) + coalesce(length(problem), 0) AS bytes
    FROM json_each(?1) AS asked LEFT JOIN entry ON entry.position = asked.value
  )
) WHERE before < ?2
"""

#: Entries that `each_event` reads together.
_STRETCH = 1_000
_STRETCH_ROWS = """
SELECT position, uid, revision, received_at, size FROM entry WHERE position > ? AND position <= ? ORDER BY position
"""
_STRETCH_RUNS = """
SELECT position, lengths, content FROM event
WHERE position >= coalesce((SELECT max(position) FROM event WHERE position <= ?), 0) AND position <= ? ORDER BY position
"""


def make_entries(compression: Compression, row: tuple[str | bytes | None, ...]) -> list[Entry]:
    """The entries of the row of `READ` or `FETCH`.

    Raises:
        UnreadableRow: the rows do not fit each other.
    """
    *fields, runs, frames = row
    loaded = [orjson.loads(field or b"") for field in (fields[0], *fields[2:], runs)]
    positions, revisions, arrivals, sources, types, sizes, problems, native_types, places = loaded
    contents = compression.decompress(frames or b"", [size for _, _, size in places])  # type: ignore[arg-type]
    events = {}
    for (position, lengths, _), content in zip(places, contents, strict=True):
        start = 0
        for place, length in enumerate(lengths, position):
            events[place] = content[start : start + length]
            start += length
    uids = fields[1] or b""
    split = [uids[start : start + 16] for start in range(0, len(uids), 16)]
    try:
        made = [None if size is None else events[position] for position, size in zip(positions, sizes, strict=True)]
        columns = (positions, split, revisions, arrivals, sources, types, made, problems, native_types)
        return list(map(_entry, zip(*columns, strict=True)))
    except (KeyError, ValueError):
        raise UnreadableRow(f"entries and events at position {positions[0]} and after do not fit each other") from None


#: An `Entry` of the values of its fields.
_entry = partial(tuple.__new__, Entry)


class Reader(sqlite3.Connection):
    """A connection that reads a log; it sees what is committed, also by other processes."""

    compression: Compression


@contextmanager
def open_reader(path: Path, *, cache: int = 2048) -> Iterator[Reader]:
    """Open a log for reading, in this process or another than the one that appends. ``cache``: of pages, KiB.

    Raises:
        StoreMismatch: the file is not a log, or of a newer version.
        StoreUnavailable: it cannot be read now, or there is none.
    """
    try:
        reader = sqlite3.connect(
            reading_uri(path), uri=True, isolation_level=None, check_same_thread=False, factory=Reader
        )
    except sqlite3.Error as error:
        raise store_error(path, error) from error
    try:
        try:
            check_version(path, reader)
            reader.execute(f"PRAGMA cache_size = -{cache}")
            (dictionary,) = reader.execute("SELECT content FROM dictionary").fetchone()
        except (*READ_ERRORS, TypeError) as error:
            if isinstance(error, TypeError):  # no row of the dictionary
                error = UnreadableRow("the dictionary is missing")
            raise store_error(path, error) from error
        reader.compression = Compression(dictionary)
        yield reader
    finally:
        reader.close()


def read_entries(reader: Reader, after: int, *, until: int | None = None, limit: int = 1000) -> list[Entry]:
    """Entries with ``after < position <= until`` (``None``: to the end), ascending, at most ``limit`` of them and
    about 8 MiB of events; empty only when there are none."""
    first, last, size = reader.execute(EXTENT, (after, until if until is not None else 2**62, limit)).fetchone()
    if first is None:
        return []
    if size > READ_SIZE:
        (last,) = reader.execute(FITTING, (after, last, limit, READ_SIZE)).fetchone()
    return make_entries(reader.compression, reader.execute(READ, (first - 1, last, limit)).fetchone())


def each_event(reader: Reader, after: int, until: int) -> Iterator[EventRow]:
    """Entries with ``after < position <= until``, ascending, up to about 8 MiB of events. Few of them are in memory at
    a time, and a statement is open for a short stretch only."""
    room = READ_SIZE
    make = EventRow._make
    while after < until and room > 0:
        rows = reader.execute(f"{_STRETCH_ROWS} LIMIT {_STRETCH}", (after, until)).fetchall()
        if not rows:
            return
        left = iter(rows)
        row = next(left)
        last = rows[-1][0]
        for first, lengths, content in reader.execute(_STRETCH_RUNS, (row[0], last)):
            events, before = reader.compression.decompress_one(content), 0
            for place, length in enumerate(orjson.loads(lengths), first):
                if place == row[0]:
                    position, uid, revision, received_at, size = row
                    event = None if size is None else events[before : before + length]
                    yield make((position, uid, revision, received_at, event))
                    row = next(left, _NO_ROW)
                before += length
        room -= sum([size or 0 for *_, size in rows])
        after = last


_NO_ROW = (0, b"", 0, 0, None)


def fetch_entries(reader: Reader, positions: Sequence[int], *, size: int = READ_SIZE) -> list[Entry]:
    """The entries at these positions as `adapter.log.protocol.Log.fetch`."""
    found: list[Entry] = []
    for start in range(0, len(positions), _FETCHED):
        part = orjson.dumps(list(positions[start : start + _FETCHED])).decode()
        (fitting,) = reader.execute(FETCHABLE, (part, size)).fetchone()
        if fitting < min(_FETCHED, len(positions) - start):
            part = orjson.dumps(list(positions[start : start + fitting])).decode()
        entries = make_entries(reader.compression, reader.execute(FETCH, (part,)).fetchone())
        found += entries
        size -= sum([len(entry.event) for entry in entries if entry.event is not None])
        if size <= 0 or fitting < _FETCHED:
            break
    return found


def find_position(reader: Reader, uid: bytes) -> int | None:
    """Position of the first entry of this event."""
    row = reader.execute(FIND_UID, (uid,)).fetchone()
    return None if row is None else int(row[0])


def find_position_at(reader: Reader, received_at: int) -> int:
    """The largest position such that it and all before arrived before ``received_at`` (epoch ms); 0 if none."""
    noted = "SELECT position FROM arrival WHERE latest < ? ORDER BY latest DESC, position DESC LIMIT 1"
    (start,) = reader.execute(noted, (received_at,)).fetchone() or (0,)
    # Short: from a noted arrival to the next one.
    following = "SELECT position FROM entry WHERE position > ? AND received_at >= ? ORDER BY position LIMIT 1"
    (first,) = reader.execute(following, (start, received_at)).fetchone() or (None,)
    if first is not None:
        return int(first) - 1
    return find_head(reader)


def find_head(reader: sqlite3.Connection) -> int:
    """Position of the last entry, removed or not."""
    (last,) = reader.execute("SELECT coalesce(max(position), 0) FROM entry").fetchone()
    (removed,) = reader.execute("SELECT coalesce(max(last), 0) FROM extent").fetchone()
    return max(int(last), int(removed))


def read_raw(reader: Reader, position: int, *, size: int | None = None) -> Raw | None:
    """What the provider sent for the event of this entry as `adapter.log.protocol.Log.raw`."""
    (uid,) = reader.execute("SELECT uid FROM entry WHERE position = ?", (position,)).fetchone() or (None,)
    if uid is None:
        return None
    found = _raw_at(reader, position, size)
    if found is not None:
        return found
    first = find_position(reader, uid)
    # That of a later entry stands with the first one.
    return None if first is None or first == position else _raw_at(reader, first, size)


def _raw_at(reader: Reader, position: int, size: int | None) -> Raw | None:
    run = "SELECT position, lengths, media, content FROM raw WHERE position <= ? ORDER BY position DESC LIMIT 1"
    first, lengths, media, content = reader.execute(run, (position,)).fetchone() or (0, "[]", None, b"")
    before = orjson.loads(lengths)[: position - first + 1]
    if len(before) <= position - first:
        return None
    length = before.pop()
    media = media or "application/json"
    begin, end = sum(before), sum(before) + (length if size is None else min(length, length_of(media, size)))
    return opened(reader.compression.decompress_head(content, end)[begin:end], media, size)
