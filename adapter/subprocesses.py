"""Modules of ours that run as processes of their own beside the service."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
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


def run(main: Callable[[], None], name: str) -> None:
    """Run such a process to its end. An error becomes one line on standard error; that the service is gone is none.
    ``name``: of the module."""
    try:
        main()
    except (BrokenPipeError, ConnectionResetError):
        pass
    except Exception as error:
        tell_failure(name, error)
    else:
        return
    # Without what an orderly end would still write, to whoever is gone.
    os._exit(1)


def tell_failure(name: str, error: Exception) -> None:
    """Say on standard error why such a process ends: one line of JSON, as the service's log has them, only ASCII, with
    the places in the code and nothing of an event. Needs little memory. ``name``: of the module."""
    places, trace = [], error.__traceback__
    while trace is not None:
        places.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    line = {
        "problem": f"{type(error).__name__}: {str(error)[:500]}",
        "at": " ".join(places[-5:]),
        "event": "process_failed",
        "logger": name,
        "level": "error",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    with suppress(OSError):
        os.write(2, json.dumps(line).encode() + b"\n")
