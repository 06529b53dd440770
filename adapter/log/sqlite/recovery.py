"""Recovering a damaged log: what can be read of it is written into a new one, each entry at the position it had.

So feeds, sinks and stored cursors go on where they were. An entry whose event is lost is quarantined with its native
bytes, from which the event can be made again. One of which nothing is left becomes a quarantined entry that says so;
its keys are forgotten, so that the event is stored when it is sent again. What was removed stays removed.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from zstandard import ZstdError

from adapter.errors import StoreError
from adapter.log.compression import Compression
from adapter.log.removal import BLOCK
from adapter.log.sqlite.append import ARRIVAL_STEP
from adapter.log.sqlite.checking import check_stretch
from adapter.log.sqlite.files import dictionary_path
from adapter.log.sqlite.pages import FoundRow, Pages
from adapter.log.sqlite.reading import open_reader
from adapter.log.sqlite.schema import connect_writing
from adapter.log.sqlite.storing import PlacedEntry, store_stretch
from adapter.model import is_former_key

#: Entries of one transaction of the new log.
_STRETCH = 2000
#: Ranges of positions that a report lists.
_RANGES = 100

LOST = "lost: could not be read when the log was recovered"
EVENT_LOST = "its event could not be read when the log was recovered"

_SHORT_JSON = "application/json"


@dataclass(slots=True)
class Report:
    """What became of a log that was recovered."""

    #: Entries of the log, up to the last one of which anything was found.
    entries: int = 0
    #: Events that are lost, whose entries are quarantined with their native bytes.
    events_lost: int = 0
    #: Native bytes that are lost, of entries whose event is whole.
    raws_lost: int = 0
    #: Entries of which nothing is left, and their positions: the first and the last of each range, the first of them.
    entries_lost: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    #: Rows of entries that were made again from the event or the native bytes.
    rows_made: int = 0
    #: Keys by which events are known, and readers (sinks) whose progress was found.
    keys: int = 0
    readers: list[str] = field(default_factory=list)
    #: What sources are called now whose name is lost.
    sources_lost: list[str] = field(default_factory=list)

    def note_lost(self, position: int) -> None:
        """Nothing is left of the entry there."""
        self.entries_lost += 1
        if self.lost and self.lost[-1][1] == position - 1:
            self.lost[-1] = (self.lost[-1][0], position)
        elif len(self.lost) < _RANGES:
            self.lost.append((position, position))


def recover(damaged: Path, new: Path, progress: Callable[[int, int], None] = lambda done, of: None) -> Report:
    """Write what can be read of the log ``damaged`` into the file ``new``. The damaged one is only read; nobody may
    write to it meanwhile. ``progress`` hears how many entries are done, and of how many.

    Raises:
        StoreError: there is a log at ``new`` already, or nothing of the damaged one can be read.
        OSError: one of the files cannot be opened.
    """
    if new.exists():
        raise StoreError(f"{new}: is there already; name a new folder")
    with closing(Pages(damaged)) as pages:
        found = _Found(pages)
        if not found.head:
            raise StoreError(f"{damaged}: no entry of a log can be read in it; restore a backup")
        dictionary = found.dictionary(dictionary_path(damaged))
        with closing(connect_writing(new, dictionary=dictionary, busy_timeout=5)) as connection:
            connection.execute("PRAGMA cache_size = -65536")
            report = _Writing(connection, found, Compression(dictionary), progress).write()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open_reader(new) as reader:
        position = 0
        while position < report.entries:
            position = check_stretch(reader, position, report.entries)
    return report


class _Found:
    """What stands in the pages of a damaged log: which of them hold rows of which table."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._places: dict[str, list[tuple[int, int]]] = {}
        for table, number, rowid in pages.tables():
            if rowid <= pages.most_rows:
                self._places.setdefault(table, []).append((rowid, number))
        for places in self._places.values():
            places.sort()
        #: The last position that was removed, and up to which native bytes were; how many entries of each block were.
        self.removed, self.raw_removed = 0, 0
        for row in self.rows("extent"):
            self.removed, self.raw_removed = (int(value or 0) for value in row.values)
        self.gaps = {row.rowid: int(row.values[1] or 0) for row in self.rows("gap")}
        self.head = max(self._last("entry"), self._last("event"), self._last("raw"), self.removed)

    def rows(self, table: str) -> Iterator[FoundRow]:
        """The rows of a table, each rowid once, ascending (in any order where there are none)."""
        last = 0
        for _, number in self._places.get(table, ()):
            for row in self._pages.rows(number, table):
                if row.rowid > last or row.rowid == 0:
                    last = row.rowid
                    yield row

    def dictionary(self, copy: Path) -> bytes:
        """The dictionary of the log: of its table, or else of the copy beside it; whichever unpacks more events."""
        candidates = [bytes(row.values[0]) for row in self.rows("dictionary") if isinstance(row.values[0], bytes)]
        if copy.exists():
            candidates.append(copy.read_bytes())
        candidates.append(b"")
        return max(candidates, key=self._unpacked)

    def _unpacked(self, dictionary: bytes) -> int:
        compression = Compression(dictionary)
        return sum(
            1 for row in islice(self.rows("event"), 200) for event in _contents(compression, row, is_json=True) if event
        )

    def _last(self, table: str) -> int:
        """The last position of which a table holds something."""
        for _, number in reversed(self._places.get(table, [])):
            rows = list(self._pages.rows(number, table))
            if rows:
                last = rows[-1]
                return last.rowid if table == "entry" else last.rowid + max(0, len(_lengths(last)) - 1)
        return 0


class _Writing:
    """The new log, written in the order of its positions."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        found: _Found,
        compression: Compression,
        progress: Callable[[int, int], None],
    ) -> None:
        self._connection = connection
        self._found = found
        self._compression = compression
        self._progress = progress
        self._report = Report(entries=found.head)
        #: Numbers of the sources, as far as they are known; and names that entries themselves gave.
        self._sources = {row.rowid: str(row.values[1]) for row in found.rows("source")}
        self._numbers: dict[str, int] = {}
        #: Positions of entries whose uid is to be found in the index.
        self._unnamed: dict[int, bytes | None] = {}
        #: Source and arrival of the entry before; the latest arrival, and up to where arrivals are noted.
        self._source, self._received_at = 1, 0
        self._latest, self._noted = 0, 0
        #: Entries that were removed: those whose uid is there, and how many of a block may be missing for this.
        self._gone = _Ordered(found.rows("removed"))
        self._gaps = dict(found.gaps)
        #: Whether there are keys of a log of an older version.
        self._has_former = False

    def write(self) -> Report:
        self._numbers = {name: number for number, name in self._sources.items()}
        rows, events, raws = (_Ordered(self._found.rows(table)) for table in ("entry", "event", "raw"))
        lost_events, lost_raws = _Runs(events, self._compression), _Runs(raws, self._compression)
        head = self._found.head
        for first in range(1, head + 1, _STRETCH):
            positions = range(first, min(first + _STRETCH, head + 1))
            self._connection.execute("BEGIN IMMEDIATE")
            self._write_stretch(positions, rows, lost_events, lost_raws)
            self._connection.execute("COMMIT")
            self._progress(positions[-1], head)
        self._connection.execute("BEGIN IMMEDIATE")
        self._write_sources()
        self._write_keys()
        self._write_readers()
        extent = (self._found.removed, self._found.raw_removed)
        self._connection.execute("UPDATE extent SET last = ?, raw = ?", extent)
        self._connection.execute("COMMIT")
        return self._report

    def _write_stretch(self, positions: range, rows: _Ordered, events: _Runs, raws: _Runs) -> None:
        entries: list[tuple[int, PlacedEntry]] = []
        seen: set[bytes] = set()
        for position in positions:
            row, event, raw = rows.at(position), events.at(position), raws.at(position)
            if row is None and event is None and not (raw and raw[0]) and self._was_removed(position):
                continue
            entry = self._entry(position, row, event, raw, seen)
            seen.add(entry.uid)
            entries.append((position, entry))
            self._source, self._received_at = entry.source, entry.received_at
            self._latest = max(self._latest, entry.received_at)
            if position - self._noted >= ARRIVAL_STEP:
                note = (self._latest, position)
                self._connection.execute("INSERT OR IGNORE INTO arrival (latest, position) VALUES (?, ?)", note)
                self._noted = position
        store_stretch(self._connection, self._compression, entries)
        self._connection.executemany(
            "INSERT INTO identity (key, position, taken, equal) VALUES (?, ?, 0, 0) ON CONFLICT (key) DO NOTHING",
            [(entry.uid, position) for position, entry in entries],
        )
        self._connection.execute(
            "INSERT INTO revision (first, position) SELECT identity.position, entry.position FROM entry"
            " JOIN identity ON identity.key = entry.uid"
            " WHERE entry.position BETWEEN ? AND ? AND identity.position < entry.position",
            (positions[0], positions[-1]),
        )

    def _was_removed(self, position: int) -> bool:
        """Whether the entry that is missing there was removed; then that is written."""
        known, left = self._gone.at(position), self._gaps.get(position // BLOCK, 0)
        if known is None and left <= 0:
            return False
        self._gaps[position // BLOCK] = left - 1
        run = self._connection.execute
        if known is not None:
            run("INSERT INTO removed (position, uid) VALUES (?, ?)", (position, known.values[1]))
        run(
            "INSERT INTO gap (block, entries) VALUES (?, 1) ON CONFLICT (block) DO UPDATE SET entries = entries + 1",
            (position // BLOCK,),
        )
        return True

    def _entry(
        self, position: int, row: FoundRow | None, event: bytes | None, raw: tuple[bytes, str] | None, seen: set[bytes]
    ) -> PlacedEntry:
        """What is written for a position."""
        if row is None and event is not None:
            made = self._from_event(event)
            if made is not None:
                self._report.rows_made += 1
                return self._with_raw(made, raw, seen, position)
        if row is None:
            if raw is not None and raw[0]:
                # Whose it was, and when it came, stands nowhere any more: as its neighbour.
                self._report.rows_made += 1
                self._report.events_lost += 1
                self._unnamed[position] = None
                return self._lost(EVENT_LOST)._replace(raw=raw[0], media=raw[1])
            self._report.note_lost(position)
            return self._lost(LOST)
        _, uid, revision, source, received_at, type, native_type, problem, size = row.values
        entry = PlacedEntry(uid, revision, source, received_at, type, native_type, problem, event, b"", _SHORT_JSON)  # type: ignore[arg-type]
        if source not in self._sources and event is not None:
            self._name(int(source or 0), event)
        if size is None:
            return self._with_raw(entry._replace(event=None), raw, seen, position)
        if event is not None and len(event) == size:
            return self._with_raw(entry, raw, seen, position)
        if self._is_later(entry.uid, seen):
            # The event stands as it was read before.
            self._report.note_lost(position)
            return self._lost(LOST)
        self._report.events_lost += 1
        return self._with_raw(
            entry._replace(type=None, event=None, problem=EVENT_LOST), raw, seen, position, count=False
        )

    def _with_raw(
        self, entry: PlacedEntry, raw: tuple[bytes, str] | None, seen: set[bytes], position: int, *, count: bool = True
    ) -> PlacedEntry:
        if self._is_later(entry.uid, seen):
            return entry._replace(raw=None)
        if raw is None and position <= self._found.raw_removed:
            return entry._replace(raw=None)
        if raw is None:
            self._report.raws_lost += count
            return entry
        return entry._replace(raw=raw[0], media=raw[1])

    def _is_later(self, uid: bytes, seen: set[bytes]) -> bool:
        if uid in seen:
            return True
        return bool(self._connection.execute("SELECT count(*) FROM identity WHERE key = ?", (uid,)).fetchone()[0])

    def _lost(self, problem: str) -> PlacedEntry:
        return PlacedEntry(
            uuid.uuid4().bytes, 0, self._source, self._received_at, None, None, problem, None, b"", "text/plain"
        )

    def _from_event(self, event: bytes) -> PlacedEntry | None:
        """The entry of an event, which holds nearly all of its row."""
        told = orjson.loads(event)
        try:
            origin = told["source"]
            uid = uuid.UUID(told["uid"]).bytes
            return PlacedEntry(
                uid,
                int(origin.get("revision", 0)),
                self._number(str(origin["name"])),
                int(origin["receivedAt"]),
                str(told["type"]),
                origin.get("nativeType"),
                None,
                event,
                b"",
                _SHORT_JSON,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _number(self, source: str) -> int:
        number = self._numbers.get(source)
        if number is None:
            number = max([*self._sources, 0]) + 1000  # beyond those whose names may still be found
            self._numbers[source] = number
            self._sources[number] = source
        return number

    def _name(self, number: int, event: bytes) -> None:
        """The name of a source whose row is lost, by one of its events."""
        origin = orjson.loads(event).get("source")
        if isinstance(origin, dict) and isinstance(origin.get("name"), str) and origin["name"] not in self._numbers:
            self._sources[number] = origin["name"]
            self._numbers[origin["name"]] = number

    def _write_sources(self) -> None:
        used = [number for (number,) in self._connection.execute("SELECT DISTINCT source FROM entry")]
        for number in {*self._sources, *used}:
            name = self._sources.get(number)
            if name is None:
                name = f"unknown-{number}"
                self._report.sources_lost.append(name)
            self._connection.execute("INSERT INTO source (id, name) VALUES (?, ?)", (number, name))

    def _write_keys(self) -> None:
        """The keys that the pages of the index hold; each entry's first one is there already."""
        self._connection.executemany(
            "INSERT INTO identity (key, position, taken, equal) SELECT ?1, ?2, ?3, ?4"
            " WHERE EXISTS (SELECT 1 FROM entry WHERE position = ?2 AND problem IS NOT ?5)"
            " OR EXISTS (SELECT 1 FROM removed WHERE position = ?2)"
            " ON CONFLICT (key) DO UPDATE SET taken = max(taken, excluded.taken), equal = max(equal, excluded.equal)",
            ((*key, LOST) for key in self._keys_noted()),
        )
        for position, uid in self._unnamed.items():
            if uid is not None:
                former = self._connection.execute("SELECT uid FROM entry WHERE position = ?", (position,)).fetchone()
                self._connection.execute("DELETE FROM identity WHERE key = ?", former)
                self._connection.execute("UPDATE entry SET uid = ? WHERE position = ?", (uid, position))
        if self._has_former:
            # Any of the entries may be of an older version.
            self._connection.execute("INSERT INTO former (until) VALUES (?)", (self._latest // 1000,))
        (self._report.keys,) = self._connection.execute("SELECT count(*) FROM identity").fetchone()

    def _keys_noted(self) -> Iterator[tuple[Any, ...]]:
        """The keys; the uid of an entry is one that no other event has: the strong one, if there is one."""
        for key, position, taken, equal in self._keys():
            self._has_former |= is_former_key(key)
            if position in self._unnamed and (not equal or self._unnamed[position] is None):
                self._unnamed[position] = key
            yield key, position, taken, equal

    def _keys(self) -> Iterator[tuple[Any, ...]]:
        for row in self._found.rows("identity"):
            if isinstance(row.values[0], bytes) and len(row.values[0]) == 16:
                yield row.values
        # Of version 2 and older.
        for row in self._found.rows("recent"):
            _, keys, text = row.values
            try:
                fields = orjson.loads(str(text))
                for place, (position, taken, equal) in enumerate(fields):
                    yield bytes(keys[16 * place : 16 * place + 16]), position, taken, equal  # type: ignore[index, arg-type]
            except (ValueError, TypeError):
                continue

    def _write_readers(self) -> None:
        known = set()
        for row in self._found.rows("reader"):
            _, name, cursor, *rest = row.values
            if name in self._report.readers:
                continue
            known.add(row.rowid)
            self._report.readers.append(str(name))
            # Before version 4 nothing was removed; before version 5 nobody knew where an epoch began.
            fewer = (0, None, 0, 0)[len(rest) - 5 :]
            values = (row.rowid, name, min(int(cursor or 0), self._found.head), *rest, *fewer)
            self._connection.execute("INSERT OR IGNORE INTO reader VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        held = [row.values for row in self._found.rows("held") if row.values[0] in known]
        self._connection.executemany("INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, ?)", held)
        blocked = [row.values for row in self._found.rows("blocked") if row.values[0] in known]
        self._connection.executemany("INSERT OR IGNORE INTO blocked VALUES (?, ?, ?, ?)", blocked)
        # Of version 3 and older they have no version of their own.
        notes = [(*row.values, 1)[:3] for row in self._found.rows("note")]
        self._connection.executemany("INSERT OR IGNORE INTO note VALUES (?, ?, ?)", notes)


class _Ordered:
    """Rows in the order of their positions."""

    def __init__(self, rows: Iterator[FoundRow]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def at(self, position: int) -> FoundRow | None:
        """The row of a position; positions are asked for in ascending order."""
        row = self.up_to(position)
        return row if row is not None and row.rowid == position else None

    def up_to(self, position: int) -> FoundRow | None:
        """The last row up to a position that was not given yet."""
        found = None
        while self._next is not None and self._next.rowid <= position:
            found, self._next = self._next, next(self._rows, None)
        return found


class _Runs:
    """Events, or native bytes, by position."""

    def __init__(self, rows: _Ordered, compression: Compression) -> None:
        self._rows = rows
        self._compression = compression
        self._first = 0
        self._media: str | None = None
        self._contents: list[bytes | None] = []
        self._is_event = True

    def at(self, position: int) -> Any:
        """What stands there: an event, or native bytes with their media type; ``None`` if that cannot be read."""
        row = self._rows.up_to(position)
        if row is not None:
            self._first = row.rowid
            self._is_event = len(row.values) == 3
            media = None if self._is_event else row.values[3]
            self._media = None if media is None else str(media)
            is_json = self._is_event
            self._contents = _contents(self._compression, row, is_json=is_json)
        place = position - self._first
        content = self._contents[place] if 0 <= place < len(self._contents) else None
        if content is None or self._is_event:
            return content or None
        return content, self._media or _SHORT_JSON


def _lengths(row: FoundRow) -> list[int]:
    try:
        lengths = orjson.loads(str(row.values[1]))
    except ValueError:
        return []
    is_whole = isinstance(lengths, list) and all(isinstance(one, int) and one >= 0 for one in lengths)
    return lengths if is_whole else []


def _contents(compression: Compression, row: FoundRow, *, is_json: bool) -> list[bytes | None]:
    """The contents of a run; ``None`` for those that are not what was written."""
    lengths, frame = _lengths(row), row.values[2]
    try:
        content = compression.decompress_one(frame) if isinstance(frame, bytes) else b""
    except (ZstdError, MemoryError):
        content = b""
    if len(content) != sum(lengths):
        return [None] * len(lengths)
    found: list[bytes | None] = []
    start = 0
    for length in lengths:
        piece: bytes | None = content[start : start + length]
        start += length
        if is_json and piece:
            try:
                orjson.loads(piece)
            except ValueError:
                piece = None
        found.append(piece)
    return found
