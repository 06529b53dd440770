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

#: Most bytes of what is kept of all that an event was wrapped in.
ENVELOPE_SIZE = 4096


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


def identity_digest(source: bytes, values: list[str | None]) -> bytes:
    """16 bytes made of the values by which a native event of a source is known: a UUIDv5 of them.

    The values are written as JSON, so that no value can pose as two. With the event's time it makes a key.
    """
    return uuid5_bytes(source, orjson.dumps(values))


def identity_key(seconds: int, digest: bytes) -> bytes:
    """16 bytes by which a native event is known: its own time in whole seconds (0: it has none) in four bytes, then
    the last twelve of its digest, in the form of a UUIDv8 (RFC 9562, section 5.8).

    Time leads, so that the keys of events that happen at about the same time lie together in an index. An event's uid
    is its first key.
    """
    return (seconds << 96 | (int.from_bytes(digest[4:], "big") ^ _VERSION_5 ^ _VERSION_8)).to_bytes(16, "big")


def numbered_key(key: bytes, number: int | bytes) -> bytes:
    """A key derived from another one, of the same form and with the same time in front: that of the ``number``-th
    (from 0, which is the key itself) of several events, or one named by bytes."""
    if number == 0:
        return key
    derived = uuid5_bytes(key, b"%d" % number if isinstance(number, int) else number)
    return derived if is_former_key(key) else identity_key(int.from_bytes(key[:4], "big"), derived)


def is_former_key(key: bytes) -> bool:
    """Whether a key is one of a log of an older version: a digest, without a time in front."""
    return key[6] >> 4 == 5


#: Latest time that a key can begin with, seconds.
_LATEST = 0xFFFFFFFF


def leading_seconds(time: int | None) -> int:
    """What the keys of an event of this time (epoch milliseconds) begin with; 0 where it has none of its own."""
    return 0 if time is None or time < 0 else min(time // 1000, _LATEST)


def uuid5_bytes(namespace: bytes, name: bytes) -> bytes:
    """UUIDv5 (RFC 9562, section 5.5) as 16 bytes; several times faster than going through `uuid.uuid5`."""
    digest = hashlib.sha1(namespace + name, usedforsecurity=False).digest()
    return (int.from_bytes(digest[:16], "big") & _FREE_BITS | _VERSION_5).to_bytes(16, "big")


#: Of a UUID: the bits that neither version nor variant take, and both of them set.
_FREE_BITS = ~(0xF << 76 | 0x3 << 62)
_VERSION_5 = 0x5 << 76 | 0x2 << 62
_VERSION_8 = 0x8 << 76 | 0x2 << 62


def uid_text(uid: bytes) -> str:
    """The usual text form of 16 bytes."""
    text = uid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def message_id(entry: Entry) -> str:
    """What a receiver knows an event by: the same each time it is sent, on every sink. A correction is a message of its
    own: ``UID-1``, ``UID-2``, ….

    It holds no dot, as Standard Webhooks asks.
    """
    uid = uid_text(entry.uid)
    return f"{uid}-{entry.revision}" if entry.revision else uid


def renamed(event: bytes, uid: bytes) -> bytes:
    """An event (JSON, its uid first) with another uid (text), which takes the place of the one that it has."""
    return b"%b%b%b" % (_UID, uid, event[_UID_END:]) if event.startswith(_UID) else event


#: How an event begins, and where its uid ends.
_UID = b'{"uid":"'
_UID_END = len(_UID) + 36
