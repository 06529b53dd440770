from __future__ import annotations

from adapter.delivery.failing import DAY, LEAST, STEP, Failing, Warn, read_failing

NOW = 1_700_000_000_000


def failing(seconds: float, failures: int = 1000) -> Failing:
    return Failing(NOW, seconds, failures)


def test_only_the_time_between_failures_counts_and_no_more_than_a_step_of_it() -> None:
    one = Failing()
    for passed in (7.0, 60.0, 10 * DAY, -DAY):
        one.fail(passed, NOW)
    assert (one.since, one.seconds, one.failures) == (NOW, 60.0 + STEP, 4)


def test_each_share_of_its_time_is_said_once() -> None:
    one, said = failing(0), []
    for _ in range(100):
        one.seconds += 0.05 * DAY
        said.append(one.warning(5 * DAY))
    assert [one for one in said if one] == [Warn(50), Warn(70), Warn(90)]


def test_after_a_long_step_the_last_share_alone_is_said() -> None:
    assert failing(4.9 * DAY).warning(5 * DAY) == Warn(90)


def test_without_a_time_it_is_said_once_a_day() -> None:
    one, said = failing(0), []
    for _ in range(100):
        one.seconds += 0.1 * DAY + 1e-6
        said.append(one.warning(None))
    assert [one for one in said if one] == [Warn(None)] * 10


def test_who_failed_a_few_times_is_not_stopped_however_long_they_took() -> None:
    assert not failing(50 * DAY, LEAST - 1).is_over(5 * DAY)
    assert failing(5 * DAY, LEAST).is_over(5 * DAY)
    assert not failing(5 * DAY - 1, LEAST).is_over(5 * DAY)
    assert not failing(50 * DAY).is_over(None)


def test_what_was_written_is_read_again_and_what_cannot_be_read_is_nothing() -> None:
    one = Failing(NOW, 12.5, 3, 50, told=True)
    assert read_failing(one.written()) == one
    for text in (None, "", "{}", "[]", "no JSON", '{"since": "x"}'):
        assert read_failing(text) == Failing()
