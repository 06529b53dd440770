"""Appending: the entries of many requests in a few statements, inside the transaction of whoever calls.

Each statement takes all rows at once, as one JSON array and one run of bytes. A statement for each row would give up
the interpreter and ask for it back each time, and each time wait for the busy event loop: up to 5 ms a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from adapter.log.compression import Compression
from adapter.log.identity import Identities, Known, keys_of
from adapter.log.protocol import NewEntry, Receipt

#: An arrival is noted when at least so many entries came since the last note.
ARRIVAL_STEP = 1000

_INSERT_ENTRIES = """
INSERT INTO entry (position, uid, revision, source, received_at, type, native_type, problem, size, event)
SELECT ?4 + key, substr(?2, 16 * key + 1, 16), 0, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
  value ->> 5, substr(?3, value ->> 6, value ->> 7)
FROM json_each(?1)
"""
_INSERT_RAWS = """
INSERT INTO raw (position, media, content)
SELECT ?3 + key, value ->> 0, coalesce(substr(?2, value ->> 1, value ->> 2), x'') FROM json_each(?1)
"""
_INSERT_KEYS = """
INSERT INTO identity (key, position, taken, equal)
SELECT substr(?2, 16 * key + 1, 16), value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true
ON CONFLICT (key) DO UPDATE SET taken = excluded.taken, equal = excluded.equal
"""
_FIND_KEYS = """
SELECT json_group_array(json_array(key.key, position, hex(uid), taken, equal))
FROM json_each(?1) AS key
CROSS JOIN identity ON identity.key = substr(?2, 16 * key.key + 1, 16)
JOIN entry USING (position)
"""


class Appender:
    """Appends through one connection; to be used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, compression: Compression) -> None:
        self._connection = connection
        self._compression = compression
        #: Position of the last entry, in the transaction that runs.
        self.head = 0
        self._sources: dict[str, int] = {}
        #: The latest arrival so far, and up to where arrivals are noted.
        self._latest, self._noted = -1, 0
        self.reload()

    def reload(self) -> None:
        """Learn from the database where the log stands: at first, and after a transaction was rolled back."""
        (self.head,) = self._connection.execute("SELECT coalesce(max(position), 0) FROM entry").fetchone()
        self._sources = dict(self._connection.execute("SELECT name, id FROM source"))
        noted = "SELECT latest, position FROM arrival ORDER BY latest DESC, position DESC LIMIT 1"
        self._latest, self._noted = self._connection.execute(noted).fetchone() or (-1, 0)
        later = "SELECT coalesce(max(received_at), -1) FROM entry WHERE position > ?"
        self._latest = max(self._latest, *self._connection.execute(later, (self._noted,)).fetchone())

    def append(self, requests: Sequence[Sequence[NewEntry]]) -> list[list[Receipt]]:
        """Store the new ones among the entries of these requests, in order; a list of receipts for each request."""
        everything = [entry for request in requests for entry in request]
        identities = Identities(self._find(keys_of(everything)), lambda key: self._find([key]).get(key))
        new: list[NewEntry] = []
        receipts: list[list[Receipt]] = []
        for request in requests:
            answers = []
            for entry in request:
                position = self.head + len(new) + 1
                known = identities.resolve(entry, position)
                if known is None:
                    new.append(entry)
                    answers.append(Receipt(entry.uid, position))
                else:
                    answers.append(Receipt(known.uid, None))
            receipts.append(answers)
        if new:
            self._store(new)
        if identities.changed:
            self._store_keys(identities.changed)
        return receipts

    def _find(self, keys: Iterable[bytes]) -> dict[bytes, Known]:
        """What is known under these keys, those that nothing is known under left out."""
        asked = list(keys)
        if not asked:
            return {}
        (found,) = self._connection.execute(
            _FIND_KEYS, ("[0" + ",0" * (len(asked) - 1) + "]", b"".join(asked))
        ).fetchone()
        return {
            asked[number]: Known(position, bytes.fromhex(uid), taken, equal)
            for number, position, uid, taken, equal in orjson.loads(found)
        }

    def _store(self, new: Sequence[NewEntry]) -> None:
        frames = self._compression.compress([part for entry in new for part in (entry.raw, entry.event or b"")])
        entries, raws = [], []
        start = 1
        for entry, raw, event in zip(new, frames[::2], frames[1::2], strict=True):
            media = None if entry.media == "application/json" else entry.media
            raws.append((media, start, len(raw)))
            start += len(raw)
            size = None if entry.event is None else len(entry.event)
            entries.append(
                (
                    self._source(entry.source),
                    entry.received_at,
                    entry.type,
                    entry.native_type,
                    entry.problem,
                    size or 0,
                    # Cut from nowhere, nothing is null.
                    None if size is None else start,
                    len(event),
                )
            )
            start += len(event)
        content = b"".join(frames)
        first = self.head + 1
        uids = b"".join([entry.uid for entry in new])
        self._connection.execute(_INSERT_ENTRIES, (_json(entries), uids, content, first))
        self._connection.execute(_INSERT_RAWS, (_json(raws), content, first))
        self.head += len(new)
        self._latest = max(self._latest, max([entry.received_at for entry in new]))
        if self.head - self._noted >= ARRIVAL_STEP:
            self._connection.execute("INSERT INTO arrival (latest, position) VALUES (?, ?)", (self._latest, self.head))
            self._noted = self.head

    def _store_keys(self, changed: dict[bytes, Known]) -> None:
        rows = _json([(known.position, known.taken, known.equal) for known in changed.values()])
        self._connection.execute(_INSERT_KEYS, (rows, b"".join(changed)))

    def _source(self, name: str) -> int:
        number = self._sources.get(name)
        if number is None:
            number = self._connection.execute("INSERT INTO source (name) VALUES (?)", (name,)).lastrowid
            assert number is not None
            self._sources[name] = number
        return number


def _json(rows: Sequence[tuple[str | int | None, ...]]) -> str:
    text = orjson.dumps(rows)
    if b"\\u0000" in text:
        # A text that SQLite takes out of JSON ends at a NUL.
        text = orjson.dumps(
            [[part.replace("\0", "\ufffd") if isinstance(part, str) else part for part in row] for row in rows]
        )
    return text.decode()
