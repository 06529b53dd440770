"""Removes from what is made of the log what the log has no more: in every service, whoever removes from the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from adapter.errors import StoreError
from adapter.log.protocol import Log
from adapter.tasks import in_background

#: Seconds between two looks.
EVERY = 60.0

_log = structlog.get_logger(__name__)


class Pruning:
    """Looks whether the log has become smaller."""

    def __init__(self, log: Log, prune: Callable[[], Awaitable[bool]]) -> None:
        """``prune`` removes what the log has not any more; whether it is done."""
        self._log = log
        self._prune = prune
        #: How many entries had been removed from the log when it was looked at last. Of before the start nobody knows.
        self._removed: int | None = None
        self._is_pruned = False

    async def look(self) -> None:
        """Look once."""
        removed = await self._log.removed(0, self._log.head)
        is_new = removed != self._removed
        self._removed = removed
        if is_new or not self._is_pruned:
            # Once more when nothing was removed since: then the last rests of it go.
            self._is_pruned = await self._prune() and not is_new

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                _log.warning("pruning_waits", problem=str(error))
            except Exception:
                _log.exception("pruning_failed")
            await asyncio.sleep(EVERY)


@contextlib.asynccontextmanager
async def open_pruning(log: Log, prune: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
    """Pruning in the background while the context lasts."""
    async with in_background(Pruning(log, prune).run(), "pruning"):
        yield
