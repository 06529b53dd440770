"""A number of bytes that are on their way at the same time."""

from __future__ import annotations

import asyncio
from collections import deque


class Budget:
    """Bytes that may be taken at the same time; whoever finds too few waits, in order. One that takes more than all of
    them may do so alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, size: int) -> bool:
        """Take so many, if nobody waits and they are there."""
        taken = self._taken + size
        if self._waiting or (taken > self._limit and self._taken):
            return False
        self._taken = taken
        return True

    async def wait(self, size: int) -> None:
        """Take so many when it is one's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give(size)
            else:
                self._waiting.remove((size, turn))
                self._let_in()
            raise

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._taken -= size
        if self._waiting:
            self._let_in()

    def _fits(self, size: int) -> bool:
        return self._taken + size <= self._limit or not self._taken

    def _let_in(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self._taken += size
                turn.set_result(None)
            elif turn.cancelled():
                return  # it takes itself out
            self._waiting.popleft()
