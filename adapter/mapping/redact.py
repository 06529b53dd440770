"""Secrets are taken out of a raw event before anything of it is stored."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from adapter.known_secrets import REDACTED
from adapter.mapping.exact import parse_json, write_json
from adapter.mapping.keyvalue import parse_keyvalue, write_keyvalue
from adapter.mapping.language import ANY, Redaction
from adapter.mapping.paths import Key, Step, follow, parse_path, take
from adapter.mapping.secret_names import Harmless

#: Characters that one call of a pattern looks at.
_WINDOW = 4096
#: What may follow the beginning by which a name is given.
_REST_LENGTH = 200
_REST = rf"[\w.-]{{0,{_REST_LENGTH}}}+"


class Redactor:
    """The redactions of one table."""

    def __init__(self, redactions: Sequence[Redaction], encoded: Sequence[str] = ()) -> None:
        """``encoded``: paths of texts that hold JSON in base64, in which a cut-off event is not looked into."""
        self._rules = [(parse_path(one.in_), _Keys(one.keys) if one.keys else None) for one in redactions]
        #: An event without any of these keys, as most are, holds nothing to look at.
        self._first = frozenset([steps[0].name for steps, _ in self._rules if isinstance(steps[0], Key)])
        names = [*_secret_names(redactions), *(_last_name(parse_path(path)) for path in encoded)]
        self._named = _Named(names)
        self._names = _Keys(names)

    def redact(self, event: dict[str, Any]) -> bool:
        """Replace what is secret in a parsed event, in place; whether there was anything."""
        if self._first.isdisjoint(event):
            return False
        changed = False
        for steps, keys in self._rules:
            owner: Any = event
            for step in steps[:-1]:
                owner = take(owner, step)
            part = take(owner, steps[-1])
            if part in (None, REDACTED):
                continue
            try:
                cleaned = REDACTED if keys is None else _cleaned(part, keys, ())
            except (RecursionError, ValueError):
                cleaned = REDACTED  # too deep to be looked into
            if cleaned is not part:
                _put(owner, steps[-1], cleaned)
                changed = True
        return changed

    def hides(self, name: str) -> bool:
        """Whether what stands under this name is secret, wherever that is."""
        return self._names.secret(name, ())

    def redact_text(self, text: str) -> str:
        """The text of an event that cannot be parsed, without what follows a secret's name, as JSON, JSON in a text, or
        pairs. Where an object or a list follows, it cannot be told where that ends: the rest of the text goes."""
        parts: list[str] = []
        at = 0
        while (found := self._named.search(text, at)) is not None:
            parts += [text[at : found.end()], REDACTED]
            at = _end_of_value(text, found.end())
        parts.append(text[at:])
        return "".join(parts)


def _secret_names(redactions: Sequence[Redaction]) -> Iterator[str]:
    """The names whose values are secret, wherever they stand."""
    for one in redactions:
        for key in one.keys:
            yield from {key} if ANY in key else {key, key.rpartition(".")[2]}
        if not one.keys:
            yield _last_name(parse_path(one.in_))


def _last_name(steps: Sequence[Step]) -> str:
    return next(step.name for step in reversed(steps) if isinstance(step, Key))


class _Named:
    """Finds where a value of some names begins: a name in quotes and a colon, or a name and an equals sign."""

    def __init__(self, names: Sequence[str]) -> None:
        whole = [name for name in names if ANY not in name]
        begun = [name.removesuffix(ANY) for name in names if name.endswith(ANY)]
        ended = [name.removeprefix(ANY) for name in names if name.startswith(ANY)]
        known = [*([_either(whole)] if whole else []), *([rf"{_either(begun)}{_REST}"] if begun else [])]
        quoted = [rf"""["']{one}""" for one in known]
        plain = [rf"\b{one}" for one in known]
        # Of a name that only ends so, the quote before it may be anywhere.
        ends = [_either(ended)] if ended else []
        some, bare = "|".join([*quoted, *ends]), "|".join([*plain, *ends])
        self._value = re.compile(rf"""(?:{some})\\*+["']\s*+[:=]\s*+|(?:{bare})=""", re.IGNORECASE)
        #: The beginning of all that the pattern finds, and how long it may be.
        self._beginning = re.compile(rf"""(?:{some})[\\"']|(?:{bare})=""", re.IGNORECASE)
        self._longest = max(map(len, names), default=0) + (_REST_LENGTH if begun else 0) + 2

    def search(self, text: str, at: int) -> re.Match[str] | None:
        """The first one from a place on. Each call of a pattern looks at little, so that other threads get on."""
        while at < len(text):
            found = self._beginning.search(text, at, at + _WINDOW + self._longest)
            if found is None:
                at += _WINDOW
                continue
            whole = self._value.match(text, found.start())
            if whole is not None:
                return whole
            at = found.start() + 1
        return None


def _either(names: Iterable[str]) -> str:
    """A pattern of any of these names, longer ones first."""
    return f"(?:{'|'.join(sorted(map(re.escape, set(names)), key=len, reverse=True))})"


def _end_of_value(text: str, at: int) -> int:
    """Where the value that begins here ends; rather too late than too early."""
    quote = _OPENING_QUOTE.match(text, at)
    if quote is not None:
        # Within texts in texts a quote has backslashes before it; one with more of them is part of the value.
        begin = quote.end()
        while (end := text.find(quote[2], begin)) >= 0:
            before = text[begin:end]
            if len(before) - len(before.rstrip("\\")) <= len(quote[1]):
                return end + 1
            begin = end + 1
        return len(text)
    if text[at : at + 1] in ("{", "["):
        return len(text)
    found = _PLAIN_VALUE.match(text, at)
    return at if found is None else found.end()


_OPENING_QUOTE = re.compile(r"""(\\*+)(["'])""")
_PLAIN_VALUE = re.compile(r"[^\s,;&{}\[\]\"']*+")


def unseen(redactions: Sequence[Redaction], events: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Redactions of whose parts or keys none of the events shows anything, by number, and what is not seen."""
    parts = [
        [part for event in events if (part := follow(event, parse_path(one.in_))) is not None] for one in redactions
    ]
    seen = {named for some in parts for part in some for named in _named(part, ())}
    for number, (one, some) in enumerate(zip(redactions, parts, strict=True)):
        if not some:
            yield number, f"{one.in_}"
            continue
        keys = [key for key in one.keys if not any(_Keys([key]).secret(name, above) for name, above in seen)]
        if keys:
            yield number, ", ".join(keys)


def _named(part: Any, above: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The keys in a part that are looked at, and those above them."""
    if part.__class__ is str:
        try:
            part = parse_json(part)
        except ValueError:
            part = parse_keyvalue(part) if not above and "=" in part else None
    if part.__class__ is list:
        for one in part:
            yield from _named(one, above)
    elif part.__class__ is dict:
        for key, value in part.items():
            yield key.lower(), above
            yield from _named(value, (*above, key.lower()))


class _Keys:
    """Which keys are secret: names, beginnings and ends of names, and names somewhere below others. A dot may also be
    part of a name."""

    def __init__(self, keys: Sequence[str]) -> None:
        lowered = [key.lower() for key in keys]
        self._ends = tuple(key.removeprefix(ANY) for key in lowered if key.startswith(ANY))
        self._begins = tuple(key.removesuffix(ANY) for key in lowered if key.endswith(ANY))
        self._anywhere = {key for key in lowered if ANY not in key}
        self._below = [tuple(key.rpartition(".")[::2]) for key in self._anywhere if "." in key]
        self._names = {*self._anywhere, *(last for _, last in self._below)}
        #: Names that are secret nowhere.
        self.harmless = Harmless(self._may_be_secret)

    def named_in(self, text: str) -> bool:
        """Whether a text has one of the names in quotes in it, in whatever place."""
        plain = text.lower().replace("\\", "")
        return (
            any(f'"{name}"' in plain for name in self._names)
            or any(f'{end}"' in plain for end in self._ends)
            or any(f'"{begin}' in plain for begin in self._begins)
        )

    def _may_be_secret(self, key: str) -> bool:
        """Whether a key is secret somewhere."""
        name = key.lower()
        return name in self._names or name.endswith(self._ends) or name.startswith(self._begins)

    def secret(self, key: str, above: tuple[str, ...]) -> bool:
        name = key.lower()
        return (
            name in self._anywhere
            or name.endswith(self._ends)
            or name.startswith(self._begins)
            or (above != () and any(name == last and owner in above for owner, last in self._below))
        )


def _cleaned(part: Any, keys: _Keys, above: tuple[str, ...]) -> Any:
    """The part without its secrets; the part itself if it has none."""
    kind = part.__class__
    if kind is dict:
        return _cleaned_object(part, keys, above)
    if kind is str:
        # Most texts begin as no JSON does.
        return part if part[:1] in _PLAIN and (above or "=" not in part) else _cleaned_text(part, keys, above)
    if kind is list:
        elements = [_cleaned(one, keys, above) for one in part]
        return part if all(a is b for a, b in zip(elements, part, strict=True)) else elements
    return part


def _cleaned_object(part: dict[str, Any], keys: _Keys, above: tuple[str, ...]) -> dict[str, Any]:
    is_harmless = keys.harmless.has(part)
    changes = {}
    for key, value in part.items():
        kind = value.__class__
        if not is_harmless and value not in (None, "", REDACTED) and keys.secret(key, above):
            changes[key] = REDACTED
        elif kind is str:
            # Below a key, only what may be JSON is looked into.
            if value[:1] not in _PLAIN:
                cleaned = _cleaned_text(value, keys, (*above, key.lower()))
                if cleaned is not value:
                    changes[key] = cleaned
        elif kind is dict or kind is list:
            cleaned = _cleaned(value, keys, (*above, key.lower()))
            if cleaned is not value:
                changes[key] = cleaned
    return {**part, **changes} if changes else part


#: Beginnings of texts that are no JSON which could hold a key, and without blanks before it; or of an empty one.
_PLAIN = frozenset(("", *string.ascii_letters, *string.digits, "/", "-", "."))


def _cleaned_text(part: str, keys: _Keys, above: tuple[str, ...]) -> Any:
    """The same of a text, which may be JSON, or pairs."""
    first = part.lstrip()[:1]
    if first in ("{", "[", '"'):
        try:
            inner = parse_json(part)
        except ValueError:
            if first != '"':
                # What cannot be read, such as what was cut off, cannot be looked into.
                return REDACTED if keys.named_in(part) else part
        else:
            cleaned = _cleaned(inner, keys, above)
            return part if cleaned is inner else write_json(cleaned).decode()
    if above or "=" not in part:
        return part
    pairs = parse_keyvalue(part)
    cleaned = _cleaned(pairs, keys, above)
    return part if cleaned is pairs else write_keyvalue(cleaned)


def _put(owner: Any, step: Step, value: Any) -> None:
    for key, one in owner.items() if isinstance(owner, dict) else enumerate(owner):
        if one is take(owner, step):
            owner[key] = value
            return
