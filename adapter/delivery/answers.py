"""What a receiver's answers mean for the entries they answer: delivered, held until their next try, dead, skipped, or
to be sent again. What they say of the receiver itself is in `health`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

from adapter.delivery.backoff import spared_wait, wait_after
from adapter.delivery.ledger import Flight
from adapter.formats.text import harmless
from adapter.log.protocol import Held
from adapter.model import Entry
from adapter.sinks.protocol import DELIVERED, RETRY_AFTER, Answer, Delivered, Later, Never, Skip, Stop

#: The most characters that are kept of what an answer says.
REASON = 500


@dataclass(slots=True)
class Judgment:
    """What a send came to. Each entry of the flight is in one of the four lists."""

    delivered: list[Entry] = field(default_factory=list)
    #: Those that the receiver asked not to get.
    skipped: list[Entry] = field(default_factory=list)
    #: Rows of those that were refused: to be tried again, or dead.
    hold: list[Held] = field(default_factory=list)
    #: Those whose answer speaks of the receiver: they spend no try.
    left: list[Entry] = field(default_factory=list)
    #: The last answer that refused something, for people.
    said: str = "delivered"
    #: The answer that the receiver is down, if there was one: of several, that with the longest wish.
    down: Later | None = None
    #: The longest wait that the receiver asked for with what it refused for its own sake, seconds.
    wish: float | None = None
    #: What the receiver said, if it wants nothing more.
    gone: str | None = None


def checked(answers: object, entries: int) -> Sequence[Answer]:
    """What a sink gave back, if that is one answer for each of so many entries: with no wait longer than `RETRY_AFTER`,
    and no text that could not be kept.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(answers, Sequence):
        raise TypeError(f"{answers!r:.100} instead of {entries} answers")
    if len(answers) != entries:
        raise ValueError(f"{len(answers)} answers for {entries} entries")
    if answers.count(DELIVERED) == entries:
        return answers
    return [one if one is DELIVERED else _checked(one) for one in answers]


def _checked(answer: object) -> Answer:
    match answer:
        case Delivered():
            return answer
        case Later(str(reason), after):
            if after is not None and not (isinstance(after, int | float) and isfinite(after)):
                raise TypeError(f"{after!r:.100} is no wait")
            after = None if after is None or after <= 0 else min(float(after), RETRY_AFTER)
            return replace(answer, reason=_kept(reason), after=after)
        case Never(str(reason)) | Skip(str(reason)) | Stop(str(reason)):
            return replace(answer, reason=_kept(reason))
    raise TypeError(f"{answer!r:.100} is no answer")


def _kept(reason: str) -> str:
    return harmless(reason[:REASON])


class AnswerPolicy:
    """What answers mean for the events, by one sink's schedule of tries. ``now`` gives epoch milliseconds,
    ``random_source`` a number from 0 to 1."""

    def __init__(
        self, schedule: Sequence[float], *, now: Callable[[], int], random_source: Callable[[], float]
    ) -> None:
        self._schedule = schedule
        self._now = now
        self._random_source = random_source

    def judge(self, flight: Flight, answers: Sequence[Answer]) -> Judgment:
        """What the answers, one for each entry of the flight, come to."""
        judged = Judgment()
        for entry, answer in zip(flight.entries, answers, strict=True):
            match answer:
                case Delivered():
                    judged.delivered.append(entry)
                    continue
                case Never(reason):
                    judged.hold.append(Held(entry.position, flight.tried(entry) + 1, None, reason))
                case Skip(reason):
                    judged.skipped.append(entry)
                case Later(reason, after, receiver_down=False):
                    judged.hold.append(self._hold(flight, entry, answer))
                    judged.wish = max(after or 0.0, judged.wish or 0.0) or None
                case Later(reason, after):
                    judged.left.append(entry)
                    if judged.down is None or (after or 0) > (judged.down.after or 0):
                        judged.down = answer
                case Stop(reason, is_delivered):
                    (judged.delivered if is_delivered else judged.left).append(entry)
                    judged.gone = reason
            judged.said = reason
        return judged

    def charge(self, flight: Flight, answer: Later) -> list[Held]:
        """Rows of all entries left in a flight that failed while others passed: each spends a try, unless the answer
        spares it."""
        return [self._hold(flight, entry, answer) for entry in flight.entries]

    def _hold(self, flight: Flight, entry: Entry, answer: Later) -> Held:
        if answer.spares:
            wait = spared_wait(answer.after, self._random_source())
            return Held(entry.position, flight.tried(entry), self._now() + round(wait * 1000), answer.reason)
        tries = flight.tried(entry) + 1
        until_next = wait_after(tries, self._schedule, answer.after, self._random_source())
        due_at = None if until_next is None else self._now() + round(until_next * 1000)
        return Held(entry.position, tries, due_at, answer.reason)
