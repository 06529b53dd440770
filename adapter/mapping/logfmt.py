r"""Lines of ``key=value`` pairs with blanks between them, as loggers of Go and others write them (logfmt).

A value is a word, or stands in double quotes with the escapes of JSON and Go in it (``\"``, ``\n``, ``\u00e9``,
``\x1b``). Words that are no pair are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: A pair begins behind a blank. Possessive, so that no character is looked at twice for one pair; a quote that is never
#: closed, as in a line that was cut off, ends with the line.
_PAIR = re.compile(
    r'(?<![^\x00-\x20])([^\x00-\x20="]++)=(?:"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)|([^\x00-\x20]*+))', re.DOTALL
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
#: Needs no quotes.
_WORD = re.compile(r'[^\x00-\x20="\\\x7f]+')
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_logfmt(text: str) -> dict[str, str]:
    """The pairs of a line, in linear time; what is no pair is left out. The first of equal keys wins."""
    pairs: dict[str, str] = {}
    for key, quoted, word in _PAIR.findall(text):
        if key not in pairs:
            pairs[key] = word or (_unescaped(quoted) if "\\" in quoted else quoted)
    return pairs


def write_logfmt(pairs: Mapping[str, str]) -> str:
    """The line that `parse_logfmt` reads these pairs from; keys are words without ``=`` and quotes."""
    return " ".join(f"{key}={value if _WORD.fullmatch(value) else _quoted(value)}" for key, value in pairs.items())


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(_letter, text)
    if _SURROGATE.search(plain):
        # Two escapes of JSON may be one character; half of one is none.
        plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def _letter(escape: re.Match[str]) -> str:
    if escape.lastindex == 4:
        return _LETTERS.get(escape[4], escape[4])
    number = int(escape[escape.lastindex or 0], 16)
    return chr(number) if number < 0x110000 else escape[0]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
