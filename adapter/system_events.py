"""Events that the service tells of itself: of the type ``system.NAME``, which come only where they are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import orjson

from adapter.log.protocol import NewEntry
from adapter.model import Outcome, uid_text

#: Source of what the service itself tells.
SOURCE = "adapter"


def system_event(
    name: str,
    now: int,
    details: Mapping[str, str],
    *,
    raw: Mapping[str, object] | None = None,
    outcome: Outcome = Outcome.UNKNOWN,
    username: str | None = None,
    who: Mapping[str, str] | None = None,
) -> NewEntry:
    """The event ``system.NAME``, new each time. ``now``: epoch milliseconds; ``raw``: what it is made of, if that says
    more than the details; ``username``: who did it, or ``who``: all of its ``authDetails``."""
    uid = uuid.uuid4().bytes
    type = f"system.{name}"
    event = {
        "uid": uid_text(uid),
        "time": now,
        "type": type,
        "authDetails": dict(who or ({} if username is None else {"username": username})),
        "details": dict(details),
        "outcome": outcome,
        "source": {"name": SOURCE, "provider": SOURCE, "nativeType": name, "receivedAt": now, "mapping": SOURCE},
    }
    told = orjson.dumps({"type": name, "time": now, **(details if raw is None else raw)})
    return NewEntry(SOURCE, now, told, "application/json", uid, None, None, 0, name, type, orjson.dumps(event), None)
