"""Moments as people write them on a command line."""

from __future__ import annotations

from datetime import datetime, timedelta

_AGO = {"m": "minutes", "h": "hours", "d": "days"}


def read_moment(text: str, now: datetime) -> str:
    """A moment for the feed; ``2h`` is two hours before ``now``."""
    number, unit = text[:-1], text[-1:]
    if unit in _AGO and number.isascii() and number.isdecimal() and len(number) < 6:
        return str(int((now - timedelta(**{_AGO[unit]: int(number)})).timestamp() * 1000))
    return text
