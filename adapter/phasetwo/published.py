"""Events that applications publish: of types of their own, in the shape of Phase Two's representation.

Where an event came from, whose it is and of which realm is said by the service, from the token and the address that it
was sent to; what a caller says of that is ignored.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from adapter.errors import RequestError
from adapter.log.protocol import NewEntry
from adapter.mapping.catalogue import ACCESS, ERROR, UNSPECIFIED, Catalogue
from adapter.model import EventDict, Outcome, identity_key, leading_seconds, uid_text

#: Source, provider and table of what is published.
SOURCE = "published"
#: Kinds of types that providers' and the service's own events have.
RESERVED = ("access.", "admin.", "system.")
#: Characters of a type, of another short text, and members of ``details``.
TYPE_LENGTH, TEXT_LENGTH, DETAILS = 255, 1_000, 200
#: So far in the future an event may be, milliseconds: clocks differ, and what is ahead of all others stays on top.
AHEAD = 86_400_000


class GivenEvent(BaseModel):
    """EventRepresentation, as it is sent; other members are ignored, and so are those that the service says itself:
    `id`, `uid`, `realmId`, `realmName`, `authDetails`."""

    model_config = ConfigDict(
        extra="ignore",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"type": "shop.ORDER", "details": {"order": "17", "amount": 4}}]},
    )

    type: str | None = Field(None, max_length=TYPE_LENGTH, description="Free text, but for access., admin., system.")
    time: int | None = Field(None, description="When it happened, epoch milliseconds; none, or below 1: now")
    operationType: str | None = Field(None, max_length=TEXT_LENGTH)
    resourceType: str | None = Field(None, max_length=TEXT_LENGTH)
    resourcePath: str | None = Field(None, max_length=TEXT_LENGTH)
    representation: str | None = None
    error: str | None = Field(None, max_length=TEXT_LENGTH, description="What went wrong: a code, or a sentence")
    details: dict[str, Any] | None = Field(
        None, max_length=DETAILS, description="Texts; numbers and truth values become texts, all else JSON in a text"
    )


def published_event(
    given: GivenEvent, realm: str, who: Mapping[str, str], raw: bytes, catalogue: Catalogue, now: int
) -> NewEntry:
    """What the log takes of an event. ``who``: its ``authDetails``; ``raw``: the request's body; ``now``: epoch
    milliseconds.

    Raises:
        RequestError: 400, it is none; 409, its type is a provider's.
    """
    type = _read_type(given.type, catalogue)
    time = given.time if given.time is not None and given.time > 0 else now
    if time > now + AHEAD:
        raise _bad(400, "time is more than a day ahead; epoch milliseconds are right")
    uid = identity_key(leading_seconds(time), uuid.uuid4().bytes)
    is_failure = bool(given.error) or type.endswith(ERROR)
    error = (given.error or catalogue.error_of(UNSPECIFIED)) if is_failure else None
    event: EventDict = {
        "uid": uid_text(uid),
        "time": time,
        "realmName": realm,
        "type": type,
        "error": error,
        "authDetails": dict(who),
        "details": {name: _text(one) for name, one in (given.details or {}).items() if one is not None},
        "resourceType": given.resourceType or None,
        "operationType": given.operationType or None,
        "resourcePath": given.resourcePath or None,
        "representation": given.representation or None,
        "outcome": Outcome.FAILURE if is_failure else Outcome.UNKNOWN,
        "reason": None if error is None else catalogue.reason_of(error),
        "source": {"name": SOURCE, "provider": SOURCE, "nativeType": type, "receivedAt": now, "mapping": SOURCE},
    }
    written = orjson.dumps({name: one for name, one in event.items() if one is not None})
    return NewEntry(SOURCE, now, raw, "application/json", uid, None, None, 0, type, type, written, None)


def _read_type(type: str | None, catalogue: Catalogue) -> str:
    if not type or type != type.strip() or not type.isprintable():
        raise _bad(400, "type is missing, has blanks at its ends, or cannot be printed: foo.bar is right")
    folded = type.casefold()
    if folded.startswith(RESERVED):
        raise _bad(409, f"type begins with one of {', '.join(RESERVED)}, as events of providers and the service do")
    if "." not in type and catalogue.known(catalogue.canonical(ACCESS + type.upper())) is not None:
        raise _bad(409, "type is the name of a provider's event; give it a prefix of your own, as in foo.bar")
    return type


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _bad(status: int, detail: str) -> RequestError:
    return RequestError(status, "Bad event" if status == 400 else "Reserved type", detail)
