"""Values in raw events that a table's translations lack: a new word of the vendor, which became a default.

Whoever wants to know them says where they are noted (`noting`); reading an event stays a pure function for all others.
A value that is there costs nothing: the table is asked as before, and only what it lacks comes here.
"""

from __future__ import annotations

from contextvars import ContextVar

#: Characters of a value that are kept, and values that are told apart in one body: a sender may invent them.
_LENGTH, _VALUES = 64, 500

#: Of a path and the value that stood there: how often.
Untranslated = dict[tuple[str, str], int]

_noted: ContextVar[Untranslated | None] = ContextVar("untranslated", default=None)


class noting:
    """What is read in this context notes the values that tables lack.

    A class, since a generator would take three times as long for each body."""

    __slots__ = ("_token", "_values")

    def __init__(self, values: Untranslated) -> None:
        self._values = values

    def __enter__(self) -> None:
        self._token = _noted.set(self._values)

    def __exit__(self, *error: object) -> None:
        _noted.reset(self._token)


def note(path: str, value: str) -> None:
    """A table lacks the value that stands at a path."""
    values = _noted.get()
    if values is None:
        return
    key = path, value[:_LENGTH]
    if key in values or len(values) < _VALUES:
        values[key] = values.get(key, 0) + 1


class Translation(dict[str, str]):
    """The table of a value with a default, which is given for what it lacks."""

    def __init__(self, table: dict[str, str], default: str, path: str) -> None:
        super().__init__(table)
        self._default = default
        self._path = path

    def __missing__(self, value: str | None) -> str:
        if value is not None:
            note(self._path, value)
        return self._default
