"""Timestamps: of options, and as commands show them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import typer

from adapter.commands.client import fail
from adapter.timestamps import FORMS
from adapter.timestamps import read_timestamp as read

#: The option of commands that show times.
InUtc = Annotated[bool, typer.Option("--utc", help="Times in UTC; default: as on this machine, in a pipe UTC.")]


def read_timestamp(option: str, text: str, now: datetime) -> str:
    """The timestamp that an option gives, in epoch milliseconds; ``2h`` is two hours before ``now``. Ends the command
    if it is none."""
    try:
        return str(read(text, int(now.timestamp() * 1000)))
    except ValueError:
        fail(f"{option} {text}: not a timestamp; write {FORMS}")


def shown_zone(utc: bool) -> tzinfo | None:
    """The zone in which times are shown: that of this machine (``None``) on a terminal, if not ``utc``."""
    return UTC if utc or not sys.stdout.isatty() else None


def shown_time(time: int, zone: tzinfo | None) -> str:
    """A time (epoch milliseconds) with its zone: ``2026-05-01 08:30:00Z``, ``2026-05-01 10:30:00+02:00``; as the number
    it is, where it lies outside the calendar. ``zone``: ``None`` is that of this machine."""
    try:
        moment = datetime.fromtimestamp(time / 1000, UTC)
        if zone is None:
            moment = moment.astimezone()
        return moment.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return str(time)
