"""Patterns and templates of mapping files.

Patterns run in time linear in the text and in the size of their program, whatever both are: both may come from
strangers. So that none holds up the events of others, both are bounded: the program when a table is read, and how much
of a text a pattern sees by their product.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

#: Characters of a pattern.
PATTERN_LENGTH = 10_000
#: Instructions of its program; the largest of the tables that come with the adapter has 47.
PROGRAM_LIMIT = 2_000
#: Groups; what each of them holds is noted at every step, and mostly the first alone is asked for.
GROUPS_LIMIT = 8
#: Groups of a pattern that reads a line; for more than the usual ones it sees less of a text.
LINE_GROUPS_LIMIT = 24
#: Instructions of a program times characters of a text: takes some 30 ms at most.
MATCH_LIMIT = 1_000_000

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20


class Match:
    """Where a pattern was found in a text, in characters."""

    __slots__ = ("_bytes", "_found")

    def __init__(self, found: Any, text: bytes) -> None:
        self._found = found
        self._bytes = text

    def group(self, number: int = 0) -> str | None:
        """What a group holds, or (0) all that was found; ``None`` if the group took no part."""
        told: bytes | None = self._found[number]
        return None if told is None else told.decode("utf-8", "replace")

    def groups(self) -> tuple[str | None, ...]:
        """What the groups hold, without all that was found."""
        return tuple([None if one is None else one.decode("utf-8", "replace") for one in self._found.groups()])

    def span(self, number: int = 0) -> tuple[int, int]:
        """Where a group begins and ends; -1, -1 if it took no part."""
        start, end = self._found.span(number)
        if start < 0 or self._bytes.isascii():
            return start, end
        begin = len(self._bytes[:start].decode("utf-8", "replace"))
        return begin, begin + len(self._bytes[start:end].decode("utf-8", "replace"))

    def start(self, number: int = 0) -> int:
        """Where a group begins."""
        return self.span(number)[0]

    def end(self, number: int = 0) -> int:
        """Where a group ends."""
        return self.span(number)[1]


class Pattern:
    """A compiled pattern. Of a text it sees the first ``reach`` characters."""

    __slots__ = ("fullmatch", "groups", "names", "reach", "search", "size")

    #: The first match in a text, or ``None``.
    search: Callable[[str], Match | None]
    #: The match of a whole text, or ``None``; a text beyond its reach does not match.
    fullmatch: Callable[[str], Match | None]

    def __init__(self, compiled: Any) -> None:
        self.groups: int = compiled.groups
        #: Its named groups: name, and number among all groups, from 0.
        self.names = tuple((str(name), int(number) - 1) for name, number in compiled.groupindex.items())
        #: Instructions.
        self.size: int = compiled.programsize
        self.reach = reach = MATCH_LIMIT * GROUPS_LIMIT // (self.size * max(self.groups, GROUPS_LIMIT))
        in_bytes, whole = compiled.search, compiled.fullmatch

        # Closures, since every event comes here; and bytes, since the library counts the characters before each group
        # of a text, which takes four times as long as to find it.
        def search(text: str) -> Match | None:
            seen = (text if len(text) <= reach else text[:reach]).encode("utf-8", "replace")
            found = in_bytes(seen)
            return None if found is None else Match(found, seen)

        def fullmatch(text: str) -> Match | None:
            if len(text) > reach:
                return None
            seen = text.encode("utf-8", "replace")
            found = whole(seen)
            return None if found is None else Match(found, seen)

        self.search, self.fullmatch = search, fullmatch


def compile_pattern(text: str, *, groups: int = GROUPS_LIMIT) -> Pattern:
    """A compiled pattern (RE2 syntax: no look-around, no back references), of so many ``groups`` at most.

    Raises:
        ValueError: it is not one, or too large; the message says why.
    """
    if len(text) > PATTERN_LENGTH:
        raise ValueError(f"the pattern has {len(text)} characters; the limit is {PATTERN_LENGTH}")
    try:
        compiled = re2.compile(text, options=_OPTIONS)
    except re2.error as error:
        problem = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"not a pattern of RE2 syntax: {problem}") from error
    if compiled.programsize > PROGRAM_LIMIT:
        problem = f"the pattern compiles to {compiled.programsize} instructions; the limit is {PROGRAM_LIMIT}"
        raise ValueError(f"{problem}: use smaller repetition counts")
    if compiled.groups > groups:
        raise ValueError(f"the pattern has {compiled.groups} groups; the limit is {groups}: write (?:...)")
    return Pattern(compiled)


def template_holes(template: str) -> list[str]:
    """The paths in a template's braces, in order.

    Raises:
        ValueError: a brace has no other one.
    """
    if re.search(r"[{}]", _HOLE.sub("", template)):
        raise ValueError(f"a brace without the other one, or with nothing between them, in {template!r}")
    return _HOLE.findall(template)


_HOLE = re.compile(r"\{([^{}]+)\}")
