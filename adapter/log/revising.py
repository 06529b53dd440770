"""Revising: later readings of events that are there, inside the transaction of whoever calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from adapter.errors import StoreError
from adapter.log.compression import Compression
from adapter.log.protocol import Note, Revision

#: As of those that are appended: so many events are compressed together, unless they are longer than this, bytes.
RUN_EVENTS = 32
RUN_SIZE = 128 * 1024

# Of each event whose first position is asked for: its first entry, and the latest one.
_FIND = """
SELECT json_group_array(json_array(hex(first.uid), first.source, first.received_at, latest.position, latest.revision,
  latest.size IS NOT NULL))
FROM json_each(?1) AS asked
CROSS JOIN entry AS first ON first.position = asked.value
CROSS JOIN entry AS latest ON latest.position = coalesce(
  (SELECT max(revision.position) FROM revision WHERE revision.first = asked.value), asked.value
)
"""
_INSERT_ENTRIES = """
INSERT INTO entry (position, uid, revision, source, received_at, type, native_type, problem, size)
SELECT ?3 + key, substr(?2, 16 * key + 1, 16), value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, NULL,
  value ->> 5
FROM json_each(?1)
"""
_INSERT_EVENTS = """
INSERT INTO event (position, lengths, content)
SELECT value ->> 0, value ->> 1, substr(?2, value ->> 2, value ->> 3) FROM json_each(?1)
"""
_INSERT_REVISIONS = "INSERT INTO revision (first, position) SELECT value, ?2 + key FROM json_each(?1)"
_KEEP = "INSERT INTO note (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = excluded.text"


class Standing(NamedTuple):
    """An event as it stands in the log."""

    #: Of its first entry, which all others take over: uid as hex, number of the source, arrival.
    uid: str
    source: int
    received_at: int
    #: Of its latest entry; whether that has an event.
    position: int
    revision: int
    is_event: bool


def find_standing(connection: sqlite3.Connection, revisions: Sequence[Revision]) -> list[Standing] | None:
    """How the events stand that these revisions speak of, in order; ``None`` if one of the revisions was not made for
    the latest entry of its event.

    Raises:
        StoreError: one of the positions has no entry.
    """
    (rows,) = connection.execute(_FIND, (orjson.dumps([one.first for one in revisions]).decode(),)).fetchone()
    found = [Standing(*row) for row in orjson.loads(rows)]
    if len(found) != len(revisions):
        raise StoreError("a revision speaks of an entry that is not in the log")
    timely = all(one.latest == standing.position for one, standing in zip(revisions, found, strict=True))
    return found if timely and len({one.first for one in revisions}) == len(revisions) else None


def store_revisions(
    connection: sqlite3.Connection,
    compression: Compression,
    position: int,
    revisions: Sequence[Revision],
    standing: Sequence[Standing],
) -> None:
    """Store the revisions, the first of them at ``position``."""
    rows = [
        (
            # The first entry that has an event is no revision of another.
            before.revision + 1 if before.is_event else 0,
            before.source,
            before.received_at,
            _whole(one.type),
            None if one.native_type is None else _whole(one.native_type),
            len(one.event),
        )
        for one, before in zip(revisions, standing, strict=True)
    ]
    uids = bytes.fromhex("".join([one.uid for one in standing]))
    connection.execute(_INSERT_ENTRIES, (orjson.dumps(rows).decode(), uids, position))
    connection.execute(_INSERT_REVISIONS, (orjson.dumps([one.first for one in revisions]).decode(), position))
    runs = list(_runs([one.event for one in revisions]))
    frames = compression.compress([b"".join(run) for run in runs])
    places, start = [], 1
    for run, frame in zip(runs, frames, strict=True):
        places.append((position, list(map(len, run)), start, len(frame)))
        position, start = position + len(run), start + len(frame)
    connection.execute(_INSERT_EVENTS, (orjson.dumps(places).decode(), b"".join(frames)))


def keep_note(connection: sqlite3.Connection, note: Note) -> None:
    """Keep a note in the place of the one before it."""
    connection.execute(_KEEP, note)


def _whole(text: str) -> str:
    # A text that SQLite takes out of JSON ends at a NUL.
    return text.replace("\0", "\ufffd")


def _runs(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    run: list[bytes] = []
    room = RUN_SIZE
    for event in events:
        if run and (len(run) == RUN_EVENTS or room < len(event)):
            yield run
            run, room = [], RUN_SIZE
        run.append(event)
        room -= len(event)
    if run:
        yield run
