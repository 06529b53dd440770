"""What a search is asked through: one for each engine, in every service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Literal, NamedTuple, Protocol, get_args

from adapter.filter import Filter
from adapter.search.cursor import LogCursor, TimeCursor
from adapter.search.linking import Asked


class ByTime(NamedTuple):
    """The newest ``limit`` events before the cursor, newest first, each in its latest revision up to the cursor's
    snapshot."""

    filter: Filter
    limit: int
    cursor: TimeCursor


class ByLog(NamedTuple):
    """The first ``limit`` events after the cursor, by position, up to ``until``; each in its first entry, with
    ``revisions`` in the later ones too."""

    filter: Filter
    limit: int
    cursor: LogCursor
    until: int
    revisions: bool = False


Question = ByTime | ByLog


#: What a search has of each event, so that it can count by it.
Kept = Literal["type", "outcome", "reason", "provider", "source", "realm", "ip"]
#: By what events are counted: user and client are known by fingerprints here, and read in the log.
By = Literal[Kept, "user", "client"]
NAMES: tuple[By, ...] = (*get_args(Kept), "user", "client")


class ByValue(NamedTuple):
    """How many events have each value, of those that match, each in its latest revision up to ``snapshot``."""

    filter: Filter
    by: Kept
    snapshot: int
    #: Different values that are counted at most.
    values: int


class Tally(NamedTuple):
    """The answer to `ByValue`."""

    #: A value may come several times; ``None``: events that have none. A type is the one that the event has; a realm
    #: its name, or the id where it has no name.
    counts: Sequence[tuple[str | None, int]]
    #: No event at all is older, or newer, epoch milliseconds; ``None`` if there is none.
    earliest: int | None
    latest: int | None


class Uncounted(Enum):
    """Why there is no answer to `ByValue`."""

    #: The search does not have the values of some events: there are more realms than it tells apart.
    UNTOLD = auto()
    #: There are more different values than the question allows.
    TOO_MANY = auto()


class Hit(NamedTuple):
    """The sort key of one result."""

    time: int
    position: int


class Found(list[Hit]):
    """Results in the order of the page. Where the time ran out before the page was full, ``reached`` is where the next
    one begins: nothing before it is left out."""

    reached: Hit | None = None


class Index(Protocol):
    """Answers questions about the entries that it is filled with."""

    @property
    def position(self) -> int:
        """Up to which entry of the log it is filled, as far as is known."""

    @property
    def rebuilt(self) -> str | None:
        """Why it was thrown away and built again since the start; ``None`` if it was not."""

    @property
    def filler(self) -> int | None:
        """Process id of what fills it, while that runs here."""

    async def wait(self, position: int) -> None:
        """Return when it is filled up to ``position``."""

    async def ask(self, question: Question, head: int, *, timeout: float, seconds: float) -> Found:
        """What is found among the entries up to ``head`` at least; or what was found of it when so many ``seconds`` had
        passed.

        Raises:
            Behind: it is not filled so far any more.
            TimeoutError: it took longer than ``timeout`` seconds.
            StoreUnavailable: it cannot be read now.
        """

    async def count(self, question: ByValue, head: int, *, timeout: float) -> Tally | Uncounted:
        """How many there are of each value among the entries up to ``head`` at least, without a bound but the time.

        Raises: as `ask`.
        """

    async def names(self, wanted: Sequence[Asked], filter: Filter, *, timeout: float) -> list[str | None]:
        """The name that each id had at its time, so far as it is known here now, and as the filter's exact terms allow
        its reader to know.

        Raises:
            Behind, TimeoutError, StoreUnavailable: as `ask`.
        """

    async def prune(self) -> bool:
        """Have what was removed from the log removed from here, too; whether it was within some time."""

    async def rebuild(self, reason: str) -> None:
        """Throw it away, and have it built again.

        Raises:
            StoreUnavailable: not now.
        """

    async def size(self) -> int:
        """Bytes that it takes on the disk, without what is free in its files."""


class Behind(Exception):
    """It was filled farther, and is being filled again."""


#: Sort keys are smaller than this.
LATEST = (1 << 63) - 1


def broken_off(rows: Iterable[Hit], reached: Hit, by_time: bool) -> Found:
    """Those rows that come before the place that was reached: others may come between the rest."""
    found = Found(row for row in rows if not by_time or row > reached)
    found.reached = reached
    return found
