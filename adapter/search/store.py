"""The search database: what it holds, and how entries of the log get into it. Written by the filler alone.

    event     one row for each entry with an event: times, kind, origin, address; what every question ends in
    found_by  (key, time, position): who, client, session and address of an event, each as one key
    words     full text, without the text
    kind      each (type, outcome, reason) there is, known by a small number
    origin    each (source, provider, realm id, realm name) there is, known by a small number
    revision  the corrected events: first position of the event, position of each revision
    state     how far it is filled, of which log, and the secret of its fingerprints

A key is one SQLite value: a negative integer is the fingerprint of a text and its role, another integer an IPv4
address, a blob an IPv6 address. So ids and names of any length cost 8 bytes, and ranges of addresses are ranges of
keys. Kinds and origins are few, so a question settles its conditions on them in memory, and one index holds each.

Indexes end in the time, so that the newest events of any key, kind or origin are read straight from an index.
``found_by`` takes its rows sorted, batch by batch; the others grow in order.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from adapter.filter import Facets, facets
from adapter.mapping.catalogue import Catalogue, CatalogueFile
from adapter.model import Entry

APPLICATION_ID = 0x69647073  # "idps"
VERSION = 1

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
CREATE TABLE found_by (key, time INTEGER, position INTEGER, PRIMARY KEY (key, time, position)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (text, content='', detail=none, columnsize=0, tokenize='ascii');
CREATE TABLE kind (id INTEGER PRIMARY KEY, type TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT);
CREATE TABLE origin (id INTEGER PRIMARY KEY, source TEXT NOT NULL, provider TEXT NOT NULL, realm_id TEXT,
    realm_name TEXT);
CREATE TABLE revision (first INTEGER, position INTEGER, PRIMARY KEY (first, position)) WITHOUT ROWID;
CREATE TABLE state (position INTEGER NOT NULL, uid BLOB, received_at INTEGER, secret BLOB NOT NULL);
"""

#: Roles of a text, before its fingerprint is made.
ACTOR, TARGET, CLIENT, SESSION = "a", "t", "c", "s"

_NEGATIVE = -(1 << 63)
#: How many fingerprints are remembered, and of texts of which length.
_REMEMBERED, _SHORT = 16_384, 200


class Unusable(Exception):
    """The search database is damaged, of another version or of another log: to be thrown away and built again."""


class Overtaken(Exception):
    """Another filler has written meanwhile: the one of a service that was killed ends only after its batch."""


class Keys(dict[str, int]):
    """Fingerprints of texts, each behind the letter of its role: negative integers, made with the secret of one
    search database so that nobody can make two texts meet. Remembers those that it was asked for as a dict."""

    def __init__(self, secret: bytes) -> None:
        super().__init__()
        self._begun = hashlib.blake2b(digest_size=8, key=secret)

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


_MAPPED = bytes(10) + b"\xff\xff"

Address = int | bytes


def stored_address(ip: bytes) -> Address:
    """An address of 16 bytes as a key: an IPv4 address is an integer, so that it costs four bytes."""
    return int.from_bytes(ip[12:], "big") if ip.startswith(_MAPPED) else ip


def stored_ranges(low: bytes, high: bytes) -> list[tuple[Address, Address]]:
    """The ranges of keys that hold the addresses of a CIDR."""
    first, last = _MAPPED + bytes(4), _MAPPED + b"\xff" * 4
    if low.startswith(_MAPPED):
        return [(stored_address(low), stored_address(high))]
    ranges: list[tuple[Address, Address]] = [(low, high)]
    if low <= first and last <= high:
        ranges.append((stored_address(first), stored_address(last)))
    return ranges


def _roughly(row: tuple[int, int, int]) -> float:
    # Twice as fast as sorting by the integers, and near enough: what counts is that neighbours share pages.
    return float(row[0])


def _numbers_first(row: tuple[Address, int, int]) -> tuple[bool, Address]:
    return isinstance(row[0], bytes), row[0]


def create(path: Path) -> None:
    """Make a new, empty search database.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {SCHEMA}")
        connection.execute("INSERT INTO state VALUES (0, NULL, NULL, ?)", (secrets.token_bytes(16),))
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
            run("PRAGMA cache_size = -8192")
            run("PRAGMA wal_autocheckpoint = 8000")
            run("PRAGMA journal_size_limit = 67108864")
            run("PRAGMA temp_store = MEMORY")
            self.position, self.uid, self.received_at, secret = run("SELECT * FROM state").fetchone()
            self._kinds = _Symbols(self._connection, "kind", 3)
            self._origins = _Symbols(self._connection, "origin", 4)
        except TypeError:
            raise Unusable("its state is missing") from None
        except sqlite3.DatabaseError as error:
            # An error without a code of its own is a table that is not there.
            if is_damage(error) or error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise Unusable(str(error)) from None
            raise
        self._keys = Keys(secret)
        self._inode = self._path.stat().st_ino

    def close(self) -> None:
        self._connection.close()

    def add(self, entries: Sequence[Entry], first_position: Callable[[Entry], int | None]) -> None:
        """Take in the next entries of the log, all or none. ``first_position`` tells where an entry's event first
        stood in the log; it is asked for revisions only.

        Raises:
            Unusable: the database was found damaged, or taken away.
            Overtaken: somebody else fills it too.
            sqlite3.OperationalError: the disk did not take it; it may later.
        """
        self._still_there()
        run, many = self._connection.execute, self._connection.executemany
        events: list[tuple[object, ...]] = []
        keys: list[tuple[int, int, int]] = []
        addresses: list[tuple[Address, int, int]] = []
        texts: list[tuple[int, str]] = []
        revised: list[Entry] = []
        for entry in entries:
            if entry.event is None:
                continue
            found = facets(orjson.loads(entry.event), _NO_CATALOGUE)
            position, time = entry.position, found.time
            address = None if found.ip is None else stored_address(found.ip)
            kind = self._kinds.id((found.type, found.outcome, found.reason))
            origin = self._origins.id((found.source, found.provider, found.realm_id, found.realm_name))
            events.append((position, time, entry.received_at, kind, origin, address))
            keys.extend([(key, time, position) for key in self._fingerprints(found)])
            if address is not None:
                addresses.append((address, time, position))
            texts.append((position, " ".join(found.words)))
            if entry.revision:
                revised.append(entry)
        keys.sort(key=_roughly)
        addresses.sort(key=_numbers_first)
        last = entries[-1]
        try:
            run("BEGIN IMMEDIATE")
            try:
                moved = run(
                    "UPDATE state SET position = ?, uid = ?, received_at = ? WHERE position = ?",
                    (last.position, last.uid, last.received_at, self.position),
                )
                if not moved.rowcount:
                    raise Overtaken
                self._kinds.write()
                self._origins.write()
                many(
                    "INSERT INTO event (position, time, received_at, kind, origin, address) VALUES (?,?,?,?,?,?)",
                    events,
                )
                many("INSERT INTO found_by VALUES (?,?,?)", keys)
                many("INSERT INTO found_by VALUES (?,?,?)", addresses)
                many("INSERT INTO words (rowid, text) VALUES (?,?)", texts)
                for entry in revised:
                    self._supersede(entry.position, first_position(entry))
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
        self.position, self.uid, self.received_at = last.position, last.uid, last.received_at

    def _fingerprints(self, found: Facets) -> set[int]:
        known = self._keys
        keys = {known[ACTOR + name] for name in found.actor_names}
        if found.actor is not None:
            keys.add(known[ACTOR + found.actor])
        if found.target is not None:
            keys.add(known[TARGET + found.target])
        for name in found.target_names:
            keys.add(known[TARGET + name])
        if found.client is not None:
            keys.add(known[CLIENT + found.client])
        if found.session is not None:
            keys.add(known.fingerprint(SESSION + found.session))
        return keys

    def _supersede(self, position: int, first: int | None) -> None:
        """Chain a revision to the entry of the same event before it; one without such an entry (the first was
        quarantined) is the first that anybody sees."""
        if first is None:
            return
        run = self._connection.execute
        found = run("SELECT max(position) FROM revision WHERE first = ?", (first,)).fetchone()[0] or first
        run("INSERT INTO revision VALUES (?, ?)", (first, position))
        if run("UPDATE event SET superseded_by = ? WHERE position = ?", (position, found)).rowcount:
            run("UPDATE event SET later = 1 WHERE position = ?", (position,))

    def _still_there(self) -> None:
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            inode = None
        if inode != self._inode:
            raise Unusable("taken away")


class _Symbols:
    """Tuples known by small numbers; new ones are written with the batch that brings them."""

    def __init__(self, connection: sqlite3.Connection, table: str, columns: int) -> None:
        self._connection = connection
        self._insert = f"INSERT INTO {table} VALUES ({','.join('?' * (columns + 1))})"
        self._ids = {row[1:]: row[0] for row in connection.execute(f"SELECT * FROM {table}")}
        self._new: list[tuple[object, ...]] = []

    def id(self, symbol: tuple[str | None, ...]) -> int:
        known: int | None = self._ids.get(symbol)
        if known is None:
            known = self._ids[symbol] = len(self._ids) + 1
            self._new.append((known, *symbol))
        return known

    def write(self) -> None:
        self._connection.executemany(self._insert, self._new)

    def written(self) -> None:
        """What was new is committed; until then each batch brings it again."""
        self._new.clear()


#: Types are kept as they came: questions resolve their aliases, so that a mended catalogue needs no new search.
_NO_CATALOGUE = Catalogue(CatalogueFile())

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT})


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the database is broken, rather than the disk full or somebody in the way."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ
