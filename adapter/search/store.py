"""What a search is filled through: one for each engine, in the process that fills it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Protocol

from adapter.log.opening import file_of
from adapter.log.protocol import EventRow, Events


class Unusable(Exception):
    """The search is damaged, of another version or of another log: to be thrown away and built again."""


class Overtaken(Exception):
    """Another filler has written meanwhile: the one of a service that was killed ends only after its batch."""


class Store(Protocol):
    """The one writer of a search. Not for several threads.

    Every method but `close` raises what is above, or, if it may work later, the engine's own errors.
    """

    #: Filled up to this entry of the log, and which one that is: uid and arrival, where they are known.
    position: int
    uid: bytes | None
    received_at: int | None

    def add(self, entries: Iterable[EventRow], find_before: Callable[[bytes, int], int | None]) -> None:
        """Take in the next entries of the log, at least one, all or none. ``find_before`` tells which entry stood for
        the event of a uid before the one at a position; it is asked for revisions only."""

    def skip(self, position: int, uid: bytes | None) -> None:
        """Go on to ``position``, since all up to there were removed; ``uid`` of the last one, if it is known."""

    def prune(self, log: Events) -> Iterator[None]:
        """Remove what was removed from the log, step by step: whoever has something else to do does it in between."""

    def throw_away(self) -> None:
        """Close it, to be built again."""

    def close(self) -> None:
        """Close it."""


def open_store(url: str, *, with_people: bool = True) -> Store:
    """Open a search to fill it; make it if there is none. ``with_people``: whether it keeps accounts.

    Raises:
        Unusable: what is there is damaged, of another version, or not a search; or accounts are to be kept from now on,
            or not any more.
    """
    store: Store = import_module(f"adapter.search.{engine_of(url)}.store").open_store(url, with_people)
    return store


def engine_of(url: str) -> str:
    """The folder of the engine for an address."""
    return "postgresql" if file_of(url) is None else "sqlite"
