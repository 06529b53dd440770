from __future__ import annotations

from adapter.delivery.health import ReceiverHealth, Ruling, State
from adapter.delivery.ledger import Flight
from adapter.delivery.standing import Decided
from adapter.sinks.protocol import Later
from tests.sinks.entries import make_entry

DOWN = Later("the receiver answered 503", receiver_down=True)


class Moment:
    """A time that stands until it is told another, epoch milliseconds."""

    def __init__(self) -> None:
        self.now = 1000

    def __call__(self) -> int:
        return self.now


def make_health(*, window: int = 8, now: Moment | None = None) -> ReceiverHealth:
    return ReceiverHealth("soc", window=window, probe=1.0, now=now or Moment(), random_source=lambda: 0.0)


def send(number: int) -> Flight:
    """The ``number``-th flight that was sent."""
    return Flight([make_entry(number)], number=number)


def is_down(health: ReceiverHealth, flights: list[Flight], answer: Later = DOWN) -> Ruling:
    """All these flights fail, and nothing else is in flight."""
    last = max(flight.number for flight in flights)
    for flight in flights:
        if ruling := health.note_down(flight, answer, last):
            return ruling
    ruling = health.note_idle()
    assert ruling is not None
    return ruling


# Whose fault a failure is


def test_one_failure_among_many_in_flight_says_nothing_yet() -> None:
    health = make_health()
    assert health.note_down(send(1), DOWN, 3) is None
    assert health.state is State.RUNNING


def test_a_message_failed_for_its_own_sake_if_one_sent_after_it_comes_through() -> None:
    health = make_health()
    failed = send(1)
    health.note_down(failed, DOWN, 3)
    ruling = health.note_up(send(4))
    assert ruling is not None
    assert [(suspect.flight, suspect.answer) for suspect in ruling.charge] == [(failed, DOWN)]
    assert (ruling.again, ruling.probe_in, ruling.resume) == ((), None, False)
    assert health.note_idle() is None


def test_one_that_was_sent_before_the_failure_clears_nothing() -> None:
    health = make_health()
    failed = send(1)
    health.note_down(failed, DOWN, 3)
    ruling = health.note_up(send(3))
    assert ruling is None or not ruling.charge
    assert is_down(health, [send(4)]).again[0] is failed


def test_while_nothing_fails_nothing_is_to_be_done() -> None:
    health = make_health()
    assert health.note_up(send(1)) is None
    assert health.note_idle() is None


# When the receiver is down


def test_five_failures_in_a_row_are_an_outage() -> None:
    health = make_health()
    flights = [send(number) for number in range(1, 6)]
    assert [health.note_down(flight, DOWN, 5) for flight in flights[:4]] == [None] * 4
    ruling = health.note_down(flights[4], DOWN, 5)
    assert ruling == Ruling(charge=[], again=flights, probe_in=1.0)
    assert (health.state, health.answer) == (State.DOWN, "the receiver answered 503")


def test_fewer_failures_are_an_outage_once_nothing_is_left_that_could_come_through() -> None:
    health = make_health()
    failed = send(1)
    health.note_down(failed, DOWN, 1)
    assert health.note_idle() == Ruling(charge=[], again=[failed], probe_in=1.0)
    assert health.state is State.DOWN


def test_a_receiver_that_names_a_wait_is_down_at_once() -> None:
    health = make_health()
    ruling = health.note_down(send(1), Later("busy", 30.0, receiver_down=True), 4)
    assert ruling is not None
    assert ruling.probe_in == 30.0
    assert health.state is State.DOWN


def test_with_one_send_at_a_time_one_failure_is_an_outage() -> None:
    health = make_health(window=1)
    assert health.note_down(send(1), DOWN, 1) is not None
    assert health.state is State.DOWN


def test_what_was_still_in_flight_goes_again_and_its_wish_puts_the_probe_off() -> None:
    health = make_health()
    is_down(health, [send(1)])
    late = send(2)
    assert health.note_down(late, DOWN, 3) == Ruling(again=[late])
    assert health.note_down(late, Later("busy", 30.0, receiver_down=True), 3) == Ruling(again=[late], probe_in=30.0)


def test_a_wish_changes_nothing_once_a_probe_is_due_or_out() -> None:
    health = make_health()
    is_down(health, [send(1)])
    health.probe_due = True
    late, busy = send(2), Later("busy", 30.0, receiver_down=True)
    assert health.note_down(late, busy, 3) == Ruling(again=[late])
    health.begin_probe(send(4))
    assert not health.probe_due
    assert health.note_down(late, busy, 4) == Ruling(again=[late])


# Probes


def test_probes_of_a_receiver_that_stays_down_become_rare() -> None:
    health = make_health()
    is_down(health, [send(1)])
    waits = []
    for number in range(2, 6):
        probe = send(number)
        health.begin_probe(probe)
        ruling = health.note_down(probe, DOWN, number)
        assert ruling is not None
        assert ruling.again == [probe]
        waits.append(ruling.probe_in)
    assert waits == [2.0, 4.0, 8.0, 16.0]


def test_a_probe_that_comes_through_lets_everything_go() -> None:
    moment = Moment()
    health = make_health(now=moment)
    is_down(health, [send(1)])
    probe = send(2)
    health.begin_probe(probe)
    moment.now = 5000
    assert health.note_up(probe) == Ruling(resume=True)
    assert (health.state, health.since) == (State.RUNNING, 5000)


def test_one_that_was_in_flight_before_does_not_end_an_outage() -> None:
    health = make_health()
    is_down(health, [send(2)])
    assert health.note_up(send(1)) is None
    assert health.state is State.DOWN


def test_a_message_that_is_there_at_each_of_three_outages_spends_a_try() -> None:
    health = make_health()
    odd = send(1)
    for number in (2, 4):
        assert is_down(health, [odd]).again == [odd]
        probe = send(number)
        health.begin_probe(probe)
        health.note_up(probe)
        odd.number = number + 1
    ruling = is_down(health, [odd, other := send(6)])
    assert [suspect.flight for suspect in ruling.charge] == [odd]
    assert ruling.again == [other]


# Time that is asked for


def test_a_receiver_that_asks_for_time_with_a_refusal_gets_it_for_everything() -> None:
    health = make_health()
    assert health.note_wish(send(1), 30.0) == Ruling(probe_in=30.0)
    assert health.state is State.DOWN
    # Another wish puts the probe off; so does one of those that were in flight.
    assert health.note_wish(send(2), 60.0) == Ruling(probe_in=60.0)
    probe = send(3)
    health.begin_probe(probe)
    assert health.note_wish(send(4), 60.0) == Ruling()
    assert health.note_wish(probe, 30.0) == Ruling(probe_in=30.0)
    health.begin_probe(probe)
    assert health.note_up(probe) == Ruling(resume=True)


def test_who_asks_for_time_has_answered_what_failed_before_failed_for_its_own_sake() -> None:
    health = make_health()
    failed = send(1)
    health.note_down(failed, DOWN, 3)
    ruling = health.note_wish(send(4), 30.0)
    assert [suspect.flight for suspect in ruling.charge] == [failed]


# What is decided


def test_a_pause_shows_since_when_and_ends_with_how_the_receiver_is() -> None:
    health = make_health()
    assert health.decide(Decided.PAUSED, 77) is None
    assert (health.state, health.since) == (State.PAUSED, 77)
    assert is_down(health, [send(1)]).probe_in == 1.0
    assert health.state is State.PAUSED
    assert health.decide(Decided.RUNNING) == Ruling(resume=True)
    assert (health.state, health.probe_due) == (State.DOWN, True)
    assert health.decide(Decided.RUNNING) is None


def test_who_is_resumed_runs_if_nothing_says_that_the_receiver_is_down() -> None:
    health = make_health()
    gone = send(1)
    health.note_gone(gone)
    assert health.decide(Decided.RUNNING) == Ruling(resume=True)
    assert health.state is State.RUNNING


# Gone


def test_gone_is_for_good() -> None:
    health = make_health()
    gone = send(1)
    assert health.note_gone(gone) == Ruling(again=[gone])
    is_down(health, [send(2)])
    probe = send(3)
    health.begin_probe(probe)
    health.note_up(probe)
    assert health.state is State.STOPPED
