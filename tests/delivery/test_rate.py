from __future__ import annotations

import pytest

from adapter.delivery.rate import FAR_BEHIND, Pace


class Moment:
    """A time that stands until it is told another, seconds; and how far a sink is behind."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lag = 0

    def pace(self, rate: float | None, catch_up: float | None = None) -> Pace:
        return Pace(rate, catch_up, lag=lambda: self.lag, clock=lambda: self.now)


def gone(moment: Moment, pace: Pace, seconds: float, size: int = 1) -> int:
    """How many events go within so many seconds, if there are always some."""
    count, end = 0, moment.now + seconds
    while True:
        wait = pace.wait()
        if moment.now + wait >= end:
            moment.now = end
            return count
        moment.now += wait
        if not wait:
            pace.spend(size)
            count += size


@pytest.mark.parametrize("rate", [0.1, 1, 3, 7.3, 100, 12_345])
def test_no_more_go_than_the_rate_has_it_and_none_of_it_is_lost(rate: float) -> None:
    moment = Moment()
    pace = moment.pace(rate)
    assert gone(moment, pace, 100) == pytest.approx(100 * rate, rel=0.02, abs=1)


def test_after_a_pause_no_more_go_at_once_than_a_twentieth_of_a_second_has() -> None:
    moment = Moment()
    pace = moment.pace(1000)
    moment.now += 86_400
    assert gone(moment, pace, 1e-9) == 50


def test_a_batch_goes_as_a_whole_and_is_waited_for_after_it() -> None:
    moment = Moment()
    pace = moment.pace(10)
    assert pace.wait() == 0
    pace.spend(50)
    assert pace.wait() == pytest.approx(5.0)


def test_without_a_rate_nothing_waits() -> None:
    moment = Moment()
    pace = moment.pace(None)
    assert not pace.is_bounded
    pace.spend(1000)
    assert pace.wait() == 0


def test_the_rate_of_catching_up_holds_while_it_is_far_behind_and_never_beyond_its_own() -> None:
    moment = Moment()
    pace, slow = moment.pace(None, 10), moment.pace(5, 10)
    assert (pace.rate, slow.rate) == (None, 5)
    moment.lag = FAR_BEHIND + 1
    assert (pace.rate, slow.rate) == (10, 5)


def test_a_clock_that_does_not_move_lets_nothing_more_go() -> None:
    moment = Moment()
    pace = moment.pace(10)
    pace.spend(1)
    moment.now -= 5
    assert pace.wait() > 0
