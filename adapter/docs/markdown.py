"""Markdown from values: cells, tables, and the types of fields in words."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns in which no row says anything are left out. Cells are Markdown."""
    filled = list(rows)
    columns = [number for number in range(len(header)) if any(row[number] for row in filled)]
    lines = [[header[number] for number in columns], ["---"] * len(columns)]
    lines += [[row[number].replace("|", "\\|").replace("\n", " ") for number in columns] for row in filled]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: object) -> str:
    """Text as it is written in a file."""
    return f"`{text}`" if str(text) else ""


def plain(text: str) -> str:
    """Text from elsewhere, in which nothing is markup."""
    for mark in "<*_":
        text = text.replace(mark, f"\\{mark}")
    return text


def sentence(text: str) -> str:
    """Text with a full stop."""
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def either(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def type_words(hint: Any, known: Mapping[Any, str]) -> str:
    """What a field takes, in words; ``known`` has the words of the types that the caller gives a name."""
    try:
        if hint in known:
            return known[hint]
    except TypeError:  # some annotations hold lists and cannot be looked up
        pass
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_words(arguments[0], known)
    if origin is Literal:
        return either(code(one) for one in arguments)
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(type_words(one, known) for one in arguments if one is not type(None))
        return either(words)
    if origin in (list, tuple, frozenset):
        return f"list: {type_words(arguments[0], known)}"
    if origin is dict:
        return f"table: {type_words(arguments[1], known)}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return either(code(one.value) for one in hint)
    raise TypeError(f"no words for the type {hint!r}")
