"""Stretches of time, one after the other, by which events are counted: hours, days of a zone, or any duration."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

#: Most buckets of one question.
LIMIT = 5_000

_NAMED = {"minute": (1, "m"), "hour": (1, "h"), "day": (1, "d"), "week": (1, "w")}
_DURATION = re.compile(r"(\d{1,4})([smhdw])", re.ASCII)
#: Milliseconds of each unit that is as long every day; and days of each other one.
_FIXED = {"s": 1_000, "m": 60_000, "h": 3_600_000}
_DAYS = {"d": 1, "w": 7}

#: What is right for a bucket.
FORMS = "minute, hour, day, week, or a duration such as 15m, 6h, 2d"


class Run(NamedTuple):
    """Buckets of one width, one after the other; times in epoch milliseconds."""

    start: int
    width: int
    number: int

    @property
    def end(self) -> int:
        return self.start + self.width * self.number


class Buckets:
    """Equal values for equal buckets. Numbered from 0."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """``runs``: each begins where the one before it ends; at least one."""
        self.runs = tuple(runs)

    @cached_property
    def starts(self) -> list[int]:
        """Where each begins, epoch milliseconds."""
        return [run.start + number * run.width for run in self.runs for number in range(run.number)]

    @property
    def end(self) -> int:
        """Where the last one ends."""
        return self.runs[-1].end

    def of(self, time: int) -> int:
        """The one that has a time which any has."""
        return bisect_right(self.starts, time) - 1

    def sql(self, column: str) -> str:
        """The same of a column of times, in SQL of either engine; times that none has may give any number."""
        number, text = 0, []
        for run in self.runs:
            text.append(f"WHEN {column} < {run.end:d} THEN {number:d} + ({column} - {run.start:d}) / {run.width:d}")
            number += run.number
        return f"CASE {' '.join(text)} ELSE {number:d} END"


def make_buckets(size: str, zone: tzinfo, low: int, high: int) -> Buckets:
    """The buckets that have all times from ``low`` until before ``high`` (epoch milliseconds), at least one. Days begin
    at midnight of the zone, weeks on Mondays; shorter ones are counted from the midnight before ``low``, several days
    from its day.

    Raises:
        ValueError: there is no such size, or there are more than `LIMIT`; says what would be right.
    """
    number, unit = _NAMED.get(size) or _read(size)
    high = max(high, low + 1)
    try:
        day = _day(low, zone)
        if unit in _FIXED:
            width = number * _FIXED[unit]
            start = low - (low - _midnight(day, zone)) % width
            count = -((start - high) // width)
            if count > LIMIT:
                raise _too_many(size)
            return Buckets([Run(start, width, count)])
        if unit == "w":
            day -= timedelta(days=day.weekday())
        starts = [_midnight(day, zone)]
        while starts[-1] < high:
            if len(starts) > LIMIT:
                raise _too_many(size)
            day += timedelta(days=number * _DAYS[unit])
            starts.append(_midnight(day, zone))
    except (OverflowError, OSError):
        raise ValueError(f"from and to are too far from now for buckets of {size}") from None
    return Buckets(_runs(starts))


def _read(size: str) -> tuple[int, str]:
    found = _DURATION.fullmatch(size)
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{size!r} is not right; it must be {FORMS}")
    return int(found[1]), found[2]


def _too_many(size: str) -> ValueError:
    return ValueError(f"there are more than {LIMIT} buckets of {size} between from and to; take longer ones")


def _day(time: int, zone: tzinfo) -> date:
    """
    Raises:
        OverflowError, OSError: it is beyond the calendar.
    """
    try:
        return datetime.fromtimestamp(time / 1000, zone).date()
    except ValueError as error:
        raise OverflowError(str(error)) from None


def _midnight(day: date, zone: tzinfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def _runs(starts: Sequence[int]) -> list[Run]:
    """Runs of the buckets between these times."""
    runs: list[Run] = []
    for start, end in pairwise(starts):
        width = end - start
        if runs and runs[-1].width == width:
            runs[-1] = runs[-1]._replace(number=runs[-1].number + 1)
        elif width > 0:
            runs.append(Run(start, width, 1))
    return runs
