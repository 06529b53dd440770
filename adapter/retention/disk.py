"""Watches how much room is left on the disk: warns while there is little, and has events refused before there is none.

A full disk refuses by itself, but then nothing else can be written either, by nobody on that disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from pathlib import Path

import structlog

from adapter.errors import RequestError, StoreError
from adapter.log.protocol import Log, NewEntry
from adapter.quantities import share_of
from adapter.system_events import system_event
from adapter.tasks import in_background

#: Seconds between two looks.
EVERY = 2.0
#: After so many seconds refused senders come again.
RETRY_AFTER = "60"
#: What is taken for better, times the mark: a state does not change with every event.
BETTER = 1.1

#: A size counts as no more than this share of the disk, so that the defaults do for small ones, too.
LOW_SHARE, FULL_SHARE = 0.25, 0.1


_log = structlog.get_logger(__name__)


class Room(StrEnum):
    """How much there is."""

    ENOUGH = "enough"
    #: Below `low_disk`: somebody has to do something.
    LOW = "low"
    #: Below `full_disk`: no events are taken.
    FULL = "full"


class Disk:
    """The room on the disk of a folder."""

    def __init__(
        self,
        folder: Path,
        low: str,
        full: str,
        *,
        look: Callable[[Path], tuple[int, int]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``low`` and ``full``: sizes, or shares of the disk. ``look`` gives free bytes and all bytes."""
        self.room = Room.ENOUGH
        #: Bytes.
        self.free = 0
        self._folder = folder
        self._low = low
        self._full = full
        self._look = look or _look
        self._clock = clock

    @property
    def warnings(self) -> list[str]:
        """What somebody should look at, without the folder's name."""
        if self.room is Room.ENOUGH:
            return []
        return [f"store: {_said(self.free)} are left on the disk, and store.low_disk is {self._low}"]

    @property
    def refusal(self) -> str | None:
        """Why no events are taken now."""
        if self.room is not Room.FULL:
            return None
        return f"{_said(self.free)} are left on the disk, and events are taken from store.full_disk ({self._full}) on"

    def check(self) -> None:
        """
        Raises:
            RequestError: 503, no events are taken now.
        """
        if (refusal := self.refusal) is not None:
            raise RequestError(503, "Disk nearly full", refusal, headers={"Retry-After": RETRY_AFTER})

    def look(self) -> bool:
        """Look how much there is; whether it has become low."""
        before = self.room
        self.free, size = self._look(self._folder)
        low, full = _mark(self._low, size, LOW_SHARE), _mark(self._full, size, FULL_SHARE)
        if self.free < full or (before is Room.FULL and self.free < full * BETTER):
            self.room = Room.FULL
        elif self.free < low or (before is not Room.ENOUGH and self.free < low * BETTER):
            self.room = Room.LOW
        else:
            self.room = Room.ENOUGH
        if self.room is not before:
            tell = _log.info if self.room is Room.ENOUGH else _log.warning
            tell("disk_room", room=str(self.room), free=self.free)
        return before is Room.ENOUGH and self.room is not before

    async def watch(self, append: Callable[[NewEntry], Awaitable[object]]) -> None:
        """Look again and again, and append an event when it has become low."""
        while True:
            try:
                if self.look():
                    await append(disk_low(self.free, int(self._clock() * 1000)))
            except (OSError, StoreError) as error:
                _log.warning("disk_not_watched", problem=str(error))
            await asyncio.sleep(EVERY)


def disk_low(free: int, now: int) -> NewEntry:
    """The event that tells of a disk with little room; ``now``: epoch milliseconds."""
    return system_event("DISK-LOW", now, {"free_bytes": str(free)}, raw={"free_bytes": free})


@contextlib.asynccontextmanager
async def open_disk(disk: Disk, log: Log) -> AsyncIterator[Disk]:
    """The disk, watched while the context lasts."""
    async with in_background(disk.watch(lambda entry: log.append([entry])), "disk"):
        yield disk


def _mark(mark: str, size: int, most: float) -> int:
    found = share_of(mark, size)
    return found if mark.endswith("%") else min(found, int(size * most))


def _look(folder: Path) -> tuple[int, int]:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _said(size: int) -> str:
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{size / 10**6:.0f} MB"
