"""What an event was made of, and what became of it: native bytes stretch by stretch, and the entries that stand for
one event. As in `adapter.log.sqlite.reading`, few statements of one row each."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from adapter.log.pieces import opened
from adapter.log.protocol import READ_SIZE, Note, Raw, Stored
from adapter.log.sqlite.reading import EXTENT, FITTING, READ, Reader, find_position, make_entries

#: Parameters: after, until. Of a stretch: its runs of native bytes, each with first position,
#: lengths, media, and how long its frame is; and where the later entries of its events stand, if there are any.
_OUTLINE = """
SELECT (SELECT json_group_array(json_array(position, json(lengths), media, length(content))) FROM raw
  WHERE position >= coalesce((SELECT max(position) FROM raw WHERE position <= ?1 + 1), 0) AND position <= ?2),
(SELECT json_group_object(first, latest) FROM (
  SELECT first, max(position) AS latest FROM revision WHERE first > ?1 AND first <= ?2 GROUP BY first
))
"""
#: The parameters of `READ`, and the first and the last of the runs of native bytes.
_READ_BOTH = f"""
SELECT * FROM ({READ}),
(SELECT CAST(group_concat(content, '') AS BLOB) FROM raw WHERE position BETWEEN ?4 AND ?5)
"""


class _Run(NamedTuple):
    position: int
    lengths: list[int]
    media: str | None
    size: int


def read_stored(reader: Reader, after: int, *, until: int, limit: int) -> list[Stored]:
    """Entries with what they were made of, as `adapter.log.protocol.Log.read_stored`."""
    first, last, size = reader.execute(EXTENT, (after, until, limit)).fetchone()
    if first is None:
        return []
    after = first - 1
    outline, later = reader.execute(_OUTLINE, (after, last)).fetchone()
    runs = [_Run(*run) for run in orjson.loads(outline)]
    if sum([sum(run.lengths) for run in runs]) > READ_SIZE:
        last = _fitting(runs, after, last)
    if size > READ_SIZE:
        (last,) = reader.execute(FITTING, (after, last, limit, READ_SIZE)).fetchone()
    runs = [run for run in runs if run.position <= last]
    ends = (runs[0].position, runs[-1].position) if runs else (0, 0)
    *row, frames = reader.execute(_READ_BOTH, (after, last, limit, *ends)).fetchone()
    raws = _raws(reader, runs, frames)
    latest = orjson.loads(later)
    stored = []
    for entry in make_entries(reader.compression, tuple(row)):
        position = entry.position
        raw, media, envelope = raws.get(position, _NOT_KEPT)
        last = latest.get(str(position), position) if latest else position
        stored.append(Stored(entry, raw, media, last, envelope))
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


def read_note(reader: Reader, name: str) -> Note | None:
    """The note that is kept under a name."""
    row = reader.execute("SELECT name, text, version FROM note WHERE name = ?", (name,)).fetchone()
    return None if row is None else Note(*row)


def read_notes(reader: Reader, prefix: str) -> list[Note]:
    """The notes whose names begin with a text, by their names."""
    # One more than the last name that begins so.
    behind = prefix + "\U0010ffff"
    rows = reader.execute(
        "SELECT name, text, version FROM note WHERE name >= ? AND name < ? ORDER BY name", (prefix, behind)
    )
    return [Note(*row) for row in rows.fetchall()]


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


def _raws(reader: Reader, runs: list[_Run], frames: bytes | None) -> dict[int, Raw]:
    """What was sent, by position."""
    contents = reader.compression.decompress(frames or b"", [run.size for run in runs])
    found = {}
    for run, content in zip(runs, contents, strict=True):
        media = run.media or "application/json"
        start = 0
        for position, length in enumerate(run.lengths, run.position):
            end = start + length
            found[position] = opened(content[start:end], media)
            start = end
    return found


_NOT_KEPT = (None, "", b"")
