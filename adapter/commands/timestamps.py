"""Timestamps as people write them on a command line."""

from __future__ import annotations

from datetime import datetime, timedelta

from adapter.commands.client import fail

_AGO = {"m": "minutes", "h": "hours", "d": "days"}


def read_timestamp(option: str, text: str, now: datetime) -> str:
    """The timestamp that an option gives, in epoch milliseconds; ``2h`` is two hours before ``now``. Ends the command
    if it is none."""
    number, unit = text[:-1], text[-1:]
    if unit in _AGO and number.isascii() and number.isdecimal() and len(number) < 6:
        return str(int((now - timedelta(**{_AGO[unit]: int(number)})).timestamp() * 1000))
    if text.isascii() and text.isdecimal() and len(text) <= 15:
        return text
    try:
        timestamp = datetime.fromisoformat(text)
        if timestamp.tzinfo is None:
            raise ValueError
        # A finer one is the next whole millisecond, as for the feed.
        return str(max(0, -(-round(timestamp.timestamp() * 1_000_000) // 1000)))
    except (ValueError, OverflowError):
        right = (
            "a timestamp with its zone (2026-05-01T08:30:00Z), epoch milliseconds, or how long ago ('30m', '2h', '7d')"
        )
        fail(f"{option} {text}: not a timestamp; write {right}")
