"""What waits to be sent to a sink that keeps order within keys: as `queue`, but of each key the next event alone, and
those of keys that were blocked beside those that were never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapter.delivery.lanes import KEYS, SLOTS, Lanes
from adapter.delivery.ledger import Flight, Ledger
from adapter.delivery.queue import SendQueue
from adapter.model import Entry
from adapter.sinks.protocol import Batch


class OrderedQueue(SendQueue):
    """The entries and flights that wait. Workers take from it; what goes for the first time is noted in the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        lanes: Lanes,
        *,
        window: int,
        batch: Batch,
        read_to: int,
        goes: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(ledger, window=window, batch=batch, read_to=read_to, goes=goes)
        self._lanes = lanes
        self.part = 250  # each is opened for its key
        #: Of the room, what events of keys that were blocked may take.
        self._late_room = max(1, self.room // 4)
        self._late_flights: list[Flight] = []
        self._is_late_next = True

    @property
    def reached(self) -> int:
        return self.read_to  # what was read has a slot until it is done

    @property
    def is_empty(self) -> bool:
        return not (self._due or self._again or self._lanes.slots)

    @property
    def flights(self) -> int:
        ready = max(0, min(self._lanes.ready(), self._most - self._ledger.exposed))
        return len(self._again) + len(self._due) + ready

    def add_fresh(self, entries: Sequence[Entry], read_to: int, *, waits_until: float = 0.0) -> None:
        keys = [self._lanes.key_of(entry.event or b"") for entry in entries]
        for entry, key in zip(entries, keys, strict=True):
            self._lanes.add(entry, key)
        self._read_to = self._lanes.read_to = read_to
        if entries and self._batch.wait:
            self._waiting.append((entries[-1].position, waits_until))

    def add_again(self, entries: Sequence[Entry], after: int, reached: int) -> None:
        """The log was read again behind ``after`` up to ``reached``, and there the sink gets these entries."""
        self._lanes.add_again(entries, after, reached)

    def note_settled(self) -> None:
        if self.is_short():
            self._short.set()

    def ripe_at(self) -> float | None:
        # Also while none of them can be sent: what follows in its key is to go at once when its turn comes.
        return self._waiting[0][1] if self._waiting else None

    def _take_fresh(self) -> Flight | None:
        for late in (self._is_late_next, not self._is_late_next):
            flight = self._take_of(late=late)
            if flight is not None:
                self._is_late_next = not late
                return flight
        return None

    def _take_of(self, *, late: bool) -> Flight | None:
        lanes, batch = self._lanes, self._batch
        size = min(batch.entries, self._most - self._ledger.exposed)
        if late:
            self._late_flights = [flight for flight in self._late_flights if flight.entries]
            size = min(size, self._late_room - sum(len(flight.entries) for flight in self._late_flights))
        first = lanes.next(late=late)
        if size <= 0 or first is None:
            return None
        is_waiting = batch.wait and not late and first.position > self._ripe_to
        if is_waiting and lanes.ready() < batch.entries and lanes.fresh_bytes < batch.bytes:
            return None
        entries: list[Entry] = []
        room = batch.bytes
        while len(entries) < size and (entry := lanes.next(late=late)) is not None:
            room -= len(entry.event or b"")
            if entries and room < 0:
                break
            entries.append(lanes.pop(late=late))
            while batch.alike and len(entries) < size:
                more = lanes.pop_next(entries[-1].position, late=late, size=room)
                if more is None:
                    break
                room -= len(more.event or b"")
                entries.append(more)
        flight = Flight(entries)
        if late:
            self._late_flights.append(flight)
        self._ledger.add(flight)
        if self.is_short():
            self._short.set()
        return flight

    def is_short(self) -> bool:
        lanes = self._lanes
        if lanes.blocked >= KEYS or len(lanes.slots) >= SLOTS:
            return False
        return self._are_few(lanes.fresh, lanes.fresh_bytes)
