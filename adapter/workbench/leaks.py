"""Secrets that an example's file holds: what its table redacts, what a name calls a secret, what is one by its form.
Examples are committed and shared, so they hold values that say what they are (`hidden-1`, `example`) instead."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from adapter.known_secrets import REDACTED
from adapter.mapping.body import JSON, NotReadable, UnknownMedia
from adapter.mapping.exact import NotJson, parse_json
from adapter.mapping.keyvalue import parse_keyvalue
from adapter.mapping.secret_names import speaks_of_secret
from adapter.mapping.table import Table
from adapter.workbench.examples import Example
from adapter.workbench.secret import FORMS, MADE_UP

#: Shorter ones are words and small numbers.
_LENGTH = 16
#: Bits a character; words have less, and what was drawn by lot has more.
_ENTROPY = 3.0


def leaks(table: Table, example: Example) -> Iterator[tuple[str, str]]:
    """Where an example holds a secret, and how that is known; each once."""
    for place, what, _ in _secrets(table, example):
        yield place, what


def without_secrets(table: Table, example: Example) -> tuple[Any, list[str]]:
    """What an example brings, with its secrets replaced by ``hidden-1`` and so on; and where they were, for people."""
    raw, told = example.raw, []
    for number, (place, what, secret) in enumerate(_secrets(table, example), 1):
        raw = _replaced(raw, secret, f"hidden-{number}")
        told.append(f"{place} {what}")
    return raw, told


def _replaced(value: Any, secret: str, by: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(inner, secret, by) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, secret, by) for inner in value]
    return value.replace(secret, by) if isinstance(value, str) else value


def _secrets(table: Table, example: Example) -> Iterator[tuple[str, str, str]]:
    """Where they stand, how they are known, and they themselves; each once."""
    known: set[str] = set()
    for place, what, secret in [*_redacted(table, example), *_by_form(example.raw, "raw")]:
        if secret not in known:
            known.add(secret)
            yield place, what, secret


def _redacted(table: Table, example: Example) -> Iterator[tuple[str, str, str]]:
    """What the table takes out of an example's events."""
    if not table.mapping.redact:
        return
    try:
        after = table.split(example.body, example.media)
        before = table.split_unredacted(example.body, example.media)
    except (NotReadable, UnknownMedia):
        return
    for one, other in zip(before, after, strict=False):
        if one.raw != other.raw:
            for place, secret in _taken(one.value, other.value, "raw" if example.media == JSON else "its event"):
                yield place, "is redacted by the table, and stands in the file", secret


def _taken(before: Any, after: Any, place: str) -> Iterator[tuple[str, str]]:
    if after == REDACTED:
        for text in _texts(before):
            if _looks_real(text):
                yield place, text
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for key, inner in before.items():
            if not str(key).startswith("@"):
                yield from _taken(inner, after.get(key), f"{place}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from _taken(one, other, f"{place}[{number}]")
    elif isinstance(before, str) and isinstance(after, str) and before != after:
        yield from _taken(_opened(before), _opened(after), place)


def _by_form(value: Any, place: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            where = f"{place}.{key}"
            if isinstance(inner, str) and speaks_of_secret(str(key)) and _looks_real(inner):
                yield where, "is called a secret", inner
            else:
                yield from _by_form(inner, where)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _by_form(inner, f"{place}[{number}]")
    elif isinstance(value, str):
        for what, form in FORMS.items():
            for found in form.finditer(value):
                if not MADE_UP.search(found[1]):
                    yield place, f"holds {what}", found[1]
        inner = _opened(value)
        if inner is not None:
            yield from _by_form(inner, place)


def _opened(text: str) -> Any:
    """What a text holds that is JSON or pairs; ``None`` if it is neither."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return parse_json(text)
        except NotJson:
            return None
    pairs = parse_keyvalue(text) if "=" in text else {}
    return pairs if pairs and text not in pairs.values() else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _looks_real(text: str) -> bool:
    """Whether a value may be a secret of somebody: long, and drawn by lot rather than written."""
    if len(text) < _LENGTH or any(letter.isspace() for letter in text) or MADE_UP.search(text):
        return False
    counts = Counter(text)
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
    kinds = sum((any(map(str.islower, text)), any(map(str.isupper, text)), any(map(str.isdigit, text))))
    return bits >= _ENTROPY and kinds >= 2
