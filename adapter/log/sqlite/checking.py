"""A slow check in the background: all of the log is read again over time, and the files are looked at.

What lies on the disk for years may change there without anybody reading it. So a stretch of entries is read every so
often, by a connection of its own that has nothing in its cache, and held against what belongs to it; at the end it
begins again. It costs a share of one processor (`SHARE`), however long the log is.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from adapter.errors import StoreDamaged, StoreError, StoreMismatch
from adapter.log.removal import BLOCK
from adapter.log.sqlite.damage import Damage
from adapter.log.sqlite.files import Beginnings, Files
from adapter.log.sqlite.history import read_stored
from adapter.log.sqlite.reading import Reader, find_position, open_reader
from adapter.log.sqlite.schema import READ_ERRORS, UnreadableRow, store_error
from adapter.log.sqlite.writing import Writing

#: Entries of one stretch, unless they are long.
STRETCH = 1000
#: Waits between two stretches: at least so many seconds, and so many times what the last one took of the processor.
WAIT, SHARE = 2.0, 200

# The tables beside those of entries: each is read from one end to the other. What belongs to sinks changes all the time
# and is read often; the rest is small.
_OTHERS = (
    "SELECT count(content) FROM dictionary",
    "SELECT count(name) FROM source",
    "SELECT sum(length(name) + length(text)) FROM note",
    "SELECT sum(length(name) + length(filter)) FROM reader",
    "SELECT sum(length(answer)) FROM held",
    "SELECT sum(length(excerpt) + length(reason)) FROM attempt",
    "SELECT sum(length(key)) FROM blocked",
    "SELECT max(until) FROM former",
    "SELECT max(last + raw) FROM extent",
    "SELECT sum(entries) FROM gap",
    # Indexes of their own, of which nothing else reads all. A sum of millions of timestamps would overflow.
    "SELECT total(received_at + length(problem)) FROM entry INDEXED BY quarantined WHERE size IS NULL",
    "SELECT total(position) FROM revision INDEXED BY revision_position WHERE position > 0",
)

# Of a stretch of entries: the first one whose uid the index does not know. Parameters: after, until.
_UNKNOWN = """
SELECT position FROM entry
WHERE position > ?1 AND position <= ?2 AND NOT EXISTS (SELECT 1 FROM identity WHERE key = entry.uid) LIMIT 1
"""


class Checking:
    """The check of a log that is open."""

    def __init__(self, path: Path, writing: Writing, damage: Damage) -> None:
        self._path = path
        self._writing = writing
        self._damage = damage
        #: Those on the disk, as they are compared here.
        self.files = Files(path, writing.files)
        self._beginnings = Beginnings(path)
        #: Up to where this pass came.
        self._position = 0

    async def run(self) -> None:
        """Check stretch by stretch until something is damaged, or cancelled."""
        while self._damage.problem is None:
            await asyncio.sleep(WAIT)
            problem = self.files.problem()
            if problem is not None:
                self._damage.meet(problem)
                return
            try:
                reached, seconds = await asyncio.to_thread(self._check_some)
            except (StoreDamaged, StoreMismatch) as error:
                self._damage.meet(str(error))
                return
            except StoreError:
                continue  # it cannot be read now, which is no damage
            self._position = reached if reached < self._writing.head else 0
            await asyncio.sleep(max(0.0, seconds * SHARE - WAIT))

    def close(self) -> None:
        """Close the files that it holds open, when nobody reads the log any more."""
        self._beginnings.close()

    def _check_some(self) -> tuple[int, float]:
        """Where the stretch ended, and what it took of the processor, seconds."""
        began = time.thread_time()
        try:
            if (problem := self._beginnings.problem()) is not None:
                raise StoreDamaged(problem)
            with open_reader(self._path, cache=512) as reader:
                reached = check_stretch(reader, self._position, self._writing.head)
        except (OSError, *READ_ERRORS) as error:
            raise store_error(self._path, error) from error
        return reached, time.thread_time() - began


def check_stretch(reader: Reader, after: int, head: int) -> int:
    """Read some entries behind ``after``, up to ``head`` at most, with all that belongs to them; the last position.

    Raises:
        sqlite3.Error: a page cannot be read.
        ZstdError: events or native bytes cannot be unpacked.
        UnreadableRow: rows do not fit each other.
    """
    reader.execute("BEGIN")
    try:
        if after == 0:
            for question in _OTHERS:
                reader.execute(question).fetchone()
        if after >= head:
            return after
        stored = read_stored(reader, after, until=head, limit=STRETCH)
        last = stored[-1].entry.position if stored else head
        _check_density(reader, after, last, head)
        # Up to here native bytes were removed, and stand with some entries all the same.
        (raw_removed,) = reader.execute("SELECT max(raw) FROM extent").fetchone()
        for entry, raw, *_ in stored:
            if len(entry.uid) != 16 or (entry.event is None) is (entry.problem is None):
                raise UnreadableRow(f"the entry at position {entry.position} is not whole")
            # Those of a later entry of an event stand with its first one.
            first = find_position(reader, entry.uid) if raw is None else None
            if raw is None and (first is None or (first == entry.position and first > raw_removed)):
                raise UnreadableRow(f"the native bytes of the entry at position {entry.position} are missing")
        _check_identities(reader, after, last)
        return last
    finally:
        reader.execute("ROLLBACK")


def _check_density(reader: Reader, after: int, last: int, head: int) -> None:
    """Of each block of positions that ends in the stretch, as many entries are missing as were removed."""
    ends = [block * BLOCK + BLOCK - 1 for block in range((after + 1) // BLOCK, (last + 1) // BLOCK)]
    if last == head:
        ends.append(head)
    for end in ends:
        first = max(end // BLOCK * BLOCK, 1)
        left = "SELECT count(*) FROM entry WHERE position BETWEEN ? AND ?"
        removed = "SELECT coalesce(sum(entries), 0) FROM gap WHERE block = ?"
        there = (
            reader.execute(left, (first, end)).fetchone()[0] + reader.execute(removed, (end // BLOCK,)).fetchone()[0]
        )
        if there != end + 1 - first:
            raise UnreadableRow(f"entries are missing between positions {first} and {end}")


def _check_identities(reader: Reader, after: int, until: int) -> None:
    row = reader.execute(_UNKNOWN, (after, until)).fetchone()
    if row is not None:
        raise UnreadableRow(f"the identity of the entry at position {row[0]} is missing")
