"""Which tries of a sink are remembered, for people: those that failed, all, or none. What an event spent a try on is
one attempt; of a receiver that is down, each time that this was found, not each event that waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from adapter.delivery.ledger import Flight
from adapter.log.protocol import Attempt, Held
from adapter.model import Entry
from adapter.sinks.protocol import Answer, Delivered, Later, Never, Stop
from adapter.sinks.settings import Attempts
from adapter.sinks.tried import Tried

#: Characters of a reason that are kept.
REASON = 500


class Outcome(StrEnum):
    """What a try came to."""

    #: The receiver has it.
    DELIVERED = "delivered"
    #: Refused, and to be tried again.
    HELD = "held"
    #: Refused, and given up on.
    DEAD = "dead"
    #: The receiver was down: to be sent again, without a try being spent.
    DOWN = "down"
    #: The receiver asked not to get it.
    SKIPPED = "skipped"
    #: The receiver is gone for good.
    STOPPED = "stopped"


class AttemptBook:
    """Makes attempts of the answers of one sink, as its setting asks."""

    def __init__(self, keep: Attempts, note: Callable[[Sequence[Attempt]], None], *, now: Callable[[], int]) -> None:
        """``note`` is given those to be stored; ``now`` gives epoch milliseconds."""
        self._keep = keep
        self._note = note
        self._now = now
        #: The last send that found the receiver down, until it is known whether it is.
        self._doubtful: tuple[Flight, Entry, Entry, int, Later] | None = None

    @property
    def keeps_all(self) -> bool:
        """Whether what was delivered is remembered, too."""
        return self._keep == "all"

    def answered(
        self, flight: Flight, entries: Sequence[Entry], answers: Sequence[Answer], held: Sequence[Held]
    ) -> None:
        """A flight of these entries was answered; ``held``: rows of those that were refused."""
        if self._keep == "none":
            return
        dead = {row.position for row in held if row.due_at is None}
        told = []
        for entry, answer in zip(entries, answers, strict=True):
            outcome = _outcome(answer, is_dead=entry.position in dead)
            if outcome is Outcome.DOWN:
                assert isinstance(answer, Later)
                self._doubtful = flight, entries[0], entries[-1], len(entries), answer
            elif outcome is not Outcome.DELIVERED or self._keep == "all":
                told.append((entry, answer, outcome))
        if told:
            self._note(self._rows(flight, told))

    def charged(self, flight: Flight, answer: Later, held: Sequence[Held]) -> None:
        """A flight failed for its own sake, as is known now; ``held``: the rows of its entries."""
        if self._keep == "none":
            return
        if self._doubtful is not None and self._doubtful[0] is flight:
            self._doubtful = None
        dead = {row.position for row in held if row.due_at is None}
        told = [(entry, answer, Outcome.DEAD if entry.position in dead else Outcome.HELD) for entry in flight.entries]
        if told:
            self._note(self._rows(flight, told))

    def resent(self, entry: Entry, answer: Answer) -> None:
        """An event that the sink is past was sent again; that spent none of its tries."""
        outcome = _outcome(answer, is_dead=False)
        if self._keep == "all" or (self._keep == "failures" and outcome is not Outcome.DELIVERED):
            self._note([self._row(entry, entry, 1, 0, outcome, answer)])

    def found_down(self) -> None:
        """The receiver is down, or was found so again."""
        if self._doubtful is None:
            return
        _, first, last, entries, answer = self._doubtful
        self._doubtful = None
        self._note([self._row(first, last, entries, 0, Outcome.DOWN, answer)])

    def _rows(self, flight: Flight, told: Sequence[tuple[Entry, Answer, Outcome]]) -> list[Attempt]:
        """One for each run of entries that were in one request and got one answer."""
        rows: list[Attempt] = []
        begin = 0
        for end in range(1, len(told) + 1):
            if end < len(told) and _is_same(told[begin], told[end]):
                continue
            first, answer, outcome = told[begin]
            tries = 0 if outcome is Outcome.STOPPED else flight.tried(first) + 1
            rows.append(self._row(first, told[end - 1][0], end - begin, tries, outcome, answer))
            begin = end
        return rows

    def _row(self, first: Entry, last: Entry, entries: int, tries: int, outcome: Outcome, answer: Answer) -> Attempt:
        tried: Tried | None = getattr(answer, "tried", None)
        reason = "" if isinstance(answer, Delivered) else answer.reason[:REASON]
        low, high = sorted((first.position, last.position))
        if tried is None:
            nothing = (None, None, None, None, None, "")
            return Attempt(self._now(), low, high, entries, tries, outcome, *nothing, reason)
        return Attempt(
            began_at=tried.began_at,
            position=low,
            last=high,
            entries=entries,
            tries=tries,
            outcome=outcome,
            status=tried.status,
            resolve=tried.resolve,
            connect=tried.connect,
            first_byte=tried.first_byte,
            total=tried.total,
            excerpt=tried.excerpt,
            reason=reason,
        )


def _outcome(answer: Answer, *, is_dead: bool) -> Outcome:
    match answer:
        case Delivered():
            return Outcome.DELIVERED
        case Never():
            return Outcome.DEAD
        case Later(receiver_down=True):
            return Outcome.DOWN
        case Later():
            return Outcome.DEAD if is_dead else Outcome.HELD
        case Stop():
            return Outcome.STOPPED
    return Outcome.SKIPPED


def _is_same(one: tuple[Entry, Answer, Outcome], other: tuple[Entry, Answer, Outcome]) -> bool:
    """Whether two entries got one answer to one request."""
    return one[2] is other[2] and (one[1] is other[1] or _said(one[1]) == _said(other[1]))


def _said(answer: Answer) -> tuple[int, str]:
    return id(getattr(answer, "tried", None)), getattr(answer, "reason", "")
