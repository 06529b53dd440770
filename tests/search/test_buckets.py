"""Buckets: where days of a zone begin, and which hours lie in them."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.filter import Filter
from adapter.search.buckets import make_buckets
from adapter.search.hours import whole_hours
from tests.search.events import CATALOGUE

HOUR = 3_600_000
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def starts(size: str, zone: str, low: str, high: str) -> list[str]:
    of_zone = ZoneInfo(zone)
    buckets = make_buckets(size, of_zone, at(low), at(high))
    assert buckets.end >= at(high)
    return [datetime.fromtimestamp(start / 1000, of_zone).isoformat() for start in buckets.starts]


def test_days_begin_at_midnight_of_the_zone_also_when_clocks_change() -> None:
    found = starts("day", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-31T00:00:00Z")
    assert found == [
        "2026-03-28T00:00:00+01:00",
        "2026-03-29T00:00:00+01:00",
        "2026-03-30T00:00:00+02:00",
        "2026-03-31T00:00:00+02:00",
    ]


def test_weeks_begin_on_mondays() -> None:
    assert starts("week", "UTC", "2026-11-26T08:00:00Z", "2026-12-01T00:00:00Z") == [
        "2026-11-23T00:00:00+00:00",
        "2026-11-30T00:00:00+00:00",
    ]


@pytest.mark.parametrize(
    "size, expected",
    [
        ("hour", ["2026-05-01T10:00:00+05:30", "2026-05-01T11:00:00+05:30"]),
        ("90m", ["2026-05-01T10:30:00+05:30"]),
        ("12h", ["2026-05-01T00:00:00+05:30"]),
        ("30m", ["2026-05-01T10:30:00+05:30", "2026-05-01T11:00:00+05:30"]),
        ("2d", ["2026-05-01T00:00:00+05:30"]),
        ("20m", [f"2026-05-01T{clock}:00+05:30" for clock in ("10:40", "11:00", "11:20")]),
    ],
)
def test_others_are_counted_from_midnight_of_the_zone(size: str, expected: list[str]) -> None:
    assert starts(size, "Asia/Kolkata", "2026-05-01T05:15:00Z", "2026-05-01T06:00:00Z") == expected


@pytest.mark.parametrize(
    "size", ["", "h", "0h", "1y", "-1h", "1.5h", "hourly", "99999d", "\N{ARABIC-INDIC DIGIT ONE}h"]
)
def test_another_size_is_none(size: str) -> None:
    with pytest.raises(ValueError, match="minute, hour, day, week, or a duration"):
        make_buckets(size, UTC, 0, HOUR)


@pytest.mark.parametrize("size, high", [("minute", 5_001 * 60_000), ("day", 5_001 * 24 * HOUR), ("1s", 1 << 53)])
def test_there_are_so_many_at_most(size: str, high: int) -> None:
    with pytest.raises(ValueError, match=f"more than 5000 buckets of {size}"):
        make_buckets(size, UTC, 0, high)


@pytest.mark.parametrize("low, high", [(1 << 60, (1 << 60) + 1), (0, 1 << 60)])
def test_times_beyond_the_calendar_are_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="too far from now for buckets of 9999w"):
        make_buckets("9999w", BERLIN, low, high)


@given(
    st.sampled_from(["hour", "day", "week", "90m", "3d", "7h"]),
    st.sampled_from([UTC, BERLIN, ZoneInfo("Asia/Kolkata"), ZoneInfo("Australia/Lord_Howe")]),
    st.integers(0, 40_000),
    st.integers(0, 5_000),
    st.lists(st.floats(0, 1, exclude_max=True), max_size=5),
)
def test_hours_and_what_is_left_are_all_times_once(
    size: str, zone: ZoneInfo, begin: int, length: int, places: list[float]
) -> None:
    low = 1_700_000_000_000 + begin * 77_777
    high = low + length * 77_777
    buckets = make_buckets(size, zone, low, high)
    assert buckets.starts[0] <= low < buckets.end
    assert buckets.end >= high
    hours = whole_hours(Filter(CATALOGUE, time_from=low, time_to=high), "type", buckets)
    with sqlite3.connect(":memory:") as connection:
        for place in places:
            time = low + int(place * max(high - low, 1))
            number = buckets.of(time)
            assert connection.execute(f"SELECT {buckets.sql('?1')}", (time,)).fetchone() == (number,)
            if hours is None or time >= high:
                continue
            hour = time // HOUR
            assert hours.first is not None
            assert hours.end is not None
            counted = hours.first <= hour < hours.end and hour not in hours.left_out
            left = sum(begun <= time < ended for begun, ended in hours.rest)
            assert counted + left == 1
            if counted:
                assert buckets.of(hour * HOUR) == buckets.of((hour + 1) * HOUR - 1) == number
