"""Foreign text made harmless for people's eyes: terminals, logs, spreadsheets."""

from __future__ import annotations

import re

#: Control characters, line and paragraph separators, and the marks and overrides of writing direction.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def harmless(text: str) -> str:
    """The text with everything that moves a cursor, ends a line or turns the direction of writing written out as an
    escape (``\\n``, ``\\u202e``). What is left prints as it reads."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def shortened(text: str, length: int = 300) -> str:
    """The text, or the beginning of a long one and how long it is."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 warning``, ``2 warnings``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def lasting(seconds: float) -> str:
    """A time for people, in its largest fitting unit: ``45 s``, ``90 min``, ``36 h``, ``12 d``."""
    for size, unit, most in ((1, "s", 120), (60, "min", 120), (3600, "h", 72)):
        if seconds < size * most:
            return f"{max(0, int(seconds)) // size} {unit}"
    return f"{int(seconds) // 86_400} d"


def laid_out(text: str) -> str:
    """JSON with a part a line, each word of it as it was: numbers of any length, keys that stand twice."""
    parts: list[str] = []
    depth = 0
    tokens = _TOKEN.findall(text)
    for number, token in enumerate(tokens):
        empty = token in "[{" and tokens[number + 1 : number + 2] == ["]" if token == "[" else "}"]
        if token in "]}":
            depth -= 1
            parts.append(token if tokens[number - 1] in "[{" else _line(depth) + token)
        elif token in "[{":
            depth += 1
            parts.append(token if empty else token + _line(depth))
        elif token == ",":
            parts.append(token + _line(depth))
        else:
            parts.append(": " if token == ":" else token)
    return "".join(parts)


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


def _line(depth: int) -> str:
    return "\n" + "  " * depth


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\u{ord(character):04x}")
