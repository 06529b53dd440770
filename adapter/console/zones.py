"""The zone in which a reader sees times: the one of the browser, by choice, else UTC."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

from aiohttp import web

from adapter.console.rendering import UTC_ZONE


@lru_cache(maxsize=1000)
def zone_called(name: str) -> ZoneInfo | None:
    """The zone of a name such as ``Europe/Berlin``; ``None``: there is none here."""
    try:
        return ZoneInfo(name) if 0 < len(name) <= 64 else None
    except (ValueError, OSError, KeyError):
        return None


def zone_of(request: web.Request) -> ZoneInfo:
    """The one that the browser's cookie names; UTC where it names none."""
    return zone_called(request.cookies.get("zone", "")) or UTC_ZONE
