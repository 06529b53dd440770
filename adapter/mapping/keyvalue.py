r"""Lines of ``key="value"`` pairs joined with ``, ``, as Keycloak's logging listener writes them.

Three forms of value occur: ``key="v"``, ``key=value`` and ``key='v v'``. A quote inside a quoted value has a
backslash before it, a backslash itself has none, so a value ends only where ``", key=`` (or the line's end) follows.
Unquoted values may hold ``, `` and ``=``: they end only where something that looks like a next key begins, and those
in brackets, as ``cookies=[a=1, b=2]``, with their bracket.

A line that stands inside a text of JSON has a backslash before each of its own quotes and backslashes, as
``type=\"LOGIN\"``, and ends where that text does: at the first quote without one. Inside JSON inside JSON it has more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapter.mapping.exact import parse_json

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*=")
_NEXT = re.compile(r", (?=[A-Za-z_][A-Za-z0-9_.\-]*=)")
#: A pair as nearly all are: its value has no quote and no backslash. So it needs no second look.
_PLAIN = re.compile(r'([A-Za-z_][A-Za-z0-9_.\-]*)="([^"\\]*)"(?:, (?=[A-Za-z_][A-Za-z0-9_.\-]*=)|\Z)')


def parse_keyvalue(text: str) -> dict[str, str]:
    """The pairs of a line, in linear time; what is no pair is left out. The first of equal keys wins."""
    pairs: dict[str, str] = {}
    at = 0
    for _ in range(_NESTED):
        if _ESCAPED.match(text) is None:
            break
        text = _unescaped(text)
    last_bracket = text.rfind("]")
    while at < len(text):
        plain = _PLAIN.match(text, at)
        if plain is not None:
            pairs.setdefault(plain[1], plain[2])
            at = plain.end()
            continue
        key = _KEY.match(text, at)
        if key is None:
            following = _NEXT.search(text, at)
            if following is None:
                break
            at = following.end()
            continue
        start = key.end()
        quote = text[start : start + 1]
        if quote in ('"', "'"):
            end = _closing(text, start + 1, quote)
            value = text[start + 1 : end].replace("\\" + quote, quote)
            at = end + 1
        elif quote == "[" and start < last_bracket:
            at = text.index("]", start) + 1
            value = text[start:at]
        else:
            following = _NEXT.search(text, start)
            end = len(text) if following is None else following.start()
            value = text[start:end]
            at = end
        pairs.setdefault(key.group()[:-1], value)
        if text.startswith(", ", at):
            at += 2
    return pairs


def write_keyvalue(pairs: Mapping[str, str]) -> str:
    """The line that `parse_keyvalue` reads these pairs from."""
    return ", ".join('{}="{}"'.format(key, value.replace('"', '\\"')) for key, value in pairs.items())


def _unescaped(text: str) -> str:
    """What a text of JSON says, from inside it: up to its end, without its escapes."""
    inside = _INSIDE_TEXT.match(text)
    assert inside is not None
    try:
        return str(parse_json(f'"{inside.group()}"'))
    except ValueError:  # an escape that JSON does not have
        return _ESCAPE.sub(r"\1", inside.group())


def _closing(text: str, start: int, quote: str) -> int:
    """Index of the quote that ends a value: one that the line's end or a next key follows.

    Quotes inside a value are escaped, so nobody can write an unescaped one into it: an escaped quote ends the value
    (which then ends in a backslash) only if the next value begins with a quote that is not escaped.
    """
    for found in _CLOSING[quote].finditer(text, start):
        at = found.start()
        following = found.end(1)
        if following < 0 or text[at - 1] != "\\":
            return at
        if text.startswith(quote, following):
            return at
    last = text.rfind(quote, start)
    return last if last != -1 else len(text)


#: Texts of JSON inside each other that are looked into.
_NESTED = 3
#: The first value has a quote with a backslash before it.
_ESCAPED = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*=\\+\"")
_INSIDE_TEXT = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

#: A quote at the end, or before a next key, which the group ends with.
_CLOSING = {quote: re.compile(rf"{quote}(?:\Z|(?=(, [A-Za-z_][A-Za-z0-9_.\-]*=)))") for quote in "\"'"}
