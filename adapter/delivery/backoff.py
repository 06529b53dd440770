"""When to try again: one message by its schedule, a whole receiver by its breaker. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.sinks.protocol import RETRY_AFTER

#: Waits are lengthened by up to this part of themselves, never shortened: no receiver is met before the time it named.
JITTER = 0.1
#: First and longest wait between two probes of a receiver that is down, seconds.
PROBE = 1.0
PROBE_MAX = 60.0
#: Wait of a message that failed while others passed, by what cannot be its own fault, seconds.
SPARED = 5.0


def wait_after(tries: int, schedule: Sequence[float], asked: float | None, fraction: float) -> float | None:
    """Seconds until the next try of a message that failed ``tries`` times; ``None`` once the schedule has run out.

    ``asked`` is the receiver's own wish, which can only lengthen the wait; ``fraction`` of the jitter is from 0 to 1.
    """
    if tries > len(schedule):
        return None
    return max(schedule[tries - 1], asked or 0.0) * (1 + JITTER * fraction)


def spared_wait(asked: float | None, fraction: float) -> float:
    """Seconds until the next try of a message that failed and spent no try."""
    return max(SPARED, asked or 0.0) * (1 + JITTER * fraction)


def longest_wait(tries: int, schedule: Sequence[float]) -> float:
    """The most seconds that `wait_after` gives after so many failed tries. Who is to wait longer was given a time by a
    clock that was ahead."""
    last = min(tries, len(schedule))
    return max(schedule[last - 1] if last else 0.0, RETRY_AFTER) * (1 + JITTER)


class Breaker:
    """Open while a receiver is down: nothing is sent but a probe now and then, at first after ``first`` seconds."""

    def __init__(self, first: float = PROBE) -> None:
        self.is_open = False
        self._first = first
        self._wait = 0.0

    def fail(self, asked: float | None, fraction: float) -> float:
        """The receiver is down, or a probe found it so. Seconds to wait for the next probe: each time twice as long,
        or as long as the receiver asked."""
        self._wait = min(self._wait * 2, PROBE_MAX) if self.is_open else self._first
        self.is_open = True
        return max(self._wait, asked or 0.0) * (1 + JITTER * fraction)

    def close(self) -> None:
        """The receiver answered for itself again."""
        self.is_open = False
