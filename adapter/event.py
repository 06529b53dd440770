"""The shape of the unified event: the source of ``schemas/event.schema.json``, and of checks in tests and tools.

Apart from `adapter.model`, since those that only read the log do without pydantic.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from adapter.model import Outcome

Text = Annotated[str, Field(min_length=1)]


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
    also: Text | None = Field(
        None,
        description="Only where the record has more than one event: the name of this one in the table. The record's "
        "first event has none",
    )
    receivedAt: int = Field(ge=0, description="Arrival, epoch milliseconds")
    mapping: Text = Field(description="Name and version of the table that made the event: name@version")
    normalizedAt: int | None = Field(
        None,
        ge=0,
        description="Epoch milliseconds; only where a later table read again what had been stored: a correction, or "
        "what was quarantined until then",
    )
    revision: int | None = Field(
        None, ge=1, description="1, 2, …: which correction of the event this is; absent on the event as it was first"
    )


class LookedUp(_Shape):
    """Names of what the event carries the ids of, as other events said them at its time."""

    actor: Text | None = Field(None, description="Who acted")
    target: Text | None = Field(None, description="Who was acted upon")
    client: Text | None = Field(None, description="The client in authDetails")
    realm: Text | None = Field(None, description="The realm or tenant")
    resource: Text | None = Field(None, description="The client that an admin event is about")


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
    lookedUp: LookedUp | None = Field(
        None, description="Only where it was asked for: names that the event does not carry. Never stored"
    )
