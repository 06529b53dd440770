"""The event types that a webhook of Phase Two's extension asks for, as clauses of our filter.

There an entry is one of four words, or else a Java regular expression that the whole type must fit. Ours are types,
globs, in which ``*`` stands for any characters, and patterns, ``/…/``, for what these cannot say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from adapter.filter import PATTERNS_LIMIT, check_pattern

#: Entries that mean there what they mean here.
_WORDS = ("*", "access.*", "admin.*", "system.*")
#: Types that one entry may become, and characters of one; there it has 255 at most.
_MOST, _LONGEST = 100, 1000
#: Behind these no type ends, so that one character or more is the same as any.
_BETWEEN = ("-", ".", "_")

#: A type as it stands: with the one dot that types there have, or one of somebody's own.
_PLAIN = re.compile(r"(?!(?:access|admin|system)\..*\.)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
#: What no event is called: of what administrators do, each says what was done.
_NEVER = re.compile(r"admin\.[^*-]*-?|.*-")
_TOKEN = re.compile(r"\\[.\-_]|\(\?:|[().|?*+]|[A-Za-z0-9_-]")


class EventTypes(NamedTuple):
    """What event types become."""

    #: Types, globs and patterns.
    types: list[str]
    #: Of entries that do not mean here what they say there: the entry, and why, for people.
    notes: list[tuple[str, str]]


class _Beyond(Exception):
    """An expression says more than a glob can."""


def read_event_types(entries: Iterable[str]) -> EventTypes:
    """Types, globs and patterns by which our filter takes what the entries took there."""
    types: dict[str, None] = {}
    room = PATTERNS_LIMIT
    notes: list[tuple[str, str]] = []
    for entry in entries:
        if entry in _WORDS or _PLAIN.fullmatch(entry):
            types[entry] = None
            continue
        if len(entry) > _LONGEST:
            notes.append((f"{entry[:40]}…", f"has more than {_LONGEST} characters; it is left out"))
            continue
        try:
            if "&&" in entry:
                raise ValueError("there && in brackets is an intersection")
            size = check_pattern(entry)
        except ValueError as error:
            notes.append((entry, f"is no expression that a filter can have: {error}; it is left out"))
            continue
        try:
            reading = _Reading(entry)
            found = reading.all()
        except (_Beyond, RecursionError):
            if size > room:
                notes.append((entry, "is more than a filter can have of expressions; it is left out"))
                continue
            room -= size
            types[f"/{entry}/"] = None
            continue
        types |= dict.fromkeys(found)
        matched = f"it matched no more than {' and '.join(found)} there, and so it does here"
        if not found:
            matched = "it matched no event there; it is left out"
        for trap in reading.repeated:
            matched = f"there '{trap}*' is any number of '{trap}', whatever its documentation says: {matched}"
        if reading.repeated or not found:
            notes.append((entry, matched))
    return EventTypes(list(types), notes)


class _Reading:
    """One expression, read from the left."""

    def __init__(self, text: str) -> None:
        self._left = self._tokens(text.removeprefix("^").removesuffix("$"))
        #: Characters that are repeated, where somebody may have meant any characters.
        self.repeated: list[str] = []

    def all(self) -> list[str]:
        """The globs that it stands for. Raises: `_Beyond`."""
        found = self._choice()
        if self._left:
            raise _Beyond("a ) too many")
        return [one for one in dict.fromkeys(found) if one and not _NEVER.fullmatch(one)]

    @staticmethod
    def _tokens(text: str) -> list[str]:
        tokens, place = [], 0
        while place < len(text):
            read = _TOKEN.match(text, place)
            if read is None:
                raise _Beyond(f"{text[place : place + 2]!r}")
            tokens.append(read[0])
            place = read.end()
        return tokens

    def _choice(self) -> list[str]:
        found = self._sequence()
        while self._left[:1] == ["|"]:
            self._left.pop(0)
            found += self._sequence()
        return found

    def _sequence(self) -> list[str]:
        found = [""]
        while self._left and self._left[0] not in ("|", ")"):
            token = self._left.pop(0)
            if token in ("(", "(?:"):
                parts = self._choice()
                if self._left[:1] != [")"]:
                    raise _Beyond("a ( that does not end")
                self._left.pop(0)
            else:
                parts = [token.removeprefix("\\")]
            parts = self._times(token, parts, found)
            found = [one + part for one in found for part in parts]
            if len(found) > _MOST:
                raise _Beyond(f"more than {_MOST} choices")
        return found

    def _times(self, token: str, parts: list[str], before: list[str]) -> list[str]:
        """What a part stands for, as often as what follows it says."""
        times = self._left.pop(0) if self._left[:1] and self._left[0] in ("?", "*", "+") else ""
        if times in ("*", "+") and self._left[:1] == ["?"]:
            self._left.pop(0)  # as few as possible: of a whole type, that is the same
        if token == ".":
            if times == "*" or (times == "+" and all(not one or one.endswith(_BETWEEN) for one in before)):
                return ["*"]
            # Any character: in the only place where one stands, that is the dot.
            if not times and all(one in ("access", "admin", "system", "*") for one in before):
                return ["."]
            raise _Beyond(f"'.{times}' in this place")
        if times == "?":
            return ["", *parts]
        if times and len(token.removeprefix("\\")) == 1 and token != "(":
            if times == "*":
                self.repeated.append(parts[0])
                return ["", *parts]
            return parts
        if times:
            raise _Beyond(f"a group that is repeated ({times})")
        return parts
