"""The tables of the embedded log, and the file they stand in.

``entry`` has a row for each. The events and the native bytes stand in tables of their own, so that native bytes can be
guarded and removed apart. They are compressed in runs of a few entries, since neighbours are alike, with a dictionary
that is part of the log, since nothing is readable without it. ``identity`` is the log's one index (`index.py`);
``former`` says until when it may have keys of version 2 and older, which are digests without a time in front.

``arrival`` says for some positions, in ascending order, the latest arrival up to there, so that a position can be
found by time although arrivals are not in order. ``reader``, ``held``, ``blocked`` and ``attempt`` are what
sinks settle.

``removed``, ``gap`` and ``extent`` say what retention has taken away (`removing.py`).

``revision`` says of events that were read again where their later entries stand, and ``quarantined`` finds what has no
event, without costing the others anything. ``note`` has texts that parts of the service keep for themselves, and
``claim`` the tokens of those who do what only one may do.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import orjson
from zstandard import ZstdError

from adapter.errors import StoreDamaged, StoreError, StoreMismatch, StoreUnavailable

#: "IdPa": how a file is known to be ours.
APPLICATION = 0x49645061
#: Raised with every change of the tables; an older file is taken from step to step by `STEPS`.
VERSION = 5

_TABLES_2 = """
CREATE TABLE revision (first INTEGER, position INTEGER, PRIMARY KEY (first, position)) WITHOUT ROWID;

CREATE TABLE note (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;

CREATE INDEX quarantined ON entry (source, native_type, problem, received_at, size) WHERE size IS NULL;
"""

_TABLES_3 = """
-- Arrival of the last entry that was stored by an older version, epoch seconds; no row: there is none.
CREATE TABLE former (until INTEGER NOT NULL);
"""

_TABLES_4 = """
-- How often something was claimed. A claim itself lasts as long as the log is open.
CREATE TABLE claim (name TEXT PRIMARY KEY, token INTEGER NOT NULL) WITHOUT ROWID;

-- The uids of entries that were removed, as long as they are known by their identities.
CREATE TABLE removed (position INTEGER PRIMARY KEY, uid BLOB NOT NULL);
-- How many entries of a block of positions were removed.
CREATE TABLE gap (block INTEGER PRIMARY KEY, entries INTEGER NOT NULL);
-- One row: the last position that was removed, and up to which position native bytes were.
CREATE TABLE extent (last INTEGER NOT NULL, raw INTEGER NOT NULL);
INSERT INTO extent VALUES (0, 0);
CREATE INDEX revision_position ON revision (position);
-- Entries that were removed before the cursor came to them, in this epoch.
ALTER TABLE reader ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
"""

_TABLES_5 = """
-- What sinks have tried, as adapter.log.protocol.Attempt has it.
CREATE TABLE attempt (
  reader INTEGER NOT NULL REFERENCES reader (id),
  began_at INTEGER NOT NULL,
  position INTEGER NOT NULL,
  last INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  status INTEGER,
  resolve INTEGER,
  connect INTEGER,
  first_byte INTEGER,
  total INTEGER,
  excerpt TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (reader, began_at, position)
) WITHOUT ROWID;
-- The cursor when the epoch began; null: an older version began it.
ALTER TABLE reader ADD COLUMN since INTEGER;
-- Keys of which not all events up to the cursor are done: up to which position they are.
CREATE TABLE blocked (
  reader INTEGER NOT NULL REFERENCES reader (id),
  key TEXT NOT NULL,
  position INTEGER NOT NULL,
  is_held INTEGER NOT NULL, -- the event at the position is of this key, and has a held row
  PRIMARY KEY (reader, key)
) WITHOUT ROWID;
-- Events of blocked keys that the cursor passed, and that are not done.
ALTER TABLE reader ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
-- How many of the matched ones the cursor had passed before the epoch began.
ALTER TABLE reader ADD COLUMN carried INTEGER NOT NULL DEFAULT 0;
"""

# Keys that were on their way into identity get there, the later ones last.
_TO_3 = f"""
INSERT INTO identity (key, position, taken, equal)
SELECT substr(recent.keys, 16 * one.key + 1, 16), one.value ->> 0, one.value ->> 1, one.value ->> 2
FROM recent, json_each(recent.fields) AS one WHERE true ORDER BY recent.id
ON CONFLICT (key) DO UPDATE SET taken = excluded.taken, equal = excluded.equal;

DROP TABLE recent;
{_TABLES_3}
INSERT INTO former (until)
SELECT max(latest) / 1000 FROM (
  SELECT max(latest) AS latest FROM arrival
  UNION ALL SELECT max(received_at) FROM entry WHERE position > (SELECT coalesce(max(position), 0) FROM arrival)
) HAVING max(latest) IS NOT NULL;
"""

#: What a file needs to be of the next version, by the version that it has.
STEPS = {
    1: _TABLES_2,
    2: _TO_3,
    3: f"ALTER TABLE note ADD COLUMN version INTEGER NOT NULL DEFAULT 1;\n{_TABLES_4}",
    4: _TABLES_5,
}

TABLES = f"""
CREATE TABLE dictionary (content BLOB NOT NULL);

CREATE TABLE source (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE entry (
  position INTEGER PRIMARY KEY,
  uid BLOB NOT NULL,
  revision INTEGER NOT NULL,
  source INTEGER NOT NULL REFERENCES source (id),
  received_at INTEGER NOT NULL,
  type TEXT,
  native_type TEXT,
  problem TEXT,
  size INTEGER -- of the event, bytes; null where there is none
);

-- The events, and the native bytes, of some entries that follow each other, one after the other: the position of the
-- first entry, and how long each of them is (JSON). media is null where it is application/json.
CREATE TABLE event (position INTEGER PRIMARY KEY, lengths TEXT NOT NULL, content BLOB NOT NULL);
CREATE TABLE raw (position INTEGER PRIMARY KEY, lengths TEXT NOT NULL, content BLOB NOT NULL, media TEXT);

-- A strong key, the key of a group of events that share a weak key, a numbered one of such a group, or the uid of an
-- entry without keys. On the key of a group (its number is 0) stands how many events it has (equal), and how many of
-- those, the first ones, are known by a strong key, too (taken).
CREATE TABLE identity (
  key BLOB PRIMARY KEY,
  position INTEGER NOT NULL,
  taken INTEGER NOT NULL,
  equal INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE arrival (latest INTEGER, position INTEGER, PRIMARY KEY (latest, position)) WITHOUT ROWID;

CREATE TABLE reader (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  cursor INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  filter TEXT NOT NULL,
  matched INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  skipped INTEGER NOT NULL
);

-- due_at is null for the dead
CREATE TABLE held (
  reader INTEGER NOT NULL REFERENCES reader (id),
  position INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  due_at INTEGER,
  answer TEXT NOT NULL,
  PRIMARY KEY (reader, position)
) WITHOUT ROWID;
CREATE INDEX held_due ON held (reader, due_at);
{_TABLES_2}{_TABLES_3}{_TABLES_4}{_TABLES_5}
ALTER TABLE note ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
"""


class UnreadableRow(Exception):
    """A row of the log does not fit the rows that belong to it."""


#: Codes of SQLite that speak of the disk, the file's permissions or another process: they may pass.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)


#: Codes that say that the file is not what was written, and how errors without a code of their own say so.
#: Nothing that is stored breaks a constraint of the tables, unless the tables are not what was stored before.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT})
_READ_TOO_LITTLE = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
_DAMAGED_TEXTS = ("Could not decode to UTF-8", "malformed JSON", "no such table")

#: What reading a log raises, beside errors of the store; `store_error` makes one of them.
READ_ERRORS = (sqlite3.Error, ZstdError, orjson.JSONDecodeError, UnreadableRow)


def store_error(path: Path, error: Exception) -> StoreError:
    """What went wrong with a log that is open, for those who can do something about it."""
    if isinstance(error, StoreError):
        return error
    code = getattr(error, "sqlite_errorcode", 0)
    said = str(error)
    if (
        isinstance(error, ZstdError | orjson.JSONDecodeError | UnreadableRow)
        or code & 0xFF in _DAMAGE
        or code in _READ_TOO_LITTLE
        or said.startswith(_DAMAGED_TEXTS)
    ):
        return StoreDamaged(f"{path}: damaged: {said}; docs/recover.md says how to recover it")
    if code & 0xFF in _PASSING:
        return StoreUnavailable(f"{path}: cannot be written or read now: {said}")
    return StoreError(f"{path}: {said}")


def _opening_error(path: Path, error: sqlite3.Error) -> StoreError:
    """What went wrong on opening: a file that is no database may never have been a log."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
        return StoreMismatch(
            f"{path}: not a log: {error}; name another data folder, or recover it as docs/recover.md says"
        )
    return store_error(path, error)


def connect_writing(path: Path, *, dictionary: bytes, busy_timeout: float) -> sqlite3.Connection:
    """Open the log for writing; make it, with ``dictionary``, if there is none, and take an older one to this version.
    The connection may change threads.

    Raises:
        StoreMismatch: the file is not a log, or of a newer version.
        StoreUnavailable: it cannot be opened now.
    """
    try:
        connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # What is removed is gone from the file, not only out of reach.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            if _is_empty(connection):
                _run(connection, TABLES)
                connection.execute("INSERT INTO dictionary VALUES (?)", (dictionary,))
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            for version in range(check_version(path, connection), VERSION):
                _run(connection, STEPS[version])
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _opening_error(path, error) from error
    return connection


def read_version(path: Path) -> int:
    """Version of a log that is there.

    Raises:
        StoreMismatch: the file is not a log, or of a newer version.
        StoreUnavailable: it cannot be read now.
        StoreError: it is damaged.
    """
    try:
        with closing(sqlite3.connect(reading_uri(path), uri=True)) as connection:
            return check_version(path, connection)
    except sqlite3.Error as error:
        raise _opening_error(path, error) from error


def check_version(path: Path, connection: sqlite3.Connection) -> int:
    """See that the file is a log that this program can read; its version.

    Raises:
        StoreMismatch: it is not.
    """
    if _pragma(connection, "application_id") != APPLICATION:
        raise StoreMismatch(f"{path}: a database of another program; name another data folder, or move this file away")
    version = _pragma(connection, "user_version")
    if version > VERSION:
        raise StoreMismatch(
            f"{path}: version {version} of the log, but this program knows versions up to {VERSION};"
            " run the newer program that wrote it, or name another data folder"
        )
    return version


def reading_uri(path: Path) -> str:
    """How SQLite is told to open the log for reading only."""
    return f"file:{quote(str(path.absolute()))}?mode=ro"


def _run(connection: sqlite3.Connection, statements: str) -> None:
    """Run them in the transaction that is open, one at a time: executescript would commit first."""
    for statement in statements.split(";\n"):
        connection.execute(statement)


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(tables == 0) and _pragma(connection, "application_id") == 0


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
