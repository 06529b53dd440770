"""Families of native types: a row whose native type ends in ``*`` reads all that begin so and have no row of their own,
and the longest beginning wins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

#: What a family's name ends in.
REST = "*"


def is_family(native: str) -> bool:
    """Whether what a row names is a family, and not one type."""
    return native.endswith(REST)


class Families:
    """Finds the family of a native type, at the cost of one search in a sorted list."""

    def __init__(self, natives: Iterable[str]) -> None:
        """``natives``: what rows name; those that are no families are left out."""
        self._beginnings = sorted({native.removesuffix(REST) for native in natives if is_family(native)})
        # What comes last before a type, in order, need not be its beginning; then only a beginning of that can be.
        self._wider: list[int] = []
        for number, beginning in enumerate(self._beginnings):
            self._wider.append(self._fitting(number - 1, beginning))

    def __bool__(self) -> bool:
        return bool(self._beginnings)

    def of(self, native: str) -> str | None:
        """The name of the family that a type falls to, ``None`` if to none."""
        at = self._fitting(bisect_right(self._beginnings, native) - 1, native)
        return None if at < 0 else self._beginnings[at] + REST

    def _fitting(self, at: int, native: str) -> int:
        """The number of the longest beginning from the one at ``at`` on; -1 if there is none."""
        while at >= 0 and not native.startswith(self._beginnings[at]):
            at = self._wider[at]
        return at
