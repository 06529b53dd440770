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


class Pattern:
    """A compiled pattern. Of a text it sees the first ``reach`` characters."""

    __slots__ = ("fullmatch", "groups", "names", "reach", "search", "size")

    #: The first match in a text, or ``None``.
    search: Callable[[str], Any]
    #: The match of a whole text, or ``None``; a text beyond its reach does not match.
    fullmatch: Callable[[str], Any]

    def __init__(self, compiled: Any) -> None:
        self.groups: int = compiled.groups
        #: Its named groups: name, and number among all groups, from 0.
        self.names = tuple((str(name), int(number) - 1) for name, number in compiled.groupindex.items())
        #: Instructions.
        self.size: int = compiled.programsize
        self.reach = reach = MATCH_LIMIT * GROUPS_LIMIT // (self.size * max(self.groups, GROUPS_LIMIT))
        search, fullmatch = compiled.search, compiled.fullmatch
        # Closures, since every event comes here.
        self.search = lambda text: search(text if len(text) <= reach else text[:reach])
        self.fullmatch = lambda text: fullmatch(text) if len(text) <= reach else None


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
