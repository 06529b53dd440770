"""What the tries of a sink come to: sums by hour, quantiles, and how fast it goes."""

from __future__ import annotations

import pytest

from adapter.delivery.stats import HOUR, Sample, Speeds, Sums, by_hour, quantiles
from adapter.log.protocol import Attempt


def tried(began_at: int, *, outcome: str = "delivered", status: int | None = 204, total: int = 5) -> Attempt:
    return Attempt(began_at, 1, 1, 2, 1, outcome, status, None, 3, None, total, "", "")


def test_tries_count_in_the_hour_in_which_they_began() -> None:
    whole, hours = Sums(), dict[int, Sums]()
    first, second = 500_000 * HOUR, 500_001 * HOUR
    by_hour([tried(first), tried(second - 1, status=None, outcome="down"), tried(second, total=9)], whole, hours)
    assert {at: one.attempts for at, one in hours.items()} == {first: 2, second: 1}
    assert hours[first].outcomes == {"delivered": 1, "down": 1}
    assert hours[first].statuses == {204: 1, None: 1}
    assert (whole.attempts, whole.events, whole.total, whole.connect, whole.resolve) == (3, 6, [5, 5, 9], [3] * 3, [])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([7], [7, 7, 7]),
        ([3, 1, 2], [2, 3, 3]),
        (list(range(1, 101)), [50, 95, 99]),
        (list(range(1000)), [499, 949, 989]),
    ],
)
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(values: list[int], told: list[int]) -> None:
    assert quantiles(values, (0.5, 0.95, 0.99)) == told


def test_a_sink_goes_as_fast_as_its_counters_grow_and_has_caught_up_when_its_lag_is_gone() -> None:
    speeds = Speeds()
    assert speeds.of("soc", Sample(0, 1, 0, 0)) is None
    speeds.take({"soc": Sample(0, 1, 100, 1000)})
    faster = speeds.of("soc", Sample(10, 1, 300, 800))
    assert faster == (10, 20, 40)
    behind = speeds.of("soc", Sample(10, 1, 300, 1200))
    assert behind is not None
    assert behind.until_caught_up is None
    done = speeds.of("soc", Sample(10, 1, 1300, 0))
    assert done is not None
    assert done.until_caught_up == 0


def test_a_changed_filter_and_a_sink_that_is_gone_begin_anew() -> None:
    speeds = Speeds()
    speeds.take({"soc": Sample(0, 1, 100, 10)})
    assert speeds.of("soc", Sample(30, 2, 0, 10)) is None
    speeds.take({"soc": Sample(30, 2, 0, 10)})
    assert speeds.of("soc", Sample(40, 2, 10, 0)) == (10, 1, 0)
    speeds.take({})
    assert speeds.of("soc", Sample(50, 2, 10, 0)) is None
