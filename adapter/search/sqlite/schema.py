"""The search database: what it holds. Written by the filler alone.

    event     one row for each entry with an event: times, kind, origin, address, who and client as they are counted;
              what every question ends in
    found_by  (part, key, time, position): who, client, session and address of an event, each as one key
    part      the stretches of the log that found_by is divided into, and between which times their events lie
    words_N   full text of part N, without the text; tokens of the details that filters compare are among its words
    kind      each (type, outcome, reason) there is, known by a small number; the first `SYMBOLS_LIMIT` of them
    origin    each (source, provider, realm id, realm name) there is, the same
    name      which names ids have, and when events of which origin said so (`adapter.search.learning`)
    hourly    how many events each hour has of each origin and kind (`adapter.search.hours`)
    said      the values of some fields in each part, for completion (`adapter.search.values`)
    account   accounts: when each was seen last, and when somebody got in with it (`adapter.search.accounts`)
    account_new   the same of the last events, each row as it came
    any_type  types of events whose kind does not tell it
    state     how far it is filled, of which log, the secret of its fingerprints, and how many entries a part is

A key is one SQLite value: a negative integer is the fingerprint of a text and its role, another integer an IPv4
address, a blob an IPv6 address, a text a resource path. So ids and names of any length cost 8 bytes, and ranges of
addresses are ranges of keys. Kinds and origins are few, so a question settles its conditions on them in memory, and one
index holds each. But senders choose types and realms, and may invent them without end: beyond the limit, or where they
are long, an event gets a *general* kind or origin, with a negative number and without type or realm, and is found by
keys of these.

Indexes end in the time, so that the newest events of any key, kind or origin are read straight from an index. All of
them grow in order but ``found_by``, where the rows of a batch go everywhere: in one tree over all entries each would
soon change a page of its own. So it takes them sorted, and has a tree for each part of the log, one after the other in
the same table; a question by key looks into one part after the other, the newest first. For the same reason a word
has a list for each part, in a table of its own: no list is longer than a part, and neither is the work for any
condition before a page may be full.

What is removed from the log is removed here, part by part (`adapter.search.sqlite.pruning`): a part of which nothing
is left goes with its tables.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from adapter.search_fields import MAPPED

APPLICATION_ID = 0x69647073  # "idps"
VERSION = 12

SCHEMA = """
CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    address,
    actor INTEGER,           -- fingerprints: who acted, and the client
    client INTEGER,
    account INTEGER,         -- fingerprint of the id of who acted, where that is an account
    deed INTEGER,            -- 1: somebody got in with it; 2: somebody did not
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
-- name: as it is compared; shown: as it was written last; part: that of the last entry that says so.
CREATE TABLE name (kind INTEGER, id TEXT, name TEXT, origin INTEGER, shown TEXT NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, part INTEGER NOT NULL, PRIMARY KEY (kind, id, name, origin)) WITHOUT ROWID;
CREATE INDEX name_name ON name (kind, name);
-- Events of an hour (of UTC, since 1970) in their latest revisions.
CREATE TABLE hourly (hour INTEGER, origin INTEGER, kind INTEGER, events INTEGER NOT NULL,
    PRIMARY KEY (hour, origin, kind)) WITHOUT ROWID;
-- field: by its number; value: as `adapter.search.values` writes it.
CREATE TABLE said (part INTEGER, field INTEGER, value TEXT, origin INTEGER, events INTEGER NOT NULL,
    PRIMARY KEY (part, field, value, origin)) WITHOUT ROWID;
-- Doubtful: its failures are to be counted again.
CREATE TABLE account (account INTEGER, origin INTEGER, last INTEGER NOT NULL, at INTEGER NOT NULL, success INTEGER,
    success_at INTEGER, failures INTEGER NOT NULL, failing INTEGER, failed INTEGER, doubtful INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, origin)) WITHOUT ROWID;
CREATE INDEX account_doubtful ON account (account) WHERE doubtful;
CREATE TABLE account_new (account INTEGER, origin INTEGER, last INTEGER NOT NULL, at INTEGER NOT NULL, success INTEGER,
    success_at INTEGER, failures INTEGER NOT NULL, failing INTEGER, failed INTEGER);
CREATE TABLE any_type (position INTEGER PRIMARY KEY, type TEXT NOT NULL);
CREATE TABLE state (position INTEGER NOT NULL, uid BLOB, received_at INTEGER, secret BLOB NOT NULL,
    part_size INTEGER NOT NULL, people INTEGER NOT NULL);
"""

#: A batch adds a few rows to each of many pages: larger pages are fewer to find and to write. Bytes.
PAGE_SIZE = 8192
#: Entries of the log in one part. With twice as many each costs half as much again; with half as many there are twice
#: the parts to look into for a rare key.
PART_SIZE = 1 << 17


def words_of(part: int) -> str:
    """The table of the words of a part."""
    return f"words_{part:d}"


WORDS = "CREATE VIRTUAL TABLE {} USING fts5 (text, content='', detail=none, columnsize=0, tokenize='ascii')"

Address = int | bytes
#: A fingerprint, an address, or a resource path.
Key = Address | str


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


def create(path: Path, *, part_size: int = PART_SIZE, people: bool = True) -> None:
    """Make a new, empty search database. ``part_size``: entries of the log in one part; ``people``: whether it keeps
    accounts.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {SCHEMA}")
        connection.execute("INSERT INTO state VALUES (0, NULL, NULL, ?, ?, ?)", (os.urandom(16), part_size, people))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def remove(path: Path) -> None:
    """Throw a search database away, if there is one."""
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
