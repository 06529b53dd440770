"""What a list of events says of each: who acted, through which client, on whom or what."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

#: Behind a name that the event does not carry itself.
LOOKED_UP = "*"

#: The thing that an admin event is about, in its path, and what is below it.
_PATH = re.compile(r"([a-z-]+)/([^/]+)(?:/(.*))?")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class _Named(Struct):
    """By what a thing is named in its representation."""

    clientId: Any = None
    alias: Any = None
    name: Any = None
    realm: Any = None


_read = Decoder(_Named).decode


def is_marked(event: Mapping[str, Any]) -> bool:
    """Whether a name is shown that the event does not carry itself."""
    return not {"actor", "target", "client", "resource"}.isdisjoint(event.get("lookedUp", {}))


def who_acted(event: Mapping[str, Any]) -> str:
    """Name, or else looked-up name, or else id."""
    who = event.get("authDetails", {})
    return _first(who.get("username"), _looked_up(event, "actor"), who.get("userId"))


def which_client(event: Mapping[str, Any]) -> str:
    """Its name if that is looked up, or else as the event has it."""
    return _first(_looked_up(event, "client"), event.get("authDetails", {}).get("clientId"))


def what_was_changed(event: Mapping[str, Any], mark: str = LOOKED_UP) -> str:
    """Who was acted upon, and what was done: ``zoe: reset-password``, ``zoe: auditor``; or which thing:
    ``clients/shop``. Empty where an event has nothing of this. ``mark``: behind names that it does not carry itself."""
    details = event.get("details", {})
    if not event["type"].startswith("admin."):
        return _first(_looked_up(event, "target", mark), details.get("userId"))
    target = _first(details.get("username"), _looked_up(event, "target", mark), details.get("userId"))
    path = event.get("resourcePath") or ""
    found = _PATH.fullmatch(path)
    if not target:
        return _named(event, path) if found is None else _thing(event, mark, *found.groups(""))
    done = _first(details.get("action"), _listed(details.get("role")), details.get("group"))
    if not done and found is not None and found[1] == "users":
        done = _UUID.sub("…", found[3] or "")
    return f"{target}: {done}" if done else target


def _thing(event: Mapping[str, Any], mark: str, kind: str, id: str, below: str) -> str:
    name = _first(_looked_up(event, "resource", mark), "" if below else _own_name(event)) or id
    return "/".join(part for part in (kind, name, below) if part)


def _named(event: Mapping[str, Any], path: str) -> str:
    return path or _own_name(event)


def _own_name(event: Mapping[str, Any]) -> str:
    text = event.get("representation")
    if not text:
        return ""
    try:
        told = _read(text)
    except (DecodeError, ValueError, RecursionError):
        return ""
    # In this order.
    return _first(*(name for name in (told.clientId, told.alias, told.name, told.realm) if isinstance(name, str)))


def _looked_up(event: Mapping[str, Any], member: str, mark: str = LOOKED_UP) -> str:
    name = event.get("lookedUp", {}).get(member)
    return f"{name}{mark}" if name else ""


def _listed(text: str | None) -> str:
    """A detail that is a list: JSON where it has several values."""
    if text is None or not text.startswith("["):
        return text or ""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return ", ".join(map(str, told)) if isinstance(told, list) else text


def _first(*texts: str | None) -> str:
    return next((text for text in texts if text), "")
