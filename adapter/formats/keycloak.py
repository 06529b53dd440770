"""Events as Keycloak's Admin REST API gives them: EventRepresentation and AdminEventRepresentation (Keycloak 26,
`GET /admin/realms/{realm}/events` and `/admin-events`), one a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import orjson

from adapter.formats.settings import FormatSettings
from adapter.formats.unified import Unified
from adapter.model import Entry

ACCESS, ADMIN = "access.", "admin."
#: Keycloak's own names of types that are called otherwise here, without ``access.``.
KEYCLOAK_NAMES = {
    "SOCIAL_LINK": "FEDERATED_IDENTITY_LINK",
    "REMOVE_SOCIAL_LINK": "REMOVE_FEDERATED_IDENTITY",
}
_ERROR = "_ERROR"


class Settings(FormatSettings):
    """``format = "keycloak"``."""

    name: Literal["keycloak"] = "keycloak"


class Keycloak(Unified):
    """One representation a line."""

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        return [write_representation(entry.event) for entry in entries if entry.event is not None]


def make_format(settings: Settings) -> Keycloak:
    return Keycloak()


def write_representation(event: bytes) -> bytes:
    """A unified event (JSON) in Keycloak's form. An event whose provider gave it no id has its uid there."""
    read = orjson.loads(event)
    return orjson.dumps(_admin_event(read) if read["type"].startswith(ADMIN) else _user_event(read))


def keycloak_name(type: str) -> str:
    """What Keycloak calls a type: without ``access.``, and by its own name where it has one."""
    name = type.removeprefix(ACCESS)
    base = name.removesuffix(_ERROR)
    return KEYCLOAK_NAMES.get(base, base) + name[len(base) :]


def _user_event(event: dict[str, Any]) -> dict[str, Any]:
    who = event.get("authDetails", {})
    details = dict(event.get("details", {}))
    if "username" in who:
        details.setdefault("username", who["username"])
    return _present(
        id=event.get("id", event["uid"]),
        time=event["time"],
        type=keycloak_name(event["type"]),
        realmId=event.get("realmId", event.get("realmName")),
        clientId=who.get("clientId"),
        userId=who.get("userId"),
        sessionId=who.get("sessionId"),
        ipAddress=who.get("ipAddress"),
        error=event.get("error"),
        details=details or None,
    )


def _admin_event(event: dict[str, Any]) -> dict[str, Any]:
    who = event.get("authDetails", {})
    details = dict(event.get("details", {}))
    resource, _, operation = event["type"].removeprefix(ADMIN).rpartition("-")
    by = _present(
        realmId=details.pop("auth_realm_id", who.get("realmId")),
        clientId=who.get("clientId"),
        userId=who.get("userId"),
        ipAddress=who.get("ipAddress"),
    )
    return _present(
        id=event.get("id", event["uid"]),
        time=event["time"],
        realmId=event.get("realmId", event.get("realmName")),
        authDetails=by,
        operationType=event.get("operationType", operation),
        resourceType=event.get("resourceType", resource),
        resourcePath=event.get("resourcePath"),
        representation=event.get("representation"),
        error=event.get("error"),
        details=details or None,
    )


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
