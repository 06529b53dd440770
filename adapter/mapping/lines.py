"""The forms that the lines of one media type have, and the lines that surely hold no event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from adapter.mapping.keyvalue import parse_keyvalue, write_keyvalue
from adapter.mapping.language import Framing, LinePattern, PassedOver
from adapter.mapping.logfmt import parse_logfmt, write_logfmt
from adapter.mapping.pattern import LINE_GROUPS_LIMIT, compile_pattern

#: The values in a line, by name.
Values = dict[str, str]


class Form(Protocol):
    """How an event is written in a line."""

    def read(self, line: str) -> tuple[int, Values | None] | None:
        """Where the event begins, and its values; no values: from there on it is JSON. ``None``: there is none."""
        ...

    def without(self, line: str, start: int, values: Values) -> tuple[str, Values]:
        """The line with other values in the place of those that were read from it, and its values then."""
        ...


class Lines:
    """What a table says of the lines of one media type."""

    def __init__(self, framings: Sequence[Framing]) -> None:
        self._forms = [_form(one) for one in framings if one.lines is not None]
        self._passed = [(name, _meant(which)) for one in framings for name, which in one.ignore.items()]
        #: Whether one of the forms is none of JSON.
        self.has_values = not all(isinstance(one, _Json) for one in self._forms)

    def find(self, line: str) -> tuple[Form, int, Values | None] | None:
        """The form of the event in a line, where it begins, and its values, if it is not JSON; ``None`` if nothing is
        found."""
        for form in self._forms:
            found = form.read(line)
            if found is not None:
                return form, *found
        return None

    def passed_over(self, line: str) -> str | None:
        """What the table calls a line that it passes over; ``None``: it does not know it."""
        return next((name for name, meant in self._passed if meant(line)), None)


class _Json:
    """JSON from some place on."""

    def __init__(self, find: str | None) -> None:
        self._begins = _finder(find)

    def read(self, line: str) -> tuple[int, Values | None] | None:
        start = self._begins(line)
        return None if start is None else (start, None)

    def without(self, line: str, start: int, values: Values) -> tuple[str, Values]:
        raise AssertionError("JSON is cleaned as JSON")


class _KeyValue:
    """Pairs with commas between them."""

    def __init__(self, find: str | None) -> None:
        self._begins = _finder(find)

    def read(self, line: str) -> tuple[int, Values | None] | None:
        start = self._begins(line)
        return None if start is None else (start, parse_keyvalue(line[start:]))

    def without(self, line: str, start: int, values: Values) -> tuple[str, Values]:
        return line[:start] + write_keyvalue(values), values


class _Logfmt:
    """Pairs with blanks between them; a line without any holds no event."""

    def __init__(self, find: str | None) -> None:
        self._begins = _finder(find)

    def read(self, line: str) -> tuple[int, Values | None] | None:
        start = self._begins(line)
        values = None if start is None else parse_logfmt(line[start:])
        return (start, values) if start is not None and values else None

    def without(self, line: str, start: int, values: Values) -> tuple[str, Values]:
        return line[:start] + write_logfmt(values), values


class _Patterns:
    """Whatever one of some patterns matches; the names of its groups are those of the values."""

    def __init__(self, patterns: Sequence[str]) -> None:
        compiled = [compile_pattern(one, groups=LINE_GROUPS_LIMIT) for one in patterns]
        self._patterns = [(one.search, one.names) for one in compiled]

    def read(self, line: str) -> tuple[int, Values | None] | None:
        for search, names in self._patterns:
            found: Any = search(line)
            if found is not None:
                groups = found.groups()
                # A group that took no part, or found nothing, gives no value.
                return 0, {name: groups[at] for name, at in names if groups[at]}
        return None

    def without(self, line: str, start: int, values: Values) -> tuple[str, Values]:
        for search, names in self._patterns:
            found: Any = search(line)
            if found is not None:
                spans = {name: found.span(at + 1) for name, at in names if found.group(at + 1)}
                changed = [
                    _Part(begin, end, values[name])
                    for name, (begin, end) in spans.items()
                    if values[name] != line[begin:end]
                ]
                # What lies in a value that changed was part of it; what such a value lies in has changed, too.
                outside = {
                    name: _replaced(line, begin, end, changed)
                    for name, (begin, end) in spans.items()
                    if not any(one.begin <= begin and end <= one.end for one in changed)
                }
                known = {name: values[name] for name in spans if values[name] != line[slice(*spans[name])]}
                return _replaced(line, 0, len(line), changed), {**outside, **known}
        return line, values


class _Part(NamedTuple):
    """A part of a line, and what is to stand in its place."""

    begin: int
    end: int
    text: str


def _replaced(line: str, begin: int, end: int, parts: Sequence[_Part]) -> str:
    """A stretch of a line with other texts in some places; of two that lie in each other the outer one counts."""
    told = []
    for part in sorted(parts, key=lambda part: (part.begin, -part.end)):
        if begin <= part.begin and part.end <= end:
            told += [line[begin : part.begin], part.text]
            begin = part.end
    return "".join([*told, line[begin:end]])


def _form(framing: Framing) -> Form:
    match framing.lines:
        case "keyvalue":
            return _KeyValue(framing.find)
        case "logfmt":
            return _Logfmt(framing.find)
        case LinePattern():
            return _Patterns([framing.lines.pattern])
        case list():
            return _Patterns([one.pattern for one in framing.lines])
        case _:
            return _Json(framing.find)


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
