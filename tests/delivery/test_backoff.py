from __future__ import annotations

import pytest

from adapter.delivery.backoff import Breaker, longest_wait, wait_after
from adapter.sinks.protocol import RETRY_AFTER
from adapter.sinks.settings import RETRY


def test_the_schedule_is_the_standards_example() -> None:
    assert [wait_after(tries, RETRY, None, 0.0) for tries in range(1, 11)] == [
        5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None,
    ]  # fmt: skip
    assert sum(RETRY) == 75 * 3600 + 35 * 60 + 5


@pytest.mark.parametrize(("asked", "wait"), [(1.0, 5.0), (60.0, 60.0), (None, 5.0)])
def test_a_receivers_wish_only_lengthens_a_wait(asked: float | None, wait: float) -> None:
    assert wait_after(1, RETRY, asked, 0.0) == wait


def test_chance_only_lengthens_a_wait() -> None:
    assert wait_after(1, RETRY, None, 1.0) == 5.5


@pytest.mark.parametrize("schedule", [RETRY, (1.0,), (7200.0, 5.0)])
def test_no_wait_is_longer_than_the_longest(schedule: tuple[float, ...]) -> None:
    for tries in range(1, len(schedule) + 1):
        assert wait_after(tries, schedule, RETRY_AFTER, 1.0) == longest_wait(tries, schedule)


def test_the_longest_wait_is_known_where_no_try_failed_or_the_schedule_was_longer_once() -> None:
    assert [longest_wait(tries, (5.0, 7200.0)) for tries in (0, 3)] == pytest.approx([3960, 7920])
    assert longest_wait(1, ()) == pytest.approx(3960)


def test_probes_of_a_receiver_that_stays_down_become_rare() -> None:
    breaker = Breaker()
    assert [breaker.fail(None, 0.0) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_probe_waits_as_long_as_the_receiver_asked() -> None:
    breaker = Breaker()
    assert breaker.fail(120.0, 0.0) == 120
    assert breaker.fail(None, 0.0) == 2


def test_after_it_closed_a_breaker_begins_anew() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.fail(None, 0.0)
    breaker.close()
    assert not breaker.is_open
    assert breaker.fail(None, 0.0) == 1
