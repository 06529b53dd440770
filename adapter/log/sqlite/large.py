"""A large request: made ready for its transaction as it arrives, part by part.

Most of the time that a large request takes is compression, and telling copies from new events. Done a part at a time,
while others' works are committed in between, it holds up nobody for long, and the bytes themselves need not be kept.
What was looked up may have changed when the request's own transaction comes: then it is made ready again, inside.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from adapter.log.compression import Compression
from adapter.log.identity import Former, Identities, Keys, Known, keys_of
from adapter.log.pieces import opened
from adapter.log.protocol import NewEntry, Note, Receipt, receipt
from adapter.log.runs import Run, pack, pack_runs, split
from adapter.log.sqlite.contents import TransactionContents
from adapter.log.sqlite.index import BASE, KeyRows, find_keys, pack_keys
from adapter.log.sqlite.schema import READ_ERRORS
from adapter.log.sqlite.storing import Frame, Row, row_of
from adapter.model import renamed, uid_text


class _Part(NamedTuple):
    """Some entries, without their contents, and the runs that hold these."""

    entries: list[NewEntry]
    keys: list[Keys]
    runs: list[Run]


class Ready(NamedTuple):
    """Of a part, what is stored. Positions count from `BASE`."""

    receipts: list[Receipt]
    keys: KeyRows
    #: Position of the first new entry; the uids of all of them, and their rows.
    first: int
    uids: bytes
    rows: list[Row]
    events: list[Frame]
    raws: list[Frame]
    media: list[str]
    #: The latest arrival, epoch milliseconds; -1: of none.
    latest: int


class LargeRequest:
    """The entries of one request; to be used by one thread at a time."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        compression: Compression,
        former: Former,
        watched: set[str],
        source: Callable[[str], int],
    ) -> None:
        """``watched``: sources of which something is quarantined, as `keys_of` takes them; ``source`` gives
        the number of a source."""
        #: To be kept with them.
        self.note: Note | None = None
        #: What is stored, part by part.
        self.ready: list[Ready] = []
        self._connection = connection
        self._compression = compression
        self._former = former
        self._watched = watched
        self._source = source
        self._parts: list[_Part] = []
        #: What kept it from being made ready.
        self._problem: Exception | None = None
        self._begin()

    def _begin(self) -> None:
        self.ready = []
        #: Keys that were looked up, or are to be stored.
        self.met: set[bytes] = set()
        self._is_stale = False
        # Nothing of this refers back to the request: it is freed when it is done, and not when a collector runs.
        contents = _Contents(self._compression, self._parts)
        self._contents = TransactionContents(self._connection, self._compression, BASE - 1, contents)
        self._identities = Identities({}, partial(_look_up, self._connection, self.met), self._contents)
        self._identities.begin_request()

    def add(self, entries: Sequence[NewEntry]) -> None:
        """Take some entries more. What goes wrong is told by `refresh`."""
        if self._problem is not None:
            return
        part = _Part(
            [entry._replace(raw=b"", envelope=b"", event=None if entry.event is None else b"") for entry in entries],
            keys_of(entries, self._former, self._watched),
            pack_runs(self._compression, entries),
        )
        self._parts.append(part)
        try:
            self.ready.append(self._make_ready(part))
        except READ_ERRORS as error:
            self._problem = error

    def see_stored(self, keys: Iterable[bytes]) -> None:
        """Another request has stored these keys."""
        self._is_stale = self._is_stale or not self.met.isdisjoint(keys)

    def refresh(self) -> None:
        """Make all of it ready again, in its transaction, if what was looked up has changed.

        Raises:
            READ_ERRORS: the log cannot be read, or written.
        """
        if self._problem is not None:
            raise self._problem
        if self._is_stale:
            self._begin()
            for part in self._parts:
                self.ready.append(self._make_ready(part))

    def _make_ready(self, part: _Part) -> Ready:
        identities, new, places = self._identities, self._contents.new, self._contents.places
        asked = {key for those in part.keys for key in those if key is not None} - self.met
        self.met |= asked
        identities.learn(find_keys(self._connection, asked))
        identities.changed = {}
        first, place = BASE + len(new), sum([len(ready.receipts) for ready in self.ready])
        receipts: list[Receipt] = []
        for entry, its_keys in zip(part.entries, part.keys, strict=True):
            position = BASE + len(new)
            new.append(entry)
            places.append(place)
            place += 1
            found = identities.resolve(entry, its_keys, position)
            if found.position == position:
                receipts.append(receipt((found.uid, position, None)))
            else:
                new.pop()
                places.pop()
                lacks_event = found.quarantined and entry.event is not None
                receipts.append(receipt((found.uid, None, found.position if lacks_event else None)))
        runs = self._kept(part, receipts)
        sizes = [size for run in runs for size in run.event_sizes]
        kept = new[first - BASE :]
        rows = [row_of(entry, self._source(entry.source), size) for entry, size in zip(kept, sizes, strict=True)]
        position = first
        events, raws = [], []
        for run in runs:
            events.append((position, run.event_sizes, run.events))
            raws.append((position, run.raw_sizes, run.raws))
            position += len(run.raw_sizes)
        uids = b"".join([one.uid for one in receipts if one.position is not None])
        latest = max([entry.received_at for entry in kept], default=-1)
        media = [run.media for run in runs]
        self.met |= identities.changed.keys()
        return Ready(receipts, pack_keys(identities.changed), first, uids, rows, events, raws, media, latest)

    def _kept(self, part: _Part, receipts: Sequence[Receipt]) -> list[Run]:
        """The part's runs, without what is known already, and with the uids that the events have got."""
        runs: list[Run] = []
        start = 0
        for run in part.runs:
            end = start + len(run.raw_sizes)
            some = list(zip(receipts[start:end], part.entries[start:end], strict=True))
            kept = [one.position is not None for one, _ in some]
            uids = [uid_text(one.uid).encode() if one.uid != entry.uid else None for one, entry in some]
            if all(kept) and not any(uids):
                runs.append(run)
            elif any(kept):
                contents = zip(*_pieces(self._compression, run), kept, uids, strict=True)
                left = [
                    (event if uid is None else renamed(event, uid), raw)
                    for event, raw, is_kept, uid in contents
                    if is_kept
                ]
                runs += pack(
                    self._compression,
                    [event for event, _ in left],
                    [raw for _, raw in left],
                    [run.media] * len(left),
                )
            start = end
        return runs


class _Contents:
    """What the entries of a large request hold, by their places in it."""

    def __init__(self, compression: Compression, parts: Sequence[_Part]) -> None:
        self._compression = compression
        self._parts = parts
        #: The last run that was looked into: its first entry, events and native bytes.
        self._unpacked: tuple[int, list[tuple[bytes, bytes]]] = (0, [])

    def event(self, place: int) -> bytes:
        return self._at(place)[0]

    def raw(self, place: int) -> bytes:
        return self._at(place)[1]

    def _at(self, place: int) -> tuple[bytes, bytes]:
        start, pieces = self._unpacked
        if not start <= place < start + len(pieces):
            start = 0
            for run in (run for part in self._parts for run in part.runs):
                if place < start + len(run.raw_sizes):
                    break
                start += len(run.raw_sizes)
            events, raws = _pieces(self._compression, run)
            pieces = [(event, opened(raw, run.media).content) for event, raw in zip(events, raws, strict=True)]
            self._unpacked = start, pieces
        return pieces[place - start]


def _look_up(connection: sqlite3.Connection, met: set[bytes], key: bytes) -> Known | None:
    met.add(key)
    return find_keys(connection, (key,)).get(key)


def _pieces(compression: Compression, run: Run) -> tuple[list[bytes], list[bytes]]:
    return (
        split(compression.decompress_one(run.events), run.event_sizes),
        split(compression.decompress_one(run.raws), run.raw_sizes),
    )
