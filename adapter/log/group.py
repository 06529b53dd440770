"""Group commit: calls made at the same time share one transaction, on a thread of its own.

While one transaction runs, the calls of the next gather; nothing waits longer than that. What the thread takes, it
finishes, whoever hangs up.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from adapter.errors import StoreUnavailable

Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Call(Generic[Work, Result]):
    """One caller's part of a transaction."""

    work: Work
    #: How many rows it writes, about, and how many bytes.
    rows: int
    size: int
    answer: asyncio.Future[Result]


class Group(Generic[Work, Result]):
    """Hands calls to ``commit``, many at once; made and used on the event loop's thread.

    ``commit`` runs on the group's thread, one call of it at a time; it gives back a result or an error for each work,
    in order, and never raises. ``committed`` runs on the loop's thread after each, before the callers go on.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Work]], Sequence[Result | Exception]],
        committed: Callable[[], None],
        *,
        rows: int,
        size: int,
    ) -> None:
        """A transaction takes calls until it has ``rows`` rows or ``size`` bytes; one call is never divided."""
        self._commit = commit
        self._committed = committed
        self._rows = rows
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._gathering: list[Call[Work, Result]] = []
        self._handed_over: queue.SimpleQueue[list[Call[Work, Result]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    async def call(self, work: Work, *, rows: int, size: int) -> Result:
        """The result of ``work``, once its transaction is over. Cancelling this does not take the work back.

        Raises:
            StoreError: as ``commit`` answered.
        """
        if self._closed:
            raise StoreUnavailable("the log is closed")
        answer: asyncio.Future[Result] = self._loop.create_future()
        if not self._gathering:
            # At the end of this round of the loop, so that all calls of the round go together.
            self._loop.call_soon(self._hand_over)
        self._gathering.append(Call(work, rows, size, answer))
        return await answer

    async def close(self) -> None:
        """End the thread when all calls made before are answered."""
        self._closed = True
        self._hand_over()
        self._handed_over.put(None)
        await asyncio.to_thread(self._thread.join)
        # What the thread answered last is still on its way to the callers.
        await asyncio.sleep(0)

    def _hand_over(self) -> None:
        if self._gathering:
            self._handed_over.put(self._gathering)
            self._gathering = []

    def _run(self) -> None:
        backlog: deque[Call[Work, Result]] = deque()
        while calls := self._take(backlog):
            results = self._commit([call.work for call in calls])
            self._loop.call_soon_threadsafe(self._answer, calls, results)

    def _take(self, backlog: deque[Call[Work, Result]]) -> list[Call[Work, Result]]:
        """The calls of the next transaction; none at the end."""
        try:
            while True:
                more = self._handed_over.get(block=not backlog)
                if more is None:
                    self._handed_over.put(None)
                    break
                backlog += more
        except queue.Empty:
            pass
        taken: list[Call[Work, Result]] = []
        rows = size = 0
        while backlog and (not taken or (rows < self._rows and size < self._size)):
            call = backlog.popleft()
            taken.append(call)
            rows += call.rows
            size += call.size
        return taken

    def _answer(self, calls: Sequence[Call[Work, Result]], results: Sequence[Result | Exception]) -> None:
        self._committed()
        for call, result in zip(calls, results, strict=True):
            if call.answer.cancelled():
                continue
            if isinstance(result, Exception):
                call.answer.set_exception(result)
            else:
                call.answer.set_result(result)
