"""Revising: later readings of events that are there, inside the transaction of whoever calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from adapter.errors import StoreError
from adapter.log.compression import Compression
from adapter.log.protocol import Revision
from adapter.log.sqlite.storing import Row, store_contents, store_entries

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
_INSERT_REVISIONS = "INSERT INTO revision (first, position) SELECT value, ?2 + key FROM json_each(?1)"


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
    the latest entry of its event, or that was removed since.

    Raises:
        StoreError: one of the positions has no entry.
    """
    (rows,) = connection.execute(_FIND, (orjson.dumps([one.first for one in revisions]).decode(),)).fetchone()
    found = [Standing(*row) for row in orjson.loads(rows)]
    if len(found) != len(revisions):
        last = "SELECT max(last, (SELECT coalesce(max(position), 0) FROM entry)) FROM extent"
        (head,) = connection.execute(last).fetchone()
        if all(0 < one.first <= head for one in revisions):
            return None
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
    rows: list[Row] = [
        (
            # The first entry that has an event is no revision of another.
            before.revision + 1 if before.is_event else 0,
            before.source,
            before.received_at,
            one.type,
            one.native_type,
            None,
            len(one.event),
        )
        for one, before in zip(revisions, standing, strict=True)
    ]
    store_entries(connection, position, bytes.fromhex("".join([one.uid for one in standing])), rows)
    connection.execute(_INSERT_REVISIONS, (orjson.dumps([one.first for one in revisions]).decode(), position))
    store_contents(connection, compression, position, [one.event for one in revisions])
