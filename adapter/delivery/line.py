"""What waits to be sent to one sink, and in which order it goes: flights to be sent again, then held rows that are due,
then what was read of the log. No task and no clock.

Nothing goes for the first time while too much is exposed: sent, and its outcome not on disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from adapter.delivery.ledger import Flight, Ledger
from adapter.model import Entry


class Line:
    """The entries and flights that wait. Workers take from it; what goes for the first time is noted in the ledger."""

    def __init__(self, ledger: Ledger, *, window: int, batch: int, read_to: int) -> None:
        #: Entries that may be in flight at once.
        self.room = window * batch
        #: How many entries of the log are read at a time; less than half of it makes the line run short.
        self.stretch = max(1000, min(batch, 10_000))
        #: How far the log was read.
        self.read_to = read_to
        self._ledger = ledger
        self._batch = batch
        self._in_order = window == 1
        #: How many entries may be exposed.
        self._most = 2 * self.room
        #: Read, taken by the filter, never sent.
        self._fresh: deque[Entry] = deque()
        #: Made of held rows that were due.
        self._due: deque[Flight] = deque()
        #: To be sent again without a try being spent.
        self._again: deque[Flight] = deque()
        self._probes = 0
        self._short = asyncio.Event()

    @property
    def reached(self) -> int:
        """Position up to which everything that the sink gets was sent at least once."""
        return self._fresh[0].position - 1 if self._fresh else self.read_to

    @property
    def flights(self) -> int:
        """How many flights there may be to take now."""
        fresh = max(0, min(len(self._fresh), self._most - self._ledger.exposed))
        return len(self._again) + len(self._due) + -(-fresh // self._batch)

    async def wait_until_short(self) -> None:
        """Return as soon as so little is left that the log should be read on."""
        while len(self._fresh) > self.stretch // 2:
            self._short.clear()
            await self._short.wait()

    def add_fresh(self, entries: Sequence[Entry], read_to: int) -> None:
        """The log was read up to ``read_to``, and there the sink gets these entries."""
        self._fresh.extend(entries)
        self.read_to = read_to

    def add_due(self, entries: Sequence[Entry], tries: Mapping[int, int]) -> None:
        """The held rows of these entries are due, after so many tries by position."""
        for begin in range(0, len(entries), self._batch):
            part = entries[begin : begin + self._batch]
            self._due.append(Flight(part, tries={e.position: tries[e.position] for e in part}, has_rows=True))

    def put_back(self, flight: Flight) -> None:
        """A flight is to be sent again without a try being spent."""
        # Behind the others, so that probes go round among them. With one send at a time there are no others.
        self._again.append(flight)

    def take(self) -> Flight | None:
        """The next flight to send, if one may go now."""
        if self._again:
            return self._again.popleft()
        if self._due and (flight := self._take_due()) is not None:
            return flight
        return self._take_fresh()

    def take_probe(self) -> Flight | None:
        """A flight that shows whether the receiver is up again, if one may go now.

        Another one each time where order does not matter: one message alone may be what the receiver cannot take.
        """
        self._probes += 1
        fresh = self._take_fresh() if self._probes % 2 == 0 and not self._in_order else None
        return fresh or self.take()

    def _take_due(self) -> Flight | None:
        if self._ledger.exposed + self._due[0].size > self._most:
            return None
        flight = self._due.popleft()
        self._ledger.add(flight)
        return flight

    def _take_fresh(self) -> Flight | None:
        fresh = self._fresh
        size = min(len(fresh), self._batch, self._most - self._ledger.exposed)
        if size <= 0:
            return None
        if size == 1:
            entries = [fresh.popleft()]
        elif size == len(fresh):
            entries = list(fresh)
            fresh.clear()
        else:
            entries = [fresh.popleft() for _ in range(size)]
        if len(fresh) <= self.stretch // 2:
            self._short.set()
        flight = Flight(entries)
        self._ledger.add(flight)
        return flight
