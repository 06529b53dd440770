from __future__ import annotations

import pytest

from adapter.delivery.backoff import Breaker, wait_after
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
