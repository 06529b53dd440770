r"""Paths: where in a raw event something stands.

``actor.id`` follows keys; ``results[0]`` and ``results.0`` take a list element by number; ``target[type=User].id``
takes the first list element whose ``type`` is ``User``; ``\.`` stands for a dot (and ``\[`` for a bracket) in a key.
In a condition ``results[*].id`` stands for the ``id`` of every element.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import chain, islice
from typing import Any


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an object; a decimal one also takes a list element."""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """An element of a list, from 0."""

    number: int


@dataclass(frozen=True, slots=True)
class Where:
    """The first element of a list whose ``key`` has the text ``value``."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Every:
    """Each element of a list, in conditions."""


Step = Key | Index | Where

#: Elements of lists that a condition looks at, nested ones included.
ELEMENTS_LIMIT = 1000

_STEP = re.compile(
    r"(?P<key>(?:\\.|[^.\[\]\\])+)|\[(?P<index>\d+)\]|(?P<every>\[\*\])|\[(?P<where>(?:\\.|[^=\]\\])+)=(?P<value>[^\]]*)\]"
)


@lru_cache(maxsize=4096)
def parse_path(text: str) -> tuple[Step, ...]:
    """Read a path that leads to one value.

    Raises:
        ValueError: it is not such a path; the message says at which character.
    """
    steps = parse_steps(text)
    if any(isinstance(step, Every) for step in steps):
        raise ValueError(f"{text!r}: [*] stands for all elements, which only conditions look at; name one, as [0]")
    return tuple(step for step in steps if not isinstance(step, Every))


@lru_cache(maxsize=4096)
def parse_steps(text: str) -> tuple[Step | Every, ...]:
    """Read a path of a condition, which may lead to many values.

    Raises:
        ValueError: it is not a path; the message says at which character.
    """
    if not text:
        raise ValueError("a path may not be empty")
    if text != text.strip():
        raise ValueError(f"stray blank around the path {text!r}")
    steps: list[Step | Every] = []
    at = 0
    while at < len(text):
        if steps and text[at] == ".":
            at += 1
        elif steps and text[at] != "[":
            raise ValueError(f"not a path: {text!r} at character {at + 1}: expected '.' or '['")
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"not a path: {text!r} at character {at + 1}: expected a key")
        if found["key"] is not None:
            steps.append(Key(_unescape(found["key"])))
        elif found["index"] is not None:
            steps.append(Index(int(found["index"])))
        elif found["every"] is not None:
            steps.append(Every())
        else:
            steps.append(Where(_unescape(found["where"]), found["value"]))
        at = found.end()
    return tuple(steps)


def follow(value: Any, steps: tuple[Step, ...]) -> Any:
    """What stands at a path; ``None`` where the path leaves the value."""
    for step in steps:
        value = take(value, step)
        if value is None:
            return None
    return value


def follow_every(value: Any, steps: Sequence[Step | Every]) -> list[Any]:
    """What stands at a path in each of the first elements of lists, `ELEMENTS_LIMIT` in all; what is no list counts as
    one element."""
    values = [value]
    for step in steps:
        if isinstance(step, Every):
            each = chain.from_iterable(one if one.__class__ is list else [one] for one in values)
            values = list(islice(each, ELEMENTS_LIMIT))
        else:
            values = [found for one in values if (found := take(one, step)) is not None]
    return values


def take(value: Any, step: Step) -> Any:
    """One step of a path; total: a step into something that has no such part gives ``None``."""
    if isinstance(step, Key):
        if value.__class__ is dict:
            return value.get(step.name)
        if value.__class__ is list and step.name.isdecimal():
            return _element(value, int(step.name))
        return None
    if value.__class__ is not list:
        return None
    if isinstance(step, Index):
        return _element(value, step.number)
    for element in value:
        if element.__class__ is dict and scalar_text(element.get(step.key)) == step.value:
            return element
    return None


def plain_keys(text: str | None) -> tuple[str, ...]:
    """The keys of a path that nothing but keys leads along; none for no path.

    Raises:
        ValueError: it has other steps.
    """
    steps = () if text is None else parse_path(text)
    if not all(isinstance(step, Key) for step in steps):
        raise ValueError(f"{text}: only keys lead to the list of events")
    return tuple(step.name for step in steps if isinstance(step, Key))


def escaped_key(key: str) -> str:
    """A key as a step of a path."""
    return key.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[")


def scalar_text(value: Any) -> str | None:
    """A scalar as text, so that ``101`` and ``"101"`` are one; ``None`` for null, objects and lists."""
    if value.__class__ is str:
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value.__class__ is int or value.__class__ is float:
        return repr(value)
    return str(value) if value.__class__ is Decimal else None


def _element(value: list[Any], number: int) -> Any:
    return value[number] if number < len(value) else None


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
