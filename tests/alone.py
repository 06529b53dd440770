"""Lets tests that hold clocks run alone where tests run in several processes (pytest-xdist)."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(folder: Path, *, alone: bool) -> Iterator[None]:
    """One test of those that share a folder: beside others, or when all others have ended and before more begin."""
    with (folder / "turn").open("w") as turn, (folder / "tests").open("w") as tests:
        # Whoever wants to be alone keeps the turn while others end, so that no more of them begin meanwhile.
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(tests, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield
