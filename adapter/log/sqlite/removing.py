"""Removing what is old, inside the transaction of whoever calls.

What is compressed together goes apart: a run of which something stays is written anew without what went, so that
nothing of that can be read any more. SQLite overwrites what is deleted with zeros (`secure_delete`).

Of an entry that went its uid stays in ``removed``, for those who send it again, until its identities are forgotten; and
``gap`` says of each block of positions how many of them are empty, so that whoever counts does not walk.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from adapter.log.compression import Compression
from adapter.log.protocol import Removal, Removed
from adapter.log.removal import BLOCK, Limits, divide
from adapter.log.runs import split

#: A step begins nothing more after so many seconds: appends wait for it.
STEP = 0.005
#: Runs of entries that are looked at together, and keys.
_RUNS, _KEYS = 4, 1000

_FOLLOWING = "SELECT position FROM event WHERE position > ? ORDER BY position LIMIT 1 OFFSET ?"
# Of the events among these that have later entries: the first one's position, those of the others, the latest type.
_LATER = """
SELECT first, others, type FROM (
  SELECT first, json_group_array(position) AS others, max(position) AS latest FROM revision
  WHERE first BETWEEN ? AND ? GROUP BY first
) JOIN entry ON entry.position = latest
"""
_COUNT = """
INSERT INTO gap (block, entries) VALUES (?, ?) ON CONFLICT (block) DO UPDATE SET entries = entries + excluded.entries
"""
# The runs that hold some of these positions.
_TOUCHED = """
SELECT position, lengths, content FROM {table}
WHERE position >= coalesce((SELECT max(position) FROM {table} WHERE position <= ?1), 0) AND position <= ?2
"""
#: Behind every key.
_LAST_KEY = b"\xff" * 17
_FORGET = """
DELETE FROM identity WHERE key > ?1 AND key <= ?2 AND position <= ?3
AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.position = identity.position)
"""


class Stretch(NamedTuple):
    """Positions that follow each other, both ends included."""

    first: int
    last: int


class Remover:
    """Removes through one connection; to be used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, compression: Compression) -> None:
        self._connection = connection
        self._compression = compression
        #: Up to which key this pass over the index came.
        self._key = b""

    def remove(self, removal: Removal) -> Removed:
        """As `adapter.log.protocol.Retention.remove`."""
        began, limits = time.perf_counter(), Limits(removal)
        reached, entries = removal.after, 0
        while reached < removal.until and time.perf_counter() - began < STEP:
            before = reached
            reached, going = self._choose(removal, limits, before)
            if going:
                self._remove(going)
                entries += len(going)
            if reached == before:
                break
        return Removed(reached, entries)

    def _choose(self, removal: Removal, limits: Limits, after: int) -> tuple[int, list[int]]:
        """What goes of the next entries, ascending, and up to where that is all."""
        run = self._connection.execute
        (first,) = run("SELECT min(position) FROM entry WHERE position > ?", (after,)).fetchone()
        if first is None or first > removal.until:
            return removal.until, []
        # Whole runs are cheapest; and each has so many bytes at most, one long event aside.
        (following,) = run(_FOLLOWING, (first, _RUNS)).fetchone() or (None,)
        reached = removal.until if following is None else min(removal.until, following - 1)
        rows = run("SELECT position, type FROM entry WHERE position BETWEEN ? AND ?", (first, reached)).fetchall()
        ends = (first, reached)
        later = {position for (position,) in run("SELECT position FROM revision WHERE position BETWEEN ? AND ?", ends)}
        read_again = {first: (orjson.loads(others), type) for first, others, type in run(_LATER, ends)}
        going: list[int] = []
        for position, type in rows:
            if position in later:
                continue
            others: list[int] = []
            if position in read_again:
                others, type = read_again[position]
            if position > limits.of(type):
                continue
            if others and max(others) > removal.had:
                reached = position - 1
                break
            going.append(position)
            going += others
        going.sort()
        return reached, going

    def _remove(self, going: Sequence[int]) -> None:
        run, many = self._connection.execute, self._connection.executemany
        stretches = list(stretches_of(going))
        many("INSERT INTO removed SELECT position, uid FROM entry WHERE position BETWEEN ? AND ?", stretches)
        many("DELETE FROM entry WHERE position BETWEEN ? AND ?", stretches)
        many("DELETE FROM revision WHERE first BETWEEN ? AND ?", stretches)
        many(_COUNT, sorted(Counter([position // BLOCK for position in going]).items()))
        run("UPDATE extent SET last = max(last, ?)", (going[-1],))
        for table in ("event", "raw"):
            self._rewrite(table, stretches)
        for reader, cursor in run("SELECT id, cursor FROM reader WHERE cursor < ?", (going[-1],)).fetchall():
            missed = sum(1 for position in going if position > cursor)
            run("UPDATE reader SET removed = removed + ? WHERE id = ?", (missed, reader))

    def _rewrite(self, table: str, stretches: Sequence[Stretch]) -> None:
        """Take the contents out of their runs whose entries are gone."""
        run = self._connection.execute
        runs = {
            first: (orjson.loads(lengths), content)
            for stretch in stretches
            for first, lengths, content in run(_TOUCHED.format(table=table), stretch)
        }
        dropped = []
        for first, (lengths, content) in runs.items():
            ends = (first, first + len(lengths) - 1)
            left = {position for (position,) in run("SELECT position FROM entry WHERE position BETWEEN ? AND ?", ends)}
            if not left:
                dropped.append((first,))
                continue
            gone = [position not in left for position in range(first, first + len(lengths))]
            if not any(length for length, is_gone in zip(lengths, gone, strict=True) if is_gone):
                continue
            pieces = [
                b"" if is_gone else piece
                for piece, is_gone in zip(split(self._compression.decompress_one(content), lengths), gone, strict=True)
            ]
            (frame,) = self._compression.compress([b"".join(pieces)])
            values = (orjson.dumps(list(map(len, pieces))).decode(), frame, first)
            run(f"UPDATE {table} SET lengths = ?, content = ? WHERE position = ?", values)
        self._connection.executemany(f"DELETE FROM {table} WHERE position = ?", dropped)

    def remove_raw(self, after: int, until: int) -> Removed:
        """As `adapter.log.protocol.Retention.remove_raw`. A run goes as a whole, once all of it is to go."""
        run = self._connection.execute
        began, reached, entries = time.perf_counter(), after, 0
        # The run that the step before left, since it goes on behind where that ended.
        (begin,) = run("SELECT max(position) FROM raw WHERE position <= ?", (after,)).fetchone()
        begin = after if begin is None else begin - 1
        while time.perf_counter() - began < STEP:
            rows = run(
                "SELECT position, json_array_length(lengths) FROM raw WHERE position > ? AND position <= ?"
                " ORDER BY position LIMIT ?",
                (begin, until, _RUNS),
            ).fetchall()
            whole = [(first,) for first, size in rows if first + size - 1 <= until]
            for first, size in rows[: len(whole)]:
                ends = (first, first + size - 1)
                entries += run("SELECT count(*) FROM entry WHERE position BETWEEN ? AND ?", ends).fetchone()[0]
            self._connection.executemany("DELETE FROM raw WHERE position = ?", whole)
            if len(rows) < _RUNS or len(whole) < len(rows):
                reached = until
                break
            begin = rows[-1][0]
            reached = begin + rows[-1][1] - 1
        run("UPDATE extent SET raw = max(raw, ?)", (reached,))
        return Removed(reached, entries)

    def forget(self, until: int, seconds: int) -> bool:
        """As `adapter.log.protocol.Retention.forget`: a pass over the keys up to that time, some at each call."""
        run = self._connection.execute
        began, is_over = time.perf_counter(), False
        (former,) = run("SELECT until FROM former").fetchone() or (None,)
        # The keys of an older version lie anywhere.
        is_former_over = former is not None and former <= seconds
        last = _LAST_KEY if is_former_over or seconds >= 0xFFFFFFFF else (seconds + 1).to_bytes(4, "big")
        while not is_over and time.perf_counter() - began < STEP:
            row = run(
                "SELECT key FROM identity WHERE key > ? AND key < ? ORDER BY key LIMIT 1 OFFSET ?",
                (self._key, last, _KEYS),
            ).fetchone()
            is_over = row is None
            end = last if row is None else row[0]
            run(_FORGET, (self._key, end, until))
            self._key = end
        if is_over:
            self._key = b""
            if is_former_over:
                run("DELETE FROM former")
            return self._forget_removed(until)
        return True

    def _forget_removed(self, until: int) -> bool:
        """The uids of entries whose keys are forgotten go, and the arrivals that nobody asks for any more."""
        run = self._connection.execute
        some = "SELECT position FROM removed WHERE position <= ? ORDER BY position LIMIT ?"
        gone = run(f"DELETE FROM removed WHERE position IN ({some})", (until, 10 * _KEYS)).rowcount
        run(
            "DELETE FROM arrival WHERE latest < (SELECT max(latest) FROM arrival WHERE position <= ?)"
            " AND (latest, position) IN (SELECT latest, position FROM arrival ORDER BY latest, position LIMIT ?)",
            (until, _KEYS),
        )
        return gone == 10 * _KEYS


def stretches_of(positions: Iterable[int]) -> Iterable[Stretch]:
    """Ascending positions as stretches without a hole."""
    first = last = None
    for position in positions:
        if last is not None and position == last + 1:
            last = position
            continue
        if first is not None and last is not None:
            yield Stretch(first, last)
        first = last = position
    if first is not None and last is not None:
        yield Stretch(first, last)


# Asked by readers

_LEFT = "SELECT count(*) FROM entry WHERE position BETWEEN ? AND ?"


def count_removed(reader: sqlite3.Connection, after: int, until: int) -> int:
    """How many entries of a stretch were removed; ``until``: the head at most."""
    blocks, rests = divide(after, until)
    removed = 0
    if blocks:
        total = "SELECT coalesce(sum(entries), 0) FROM gap WHERE block BETWEEN ? AND ?"
        removed += int(reader.execute(total, (blocks[0], blocks[-1])).fetchone()[0])
    for first, last in rests:
        removed += last - first + 1 - int(reader.execute(_LEFT, (first, last)).fetchone()[0])
    return removed


def find_left(reader: sqlite3.Connection, after: int, until: int) -> list[int]:
    """Positions of the entries of a stretch that were not removed, ascending."""
    rows = reader.execute("SELECT position FROM entry WHERE position > ? AND position <= ?", (after, until))
    return [position for (position,) in rows]


def find_uid(reader: sqlite3.Connection, position: int) -> bytes | None:
    """The uid of an entry, also of one that was removed, as long as it is known."""
    for table in ("entry", "removed"):
        row = reader.execute(f"SELECT uid FROM {table} WHERE position = ?", (position,)).fetchone()
        if row is not None:
            return bytes(row[0])
    return None
