"""Entries as the log gives them, for tests of sinks and deliveries."""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from adapter.model import Entry


def make_entry(position: int = 1, type: str = "access.LOGIN", **details: Any) -> Entry:
    """A valid entry; its uid follows from its position."""
    uid = uuid.uuid5(uuid.NAMESPACE_OID, str(position))
    event = {
        "uid": str(uid),
        "time": 1_700_000_000_000 + position,
        "type": type,
        "authDetails": {"userId": "u-1"},
        "details": details,
        "outcome": "success",
        "source": {
            "name": "kc",
            "provider": "keycloak",
            "nativeType": "LOGIN",
            "receivedAt": 1_700_000_000_000,
            "mapping": "keycloak@1",
        },
    }
    return Entry(
        position=position,
        uid=uid.bytes,
        revision=0,
        received_at=1_700_000_000_000,
        source="kc",
        type=type,
        event=orjson.dumps(event),
        problem=None,
        native_type="LOGIN",
    )


def make_entries(count: int, first: int = 1) -> list[Entry]:
    return [make_entry(position) for position in range(first, first + count)]
