"""Entries to append: valid by default, and a test states its one change."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import orjson

from adapter.log.identity import content_digest
from adapter.log.protocol import NewEntry, ReadKeys
from adapter.model import identity_digest, identity_key, source_key, uid_text

_SOURCE = source_key("prod")
_numbers = itertools.count(1)


#: When the events happened, epoch seconds.
SECONDS = 1_700_000_000


def strong_digest(name: str) -> bytes:
    return identity_digest(_SOURCE, ["id", name])


def weak_digest(name: str) -> bytes:
    return identity_digest(_SOURCE, ["fields", name])


def strong_key(name: str, seconds: int = SECONDS) -> bytes:
    return identity_key(seconds, strong_digest(name))


def weak_key(name: str, seconds: int = SECONDS) -> bytes:
    return identity_key(seconds, weak_digest(name))


def new_entry(
    strong: str | None = None,
    weak: str | None = None,
    *,
    seconds: int = SECONDS,
    session: str | None = None,
    details: dict[str, str] | None = None,
    **changes: Any,
) -> NewEntry:
    """An event known by these keys; by none, it is new each time."""
    number = next(_numbers)
    digests = (
        None if strong is None else strong_digest(strong),
        None if weak is None else weak_digest(weak),
    )
    first = digests[0] or digests[1]
    uid = uuid.uuid4().bytes if first is None else identity_key(seconds, first)
    event = {
        "uid": uid_text(uid),
        "unified": number,
        "authDetails": {} if session is None else {"sessionId": session},
        "details": details or {},
    }
    entry = NewEntry(
        source="prod",
        received_at=1_700_000_000_000 + number,
        raw=b'{"native": %d}' % number,
        media="application/json",
        uid=uid,
        strong=digests[0],
        weak=digests[1],
        seconds=seconds,
        native_type="LOGIN",
        type="access.LOGIN",
        event=orjson.dumps(event),
        problem=None,
    )
    return entry._replace(**changes)


def quarantined_entry(**changes: Any) -> NewEntry:
    """An entry that could not be read."""
    return new_entry(type=None, event=None, native_type=None, problem="not JSON", media="text/plain")._replace(
        **changes
    )


def unread_entry(raw: bytes, strong: str | None = None, weak: str | None = None) -> NewEntry:
    """An entry that could not be read, which is known by its bytes, and by keys where it has any."""
    entry = new_entry(strong, weak, raw=raw, type=None, event=None, problem="no row", namespace=_SOURCE)
    if strong is None and weak is None:
        digest = content_digest(_SOURCE, raw)
        return entry._replace(uid=identity_key(0, digest), weak=digest, seconds=0)
    return entry


def read_entry(raw: bytes, strong: str | None = None, weak: str | None = None, **changes: Any) -> NewEntry:
    """The same bytes, read."""
    return new_entry(strong, weak, raw=raw, namespace=_SOURCE, **changes)


def read_keys(raw: bytes, strong: str | None = None, weak: str | None = None) -> ReadKeys:
    """What it is known by when it is read again."""
    entry = read_entry(raw, strong, weak)
    return ReadKeys(entry.strong, entry.weak, entry.seconds, content_digest(_SOURCE, raw))
