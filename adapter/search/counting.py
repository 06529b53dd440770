"""How many events have each value, newest first and for as long as there is time; so what is counted is exact from some
time on.

What the search keeps of each event it counts by itself, a stretch of time in one question: a longer one where that was
quick, a shorter one where it was slow. By users and clients it cannot, as it knows them by fingerprints alone: those
events are read.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

from adapter.errors import RequestError
from adapter.filter import LENGTH_LIMIT, Filter
from adapter.model import Entry
from adapter.search.cursor import read_time_cursor
from adapter.search.index import By, ByValue, Kept, Tally, Uncounted
from adapter.search.search import Search
from adapter.search_fields import SearchFields, search_fields

#: Different values that are counted at most, and their characters.
VALUES, SIZE = 100_000, 16 << 20
#: Events that are read with one question.
PAGE = 5_000
#: The first stretch of time, and the shortest one, milliseconds.
HOUR, SHORTEST = 3_600_000, 1_000
#: Seconds that one stretch is to take, and how many times as long as the one before it may be.
AIM, GROWTH = 0.5, 8.0

#: Reads the entries at some positions, a stretch in memory at a time, each with how many positions are done.
Read = Callable[[Sequence[int]], AsyncGenerator[tuple[list[Entry], int]]]


class Counts(NamedTuple):
    """What was counted."""

    #: By value; ``None``: events that have none.
    values: Mapping[str | None, int]
    #: Of which time on, epoch milliseconds, if not of all that match.
    since: int | None


class Counting:
    """Counts for as long as there is time."""

    def __init__(self, search: Search, read: Read, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._search = search
        self._read = read
        self._clock = clock

    async def count(
        self, filter: Filter, by: By, *, now: int, seconds: float, caller: str = "", values: int = VALUES
    ) -> Counts:
        """How many of the events that match, each in its latest revision, have each value. ``now``: epoch
        milliseconds; after so many ``seconds``, or so many different ``values``, it ends.

        Raises:
            RequestError: 503, nothing was counted in time, or as `adapter.search.search.Search.find`.
            StoreUnavailable: the search, or the log, cannot be read now.
        """
        end = self._clock() + seconds
        counted = None
        if by != "user" and by != "client":
            counted = await self._kept(filter, by, now, end, caller, values)
        return counted or await self._each(filter, by, end, caller, values)

    async def _kept(self, filter: Filter, by: Kept, now: int, end: float, caller: str, values: int) -> Counts | None:
        """Counted by the search; ``None``: it does not have all values."""
        counts: Counter[str | None] = Counter()
        snapshot = self._search.head
        # What is yet to happen comes first, which is little; it tells where the rest begins.
        high, low, width = filter.time_to, now, HOUR
        while True:
            if high is not None:
                low = min(low, high)
            if filter.time_from is not None:
                low = max(low, filter.time_from)
            begun = self._clock()
            if begun >= end:
                return _partial(counts, high)
            question = ByValue(replace(filter, time_from=low, time_to=high), by, snapshot, values)
            found = await self._tally(question, caller, (end - begun) / 2)
            if found is Uncounted.UNTOLD:
                return None
            more = counts.copy()
            if isinstance(found, Tally):
                for value, events in found.counts:
                    more[value] += events
            if not isinstance(found, Tally) or len(more) > values:
                if high is None or width <= SHORTEST:
                    return _partial(counts, high)
                width = max(width // 8, SHORTEST)
                low = high - width
                continue
            counts = more
            if found.earliest is None or low <= found.earliest or low == filter.time_from:
                return Counts(counts, None)
            took = self._clock() - begun
            width = max(int(width * min(GROWTH, max(AIM / took, 0.5) if took else GROWTH)), SHORTEST)
            high = low if found.latest is None else min(low, found.latest + 1)
            low = high - width

    async def _tally(self, question: ByValue, caller: str, timeout: float) -> Tally | Uncounted:
        try:
            return await self._search.tally(question, caller=caller, timeout=timeout)
        except TimeoutError:
            return Uncounted.TOO_MANY  # for the time that is left

    async def _each(self, filter: Filter, by: By, end: float, caller: str, values: int) -> Counts:
        """Counted from the events."""
        counts: Counter[str | None] = Counter()
        #: Values of the events of one time, which are counted when all of them are read.
        held: list[str | None] = []
        held_time, size, cursor = None, 0, None
        while True:
            page = await self._search.find(filter, limit=PAGE, cursor=cursor, caller=caller)
            async with aclosing(self._read(page.positions)) as read:
                async for entries, _ in read:
                    for entry in entries:
                        assert entry.event is not None
                        fields = search_fields(entry.event)
                        if fields.time != held_time:
                            counts.update(held)
                            held.clear()
                            held_time = fields.time
                        value = _value(by, fields)
                        if value is not None and value not in counts:
                            size += len(value)
                        held.append(value)
                    if self._clock() >= end or len(counts) > values or size > SIZE:
                        return _partial(counts, None if held_time is None else held_time + 1)
            if page.next is None:
                counts.update(held)
                return Counts(counts, None)
            if not page.positions and self._clock() >= end:
                reached = read_time_cursor(page.next).time
                if held_time is not None and held_time > reached:
                    counts.update(held)
                return _partial(counts, reached + 1)
            cursor = page.next


def _partial(counts: Counter[str | None], since: int | None) -> Counts:
    if since is None:
        raise RequestError(
            503, "Search took too long", "nothing could be counted in time; narrow it, for example with from and to"
        )
    return Counts(counts, since)


def _value(by: By, fields: SearchFields) -> str | None:
    value: str | None
    match by:
        case "user":
            value = fields.actor_names[0] if fields.actor_names else fields.actor
        case "realm":
            value = fields.realm_name or fields.realm_id
        case _:
            value = getattr(fields, by)
    return None if value is None else value[:LENGTH_LIMIT]
