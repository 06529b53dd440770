"""How many events have each value, newest first and for as long as there is time; so what is counted is exact from some
time on.

Where the hourly counts tell it (`adapter.search.hours`), one question answers all. All else that the search keeps of
each event it counts a stretch of time in one question: a longer one where that was quick, a shorter one where it was
slow.
Users and clients it knows by fingerprints: of those that are told, one event each is read for the text.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

from adapter.errors import RequestError
from adapter.filter import LENGTH_LIMIT, Filter
from adapter.model import Entry
from adapter.search.buckets import Buckets
from adapter.search.cursor import read_time_cursor
from adapter.search.hours import whole_hours
from adapter.search.index import GROUPS, By, ByValue, Count, Tally, Uncounted, Value
from adapter.search.keys import HOUR
from adapter.search.search import Search
from adapter.search_fields import SearchFields, search_fields

#: Different values that are counted at most, and their characters.
VALUES, SIZE = 100_000, 16 << 20
#: Events that are read with one question.
PAGE = 5_000
#: The shortest stretch of time, milliseconds; the first one is an hour.
SHORTEST = 1_000
#: Seconds that one stretch is to take, and how many times as long as the one before it may be.
AIM, GROWTH = 0.5, 8.0

#: Reads the entries at some positions, a stretch in memory at a time, each with how many positions are done.
Read = Callable[[Sequence[int]], AsyncGenerator[tuple[list[Entry], int]]]


class Counts(NamedTuple):
    """What was counted."""

    #: Events by value and bucket (0 without buckets); ``None``: events that have none. Of users and clients it has the
    #: most frequent ones.
    groups: Mapping[tuple[str | None, int], int]
    #: Events of all values by bucket, and different values.
    totals: Mapping[int, int]
    different: int
    #: Of which time on, epoch milliseconds, if not of all that match.
    since: int | None

    @property
    def values(self) -> Counter[str | None]:
        """Events by value."""
        found: Counter[str | None] = Counter()
        for (value, _), events in self.groups.items():
            found[value] += events
        return found


class _Groups:
    """What is counted so far; values as the search has them."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Value, int]] = Counter()
        self.values: set[Value] = set()
        #: The position of an event of each fingerprint.
        self.positions: dict[Value, int] = {}

    def with_more(self, counts: Iterable[Count]) -> _Groups:
        """These and more."""
        more = _Groups()
        more.counts, more.values, more.positions = self.counts.copy(), self.values.copy(), self.positions.copy()
        for value, bucket, events, position in counts:
            more.counts[value, bucket] += events
            more.values.add(value)
            if position > more.positions.get(value, 0):
                more.positions[value] = position
        return more

    def has_more_than(self, values: int) -> bool:
        """Whether there are more values than so many, or more groups than are held."""
        return len(self.values) > values or len(self.counts) > max(values, GROUPS)


def _most(found: _Groups, told: int) -> dict[Value, int]:
    """The positions of so many values that most events have."""
    sums: Counter[Value] = Counter()
    for (value, _), events in found.counts.items():
        sums[value] += events
    return {value: found.positions.get(value, 0) for value, _ in sums.most_common(told)}


def _summed(found: _Groups, texts: Mapping[Value, str | None], since: int | None) -> Counts:
    totals: Counter[int] = Counter()
    groups: Counter[tuple[str | None, int]] = Counter()
    for (value, bucket), events in found.counts.items():
        totals[bucket] += events
        if value is None or isinstance(value, str):
            groups[value, bucket] += events
        elif value in texts:
            groups[texts[value], bucket] += events
    return Counts(groups, totals, len(found.values), since)


class Counting:
    """Counts for as long as there is time."""

    def __init__(self, search: Search, read: Read, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._search = search
        self._read = read
        self._clock = clock

    async def count(
        self,
        filter: Filter,
        by: By,
        *,
        now: int,
        seconds: float,
        caller: str = "",
        values: int = VALUES,
        told: int = VALUES,
        buckets: Buckets | None = None,
    ) -> Counts:
        """How many of the events that match, each in its latest revision, have each value, in each of some buckets
        (which have all times of the filter). ``now``: epoch milliseconds; after so many ``seconds``, or so many
        different ``values``, it ends. Of users and clients so many are ``told``.

        Raises:
            RequestError: 503, nothing was counted in time, or as `adapter.search.search.Search.find`.
            StoreUnavailable: the search, or the log, cannot be read now.
        """
        end = self._clock() + seconds
        question = ByValue(filter, by, self._search.head, values, buckets)
        hours = whole_hours(filter, by, buckets)
        if hours is not None:
            found = await self._tally(question._replace(hours=hours), caller, seconds / 2)
            if isinstance(found, Tally):
                # Many groups take long to add up: not in the loop.
                return await self._told(await asyncio.to_thread(_Groups().with_more, found.counts), None, by, told)
        counted = await self._by_search(question, now, end, caller)
        if counted is not None:
            return await self._told(*counted, by, told)
        return await self._each(filter, by, end, caller, values, buckets)

    async def _told(self, found: _Groups, since: int | None, by: By, told: int) -> Counts:
        """With the texts of what the search has fingerprints of."""
        texts: Mapping[Value, str | None] = {}
        if found.positions:
            texts = await self._texts(await asyncio.to_thread(_most, found, told), by)
        return await asyncio.to_thread(_summed, found, texts, since)

    async def _texts(self, positions: Mapping[Value, int], by: By) -> dict[Value, str | None]:
        """What fingerprints stand for, as one event of each says it. One that was removed meanwhile says nothing."""
        wanted = {position: value for value, position in positions.items() if position}
        texts: dict[Value, str | None] = {}
        async with aclosing(self._read(sorted(wanted))) as read:
            async for entries, _ in read:
                for entry in entries:
                    if entry.event is not None:
                        texts[wanted[entry.position]] = _value(by, search_fields(entry.event))
        return texts

    async def _by_search(
        self, question: ByValue, now: int, end: float, caller: str
    ) -> tuple[_Groups, int | None] | None:
        """Counted by the search, and since when, if not all; ``None``: it does not have all values."""
        groups = _Groups()
        filter, values = question.filter, question.values
        # What is yet to happen comes first, which is little; it tells where the rest begins.
        high, low, width = filter.time_to, now, HOUR
        while True:
            if high is not None:
                low = min(low, high)
            if filter.time_from is not None:
                low = max(low, filter.time_from)
            begun = self._clock()
            if begun >= end:
                return groups, _since(high)
            stretch = question._replace(filter=replace(filter, time_from=low, time_to=high))
            found = await self._tally(stretch, caller, (end - begun) / 2)
            if found is Uncounted.UNTOLD:
                return None
            more = await asyncio.to_thread(groups.with_more, found.counts if isinstance(found, Tally) else ())
            if not isinstance(found, Tally) or more.has_more_than(values):
                if high is None or width <= SHORTEST:
                    return groups, _since(high)
                width = max(width // 8, SHORTEST)
                low = high - width
                continue
            groups = more
            if found.earliest is None or low <= found.earliest or low == filter.time_from:
                return groups, None
            took = self._clock() - begun
            width = max(int(width * min(GROWTH, max(AIM / took, 0.5) if took else GROWTH)), SHORTEST)
            high = low if found.latest is None else min(low, found.latest + 1)
            low = high - width

    async def _tally(self, question: ByValue, caller: str, timeout: float) -> Tally | Uncounted:
        try:
            return await self._search.tally(question, caller=caller, timeout=timeout)
        except TimeoutError:
            return Uncounted.TOO_MANY  # for the time that is left

    async def _each(
        self, filter: Filter, by: By, end: float, caller: str, values: int, buckets: Buckets | None
    ) -> Counts:
        """Counted from the events."""
        groups: Counter[tuple[str | None, int]] = Counter()
        seen: set[str | None] = set()
        #: Values of the events of one time, which are counted when all of them are read.
        held: list[str | None] = []
        held_time, size, cursor = 0, 0, None

        def count_held() -> None:
            nonlocal size
            if held:
                bucket = 0 if buckets is None else buckets.of(held_time)
                groups.update((value, bucket) for value in held)
                size += sum([len(value or "") for value in set(held) - seen])
                seen.update(held)
                held.clear()

        while True:
            page = await self._search.find(filter, limit=PAGE, cursor=cursor, caller=caller)
            async with aclosing(self._read(page.positions)) as read:
                async for entries, _ in read:
                    for entry in entries:
                        assert entry.event is not None
                        fields = search_fields(entry.event)
                        if fields.time != held_time:
                            count_held()
                            held_time = fields.time
                        held.append(_value(by, fields))
                    if self._clock() >= end or len(seen) > values or size > SIZE or len(groups) > GROUPS:
                        return _counted(groups, _since(held_time + 1 if held else None))
            if page.next is None:
                count_held()
                return _counted(groups, None)
            if not page.positions and self._clock() >= end:
                reached = read_time_cursor(page.next).time
                if held_time > reached:
                    count_held()
                return _counted(groups, _since(reached + 1))
            cursor = page.next


def _counted(groups: Counter[tuple[str | None, int]], since: int | None) -> Counts:
    totals: Counter[int] = Counter()
    for (_, bucket), events in groups.items():
        totals[bucket] += events
    return Counts(groups, totals, len({value for value, _ in groups}), since)


def _since(time: int | None) -> int:
    """The time since which all is counted.

    Raises:
        RequestError: 503, there is none.
    """
    if time is None:
        raise RequestError(
            503, "Search took too long", "nothing could be counted in time; narrow it, for example with from and to"
        )
    return time


def _value(by: By, fields: SearchFields) -> str | None:
    value: str | None
    match by:
        case "realm":
            value = fields.realm_name or fields.realm_id
        case _:
            value = getattr(fields, by)
    return None if value is None else value[:LENGTH_LIMIT]
