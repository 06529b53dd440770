"""What has arrived, by source and native type: counted stretch by stretch, with a bound on how many are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapter.log.protocol import Arrivals

#: Native types that are told apart; whoever sends may make up as many as he likes.
TYPES_LIMIT = 10_000
#: Characters of a native type by which it is told apart.
TYPE_LENGTH = 200
#: What all others are counted under.
OTHERS = "(others)"


class ArrivalCounts:
    """The counts of several stretches, added up."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None], Arrivals] = {}

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add those of a stretch: the fields of `Arrivals`."""
        found = self._found
        for source, native_type, entries, quarantined, last_at in rows:
            if len(found) >= TYPES_LIMIT and (source, native_type) not in found:
                native_type = OTHERS
            before = found.get((source, native_type))
            if before is not None:
                entries, quarantined = entries + before.entries, quarantined + before.quarantined
                last_at = max(last_at, before.last_at)
            found[source, native_type] = Arrivals(source, native_type, entries, quarantined, last_at)

    def sorted(self) -> list[Arrivals]:
        """All of them, the most frequent ones of a source first."""
        return sorted(self._found.values(), key=lambda one: (one.source, -one.entries, one.native_type or ""))
