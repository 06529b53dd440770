"""A log in a file as a whole: to be carried to another engine, or made of what another one holds."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from adapter.errors import StoreMismatch, StoreUnavailable
from adapter.log.opening import path_of
from adapter.log.pieces import piece_of
from adapter.log.protocol import BlockedKey, Held, Note
from adapter.log.removal import BLOCK
from adapter.log.sqlite.history import read_stored
from adapter.log.sqlite.progress import read_progress
from adapter.log.sqlite.reading import Reader, find_head, open_reader
from adapter.log.sqlite.schema import READ_ERRORS, VERSION, connect_writing, store_error
from adapter.log.sqlite.storing import PlacedEntry, store_stretch
from adapter.log.sqlite.writer import only_writer
from adapter.log.transfer import KEYS, PAGE, UNFINISHED, Carried, CarriedKey, Mark, Page, Rest

#: Seconds to wait for another process that writes.
_PATIENCE = 2.0
#: Page cache, KiB.
_CACHE = 65_536

_FIRSTS = "SELECT position, first FROM revision WHERE position > ? AND position <= ?"
_KEYS = f"""
SELECT key, position, coalesce(
    (SELECT uid FROM entry WHERE entry.position = identity.position),
    (SELECT uid FROM removed WHERE removed.position = identity.position)
  ), taken, equal
FROM identity WHERE key > ? ORDER BY key LIMIT {KEYS}
"""
_HELD = """
SELECT reader.name, position, tries, due_at, answer FROM held JOIN reader ON reader.id = held.reader
ORDER BY reader.name, position
"""
_BLOCKED = """
SELECT reader.name, key, position, is_held FROM blocked JOIN reader ON reader.id = blocked.reader
ORDER BY reader.name, key
"""
_COUNT = """
INSERT INTO gap (block, entries) VALUES (?, ?) ON CONFLICT (block) DO UPDATE SET entries = entries + excluded.entries
"""
_INSERT_KEY = "INSERT INTO identity (key, position, taken, equal) VALUES (?, ?, ?, ?)"
_INSERT_REMOVED = """
INSERT INTO removed (position, uid) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM entry WHERE position = ?1)
ON CONFLICT DO NOTHING
"""
_KEEP_MARK = f"""
INSERT INTO note (name, text, version) VALUES ('{UNFINISHED}', ?, 1)
ON CONFLICT (name) DO UPDATE SET text = excluded.text
"""


class SqliteWhole:
    """`adapter.log.transfer.Whole`, and with a connection that writes `NewLog`; made by `open_whole`."""

    def __init__(self, path: Path, reader: Reader, connection: sqlite3.Connection | None = None) -> None:
        self._path = path
        self._reader = reader
        self._writing = connection
        #: Up to where which arrivals are noted, ascending.
        self._arrivals: tuple[list[int], list[int]] | None = None
        self._sources: dict[str, int] = {}

    @property
    def dictionary(self) -> bytes:
        return self._reader.compression.dictionary

    async def head(self) -> int:
        return find_head(self._reader)

    async def page(self, after: int, latest: int) -> Page:
        with self._asking():
            end = min(after + PAGE, find_head(self._reader))
            stored = read_stored(self._reader, after, until=end, limit=PAGE)
            until = stored[-1].entry.position if stored else end
            firsts = dict(self._reader.execute(_FIRSTS, (after, until)).fetchall())
            noted = self._noted(after, until)
        entries = [
            Carried(one.entry, one.raw, one.media, firsts.get(one.entry.position, one.entry.position), one.envelope)
            for one in stored
        ]
        return Page(after, until, entries, max([latest, *noted, *[one.entry.received_at for one in entries]]))

    def _noted(self, after: int, until: int) -> list[int]:
        """The arrivals that are noted for positions of a stretch."""
        if self._arrivals is None:
            rows = self._reader.execute("SELECT position, latest FROM arrival ORDER BY latest, position").fetchall()
            self._arrivals = [position for position, _ in rows], [latest for _, latest in rows]
        positions, arrivals = self._arrivals
        return arrivals[bisect_right(positions, after) : bisect_right(positions, until)]

    async def keys(self, after: bytes) -> list[CarriedKey]:
        with self._asking():
            while rows := self._reader.execute(_KEYS, (after,)).fetchall():
                known = [CarriedKey(*row) for row in rows if row[2] is not None]
                if known:
                    return known
                after = rows[-1][0]
            return []

    async def rest(self) -> Rest:
        run = self._reader.execute
        with self._asking():
            names = [name for (name,) in run("SELECT name FROM reader ORDER BY name").fetchall()]
            states = [(name, read_progress(self._reader, name)) for name in names]
            held = [(name, Held(*row)) for name, *row in run(_HELD).fetchall()]
            blocked = [
                (name, BlockedKey(key, position, bool(is_held)))
                for name, key, position, is_held in run(_BLOCKED).fetchall()
            ]
            notes = [Note(*row) for row in run("SELECT name, text, version FROM note ORDER BY name").fetchall()]
            tokens = run("SELECT name, token FROM claim ORDER BY name").fetchall()
        readers = [(name, state) for name, state in states if state is not None]
        return Rest(readers, held, [note for note in notes if note.name != UNFINISHED], tokens, blocked)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except READ_ERRORS as error:
            raise store_error(self._path, error) from error

    # Writing

    async def mark(self) -> Mark:
        run = self._connection.execute
        with self._asking():
            (latest,) = run("SELECT coalesce(max(latest), -1) FROM arrival").fetchone()
            (key,) = run("SELECT text FROM note WHERE name = ?", (UNFINISHED,)).fetchone()
            return Mark(find_head(self._connection), latest, bytes.fromhex(key))

    async def put_page(self, page: Page) -> None:
        with self._transaction() as connection:
            rows = [
                (
                    entry.position,
                    PlacedEntry(
                        entry.uid,
                        entry.revision,
                        self._source(entry.source),
                        entry.received_at,
                        entry.type,
                        entry.native_type,
                        entry.problem,
                        entry.event,
                        *((None, media) if raw is None else piece_of(raw, media, envelope)),
                    ),
                )
                for entry, raw, media, _, envelope in page.entries
            ]
            store_stretch(connection, self._reader.compression, rows)
            later = [(one.first, one.entry.position) for one in page.entries if one.first != one.entry.position]
            connection.executemany("INSERT INTO revision (first, position) VALUES (?, ?)", later)
            there = {position for position, _ in rows}
            gone = [position for position in range(page.after + 1, page.until + 1) if position not in there]
            connection.executemany(_COUNT, Counter([position // BLOCK for position in gone]).items())
            bare = [one.first for one in page.entries if one.raw is None and one.first == one.entry.position]
            extent = (max(gone, default=0), max(bare, default=0))
            connection.execute("UPDATE extent SET last = max(last, ?), raw = max(raw, ?)", extent)
            arrival = (page.latest, page.until)
            connection.execute("INSERT OR IGNORE INTO arrival (latest, position) VALUES (?, ?)", arrival)

    async def put_keys(self, keys: Sequence[CarriedKey]) -> None:
        with self._transaction() as connection:
            connection.executemany(_INSERT_KEY, [(one.key, one.position, one.taken, one.equal) for one in keys])
            connection.executemany(_INSERT_REMOVED, {(one.position, one.uid) for one in keys})
            connection.execute(_KEEP_MARK, (keys[-1].key.hex(),))

    async def put_rest(self, rest: Rest) -> None:
        with self._transaction() as connection:
            run, many = connection.execute, connection.executemany
            for table in ("attempt", "held", "blocked", "reader", "claim"):
                run(f"DELETE FROM {table}")
            run("DELETE FROM note WHERE name <> ?", (UNFINISHED,))
            many(
                "INSERT INTO reader"
                " (name, cursor, epoch, filter, matched, delivered, skipped, removed, since, behind, carried)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (name, one.cursor, one.epoch, one.filter, one.matched, one.delivered, one.skipped, one.removed,
                     one.since, one.behind, one.carried)
                    for name, one in rest.readers
                ],
            )  # fmt: skip
            many(
                "INSERT INTO held SELECT id, ?, ?, ?, ? FROM reader WHERE name = ?",
                [(one.position, one.tries, one.due_at, one.answer, name) for name, one in rest.held],
            )
            many(
                "INSERT INTO blocked SELECT id, ?, ?, ? FROM reader WHERE name = ?",
                [(one.key, one.position, one.is_held, name) for name, one in rest.blocked],
            )
            many("INSERT INTO note (name, text, version) VALUES (?, ?, ?)", rest.notes)
            many("INSERT INTO claim (name, token) VALUES (?, ?)", rest.tokens)

    async def finish(self) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM note WHERE name = ?", (UNFINISHED,))
        with self._asking():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._writing is not None
        return self._writing

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        self._arrivals = None
        with self._asking():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _source(self, name: str) -> int:
        number = self._sources.get(name)
        if number is None:
            run = self._connection.execute
            run("INSERT INTO source (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            (number,) = run("SELECT id FROM source WHERE name = ?", (name,)).fetchone()
            self._sources[name] = number
        return number


@asynccontextmanager
async def open_whole(url: str, dictionary: bytes | None) -> AsyncIterator[SqliteWhole]:
    """As `adapter.log.opening.open_whole`, or with a dictionary as `open_new_log`."""
    path = path_of(url)
    if dictionary is None and not path.exists():
        raise StoreUnavailable(f"{path}: there is no log")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"{path.parent}: cannot be made: {error.strerror}") from None
    with only_writer(path, _PATIENCE):
        if dictionary is None:
            with open_reader(path, cache=_CACHE) as reader:
                _check(path, reader)
                yield SqliteWhole(path, reader)
            return
        connection = connect_writing(path, dictionary=dictionary, busy_timeout=_PATIENCE)
        try:
            _begin(path, connection)
            with open_reader(path, cache=_CACHE) as reader:
                yield SqliteWhole(path, reader, connection)
        finally:
            connection.close()


def _check(path: Path, reader: Reader) -> None:
    """
    Raises:
        StoreMismatch: it cannot be carried as it is.
    """
    (version,) = reader.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise StoreMismatch(f"{path}: of an older version; start the service on it once, which takes it to the present")
    if reader.execute("SELECT count(*) FROM former").fetchone() != (0,):
        raise StoreMismatch(f"{path}: has keys of version 2, which no other engine looks up; it cannot be carried")


def _begin(path: Path, connection: sqlite3.Connection) -> None:
    """
    Raises:
        StoreMismatch: there is another log already.
    """
    connection.execute("BEGIN IMMEDIATE")
    begun = connection.execute("SELECT count(*) FROM note WHERE name = ?", (UNFINISHED,)).fetchone() == (1,)
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("entry", "reader", "note")
    ]
    if not begun and any(counts):
        connection.execute("ROLLBACK")
        raise StoreMismatch(f"{path}: there is a log already; name a new file")
    if not begun:
        connection.execute(_KEEP_MARK, ("",))
    connection.execute("COMMIT")
