"""Counting within a time: what is told is exact from some time on."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
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
from adapter.search.counting import Counting
from adapter.search.index import By
from adapter.search.search import Search, open_search
from tests.search.events import CATALOGUE, make_event

HOUR = 3_600_000
NOW = 100_000 * HOUR
#: Two events at each of these hours ago, the oldest first; and one that is yet to happen.
HOURS = (5_000, 300, 40, 3, 2, 0, -2)
ALL = Filter(CATALOGUE)


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[tuple[Log, Search]]:
    url = file_url(tmp_path / "log.sqlite")
    async with (
        open_store(url, dictionary=bytes, commit_timeout=30.0) as log,
        open_search(tmp_path / "search.sqlite", log, url, "one", timeout=30.0) as search,
    ):
        events = [
            make_event(time=NOW - hours * HOUR, authDetails={"username": name, "ipAddress": address, "clientId": "app"})
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
            names = ("anna", f"user-{hours}") if by == "user" else ("10.0.0.1", f"10.0.1.{hours % 256}")
            found.update(names)
    return found


def stopping_after(calls: int) -> Callable[[], float]:
    """A clock that jumps beyond any end when it was looked at so often."""
    looked = numbers()
    return lambda: 0.0 if next(looked) < calls else 1_000.0


@pytest.mark.parametrize("by", ["user", "ip"])
async def test_with_time_enough_everything_is_counted(filled: tuple[Log, Search], by: By) -> None:
    log, search = filled
    found = await Counting(search, partial(stretches, log)).count(ALL, by, now=NOW, seconds=30)
    assert found.since is None
    assert found.values == expected(by, None)


@pytest.mark.parametrize("by", ["user", "ip"])
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


@pytest.mark.parametrize("by", ["user", "ip"])
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
        found = await Counting(search, read_one, clock=stopping_after(calls)).count(ALL, "user", now=NOW, seconds=30)
        assert found.since is not None
        assert found.values == expected("user", found.since)
