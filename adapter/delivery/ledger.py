"""What one sink was sent and what became of it, until it is settled. No task and no clock: plain bookkeeping.

At all times ``matched = delivered + in flight + held + dead + skipped``. What was sent and has no row of its own stands
in the order of the log; the cursor follows the first of it that is unanswered. One that stays unanswered while others
behind it are done gets a row among the held ones, so that the cursor can pass it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adapter.log.protocol import Attempt, BlockedKey, Held, ReaderState, Settlement
from adapter.model import Entry

#: The answer of a row whose entry was sent and not answered for when the cursor passed it, and of one that somebody
#: asked to have sent again.
UNANSWERED = "not answered yet"
AGAIN = "to be sent again, as somebody asked"


@dataclass(slots=True, eq=False)
class Flight:
    """The entries of one ``send``, from when it is first made until all of them are answered for. The ledger alone
    changes it."""

    #: Those without a final answer yet.
    entries: Sequence[Entry]
    #: Which send it was, counted over the sink; renewed when it is sent again.
    number: int = 0
    #: Sent, and no answer yet.
    flying: bool = False
    #: Failed tries so far, by position, of entries that have a held row.
    tries: Mapping[int, int] | None = None
    #: Its entries have held rows, and the cursor is past them.
    has_rows: bool = False
    #: Position of the first entry, and how many there were.
    first: int = 0
    size: int = 0
    #: What became of the answered ones of a flight without rows.
    delivered: int = 0
    skipped: int = 0
    hold: Sequence[Held] = ()

    def __post_init__(self) -> None:
        self.first = self.entries[0].position
        self.size = len(self.entries)

    def tried(self, entry: Entry) -> int:
        """How often the entry failed so far."""
        return self.tries.get(entry.position, 0) if self.tries else 0


@dataclass(slots=True, frozen=True)
class SinkCounts:
    """How it stands with everything the filter matched, this moment."""

    matched: int
    delivered: int
    in_flight: int
    held: int
    dead: int
    skipped: int

    @property
    def difference(self) -> int:
        """By how much the counters do not add up; 0, unless something is wrong."""
        return self.matched - self.delivered - self.in_flight - self.held - self.dead - self.skipped


@dataclass(slots=True)
class Passed:
    """What the cursor passes in one step: so many entries, and what became of them."""

    cursor: int
    #: Rows to be written.
    hold: list[Held] = field(default_factory=list)
    matched: int = 0
    delivered: int = 0
    skipped: int = 0
    #: Entries whose outcome is on disk with this step.
    ended: int = 0


class Ledger:
    """The progress of one sink, with what is not settled yet."""

    def __init__(self, reader: str, progress: ReaderState, token: int = 0) -> None:
        """``token``: of the claim under which it settles."""
        #: As of the last settlement that was made, on disk or on its way there.
        self.cursor = progress.cursor
        self.held = progress.held
        self.dead = progress.dead
        #: Entries that were removed from the log before the cursor came to them, in this epoch. Whether the filter
        #: would have taken them nobody knows; they count as taken and skipped.
        self.removed = progress.removed
        #: Entries sent whose outcome is not on disk: what a crash would send again.
        self.exposed = 0
        #: Sends so far, and those without an answer.
        self.sends = 0
        self.flying = 0
        #: Positions whose held rows are not to be tried now: on their way, or their end is not on disk yet.
        self.busy: set[int] = set()
        self._reader = reader
        self._token = token
        self._epoch = progress.epoch
        self._matched = progress.matched
        self._delivered = progress.delivered
        self._skipped = progress.skipped
        #: As in `ReaderState`; here nothing is behind.
        self._behind = progress.behind
        self._carried = progress.carried
        #: Flights without rows, in the order of the log.
        self._order: deque[Flight] = deque()
        #: Entries of flights with rows that have no final answer.
        self._retrying = 0
        self._released: list[int] = []
        self._missing: list[int] = []
        self._buried: list[int] = []
        self._held_again: list[Held] = []
        self._attempts: list[Attempt] = []
        #: Rows that are due anew, and how many of them were dead.
        self._renewed: list[Held] = []
        self._revived = 0
        #: While rows are read that are to be renewed: positions of those that were on their way meanwhile.
        self._moving: set[int] | None = None
        #: While held rows are read that may be due: positions of those that were on their way meanwhile.
        self.moved: set[int] = set()
        #: Positions of rows that are due anew, and not on disk yet; and those of the settlement that is being written.
        self.renewing: set[int] = set()
        self._leaving_renewed: list[int] = []
        #: Of the settlement that is being written: positions that need no care after it, and how many entries they
        #: and the ones the cursor passes are.
        self._leaving: list[int] = []
        self._leaving_exposed = 0

    def add(self, flight: Flight) -> None:
        """A flight is sent for the first time; flights without rows come in the order of the log."""
        self.exposed += flight.size
        if flight.has_rows:
            self._retrying += flight.size
        else:
            self._order.append(flight)

    def send(self, flight: Flight) -> None:
        """A flight is sent, for the first time or again."""
        self.sends += 1
        self.flying += 1
        flight.number = self.sends
        flight.flying = True

    def land(self, flight: Flight) -> None:
        """There is an answer to a flight, or there will be none."""
        self.flying -= 1
        flight.flying = False

    def reserve(self, positions: Iterable[int]) -> None:
        """The held rows of these positions are taken up and are not to be taken up again."""
        self.busy.update(positions)

    def is_flying(self, position: int) -> bool:
        """Whether an entry is sent and not answered for, as far as is known here."""
        if position in self.busy:
            return True
        if not self._order or not self._order[0].first <= position:
            return False
        return any(position in (entry.position for entry in flight.entries) for flight in self._order)

    def skip(self, positions: Sequence[int]) -> None:
        """The entries of these reserved rows are no longer in the log."""
        self.exposed += len(positions)
        self._missing.extend(positions)

    def bury(self, positions: Iterable[int]) -> None:
        """The entries of these dead rows are no longer in the log."""
        buried = [position for position in positions if position not in self.busy]
        self.busy.update(buried)
        self._buried.extend(buried)

    def answer(
        self,
        flight: Flight,
        delivered: Sequence[Entry],
        hold: Sequence[Held],
        left: Sequence[Entry],
        skipped: Sequence[Entry] = (),
    ) -> None:
        """Some entries of a flight are answered for: delivered, to be held, or skipped; ``left`` are the others."""
        flight.entries = left
        if flight.has_rows:
            self._retrying -= len(delivered) + len(hold) + len(skipped)
            self._released.extend([entry.position for entry in delivered])
            self._missing.extend([entry.position for entry in skipped])
            self._held_again.extend(hold)
        else:
            flight.delivered += len(delivered)
            flight.skipped += len(skipped)
            flight.hold = [*flight.hold, *hold] if hold else flight.hold

    def begin_renewing(self) -> None:
        """Rows are about to be read that are to be renewed."""
        self._moving = set(self.busy)

    def renew(self, rows: Iterable[Held], due_at: int) -> int:
        """Let these rows, read since `begin_renewing`, be tried anew from ``due_at`` (epoch ms) on, with all their
        tries; how many. Those that are on their way, or were meanwhile, stay as they are."""
        moving = self.busy | (self._moving or set())
        self._moving = None
        chosen = [row for row in rows if row.position not in moving]
        self.busy.update([row.position for row in chosen])
        self.renewing.update([row.position for row in chosen])
        self._renewed.extend([Held(row.position, 0, due_at, AGAIN) for row in chosen])
        self._revived += _dead(chosen)
        return len(chosen)

    def drop(self, rows: Iterable[Held]) -> int:
        """End these rows, read since `begin_renewing`, without a send: their events count as skipped; how many. Those
        that are on their way, or were meanwhile, stay as they are."""
        moving = self.busy | (self._moving or set())
        self._moving = None
        chosen = [row for row in rows if row.position not in moving]
        self.bury([row.position for row in chosen if row.due_at is None])
        waiting = [row.position for row in chosen if row.due_at is not None]
        self.reserve(waiting)
        self.skip(waiting)
        return len(chosen)

    def passable(self, reached: int) -> int:
        """Where the cursor would be if all was settled this moment; ``reached`` as in `settle`."""
        return max(self.cursor, self._order[0].first - 1 if self._order else reached)

    @property
    def is_settled(self) -> bool:
        """Whether all is on disk but how far the log was read."""
        return not (self.exposed or self._order or self.busy or self._attempts or self._renewed or self._held_again)

    def pass_to(self, cursor: int) -> None:
        """The cursor is on disk there."""
        self.cursor = max(self.cursor, cursor)

    def remember(self, attempts: Sequence[Attempt]) -> None:
        """These go with the next settlement."""
        self._attempts.extend(attempts)

    def settle(self, reached: int, patience: int, due_at: int, *, stopping: bool = False) -> Settlement | None:
        """The next step to put on disk, or ``None`` if nothing moved.

        ``reached`` is how far the log was read and all of it sent. Unanswered flights that more than ``patience``
        answered ones wait behind are passed: their rows are due at ``due_at`` (epoch ms), which matters only to whoever
        reads them after a crash. ``stopping`` passes also those that wait to be sent again.
        """
        passed = self._pass(reached, patience, due_at, stopping=stopping)
        hold, cursor = passed.hold, passed.cursor
        again, released, missing, buried = self._held_again, self._released, self._missing, self._buried
        attempts, renewed = self._attempts, self._renewed
        has_moved = self._has_moved(cursor) or bool(hold or again or released or missing or buried)
        if cursor == self.cursor and not (has_moved or attempts or renewed):
            return None
        self._attempts, self._renewed = [], []
        self._held_again, self._released, self._missing, self._buried = [], [], [], []
        ended = released + missing
        dead_again = _dead(again)
        dead = _dead(hold)
        self.cursor = cursor
        self.held += len(hold) - dead - dead_again - len(ended)
        self.dead += dead + dead_again - len(buried)
        self._matched += passed.matched
        self._delivered += passed.delivered + len(released)
        self._skipped += passed.skipped + len(missing) + len(buried)
        self._leaving = ended + [row.position for row in again]
        self._leaving_exposed = passed.ended + len(self._leaving)
        self._leaving += buried + [row.position for row in renewed]
        self._leaving_renewed = [row.position for row in renewed]
        self.held += self._revived
        self.dead -= self._revived
        self._revived = 0
        block, unblock = self._take_moves(cursor)
        return Settlement(
            reader=self._reader,
            epoch=self._epoch,
            cursor=cursor,
            matched=self._matched,
            delivered=self._delivered,
            skipped=self._skipped,
            hold=hold + again + renewed,
            release=ended + buried,
            token=self._token,
            attempts=attempts,
            behind=self._behind,
            carried=self._carried,
            block=block,
            unblock=unblock,
        )

    def _pass(self, reached: int, patience: int, due_at: int, *, stopping: bool) -> Passed:
        """Let the cursor pass what it can."""
        found = Passed(self.cursor)
        answered = sum(1 for flight in self._order if not flight.entries)
        while self._order:
            flight = self._order[0]
            if not flight.entries:
                answered -= 1
            elif answered > patience and (flight.flying or stopping):
                flight.has_rows = True
                found.hold.extend([Held(entry.position, 0, due_at, UNANSWERED) for entry in flight.entries])
                self.busy.update([entry.position for entry in flight.entries])
                self._retrying += len(flight.entries)
                found.ended -= len(flight.entries)
            else:
                break
            self._order.popleft()
            found.matched += flight.size
            found.ended += flight.size
            found.delivered += flight.delivered
            found.skipped += flight.skipped
            found.hold.extend(flight.hold)
        found.cursor = max(self.cursor, self._order[0].first - 1 if self._order else reached)
        return found

    def _has_moved(self, cursor: int) -> bool:
        """Whether anything else moved than what stands in lists."""
        return False

    def _take_moves(self, cursor: int) -> tuple[Sequence[BlockedKey], Sequence[str]]:
        """Rows of blocked keys to be written, and keys whose row ends."""
        return (), ()

    def commit(self) -> None:
        """The last settlement is on disk."""
        self.exposed -= self._leaving_exposed
        self._leaving_exposed = 0
        if self._moving is not None:
            self._moving.update(self._leaving)
        self.moved.update(self._leaving)
        self.busy.difference_update(self._leaving)
        self._leaving = []
        self.renewing.difference_update(self._leaving_renewed)
        self._leaving_renewed = []

    def counts(self) -> SinkCounts:
        """The counters, with what is sent and not settled."""
        matched, delivered, skipped = self._matched, self._delivered, self._skipped
        in_flight, held, dead = self._retrying, self.held - self._retrying + self._revived, self.dead - self._revived
        for flight in self._order:
            dead_here = _dead(flight.hold) if flight.hold else 0
            matched += flight.size
            delivered += flight.delivered
            skipped += flight.skipped
            in_flight += len(flight.entries)
            held += len(flight.hold) - dead_here
            dead += dead_here
        dead_again = _dead(self._held_again)
        return SinkCounts(
            matched=matched + self.removed,
            delivered=delivered + len(self._released),
            in_flight=in_flight,
            held=held - len(self._released) - len(self._missing) - dead_again,
            dead=dead + dead_again - len(self._buried),
            skipped=skipped + len(self._missing) + len(self._buried) + self.removed,
        )


def _dead(rows: Sequence[Held]) -> int:
    return sum(1 for row in rows if row.due_at is None)
