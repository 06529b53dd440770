"""What happened, as one sentence for people. All words for one event are made here: those of the feed (``sentence=1``),
of the console, of the PDF report, and of timelines, which join several events to one story.

A sentence is the template of the event's type (``mappings/types.yaml``, and users' own), filled with what the event
says. How templates are written is told in ``docs/extend-mappings.md``. What holds for all of them:

- **Nothing is claimed that the event does not say.** ``success`` and ``failure`` are told of events with that outcome
  alone, and ``sentence`` of one whose outcome is not known says so behind it, where it would read as a success.
- **What an event does not say leaves no gap**: it goes with the words that lead to it (``{username} logged in to
  {client} from {ip}`` becomes ``anna logged in``), or something that is true anyway stands for it (``Someone``). A
  cause that the provider does not state is left out likewise.
- **It tells of the account that the event is about.** Where somebody else acted on it, he stands behind: ``tom was
  unblocked, by zoe``.
- **Names before ids**: the event's own, or else those that were looked up. An address stands with its place, where the
  event says one.
- **Values are foreign text**: control characters and marks of writing direction are written out as escapes, and long
  values are cut, so that none of them hides the rest. What a filter takes (`Part.value`) is as the event has it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from adapter.formats.event_cells import what_was_changed
from adapter.formats.text import harmless, shortened
from adapter.mapping.catalogue import ACCESS, ERROR, PLACE, UNSPECIFIED, Catalogue
from adapter.model import Outcome
from adapter.search_fields import FOUND_DETAILS, MAPPED, SearchFields, address_bytes

#: Characters of a value that a sentence holds, and of one that a filter is offered for.
LENGTH = 120

#: Of a type that no catalogue has.
_OTHER = "{type}: {username} at {client} from {ip}"
_OTHER_ADMIN = "{type}: {username} ({path})"
#: Behind a sentence that does not say what became of it.
_FAILED = " (failed: {reason})"
_UNKNOWN = " (outcome unknown)"
#: Of these the one whom it is about stands where otherwise the actor does.
_IMPERSONATE = f"{ACCESS}IMPERSONATE"
#: Who acted on somebody else's account stands in front of this.
_END = re.compile(r"(?:: \{reason\}| \(failed: \{reason\}\)| \(outcome unknown\))?$")


class Part(NamedTuple):
    """A piece of a sentence; with the filter that finds its value, where there is one."""

    text: str
    filter: str | None = None
    value: str | None = None


def sentence(event: SearchFields, catalogue: Catalogue) -> list[Part]:
    """The sentence of an event, in pieces; never empty."""
    parts: list[Part] = []
    text, cut = "", 0
    for literal, read, without, closing, instead in _steps(_template(event, catalogue), event.type.startswith(ACCESS)):
        if cut:
            literal, without, cut = literal[cut:], None if without is None else without[cut:], 0
        if read is None:
            text += literal
        elif (found := read(event)) is not None:
            if text or literal:
                parts.append(Part(text + literal))
                text = ""
            parts.append(found)
        elif without is not None:
            text += without
            cut = closing
        else:
            text += literal + instead
    if text:
        parts.append(Part(text))
    return parts


def text_of(parts: Sequence[Part]) -> str:
    """The sentence as one text."""
    return "".join([one.text for one in parts])


def value_of(event: SearchFields, name: str) -> str | None:
    """What a sentence says of an event in a template's ``{name}``; ``None``: nothing."""
    found = _reader(name)(event)
    return None if found is None else found.text


def _template(event: SearchFields, catalogue: Catalogue) -> str:
    type, outcome = event.type, event.outcome
    if catalogue.known(type) is None:
        type = catalogue.canonical(type)
    known = catalogue.known(type)
    if known is None:
        template = _OTHER_ADMIN if type.startswith(("admin.", "system.")) else _OTHER
        if outcome != Outcome.FAILURE:
            return template
        # An _ERROR says so itself.
        return template + (": {reason}" if type.endswith(ERROR) else _FAILED)
    if outcome == Outcome.FAILURE or (type.endswith(ERROR) and type.startswith(ACCESS)):
        return known.failure if known.failure is not None else known.sentence + _FAILED
    if outcome == Outcome.SUCCESS:
        return known.success if known.success is not None else known.sentence
    return known.sentence if catalogue.outcome(type) is Outcome.UNKNOWN else known.sentence + _UNKNOWN


# Templates

_Read = Callable[[SearchFields], Part | None]


class _Step(NamedTuple):
    """A text of a template and the value behind it."""

    literal: str
    #: ``None``: the template ends.
    read: _Read | None
    #: The text where there is no value; ``None``: `instead` stands for the value.
    without: str | None = None
    #: How many characters of the next text go then, too.
    closing: int = 0
    instead: str = ""


#: What stands for a value that a sentence cannot do without.
_INSTEAD = {
    "username": "someone",
    "client": "a client",
    "ip": "an address",
    "realm": "a realm",
    "details.identity_provider": "another identity provider",
    "details.impersonator": "someone",
}
#: Without these a sentence still says something, and so it does without the word in front of them; without others it
#: does where that is *by*.
_SPARED = {"client", "ip", "realm", "by"}
_LEAD = re.compile(r",? (?:to|of|from|by|for|through|at|in|with|on) $")
_BY = re.compile(r",? by $")
#: An address with room for its place behind it: brackets of its own hold nothing else.
_ADDRESS = re.compile(r"\{ip\}(?!\))")


@lru_cache(maxsize=2_048)
def _steps(template: str, is_access: bool) -> tuple[_Step, ...]:
    """A template, taken apart once."""
    template = _ADDRESS.sub("{ip} ({place})", template)
    if is_access:
        template = _END.sub(lambda end: f", by {{by}}{end[0]}", template, count=1)
    split = PLACE.split(template)
    steps: list[_Step] = []
    for literal, name, following in zip(split[:-1:2], split[1::2], split[2::2], strict=True):
        instead = _INSTEAD.get(name, "something")
        if not steps and not literal:
            instead = instead[0].upper() + instead[1:]
        without, closing = None, 0
        if literal.endswith(" (") and following.startswith(")"):
            without, closing = literal[:-2], 1
        elif literal.endswith(": "):
            without = literal[:-2]
        elif (lead := (_LEAD if name in _SPARED else _BY).search(literal)) is not None:
            without = literal[: lead.start()]
        steps.append(_Step(literal, _reader(name), without, closing, instead))
    return (*steps, _Step(split[-1], None))


# Values


def _reader(name: str) -> _Read:
    return _READERS.get(name) or _detail(name.removeprefix("details."))


def _account(event: SearchFields) -> Part | None:
    """Whose account it is; of what an administrator does, who acted."""
    type = event.type
    if type.startswith(_IMPERSONATE):
        return _named(event.own_name, _looked_up(event, "target"), event.target, "user")
    if event.target is not None and type.startswith(ACCESS):
        return _named((event.event.details or {}).get("username"), _looked_up(event, "target"), event.target, "user")
    # Without a user it is not the client that acted: some providers name the one that was changed there.
    name = event.own_name or (event.actor_names[0] if event.actor_names else None)
    return _named(name, _looked_up(event, "actor"), event.actor, "user")


def _other(event: SearchFields) -> Part | None:
    """Who acted on somebody else's account; of an impersonation the template says it."""
    if event.target is None or event.type.startswith(_IMPERSONATE):
        return None
    account, found = _account(event), _named(event.own_name, _looked_up(event, "actor"), event.actor, "user")
    # Some providers name one who acts for himself twice, by two ids.
    return None if found is None or (account is not None and found.text == account.text) else found


def _client(event: SearchFields) -> Part | None:
    details = event.event.details or {}
    return _named(None, details.get("client_name") or _looked_up(event, "client"), event.client, "client")


def _address(event: SearchFields) -> Part | None:
    return None if event.address is None else _address_part(event.address)


@lru_cache(maxsize=4_096)
def _address_part(text: str) -> Part | None:
    packed = address_bytes(text)
    if packed is None:
        return _part(text)
    if packed.startswith(MAPPED):
        return _part(text, "ip", socket.inet_ntop(socket.AF_INET, packed[12:]))
    return _part(text, "ip", socket.inet_ntop(socket.AF_INET6, packed))


def _place(event: SearchFields) -> Part | None:
    details = event.event.details
    if details is None:
        return None
    found = [one for one in (details.get("city"), details.get("country")) if one]
    return _part(", ".join(found)) if found else None


def _realm(event: SearchFields) -> Part | None:
    return _named(event.realm_name, _looked_up(event, "realm"), event.realm_id, "realm")


def _reason(event: SearchFields) -> Part | None:
    reason = event.reason
    if reason is None or reason == UNSPECIFIED:
        return None
    return _part(reason.replace("_", " "), "reason", reason)


def _path(event: SearchFields) -> Part | None:
    read = event.event
    return _part(
        what_was_changed(
            {
                "type": read.type,
                "details": read.details or {},
                "lookedUp": read.looked_up or {},
                "resourcePath": read.resource_path,
                "representation": read.representation,
            },
            mark="",
        )
    )


def _identity_provider(event: SearchFields) -> Part | None:
    details = event.event.details or {}
    name = details.get("identity_provider_name")
    return _named(name, None, details.get("identity_provider"), "idp")


#: Which filter finds events by a detail.
_FILTERS = {detail: name for name, details in FOUND_DETAILS.items() for detail in details} | {"impersonator": "user"}


def _detail(name: str) -> _Read:
    filter = _FILTERS.get(name)

    def read(event: SearchFields) -> Part | None:
        text = (event.event.details or {}).get(name)
        return _part(text, filter, text)

    return read


_READERS: dict[str, _Read] = {
    "username": _account,
    "client": _client,
    "ip": _address,
    "realm": _realm,
    "reason": _reason,
    "path": _path,
    "details.identity_provider": _identity_provider,
    # Not for templates of a catalogue.
    "type": lambda event: _part(event.type, "type", event.type),
    "by": _other,
    "place": _place,
}


def _looked_up(event: SearchFields, member: str) -> str | None:
    names = event.event.looked_up
    return None if names is None else names.get(member)


def _named(name: str | None, looked_up: str | None, id: str | None, filter: str) -> Part | None:
    """By the event's own name; or else by another one or the id, and found by the id."""
    return _part(name, filter, name) or _part(looked_up, filter, id) or _part(id, filter, id)


def _part(text: str | None, filter: str | None = None, value: str | None = None) -> Part | None:
    # What is nothing but blanks cannot be seen.
    if not text or text.isspace():
        return None
    shown = harmless(shortened(text, LENGTH))
    if filter is None or not value or len(value) > LENGTH or value.isspace():
        return Part(shown)
    return Part(shown, filter, value)
