"""The nouns that every part shares: the unified event and an entry of the log.

On the hot path an event is a plain ``dict`` (and later its JSON bytes) of the shape that `Event` documents; the
class itself is the source of ``schemas/event.schema.json`` and of checks in tests and tools.
"""

from __future__ import annotations

import hashlib
import uuid
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

#: A unified event as the hot path holds it: the shape of `Event`, absent fields left out.
EventDict = dict[str, Any]

#: Namespace of every uid; a source's key is made in it, an event's identity keys in the source's key.
NAMESPACE = uuid.UUID("6f1c1c1e-6a0b-5a55-9f0e-1d9e7f6f2b41")

Text = Annotated[str, Field(min_length=1)]


class Outcome(StrEnum):
    """What became of it."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: Success is not a question here (an attempt, a notice), or was not said.
    UNKNOWN = "unknown"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuthDetails(_Shape):
    """Who acted, from where, through which client. What is unknown is absent."""

    realmId: Text | None = Field(None, description="Name of the realm or tenant (not its id)")
    clientId: Text | None = Field(None, description="Client or application; a UUID on Keycloak's admin events")
    userId: Text | None = Field(None, description="Who acted")
    ipAddress: Text | None = Field(None, description="Address as the provider reported it")
    username: Text | None = Field(None, description="Name of who acted, as it was typed or resolved")
    sessionId: Text | None = Field(None, description="The provider's session id, or else Keycloak's code_id")


class Origin(_Shape):
    """Where the event came from, and which table read it."""

    name: Text = Field(description="Configured name of the source")
    provider: Text = Field(description="Kind of identity provider: the name of its table")
    nativeType: Text = Field(description="The provider's own name or number for this type of event")
    receivedAt: int = Field(ge=0, description="Arrival, epoch milliseconds")
    mapping: Text = Field(description="Name and version of the table that made the event: name@version")
    normalizedAt: int | None = Field(
        None,
        ge=0,
        description="Epoch milliseconds; only where a later table read again what had been stored: a correction, or "
        "what was quarantined until then",
    )


class Event(_Shape):
    """The unified event: Phase Two's audit event, with ``outcome``, ``reason`` and ``source`` added."""

    uid: uuid.UUID = Field(description="Ours: one native event has one uid, however often and whichever way it comes")
    id: Text | None = Field(None, description="The provider's own id, if it sent one")
    time: int = Field(ge=0, description="When it happened, by the provider's clock; epoch milliseconds")
    realmId: Text | None = Field(None, description="Id of the realm or tenant")
    realmName: Text | None = Field(None, description="Name of the realm or tenant")
    type: Text = Field(description="access.LOGIN, access.LOGIN_ERROR, admin.USER-CREATE, system.…, or a custom type")
    error: Text | None = Field(None, description="Keycloak's error code; on every failure")
    authDetails: AuthDetails = Field(default_factory=AuthDetails)
    details: dict[str, str] = Field(default_factory=dict, description="Everything else worth reading")
    resourceType: Text | None = Field(None, description="On admin events: the kind of thing changed")
    operationType: Text | None = Field(None, description="On admin events: CREATE, UPDATE, DELETE, ACTION, READ")
    resourcePath: Text | None = Field(None, description="On admin events: which thing, relative to the realm")
    representation: Text | None = Field(None, description="On admin events: its new form, mostly JSON in a text")
    outcome: Outcome
    reason: Text | None = Field(None, description="A failure's reason, one of the closed list in mappings/types.yaml")
    source: Origin


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


def source_key(key: str) -> uuid.UUID:
    """The namespace in which the identities of one source live. ``key`` is the source's configured key (its first
    name), so the same event gets the same uid in every installation that names the source alike."""
    return uuid.uuid5(NAMESPACE, key)


def identity_key(source: uuid.UUID, values: list[str | None]) -> bytes:
    """16 bytes that stand for one native event of a source: a UUIDv5 over the values it is known by.

    The values are written as JSON, so that no value can pose as two. An event's uid is its first key.
    """
    return uuid5_bytes(source.bytes, orjson.dumps(values))


def ordinal_key(weak: bytes, ordinal: int) -> bytes:
    """The key of the ``ordinal``-th (from 0) of several events whose weak keys are equal."""
    return weak if ordinal == 0 else uuid5_bytes(weak, b"%d" % ordinal)


def uuid5_bytes(namespace: bytes, name: bytes) -> bytes:
    """UUIDv5 (RFC 9562, section 5.5) as 16 bytes; several times faster than going through `uuid.uuid5`."""
    digest = bytearray(hashlib.sha1(namespace + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def uid_text(uid: bytes) -> str:
    """The usual text form of 16 bytes."""
    text = uid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
