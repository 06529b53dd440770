"""Questions about the accounts of a search (`adapter.search.accounts`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from adapter.filter import Filter
from adapter.search.accounts import Row

#: Milliseconds of a day.
DAY = 86_400_000

Sort = Literal["last", "-last", "success", "-success", "failures", "-failures"]


class Known(NamedTuple):
    """What is known of an account."""

    row: Row
    source: str
    provider: str
    realm_id: str | None
    realm_name: str | None
    #: When it was seen first in what is there now, epoch milliseconds.
    first: int


class ByAccount(NamedTuple):
    """Accounts in order. Of the filter the terms of source, provider and realm count."""

    filter: Filter
    sort: Sort
    limit: int
    #: Their ids; ``None``: any.
    ids: tuple[str, ...] | None = None
    #: Not seen since, epoch milliseconds.
    dormant_since: int | None = None
    failures_min: int = 0
    #: Behind this one: value of the order, fingerprint, origin.
    after: tuple[int, int, int] | None = None


class Accounts(NamedTuple):
    """The answer to `ByAccount`."""

    found: Sequence[Known]
    #: When the oldest event was that is there, epoch milliseconds; ``None`` if there is none.
    since: int | None


class ActiveIn(NamedTuple):
    """How many accounts were active in each stretch of time. Of the filter the terms of source, provider and realm
    count."""

    filter: Filter
    #: Where each begins and ends, epoch milliseconds.
    stretches: Sequence[tuple[int, int]]
    #: Seconds that may be spent on it.
    seconds: float


class Active(NamedTuple):
    """How many accounts were seen in a stretch, and with how many somebody got in."""

    seen: int
    logged_in: int


def value_of(row: Row, sort: Sort) -> int:
    """By what it is sorted; unknown ones come as if before all times."""
    match sort.removeprefix("-"):
        case "success":
            return -1 if row.success is None else row.success
        case "failures":
            return row.failures
    return row.last
