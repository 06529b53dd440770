"""Events as Phase Two's extension posts them to its webhooks (keycloak-events 0.59 to 0.62), one a line.

Its names, in its order; nothing of what is ours alone. A receiver that was written for Phase Two needs no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import orjson

from adapter.formats.keycloak import ACCESS, ADMIN, keycloak_name
from adapter.formats.settings import FormatSettings
from adapter.formats.unified import Unified
from adapter.model import Entry, message_id

_SYSTEM = "system."
#: Of ``authDetails``, in its order.
_WHO = ("realmId", "clientId", "userId", "ipAddress", "username", "sessionId")


class Settings(FormatSettings):
    """``format = "phasetwo"``."""

    name: Literal["phasetwo"] = "phasetwo"


class PhaseTwo(Unified):
    """One event a line."""

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        return [_write(entry, entry.event) for entry in entries if entry.event is not None]


def make_format(settings: Settings) -> PhaseTwo:
    return PhaseTwo()


def _write(entry: Entry, event: bytes) -> bytes:
    read: dict[str, Any] = orjson.loads(event)
    type: str = read["type"]
    who = read.get("authDetails", {})
    path = read.get("resourcePath")
    body = {
        "id": read.get("id"),
        "time": read["time"],
        "realmId": read.get("realmId"),
        "realmName": read.get("realmName"),
        "error": read.get("error"),
        "operationType": read.get("operationType"),
        "resourcePath": path,
        "representation": read.get("representation"),
        # Theirs is another one for each webhook, and the same for each try, as a message id is.
        "uid": message_id(entry),
        "authDetails": None
        if type.startswith(_SYSTEM)
        else {name: who[name] for name in _WHO if who.get(name) is not None},
        # Theirs tell the realm of the session by its name, in authDetails, alone.
        "details": {name: one for name, one in read.get("details", {}).items() if name != "auth_realm_id"},
        "type": ACCESS + keycloak_name(type) if type.startswith(ACCESS) else type,
        "resourceId": path.rpartition("/")[2] or None if path is not None and type.startswith(ADMIN) else None,
        "resourceType": read.get("resourceType"),
    }
    return orjson.dumps({name: value for name, value in body.items() if value is not None})
