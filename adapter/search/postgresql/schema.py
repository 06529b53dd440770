"""The tables of a search in PostgreSQL, in the schema of its log.

    search           one row: how far it is filled, the secret of its fingerprints, how many entries a part is
    search_part      the parts: between which times their events lie, and which kinds and origins they have
    search_kind      each (type, outcome, reason) there is, known by a small number (`adapter.search.keys.Symbols`)
    search_origin    each (source, provider, realm id, realm name) there is, the same
    search_name      which names ids have, and when events of which origin said so (`adapter.search.learning`)
    search_hourly    how many events each hour has of each origin and kind (`adapter.search.hours`)
    search_said      the values of some fields in each part, for completion (`adapter.search.values`)
    search_account   accounts: when each was seen last, and when somebody got in with it (`adapter.search.accounts`)
    search_account_new  the same of the last events, each row as it came
    search_events_N  the events of part N, a row for each entry that has one

A part is a stretch of the log. Each has a table with indexes of its own, so that a batch goes into small ones, however
long the log is; that what a question does before it looks whether its page is full is bounded; and that a part of which
nothing is left is dropped. All by which an event is looked up lies in its row: its keys as an array, its words as
``tsvector``, both in one inverted index.
"""

from __future__ import annotations

import os

from adapter.log.postgresql.address import Address
from adapter.log.postgresql.connecting import Connection

#: Version of the tables that this program reads and writes.
VERSION = 7
#: Entries of the log in one part: each has twelve relations, and a question may look at all of its rows.
PART_SIZE = 1 << 18

_TABLES = """
CREATE TABLE search (
  version integer NOT NULL, position bigint NOT NULL, uid bytea, received_at bigint, secret bytea NOT NULL,
  part_size integer NOT NULL, people boolean
);
-- removed: how many entries of the part were gone from the log when it was pruned last. Stale: some went since its
-- names were learned.
CREATE TABLE search_part (
  id bigint PRIMARY KEY, earliest bigint NOT NULL, latest bigint NOT NULL, removed integer NOT NULL DEFAULT 0,
  kinds integer[] NOT NULL, origins integer[] NOT NULL, stale boolean NOT NULL DEFAULT false
);
-- Of a general kind (id < 0) type is "system." or empty; of a general origin the realm is null.
CREATE TABLE search_kind (id integer PRIMARY KEY, type text NOT NULL, outcome text NOT NULL, reason text);
CREATE TABLE search_origin (
  id integer PRIMARY KEY, source text NOT NULL, provider text NOT NULL, realm_id text, realm_name text
);
-- Name: as it is compared; shown: as it was written last; part: that of the last entry that says so.
CREATE TABLE search_name (
  kind integer, id text, name text, origin integer, shown text NOT NULL, first bigint NOT NULL, last bigint NOT NULL,
  part bigint NOT NULL, PRIMARY KEY (kind, id, name, origin)
);
CREATE INDEX search_name_name ON search_name (kind, name);
CREATE INDEX search_name_part ON search_name (part);
-- Hour: of UTC, since 1970. Events: in their latest revisions.
CREATE TABLE search_hourly (
  hour bigint, origin integer, kind integer, events bigint NOT NULL, PRIMARY KEY (hour, origin, kind)
) WITH (fillfactor = 70);
-- Field: by its number; value: as `adapter.search.values` writes it.
CREATE TABLE search_said (
  part bigint, field integer, value text COLLATE "C", origin integer, events bigint NOT NULL,
  PRIMARY KEY (part, field, value, origin)
);
-- Doubtful: 1, its failures are to be counted again.
CREATE TABLE search_account (
  account bigint, origin integer, last bigint NOT NULL, at bigint NOT NULL, success bigint, success_at bigint,
  failures bigint NOT NULL, failing bigint, failed bigint, doubtful integer NOT NULL DEFAULT 0,
  PRIMARY KEY (account, origin)
) WITH (fillfactor = 70);
CREATE INDEX search_account_doubtful ON search_account (account) WHERE doubtful = 1;
CREATE TABLE search_account_new (
  account bigint, origin integer, last bigint NOT NULL, at bigint NOT NULL, success bigint, success_at bigint,
  failures bigint NOT NULL, failing bigint, failed bigint
)
"""
# Actor, client: fingerprints of who acted and of the client, as they are counted. Account: that of the id of who acted,
# where that is an account; deed: 1, somebody got in with it, 2, somebody did not. Type: of a general kind alone.
# Resource: which thing an admin event is about. Later:
# an earlier entry of the same event is here, too. Superseded_by: position of the next revision of the same event.
_PART = """
CREATE TABLE {0} (
  position bigint NOT NULL, time bigint NOT NULL, received_at bigint NOT NULL, superseded_by bigint,
  kind integer NOT NULL, origin integer NOT NULL, later boolean NOT NULL, actor bigint, client bigint,
  address uuid, type text, resource text COLLATE "C", account bigint, deed smallint,
  keys bigint[] NOT NULL, words tsvector NOT NULL
);
CREATE UNIQUE INDEX {0}_position ON {0} (position);
CREATE INDEX {0}_time ON {0} (time, position);
CREATE INDEX {0}_kind ON {0} (kind, time, position);
CREATE INDEX {0}_origin ON {0} (origin, time, position);
CREATE INDEX {0}_received ON {0} (received_at);
CREATE INDEX {0}_address ON {0} (address) WHERE address IS NOT NULL;
CREATE INDEX {0}_resource ON {0} (resource, time, position) WHERE resource IS NOT NULL;
CREATE INDEX {0}_account ON {0} (account, time) WHERE account IS NOT NULL;
CREATE INDEX {0}_found_by ON {0} USING gin (keys, words)
"""
#: What lies in a part, in the order in which it is copied there.
COLUMNS = (
    "position",
    "time",
    "received_at",
    "kind",
    "origin",
    "later",
    "actor",
    "client",
    "address",
    "type",
    "resource",
    "account",
    "deed",
    "keys",
    "words",
)


def channel_of(address: Address) -> str:
    """Where is told that the search is filled farther."""
    return f"{address.schema}_search"


def events_of(part: int) -> str:
    """The table of a part's events."""
    return f"search_events_{part:d}"


async def make_part(connection: Connection, part: int) -> None:
    """Make the table of a part's events, if there is none."""
    table = events_of(part)
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        await connection.execute(_PART.format(table))


async def open_tables(connection: Connection, *, part_size: int = PART_SIZE) -> int:
    """Make the tables if there are none, or only older ones; the version of those that are there then."""
    version = None
    while version is None:
        async with connection.transaction():
            await connection.execute(_LOCK)
            version = await _version(connection)
            if (version is None or version < VERSION) and await _drop_some(connection):
                await connection.execute(_TABLES)
                await connection.execute(_BEGIN, VERSION, os.urandom(16), part_size)
                version = VERSION
    return version


async def drop_tables(connection: Connection) -> None:
    """Leave nothing of the search."""
    gone = False
    while not gone:
        async with connection.transaction():
            await connection.execute(_LOCK)
            gone = await _drop_some(connection)


async def _version(connection: Connection) -> int | None:
    if await connection.fetchval("SELECT to_regclass('search')") is None:
        return None
    version: int | None = await connection.fetchval("SELECT version FROM search")
    return version


async def _drop_some(connection: Connection) -> bool:
    """Drop as many tables as one transaction may lock; whether there are no more."""
    await connection.execute(
        "DROP TABLE IF EXISTS search, search_part, search_kind, search_origin, search_name, search_hourly, search_said"
        ", search_account, search_account_new"
    )
    tables = await connection.fetch(_EVENTS, _DROPPED)
    for (table,) in tables:
        await connection.execute(f"DROP TABLE {table}")
    return len(tables) < _DROPPED


#: One at a time makes or drops the tables.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema()::text, 2))"
_BEGIN = "INSERT INTO search VALUES ($1, 0, NULL, NULL, $2, $3, NULL)"
_EVENTS = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' "
    "AND relname LIKE 'search\\_events\\_%' LIMIT $1"
)
#: Tables of events that one transaction drops.
_DROPPED = 50
