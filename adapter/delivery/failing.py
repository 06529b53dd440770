"""For how long a sink has had nothing but failures, and what is to be told of it. Pure: no task, no clock.

What counts is time that was watched: each failure adds the time since the one before it, but no more than `STEP`. So
a service that is off, a clock that is set, and a sink that has nothing to send make no failing time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import orjson

#: The most that one failure adds, seconds: longer than any wait between two tries of a receiver that is down.
STEP = 2 * 3600.0
#: A sink is told to be down after so many seconds of nothing but failures, and so many of them.
TOLD, FAILURES = 60.0, 5
#: Failures without which no sink is stopped, however long they took.
LEAST = 20
#: Shares of the time after which a sink is stopped, in percent, at which that is said.
SHARES = (50, 70, 90)
#: Without such a time it is said once for each of these, seconds.
DAY = 86_400.0


class Warn(NamedTuple):
    """That a sink fails is to be told, again."""

    #: Percent of the time after which it is stopped; ``None``: it is not stopped.
    share: int | None


@dataclass(slots=True)
class Failing:
    """What a sink has had since its last success: nothing, or failures alone."""

    #: Of the first failure, epoch milliseconds; 0: there was none.
    since: int = 0
    #: Seconds of nothing but failures that were watched, and how many there were.
    seconds: float = 0.0
    failures: int = 0
    #: What was said last: a share in percent, or a number of days.
    warned: int = 0
    #: Whether ``system.SINK-DOWN`` was told.
    told: bool = False

    def fail(self, passed: float, now: int) -> None:
        """It failed again, ``passed`` seconds after it failed before, at ``now`` (epoch milliseconds)."""
        if not self.failures:
            self.since = now
        else:
            self.seconds += min(max(passed, 0.0), STEP)
        self.failures += 1

    def warning(self, disable_after: float | None) -> Warn | None:
        """What is to be said now of a sink that is stopped after so many seconds; once for each share, or day."""
        if disable_after is None:
            days = int(self.seconds // DAY)
            if days <= self.warned:
                return None
            self.warned = days
            return Warn(None)
        reached = max((share for share in SHARES if self.seconds * 100 >= disable_after * share), default=0)
        if reached <= self.warned:
            return None
        self.warned = reached
        return Warn(reached)

    def is_over(self, disable_after: float | None) -> bool:
        """Whether the sink is to be stopped."""
        return disable_after is not None and self.seconds >= disable_after and self.failures >= LEAST

    def written(self) -> str:
        """For the log's note."""
        return orjson.dumps(asdict(self)).decode()


def read_failing(text: str | None) -> Failing:
    """What a note holds; nothing but failures are known of a sink without one, or with one that is none."""
    try:
        kept = orjson.loads(text or "{}")
        return Failing(
            int(kept["since"]), float(kept["seconds"]), int(kept["failures"]), int(kept["warned"]), bool(kept["told"])
        )
    except (ValueError, KeyError, TypeError):
        return Failing()
