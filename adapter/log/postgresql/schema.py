"""The tables, their version, and what the server has to offer.

An entry is known by the number of its batch, which is one transaction, and its place in it; its position is only known
when that commits (`adapter.log.postgresql.transaction`). A batch's number begins with the day on which it was made, so
tables that are parted by ranges of numbers are parted by arrival, a part for each month.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from typing import NamedTuple

import asyncpg
import structlog

from adapter.errors import ConfigError, StoreMismatch, StoreUnavailable
from adapter.log.postgresql.address import Address
from adapter.log.postgresql.connecting import Connection

#: Version of the tables that this program reads and writes.
VERSION = 4
#: Oldest server, as it numbers its versions.
SERVER_VERSION = 130000

#: By how many bits the day stands in front of a batch's number.
_DAY = 40
#: Numbers that a service takes at once.
NUMBERS = 100
#: Tables with a part for each month.
_PARTED = ("entry", "event", "raw")

# What retention needs.
_TABLES_2 = """
-- Batches of which nothing is left, as long as it is known what they held.
CREATE TABLE emptied (
  number bigint PRIMARY KEY, first bigint NOT NULL, entries integer NOT NULL, latest bigint NOT NULL
);
CREATE INDEX emptied_arrival ON emptied (latest, first);
CREATE INDEX emptied_first ON emptied (first);
-- How many entries of a block of positions were removed.
CREATE TABLE gap (block bigint PRIMARY KEY, entries integer NOT NULL);
CREATE INDEX revision_place ON revision (batch, place);
-- Entries that were removed before the cursor came to them, in this epoch.
ALTER TABLE reader ADD COLUMN removed bigint NOT NULL DEFAULT 0
"""

_TABLES_3 = """
-- Names of the sources of which something was ever quarantined: the events of others are not asked for by their bytes.
CREATE TABLE quarantine (source text PRIMARY KEY)
"""

_TABLES_4 = """
-- What sinks have tried, as adapter.log.protocol.Attempt has it.
CREATE TABLE attempt (
  reader text NOT NULL, began_at bigint NOT NULL, position bigint NOT NULL, last bigint NOT NULL,
  entries integer NOT NULL, tries integer NOT NULL, outcome text NOT NULL, status integer, resolve integer,
  connect integer, first_byte integer, total integer, excerpt text NOT NULL, reason text NOT NULL,
  PRIMARY KEY (reader, began_at, position)
);
-- The cursor when the epoch began; null: an older version began it.
ALTER TABLE reader ADD COLUMN since bigint;
-- Keys of which not all events up to the cursor are done: up to which position they are.
-- is_held: the event at the position is of this key, and has a held row.
CREATE TABLE blocked (
  reader text NOT NULL, key text NOT NULL, position bigint NOT NULL, is_held boolean NOT NULL,
  PRIMARY KEY (reader, key)
);
-- Events of blocked keys that the cursor passed, and that are not done.
ALTER TABLE reader ADD COLUMN behind bigint NOT NULL DEFAULT 0;
-- How many of the matched ones the cursor had passed before the epoch began.
ALTER TABLE reader ADD COLUMN carried bigint NOT NULL DEFAULT 0
"""

_TABLES = f"""
CREATE TABLE about (version integer NOT NULL, dictionary bytea NOT NULL);
-- One row: position of the last entry, and latest arrival so far. Its lock orders the commits.
CREATE TABLE counter (head bigint NOT NULL, latest bigint NOT NULL);
INSERT INTO counter VALUES (0, -1);
CREATE SEQUENCE batch_number INCREMENT BY {NUMBERS};
-- What one transaction appended: position of its first entry, how many, and the latest arrival in the log up to them.
CREATE TABLE batch (
  number bigint PRIMARY KEY, first bigint NOT NULL UNIQUE, entries integer NOT NULL, latest bigint NOT NULL
);
CREATE INDEX batch_arrival ON batch (latest, first);
-- Sizes: of the event (null while quarantined). Run: place of the first entry whose contents lie with those of this.
CREATE TABLE entry (
  batch bigint NOT NULL, received_at bigint NOT NULL, uid uuid NOT NULL, place integer NOT NULL,
  revision integer NOT NULL, size integer, run integer NOT NULL, source text NOT NULL, type text, native_type text,
  problem text, PRIMARY KEY (batch, place)
) PARTITION BY RANGE (batch);
CREATE INDEX entry_quarantined ON entry (batch, place) WHERE size IS NULL;
-- Runs of events, and of what the provider sent: bytes of each, and all of them, compressed.
CREATE TABLE event (
  batch bigint NOT NULL, place integer NOT NULL, sizes integer[] NOT NULL, content bytea NOT NULL,
  PRIMARY KEY (batch, place)
) PARTITION BY RANGE (batch);
ALTER TABLE event ALTER content SET STORAGE EXTERNAL;
CREATE TABLE raw (
  batch bigint NOT NULL, place integer NOT NULL, sizes integer[] NOT NULL, media text NOT NULL,
  content bytea NOT NULL, PRIMARY KEY (batch, place)
) PARTITION BY RANGE (batch);
ALTER TABLE raw ALTER content SET STORAGE EXTERNAL;
-- By what events are known: batch and place of the first entry, its uid where that is not this key, and the numbers of
-- adapter.log.identity.Known.
CREATE TABLE identity (
  key uuid PRIMARY KEY, batch bigint NOT NULL, place integer NOT NULL, taken integer NOT NULL, equal integer NOT NULL,
  uid uuid
);
-- Later entries of an event, numbered from 1, by the position of its first one.
CREATE TABLE revision (
  first bigint NOT NULL, number integer NOT NULL, batch bigint NOT NULL, place integer NOT NULL,
  PRIMARY KEY (first, number)
);
CREATE TABLE reader (
  name text PRIMARY KEY, cursor bigint NOT NULL, epoch integer NOT NULL, filter text NOT NULL, matched bigint NOT NULL,
  delivered bigint NOT NULL, skipped bigint NOT NULL
);
CREATE TABLE held (
  reader text NOT NULL, position bigint NOT NULL, tries integer NOT NULL, due_at bigint, answer text NOT NULL,
  PRIMARY KEY (reader, position)
);
CREATE INDEX held_due ON held (reader, due_at, position);
CREATE TABLE note (name text PRIMARY KEY, text text NOT NULL, version bigint NOT NULL);
CREATE TABLE claim (name text PRIMARY KEY, token bigint NOT NULL, owner text, until timestamptz NOT NULL);
-- Written to find out whether anything can be.
CREATE TABLE trial (tried_at timestamptz NOT NULL);
INSERT INTO trial VALUES (clock_timestamp());
{_TABLES_2};
{_TABLES_3};
{_TABLES_4}
"""

#: What takes a schema of an older version to the next one, by the older.
STEPS: dict[int, str] = {
    1: _TABLES_2,
    2: f"{_TABLES_3};\nINSERT INTO quarantine SELECT DISTINCT source FROM entry WHERE size IS NULL",
    3: _TABLES_4,
}

_NUMBER = f"""
SELECT ((extract(epoch FROM clock_timestamp())::bigint / 86400) << {_DAY}) + nextval('batch_number')
"""

_log = structlog.get_logger(__name__)


class Opened(NamedTuple):
    """What a log is when it was opened."""

    #: By which contents are compressed.
    dictionary: bytes
    #: Position of the last entry.
    head: int


async def check_server(connection: Connection, address: Address) -> None:
    """See that the server keeps what it says it keeps, and can be written to.

    Raises:
        ConfigError: it does not, or is too old.
        StoreUnavailable: it is a standby.
    """
    where = f"PostgreSQL at {address.name}"
    names = ["server_version_num", "fsync", "full_page_writes", "server_encoding", "server_version"]
    settings = "SELECT name, current_setting(name) FROM unnest($1::text[]) AS name"
    found: dict[str, str] = dict(map(tuple, await connection.fetch(settings, names)))
    if int(found["server_version_num"]) < SERVER_VERSION:
        raise ConfigError(f"{where} is of version {found['server_version']}, and has to be of version 13 or newer")
    if found["fsync"] != "on":
        raise ConfigError(f"{where} runs with fsync = off: what it has answered for can be lost; set it to on")
    if found["server_encoding"] != "UTF8":
        raise ConfigError(f"{where}: the database's encoding is {found['server_encoding']}, and has to be UTF8")
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise StoreUnavailable(f"{where} is a standby, which cannot be written to; name the primary")
    if found["full_page_writes"] != "on":
        _log.warning("store.full_page_writes_off", server=address.name, hint="safe on a copy-on-write disk alone")


async def open_schema(connection: Connection, address: Address, dictionary: Callable[[], bytes]) -> Opened:
    """Make the tables if there are none, with what ``dictionary`` gives, and take older ones to this version; one of
    several services does it.

    Raises:
        StoreMismatch: the tables are of a newer version, or the schema is another program's.
    """
    schema = address.schema
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", schema)
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = $1", schema)
        if not tables:
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            await _run(connection, _TABLES)
            await connection.execute("INSERT INTO about VALUES ($1, $2)", VERSION, dictionary())
        elif await connection.fetchval("SELECT to_regclass($1)", f'"{schema}".about') is None:
            raise StoreMismatch(
                f"PostgreSQL at {address.name}: schema {schema!r} has tables of another program;"
                " name another one in the URL (?schema=NAME)"
            )
        version = await _check_version(connection, address)
        for step in range(version, VERSION):
            await _run(connection, STEPS[step])
            await connection.execute("UPDATE about SET version = $1", step + 1)
    return await read_schema(connection)


async def read_schema(connection: Connection) -> Opened:
    """The log that the tables have."""
    dictionary = await connection.fetchval("SELECT dictionary FROM about")
    return Opened(dictionary, await connection.fetchval("SELECT head FROM counter"))


async def check_schema(connection: Connection, address: Address) -> None:
    """See that the tables are those that were opened, on a connection that takes the place of a lost one.

    Raises:
        StoreUnavailable: there are none.
        StoreMismatch: a newer program has changed them meanwhile.
    """
    try:
        version = await _check_version(connection, address)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise StoreUnavailable(f"PostgreSQL at {address.name} has no schema {address.schema!r} any more") from None
    if version < VERSION:
        raise StoreUnavailable(
            f"PostgreSQL at {address.name}: schema {address.schema!r} is of an older version than it was"
        )


async def read_version(connection: Connection, address: Address) -> int | None:
    """Version of the tables; ``None`` if there are none.

    Raises:
        StoreMismatch: they are of a newer version.
    """
    try:
        return await _check_version(connection, address)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None


async def _check_version(connection: Connection, address: Address) -> int:
    version: int = await connection.fetchval("SELECT version FROM about")
    if version > VERSION:
        raise StoreMismatch(
            f"PostgreSQL at {address.name}: schema {address.schema!r} is of version {version}, but this program knows"
            f" versions up to {VERSION}; run the newer program, or name another schema in the URL (?schema=NAME)"
        )
    return version


async def _run(connection: Connection, statements: str) -> None:
    await connection.execute(statements)


# Batches and months


async def next_numbers(connection: Connection) -> range:
    """Numbers for batches that are made today."""
    number: int = await connection.fetchval(_NUMBER)
    return range(number, number + NUMBERS)


def number_at(arrival: int, sequence: int) -> int:
    """Number of a batch of what arrived then, epoch milliseconds; ``sequence``: the next one of ``batch_number``."""
    return (min(max(arrival, 0), _LAST) // 86_400_000 << _DAY) + sequence


def month_of(number: int) -> datetime.date:
    """First day of the month of a batch."""
    return (_EPOCH + datetime.timedelta(days=number >> _DAY)).replace(day=1)


def next_month(month: datetime.date) -> datetime.date:
    """First day of the month that follows."""
    return (month + datetime.timedelta(days=31)).replace(day=1)


async def make_month(connection: Connection, month: datetime.date) -> None:
    """Make the parts of the tables that take what arrives in a month, if they are not there. Nobody who reads or
    appends meanwhile waits."""
    begin, end = (((day - _EPOCH).days << _DAY) for day in (month, next_month(month)))
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(current_schema()::text, 1))")
        for table in _PARTED:
            part = f"{table}_{month:%Y_%m}"
            if await connection.fetchval("SELECT to_regclass($1)", part) is not None:
                continue
            # Made apart and then attached, which takes no lock that readers or writers meet.
            await connection.execute(f"CREATE TABLE {part} (LIKE {table} INCLUDING ALL)")
            await connection.execute(
                f"ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({begin}) TO ({end})"
            )


async def drop_empty_months(connection: Connection) -> None:
    """Drop the parts of months that are over and of which nothing is left: only then the disk gets their room back.
    Those that others work with are left for another time."""
    today = datetime.datetime.now(datetime.UTC).date()
    current = f"{today.replace(day=1) - datetime.timedelta(days=1):%Y_%m}"
    months = [name.removeprefix("entry_") for (name,) in await connection.fetch(_PARTS)]
    for month in months:
        if month >= current:
            continue
        parts = [f"{table}_{month}" for table in _PARTED]
        with contextlib.suppress(asyncpg.LockNotAvailableError):
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {_DROP_TIMEOUT}")
                await connection.execute(f"LOCK TABLE {', '.join(parts)} IN ACCESS EXCLUSIVE MODE")
                if not any([await connection.fetchval(f"SELECT EXISTS (SELECT FROM {part})") for part in parts]):
                    await connection.execute(f"DROP TABLE {', '.join(parts)}")


_EPOCH = datetime.date(1970, 1, 1)
#: Latest arrival that has a month of its own, epoch milliseconds: in the year 9998.
_LAST = 253_338_000_000_000
#: Parts of one of the tables; each of the others has the same months.
_PARTS = (
    "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'entry'::regclass ORDER BY 1"
)
#: How long to wait for those who read or append when a part is dropped, milliseconds: others wait behind it.
_DROP_TIMEOUT = 200
