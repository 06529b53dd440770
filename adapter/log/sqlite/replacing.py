"""Replacing what entries hold, inside the transaction of whoever calls: a secret is taken out of what is stored.

A run in which something changes is written anew. SQLite overwrites what was there with zeros (`secure_delete`); the WAL
has it until it is cut off (`wipe`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from adapter.log.compression import Compression
from adapter.log.pieces import piece_like
from adapter.log.protocol import Replacement
from adapter.log.runs import split

#: How long those who read are waited for, milliseconds: appends wait meanwhile.
_PATIENCE = 100

_THERE = "SELECT entry.position FROM json_each(?) AS asked JOIN entry ON entry.position = asked.value ORDER BY 1"
_CHANGE = "UPDATE entry SET type = ?, native_type = ?, problem = ?, size = ? WHERE position = ?"
_RUN = "SELECT position, lengths, content, {media} FROM {table} WHERE position <= ? ORDER BY position DESC LIMIT 1"


def replace(connection: sqlite3.Connection, compression: Compression, replacements: Sequence[Replacement]) -> list[int]:
    """Store what these entries, ascending, hold from now on; positions of those that are there."""
    asked = orjson.dumps([one.position for one in replacements]).decode()
    there = {position for (position,) in connection.execute(_THERE, (asked,))}
    changed = [one for one in replacements if one.position in there]
    connection.executemany(
        _CHANGE,
        [
            (one.type, one.native_type, one.problem, None if one.event is None else len(one.event), one.position)
            for one in changed
        ],
    )
    events = {one.position: (one.event, b"") for one in changed if one.event is not None}
    raws = {one.position: (one.raw, one.envelope) for one in changed if one.raw is not None}
    _rewrite(connection, compression, "event", events)
    _rewrite(connection, compression, "raw", raws)
    return sorted(there)


def _rewrite(
    connection: sqlite3.Connection,
    compression: Compression,
    table: str,
    contents: Mapping[int, tuple[bytes, bytes]],
) -> None:
    """Put contents, by position and each with what it came in, into their runs."""
    find = _RUN.format(table=table, media="media" if table == "raw" else "NULL")
    waiting = sorted(contents, reverse=True)
    while waiting:
        found = connection.execute(find, (waiting[-1],)).fetchone()
        if found is None:
            waiting.pop()
            continue
        first, lengths, content, media = found
        lengths = orjson.loads(lengths)
        if waiting[-1] - first >= len(lengths):
            waiting.pop()  # not kept
            continue
        pieces = split(compression.decompress_one(content), lengths)
        while waiting and waiting[-1] - first < len(pieces):
            position = waiting.pop()
            pieces[position - first] = piece_like(media or "", *contents[position])
        (frame,) = compression.compress([b"".join(pieces)])
        values = (orjson.dumps(list(map(len, pieces))).decode(), frame, first)
        connection.execute(f"UPDATE {table} SET lengths = ?, content = ? WHERE position = ?", values)


def wipe(connection: sqlite3.Connection) -> bool:
    """Copy the WAL into the file and cut it off; ``False`` if somebody reads from it, or the disk does not take it
    now."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        # Other works of the same transaction are stored: this is no failure of theirs.
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
    return not busy
