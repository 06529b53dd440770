"""Puts on disk what became of a sink's entries: every half window of answers, or soon after the first of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from adapter.delivery.ledger import Ledger
from adapter.delivery.queue import SendQueue
from adapter.errors import ClaimLost, StoreError
from adapter.log.protocol import Progress
from adapter.tasks import is_ending

#: Answers are settled within this time, seconds.
SETTLE = 0.05
#: A cursor that only passed entries which the filter does not take is settled after this time, seconds, or after this
#: many of them.
IDLE_SETTLE = 1.0
IDLE_STRETCH = 10_000
#: Wait after a failure of the store, seconds.
STORE_WAIT = 1.0

_log = structlog.get_logger(__name__)


class Settler:
    """Settles one sink's ledger. Others note what there is to settle; one task calls `settle` again and again."""

    def __init__(
        self, name: str, log: Progress, ledger: Ledger, queue: SendQueue, *, window: int, now: Callable[[], int]
    ) -> None:
        #: Set when held rows were written or ended.
        self.rows_moved = asyncio.Event()
        self._name = name
        self._log = log
        self._ledger = ledger
        self._queue = queue
        self._now = now
        #: Answered flights that wait behind one without an answer, until the cursor passes it.
        self._patience = window // 4
        #: Entries answered since the last settlement.
        self._answered = 0
        self._unsettled = asyncio.Event()
        self._plenty = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None
        self._last = False
        #: Nothing more is settled.
        self.has_ended = False

    def note_answered(self, entries: int) -> None:
        """So many entries were answered for, in the ledger."""
        self._answered += entries
        self._unsettled.set()
        if 2 * self._answered >= self._queue.room:
            self._plenty.set()

    def note_skipped(self) -> None:
        """Entries were skipped, in the ledger."""
        self._unsettled.set()

    def note_more(self) -> None:
        """There is something more to settle in the ledger."""
        self._unsettled.set()

    def note_read(self) -> None:
        """The log was read on, perhaps past nothing that the sink gets: that can wait for long."""
        if self._queue.read_to - self._ledger.cursor >= IDLE_STRETCH:
            self._unsettled.set()
        elif self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_SETTLE, self._end_idle)

    async def settle(self) -> bool:
        """Wait until something moved, and put it on disk, however often that must be tried; ``False`` after the end."""
        while True:
            await self._unsettled.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE):
                    await self._plenty.wait()
            last = self._last
            self._unsettled.clear()
            self._plenty.clear()
            self._answered = 0
            patience = 0 if last else self._patience
            settlement = self._ledger.settle(self._queue.reached, patience, self._now(), stopping=last)
            while settlement is not None:
                try:
                    await self._log.settle(settlement)
                    break
                except ClaimLost as error:
                    # Whoever delivers now knows what was settled, and sends the rest again.
                    _log.warning("sink_claim_lost", sink=self._name, problem=str(error))
                    self.has_ended = True
                    return False
                except StoreError as error:
                    _log.warning("sink_store_failed", sink=self._name, problem=str(error))
                    await asyncio.sleep(STORE_WAIT)
                except (Exception, asyncio.CancelledError) as error:
                    # The ledger is past it: given up on, it would be lost what is held.
                    if isinstance(error, asyncio.CancelledError) and is_ending():
                        raise
                    _log.exception("sink_task_failed", sink=self._name, task="settle")
                    await asyncio.sleep(STORE_WAIT)
            if last:
                self.has_ended = True
                return False
            if settlement is not None:
                self._ledger.commit()
                self._queue.note_settled()
                if settlement.hold or settlement.release:
                    self.rows_moved.set()
                return True

    def end(self) -> None:
        """Nothing moves any more: what is known now is settled, and that is the last settlement."""
        self._last = True
        self._unsettled.set()
        self._plenty.set()
        if self._idle is not None:
            self._idle.cancel()

    def _end_idle(self) -> None:
        self._idle = None
        self._unsettled.set()
