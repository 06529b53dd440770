"""What came in since the service started, counted for the metrics: plain numbers, cheap to add to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

#: Names that are counted one by one for each source; all further ones are ``other``, so that a sender cannot fill
#: memory or metrics with names of its invention.
NAMES_LIMIT = 200

#: Characters of a name that are kept.
NAME_LENGTH = 64

OTHER = "other"


class NamedCounts:
    """Counters by source and a name that the source chose."""

    def __init__(self, names_limit: int = NAMES_LIMIT) -> None:
        self._names_limit = names_limit
        self._counts: Counter[tuple[str, str]] = Counter()
        self._names: Counter[str] = Counter()

    def add(self, source: str, name: str) -> None:
        """Count one."""
        key = (source, name[:NAME_LENGTH])
        if key not in self._counts:
            if self._names[source] >= self._names_limit:
                key = (source, OTHER)
            else:
                self._names[source] += 1
        self._counts[key] += 1

    def by_source_and_name(self) -> Mapping[tuple[str, str], int]:
        """The counts so far."""
        return self._counts


class Counts:
    """What became of native events; the plain counters are by source. All only ever grow."""

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        #: By source and native type.
        self.quarantined = NamedCounts()
        #: Events whose outcome is unknown although their type is one that has an answer, by source and unified type.
        self.unanswered = NamedCounts()
