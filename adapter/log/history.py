"""What an event was made of, and what became of it: native bytes stretch by stretch, and the entries that stand for
one event. One statement and one row a question, as in `adapter.log.reading`."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from adapter.log.protocol import Stored
from adapter.log.reading import READ_SIZE, Reader, find_position, read_entries

#: Parameters: after, until. The runs of native bytes of a stretch: first position, lengths, media, and how long its
#: frame is.
_RUNS = """
SELECT json_group_array(json_array(position, json(lengths), media, length(content))) FROM raw
WHERE position >= coalesce((SELECT max(position) FROM raw WHERE position <= ?1 + 1), 0) AND position <= ?2
"""
#: Parameters: the first and the last of some runs.
_FRAMES = "SELECT CAST(group_concat(content, '') AS BLOB) FROM raw WHERE position BETWEEN ? AND ?"
#: Parameters: after, until. The latest entries of the events that first stood in a stretch, where there are later ones.
_LATEST = """
SELECT json_group_object(first, latest) FROM (
  SELECT first, max(position) AS latest FROM revision WHERE first > ? AND first <= ? GROUP BY first
)
"""


class _Run(NamedTuple):
    position: int
    lengths: list[int]
    media: str | None
    size: int


def read_stored(reader: Reader, after: int, *, until: int, limit: int) -> list[Stored]:
    """Entries with what they were made of, as `adapter.log.protocol.Log.read_stored`."""
    last = min(until, after + limit)
    runs = [_Run(*run) for run in orjson.loads(reader.execute(_RUNS, (after, last)).fetchone()[0])]
    last = _fitting(runs, after, last)
    entries = read_entries(reader, after, until=last, limit=limit)
    if not entries:
        return []
    last = entries[-1].position
    raws = _raws(reader, [run for run in runs if run.position <= last], after, last)
    latest = orjson.loads(reader.execute(_LATEST, (after, last)).fetchone()[0])
    stored = []
    for entry in entries:
        raw, media = raws.get(entry.position, (None, ""))
        stored.append(Stored(entry, raw, media, latest.get(str(entry.position), entry.position)))
    return stored


def find_latest(reader: Reader, uid: bytes) -> int | None:
    """Position of the latest entry of an event."""
    first = find_position(reader, uid)
    if first is None:
        return None
    (latest,) = reader.execute("SELECT max(position) FROM revision WHERE first = ?", (first,)).fetchone()
    return first if latest is None else int(latest)


def find_before(reader: Reader, uid: bytes, position: int) -> int | None:
    """Position of the entry of an event that stood for it before the one at ``position``."""
    first = find_position(reader, uid)
    if first is None or first >= position:
        return None
    before = "SELECT max(position) FROM revision WHERE first = ? AND position < ?"
    (found,) = reader.execute(before, (first, position)).fetchone()
    return first if found is None else int(found)


def read_note(reader: Reader, name: str) -> str | None:
    """The text that was kept under a name."""
    row = reader.execute("SELECT text FROM note WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _fitting(runs: list[_Run], after: int, last: int) -> int:
    """The last position so that the native bytes up to it, one entry aside, are not more than a read gives."""
    room = READ_SIZE
    for run in runs:
        for position, length in enumerate(run.lengths, run.position):
            if after < position <= last:
                room -= length
                if room < 0 and position > after + 1:
                    return position - 1
    return last


def _raws(reader: Reader, runs: list[_Run], after: int, last: int) -> dict[int, tuple[bytes, str]]:
    """Native bytes and media type, by position."""
    if not runs:
        return {}
    (frames,) = reader.execute(_FRAMES, (runs[0].position, runs[-1].position)).fetchone()
    contents = reader.compression.decompress(frames or b"", [run.size for run in runs])
    found = {}
    for run, content in zip(runs, contents, strict=True):
        media = run.media or "application/json"
        start = 0
        for position, length in enumerate(run.lengths, run.position):
            if after < position <= last:
                found[position] = (content[start : start + length], media)
            start += length
    return found
