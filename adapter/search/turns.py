"""Whose question runs next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Lets so many run at once, one of each caller, in turn: whoever asks much waits for himself, not others for him.

    Within one caller they run in the order in which they came.
    """

    def __init__(self, together: int) -> None:
        self._free = together
        self._running: set[str] = set()
        #: In the order in which callers get their turns.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, caller: str, *, timeout: float | None = None) -> AsyncIterator[None]:
        """The caller's turn, as long as the context lasts.

        Raises:
            TimeoutError: it did not come within ``timeout`` seconds.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self._go_on()
        try:
            async with asyncio.timeout(timeout):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._end(caller)
            else:
                self._forget(caller, turn)
            raise
        try:
            yield
        finally:
            self._end(caller)

    def _go_on(self) -> None:
        while self._free:
            caller = next((one for one in self._waiting if one not in self._running), None)
            if caller is None:
                return
            waiting = self._waiting.pop(caller)
            waiting.popleft().set_result(None)
            if waiting:
                self._waiting[caller] = waiting  # behind all others
            self._running.add(caller)
            self._free -= 1

    def _end(self, caller: str) -> None:
        self._running.discard(caller)
        self._free += 1
        self._go_on()

    def _forget(self, caller: str, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(caller)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            if not waiting:
                del self._waiting[caller]
