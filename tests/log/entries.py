"""Entries to append: valid by default, and a test states its one change."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from adapter.log.protocol import NewEntry
from adapter.model import identity_key, ordinal_key, source_key

_SOURCE = source_key("prod")
_numbers = itertools.count(1)


def strong_key(name: str) -> bytes:
    return identity_key(_SOURCE, ["id", name])


def weak_key(name: str) -> bytes:
    return identity_key(_SOURCE, ["fields", name])


def new_entry(strong: str | None = None, weak: str | None = None, ordinal: int = 0, **changes: Any) -> NewEntry:
    """An event known by these keys; by none, it is new each time."""
    number = next(_numbers)
    keys = (
        None if strong is None else strong_key(strong),
        None if weak is None else weak_key(weak),
    )
    uid = keys[0] or (ordinal_key(keys[1], ordinal) if keys[1] else uuid.uuid4().bytes)
    entry = NewEntry(
        source="prod",
        received_at=1_700_000_000_000 + number,
        raw=b'{"native": %d}' % number,
        media="application/json",
        uid=uid,
        strong=keys[0],
        weak=keys[1],
        ordinal=ordinal,
        native_type="LOGIN",
        type="access.LOGIN",
        event=b'{"unified": %d}' % number,
        problem=None,
    )
    return entry._replace(**changes)


def quarantined_entry(**changes: Any) -> NewEntry:
    """An entry that could not be read."""
    return new_entry(type=None, event=None, native_type=None, problem="not JSON", media="text/plain")._replace(
        **changes
    )
