"""What the remembered tries of a sink come to, by hour, and how fast it goes. Pure: what is known is given."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from adapter.log.protocol import Attempt

#: Milliseconds of an hour.
HOUR = 3_600_000
#: Samples of how far a sink is that are kept, and seconds between two of them.
SAMPLES, EVERY = 5, 30.0


@dataclass(slots=True)
class Sums:
    """Tries of a time."""

    attempts: int = 0
    events: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: By status; ``None``: no answer came, or the kind has none.
    statuses: Counter[int | None] = field(default_factory=Counter)
    #: Milliseconds, as in `Attempt`.
    resolve: list[int] = field(default_factory=list)
    connect: list[int] = field(default_factory=list)
    first_byte: list[int] = field(default_factory=list)
    total: list[int] = field(default_factory=list)

    def add(self, one: Attempt) -> None:
        self.attempts += 1
        self.events += one.entries
        self.outcomes[one.outcome] += 1
        self.statuses[one.status] += 1
        for name in ("resolve", "connect", "first_byte", "total"):
            if (took := getattr(one, name)) is not None:
                getattr(self, name).append(took)


def by_hour(attempts: Iterable[Attempt], whole: Sums, hours: dict[int, Sums]) -> None:
    """Add tries to those of all the time, and of their hours, which are known by when they begin (epoch ms)."""
    for one in attempts:
        whole.add(one)
        begin = one.began_at - one.began_at % HOUR
        found = hours.get(begin)
        if found is None:
            found = hours[begin] = Sums()
        found.add(one)


def quantiles(values: Sequence[int], shares: Sequence[float]) -> list[int]:
    """Of each share the least value that so many of them do not exceed; there must be one value at least."""
    ordered = sorted(values)
    return [ordered[max(0, ceil(share * len(ordered)) - 1)] for share in shares]


class Sample(NamedTuple):
    """How far a sink was."""

    #: Seconds of a clock that only goes on.
    at: float
    epoch: int
    delivered: int
    lag: int


class Speed(NamedTuple):
    """How fast a sink goes."""

    #: Seconds over which it was measured.
    seconds: float
    #: Events a second that were delivered.
    delivered: float
    #: Seconds until it has caught up, if it goes on like this; ``None``: it does not come nearer.
    until_caught_up: float | None


class Speeds:
    """How fast sinks go, by some samples of each of the last minutes."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[Sample]] = {}

    def take(self, samples: Mapping[str, Sample]) -> None:
        """How far the sinks are now; those that are not among them are forgotten."""
        for name in self._samples.keys() - samples.keys():
            del self._samples[name]
        for name, one in samples.items():
            kept = self._samples.setdefault(name, deque(maxlen=SAMPLES))
            if kept and kept[-1].epoch != one.epoch:
                kept.clear()
            kept.append(one)

    def of(self, name: str, now: Sample) -> Speed | None:
        """How fast a sink goes that is so far now; ``None``: it was not watched for long enough."""
        kept = self._samples.get(name)
        if not kept or kept[0].epoch != now.epoch or now.at - kept[0].at < 1:
            return None
        first = kept[0]
        seconds = now.at - first.at
        gained = (first.lag - now.lag) / seconds
        until = 0.0 if now.lag == 0 else now.lag / gained if gained > 0 else None
        return Speed(seconds, max(0, now.delivered - first.delivered) / seconds, until)
