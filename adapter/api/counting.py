"""How many events there are of each type, user, address, …: of any filter, and in each stretch of time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.feed import DEFAULT_LIMIT, LIMIT, filter_parameters, read_filter, read_limit, refused, stretches
from adapter.api.operation import Answer, Limited, Operation, Parameter, caller
from adapter.api.slots import Slots
from adapter.api.stream import sent_json
from adapter.errors import RequestError
from adapter.filter import Filter
from adapter.hints import Hints
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.times import read_zone
from adapter.search.buckets import FORMS, Buckets, make_buckets
from adapter.search.counting import Counting, Counts
from adapter.search.index import NAMES, By
from adapter.search.search import Search
from adapter.settings import Permission

#: How long may be counted at least, seconds.
_LEAST = 0.1
_SECONDS = Parameter(
    "seconds",
    f"How long may be counted, from {_LEAST}; default, and most: half of question_timeout",
    {"type": "number", "minimum": _LEAST},
)
#: The share of the time of a question that is spent on counting.
_SHARE = 0.5
#: Numbers of all series of an answer, at most.
_NUMBERS = 200_000


class ValueCount(BaseModel):
    """How many events have a value."""

    value: str | None = Field(description="null: events that have none")
    count: int
    series: list[int | None] = Field(
        default_factory=list, description="With bucket: in each; null where not all events are counted"
    )


class EventCounts(BaseModel):
    """How many events there are of each value, the most frequent one first."""

    by: str
    total: int = Field(description="All events that were counted")
    counts: list[ValueCount]
    different: int = Field(description="Different values of these, null among them")
    partial: bool = Field(description="Whether there was no time for all that match")
    since: int | None = Field(
        description="If so: all events from this time on (epoch milliseconds) are counted, and none before. The same "
        "question with to=SINCE counts on"
    )
    bucket: str | None = Field(None, description="With bucket: as it was asked for")
    tz: str | None = Field(None, description="With bucket: the zone whose days these are")
    starts: list[int] = Field(
        default_factory=list,
        description="With bucket: where each begins, epoch milliseconds; empty ones are there, too",
    )
    end: int | None = Field(None, description="With bucket: where the last one ends, epoch milliseconds")
    totals: list[int | None] = Field(
        default_factory=list, description="With bucket: events of all values in each; null as in series"
    )
    hints: list[str] = Field(default_factory=list, description="Only if there are any: as in a page of events")


class CountPages:
    """Counts what readers of the feed would find."""

    def __init__(
        self,
        log: Log,
        search: Search,
        catalogue: Callable[[], Catalogue],
        hints: Hints,
        questions: Slots,
        *,
        reading_timeout: float,
    ) -> None:
        """``catalogue`` gives the present one. ``questions`` bounds those that are under way."""
        self._search = search
        self._counting = Counting(search, partial(stretches, log))
        self._catalogue = catalogue
        self._hints = hints
        self._questions = questions
        self._reading_timeout = reading_timeout

    def operations(self) -> list[Operation]:
        by = Parameter(
            "by",
            "By what. user: who acted, the name, or the id where there is none; realm: likewise",
            {"type": "string", "enum": list(NAMES)},
            example="type",
            required=True,
        )
        limit = {"type": "integer", "minimum": 1, "maximum": LIMIT, "default": DEFAULT_LIMIT}
        return [
            Operation(
                "GET", "/events/counts", self.count, "How many events there are of each value, by filter",
                {200: Answer("Of all that match, or of the latest that there was time for.", model=EventCounts)},
                Permission.READ,
                [
                    by, *filter_parameters(self._catalogue()), Parameter("limit", "Values that are told", limit),
                    Parameter("bucket", f"Also in each stretch of time, as series: {FORMS}; needs from"),
                    _SECONDS,
                    Parameter("tz", "The zone whose days and weeks are buckets: Europe/Berlin, +02:00; default: UTC"),
                ],
                limited=Limited.BY_EVENT,
            )
        ]  # fmt: skip

    async def count(self, request: web.Request) -> web.StreamResponse:
        by = _by(request.query.get("by", ""))
        limit = read_limit(request.query.get("limit"))
        seconds = min(_seconds(request.query.get("seconds")), self._search.timeout * _SHARE)
        catalogue = self._catalogue()
        now = time.time_ns() // 1_000_000
        filter = read_filter(request, catalogue)
        filter, buckets = _in_buckets(request, filter, limit if "limit" in request.query else 1, now)
        if buckets is not None:
            limit = min(limit, _NUMBERS // len(buckets.starts))
        who = caller(request)
        with self._questions.taken(who):
            counted = await self._counting.count(
                filter, by, now=now, seconds=seconds, caller=who, told=limit, buckets=buckets
            )
            hints = self._hints.of(filter.terms)
            if by == "type":
                counted = _renamed(counted, catalogue)
            in_buckets = None if buckets is None else (request.query["bucket"], request.query.get("tz", "UTC"), buckets)
            # Many groups take long to write: not in the loop.
            answer = await asyncio.to_thread(_answer, by, counted, limit, in_buckets, hints)
            return await sent_json(request, answer, reading_timeout=self._reading_timeout)


def _answer(
    by: By, counted: Counts, limit: int, in_buckets: tuple[str, str, Buckets] | None, hints: Sequence[str]
) -> bytes:
    """The answer as JSON; ``in_buckets``: their size and zone as they were asked for, and themselves."""
    most = sorted(counted.values.items(), key=lambda one: (-one[1], one[0] or ""))[:limit]
    counts: list[dict[str, object]] = [{"value": value and _written(value), "count": n} for value, n in most]
    said: dict[str, object] = {
        "by": by,
        "total": sum(counted.totals.values()),
        "counts": counts,
        "different": counted.different,
        "partial": counted.since is not None,
        "since": counted.since,
    }
    if in_buckets is not None:
        said["bucket"], said["tz"], buckets = in_buckets
        # Of a bucket that began before, only some events are counted.
        whole = [counted.since is None or start >= counted.since for start in buckets.starts]
        for (value, _), one in zip(most, counts, strict=True):
            one["series"] = [counted.groups.get((value, n), 0) if ok else None for n, ok in enumerate(whole)]
        said["starts"], said["end"] = buckets.starts, buckets.end
        said["totals"] = [counted.totals.get(n, 0) if ok else None for n, ok in enumerate(whole)]
    if hints:
        said["hints"] = hints
    return orjson.dumps(said)


def _in_buckets(request: web.Request, filter: Filter, limit: int, now: int) -> tuple[Filter, Buckets | None]:
    """The filter within the buckets that are asked for: without ``to`` until the end of the one that has the present.

    Raises:
        RequestError: 400, a parameter is wrong.
    """
    size, zone = request.query.get("bucket"), request.query.get("tz")
    if size is None:
        if zone is not None:
            raise refused("tz", zone, "given with bucket only: it says where days begin")
        return filter, None
    try:
        # A plus sign that was not escaped arrives as a blank.
        of_zone = read_zone("UTC" if zone is None else zone.replace(" ", "+"))
    except ValueError as error:
        raise RequestError(400, "Bad parameter", f"tz: {error}", parameter="tz") from None
    if filter.time_from is None:
        raise refused("bucket", size, "given with from: the first bucket is the one that has it")
    try:
        buckets = make_buckets(size, of_zone, filter.time_from, now + 1 if filter.time_to is None else filter.time_to)
    except ValueError as error:
        raise RequestError(400, "Bad parameter", f"bucket: {error}", parameter="bucket") from None
    if limit * len(buckets.starts) > _NUMBERS:
        most = _NUMBERS // len(buckets.starts)
        raise refused("limit", str(limit), f"{most} at most with so many buckets ({len(buckets.starts)})")
    return (filter if filter.time_to is not None else replace(filter, time_to=buckets.end)), buckets


def _seconds(text: str | None) -> float:
    """
    Raises:
        RequestError: 400, it is no time.
    """
    if text is None:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= _LEAST:  # NaN, too
        raise refused("seconds", text, f"a number of seconds, {_LEAST} at least")
    return seconds


def _renamed(counted: Counts, catalogue: Catalogue) -> Counts:
    """With types under the names that they have by now."""
    groups = Counter[tuple[str | None, int]]()
    for (name, bucket), events in counted.groups.items():
        groups[name and catalogue.canonical(name), bucket] += events
    return counted._replace(groups=groups, different=len({name for name, _ in groups}))


def _by(text: str) -> By:
    for name in NAMES:
        if text == name:
            return name
    raise refused("by", text, "one of " + ", ".join(NAMES))


def _written(value: str) -> str:
    """A value that UTF-8 can hold."""
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
