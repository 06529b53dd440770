"""What a search is asked through: one for each engine, in every service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Literal, NamedTuple, Protocol, get_args

from adapter.filter import Filter
from adapter.search.buckets import Buckets
from adapter.search.cursor import LogCursor, TimeCursor
from adapter.search.hours import Hours
from adapter.search.linking import Asked, KnownName
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount


class ByTime(NamedTuple):
    """The newest ``limit`` events before the cursor, newest first, each in its latest revision up to the cursor's
    snapshot; or, ``ascending``, the oldest ones behind it, oldest first."""

    filter: Filter
    limit: int
    cursor: TimeCursor
    ascending: bool = False


class ByLog(NamedTuple):
    """The first ``limit`` events after the cursor, by position, up to ``until``; each in its first entry, with
    ``revisions`` in the later ones too."""

    filter: Filter
    limit: int
    cursor: LogCursor
    until: int
    revisions: bool = False


Question = ByTime | ByLog


#: What a search has of each event as a text, so that it can count by it.
Told = Literal["type", "outcome", "reason", "provider", "source", "realm", "ip"]
#: By what events are counted: of user and client it has fingerprints, and their texts are read in the log.
By = Literal[Told, "user", "client"]
NAMES: tuple[By, ...] = get_args(By)


#: Values in buckets that one question counts at most.
GROUPS = 200_000
#: A value, as a text or as a fingerprint; ``None``: events that have none.
Value = str | int | None


class ByValue(NamedTuple):
    """How many events have each value, of those that match, each in its latest revision: up to ``snapshot``, or with
    ``hours`` in those that are filled."""

    filter: Filter
    by: By
    snapshot: int
    #: Different values, of all buckets together, that are counted at most.
    values: int
    #: Counted apart: buckets that have all times of the filter.
    buckets: Buckets | None = None
    #: Which of it the hourly counts answer; ``None``: nothing.
    hours: Hours | None = None

    @property
    def groups(self) -> int:
        """Values in buckets, of all of these together, that are counted at most."""
        return self.values if self.buckets is None else max(self.values, GROUPS)


class Count(NamedTuple):
    """How many events of a bucket have a value."""

    #: A type is the one that the event has; a realm its name, or the id where it has no name; a user or a client is a
    #: fingerprint.
    value: Value
    bucket: int
    events: int
    #: One of those that a fingerprint stands for; else 0.
    position: int = 0


class Tally(NamedTuple):
    """The answer to `ByValue`."""

    #: A value may come several times.
    counts: Sequence[Count]
    #: No event at all is older, or newer, epoch milliseconds; ``None`` if there is none.
    earliest: int | None
    latest: int | None


class ByPrefix(NamedTuple):
    """The values of a field that begin so, as far as the filter's terms of source, provider and realm allow; other
    terms do not count."""

    filter: Filter
    #: One of `adapter.search.values.FIELDS`, or of `adapter.search.hours.HOURLY`.
    field: str
    #: As the values are written.
    prefix: str
    #: Of hours after this one nothing counts.
    hour: int
    #: Seconds that may be spent on it.
    seconds: float


#: The most frequent values of a part that a completion takes; and so those that it may tell.
COMPLETED = 1_000


class Completed(NamedTuple):
    """The answer to `ByPrefix`: each value with a number of events."""

    values: Mapping[str, int]
    #: Whether all that there are were looked at.
    is_whole: bool


class Uncounted(Enum):
    """Why there is no answer to `ByValue`."""

    #: The search does not have the values of some events: there are more realms than it tells apart; or the hourly
    #: counts have not: there are more types or realms than these tell apart.
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

    async def complete(self, question: ByPrefix, *, timeout: float) -> Completed:
        """The values of a field that begin so, of what is filled now.

        Raises:
            Behind, TimeoutError, StoreUnavailable: as `ask`.
        """

    async def names(self, wanted: Sequence[Asked], filter: Filter, *, timeout: float) -> list[str | None]:
        """The name that each id had at its time, so far as it is known here now, and as the filter's exact terms allow
        its reader to know.

        Raises:
            Behind, TimeoutError, StoreUnavailable: as `ask`.
        """

    async def known_names(
        self, ids: Sequence[str], names: Sequence[str], filter: Filter, *, timeout: float
    ) -> list[KnownName]:
        """What is known here now of some ids of users, and of some names as they are compared, as far as the filter's
        exact terms allow its reader to know; of each kind those that were said last.

        Raises:
            Behind, TimeoutError, StoreUnavailable: as `ask`.
        """

    async def people(self, question: ByAccount, head: int, *, timeout: float) -> Accounts:
        """Accounts in order, among the entries up to ``head`` at least.

        Raises: as `ask`.
        """

    async def active(self, question: ActiveIn, head: int, *, timeout: float) -> list[Active | None]:
        """How many accounts were active in each stretch of time, among the entries up to ``head`` at least; ``None``:
        there was no time for it.

        Raises: as `ask`.
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


def broken_off(rows: Iterable[Hit], reached: Hit, *, by_time: bool, ascending: bool) -> Found:
    """Those rows that come before the place that was reached: others may come between the rest."""
    found = Found(row for row in rows if not by_time or (row < reached if ascending else row > reached))
    found.reached = reached
    return found
