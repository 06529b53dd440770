"""The nouns that every part shares: an entry of the log, and the keys by which events are known.

On the hot path an event is a plain ``dict`` (and later its JSON bytes) of the shape that `adapter.event` documents.
"""

from __future__ import annotations

import hashlib
import uuid
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

#: A unified event as the hot path holds it: the shape of `adapter.event.Event`, absent fields left out.
EventDict = dict[str, Any]

#: Namespace of every uid; a source's key is made in it, an event's identity keys in the source's key.
NAMESPACE = uuid.UUID("6f1c1c1e-6a0b-5a55-9f0e-1d9e7f6f2b41")


class Outcome(StrEnum):
    """What became of it."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: Success is not a question here (an attempt, a notice), or was not said.
    UNKNOWN = "unknown"


class Entry(NamedTuple):
    """One row of the log, as readers get it. A tuple, since readers that catch up make a million of them."""

    #: Place in the log: dense from 1, in the order in which entries became visible.
    position: int
    #: 16 bytes; `uid_text` says it.
    uid: bytes
    #: 0 while the event is quarantined and for the first entry that has it, then 1, 2, …
    revision: int
    #: Arrival of the event, epoch milliseconds.
    received_at: int
    #: Configured name of the source when it came.
    source: str
    #: Unified type; ``None`` while quarantined.
    type: str | None
    #: The unified event as JSON; ``None`` while quarantined.
    event: bytes | None
    #: Why there is no event; ``None`` if there is one.
    problem: str | None
    native_type: str | None


def source_key(key: str) -> bytes:
    """The namespace in which the identities of one source live, 16 bytes. ``key`` is the source's configured key (its
    first name), so the same event gets the same uid in every installation that names the source alike."""
    return uuid.uuid5(NAMESPACE, key).bytes


def identity_key(source: bytes, values: list[str | None]) -> bytes:
    """16 bytes that stand for one native event of a source: a UUIDv5 over the values it is known by.

    The values are written as JSON, so that no value can pose as two. An event's uid is its first key.
    """
    return uuid5_bytes(source, orjson.dumps(values))


def id_key(source: bytes, id: str) -> bytes:
    """The strong key of the event of a source that its provider knows by this id."""
    return identity_key(source, ["id", id])


def ordinal_key(weak: bytes, ordinal: int) -> bytes:
    """The key of the ``ordinal``-th (from 0) of several events whose weak keys are equal."""
    return weak if ordinal == 0 else uuid5_bytes(weak, b"%d" % ordinal)


def uuid5_bytes(namespace: bytes, name: bytes) -> bytes:
    """UUIDv5 (RFC 9562, section 5.5) as 16 bytes; several times faster than going through `uuid.uuid5`."""
    digest = hashlib.sha1(namespace + name, usedforsecurity=False).digest()
    return (int.from_bytes(digest[:16], "big") & _FREE_BITS | _VERSION_5).to_bytes(16, "big")


#: Of a UUID: the bits that neither version nor variant take, and both of them set.
_FREE_BITS = ~(0xF << 76 | 0x3 << 62)
_VERSION_5 = 0x5 << 76 | 0x2 << 62


def uid_text(uid: bytes) -> str:
    """The usual text form of 16 bytes."""
    text = uid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
