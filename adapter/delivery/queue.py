"""What waits to be sent to one sink, and in which order it goes: flights to be sent again; then held rows that are due
and what was read of the log, in turns. No task and no clock.

Nothing goes for the first time while too much is exposed: sent, and its outcome not on disk. Less than a full batch of
new entries goes only when it has waited for more for as long as the sink wants.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Protocol, cast

from adapter.delivery.ledger import Flight, Ledger
from adapter.log.protocol import READ_SIZE
from adapter.model import Entry
from adapter.sinks.protocol import Batch

#: So many entries, and bytes of events, wait in memory for a sink that takes nothing, or a batch.
FEWER, FEWER_BYTES = 64, 256 * 1024

#: By its place, which takes half the time of its name: it is asked for of every entry that waits.
_event = itemgetter(Entry._fields.index("event"))


class HasPosition(Protocol):
    """What reads the log for several queues."""

    position: int


class SendQueue:
    """The entries and flights that wait. Workers take from it; what goes for the first time is noted in the ledger."""

    def __init__(
        self, ledger: Ledger, *, window: int, batch: Batch, read_to: int, goes: Callable[[], bool] = lambda: True
    ) -> None:
        """``goes``: whether the sink takes more than a probe; if not, less waits in memory: there may be many such."""
        #: Entries that may be in flight at once.
        self.room = window * batch.entries
        #: How many entries of the log are read at a time.
        self.stretch = max(1000, min(batch.entries, 10_000))
        #: How many entries may be added at once, so that others get their turn between.
        self.part = 1_000_000
        #: The queue runs short with no more entries than this, or fewer bytes of events than a batch or a read has.
        self._few = max(self.stretch // 2, batch.entries - 1)
        self._few_bytes = max(batch.bytes, READ_SIZE)
        self._goes = goes
        self._fewer = max(FEWER, batch.entries - 1)
        self._read_to = read_to
        #: Those with whom the log is read.
        self._group: HasPosition | None = None
        self._ledger = ledger
        self._batch = batch
        self._in_order = window == 1
        #: How many entries may be exposed.
        self._most = 2 * self.room
        #: Read, taken by the filter, never sent; and the bytes of their events.
        self._fresh: deque[Entry] = deque()
        self._fresh_bytes = 0
        #: Of the stretches of `_fresh` that wait for more: position of the last entry, and until when.
        self._waiting: deque[tuple[int, float]] = deque()
        #: Up to this position new entries do not wait for more.
        self._ripe_to = 0
        #: Made of held rows that were due.
        self._due: deque[Flight] = deque()
        #: To be sent again without a try being spent.
        self._again: deque[Flight] = deque()
        self._probes = 0
        #: What went last was a held row: where few may go at a time, neither waits for the end of the other.
        self._due_went = False
        self._short = asyncio.Event()

    @property
    def had(self) -> int:
        """How far what was read is added, for sure: others may have read on, without anything that the sink gets."""
        return self._read_to

    @property
    def read_to(self) -> int:
        """How far the log was read: by itself, or by those with whom it is read."""
        return self._read_to if self._group is None else max(self._read_to, self._group.position)

    def follow(self, group: HasPosition | None) -> None:
        """The log is read up to the group's position, wherever that moves, and what the sink gets there is added;
        ``None``: no more."""
        self._read_to = self.read_to
        self._group = group

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not (self._fresh or self._due or self._again)

    @property
    def reached(self) -> int:
        """Position up to which everything that the sink gets was sent at least once."""
        return self._fresh[0].position - 1 if self._fresh else self.read_to

    @property
    def flights(self) -> int:
        """How many flights there may be to take now, at most."""
        batch = self._batch
        fresh = -(-max(0, min(len(self._fresh), self._most - self._ledger.exposed)) // batch.entries)
        if fresh and batch.entries > 1 and self._fresh_bytes > batch.bytes:
            fresh = max(fresh, 2 * -(-self._fresh_bytes // batch.bytes))  # any two neighbours are more than a batch
        return len(self._again) + len(self._due) + fresh

    async def wait_until_short(self) -> None:
        """Return as soon as so little is left that the log should be read on."""
        while not self.is_short():
            self._short.clear()
            await self._short.wait()

    def add_fresh(self, entries: Sequence[Entry], read_to: int, *, waits_until: float = 0.0) -> None:
        """The log was read up to ``read_to``, and there the sink gets these entries. Where they are less than a batch,
        they may wait for more until the time that is later given to `ripen`."""
        self._fresh.extend(entries)
        self._fresh_bytes += _size(entries)
        self._read_to = read_to
        if entries and self._batch.wait:
            self._waiting.append((entries[-1].position, waits_until))

    def ripe_at(self) -> float | None:
        """Until when the first of those waits that wait for more; ``None`` if none does."""
        waiting = self._waiting
        while waiting and (not self._fresh or waiting[0][0] < self._fresh[0].position):
            waiting.popleft()
        return waiting[0][1] if waiting else None

    def ripen(self, time: float) -> None:
        """Those that were to wait until this time have waited long enough."""
        while self._waiting and self._waiting[0][1] <= time:
            self._ripe_to, _ = self._waiting.popleft()

    def add_due(self, entries: Sequence[Entry], tries: Mapping[int, int]) -> None:
        """The held rows of these entries are due, after so many tries by position. One that failed goes alone: it may
        be what the receiver could not take of a batch, and the others of it are to get through."""
        failed = [[entry] for entry in entries if tries[entry.position]]
        for part in [*_batches([entry for entry in entries if not tries[entry.position]], self._batch), *failed]:
            self._due.append(Flight(part, tries={e.position: tries[e.position] for e in part}, has_rows=True))

    def give_back(self, position: int) -> None:
        """A held row that is due, and was not taken yet, is a row alone again; with those of its batch."""
        for flight in self._due:
            if any(entry.position == position for entry in flight.entries):
                self._due.remove(flight)
                self._ledger.busy.difference_update([entry.position for entry in flight.entries])
                return

    def note_settled(self) -> None:
        """What was sent is settled, as far as it is answered."""

    def put_back(self, flight: Flight) -> None:
        """A flight is to be sent again without a try being spent."""
        # Behind the others, so that probes go round among them. With one send at a time there are no others.
        self._again.append(flight)

    def take(self) -> Flight | None:
        """The next flight to send, if one may go now."""
        if self._again:
            return self._again.popleft()
        if self._due_went and (flight := self._take_fresh()) is not None:
            self._due_went = False
            return flight
        if self._due and (flight := self._take_due()) is not None:
            self._due_went = True
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
        fresh, batch = self._fresh, self._batch
        size = min(len(fresh), batch.entries, self._most - self._ledger.exposed)
        if size <= 0:
            return None
        is_full = size == batch.entries
        if size > 1 and self._fresh_bytes > batch.bytes:
            fitting = _fitting(fresh, size, batch.bytes)
            is_full = is_full or fitting < size
            size = fitting
        if batch.wait and not is_full and fresh[0].position > self._ripe_to:
            return None
        if size == 1:
            entries = [fresh.popleft()]
            self._fresh_bytes -= len(_event(entries[0]))
        elif size == len(fresh):
            entries = list(fresh)
            fresh.clear()
            self._fresh_bytes = 0
        else:
            entries = [fresh.popleft() for _ in range(size)]
            self._fresh_bytes -= _size(entries)
        if self.is_short():
            self._short.set()
        flight = Flight(entries)
        self._ledger.add(flight)
        return flight

    def is_short(self) -> bool:
        """Whether so little is left that the log should be read on."""
        return self._are_few(len(self._fresh), self._fresh_bytes)

    def _are_few(self, entries: int, size: int) -> bool:
        if self._goes():
            return entries <= self._few and size < self._few_bytes
        return entries <= self._fewer and size < max(FEWER_BYTES, self._batch.bytes)


def _size(entries: Iterable[Entry]) -> int:
    """Bytes of their events, which all of them have."""
    return sum(map(len, map(_event, entries)))


def _fitting(entries: Iterable[Entry], most: int, size: int) -> int:
    """How many of the first ``most`` entries have together no more than ``size`` bytes, but at least one."""
    count = 0
    for entry in islice(entries, most):
        size -= len(cast(bytes, entry.event))
        if size < 0:
            break
        count += 1
    return max(count, 1)


def _batches(entries: Sequence[Entry], batch: Batch) -> Iterator[Sequence[Entry]]:
    """The entries in their order, as much in each part as a batch takes."""
    begin = 0
    while begin < len(entries):
        part = entries[begin : begin + batch.entries]
        part = part[: _fitting(part, batch.entries, batch.bytes)]
        yield part
        begin += len(part)
