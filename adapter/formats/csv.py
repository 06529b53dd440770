"""Events as a table for spreadsheets (RFC 4180), with nothing in it that a spreadsheet would run.

The fields of the unified event are columns, its objects flattened (``authDetails.userId``); ``details`` stay one
column of JSON, since any event may bring new ones. ``timestamp`` is ``time`` for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from adapter.formats.text import harmless

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"

#: Where each column finds its value in the event.
_COLUMNS: tuple[tuple[str, ...], ...] = (
    ("uid",),
    ("time",),
    ("timestamp",),
    ("type",),
    ("outcome",),
    ("reason",),
    ("error",),
    ("realmId",),
    ("realmName",),
    ("authDetails", "userId"),
    ("authDetails", "username"),
    ("authDetails", "clientId"),
    ("authDetails", "ipAddress"),
    ("authDetails", "sessionId"),
    ("authDetails", "realmId"),
    ("resourceType",),
    ("operationType",),
    ("resourcePath",),
    ("representation",),
    ("details",),
    ("source", "name"),
    ("source", "provider"),
    ("source", "nativeType"),
    ("source", "receivedAt"),
    ("source", "mapping"),
    ("source", "normalizedAt"),
    ("source", "revision"),
    ("id",),
)

#: A cell that begins with one of these is a formula to a spreadsheet; the wide forms too, in some locales.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

HEAD = b",".join([b'"%s"' % ".".join(column).encode() for column in _COLUMNS]) + b"\r\n"


def lines(events: Iterable[bytes]) -> bytes:
    """The events, one row each."""
    return "".join([_row(orjson.loads(event)) for event in events]).encode()


def _row(event: dict[str, Any]) -> str:
    event["timestamp"] = _timestamp(event["time"])
    cells = []
    for column in _COLUMNS:
        value: Any = event
        for name in column:
            value = value.get(name) if isinstance(value, dict) else None
        cells.append(_cell(value))
    return ",".join(cells) + "\r\n"


def _cell(value: Any) -> str:
    """A quoted cell; every one is quoted, since other separators than a comma are usual in some locales."""
    if value is None or value == {}:
        return '""'
    if isinstance(value, int):
        return f'"{value}"'
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA):
        text = "'" + text
    return '"' + harmless(text).replace('"', '""') + '"'


def _timestamp(time: int) -> str:
    try:
        timestamp = _EPOCH + timedelta(milliseconds=time)
    except OverflowError:
        return ""
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
