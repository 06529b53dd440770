"""What came in since the service started, counted for the metrics: plain numbers, cheap to add to."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, NamedTuple

#: Names that are counted one by one for each source; all further ones are ``other``, so that a sender cannot fill
#: memory or metrics with names of its invention.
NAMES_LIMIT = 200

#: Characters of a name that are kept.
NAME_LENGTH = 64

#: Characters of a path.
PATH_LENGTH = 200

#: Samples of what is left out that are kept under each name, and characters of each.
SAMPLES = 3
EXCERPT = 300

#: Reasons that are told apart, and addresses that are kept, of what is refused of a source.
REASONS, ADDRESSES = 20, 3

OTHER = "other"

#: Stands for a source that there is not.
NO_SOURCE = "(none)"


class NamedCounts:
    """Counters by source and a name that the source chose."""

    def __init__(self, names_limit: int = NAMES_LIMIT, name_length: int = NAME_LENGTH) -> None:
        self._names_limit = names_limit
        self._name_length = name_length
        self._counts: Counter[tuple[str, str]] = Counter()
        self._names: Counter[str] = Counter()

    def add(self, source: str, name: str, number: int = 1) -> tuple[str, str]:
        """Count one, or several; gives under which source and name."""
        key = (source, name[: self._name_length])
        if key not in self._counts:
            if self._names[source] >= self._names_limit:
                key = (source, OTHER)
            else:
                self._names[source] += 1
        self._counts[key] += number
        return key

    def by_source_and_name(self) -> Mapping[tuple[str, str], int]:
        """The counts so far."""
        return self._counts


class Value(NamedTuple):
    """What stood where in raw events of a source."""

    source: str
    path: str
    value: str


class ValueCounts:
    """Counters by source, path and value; beyond a source's limit all further ones are `OTHER`."""

    def __init__(self, limit: int = NAMES_LIMIT) -> None:
        # A path is a table's word, and a value is what its sender chose.
        self._counts = NamedCounts(limit, PATH_LENGTH + 1 + NAME_LENGTH)

    def add(self, source: str, path: str, value: str, number: int) -> None:
        """Count several."""
        self._counts.add(source, f"{path[:PATH_LENGTH]}\0{value[:NAME_LENGTH]}", number)

    def counted(self) -> dict[Value, int]:
        """The counts so far."""
        found = {}
        for (source, name), number in self._counts.by_source_and_name().items():
            path, _, value = name.partition("\0")
            found[Value(source, path, value or OTHER)] = number
        return found


class Sampled(NamedTuple):
    """Something that was left out, as an example."""

    #: Arrival, epoch milliseconds.
    received_at: int
    #: The beginning of what was sent.
    excerpt: str


class SampledCounts:
    """The same with samples of each: those of the last bodies that had one."""

    def __init__(self, names_limit: int = NAMES_LIMIT) -> None:
        self._counts = NamedCounts(names_limit)
        self._samples: dict[tuple[str, str], deque[Sampled]] = {}

    def add(self, source: str, name: str, number: int, sample: tuple[int, str]) -> None:
        """Count several, with the arrival and the beginning of one of them."""
        key = self._counts.add(source, name, number)
        self._samples.setdefault(key, deque(maxlen=SAMPLES)).append(Sampled(*sample))

    def by_source_and_name(self) -> Mapping[tuple[str, str], int]:
        """The counts so far."""
        return self._counts.by_source_and_name()

    def samples(self, source: str, name: str) -> Sequence[Sampled]:
        """Some of those that were counted under a source and a name, the oldest first."""
        return tuple(self._samples.get((source, name), ()))

    def forget_samples(self) -> None:
        """Keep none of those there are."""
        self._samples.clear()


class Tally(NamedTuple):
    """What became of what a source sent."""

    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    ignored: int = 0
    #: Requests, where all else is records.
    refused: int = 0

    @property
    def received(self) -> int:
        """Records that came in, whatever became of them."""
        return self.accepted + self.duplicates + self.quarantined + self.ignored

    def __sub__(self, other: Tally) -> Tally:
        return Tally(*(one - before for one, before in zip(self, other, strict=True)))


class RefusalCounts:
    """Why requests to one source were refused. Bounded, since everybody may send them."""

    def __init__(self) -> None:
        #: By reason; the reasons are ours and hold nothing of the request.
        self.reasons: Counter[str] = Counter()
        #: Of the last one, epoch milliseconds.
        self.last_at = 0
        #: Some of the addresses that they came from, the latest last.
        self.addresses: deque[str] = deque(maxlen=ADDRESSES)

    def add(self, reason: str, address: str | None, now: int) -> None:
        """Count one. ``now``: epoch milliseconds."""
        self.reasons[reason if reason in self.reasons or len(self.reasons) < REASONS else OTHER] += 1
        self.last_at = now
        if address is not None and address not in self.addresses:
            self.addresses.append(address)


class IngestCounts:
    """What became of native events; the plain counters are by source. All only ever grow."""

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        #: By source and what it is: a native type, or what a table calls lines without an event.
        self.ignored = SampledCounts()
        #: Requests that were refused, by source (`NO_SOURCE` where there is none) and status.
        self.refused: Counter[tuple[str, int]] = Counter()
        #: By source and native type.
        self.quarantined = NamedCounts()
        #: Events whose outcome is unknown although their type is one that has an answer, by source and unified type.
        self.unanswered = NamedCounts()
        #: Values that a table has no word for, so that an event has a default, or no reason for its failure.
        self.untranslated = ValueCounts()
        self.pulls = PullCounts()
        #: When records came of each source for the last time, epoch milliseconds, and the own time of the last one of
        #: them, epoch seconds (0: it is not known).
        self.heard: dict[str, tuple[int, int]] = {}
        #: By source: what was refused because of the sender.
        self.refusals: dict[str, RefusalCounts] = {}

    def tallies(self) -> dict[str, Tally]:
        """The counts by source alone."""
        counted: list[dict[str, int]] = [dict(self.accepted), dict(self.duplicates), {}, {}, {}]
        for place, named in ((2, self.quarantined.by_source_and_name()), (3, self.ignored.by_source_and_name())):
            for (source, _), number in named.items():
                counted[place][source] = counted[place].get(source, 0) + number
        counted[4] = {source: one.reasons.total() for source, one in self.refusals.items()}
        names = {name for one in counted for name in one}
        return {name: Tally(*(one.get(name, 0) for one in counted)) for name in names}


class PullCounts:
    """How it stands with the sources that fetch their events: by source, realm, and kind of events. What went wrong
    before any realm was asked has an empty realm and kind."""

    def __init__(self) -> None:
        #: When each was read last, and up to when all is known to be in the log, epoch seconds.
        self.last: dict[tuple[str, str, str], tuple[float, float]] = {}
        #: What is wrong now, for people.
        self.problems: dict[tuple[str, str, str], str] = {}
        #: How often the server did not answer, or refused.
        self.errors: Counter[tuple[str, str, str]] = Counter()
        #: How often events were removed before they were read, ever.
        self.gaps: dict[tuple[str, str, str], int] = {}
        #: From and until when events may be missing by the last one of these, epoch milliseconds.
        self.last_gaps: dict[tuple[str, str, str], tuple[int, int]] = {}

    def say(self, source: str, realm: str, kind: str, problem: str | None) -> bool:
        """What is wrong with it now; whether that is news."""
        key = (source, realm, kind)
        before = self.problems.pop(key, None) if problem is None else self.problems.get(key)
        if problem is not None:
            self.problems[key] = problem
        return before != problem

    def forget(self, source: str, realm: str | None = None) -> None:
        """A source, or a realm of it, is not read here any more. What went wrong with the source itself stays."""
        kept: dict[tuple[str, str, str], Any]
        for kept in (self.last, self.problems, self.gaps, self.last_gaps):
            for key in [one for one in kept if one[0] == source and one[1] and realm in (None, one[1])]:
                del kept[key]


class Histogram:
    """How often a value fell under each of some bounds; cheap to add to."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[float, int]]:
        """Each bound with the number of values that do not exceed it; infinity last."""
        return list(zip((*self._bounds, inf), accumulate(self._counts), strict=True))


class Commits:
    """How the log's commits went."""

    def __init__(self) -> None:
        #: Entries that one commit stored.
        self.entries = Histogram([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
        #: Seconds that one took, its sync to the disk included.
        self.seconds = Histogram([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5])

    def add(self, entries: int, seconds: float) -> None:
        """Count one commit; one that stored no entry, but a reader's progress, counts by its time alone."""
        if entries:
            self.entries.add(entries)
        self.seconds.add(seconds)
