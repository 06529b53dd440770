"""The forms that the lines of one media type have, and the lines that surely hold no event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from adapter.mapping.language import Framing, PassedOver
from adapter.mapping.pattern import compile_pattern

Form = Literal["keyvalue", "json"]


class Lines:
    """What a table says of the lines of one media type."""

    def __init__(self, framings: Sequence[Framing]) -> None:
        self._forms: list[tuple[Form, Callable[[str], int | None]]] = [
            (one.lines, _finder(one.find)) for one in framings if one.lines is not None
        ]
        self._passed = [(name, _meant(which)) for one in framings for name, which in one.ignore.items()]
        #: Whether one of the forms is pairs.
        self.has_pairs = any(form == "keyvalue" for form, _ in self._forms)

    def find(self, line: str) -> tuple[Form, int] | None:
        """The form of the event in a line, and where it begins; ``None`` if nothing is found."""
        for form, find in self._forms:
            start = find(line)
            if start is not None:
                return form, start
        return None

    def passed_over(self, line: str) -> str | None:
        """What the table calls a line that it passes over; ``None``: it does not know it."""
        return next((name for name, meant in self._passed if meant(line)), None)


def _finder(find: str | None) -> Callable[[str], int | None]:
    """Where in a line an event begins."""
    if find is None:
        return lambda line: 0
    search = (pattern := compile_pattern(find)).search
    group = 1 if pattern.groups else 0

    def begins(line: str) -> int | None:
        found: Any = search(line)
        # A group that took no part in the match begins nowhere.
        return None if found is None else max(found.start(group), found.start())

    return begins


def _meant(which: str | PassedOver) -> Callable[[str], bool]:
    """Whether a line is one of those that are passed over."""
    if isinstance(which, str):
        search = compile_pattern(which).search
        return lambda line: search(line) is not None
    search = (pattern := compile_pattern(which.capture)).search
    group, others = 1 if pattern.groups else 0, frozenset(which.not_)

    def meant(line: str) -> bool:
        found: Any = search(line)
        told = None if found is None else found.group(group)
        return told is not None and told not in others

    return meant
