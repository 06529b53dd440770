"""Appending: the entries of many requests, and later readings of events, inside the transaction of whoever calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from adapter.log.compression import Compression
from adapter.log.identity import Former, Identities, Keys, Known, keys_of, keys_read
from adapter.log.pieces import pieces_of
from adapter.log.protocol import NewEntry, Receipt, Revision, receipt
from adapter.log.sqlite.contents import TransactionContents
from adapter.log.sqlite.index import BASE, find_keys, pack_keys, store_keys
from adapter.log.sqlite.large import LargeRequest
from adapter.log.sqlite.revising import Standing, find_standing, store_revisions
from adapter.log.sqlite.storing import Frame, row_of, store_contents, store_entries, store_events, store_raws
from adapter.model import renamed, uid_text

#: An arrival is noted when at least so many entries came since the last note.
ARRIVAL_STEP = 1000

# By the index of what is quarantined. What became an event since then counts, too: an older version gave it no keys.
_WATCHED = """
SELECT name FROM source WHERE EXISTS (
  SELECT 1 FROM entry INDEXED BY quarantined WHERE entry.source = source.id AND size IS NULL
)
"""


@dataclass(slots=True)
class _Place:
    """Where the log stands."""

    #: Position of the last entry.
    head: int
    #: The latest arrival so far, and up to where arrivals are noted.
    latest: int
    noted: int
    #: Numbers of the sources.
    sources: dict[str, int] = field(default_factory=dict)


def read_former(connection: sqlite3.Connection) -> Former:
    """Which keys of an older version the log may have."""
    (until,) = connection.execute("SELECT until FROM former").fetchone() or (0,)
    return Former(until)


def read_watched(connection: sqlite3.Connection) -> set[str]:
    """Names of the sources of which the log has something quarantined."""
    return {name for (name,) in connection.execute(_WATCHED)}


class Appender:
    """Appends through one connection; to be used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, compression: Compression) -> None:
        self._connection = connection
        self._compression = compression
        noted = "SELECT latest, position FROM arrival ORDER BY latest DESC, position DESC LIMIT 1"
        later = "SELECT coalesce(max(position), 0), coalesce(max(received_at), -1) FROM entry WHERE position > ?"
        latest, position = connection.execute(noted).fetchone() or (-1, 0)
        last, latest_after = connection.execute(later, (position,)).fetchone()
        (removed,) = connection.execute("SELECT coalesce(max(last), 0) FROM extent").fetchone()
        sources = dict(connection.execute("SELECT name, id FROM source"))
        #: Which keys of an older version the log may have.
        self.former = read_former(connection)
        #: Names of the sources of which it has, or had since it was opened, something quarantined.
        self.watched = read_watched(connection)
        #: As committed, and as it will be when the transaction that runs is.
        head = max(last, position, removed)
        self._place = self._next = _Place(head, max(latest, latest_after), position, sources)
        #: Large requests that arrive, and keys that the transaction that runs has stored.
        self._large: list[LargeRequest] = []
        self._changed: Collection[bytes] = ()

    @property
    def head(self) -> int:
        """Position of the last entry that is committed."""
        return self._place.head

    def append(self, requests: Sequence[Sequence[NewEntry]]) -> list[list[Receipt]]:
        """Store the new ones among the entries of these requests, in order; a list of receipts for each request.

        To be called once in a transaction; `commit` follows, or `roll_back`.
        """
        contents = TransactionContents(self._connection, self._compression, self._place.head)
        keys = keys_of([entry for request in requests for entry in request], self.former, self.watched)
        receipts = self._resolve(requests, keys, contents)
        if contents.new:
            self._store(contents.new)
        return receipts

    def _resolve(
        self, requests: Sequence[Sequence[NewEntry]], keys: Sequence[Keys], contents: TransactionContents
    ) -> list[list[Receipt]]:
        """The receipts of requests, whose entries have these keys; these are stored, and ``contents`` gets the entries
        that are to be."""
        self._next = replace(self._place, sources=dict(self._place.sources))
        known = find_keys(self._connection, {key for those in keys for key in those if key is not None})
        identities = Identities(known, self._look_up, contents)
        receipts: list[list[Receipt]] = []
        new, places = contents.new, contents.places
        before = self._place.head + 1
        of_entry = iter(keys)
        for request in requests:
            identities.begin_request()
            answers = []
            for place, entry in enumerate(request):
                position = before + len(new)
                new.append(entry)
                places.append(place)
                found = identities.resolve(entry, next(of_entry), position)
                if found.position != position:
                    new.pop()
                    places.pop()
                    lacks_event = found.quarantined and entry.event is not None
                    answers.append(receipt((found.uid, None, found.position if lacks_event else None)))
                    continue
                if found.uid != entry.uid:
                    new[-1] = _renamed(entry, found.uid)
                answers.append(receipt((found.uid, position, None)))
            receipts.append(answers)
        if identities.changed:
            store_keys(self._connection, pack_keys(identities.changed))
        self._changed = identities.changed.keys()
        return receipts

    def _look_up(self, key: bytes) -> Known | None:
        return find_keys(self._connection, (key,)).get(key)

    def begin_large(self) -> LargeRequest:
        """A large request that arrives now; `append_large` or `drop_large` follows."""
        # Before its transaction: a source that is new is stored at once.
        request = LargeRequest(
            self._connection,
            self._compression,
            self.former,
            self.watched,
            lambda name: self._source(self._place, name),
        )
        self._large.append(request)
        return request

    def drop_large(self, request: LargeRequest) -> None:
        """It is over, or does not go on."""
        self._large.remove(request)

    def append_large(self, request: LargeRequest) -> list[Receipt]:
        """Store the new ones among the entries of one large request, as `append`."""
        request.refresh()
        self._changed = request.met
        self._next = replace(self._place, sources=dict(self._place.sources))
        first = self._next.head + 1
        receipts: list[Receipt] = []
        for ready in request.ready:
            store_keys(self._connection, ready.keys, first)
            begin = ready.first - BASE + first
            if ready.rows:
                store_entries(self._connection, begin, ready.uids, ready.rows)
                store_events(self._connection, _moved(ready.events, first))
                store_raws(self._connection, _moved(ready.raws, first), ready.media)
                self._move(len(ready.rows), ready.latest)
            receipts += [
                receipt((one.uid, _placed(one.position, first), _placed(one.quarantined, first)))
                for one in ready.receipts
            ]
        return receipts

    def revise(self, revisions: Sequence[Revision]) -> list[int | None] | None:
        """Store later readings of events in the transaction that runs, as `adapter.log.protocol.Log.revise`; `commit`
        follows, or `roll_back`."""
        standing = find_standing(self._connection, revisions)
        if not revisions or standing is None:
            return None if standing is None else []
        first = self._next.head + 1
        own = [one.keys is None for one in revisions]
        if not all(own):
            own = self._read_again(revisions, standing)
        kept = [pair for pair, is_own in zip(zip(revisions, standing, strict=True), own, strict=True) if is_own]
        if kept:
            standing = [its for _, its in kept]
            store_revisions(self._connection, self._compression, first, [one for one, _ in kept], standing)
            self._next = replace(self._next)
            self._move(len(kept), max([its.received_at for its in standing]))
        positions = iter(range(first, first + len(kept)))
        return [next(positions) if is_own else None for is_own in own]

    def _read_again(self, revisions: Sequence[Revision], standing: Sequence[Standing]) -> list[bool]:
        """Store the keys that revisions bring; which of them are no copies of other events by these."""
        keys = [None if one.keys is None else keys_read(one.keys) for one in revisions]
        asked = {key for those in keys if those is not None for key in those if key is not None}
        contents = TransactionContents(self._connection, self._compression, self._next.head)
        identities = Identities(find_keys(self._connection, asked), self._look_up, contents)
        own = []
        for one, its, its_keys in zip(revisions, standing, keys, strict=True):
            if its_keys is None:
                own.append(True)
                continue
            found = identities.read_again(bytes.fromhex(its.uid), its_keys, one.first, one.event)
            own.append(found.position == one.first)
        if identities.changed:
            store_keys(self._connection, pack_keys(identities.changed))
        self._changed = {*self._changed, *identities.changed}
        return own

    def commit(self) -> None:
        """What was appended stands."""
        self._place = self._next
        for request in self._large:
            request.see_stored(self._changed)
        self._changed = ()

    def roll_back(self) -> None:
        """What was appended since the last commit does not stand."""
        self._next = self._place
        self._changed = ()

    def _store(self, new: Sequence[NewEntry]) -> None:
        first = self._next.head + 1
        events = [entry.event or b"" for entry in new]
        self._store_entries(new, list(map(len, events)), first)
        store_contents(self._connection, self._compression, first, events, *pieces_of(new))
        self._move(len(new), max([entry.received_at for entry in new]))

    def _store_entries(self, new: Sequence[NewEntry], sizes: Sequence[int], first: int) -> None:
        """Store the rows of entries; ``sizes``: of their events, bytes."""
        place = self._next
        rows = [row_of(entry, self._source(place, entry.source), size) for entry, size in zip(new, sizes, strict=True)]
        store_entries(self._connection, first, b"".join([entry.uid for entry in new]), rows)

    def _move(self, entries: int, latest: int) -> None:
        """Go on by so many entries, the latest of which arrived at ``latest``."""
        self._next.head += entries
        self._next.latest = max(self._next.latest, latest)
        if self._next.head - self._next.noted >= ARRIVAL_STEP:
            note = (self._next.latest, self._next.head)
            self._connection.execute("INSERT INTO arrival (latest, position) VALUES (?, ?)", note)
            self._next.noted = self._next.head

    def _source(self, place: _Place, name: str) -> int:
        """Number of a source. A new one is stored in the transaction that runs, if one does."""
        number = place.sources.get(name)
        if number is None:
            number = self._connection.execute("INSERT INTO source (name) VALUES (?)", (name,)).lastrowid
            assert number is not None
            place.sources[name] = number
        return number


def _renamed(entry: NewEntry, uid: bytes) -> NewEntry:
    event = None if entry.event is None else renamed(entry.event, uid_text(uid).encode())
    return entry._replace(uid=uid, event=event)


def _placed(position: int | None, first: int) -> int | None:
    """A position in the log; ``first``: the one that `BASE` stands for."""
    return position if position is None or position < BASE else position - BASE + first


def _moved(frames: Sequence[Frame], first: int) -> list[Frame]:
    """Frames at their positions; ``first``: the one that `BASE` stands for."""
    return [(position - BASE + first, lengths, frame) for position, lengths, frame in frames]
