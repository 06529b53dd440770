"""The search database: what it holds, and how entries of the log get into it. Written by the filler alone.

    event     one row for each entry with an event: times, kind, origin, address; what every question ends in
    found_by  (part, key, time, position): who, client, session and address of an event, each as one key
    part      the stretches of the log that found_by is divided into, and between which times their events lie
    words_N   full text of part N, without the text
    kind      each (type, outcome, reason) there is, known by a small number; the first `SYMBOLS_LIMIT` of them
    origin    each (source, provider, realm id, realm name) there is, the same
    any_type  types of events whose kind does not tell it
    state     how far it is filled, of which log, the secret of its fingerprints, and how many entries a part is

A key is one SQLite value: a negative integer is the fingerprint of a text and its role, another integer an IPv4
address, a blob an IPv6 address. So ids and names of any length cost 8 bytes, and ranges of addresses are ranges of
keys. Kinds and origins are few, so a question settles its conditions on them in memory, and one index holds each. But
senders choose types and realms, and may invent them without end: beyond the limit, or where they are long, an event
gets a *general* kind or origin, with a negative number and without type or realm, and is found by keys of these.

Indexes end in the time, so that the newest events of any key, kind or origin are read straight from an index. All of
them grow in order but ``found_by``, where the rows of a batch go everywhere: in one tree over all entries each would
soon change a page of its own. So it takes them sorted, and has a tree for each part of the log, one after the other in
the same table; a question by key looks into one part after the other, the newest first. For the same reason a word
has a list for each part, in a table of its own: no list is longer than a part, and neither is the work for any
condition before a page may be full.

What is removed from the log is removed here, part by part (`adapter.search.pruning`): a part of which nothing is left
goes with its tables.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from adapter.log.protocol import EventRow
from adapter.search_fields import MAPPED, SYSTEM, address_bytes, search_fields

APPLICATION_ID = 0x69647073  # "idps"
VERSION = 6

SCHEMA = """
CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    address,
    later INTEGER,           -- 1: an earlier entry of the same event is here
    superseded_by INTEGER    -- position of the next revision of the same event
);
CREATE INDEX event_time ON event (time);
CREATE INDEX event_kind ON event (kind, time);
CREATE INDEX event_origin ON event (origin, time);
CREATE INDEX event_received ON event (received_at);
CREATE TABLE found_by (part INTEGER, key, time INTEGER, position INTEGER, PRIMARY KEY (part, key, time, position))
    WITHOUT ROWID;
-- removed: how many entries of the part were gone from the log when it was pruned last; stale: how many events went
-- whose keys and words are still here.
CREATE TABLE part (id INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0, stale INTEGER NOT NULL DEFAULT 0);
-- Of a general kind (id < 0) type is "system." or empty; of a general origin the realm is null.
CREATE TABLE kind (id INTEGER PRIMARY KEY, type TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT);
CREATE TABLE origin (id INTEGER PRIMARY KEY, source TEXT NOT NULL, provider TEXT NOT NULL, realm_id TEXT,
    realm_name TEXT);
CREATE TABLE any_type (position INTEGER PRIMARY KEY, type TEXT NOT NULL);
CREATE TABLE state (position INTEGER NOT NULL, uid BLOB, received_at INTEGER, secret BLOB NOT NULL,
    part_size INTEGER NOT NULL);
"""

#: A batch adds a few rows to each of many pages: larger pages are fewer to find and to write. Bytes.
PAGE_SIZE = 8192
#: Entries of the log in one part. With twice as many each costs half as much again; with half as many there are twice
#: the parts to look into for a rare key.
PART_SIZE = 1 << 17

#: Kinds, and origins, that are told apart, and how long their texts may be together, characters: whoever sends may
#: invent types and realms, and all of these are held in memory.
SYMBOLS_LIMIT, SYMBOL_LENGTH = 4_096, 400

#: Roles of a text, before its fingerprint is made. Type and realm have keys only where kind and origin are general.
ACTOR, TARGET, CLIENT, SESSION, ID, TYPE, REALM = "a", "t", "c", "s", "i", "y", "r"

_NEGATIVE = -(1 << 63)
#: How many fingerprints of a role, and how many addresses, are remembered, and of texts of which length.
_REMEMBERED, _SHORT = 16_384, 200


class Unusable(Exception):
    """The search database is damaged, of another version or of another log: to be thrown away and built again."""


class Overtaken(Exception):
    """Another filler has written meanwhile: the one of a service that was killed ends only after its batch."""


class Keys(dict[str, int]):
    """Fingerprints of texts in one role: negative integers, made with the secret of one search database so that nobody
    can make two texts meet. Remembers those that it was asked for as a dict."""

    def __init__(self, secret: bytes, role: str) -> None:
        super().__init__()
        self._begun = hashlib.blake2b(role.encode(), digest_size=8, key=secret)

    def fingerprint(self, text: str) -> int:
        """The fingerprint of a text that is not worth remembering."""
        digest = self._begun.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest(), "little", signed=True) | _NEGATIVE

    def __missing__(self, text: str) -> int:
        made = self.fingerprint(text)
        if len(text) <= _SHORT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[text] = made
        return made


def words_of(part: int) -> str:
    """The table of the words of a part."""
    return f"words_{part:d}"


_WORDS = "CREATE VIRTUAL TABLE {} USING fts5 (text, content='', detail=none, columnsize=0, tokenize='ascii')"

Address = int | bytes
#: Position, time, arrival, kind, origin, address of an event.
_EventColumns = tuple[int, int, int, int, int, Address | None]
#: Key, time, position.
_Found = tuple[Address, int, int]


class _Batch(NamedTuple):
    """What of some entries goes into the tables."""

    #: The last entry, if there is any.
    last: EventRow | None
    events: list[_EventColumns]
    #: Of found_by, sorted.
    numbers: list[_Found]
    blobs: list[_Found]
    #: Position and words, position and type.
    texts: list[tuple[int, str]]
    types: list[tuple[int, str]]
    #: Position and uid of revisions.
    revised: list[tuple[int, bytes]]


class _Addresses(dict[str, Address | None]):
    """Addresses as keys, by how they were written; remembers those that it was asked for."""

    def __missing__(self, text: str) -> Address | None:
        ip = address_bytes(text)
        made = None if ip is None else stored_address(ip)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = made
        return made


def stored_address(ip: bytes) -> Address:
    """An address of 16 bytes as a key: an IPv4 address is an integer, so that it costs four bytes."""
    return int.from_bytes(ip[12:], "big") if ip.startswith(MAPPED) else ip


def stored_ranges(low: bytes, high: bytes) -> list[tuple[Address, Address]]:
    """The ranges of keys that hold the addresses of a CIDR."""
    first, last = MAPPED + bytes(4), MAPPED + b"\xff" * 4
    if low.startswith(MAPPED):
        return [(stored_address(low), stored_address(high))]
    ranges: list[tuple[Address, Address]] = [(low, high)]
    if low <= first and last <= high:
        ranges.append((stored_address(first), stored_address(last)))
    return ranges


def _roughly(row: _Found) -> float:
    # Twice as fast as sorting by the integers, and near enough: what counts is that neighbours share pages.
    return float(row[0])


#: Rows of one statement. Its cursors stay where they put the row before, which is near.
_ROWS = 100


def _insert(connection: sqlite3.Connection, into: str, values: str, rows: Sequence[tuple[object, ...]]) -> None:
    whole = len(rows) - len(rows) % _ROWS
    stretches = (rows[start : start + _ROWS] for start in range(0, whole, _ROWS))
    many = f"INSERT INTO {into} VALUES {','.join([values] * _ROWS)}"
    connection.executemany(many, (list(chain.from_iterable(stretch)) for stretch in stretches))
    connection.executemany(f"INSERT INTO {into} VALUES {values}", rows[whole:])


def create(path: Path, *, part_size: int = PART_SIZE) -> None:
    """Make a new, empty search database. ``part_size``: entries of the log in one part.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {SCHEMA}")
        connection.execute("INSERT INTO state VALUES (0, NULL, NULL, ?, ?)", (os.urandom(16), part_size))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def remove(path: Path) -> None:
    """Throw a search database away, if there is one."""
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


class Store:
    """The one writer of a search database. Not for several threads."""

    def __init__(self, path: Path) -> None:
        """Open what is there, or make a new one.

        Raises:
            Unusable: what is there is damaged, of another version, or not a search database.
            sqlite3.OperationalError: the disk or the folder does not allow it.
        """
        if not path.exists():
            remove(path)  # a journal without its database
            create(path)
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        try:
            self._check()
        except BaseException:
            self._connection.close()
            raise

    def _check(self) -> None:
        run = self._connection.execute
        try:
            if run("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise Unusable("not a search database")
            if (version := run("PRAGMA user_version").fetchone()[0]) != VERSION:
                raise Unusable(f"of version {version}, not {VERSION}")
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            pages, size = run("PRAGMA page_count").fetchone()[0], run("PRAGMA page_size").fetchone()[0]
            if self._path.stat().st_size < pages * size:
                raise Unusable("cut short")
            # A lost search is built again from the log: it needs no sync of its own in every commit, only order.
            run("PRAGMA synchronous = NORMAL")
            run("PRAGMA cache_size = -4096")
            run("PRAGMA wal_autocheckpoint = 4000")
            run("PRAGMA journal_size_limit = 67108864")
            run("PRAGMA temp_store = MEMORY")
            # What is removed is gone from the file, not only out of reach.
            run("PRAGMA secure_delete = ON")
            self.position, self.uid, self.received_at, secret, self.part_size = run("SELECT * FROM state").fetchone()
            self._kinds = _Symbols(self._connection, "kind", 3, _general_kind)
            self._origins = _Symbols(self._connection, "origin", 4, _general_origin)
        except TypeError:
            raise Unusable("its state is missing") from None
        except sqlite3.DatabaseError as error:
            # An error without a code of its own is a table that is not there.
            if is_damage(error) or error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise Unusable(str(error)) from None
            raise
        self._actors, self._targets, self._clients, self._sessions, self._ids, self._types, self._realms = (
            Keys(secret, role) for role in (ACTOR, TARGET, CLIENT, SESSION, ID, TYPE, REALM)
        )
        self._addresses = _Addresses()
        self._inode = self._path.stat().st_ino

    def close(self) -> None:
        self._connection.close()

    def rows(self, question: str, values: Sequence[object] = ()) -> list[tuple[int, ...]]:
        """What the database answers.

        Raises:
            Unusable: the database was found damaged.
        """
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise Unusable(str(error)) from None
            raise

    @contextmanager
    def transaction(self, place: tuple[int, bytes | None, int | None] | None = None) -> Iterator[sqlite3.Connection]:
        """One transaction; ``place``: up to where the database is filled with it (position, uid and arrival of the last
        entry), if it goes on.

        Raises:
            Unusable: the database was found damaged, or taken away.
            Overtaken: somebody else fills it too.
            sqlite3.OperationalError: the disk did not take it; it may later.
        """
        self._still_there()
        position, uid, received_at = place or (self.position, self.uid, self.received_at)
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
            try:
                moved = run(
                    "UPDATE state SET position = ?, uid = ?, received_at = ? WHERE position = ?",
                    (position, uid, received_at, self.position),
                )
                if not moved.rowcount:
                    raise Overtaken
                yield self._connection
                self._kinds.write()
                self._origins.write()
                run("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise Unusable(str(error)) from None
            raise
        self._kinds.written()
        self._origins.written()
        self.position, self.uid, self.received_at = position, uid, received_at

    def add(self, entries: Iterable[EventRow], find_before: Callable[[bytes, int], int | None]) -> None:
        """Take in the next entries of the log, at least one, all or none. ``find_before`` tells which entry stood for
        the event of a uid before the one at a position; it is asked for revisions only.

        Raises: as `transaction`.
        """
        batch = self._read(entries)
        last = batch.last
        assert last is not None
        with self.transaction((last.position, last.uid, last.received_at)) as connection:
            into = "event (position, time, received_at, kind, origin, address)"
            _insert(connection, into, "(?,?,?,?,?,?)", batch.events)
            self._insert_found(batch)
            connection.executemany("INSERT INTO any_type VALUES (?,?)", batch.types)
            for revision_at, revised_uid in batch.revised:
                self._supersede(revision_at, find_before(revised_uid, revision_at))

    def add_again(self, entries: Iterable[EventRow]) -> None:
        """Take in keys and words of entries whose events are here, inside of a transaction."""
        self._insert_found(self._read(entries))

    def _read(self, entries: Iterable[EventRow]) -> _Batch:
        """What is found by what, in the order in which it is stored."""
        kinds, origins, addresses = self._kinds, self._origins, self._addresses
        actors, targets, clients, sessions = self._actors, self._targets, self._clients, self._sessions
        events: list[_EventColumns] = []
        #: Of found_by, apart: SQLite has numbers before blobs.
        numbers: list[_Found] = []
        blobs: list[_Found] = []
        texts: list[tuple[int, str]] = []
        types: list[tuple[int, str]] = []
        revised: list[tuple[int, bytes]] = []
        entry: EventRow | None = None
        for entry in entries:
            position, uid, revision, received_at, event = entry
            if event is None:
                continue
            found = search_fields(event)
            time = found.time
            actor, names = found.actor, found.actor_names
            for name in names:
                numbers.append((actors[name], time, position))
            if actor is not None and actor not in names:
                numbers.append((actors[actor], time, position))
            target, names = found.target, found.target_names
            for name in names:
                numbers.append((targets[name], time, position))
            if target is not None and target not in names:
                numbers.append((targets[target], time, position))
            if found.client is not None:
                numbers.append((clients[found.client], time, position))
            if found.session is not None:
                numbers.append((sessions.fingerprint(found.session), time, position))
            if found.id is not None:
                numbers.append((self._ids.fingerprint(found.id), time, position))
            address = None if found.address is None else addresses[found.address]
            if type(address) is int:
                numbers.append((address, time, position))
            elif type(address) is bytes:
                blobs.append((address, time, position))
            kind = kinds[found.type, found.outcome, found.reason]
            origin = origins[found.source, found.provider, found.realm_id, found.realm_name]
            if kind < 0:
                types.append((position, found.type))
                numbers.append((self._types.fingerprint(found.type), time, position))
            if origin < 0:
                for realm in {found.realm_id, found.realm_name}:
                    if realm is not None:
                        numbers.append((self._realms.fingerprint(realm), time, position))
            events.append((position, time, received_at, kind, origin, address))
            texts.append((position, found.text))
            if revision:
                revised.append((position, uid))
        numbers.sort(key=_roughly)
        blobs.sort()
        return _Batch(entry, events, numbers, blobs, texts, types, revised)

    def _insert_found(self, batch: _Batch) -> None:
        """Put sorted keys, and words, into their parts: a batch mostly has one."""
        size, connection = self.part_size, self._connection
        parts = {event[0] // size for event in batch.events}
        for part in sorted(parts):
            times = [event[1] for event in batch.events if event[0] // size == part]
            connection.execute(
                "INSERT INTO part (id, earliest, latest) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE "
                "SET earliest = min(earliest, ?2), latest = max(latest, ?3)",
                (part, min(times), max(times)),
            )
            for rows in (batch.numbers, batch.blobs):
                here = rows if len(parts) == 1 else [row for row in rows if row[2] // size == part]
                _insert(connection, "found_by", f"({part},?,?,?)", here)
            if not self._has_words(part):
                connection.execute(_WORDS.format(words_of(part)))
            texts = batch.texts if len(parts) == 1 else [text for text in batch.texts if text[0] // size == part]
            connection.executemany(f"INSERT INTO {words_of(part)} (rowid, text) VALUES (?,?)", texts)

    def _has_words(self, part: int) -> bool:
        named = "SELECT 1 FROM sqlite_schema WHERE name = ?"
        return self._connection.execute(named, (words_of(part),)).fetchone() is not None

    def _supersede(self, position: int, before: int | None) -> None:
        """Chain a revision to the entry that stood for the same event before it."""
        if before is not None:
            run = self._connection.execute
            run("UPDATE event SET superseded_by = ? WHERE position = ?", (position, before))
            run("UPDATE event SET later = 1 WHERE position = ?", (position,))

    def _still_there(self) -> None:
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            inode = None
        if inode != self._inode:
            raise Unusable("taken away")


Symbol = tuple[str | None, ...]


class _Symbols(dict[Symbol, int]):
    """Tuples known by small numbers; new ones are written with the batch that brings them. There are so many at most:
    all others are known by a general one, which is less exact."""

    def __init__(
        self, connection: sqlite3.Connection, table: str, columns: int, general: Callable[[Symbol], Symbol]
    ) -> None:
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        super().__init__({row[1:]: row[0] for row in rows if row[0] > 0})
        self._connection = connection
        self._insert = f"INSERT INTO {table} VALUES ({','.join('?' * (columns + 1))})"
        self._new: list[tuple[object, ...]] = []
        self._general = general
        #: Known by negative numbers.
        self._generals: dict[Symbol, int] = {row[1:]: row[0] for row in rows if row[0] < 0}

    def __missing__(self, symbol: Symbol) -> int:
        if len(self) < SYMBOLS_LIMIT and sum([len(text) for text in symbol if text is not None]) <= SYMBOL_LENGTH:
            number = self[symbol] = len(self) + 1
        else:
            symbol = self._general(symbol)
            if symbol in self._generals:
                return self._generals[symbol]
            number = self._generals[symbol] = -len(self._generals) - 1
        self._new.append((number, *symbol))
        return number

    def write(self) -> None:
        self._connection.executemany(self._insert, self._new)

    def written(self) -> None:
        """What was new is committed; until then each batch brings it again."""
        self._new.clear()


def _general_kind(kind: Symbol) -> Symbol:
    type, outcome, reason = kind
    return (SYSTEM if type is not None and type.startswith(SYSTEM) else ""), outcome, reason


def _general_origin(origin: Symbol) -> Symbol:
    source, provider, _, _ = origin
    return source, provider, None, None


def used_bytes(path: Path) -> int:
    """Bytes that a search database takes, without what is free in its file; 0 where there is none that can be read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            pages, free, size = (
                int(connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
    except sqlite3.Error:
        return 0
    return (pages - free) * size


_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT})


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the database is broken, rather than the disk full or somebody in the way."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ
