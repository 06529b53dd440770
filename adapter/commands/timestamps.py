"""Timestamps of options."""

from __future__ import annotations

from datetime import datetime

from adapter.commands.client import fail
from adapter.timestamps import FORMS
from adapter.timestamps import read_timestamp as read


def read_timestamp(option: str, text: str, now: datetime) -> str:
    """The timestamp that an option gives, in epoch milliseconds; ``2h`` is two hours before ``now``. Ends the command
    if it is none."""
    try:
        return str(read(text, int(now.timestamp() * 1000)))
    except ValueError:
        fail(f"{option} {text}: not a timestamp; write {FORMS}")
