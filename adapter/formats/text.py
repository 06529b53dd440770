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


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\u{ord(character):04x}")
