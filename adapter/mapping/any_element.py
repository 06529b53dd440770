"""What a condition asks of the elements of a list (`threats[*].kind`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adapter.mapping.language import Requirement
from adapter.mapping.pattern import Pattern, compile_pattern

#: Whether a text is one that is asked for.
_Check = Callable[[str], bool]


def any_element(wanted: Any, text: Callable[[Any], str | None]) -> Callable[[Sequence[Any]], bool]:
    """Whether among some values there is one of which all that is asked for holds, and none that `not` names. ``text``
    makes texts of values, as the table has it."""
    asked = wanted if isinstance(wanted, Requirement) else Requirement.model_construct()
    checks = _checks(asked)
    if asked is not wanted:
        checks.append(_texts(wanted, text).__contains__)
    excluded = _texts(asked.not_, text)
    pattern = None if asked.matches is None else compile_pattern(asked.matches)

    def holds(values: Sequence[Any]) -> bool:
        present = [value for value in values if value is not None and (value.__class__ is not str or text(value))]
        if asked.present is not None and bool(present) is not asked.present:
            return False
        found = [one for one in map(text, present) if one is not None]
        if not excluded.isdisjoint(found):
            return False
        if pattern is not None:
            found = _matching(pattern, found)
        elif not checks:
            return True
        return any(all(check(one) for check in checks) for one in found)

    return holds


def _checks(asked: Requirement) -> list[_Check]:
    checks: list[_Check] = []
    if asked.starts is not None:
        starts = tuple(_listed(asked.starts))
        checks.append(lambda one: one.startswith(starts))
    if asked.contains is not None:
        words = [word.lower() for word in _listed(asked.contains)]
        checks.append(lambda one: any(word in one.lower() for word in words))
    return checks


def _matching(pattern: Pattern, texts: Sequence[str]) -> list[str]:
    """Those that a pattern matches. Of all of them together it sees as much as of one text."""
    left = pattern.reach
    matching = []
    for one in texts:
        if left <= 0:
            break
        if pattern.search(one[:left]) is not None:
            matching.append(one)
        left -= len(one) + 1
    return matching


def _texts(wanted: Any, text: Callable[[Any], str | None]) -> frozenset[str]:
    texts = (text(value) for value in _listed(wanted))
    return frozenset(one for one in texts if one is not None)


def _listed(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]
