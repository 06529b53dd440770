"""What a source usually does, by the hours of the last three weeks."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.source_state.judging import PERIODS
from adapter.source_state.periods import PERIOD, WEEK, Periods

#: A Monday at midnight, and the length of a week, epoch milliseconds.
MONDAY = 1_699_833_600_000
WEEKS = WEEK * PERIOD
HOUR = 3_600_000


def heard(times: list[int]) -> Periods:
    periods = Periods()
    for time in times:
        periods.heard(time)
    return periods


def office(begin: int, end: int) -> list[int]:
    """Something every ten minutes from 8 to 18 o'clock of Monday to Friday."""
    return [
        time
        for time in range(begin, end, PERIOD)
        if (time - MONDAY) % WEEKS < 5 * 24 * HOUR and 8 * HOUR <= (time - MONDAY) % (24 * HOUR) < 18 * HOUR
    ]


def test_nights_and_weekends_are_no_silence_and_a_missing_morning_is_one() -> None:
    times = office(MONDAY, MONDAY + 4 * WEEKS + 4 * 24 * HOUR + 18 * HOUR)
    periods, friday = heard(times), times[-1]
    monday = MONDAY + 5 * WEEKS
    assert periods.usual(friday, monday + 8 * HOUR) == 0
    assert periods.usual(friday, monday + 9 * HOUR) == 6
    assert periods.usual(friday, monday + 9 * HOUR + PERIOD * 3) == PERIODS


def test_a_day_that_begins_an_hour_later_is_no_silence() -> None:
    # As it does when clocks are set back.
    periods = heard(office(MONDAY, MONDAY + 4 * WEEKS))
    assert periods.usual(MONDAY + 3 * WEEKS + 5 * 24 * HOUR, MONDAY + 4 * WEEKS + 9 * HOUR) < PERIODS


@given(st.sets(st.integers(0, WEEK - 1), min_size=1, max_size=60), st.integers(0, WEEK - 1))
def test_a_source_that_keeps_its_week_is_never_silent(week: set[int], probe: int) -> None:
    times = [MONDAY + (number * WEEK + period) * PERIOD for number in range(5) for period in sorted(week)]
    now = MONDAY + (4 * WEEK + probe) * PERIOD + PERIOD // 2
    before = [time for time in times if time <= now]
    assert heard(before).usual(before[-1], now) == 0


@given(st.sets(st.integers(0, 2 * WEEK - 1), min_size=1, max_size=200))
def test_a_source_of_less_than_three_weeks_has_no_habits(periods: set[int]) -> None:
    times = [MONDAY + period * PERIOD for period in sorted(periods)]
    for now in range(times[-1], MONDAY + 3 * WEEKS, 7 * PERIOD):
        assert heard(times).usual(times[-1], now) == 0


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32), st.floats(0.02, 20.0))
def test_chance_makes_no_silence(seed: int, rate: float) -> None:
    # A quarter of a year of a source of so many events in ten minutes by day, and a tenth of it at night.
    random_source, periods, last = random.Random(seed), Periods(), MONDAY
    for number in range(13 * WEEK):
        time = MONDAY + number * PERIOD
        by_day = 8 * HOUR <= (time - MONDAY) % (24 * HOUR) < 18 * HOUR
        if random_source.random() < 1 - 2.718281828 ** -(rate if by_day else rate / 10):
            periods.heard(time)
            last = time
        assert periods.usual(last, time) < PERIODS


@given(st.lists(st.integers(MONDAY, MONDAY + 8 * WEEKS), min_size=1, max_size=40), st.integers(0, 8 * WEEK))
def test_the_bits_are_what_was_heard(times: list[int], after: int) -> None:
    """Whatever the order in which services say it."""
    kept = {time // PERIOD for time in times if max(times) // PERIOD - time // PERIOD < 4 * WEEK}
    begin = max(times)
    end = begin + after * PERIOD
    wanted = [
        period
        for period in range(begin // PERIOD + 1, end // PERIOD)
        if all(period - week * WEEK in kept for week in (1, 2, 3))
    ]
    assert heard(times).usual(begin, end) == len(wanted)


@given(st.lists(st.integers(MONDAY, MONDAY + 3 * WEEKS), min_size=1, max_size=40), st.integers(1, WEEK))
def test_what_a_wrong_clock_heard_is_forgotten_and_the_rest_is_not(times: list[int], ahead: int) -> None:
    now = max(times)
    periods, right = heard(times), heard(times)
    periods.heard(now + ahead * PERIOD)
    periods.set_right(now, now)
    for week in range(1, 4):
        end = now + week * WEEK * PERIOD
        assert periods.usual(now, end) == right.usual(now, end)
