"""Modules of ours that run as processes of their own beside the service."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def command(module: str, *arguments: str) -> list[str]:
    """How a module is run by the interpreter that runs this one."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment in which it finds this package, wherever that was imported from."""
    folder = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}


def begin() -> None:
    """What such a process does first: a Ctrl-C, the end of a terminal, or a stop of the whole group is for the service,
    which then ends what it said to this process; and what it writes is for its owner alone."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
