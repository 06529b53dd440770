"""What an object may be, by the keys that it has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Generic, TypeVar

from adapter.mapping.conversion import text_of
from adapter.mapping.language import Condition
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Key, parse_steps

T = TypeVar("T")

#: Sets of keys whose candidates are remembered.
_REMEMBERED = 256


class ByKeys(Generic[T]):
    """Candidates, of which each needs some keys at the top of an object.

    The same sender sends the same keys each time, so what has these is found once for each set of keys. Only keys that
    a candidate needs tell sets apart, so a sender who invents keys makes no new ones.
    """

    def __init__(self, candidates: Iterable[tuple[frozenset[str], T]]) -> None:
        self._candidates = tuple(candidates)
        self._tells = frozenset[str]().union(*(needed for needed, _ in self._candidates)).__contains__
        self._found = lru_cache(_REMEMBERED)(self._with_keys)

    def of(self, value: dict[str, Any]) -> tuple[T, ...]:
        """Those whose keys an object has, in their order."""
        return self._found(tuple(filter(self._tells, value)))

    def _with_keys(self, keys: tuple[str, ...]) -> tuple[T, ...]:
        return tuple(one for needed, one in self._candidates if needed.issubset(keys))


def needed_keys(mapping: MappingFile, condition: Condition | None) -> frozenset[str]:
    """Keys that each object has of which a condition of a table holds; there may be more of them."""
    if condition is None:
        return frozenset()
    text = text_of(frozenset({*mapping.absent, ""}))
    paths = list(condition.has or [])
    for path, wanted in condition.requirements.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        # What stands for no value also holds where nothing is.
        if all(text(value) is not None for value in values):
            paths.append(path)
    steps = [parse_steps(path)[0] for path in paths]
    return frozenset(step.name for step in steps if isinstance(step, Key))
