"""The index of identities: a B-tree, and in front of it the keys that came last, in memory.

Keys are as good as random: stored one commit at a time, each would write a page of its own. So a commit only notes
its keys, in one row of ``recent``, and they stay in memory, in 256 buckets by their first byte. When there are too
many, bucket after bucket moves into the tree, each a narrow part of it. When all buckets have had their turn, the
rows that were there before are not needed any more. A log that is opened takes its buckets from the rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import orjson

from adapter.log.identity import Known

#: Keys kept in memory, about 250 bytes each.
RECENT = 32_768

_BUCKETS = 256

_FIND = """
SELECT json_group_array(json_array(asked.key, position, hex(uid), taken, equal))
FROM json_each(?1) AS asked
CROSS JOIN identity ON identity.key = substr(?2, 16 * asked.key + 1, 16)
JOIN entry USING (position)
"""
# A key's numbers are nearly always 0 and 0, 0 and 1, or 1 and 1. Then they travel with its position in one integer
# (their sum in its last two bits), which costs half of an array of three.
_STORE = """
INSERT INTO identity (key, position, taken, equal)
SELECT substr(?2, 16 * key + 1, 16), value >> 2, (value >> 1) & 1, (value & 3) > 0 FROM json_each(?1) WHERE true
ON CONFLICT (key) DO UPDATE SET taken = excluded.taken, equal = excluded.equal
"""
_STORE_SHARED = """
INSERT INTO identity (key, position, taken, equal)
SELECT substr(?2, 16 * key + 1, 16), value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true
ON CONFLICT (key) DO UPDATE SET taken = excluded.taken, equal = excluded.equal
"""
_UIDS = "SELECT json_group_array(hex(uid)) FROM json_each(?1) CROSS JOIN entry ON position = value ->> 0"

#: Parameter: an uid. Position of its first entry, wherever the index has it.
FIND_UID = """
SELECT position FROM identity JOIN entry USING (position) WHERE key = ?1 AND uid = ?1
UNION ALL
SELECT position FROM entry WHERE uid = ?1 AND position IN (
  SELECT json_extract(fields, '$[' || ((instr(keys, ?1) - 1) / 16) || '][0]') FROM recent WHERE instr(keys, ?1)
)
LIMIT 1
"""


@dataclass(slots=True)
class _Turn:
    """Whose turn it is to move into the tree."""

    #: The next bucket.
    bucket: int = 0
    #: Id of the last row of ``recent``, and what it was when bucket 0 had its last turn.
    last: int = 0
    last_before: int = 0


@dataclass(slots=True)
class _Step:
    """What a transaction does to the index, until it is committed."""

    turn: _Turn
    added: dict[bytes, Known]
    moved: list[int] = field(default_factory=list)


class Index:
    """The index as one connection sees it; to be used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, size: int = RECENT) -> None:
        """``size``: how many keys to keep in memory."""
        self._connection = connection
        self._size = size
        self._recent: list[dict[bytes, Known]] = [{} for _ in range(_BUCKETS)]
        self._turn = _Turn()
        self._step: _Step | None = None
        for number, keys, fields in connection.execute("SELECT id, keys, fields FROM recent ORDER BY id").fetchall():
            uids = orjson.loads(connection.execute(_UIDS, (fields,)).fetchone()[0])
            for place, ((position, taken, equal), uid) in enumerate(zip(orjson.loads(fields), uids, strict=True)):
                key = keys[16 * place : 16 * place + 16]
                self._recent[key[0]][key] = Known(position, bytes.fromhex(uid), taken, equal)
            self._turn.last = number
        self._count = sum(map(len, self._recent))

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Known]:
        """What is known under these keys, those that nothing is known under left out."""
        found: dict[bytes, Known] = {}
        rest = []
        for key in keys:
            known = self._recent[key[0]].get(key)
            if known is None:
                rest.append(key)
            else:
                found[key] = known
        if rest:
            places = "[0" + ",0" * (len(rest) - 1) + "]"
            (rows,) = self._connection.execute(_FIND, (places, b"".join(rest))).fetchone()
            for place, position, uid, taken, equal in orjson.loads(rows):
                found[rest[place]] = Known(position, bytes.fromhex(uid), taken, equal)
        return found

    def store(self, added: dict[bytes, Known]) -> None:
        """Store these keys in the transaction that runs; `commit` follows, or `roll_back`."""
        self._step = step = _Step(replace(self._turn), added)
        step.turn.last += 1
        row = (step.turn.last, b"".join(added), _fields(added))
        self._connection.execute("INSERT INTO recent (id, keys, fields) VALUES (?, ?, ?)", row)
        excess = self._count + len(added) - self._size
        moving: dict[bytes, Known] = {}
        while excess > len(moving) and len(step.moved) < _BUCKETS:
            moving |= self._recent[step.turn.bucket]
            step.moved.append(step.turn.bucket)
            step.turn.bucket = (step.turn.bucket + 1) % _BUCKETS
            if step.turn.bucket == 0:
                self._connection.execute("DELETE FROM recent WHERE id <= ?", (step.turn.last_before,))
                # Without this transaction's own row, whose keys are in no bucket yet.
                step.turn.last_before = self._turn.last
        if moving:
            self._move(moving)

    def _move(self, keys: dict[bytes, Known]) -> None:
        single = sorted([key for key, known in keys.items() if known.equal < 2])
        if single:
            packed = []
            for key in single:
                position, _, taken, equal = keys[key]
                packed.append(position << 2 | taken + equal)
            self._connection.execute(_STORE, (orjson.dumps(packed).decode(), b"".join(single)))
        shared = {key: known for key, known in keys.items() if known.equal > 1}
        if shared:
            self._connection.execute(_STORE_SHARED, (_fields(shared), b"".join(shared)))

    def commit(self) -> None:
        """What was stored since the last commit stands."""
        step, self._step = self._step, None
        if step is None:
            return
        self._turn = step.turn
        for bucket in step.moved:
            self._recent[bucket] = {}
        for key, known in step.added.items():
            self._recent[key[0]][key] = known
        self._count = sum(map(len, self._recent))

    def roll_back(self) -> None:
        """What was stored since the last commit does not stand."""
        self._step = None


def _fields(keys: dict[bytes, Known]) -> str:
    return orjson.dumps([(known.position, known.taken, known.equal) for known in keys.values()]).decode()
