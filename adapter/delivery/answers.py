"""What a receiver's answers mean for the entries they answer: delivered, held until their next try, dead, or to be sent
again. What they say of the receiver itself is in `health`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from adapter.delivery.backoff import wait_after
from adapter.delivery.ledger import Flight
from adapter.log.protocol import Held
from adapter.model import Entry
from adapter.sinks.protocol import Answer, Delivered, Later, Never, Stop

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Judgment:
    """What a send came to. Each entry of the flight is in one of the three lists."""

    delivered: list[Entry] = field(default_factory=list)
    #: Rows of those that were refused: to be tried again, or dead.
    hold: list[Held] = field(default_factory=list)
    #: Those whose answer speaks of the receiver: they spend no try.
    left: list[Entry] = field(default_factory=list)
    #: The last answer that refused something, for people.
    said: str = "delivered"
    #: The answer that the receiver is down, if there was one: of several, that with the longest wish.
    down: Later | None = None
    #: The receiver is gone for good.
    gone: bool = False


class AnswerPolicy:
    """What answers mean for the events, by one sink's schedule of tries. ``now`` gives epoch milliseconds,
    ``random_source`` a number from 0 to 1."""

    def __init__(
        self, name: str, schedule: Sequence[float], *, now: Callable[[], int], random_source: Callable[[], float]
    ) -> None:
        self._name = name
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
                case Later(reason, receiver_down=False):
                    judged.hold.append(self._hold(flight, entry, answer))
                case Later(reason, after):
                    judged.left.append(entry)
                    if judged.down is None or (after or 0) > (judged.down.after or 0):
                        judged.down = answer
                case Stop(reason):
                    judged.left.append(entry)
                    judged.gone = True
            judged.said = reason
        return judged

    def charge(self, flight: Flight, answer: Later) -> list[Held]:
        """Rows of all entries left in a flight that failed for its own sake: each spends a try."""
        return [self._hold(flight, entry, answer) for entry in flight.entries]

    def _hold(self, flight: Flight, entry: Entry, answer: Later) -> Held:
        tries = flight.tried(entry) + 1
        wait = wait_after(tries, self._schedule, answer.after, self._random_source())
        if wait is None:
            _log.warning("sink_gave_up", sink=self._name, position=entry.position, tries=tries, answer=answer.reason)
        due_at = None if wait is None else self._now() + round(wait * 1000)
        return Held(entry.position, tries, due_at, answer.reason)
