"""One event as a sentence for people, by the template of its type."""

from __future__ import annotations

import re

from adapter.formats.text import harmless, shortened
from adapter.mapping.catalogue import UNSPECIFIED, Catalogue
from adapter.search_fields import SearchFields

#: What a template says of something that an event may lack: left out together with the words in front of it.
_LEFT_OUT = re.compile(r"(?: (?:from|to|of|by|for)|:) \{(client|ip|reason)\}")
_FIELD = re.compile(r"\{([a-zA-Z_.]+)\}")
#: What stands for those that no event may lack.
_UNKNOWN = {"username": "somebody", "client": "an application", "ip": "an unknown address", "realm": "a realm"}
#: Characters of a value.
_LENGTH = 120


def sentence_of(event: SearchFields, catalogue: Catalogue, *, place: str | None = None) -> str:
    """The sentence; of a type that the catalogue does not know, what it is called. ``place``: where its address
    lies, harmless."""
    known = catalogue.known(event.type)
    if known is None:
        what = f"{event.type} of {who_of(event)}"
        return harmless(what if event.outcome != "failure" else f"{what} failed{_because(event)}")
    failed = event.outcome == "failure"
    template = known.failure if failed and known.failure is not None else known.sentence
    template = _LEFT_OUT.sub(lambda found: "" if value_of(event, found[1]) is None else found[0], template)

    def put(match: re.Match[str]) -> str:
        value = value_of(event, match[1])
        if value is not None and match[1] == "ip" and place is not None:
            value += f" ({place})"
        return value or _UNKNOWN.get(match[1], "something")

    text = _FIELD.sub(put, template)
    if failed and known.failure is None:
        text += f" (failed{_because(event)})"
    if event.target is not None and event.type.startswith("access.") and (by := _other(event)) is not None:
        text += f", by {by}"
    return text[:1].upper() + text[1:] if text.startswith(tuple(_UNKNOWN.values())) else text


def who_of(event: SearchFields) -> str:
    """Who acted, by name or id."""
    return value_of(event, "username") or _UNKNOWN["username"]


def value_of(event: SearchFields, field: str) -> str | None:
    """What an event says under a field of a template, harmless and not too long; ``None``: nothing."""
    details = event.event.details or {}
    match field:
        case "username":
            value = event.own_name or (event.actor_names[0] if event.actor_names else None) or event.actor
            if event.target is not None and event.type.startswith("access."):
                # What is told is what became of the one whose account it is.
                value = (event.own_name if _is_impersonation(event) else details.get("username")) or event.target
        case "client":
            value = details.get("client_name") or event.client
        case "ip":
            value = event.address
        case "realm":
            value = event.realm_name or event.realm_id
        case "reason":
            value = None if event.reason is None else event.reason.replace("_", " ")
            if event.reason == UNSPECIFIED:
                value = "cause not stated"
        case "path":
            value = event.event.resource_path
        case _:
            value = details.get(field.removeprefix("details."))
    return None if not value else harmless(shortened(value, _LENGTH))


def _is_impersonation(event: SearchFields) -> bool:
    return event.type.startswith("access.IMPERSONATE")


def _other(event: SearchFields) -> str | None:
    """Who did it to somebody else's account; ``None`` where the template tells it, or nobody does."""
    who = None if _is_impersonation(event) else event.own_name or event.actor
    return None if who is None else harmless(shortened(who, _LENGTH))


def _because(event: SearchFields) -> str:
    reason = value_of(event, "reason")
    return "" if reason is None else f": {reason}"
