"""The books of a sink that keeps order within keys: as `ledger`, entry by entry, since entries are not sent in the
order of the log.

Of what the cursor has passed, an event has a held row, or is *behind* in a blocked key (`lanes`), where all of them
cost one row. So ``held`` are both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from adapter.delivery.lanes import KEYS, Lane, Lanes
from adapter.delivery.ledger import Flight, Ledger, Passed, SinkCounts
from adapter.log.protocol import BlockedKey, Held, ReaderState
from adapter.model import Entry

#: Events that wait behind one without an answer until the cursor passes it: so many times those of `Ledger`, as it
#: costs a row where a key has a few events at once.
PATIENCE = 4


class OrderedLedger(Ledger):
    """The progress of one sink, with what is not settled yet."""

    def __init__(self, reader: str, progress: ReaderState, token: int, lanes: Lanes, *, batch: int) -> None:
        """``token``: of the claim under which it settles; ``batch``: the most entries of a send."""
        super().__init__(reader, progress, token)
        self._lanes = lanes
        self._batch = batch
        self._since = -1 if progress.since is None else progress.since
        #: What was sent and has no final answer, by position.
        self._sent: dict[int, Flight] = {}
        #: Rows of events that were behind, how many of those have their answer since the last settlement, and whether
        #: there are others that moved.
        self._rows: list[Held] = []
        self._answered = 0
        self._is_changed = False

    @property
    def behind(self) -> int:
        """Events of blocked keys that have neither a row nor an answer."""
        return self._behind

    def passable(self, reached: int) -> int:
        slots = self._lanes.slots
        return max(self.cursor, slots[0].position - 1 if slots else reached)

    @property
    def is_settled(self) -> bool:
        # A blocked key's row may have to follow the cursor.
        return super().is_settled and not (self._lanes.slots or self._lanes.blocked or self._sent or self._rows)

    def add(self, flight: Flight) -> None:
        self.exposed += flight.size
        for entry in flight.entries:
            self._sent[entry.position] = flight
            if flight.has_rows:
                self._lanes.take_up(entry.position)

    def answer(
        self,
        flight: Flight,
        delivered: Sequence[Entry],
        hold: Sequence[Held],
        left: Sequence[Entry],
        skipped: Sequence[Entry] = (),
    ) -> None:
        flight.entries = left
        outcomes: list[tuple[int, bool | Held]] = [(entry.position, True) for entry in delivered]
        outcomes += [(row.position, row) for row in hold] + [(entry.position, False) for entry in skipped]
        #: Lanes of which an event of this flight failed: those that were sent with it are sent again.
        failed: set[Lane] = set()
        for position, outcome in sorted(outcomes, key=lambda one: one[0]):
            del self._sent[position]
            lane = self._lanes.lane_of(position)
            if lane is not None and lane in failed:
                self._lanes.return_unsent(position)
                self.exposed -= 1
                continue
            if lane is not None and self._lanes.keeps_back(outcome):
                failed.add(lane)
            if self._lanes.end(position, outcome):
                continue
            if position not in self.busy:
                self._answer_behind(position, outcome)
            elif isinstance(outcome, Held):
                self._held_again.append(outcome)
            elif outcome:
                self._released.append(position)
            else:
                self._missing.append(position)

    def skip(self, positions: Sequence[int]) -> None:
        super().skip(positions)
        for position in positions:
            self._lanes.drop(position)

    def bury(self, positions: Iterable[int]) -> None:
        buried = [position for position in positions if position not in self.busy]
        super().bury(buried)
        for position in buried:
            self._lanes.drop(position)

    def skip_behind(self, number: int) -> None:
        """So many events of blocked keys were removed from the log."""
        number = min(number, self._behind)
        self._behind -= number
        self._skipped += number
        self._is_changed = True

    def is_flying(self, position: int) -> bool:
        """Whether an entry is sent and not answered for, as far as is known here."""
        return position in self._sent or position in self.busy

    def _pass(self, reached: int, patience: int, due_at: int, *, stopping: bool) -> Passed:
        lanes = self._lanes
        slots = lanes.slots
        found = Passed(self.cursor, self._rows, ended=self._answered)
        self._rows, self._answered = [], 0
        while slots:
            slot = slots[0]
            position = slot.position
            if slot.is_ended:
                lanes.ended -= 1
                found.ended += not slot.is_lost
                if isinstance(slot.outcome, Held):
                    found.hold.append(slot.outcome)
                else:
                    found.delivered += slot.outcome is True
                    found.skipped += slot.outcome is not True
            elif slot.lane is not None and slot.lane.is_blocked:
                self._behind += 1
                self._is_changed = True
            elif lanes.ended > patience * PATIENCE * self._batch and self._may_pass(position, stopping=stopping):
                if slot.lane is not None:
                    if lanes.blocked >= KEYS:
                        break
                    lanes.block(slot.lane)
                    continue
                if position not in self._sent:
                    break
                found.hold.append(Held(position, 0, due_at, "not answered yet"))
                self.busy.add(position)
            else:
                break
            slots.popleft()
            del lanes.slot_at[position]
            found.matched += 1
        found.cursor = max(self.cursor, slots[0].position - 1 if slots else reached)
        return found

    def _has_moved(self, cursor: int) -> bool:
        is_changed, self._is_changed = self._is_changed, False
        return is_changed or self._lanes.has_moves(cursor)

    def _take_moves(self, cursor: int) -> tuple[Sequence[BlockedKey], Sequence[str]]:
        return self._lanes.take_moves(cursor)

    def counts(self) -> SinkCounts:
        lanes = self._lanes
        counts = super().counts()
        matched, delivered, held, dead, skipped = 0, 0, 0, 0, 0
        for slot in lanes.slots:
            if isinstance(slot.outcome, Held):
                held += slot.outcome.due_at is not None
                dead += slot.outcome.due_at is None
            elif slot.is_ended:
                delivered += slot.outcome is True
                skipped += slot.outcome is not True
            elif slot.position not in self._sent:
                continue
            matched += 1
        dead_rows = _dead(self._rows)
        held, dead = held + len(self._rows) - dead_rows, dead + dead_rows
        with_rows = behind = 0
        for position in self._sent:
            if position in self.busy:
                with_rows += 1
            elif position not in lanes.slot_at:
                if position > self._since:
                    behind += 1
                else:
                    matched += 1
        return replace(
            counts,
            matched=counts.matched + matched,
            delivered=counts.delivered + delivered,
            in_flight=len(self._sent),
            held=counts.held + held - with_rows + self._behind - behind,
            dead=counts.dead + dead,
            skipped=counts.skipped + skipped,
        )

    def _answer_behind(self, position: int, outcome: bool | Held) -> None:
        """An event that was behind has its answer. One from before this epoch is counted now."""
        if position > self._since:
            self._behind -= 1
        else:
            self._matched += 1
            self._carried += 1
        self._is_changed = True
        self._answered += 1
        if isinstance(outcome, Held):
            self._rows.append(outcome)
        elif outcome:
            self._delivered += 1
        else:
            self._skipped += 1

    def _may_pass(self, position: int, *, stopping: bool) -> bool:
        """Whether the cursor may pass an event that has no answer: not one that waits until the receiver is up."""
        flight = self._sent.get(position)
        return flight is None or flight.flying or stopping


def _dead(rows: Sequence[Held]) -> int:
    return sum(1 for row in rows if row.due_at is None)
