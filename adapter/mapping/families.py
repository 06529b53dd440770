"""Families of texts, by which rows and translations name many texts at once: all that begin as a key which ends in
``*``, or in which the pattern behind a key's ``~`` is found. A key that is the text itself comes first, then the first
pattern of the file, then the longest beginning."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from adapter.mapping.pattern import MATCH_LIMIT, compile_pattern

#: What the name of a family of beginnings ends in, and what one of a pattern begins with.
REST = "*"
PATTERN = "~"
#: Patterns of one table; each of them may look at every text that has no key of its own.
PATTERNS_LIMIT = 200


def is_family(key: str) -> bool:
    """Whether what a key names is a family, and not one text."""
    return key.endswith(REST) or key.startswith(PATTERN)


def check_key(key: str) -> None:
    """Refuse a key that names no family, though it looks so.

    Raises:
        ValueError: its pattern is none; the message says why.
    """
    if key == PATTERN:
        raise ValueError(f"{PATTERN!r} needs a pattern behind it, as in '{PATTERN}^login'")
    if key.startswith(PATTERN):
        compile_pattern(key.removeprefix(PATTERN))


def refuse_many(keys: Iterable[str]) -> None:
    """Refuse more patterns than one table may have.

    Raises:
        ValueError: there are more.
    """
    count = sum(key.startswith(PATTERN) for key in keys)
    if count > PATTERNS_LIMIT:
        raise ValueError(f"has {count} patterns ({PATTERN}...); the limit is {PATTERNS_LIMIT}: name beginnings instead")


class Families:
    """Finds the family of a text: by its patterns, one after another, and by one search in a sorted list."""

    def __init__(self, keys: Iterable[str]) -> None:
        """``keys``: of a table, in its order; those that are no families are left out."""
        families = [key for key in dict.fromkeys(keys) if is_family(key)]
        patterns = [(key, compile_pattern(key.removeprefix(PATTERN))) for key in families if key.startswith(PATTERN)]
        self._patterns = [(key, pattern.search) for key, pattern in patterns]
        #: All patterns together take no longer for a text than one of the largest may.
        self._reach = MATCH_LIMIT // max(1, sum(pattern.size for _, pattern in patterns))
        self._beginnings = sorted(key.removesuffix(REST) for key in families if not key.startswith(PATTERN))
        # What comes last before a text, in order, need not be its beginning; then only a beginning of that can be.
        self._wider: list[int] = []
        for number, beginning in enumerate(self._beginnings):
            self._wider.append(self._fitting(number - 1, beginning))

    def __bool__(self) -> bool:
        return bool(self._beginnings or self._patterns)

    def of(self, text: str) -> str | None:
        """The key of the family that a text falls to, ``None`` if to none."""
        if self._patterns:
            seen = text if len(text) <= self._reach else text[: self._reach]
            for key, search in self._patterns:
                if search(seen) is not None:
                    return key
        at = self._fitting(bisect_right(self._beginnings, text) - 1, text)
        return None if at < 0 else self._beginnings[at] + REST

    def _fitting(self, at: int, text: str) -> int:
        """The number of the longest beginning from the one at ``at`` on; -1 if there is none."""
        while at >= 0 and not text.startswith(self._beginnings[at]):
            at = self._wider[at]
        return at
