"""Tells systemd, or what else supervises the process, how it stands: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

READY, STOPPING = "READY=1", "STOPPING=1"


def reloading() -> str:
    """It reads its settings again; `READY` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def is_supervised() -> bool:
    """Whether somebody wants to be told."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Say so, if anybody wants to be told. That nobody hears it is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
        # A name that begins with @ is one outside of the file system.
        sending.sendto(state.encode(), f"\0{address[1:]}" if address[0] == "@" else address)
