"""Counting within a time: what is told is exact from some time on."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC
from functools import partial
from itertools import count as numbers
from pathlib import Path

import orjson
import pytest

from adapter.api.feed import stretches
from adapter.errors import RequestError
from adapter.filter import Filter
from adapter.log.opening import file_url, open_store
from adapter.log.protocol import Log, NewEntry
from adapter.model import Entry
from adapter.search import counting
from adapter.search.buckets import make_buckets
from adapter.search.counting import Counting
from adapter.search.index import By
from adapter.search.search import Search, open_search
from tests.search.events import CATALOGUE, make_event

HOUR = 3_600_000
NOW = 100_000 * HOUR
#: Two events at each of these hours ago, the oldest first; and one that is yet to happen.
HOURS = (5_000, 300, 40, 3, 2, 0, -2)
ALL = Filter(CATALOGUE)
#: Realms with such names are not told apart by the search, and so they are read in the log.
LONG = "r" * 500


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[tuple[Log, Search]]:
    url = file_url(tmp_path / "log.sqlite")
    async with (
        open_store(url, dictionary=bytes, commit_timeout=30.0) as log,
        open_search(tmp_path / "search.sqlite", log, url, "one", timeout=30.0) as search,
    ):
        events = [
            make_event(
                time=NOW - hours * HOUR,
                authDetails={"username": name, "ipAddress": address, "clientId": "app"},
                realmId=None,
                realmName=LONG + name,
            )
            for hours in HOURS
            for name, address in (("anna", "10.0.0.1"), (f"user-{hours}", f"10.0.1.{hours % 256}"))
        ]
        entries = [
            NewEntry(
                source="prod",
                received_at=1,
                raw=b"{}",
                media="application/json",
                uid=uuid.uuid4().bytes,
                strong=None,
                weak=None,
                seconds=0,
                native_type="LOGIN",
                type="access.LOGIN",
                event=orjson.dumps(event),
                problem=None,
            )
            for event in events
        ]
        await log.append(entries)
        await search.wait(log.head)
        yield log, search


def expected(by: By, since: int | None) -> Counter[str | None]:
    found: Counter[str | None] = Counter()
    for hours in HOURS:
        if since is None or NOW - hours * HOUR >= since:
            names = ("anna", f"user-{hours}")
            addresses = ("10.0.0.1", f"10.0.1.{hours % 256}")
            found.update([LONG + name for name in names] if by == "realm" else names if by == "user" else addresses)
    return found


def stopping_after(calls: int) -> Callable[[], float]:
    """A clock that jumps beyond any end when it was looked at so often."""
    looked = numbers()
    return lambda: 0.0 if next(looked) < calls else 1_000.0


@pytest.mark.parametrize("by", ["user", "ip", "realm"])
async def test_with_time_enough_everything_is_counted(filled: tuple[Log, Search], by: By) -> None:
    log, search = filled
    found = await Counting(search, partial(stretches, log)).count(ALL, by, now=NOW, seconds=30)
    assert found.since is None
    assert found.values == expected(by, None)


@pytest.mark.parametrize("by", ["user", "ip", "realm"])
async def test_whenever_it_is_stopped_it_is_exact_from_the_time_that_it_tells(
    filled: tuple[Log, Search], by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, search = filled
    monkeypatch.setattr(counting, "PAGE", 3)  # ends between the two events of a time
    since = set()
    for calls in range(1, 40):
        stopped = Counting(search, partial(stretches, log), clock=stopping_after(calls))
        try:
            found = await stopped.count(ALL, by, now=NOW, seconds=30)
        except RequestError as error:
            assert error.status == 503
            continue
        assert found.values == expected(by, found.since)
        since.add(found.since)
    assert None in since
    assert len(since) > 3


@pytest.mark.parametrize("by", ["user", "ip", "realm"])
async def test_more_values_than_are_held_end_it(
    filled: tuple[Log, Search], by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, search = filled
    monkeypatch.setattr(counting, "PAGE", 3)
    found = await Counting(search, partial(stretches, log)).count(ALL, by, now=NOW, seconds=30, values=4)
    assert found.since is not None
    assert found.values == expected(by, found.since)
    assert 0 < len(found.values) <= 6


async def test_what_a_page_was_cut_off_at_is_not_told(filled: tuple[Log, Search]) -> None:
    log, search = filled

    async def read_one(positions: Sequence[int]) -> AsyncGenerator[tuple[list[Entry], int]]:
        for done, position in enumerate(positions, 1):
            yield await log.fetch([position]), done

    for calls in range(2, 2 * len(HOURS)):
        found = await Counting(search, read_one, clock=stopping_after(calls)).count(ALL, "realm", now=NOW, seconds=30)
        assert found.since is not None
        assert found.values == expected("realm", found.since)


@pytest.mark.parametrize("by", ["user", "ip", "realm"])
async def test_whenever_it_is_stopped_its_buckets_are_exact_from_the_time_that_it_tells(
    filled: tuple[Log, Search], by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, search = filled
    monkeypatch.setattr(counting, "PAGE", 3)
    buckets = make_buckets("1d", UTC, NOW - 5_000 * HOUR, NOW + 3 * HOUR)
    ends = {buckets.of(NOW - hours * HOUR): Counter[str | None]() for hours in HOURS}
    for calls in range(3, 40):
        try:
            found = await Counting(search, partial(stretches, log), clock=stopping_after(calls)).count(
                replace(ALL, time_from=NOW - 5_000 * HOUR, time_to=buckets.end),
                by,
                now=NOW,
                seconds=30,
                buckets=buckets,
            )
        except RequestError:
            continue
        assert found.values == expected(by, found.since)
        assert {bucket for _, bucket in found.groups} <= set(ends)
        assert found.totals == Counter(
            buckets.of(NOW - hours * HOUR)
            for hours in HOURS
            for _ in range(2)
            if found.since is None or NOW - hours * HOUR >= found.since
        )


async def test_of_users_so_many_are_told_and_all_are_counted(filled: tuple[Log, Search]) -> None:
    log, search = filled
    found = await Counting(search, partial(stretches, log)).count(ALL, "user", now=NOW, seconds=30, told=1)
    assert found.values == {"anna": len(HOURS)}
    assert (found.different, found.totals) == (1 + len(HOURS), {0: 2 * len(HOURS)})
