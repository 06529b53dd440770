"""The bodies that another sender posted, kept on the disk while they are held against the log: of any number, in
bounded memory.

A body is known by the provider's id, or by its uid where that is ours; one that came without an id by what Keycloak's
events are told apart by: time, type, realm, client, user, address and resource path.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson

from adapter.sink_comparison.comparison import Recorded

#: Lines that are taken, and characters of a text that are kept of each.
MOST, TEXT = 5_000_000, 200
#: Numbers beyond are no times.
_FURTHEST = 2**53
#: KiB of a recording that are in memory.
_CACHE = 16 * 1024

_SCHEMA = """
CREATE TABLE body (
    number INTEGER PRIMARY KEY, line INTEGER, id TEXT, type TEXT, time INTEGER, rank INTEGER NOT NULL DEFAULT 0,
    position INTEGER, uid TEXT, stage TEXT, reason TEXT, fault TEXT
);
CREATE TABLE name (key BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE weak (key BLOB, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID;
"""


class TooMany(Exception):
    """A recording holds more than is taken."""


class _Who(msgspec.Struct):
    clientId: str | None = None
    userId: str | None = None
    ipAddress: str | None = None


class _Body(msgspec.Struct):
    """What is read of a body: in the form of a unified event, of Phase Two's, or of Keycloak's own."""

    id: str | None = None
    uid: str | None = None
    time: int | None = None
    type: str | None = None
    realmId: str | None = None
    operationType: str | None = None
    resourceType: str | None = None
    resourcePath: str | None = None
    authDetails: _Who | None = None
    clientId: str | None = None
    userId: str | None = None
    ipAddress: str | None = None
    #: Its number in the recording, where somebody has left out what is not compared.
    line: int | None = None


_read = msgspec.json.Decoder(_Body, strict=False).decode


class Names(NamedTuple):
    """What an event is known by, in a body and in the log alike."""

    id: str | None
    uid: str | None
    weak: bytes
    type: str | None
    #: Epoch milliseconds.
    time: int | None
    line: int | None


def names_of(event: bytes, canonical: Callable[[str], str]) -> Names | None:
    """What a body, or an event of the log, is known by; ``None`` if it is no event. ``canonical`` gives the one name of
    a type that has several."""
    try:
        body = _read(event)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    type = body.type
    if body.operationType is not None and (type is None or "." not in type):
        type = f"admin.{body.resourceType or type}-{body.operationType}"
    elif type is not None and "." not in type:
        type = f"access.{type}"
    if not all(one is None or abs(one) < _FURTHEST for one in (body.time, body.line)):
        return None
    if type is None or (body.id is None and body.uid is None and body.time is None):
        return None
    who = body.authDetails or _Who(body.clientId, body.userId, body.ipAddress)
    type = canonical(type)
    known = [body.time, type, body.realmId, who.clientId, who.userId, who.ipAddress, body.resourcePath]
    return Names(body.id, body.uid, _digest("weak", orjson.dumps(known)), type, body.time, body.line)


def _digest(kind: str, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16, person=kind.encode()).digest()


def _strong(names: Names) -> list[bytes]:
    found = [("id", names.id), ("uid", names.uid)]
    return [_digest(kind, text.encode("utf-8", "surrogatepass")) for kind, text in found if text is not None]


class Looked(NamedTuple):
    """An entry of the log, and what the sink made of it."""

    names: Names
    position: int
    uid: str
    #: How much of it the sink has: the greatest of several entries counts. From `Rank`.
    rank: int
    stage: str
    reason: str
    fault: str | None


class Rank:
    """What became of a recorded event at the sink, in the order in which one counts more than another."""

    UNKNOWN, NOT, UNCLEAR, PENDING, GOT = range(5)


class Recording:
    """Bodies on the disk. Made by `open_recording`; for one thread at a time."""

    def __init__(self, database: sqlite3.Connection, canonical: Callable[[str], str]) -> None:
        self._database = database
        self._canonical = canonical
        self.told = Recorded()

    def add(self, lines: Sequence[bytes]) -> None:
        """Take more bodies, each a line of JSON.

        Raises:
            TooMany: there are more than `MOST`.
        """
        told, ask = self.told, self._database.execute
        for line in lines:
            if not line.strip():
                continue
            names = names_of(line, self._canonical)
            if told.bodies + told.unreadable >= MOST:
                raise TooMany
            if names is None:
                told.unreadable += 1
                continue
            told.bodies += 1
            keys = _strong(names)
            # A sender that repeats a try repeats the id, or the uid; one whose bodies have neither cannot be told.
            is_known = (
                ask("SELECT 1 FROM name WHERE key = ?", keys[:1]).fetchone()
                if keys
                else ask("SELECT 1 FROM weak WHERE key = ?", (names.weak,)).fetchone()
            )
            if is_known:
                told.repeated += 1
                continue
            told.without_id += names.id is None
            number = told.bodies
            kept = (number, names.line or number, _short(names.id), _short(names.type), names.time)
            ask("INSERT INTO body (number, line, id, type, time) VALUES (?, ?, ?, ?, ?)", kept)
            self._database.executemany("INSERT OR IGNORE INTO name VALUES (?, ?)", [(key, number) for key in keys])
            ask("INSERT INTO weak VALUES (?, ?)", (names.weak, number))

    def span(self) -> tuple[int | None, int | None]:
        """Times of the earliest and of the latest event; ``None``: none has a time."""
        first, last = self._database.execute("SELECT min(time), max(time) FROM body").fetchone()
        self.told.first, self.told.last = first, last
        return first, last

    def keep(self, since: int | None, until: int) -> None:
        """Leave out what happened before or after; an event without a time stays."""
        outside = "time >= ? OR time < ?"
        self.told.outside = self._database.execute(
            f"DELETE FROM body WHERE {outside}", (until, -(2**62) if since is None else since)
        ).rowcount

    def meet(self, entries: Sequence[Looked]) -> list[bool]:
        """Note what became of entries of the log; of each, whether it was recorded."""
        return [self._meet(entry) for entry in entries]

    def _meet(self, entry: Looked) -> bool:
        number = self._find(entry.names)
        if number is None:
            return False
        self._database.execute(
            "UPDATE body SET rank = ?, position = ?, uid = ?, stage = ?, reason = ?, fault = ? "
            "WHERE number = ? AND rank < ?",
            (entry.rank, entry.position, entry.uid, entry.stage, entry.reason, entry.fault, number, entry.rank),
        )
        return True

    def _find(self, names: Names) -> int | None:
        ask = self._database.execute
        for key in _strong(names):
            if (row := ask("SELECT number FROM name NATURAL JOIN body WHERE key = ?", (key,)).fetchone()) is not None:
                return int(row[0])
        # Where both have an id, they are two events; and each body stands for one entry.
        row = ask(
            "SELECT number FROM weak NATURAL JOIN body WHERE key = ? AND rank = 0 AND (id IS NULL OR ?)",
            (names.weak, names.id is None),
        ).fetchone()
        return None if row is None else int(row[0])

    def count(self, rank: int) -> dict[str | None, int]:
        """How many recorded events there are of a rank, by stage."""
        found = self._database.execute("SELECT stage, count(*) FROM body WHERE rank = ? GROUP BY stage", (rank,))
        return dict(found.fetchall())

    def first(self, rank: int, limit: int) -> list[dict[str, Any]]:
        """The first recorded events of a rank."""
        asked = self._database.execute("SELECT * FROM body WHERE rank = ? ORDER BY number LIMIT ?", (rank, limit))
        names = [column[0] for column in asked.description]
        return [dict(zip(names, row, strict=True)) for row in asked]


@contextmanager
def open_recording(folder: Path, canonical: Callable[[str], str]) -> Iterator[Recording]:
    """An empty recording, in a file of ``folder`` that is gone with the context, or with the process."""
    file = folder / f"recording-{secrets.token_hex(8)}.sqlite"
    database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        # Nothing of it is ever read again, and it needs no other file beside it.
        database.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; "
            f"PRAGMA cache_size = -{_CACHE}; PRAGMA temp_store = MEMORY; {_SCHEMA} BEGIN;"
        )
        file.unlink()  # it is ours alone from here on, and no kill leaves it behind
        yield Recording(database, canonical)
    finally:
        database.close()
        with suppress(FileNotFoundError):
            file.unlink()


def _short(text: str | None) -> str | None:
    return None if text is None else text[:TEXT].encode("utf-8", "replace").decode()
