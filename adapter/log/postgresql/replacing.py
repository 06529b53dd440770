"""Replacing what entries hold: a secret is taken out of what is stored, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapter.errors import NoteChanged
from adapter.log.compression import Compression
from adapter.log.pieces import piece_like
from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.notes import find_versions
from adapter.log.postgresql.works import text_or_none
from adapter.log.protocol import Note, Replacement
from adapter.log.runs import split

# Locked: whoever removes one of them waits, or is waited for.
_FIND = """
SELECT asked.position, entry.batch, entry.place, entry.run
FROM unnest($1::bigint[]) AS asked (position)
CROSS JOIN LATERAL (
  SELECT number, first FROM batch WHERE first <= asked.position ORDER BY first DESC LIMIT 1
) AS batch
JOIN entry ON entry.batch = batch.number AND entry.place = asked.position - batch.first
ORDER BY 1 FOR UPDATE OF entry
"""
_CHANGE = """
UPDATE entry SET type = $3, native_type = $4, problem = $5, size = $6 WHERE batch = $1 AND place = $2
"""
_EVENTS = "SELECT sizes, content, '' FROM event WHERE batch = $1 AND place = $2 FOR UPDATE"
_RAWS = "SELECT sizes, content, media FROM raw WHERE batch = $1 AND place = $2 FOR UPDATE"
_REPLACE = "UPDATE {table} SET sizes = $3, content = $4 WHERE batch = $1 AND place = $2"

#: Batch, and place of a run's first entry.
_RunPlace = tuple[int, int]


async def replace(
    connection: Connection, compression: Compression, replacements: Sequence[Replacement], note: Note | None
) -> list[int]:
    """As `adapter.log.protocol.Replacing.replace`."""
    async with connection.transaction():
        versions = await find_versions(connection, [] if note is None else [note])
        versions.check(note)
        found = await connection.fetch(_FIND, [one.position for one in replacements])
        asked = {one.position: one for one in replacements}
        events: dict[_RunPlace, dict[int, tuple[bytes, bytes]]] = {}
        raws: dict[_RunPlace, dict[int, tuple[bytes, bytes]]] = {}
        for position, batch, place, run in found:
            one = asked[position]
            size = None if one.event is None else len(one.event)
            texts = map(text_or_none, (one.type, one.native_type, one.problem))
            await connection.execute(_CHANGE, batch, place, *texts, size)
            if one.event is not None:
                events.setdefault((batch, run), {})[place - run] = one.event, b""
            if one.raw is not None:
                raws.setdefault((batch, run), {})[place - run] = one.raw, one.envelope
        await _rewrite(connection, compression, "event", _EVENTS, events)
        await _rewrite(connection, compression, "raw", _RAWS, raws)
        versions.keep(note)
        if not await versions.store(connection):
            raise NoteChanged("the note was kept by somebody else meanwhile")
    return [position for position, *_ in found]


async def _rewrite(
    connection: Connection,
    compression: Compression,
    table: str,
    find: str,
    contents: Mapping[_RunPlace, Mapping[int, tuple[bytes, bytes]]],
) -> None:
    """Put contents, by their place in the run and each with what it came in, into their runs."""
    for run, some in contents.items():
        row = await connection.fetchrow(find, *run)
        if row is None:
            continue  # not kept
        sizes, content, media = row
        pieces = split(compression.decompress_one(content), sizes)
        for number, one in some.items():
            pieces[number] = piece_like(media, *one)
        (frame,) = compression.compress([b"".join(pieces)])
        await connection.execute(_REPLACE.format(table=table), *run, list(map(len, pieces)), frame)
