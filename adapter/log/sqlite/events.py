"""The events of a log in a file, for a process that reads them alone: so it imports no more than that takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapter.log.opening import path_of
from adapter.log.protocol import EventRow, Events
from adapter.log.sqlite.history import find_before
from adapter.log.sqlite.reading import Reader, each_event, open_reader
from adapter.log.sqlite.removing import count_removed, find_left, find_uid

#: Page cache of a process that reads events from one end to the other, KiB.
_CACHE = 256


class _Events:
    """`adapter.log.protocol.Events` of a file."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def each(self, after: int, until: int) -> Iterator[EventRow]:
        return each_event(self._reader, after, until)

    def before(self, uid: bytes, position: int) -> int | None:
        return find_before(self._reader, uid, position)

    def removed(self, after: int, until: int) -> int:
        return count_removed(self._reader, after, until)

    def left(self, after: int, until: int) -> list[int]:
        return find_left(self._reader, after, until)

    def uid(self, position: int) -> bytes | None:
        return find_uid(self._reader, position)


@contextmanager
def open_events(url: str) -> Iterator[Events]:
    """As `adapter.log.opening.open_events`."""
    with open_reader(path_of(url), cache=_CACHE) as reader:
        yield _Events(reader)
