"""Storing: rows of entries, and the bytes that belong to them, inside the transaction of whoever calls.

Each statement takes all rows at once, as one JSON array and one run of bytes: as fast as a prepared statement for each
row, and a row's blobs need no object of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import orjson

from adapter.log.compression import Compression
from adapter.log.protocol import NewEntry
from adapter.log.runs import cut

#: Of an entry: revision, number of its source, arrival, type, native type, problem, size of its event.
Row = tuple[int, int, int, str | None, str | None, str | None, int | None]
#: A run as it is stored: position of its first entry, length of each of its contents, all of them compressed.
Frame = tuple[int, list[int], bytes]

_INSERT_ENTRIES = """
INSERT INTO entry (position, uid, revision, source, received_at, type, native_type, problem, size)
SELECT ?3 + key, substr(?2, 16 * key + 1, 16), value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
  value ->> 5, value ->> 6
FROM json_each(?1)
"""
_INSERT_EVENTS = """
INSERT INTO event (position, lengths, content)
SELECT value ->> 0, value ->> 1, coalesce(substr(?2, value ->> 2, value ->> 3), x'') FROM json_each(?1)
"""
_INSERT_RAWS = """
INSERT INTO raw (position, lengths, content, media)
SELECT value ->> 0, value ->> 1, coalesce(substr(?2, value ->> 2, value ->> 3), x''), value ->> 4 FROM json_each(?1)
"""


def row_of(entry: NewEntry, source: int, size: int) -> Row:
    """The row of a new entry; ``source``: its number; ``size``: of its event, bytes, if there is one."""
    return (
        0,
        source,
        entry.received_at,
        entry.type,
        entry.native_type,
        entry.problem,
        None if entry.event is None else size,
    )


def store_entries(connection: sqlite3.Connection, position: int, uids: bytes, rows: Sequence[Row]) -> None:
    """Store the rows of entries, the first at ``position``; ``uids``: 16 bytes of each."""
    text = orjson.dumps(rows)
    if b"\\u0000" in text:
        # A text that SQLite takes out of JSON ends at a NUL.
        text = orjson.dumps(
            [[part.replace("\0", "\ufffd") if isinstance(part, str) else part for part in row] for row in rows]
        )
    connection.execute(_INSERT_ENTRIES, (text.decode(), uids, position))


def store_contents(
    connection: sqlite3.Connection,
    compression: Compression,
    position: int,
    events: Sequence[bytes],
    raws: Sequence[bytes] = (),
    media: Sequence[str] = (),
) -> None:
    """Store the events of entries (empty where there is none), the first at ``position``; and, of entries that bring
    any, the native bytes and their media types."""
    sizes = list(map(len, events))
    if raws:
        sizes = [size + len(raw) for size, raw in zip(sizes, raws, strict=True)]
    runs = list(cut(sizes, media or [""] * len(events)))
    pieces = [contents[run] for contents in (events, raws) if contents for run in runs]
    frames = compression.compress([b"".join(run) for run in pieces])
    places = [
        (position + run.start, list(map(len, piece)), frame)
        for run, piece, frame in zip(chain(runs, runs), pieces, frames, strict=False)
    ]
    store_events(connection, places[: len(runs)])
    if raws:
        store_raws(connection, places[len(runs) :], [media[run.start] for run in runs])


class PlacedEntry(NamedTuple):
    """An entry as it is written at a position that is given."""

    uid: bytes
    revision: int
    #: Number of the source.
    source: int
    received_at: int
    type: str | None
    native_type: str | None
    problem: str | None
    event: bytes | None
    #: ``None`` where it is not kept, or stands with the event's first entry.
    raw: bytes | None
    media: str


def store_stretch(
    connection: sqlite3.Connection, compression: Compression, entries: Sequence[tuple[int, PlacedEntry]]
) -> None:
    """Store entries at their positions, ascending, with holes between them."""
    # Neighbours without a hole between them, which all have native bytes of their own or none.
    for _, some in groupby(enumerate(entries), lambda one: (one[1][0] - one[0], one[1][1].raw is None)):
        numbered = [one for _, one in some]
        at, here = numbered[0][0], [entry for _, entry in numbered]
        store_entries(
            connection,
            at,
            b"".join([entry.uid for entry in here]),
            [(*entry[1:7], None if entry.event is None else len(entry.event)) for entry in here],
        )
        raws = [entry.raw for entry in here if entry.raw is not None]
        contents = [entry.event or b"" for entry in here]
        store_contents(connection, compression, at, contents, raws, [entry.media for entry in here] if raws else ())


def store_events(connection: sqlite3.Connection, runs: Sequence[Frame]) -> None:
    """Store runs of events."""
    content = b"".join([frame for _, _, frame in runs])
    connection.execute(_INSERT_EVENTS, (orjson.dumps(list(_places(runs))).decode(), content))


def store_raws(connection: sqlite3.Connection, runs: Sequence[Frame], media: Sequence[str]) -> None:
    """Store runs of native bytes, and the media type of each."""
    content = b"".join([frame for _, _, frame in runs])
    rows = [
        (*place, None if kind == "application/json" else kind) for place, kind in zip(_places(runs), media, strict=True)
    ]
    connection.execute(_INSERT_RAWS, (orjson.dumps(rows).decode(), content))


def _places(runs: Sequence[Frame]) -> Iterator[tuple[int, list[int], int, int]]:
    """What the statements take of each run: its position and lengths, and where its frame begins and how long it is."""
    start = 1
    for position, lengths, frame in runs:
        yield position, lengths, start, len(frame)
        start += len(frame)
