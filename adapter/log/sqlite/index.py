"""The index of identities: a B-tree of keys that begin with the time of their event.

The keys of events that happen at about the same time lie together, so a commit of a live log adds to a few pages that
are in memory, however long the log is. Those of a log of version 2 or older begin with nothing in particular; they
stay where they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from adapter.log.identity import Known

#: Positions from here on stand for those of a large request, which are not known before its transaction.
BASE = 1 << 48

_FIND = """
SELECT json_group_array(json_array(asked.key, position, hex(uid), taken, equal, quarantined))
FROM json_each(?1) AS asked
CROSS JOIN (
  SELECT key, identity.position, taken, equal,
    coalesce(uid, (SELECT uid FROM removed WHERE removed.position = identity.position)) AS uid,
    uid IS NOT NULL AND size IS NULL
      AND NOT EXISTS (SELECT 1 FROM revision WHERE first = identity.position) AS quarantined
  FROM identity LEFT JOIN entry ON entry.position = identity.position
) AS found ON found.key = substr(?2, 16 * asked.key + 1, 16) AND uid IS NOT NULL
"""
# A key's numbers are nearly always 0 and 0, 0 and 1, or 1 and 1. Then they travel with its position in one integer
# (their sum in its last two bits), which costs half of an array of three.
_STORE = f"""
INSERT INTO identity (key, position, taken, equal)
SELECT substr(?2, 16 * key + 1, 16), iif(value >> 2 < {BASE}, value >> 2, (value >> 2) - {BASE} + ?3), (value >> 1) & 1,
  (value & 3) > 0
FROM json_each(?1) WHERE true
ON CONFLICT (key) DO UPDATE SET taken = excluded.taken, equal = excluded.equal
"""
_STORE_SHARED = f"""
INSERT INTO identity (key, position, taken, equal)
SELECT substr(?2, 16 * key + 1, 16), iif(value ->> 0 < {BASE}, value ->> 0, (value ->> 0) - {BASE} + ?3), value ->> 1,
  value ->> 2
FROM json_each(?1) WHERE true
ON CONFLICT (key) DO UPDATE SET taken = excluded.taken, equal = excluded.equal
"""

#: Parameter: an uid. Position of its first entry.
FIND_UID = "SELECT position FROM identity JOIN entry USING (position) WHERE key = ?1 AND uid = ?1"


def find_keys(connection: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, Known]:
    """What is known under these keys, those that nothing is known under left out."""
    asked = sorted(keys)
    if not asked:
        return {}
    places = "[0" + ",0" * (len(asked) - 1) + "]"
    (rows,) = connection.execute(_FIND, (places, b"".join(asked))).fetchone()
    return {
        asked[place]: Known(position, bytes.fromhex(uid), taken, equal, bool(quarantined))
        for place, position, uid, taken, equal, quarantined in orjson.loads(rows)
    }


class KeyRows(NamedTuple):
    """Keys as the statements take them: rows as JSON, and the keys one after the other; first of events that share
    theirs with no other, then of those that do."""

    single: tuple[str, bytes] | None
    shared: tuple[str, bytes] | None


def pack_keys(keys: Mapping[bytes, Known]) -> KeyRows:
    """The rows of these keys."""
    single = sorted([key for key, known in keys.items() if known.equal < 2])
    packed = []
    for key in single:
        position, _, taken, equal, _ = keys[key]
        packed.append(position << 2 | taken + equal)
    shared = {key: known for key, known in keys.items() if known.equal > 1} if len(single) < len(keys) else {}
    fields = [(known.position, known.taken, known.equal) for known in shared.values()]
    return KeyRows(
        (orjson.dumps(packed).decode(), b"".join(single)) if single else None,
        (orjson.dumps(fields).decode(), b"".join(shared)) if shared else None,
    )


def store_keys(connection: sqlite3.Connection, rows: KeyRows, first: int = BASE) -> None:
    """Store keys in the transaction that runs; ``first``: the position that `BASE` stands for."""
    if rows.single is not None:
        connection.execute(_STORE, (*rows.single, first))
    if rows.shared is not None:
        connection.execute(_STORE_SHARED, (*rows.shared, first))
