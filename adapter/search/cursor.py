"""Cursors of the feed: opaque text for callers, the last sort key for us."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Literal, NamedTuple

from adapter.errors import RequestError

Order = Literal["time", "log"]


class TimeCursor(NamedTuple):
    """After which event the next page begins, newest first, and which entries the pages speak of: up to
    ``snapshot``, so that what arrives between two pages neither shows nor hides an event."""

    time: int
    position: int
    snapshot: int


class LogCursor(NamedTuple):
    """After which position the next page begins."""

    position: int


#: Before everything.
BEGINNING = LogCursor(0)
#: Behind everything that there is when it is asked for, with ``order=log``.
END = "end"
_LATEST = (1 << 63) - 1


def newest(snapshot: int) -> TimeCursor:
    """Where the pages over the entries up to ``snapshot`` begin."""
    return TimeCursor(_LATEST, _LATEST, snapshot)


def oldest(snapshot: int) -> TimeCursor:
    """The same of pages that begin with the oldest."""
    return TimeCursor(0, 0, snapshot)


_TIME = struct.Struct(">cQQQ")
_LOG = struct.Struct(">cQ")


def write_cursor(cursor: TimeCursor | LogCursor) -> str:
    """The cursor as callers carry it."""
    packed = _TIME.pack(b"t", *cursor) if isinstance(cursor, TimeCursor) else _LOG.pack(b"l", *cursor)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def read_time_cursor(text: str) -> TimeCursor:
    """Read a cursor of ``order=time``.

    Raises:
        RequestError: 400, it is none.
    """
    _, time, position, snapshot = _unpack(text, _TIME, b"t", "time")
    return TimeCursor(time, position, snapshot)


def read_log_cursor(text: str) -> LogCursor:
    """Read a cursor of ``order=log``.

    Raises:
        RequestError: 400, it is none.
    """
    return LogCursor(_unpack(text, _LOG, b"l", "log")[1])


def _unpack(text: str, form: struct.Struct, mark: bytes, order: Order) -> tuple[int, ...]:
    try:
        packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values = form.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        values = ()
    if not values or values[0] != mark or max(values[1:]) >= 1 << 63:
        raise RequestError(
            400,
            "Bad parameter",
            f"cursor is not one that order={order} gave; leave it out to begin, or pass the 'next' of a page on",
            parameter="cursor",
        )
    return values
