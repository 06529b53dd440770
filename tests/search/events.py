"""Events and entries for the tests of filters and search; a test states only what it is about."""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from adapter.log.protocol import EventRow
from adapter.mapping.catalogue import Catalogue, CatalogueFile
from adapter.model import EventDict

CATALOGUE = Catalogue(
    CatalogueFile.model_validate(
        {
            "aliases": {"FEDERATED_IDENTITY_LINK": "SOCIAL_LINK", "EVENT_LINK": "SOCIAL_LINK"},
            "reason_classes": {"credential": "Who it was could not be shown", "system": "Ours"},
            "reasons": {
                "bad_credentials": {"class": "credential", "error": "invalid_user_credentials", "meaning": "Wrong"},
                "unknown_user": {"class": "credential", "error": "user_not_found", "meaning": "Nobody"},
                "delivery_failed": {"class": "system", "error": "email_send_failed", "meaning": "Not sent"},
            },
        }
    )
)


def make_event(**changes: Any) -> EventDict:
    """A login of Alice; ``None`` takes a field out. ``source`` is laid over the usual one."""
    event: EventDict = {
        "time": 1_000,
        "type": "access.LOGIN",
        "realmId": "6abba41c-2362-4d1c-93c7-b2ea2454ecab",
        "realmName": "acme",
        "outcome": "success",
        "authDetails": {"userId": "u-alice", "username": "alice", "clientId": "app", "ipAddress": "203.0.113.7"},
        "details": {},
    }
    origin = {"name": "prod", "provider": "keycloak", "nativeType": "LOGIN", "receivedAt": 1_005, "mapping": "k@1"}
    event |= changes
    event["source"] = {**origin, **changes.get("source", {})}
    return {name: value for name, value in event.items() if value is not None}


def make_entry(
    position: int, event: EventDict | None = None, *, uid: bytes | None = None, revision: int = 0
) -> EventRow:
    """The entry of an event at a position, as the filler reads it; a quarantined one without an event."""
    received_at = 1_005 if event is None else event["source"]["receivedAt"]
    return EventRow(
        position=position,
        uid=uid or uuid.UUID(int=position).bytes,
        revision=revision,
        received_at=received_at,
        event=None if event is None else orjson.dumps(event),
    )
