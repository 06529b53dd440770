"""Which hours of a question are counted by the hourly counts that the search keeps, and which times are left.

Kept is how many events there are of each hour (of UTC), origin and kind, each event in its latest revision. So a
question whose filter is about these alone is answered from a few rows an hour. Hours of which only a part is meant, or
which lie in two buckets, are counted from their events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from adapter.filter import OF_SCOPE, Filter
from adapter.search.buckets import Buckets
from adapter.search.keys import HOUR

#: By what the hourly counts tell events apart.
HOURLY = ("type", "outcome", "reason", "provider", "source", "realm")
_TERMS = frozenset((*HOURLY, "reason_class", OF_SCOPE))
#: Hours that are counted from their events, at most, beside those that are not.
_SPLIT = 64


class Hours(NamedTuple):
    """Whole hours, as numbers since 1970, and the rest."""

    #: From the first until before the end; ``None``: as far as there are any.
    first: int | None
    end: int | None
    #: Hours between these that are not meant, in order.
    left_out: Sequence[int]
    #: Times that are left, each until before the second, epoch milliseconds.
    rest: Sequence[tuple[int, int]]


def whole_hours(filter: Filter, by: str, buckets: Buckets | None) -> Hours | None:
    """The hours of a question; ``None`` if the hourly counts are of no use for it."""
    if by not in HOURLY or not _TERMS.issuperset(term.name for term in filter.terms):
        return None
    if filter.received_from is not None or filter.received_to is not None:
        return None
    low, high = filter.time_from, filter.time_to
    if low is not None and high is not None and low >= high:
        return Hours(0, 0, (), ())
    first = None if low is None else -(-low // HOUR)
    end = None if high is None else high // HOUR
    if first is not None and end is not None and first >= end:
        return None
    split: list[int] = []
    if buckets is not None:
        if any(run.width < HOUR for run in buckets.runs if run.number > 1):
            return None
        ends = {start // HOUR for start in buckets.starts[1:] if start % HOUR}
        split = sorted(hour for hour in ends if (first is None or hour >= first) and (end is None or hour < end))
        if len(split) > _SPLIT:
            return None
    rest = [(hour * HOUR, (hour + 1) * HOUR) for hour in split]
    if low is not None and first is not None and low < first * HOUR:
        rest.append((low, first * HOUR))
    if high is not None and end is not None and high > end * HOUR:
        rest.append((end * HOUR, high))
    return Hours(first, end, split, rest)


#: Hours that are looked at first.
_STRETCH = 24
#: So many times as long is looked for values while there is none.
LATE = 10


def back_from(hour: int, first: int | None, last: int | None) -> Iterator[tuple[int, int]]:
    """Stretches of the hours that are there (``first`` to ``last``, ``None``: none), the latest first, each twice as
    long as the one before: after which hour, until which. Most of what they hold may be of others' origins, so whoever
    looks for some of it looks at the time in between. ``hour``: of the present."""
    if first is None or last is None:
        return
    until, width = min(hour, last), _STRETCH
    while until >= first:
        yield until - width, until
        until, width = until - width, width * 2
