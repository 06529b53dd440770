"""Lets tests that hold clocks run alone where tests run in several processes (pytest-xdist)."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(run: str, *, alone: bool) -> Iterator[None]:
    """One test of the test run named ``run``: beside others, or when all others have ended and before more begin."""
    folder = Path(tempfile.gettempdir())
    with (folder / f"pytest-{run}-turn").open("w") as turn, (folder / f"pytest-{run}-tests").open("w") as tests:
        # Whoever wants to be alone keeps the turn while others end, so that no more of them begin meanwhile.
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(tests, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield
