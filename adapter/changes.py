"""What an admin event changed: what it says of a thing, held against what earlier events said of it, field by field.

An update often says a part of the thing alone. So what a field was before is what the latest earlier event said that
names it, and a field that the event leaves out may be as it was: nobody says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Literal, NamedTuple

from adapter.known_secrets import REDACTED
from adapter.mapping.exact import NotJson, parse_json, write_json_sorted
from adapter.mapping.paths import escaped_key, scalar_text

#: Characters of a representation that is compared, and levels of objects and lists in it.
SIZE, DEPTH = 1 << 20, 64
#: Differences that are listed; all are counted.
LISTED = 1_000
#: By which an element of a list is known, the first that all of them have.
_IDENTITIES = ("id", "name", "alias")
#: What providers put in the place of a secret.
_MASKED = re.compile(r"\*{3,}")
#: Characters of a name in a path; a longer one is cut.
_NAME = 200
#: How details are called that say what another one was before, and how that may be called.
_PREVIOUS, _UPDATED = "previous_", "updated_"


class Change(StrEnum):
    """What became of a field."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    #: The event says it; what it was before, no event says.
    STATED = "stated"
    #: One of the values was redacted.
    HIDDEN = "hidden"
    #: An earlier event says it, and this one leaves it out.
    NOT_STATED = "not_stated"


class _Nothing(Enum):
    NOTHING = "nothing"


#: In the place of a value that is not there; null is a value.
NOTHING: Literal[_Nothing.NOTHING] = _Nothing.NOTHING


class Difference(NamedTuple):
    """What became of one field."""

    #: As tables write it (`adapter.mapping.paths`); empty: all of the representation.
    path: str
    change: Change
    old: Any = NOTHING
    new: Any = NOTHING
    #: Which of the earlier representations said the old value, from 0, the latest.
    said_by: int | None = None


@dataclass(slots=True)
class Comparison:
    """The differences, those that were left out last, and how many fields there are of each."""

    differences: list[Difference] = field(default_factory=list)
    counts: Counter[Change] = field(default_factory=Counter)
    unchanged: int = 0

    @property
    def is_partial(self) -> bool:
        """Whether there are more differences than are listed."""
        return len(self.differences) < self.counts.total()


class Unread(ValueError):
    """A representation cannot be compared; the message says why."""


class Said(NamedTuple):
    """A representation, read."""

    value: Any
    #: Whether it was JSON. All else is one text.
    is_json: bool


def read_representation(text: str) -> Said:
    """The value of a representation: JSON, JSON in a text of JSON, or the text itself.

    Raises:
        Unread: it is too long, or too deep.
    """
    if len(text) > SIZE:
        raise Unread(f"it has {len(text)} characters; {SIZE} are compared at most")
    try:
        value = parse_json(text)
        if isinstance(value, str) and value[:1] in ("{", "["):
            value = parse_json(value)
    except NotJson:
        return Said(text, is_json=False)
    if _depth_is_over(value, DEPTH):
        raise Unread(f"it is nested deeper than {DEPTH} levels")
    return Said(value, is_json=True)


def _depth_is_over(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def compare(operation: str | None, new: Any, earlier: Sequence[Any]) -> Comparison:
    """The differences that an event makes. ``operation``: CREATE, UPDATE, DELETE, or another one, before which nothing
    was; ``new``: its representation, `NOTHING` if it says none; ``earlier``: those before it, the latest first."""
    if operation == "CREATE":
        return _listed(_only(Change.ADDED, "", new))
    if operation == "DELETE":
        # What it says itself is gone with the rest.
        known = _known(earlier)
        return _listed(_removed("", known if new is NOTHING else _overlaid(known, new, None)))
    if operation == "UPDATE" and new is not NOTHING:
        return _listed(_compared("", _known(earlier), new))
    return _listed(_only(Change.STATED, "", new))


def compare_details(details: Mapping[str, str]) -> Comparison:
    """The differences that the details of an event say: ``previous_email`` is what ``updated_email``, or
    ``email``, was."""
    return _listed(_previous(details))


def _previous(details: Mapping[str, str]) -> Iterator[_Found]:
    for name, old in details.items():
        if not name.startswith(_PREVIOUS):
            continue
        of = name.removeprefix(_PREVIOUS)
        new = details.get(f"{_UPDATED}{of}", details.get(of))
        if new is not None:
            yield from _compared(f"details.{escaped_key(of)}", _Leaf(old, None), new)


# What is known of the thing


@dataclass(slots=True)
class _Leaf:
    """Anything but an object, and which of the earlier representations said it; ``None``: the event itself."""

    value: Any
    said_by: int | None


#: What is known of a value: of an object of its members, each from whichever said it last.
_Known = dict[str, Any] | _Leaf | None
#: A difference; ``None``: a field that is as it was.
_Found = Difference | None


def _known(earlier: Sequence[Any]) -> _Known:
    known: _Known = None
    for number, value in reversed([*enumerate(earlier)]):
        known = _overlaid(known, value, number)
    return known


def _overlaid(known: _Known, value: Any, said_by: int | None) -> _Known:
    if not isinstance(value, dict):
        return _Leaf(value, said_by)
    members = known if isinstance(known, dict) else {}
    for name, one in value.items():
        members[name] = _overlaid(members.get(name), one, said_by)
    return members


def _plain(known: _Known) -> Any:
    if isinstance(known, dict):
        return {name: _plain(one) for name, one in known.items()}
    return NOTHING if known is None else known.value


def _latest(known: _Known) -> int | None:
    """Which representation said something of it last."""
    if isinstance(known, dict):
        numbers = [number for one in known.values() if (number := _latest(one)) is not None]
        return min(numbers, default=None)
    return None if known is None else known.said_by


# Comparing


def _compared(path: str, old: _Known, new: Any) -> Iterator[_Found]:
    if isinstance(old, _Leaf) and isinstance(old.value, dict):
        old = _overlaid(None, old.value, old.said_by)
    if old is None or (isinstance(old, _Leaf) and old.value is None):
        if new is None:
            yield None
        else:
            yield from _only(Change.STATED if old is None else Change.ADDED, path, new)
    elif new is None:
        yield from _removed(path, old)
    elif isinstance(old, dict) and isinstance(new, dict):
        for name, value in new.items():
            yield from _compared(_member(path, name), old.get(name), value)
        for name, one in old.items():
            if name not in new:
                yield Difference(_member(path, name), Change.NOT_STATED, _shown(_plain(one)), said_by=_latest(one))
    elif isinstance(old, _Leaf) and isinstance(old.value, list) and isinstance(new, list):
        yield from _lists(path, old.value, new, old.said_by)
    else:
        yield _pair(path, _plain(old), new, _latest(old))


def _lists(path: str, old: list[Any], new: list[Any], said_by: int | None) -> Iterator[_Found]:
    if _same(old, new) and not _is_hidden(new):
        yield None
        return
    if (key := _identity(old, new)) is not None:
        was, now = _by_identity(old, key), _by_identity(new, key)
        for name, element in now.items():
            at = f"{path}[{key}={name}]"
            if name in was:
                yield from _compared(at, _Leaf(was[name], said_by), element)
            else:
                yield from _only(Change.ADDED, at, element)
        for name, element in was.items():
            if name not in now:
                yield from _removed(f"{path}[{key}={name}]", _Leaf(element, said_by))
        if was.keys() == now.keys() and [*was] != [*now]:
            # In another order, which may mean something.
            yield Difference(path, Change.CHANGED, [*was], [*now], said_by)
    elif _are_set(old) and _are_set(new) and not len(old) == len(new) == 1:
        were, are = ({_scalar_key(one): one for one in some} for some in (old, new))
        if were.keys() == are.keys():
            yield _pair(path, old, new, said_by)
            return
        for scalar, element in are.items():
            yield None if scalar in were else _one(path, Change.ADDED, new=element)
        for scalar, element in were.items():
            if scalar not in are:
                yield _one(path, Change.REMOVED, old=element, said_by=said_by)
    else:
        yield _pair(path, old, new, said_by)


def _pair(path: str, old: Any, new: Any, said_by: int | None) -> _Found:
    """Two values, both of which are there."""
    if _is_hidden(old) or _is_hidden(new):
        return Difference(path, Change.HIDDEN, said_by=said_by)
    return None if _same(old, new) else Difference(path, Change.CHANGED, old, new, said_by)


def _only(change: Change, path: str, new: Any) -> Iterator[_Found]:
    """What was not there, or is not known, before: each field of it."""
    if new is NOTHING:
        return
    for at, value in _fields(path, new):
        yield None if value is None else _one(at, change, new=value)


def _removed(path: str, old: _Known) -> Iterator[_Found]:
    if isinstance(old, dict):
        for name, one in old.items():
            yield from _removed(_member(path, name), one)
    elif old is not None:
        for at, value in _fields(path, old.value):
            yield None if value is None else _one(at, Change.REMOVED, old=value, said_by=old.said_by)


def _one(
    path: str, change: Change, *, old: Any = NOTHING, new: Any = NOTHING, said_by: int | None = None
) -> Difference:
    """A value that is there on one side alone. That a redacted one was removed is no secret."""
    if change is not Change.REMOVED and _is_hidden(new):
        return Difference(path, Change.HIDDEN)
    return Difference(path, change, _shown(old), new, said_by)


def _fields(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a value: members of objects, elements of lists that have an identity, and all else as it is."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from _fields(_member(path, name), one)
    elif isinstance(value, list) and (key := _identity(value)) is not None:
        for name, one in _by_identity(value, key).items():
            yield from _fields(f"{path}[{key}={name}]", one)
    else:
        yield path, value


def _listed(found: Iterator[_Found]) -> Comparison:
    made = Comparison()
    left_out: list[Difference] = []
    for one in found:
        if one is None:
            made.unchanged += 1
            continue
        made.counts[one.change] += 1
        some = left_out if one.change is Change.NOT_STATED else made.differences
        if len(some) < LISTED:
            some.append(one)
    made.differences += left_out[: LISTED - len(made.differences)]
    return made


# Values


def _member(path: str, name: str) -> str:
    name = name if len(name) <= _NAME else f"{name[:_NAME]}…"
    return f"{path}.{escaped_key(name)}" if path else escaped_key(name)


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, (dict, list))


def _scalar_key(value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value


def _are_set(values: list[Any]) -> bool:
    """Whether these are texts and numbers, each once."""
    return all(map(_is_scalar, values)) and len({_scalar_key(one) for one in values}) == len(values)


def _identity(*lists: list[Any]) -> str | None:
    """By which member the elements of each of some lists are known; ``None``: by none, or there are no elements."""
    if not any(lists):
        return None
    for key in _IDENTITIES:
        names = [[_name(one.get(key)) if isinstance(one, dict) else None for one in some] for some in lists]
        if all(None not in some and len(set(some)) == len(some) for some in names):
            return key
    return None


def _by_identity(elements: list[Any], key: str) -> dict[str, Any]:
    return {str(_name(one[key])): one for one in elements}


def _name(value: Any) -> str | None:
    """An identity as a path has it; ``None``: it cannot be one."""
    text = None if isinstance(value, bool) else scalar_text(value)
    return None if not text or "]" in text or len(text) > _NAME else text


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal; true is not 1."""
    if _is_scalar(one) and _is_scalar(other):
        return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
    return write_json_sorted(one) == write_json_sorted(other)


def _is_hidden(value: Any) -> bool:
    """Whether a part of a value was redacted here, or the value masked by its provider."""
    if isinstance(value, str):
        return REDACTED in value or _MASKED.fullmatch(value) is not None
    if isinstance(value, dict):
        return any(map(_is_hidden, value)) or any(map(_is_hidden, value.values()))
    return isinstance(value, list) and any(map(_is_hidden, value))


def _shown(value: Any) -> Any:
    """A value, unless a part of it was redacted."""
    return NOTHING if value is not NOTHING and _is_hidden(value) else value
