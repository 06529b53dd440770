"""How entries of the log get into the search database."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson

from adapter.log.opening import path_of
from adapter.log.protocol import EventRow, Events
from adapter.search import accounts as of_accounts
from adapter.search.keys import HOUR, EventKeys, Symbol, Symbols, general_kind, general_origin
from adapter.search.learning import Learning
from adapter.search.sqlite.accounts import add as added
from adapter.search.sqlite.accounts import count_again, put, saying
from adapter.search.sqlite.pruning import prune
from adapter.search.sqlite.schema import (
    APPLICATION_ID,
    VERSION,
    WORDS,
    Address,
    create,
    remove,
    stored_address,
    words_of,
)
from adapter.search.store import Overtaken, Unusable
from adapter.search.values import Values
from adapter.search_fields import address_bytes, search_fields

#: How many addresses are remembered.
_REMEMBERED = 16_384


#: Position, time, arrival, kind, origin, address, user, client, account and deed of an event.
_EventColumns = tuple[int, int, int, int, int, Address | None, int | None, int | None, int | None, int | None]


class _Batch(NamedTuple):
    """What of some entries goes into the tables."""

    #: The last entry, if there is any.
    last: EventRow | None
    events: list[_EventColumns]
    #: Of found_by, sorted.
    numbers: list[tuple[int, int, int]]
    paths: list[tuple[str, int, int]]
    blobs: list[tuple[bytes, int, int]]
    #: Position and words, position and type.
    texts: list[tuple[int, str]]
    types: list[tuple[int, str]]
    #: Position and uid of revisions.
    revised: list[tuple[int, bytes]]
    #: Events of each hour, origin and kind.
    hours: Counter[tuple[int, int, int]]
    #: What they say of accounts.
    accounts: list[of_accounts.Row]


class _Addresses(dict[str, Address | None]):
    """Addresses as keys, by how they were written; remembers those that it was asked for."""

    def __missing__(self, text: str) -> Address | None:
        ip = address_bytes(text)
        made = None if ip is None else stored_address(ip)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = made
        return made


def _roughly(row: tuple[int, int, int]) -> float:
    # Twice as fast as sorting by the integers, and near enough: what counts is that neighbours share pages.
    return float(row[0])


_NAME = """
INSERT INTO name VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET shown = excluded.shown,
first = min(first, excluded.first), last = max(last, excluded.last), part = max(part, excluded.part)
"""

_COUNT = "INSERT INTO hourly VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET events = events + excluded.events"

_SAY_AGAIN = " ON CONFLICT DO UPDATE SET events = events + excluded.events"

#: Rows of one statement. Its cursors stay where they put the row before, which is near.
_ROWS = 100


def _insert(
    connection: sqlite3.Connection, into: str, values: str, rows: Sequence[tuple[object, ...]], conflict: str = ""
) -> None:
    whole = len(rows) - len(rows) % _ROWS
    stretches = (rows[start : start + _ROWS] for start in range(0, whole, _ROWS))
    many = f"INSERT INTO {into} VALUES {','.join([values] * _ROWS)}{conflict}"
    connection.executemany(many, (list(chain.from_iterable(stretch)) for stretch in stretches))
    connection.executemany(f"INSERT INTO {into} VALUES {values}{conflict}", rows[whole:])


class SqliteStore:
    """`adapter.search.store.Store` of a file."""

    def __init__(self, path: Path, *, with_people: bool = True) -> None:
        """Open what is there, or make a new one. ``with_people``: whether it keeps accounts.

        Raises:
            Unusable: what is there is damaged, of another version, not a search database, or keeps accounts and is to
                keep none, or the other way round.
            sqlite3.OperationalError: the disk or the folder does not allow it.
        """
        if not path.exists():
            remove(path)  # a journal without its database
            create(path, people=with_people)
        self._path = path
        self._with_people = with_people
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
            state = run("SELECT * FROM state").fetchone()
            self.position, self.uid, self.received_at, secret, self.part_size, has_people = state
            if bool(has_people) is not self._with_people:
                raise Unusable("people are to be known now" if self._with_people else "people are not to be known")
            self._kinds, self._origins = self._symbols("kind", general_kind), self._symbols("origin", general_origin)
        except TypeError:
            raise Unusable("its state is missing") from None
        except sqlite3.DatabaseError as error:
            # An error without a code of its own is a table that is not there.
            if is_damage(error) or error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise Unusable(str(error)) from None
            raise
        self._keys = EventKeys(secret)
        self._learning = Learning()
        self._values = Values(self._said_in)
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
                self._write_symbols("kind", self._kinds)
                self._write_symbols("origin", self._origins)
                self._write_names()
                self._write_values()
                run("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise Unusable(str(error)) from None
            raise
        self._kinds.new.clear()
        self._origins.new.clear()
        self._learning.new.clear()
        self.position, self.uid, self.received_at = position, uid, received_at

    def add(self, entries: Iterable[EventRow], find_before: Callable[[bytes, int], int | None]) -> None:
        """As `adapter.search.store.Store.add`.

        Raises: as `transaction`.
        """
        batch = self._read(entries)
        last = batch.last
        assert last is not None
        with self.transaction((last.position, last.uid, last.received_at)) as connection:
            into = "event (position, time, received_at, kind, origin, address, actor, client, account, deed)"
            _insert(connection, into, "(?,?,?,?,?,?,?,?,?,?)", batch.events)
            self._insert_found(batch)
            connection.executemany("INSERT INTO any_type VALUES (?,?)", batch.types)
            changed: set[int] = set()
            for revision_at, revised_uid in batch.revised:
                before = find_before(revised_uid, revision_at)
                changed |= self._changed(before, revision_at)
                batch.hours.subtract(self._supersede(revision_at, before))
            # Then only: accounts that are counted again here are counted from events of which each stands once.
            added(connection, batch.accounts)
            if changed:
                self.count_again(changed)
            self.count(batch.hours)

    def skip(self, position: int, uid: bytes | None) -> None:
        """As `adapter.search.store.Store.skip`."""
        with self.transaction((position, uid, None)):
            pass

    def prune(self, log: Events) -> Iterator[None]:
        """As `adapter.search.store.Store.prune`."""
        return prune(self, log)

    def throw_away(self) -> None:
        """As `adapter.search.store.Store.throw_away`; the file is removed by the service, which has readers of it."""
        self.close()

    def add_again(self, entries: Iterable[EventRow]) -> None:
        """Take in keys, words and values of entries whose events are here, inside of a transaction."""
        self._insert_found(self._read(entries))
        self._write_values()

    def _read(self, entries: Iterable[EventRow]) -> _Batch:
        """What is found by what, in the order in which it is stored."""
        kinds, origins, addresses, keys_of = self._kinds, self._origins, self._addresses, self._keys.of
        learn, size = self._learning.take, self.part_size
        say = self._values.take
        events: list[_EventColumns] = []
        #: Of found_by, apart: SQLite has numbers before texts, and these before blobs. Key, time, position.
        numbers: list[tuple[int, int, int]] = []
        paths: list[tuple[str, int, int]] = []
        blobs: list[tuple[bytes, int, int]] = []
        texts: list[tuple[int, str]] = []
        types: list[tuple[int, str]] = []
        revised: list[tuple[int, bytes]] = []
        users, clients, ids = self._keys.users, self._keys.clients, self._keys.actors
        with_people, deeds = self._with_people, of_accounts.Deeds()
        account: int | None = None
        deed: int | None = None
        entry: EventRow | None = None
        for entry in entries:
            position, uid, revision, received_at, event = entry
            if event is None:
                continue
            found = search_fields(event)
            time = found.time
            kind = kinds[found.type, found.outcome, found.reason]
            origin = origins[found.source, found.provider, found.realm_id, found.realm_name]
            for key in keys_of(found, general_kind=kind < 0, general_origin=origin < 0):
                numbers.append((key, time, position))
            address = None if found.address is None else addresses[found.address]
            if type(address) is int:
                numbers.append((address, time, position))
            elif type(address) is bytes:
                blobs.append((address, time, position))
            if (resource := found.resource) is not None:
                paths.append((resource, time, position))
            if kind < 0:
                types.append((position, found.type))
            learn(found, origin, position // size)
            user, client = found.user, found.client
            say(found, user, origin, position // size, has_address=address is not None)
            actor = None if user is None else users[user]
            of_client = None if client is None else clients[client]
            if with_people:
                id = of_accounts.account_of(found)
                account, deed = (None, None) if id is None else (ids[id], of_accounts.deed_of(found))
                deeds.take(account, deed, origin, time, position, is_new=not revision)
            events.append((position, time, received_at, kind, origin, address, actor, of_client, account, deed))
            texts.append((position, found.text))
            if revision:
                revised.append((position, uid))
        numbers.sort(key=_roughly)
        paths.sort()
        blobs.sort()
        hours = Counter([(time // HOUR, origin, kind) for _, time, _, kind, origin, *_ in events])
        return _Batch(entry, events, numbers, paths, blobs, texts, types, revised, hours, deeds.rows())

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
            rows: Sequence[tuple[object, int, int]]
            for rows in (batch.numbers, batch.paths, batch.blobs):
                here = rows if len(parts) == 1 else [row for row in rows if row[2] // size == part]
                _insert(connection, "found_by", f"({part},?,?,?)", here)
            if not self._has_words(part):
                connection.execute(WORDS.format(words_of(part)))
            texts = batch.texts if len(parts) == 1 else [text for text in batch.texts if text[0] // size == part]
            connection.executemany(f"INSERT INTO {words_of(part)} (rowid, text) VALUES (?,?)", texts)

    def _has_words(self, part: int) -> bool:
        named = "SELECT 1 FROM sqlite_schema WHERE name = ?"
        return self._connection.execute(named, (words_of(part),)).fetchone() is not None

    def _supersede(self, position: int, before: int | None) -> list[tuple[int, int, int]]:
        """Chain a revision to the entry that stood for the same event before it; what that counted as: hour, origin and
        kind."""
        counted = []
        if before is not None:
            run = self._connection.execute
            counted = self.counted([before])
            run("UPDATE event SET superseded_by = ? WHERE position = ?", (position, before))
            run("UPDATE event SET later = 1 WHERE position = ?", (position,))
        return counted

    def _changed(self, before: int | None, position: int) -> set[int]:
        """The accounts that are to be counted again since the event of one entry is read anew in another one."""
        sql = "SELECT account, origin, time, deed FROM event WHERE position = ?"
        run = self._connection.execute
        old, new = (None if one is None else run(sql, (one,)).fetchone() for one in (before, position))
        return of_accounts.changed_by(old, new)

    def saying(self, positions: Sequence[int]) -> list[int]:
        """The accounts that are to be counted again when the events at these positions are gone, inside of a
        transaction."""
        put(self._connection)
        return saying(self._connection, positions)

    def count_again(self, accounts: Iterable[int]) -> None:
        """Count accounts again, inside of a transaction."""
        put(self._connection)
        count_again(self._connection, accounts)

    def counted(self, positions: Sequence[int]) -> list[tuple[int, int, int]]:
        """Hour, origin and kind of those of some events that are counted: those in their latest revision."""
        sql = (
            f"SELECT e.time / {HOUR}, e.origin, e.kind FROM json_each(?) AS wanted "
            "CROSS JOIN event AS e ON e.position = wanted.value WHERE e.superseded_by IS NULL"
        )
        return self._connection.execute(sql, (orjson.dumps(positions).decode(),)).fetchall()

    def count(self, hours: Counter[tuple[int, int, int]]) -> None:
        """Add to the events of each hour, origin and kind, inside of a transaction."""
        rows = sorted((*hour, events) for hour, events in hours.items() if events)
        self._connection.executemany(_COUNT, rows)
        less = [row for row in rows if row[3] < 0]
        if less:
            gone = "DELETE FROM hourly WHERE hour = ?1 AND origin = ?2 AND kind = ?3 AND ?4 AND events <= 0"
            self._connection.executemany(gone, less)

    def _symbols(self, table: str, general: Callable[[Symbol], Symbol]) -> Symbols:
        rows = self._connection.execute(f"SELECT * FROM {table}")
        return Symbols([(id, tuple(symbol)) for id, *symbol in rows], general)

    def _write_symbols(self, table: str, symbols: Symbols) -> None:
        rows = [(id, *symbol) for id, symbol in symbols.new]
        if rows:
            self._connection.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)

    def _write_names(self) -> None:
        rows = [(*named, *seen) for named, seen in self._learning.new.items()]
        self._connection.executemany(_NAME, rows)

    def _write_values(self) -> None:
        _insert(self._connection, "said", "(?,?,?,?,?)", self._values.new(), _SAY_AGAIN)

    def _said_in(self, part: int) -> list[tuple[int, str, int]]:
        return self._connection.execute("SELECT field, value, origin FROM said WHERE part = ?", (part,)).fetchall()

    def forget_names(self, part: int) -> None:
        """Delete the names that were said last in a part, and its values, inside of a transaction."""
        self._connection.execute("DELETE FROM name WHERE part = ?", (part,))
        self._learning.forget()
        self._connection.execute("DELETE FROM said WHERE part = ?", (part,))
        self._values.forget()

    def _still_there(self) -> None:
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            inode = None
        if inode != self._inode:
            raise Unusable("taken away")


def open_store(url: str, with_people: bool) -> SqliteStore:
    """As `adapter.search.store.open_store`.

    Raises:
        sqlite3.OperationalError: the disk or the folder does not allow it.
    """
    return SqliteStore(path_of(url), with_people=with_people)


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
