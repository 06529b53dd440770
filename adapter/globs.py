"""Patterns of types and resources, in which a ``*`` stands for any characters."""

from __future__ import annotations


def glob_matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is of the form ``pattern``, in which ``*`` stands for any characters. Linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return first == text
    *middle, last = rest
    if not text.startswith(first):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return place <= end and text.endswith(last)
