"""Where values begin and end in a body, without parsing them: elements of a list, objects one after another, lines.

Everything here is lazy and linear in the bytes, whatever they are: nothing is looked at before it is asked for, and no
byte is looked at more than a few times. Each generator gives slices of the body and, after some work without one,
a pause: the caller may let others have a turn. Only brackets and quotes are matched; whether a slice is JSON is for
whoever parses it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from enum import Enum, IntEnum

import msgspec

#: Bytes that one call of a pattern looks at.
WINDOW = 1 << 14
#: Commas of a list up to which its elements are found in one native call: an element takes some 70 bytes meanwhile.
NATIVE_COMMAS = 500_000

#: What needs no look at its brackets: texts that end here, containers without texts and containers, all else.
_SKIPPED = rb'"(?:[^"\\]++|\\.)*+"|\[[^"\[\]{}]*+\]|\{[^"\[\]{}]*+\}'
#: Brackets in runs (single ones and commas where elements end), and a quote whose text does not end here.
_INSIDE = re.compile(rb"(?:" + _SKIPPED + rb'|[^"\[\]{}]++)++|([\[{]++)|([\]}]++)|(")', re.DOTALL)
_ELEMENT = re.compile(rb"(?:" + _SKIPPED + rb'|[^"\[\]{},]++)++|([\[{])|([\]},])|(")', re.DOTALL)
_OPENED, _CLOSED, _CUT = 1, 2, 3
_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_VISIBLE = re.compile(rb"[^ \t\r\n]")
_NOT_BLANK = re.compile(rb"\S")


class Pause(Enum):
    """A good moment for the caller to let others have a turn."""

    #: Much was looked at since the last one.
    TURN = "turn"
    #: What comes next is long, and is read without a pause.
    LONG = "long"


class Mark(IntEnum):
    """Bytes that divide JSON."""

    QUOTE = 0x22
    COMMA = 0x2C
    LIST = 0x5B
    BACKSLASH = 0x5C
    LIST_END = 0x5D
    OBJECT = 0x7B


#: A scan that gives way now and then, and in the end gives a place.
_Scan = Generator[Pause, None, int]


class Unbalanced(ValueError):
    """The bytes are not JSON: brackets, quotes or commas do not fit each other; says at which byte."""


def list_elements(body: bytes) -> Iterator[bytes | Pause]:
    """The slices of the elements of a JSON list, whose brackets the body begins and ends with.

    Raises, while slices are taken:
        Unbalanced: it is not closed, an element is missing, or something follows it.
    """
    if body.count(b",") <= NATIVE_COMMAS:
        try:
            return map(bytes, msgspec.json.decode(body, type=list[msgspec.Raw]))
        except (msgspec.DecodeError, RecursionError):
            pass  # not valid, or too deep for it
    return _list_elements(body)


def _list_elements(body: bytes) -> Iterator[bytes | Pause]:
    at = begin = 1
    first = True
    while True:
        at = yield from _end_of_element(body, at)
        element = body[begin:at].strip()
        closed = body[at] != Mark.COMMA
        if element:
            yield element
        elif not (closed and first):
            raise Unbalanced(f"an element is missing at byte {at}")
        at = begin = at + 1
        first = False
        if closed:
            if (yield from next_visible(body, at)) is not None:
                raise Unbalanced(f"something follows the list, at byte {at}")
            return


def objects(body: bytes) -> Iterator[bytes | Pause]:
    """The slices of JSON objects one after another, with or without blanks between them.

    Raises:
        Unbalanced: one is not closed, or something else stands between them.
    """
    at = 0
    while (begin := (yield from next_visible(body, at))) is not None:
        if body[begin] != Mark.OBJECT:
            raise Unbalanced(f"expected an object at byte {begin}")
        at = yield from _after_closing(body, begin + 1)
        yield body[begin:at]


def lines(body: bytes) -> Iterator[bytes | Pause]:
    """The slices of the lines that are not blank, without the blanks around them."""
    at, size = 0, len(body)
    while at < size:
        found = _NOT_BLANK.search(body, at, at + WINDOW)
        if found is None:
            at += WINDOW
            yield Pause.TURN
            continue
        end = body.find(b"\n", found.start())
        at = size if end < 0 else end
        yield body[found.start() : at].rstrip()


def next_visible(body: bytes, at: int = 0) -> Generator[Pause, None, int | None]:
    """The place of the next byte that is not blank; ``None`` at the end."""
    size = len(body)
    while at < size:
        found = _VISIBLE.search(body, at, at + WINDOW)
        if found is not None:
            return found.start()
        at += WINDOW
        yield Pause.TURN
    return None


def is_balanced(body: bytes) -> bool:
    """Whether it is one value whose brackets and quotes fit each other: all that can be said of JSON too deep to
    parse."""
    scan = list_elements(body.strip()) if body.lstrip().startswith(b"[") else objects(body)
    try:
        return sum(one.__class__ is bytes for one in scan) > 0
    except Unbalanced:
        return False


def _end_of_element(body: bytes, at: int) -> _Scan:
    """The place of the comma or closing bracket that ends an element of a list, from within it."""
    size, pause = len(body), at + WINDOW
    while at < size:
        window = min(size, at + WINDOW)
        for found in _ELEMENT.finditer(body, at, window):
            kind = found.lastindex
            if kind is None:
                continue
            if kind == _CLOSED:
                if body[found.start()] not in (Mark.COMMA, Mark.LIST_END):
                    raise Unbalanced(f"a bracket that nothing opened at byte {found.start()}")
                return found.start()
            after = _after_closing if kind == _OPENED else _after_text
            at = yield from after(body, found.end())
            break
        else:
            at = window
        if at >= pause:
            pause = at + WINDOW
            yield Pause.TURN
    raise Unbalanced("it ends in the middle of a list")


def _after_closing(body: bytes, at: int) -> _Scan:
    """The place after the bracket that closes the container whose inside begins here."""
    size, depth, pause = len(body), 1, at + WINDOW
    while at < size:
        window = min(size, at + WINDOW)
        for found in _INSIDE.finditer(body, at, window):
            kind = found.lastindex
            if kind is None:
                continue
            if kind == _OPENED:
                depth += found.end() - found.start()
            elif kind == _CLOSED:
                closed = found.end() - found.start()
                if closed >= depth:
                    return found.start() + depth
                depth -= closed
            else:
                at = yield from _after_text(body, found.end())
                break
        else:
            at = window
        if at >= pause:
            pause = at + WINDOW
            yield Pause.TURN
    raise Unbalanced("it ends before all brackets are closed")


def _after_text(body: bytes, at: int) -> _Scan:
    """The place after the quote that ends the text whose inside begins here."""
    size = len(body)
    while at < size:
        window = min(size, at + WINDOW)
        found = _TEXT.match(body, at, window)
        assert found is not None
        at = found.end()
        if at < size:
            if body[at] == Mark.QUOTE:
                return at + 1
            if body[at] == Mark.BACKSLASH:
                at += 2  # its other half is in the next window
        yield Pause.TURN
    raise Unbalanced("it ends in the middle of a text")
