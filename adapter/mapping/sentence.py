"""An event as one sentence for people: the catalogue's template for its type, filled with what the event says.

What an event does not say leaves its place: ``{username} logged in to {client} from {ip}`` becomes ``anna logged in``.
Texts are foreign, and as they came but for their length: who shows them makes them harmless.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from adapter.formats.event_cells import what_was_changed
from adapter.mapping.catalogue import ACCESS, ERROR, Catalogue
from adapter.model import Outcome
from adapter.search_fields import FOUND_DETAILS, MAPPED, address_bytes

#: Characters of a value that a sentence holds.
LENGTH = 200

#: What stands for something that is not said and that the sentence cannot do without.
_UNSAID = {
    "username": "someone",
    "client": "a client",
    "ip": "an address",
    "realm": "a realm",
    "details.identity_provider": "another identity provider",
    "details.impersonator": "someone",
}
#: Without these a sentence still says something, and so it does without the word before them.
_SPARED = {"client", "ip", "realm"}
_BEFORE = re.compile(r"(.*?)(?:^| )(?:to|of|from|by|for|through|at|in|with|on)\s*", re.DOTALL)
_HOLE = re.compile(r"\{([a-z_.]+)\}")
#: Which filter finds events by an agreed detail.
_FILTERS = {detail: name for name, details in FOUND_DETAILS.items() for detail in details}
#: Of a type that no catalogue has.
_ANY = "{type}: {username} at {client} from {ip}"
_ANY_ADMIN = "{type}: {username} ({path})"
#: Behind a sentence that says what was to be done, where that failed.
_FAILED = ", but it failed: {reason}"


class Part(NamedTuple):
    """A piece of a sentence; with the filter that finds its value, where there is one."""

    text: str
    filter: str | None = None
    value: str | None = None


def sentence(event: Mapping[str, Any], catalogue: Catalogue) -> list[Part]:
    """The sentence of a unified event, in pieces; never empty."""
    parts: list[Part] = []
    pieces = _pieces(_template(event["type"], event["outcome"], catalogue))
    closing = ""
    for number, (literal, hole) in enumerate(pieces):
        if closing:
            literal = literal.removeprefix(closing)
            closing = ""
        if hole is None:
            parts.append(Part(literal))
            continue
        found = _value(hole, event)
        following = pieces[number + 1][0]
        if found is None and (less := _without(literal, hole, following, is_first=number == 0)) is not None:
            literal, closing = less
            parts.append(Part(literal))
            continue
        parts.append(Part(literal))
        if found is None:
            found = Part(_UNSAID.get(hole, "something"))
            if not any(one.text for one in parts):
                found = Part(found.text[0].upper() + found.text[1:])
        parts.append(found)
    return [one for one in parts if one.text]


def text_of(parts: Sequence[Part]) -> str:
    """The sentence as one text."""
    return "".join([one.text for one in parts])


def _template(type: str, outcome: str, catalogue: Catalogue) -> str:
    known = catalogue.known(catalogue.canonical(type))
    failed = outcome == Outcome.FAILURE
    if known is None:
        base = _ANY_ADMIN if type.startswith(("admin.", "system.")) else _ANY
        # An _ERROR says so itself.
        return base + (": {reason}" if failed and type.endswith(ERROR) else _FAILED if failed else "")
    if not failed:
        return known.sentence
    return known.failure if known.failure is not None and type.startswith(ACCESS) else known.sentence + _FAILED


@lru_cache(maxsize=2_048)
def _pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    """Literal texts, each with the name of the value behind it; the last one has none."""
    split = _HOLE.split(template)
    return (*zip(split[:-1:2], split[1::2], strict=True), (split[-1], None))


def _without(literal: str, hole: str, following: str, *, is_first: bool) -> tuple[str, str] | None:
    """The text before a value that is not there, without what leads to it, and what goes of the text behind it;
    ``None``: the value cannot be left out. ``is_first``: nothing stands before that text."""
    if literal.endswith(" (") and following.startswith(")"):
        return literal[:-2], ")"
    if literal.endswith(": "):
        return literal[:-2], ""
    if hole in _SPARED and (found := _BEFORE.fullmatch(literal)) is not None and (found[1] or not is_first):
        return found[1], ""
    return None


def _value(hole: str, event: Mapping[str, Any]) -> Part | None:
    """What an event says for a place in a sentence."""
    who, looked_up = event.get("authDetails") or {}, event.get("lookedUp") or {}
    details = event.get("details") or {}
    match hole:
        case "username" if event["type"].startswith(f"{ACCESS}IMPERSONATE"):
            # Keycloak names the impersonated where the actor stands.
            return _part(_first(who.get("username"), looked_up.get("target"), who.get("userId")), "user")
        case "username":
            name = _first(who.get("username"), looked_up.get("actor"))
            if name is None and event["type"].startswith(ACCESS):
                name = details.get("username")
            return _part(name or who.get("userId"), "user")
        case "client":
            id = who.get("clientId")
            return _part(_first(looked_up.get("client"), id), "client", id)
        case "ip":
            return _address(who.get("ipAddress"))
        case "realm":
            return _part(_first(event.get("realmName"), looked_up.get("realm"), event.get("realmId")), "realm")
        case "reason":
            reason = event.get("reason")
            if reason is None or reason == "unspecified":
                return None
            return _part(reason.replace("_", " "), "reason", reason)
        case "path":
            return _part(what_was_changed(event) or event.get("resourcePath"), None)
        case "type":
            return _part(event["type"], "type")
    name = hole.removeprefix("details.")
    return _part(details.get(name), _FILTERS.get(name))


def _part(text: str | None, filter: str | None, value: str | None = None) -> Part | None:
    if not text:
        return None
    value = text if value is None else value
    if len(text) > LENGTH:
        text = text[:LENGTH] + "…"
    # A filter takes no value of any length, and none that is blank.
    return Part(text, filter, value) if filter is not None and value.strip() and len(value) <= LENGTH else Part(text)


def _address(text: str | None) -> Part | None:
    if not text:
        return None
    packed = address_bytes(text[:100])
    if packed is None:
        return _part(text, None)
    address = ipaddress.ip_address(packed[12:] if packed.startswith(MAPPED) else packed)
    return _part(text, "ip", str(address))


def _first(*texts: str | None) -> str | None:
    return next((text for text in texts if text), None)
