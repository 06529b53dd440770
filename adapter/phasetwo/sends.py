"""What was sent to a webhook, as Phase Two's API shows it: one send for each event, however often it was tried."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from pydantic import BaseModel, Field

from adapter.formats.phasetwo import Settings as PhaseTwoSettings
from adapter.formats.phasetwo import make_format
from adapter.log.protocol import Attempt
from adapter.model import Entry, message_id

#: Status of a try that no answer came to.
NO_ANSWER = 999
_FORMAT = make_format(PhaseTwoSettings())


class WebhookOfSend(BaseModel):
    """Where it was sent."""

    id: str
    enabled: bool
    url: str


class Send(BaseModel):
    """WebhookSendRepresentation. What is not known is left out."""

    id: str = Field(description="The `uid` in what was sent: the same each time")
    type: str = Field(description="Of the event, as it was sent")
    webhook: WebhookOfSend
    status: int = Field(description=f"Of the latest try; {NO_ANSWER}: no answer came")
    status_message: str
    retries: int = Field(description="Tries so far")
    sent_at: int = Field(description="When the latest try began, epoch milliseconds")
    event_id: str = Field(description="The event's uid")
    keycloak_event_type: str = Field(description="`USER`, `ADMIN`, or `UNKNOWN` for what applications published")
    keycloak_event_id: str = Field(description="The provider's own id, or else the event's uid")
    payload: str | None = Field(None, description="What was sent: the event as JSON, in a text")


def written(entry: Entry) -> bytes:
    """An event as webhooks get it."""
    [payload] = _FORMAT.write([entry])
    return payload


def send(
    entry: Entry, latest: Attempt, tries: int, webhook: WebhookOfSend, reason: str, *, with_payload: bool = False
) -> Send:
    """An event that was sent. ``latest``: its latest try, of so many; ``reason``: why that failed, as far as the caller
    may be told."""
    payload = written(entry)
    read, uid = orjson.loads(payload), message_id(entry)
    return Send(
        id=uid,
        type=read["type"],
        webhook=webhook,
        status=latest.status or NO_ANSWER,
        status_message=_message(latest.status, reason),
        retries=tries,
        sent_at=latest.began_at,
        event_id=uid,
        keycloak_event_type=kind_of(read["type"]),
        keycloak_event_id=read.get("id", uid),
        payload=payload.decode() if with_payload else None,
    )


def kind_of(type: str) -> str:
    """Which of Keycloak's two kinds of events a type is."""
    if type.startswith("access."):
        return "USER"
    return "ADMIN" if type.startswith("admin.") else "UNKNOWN"


def _message(status: int | None, reason: str) -> str:
    if status is None:
        return f"HTTP {NO_ANSWER} {reason or 'no answer'}"
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status} Unknown Status Code"
