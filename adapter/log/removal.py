"""Which events of the log are to go: what every engine asks."""

from __future__ import annotations

from adapter.globs import glob_matches
from adapter.log.protocol import Removal

#: Positions of one block, for which an engine counts how many are empty.
BLOCK = 1024

#: How many types' limits are remembered, and of types of which length.
_REMEMBERED, _SHORT = 10_000, 200


class Limits:
    """Up to which position events go, by their type."""

    def __init__(self, removal: Removal) -> None:
        self._groups = removal.groups
        self._others = removal.others
        self._known: dict[str, int] = {}
        #: Events of any type go up to here.
        self.all = min([removal.others, *(limit for _, limit in removal.groups)])

    def of(self, type: str | None) -> int:
        """The last position that goes, of events of this type, or (``None``) of what is quarantined."""
        if type is None:
            return self._others
        known = self._known.get(type)
        if known is None:
            known = self._find(type)
            if len(type) <= _SHORT:
                if len(self._known) >= _REMEMBERED:  # types are an open set
                    self._known.clear()
                self._known[type] = known
        return known

    def _find(self, type: str) -> int:
        for patterns, limit in self._groups:
            if any(glob_matches(pattern, type) for pattern in patterns):
                return limit
        return self._others


def divide(after: int, until: int) -> tuple[range, list[tuple[int, int]]]:
    """The whole blocks of a stretch (``after < position <= until``), and what is left of it beside them: first and last
    position of each rest."""
    first = after + 1
    begin, end = -(-first // BLOCK), (until + 1) // BLOCK
    if begin >= end:
        return range(0), [(first, until)] if first <= until else []
    rests = [(low, high) for low, high in ((first, begin * BLOCK - 1), (end * BLOCK, until)) if low <= high]
    return range(begin, end), rests
