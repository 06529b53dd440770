"""What a realm has to be set to so that its events can be read."""

from __future__ import annotations

from typing import Any

from adapter.errors import Refused
from adapter.formats.text import harmless
from adapter.sources.keycloak.server import Kind, Server


def stored_problem(config: dict[str, Any], realm: str, kind: Kind, source: str) -> str | None:
    """What keeps a realm from storing events of a kind, for people; ``config`` is what ``events/config`` says."""
    name, what = ("eventsEnabled", "user events") if kind is Kind.USER else ("adminEventsEnabled", "admin events")
    if config.get(name) is True:
        return None
    return (
        f"realm {harmless(realm)}: it keeps no {what} ({name} is off), so there are none to read; "
        f"idp-adapter sources prepare {source} turns it on"
    )


async def expiration_of(server: Server, config: dict[str, Any], realm: str, kind: Kind) -> int | None:
    """After how many milliseconds a realm removes its events; 0: never; ``None``: the account may not know."""
    seconds: object = config.get("eventsExpiration", 0)
    if kind is Kind.ADMIN:
        try:
            attributes = (await server.realm(realm)).get("attributes")
        except Refused:
            return None
        if not isinstance(attributes, dict):
            return None
        seconds = attributes.get("adminEventsExpiration", 0)
    try:
        return max(int(str(seconds)), 0) * 1000
    except ValueError:
        return None
