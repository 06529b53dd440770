from __future__ import annotations

from adapter.delivery.answers import AnswerPolicy, checked
from adapter.delivery.ledger import Flight
from adapter.log.protocol import Held
from adapter.sinks.protocol import DELIVERED, RETRY_AFTER, Later, Never, Skip, Stop
from tests.sinks.entries import make_entries

#: Epoch milliseconds.
NOW = 1_700_000_000_000


def make_judge(*schedule: float) -> AnswerPolicy:
    return AnswerPolicy(schedule, now=lambda: NOW, random_source=lambda: 0.0)


def test_each_answer_of_a_batch_counts_for_its_own_entry() -> None:
    entries = make_entries(5)
    outcome = make_judge(5).judge(
        Flight(entries),
        [DELIVERED, Later("busy with it"), Never("too odd"), Later("503", receiver_down=True), DELIVERED],
    )
    assert outcome.delivered == [entries[0], entries[4]]
    assert outcome.hold == [Held(2, 1, NOW + 5000, "busy with it"), Held(3, 1, None, "too odd")]
    assert outcome.left == [entries[3]]
    assert outcome.said == "503"


def test_tries_add_up_until_the_schedule_has_run_out() -> None:
    policy = make_judge(5, 300)
    flight = Flight(make_entries(2), tries={1: 1, 2: 2})
    refused = Later("the receiver answered 400")
    assert policy.judge(flight, [refused, refused]).hold == [
        Held(1, 2, NOW + 300_000, "the receiver answered 400"),
        Held(2, 3, None, "the receiver answered 400"),
    ]


def test_of_several_wishes_of_a_receiver_that_is_down_the_longest_counts() -> None:
    answers = [Later("503", after, receiver_down=True) for after in (None, 30.0, 5.0)]
    outcome = make_judge().judge(Flight(make_entries(3)), answers)
    assert outcome.down == answers[1]
    assert len(outcome.left) == 3


def test_what_a_receiver_that_is_gone_did_not_take_spends_no_try() -> None:
    entries = make_entries(2)
    outcome = make_judge().judge(Flight(entries), [DELIVERED, Stop("410")])
    assert (outcome.delivered, outcome.hold, outcome.left) == ([entries[0]], [], [entries[1]])
    assert outcome.gone == "410"


def test_a_receiver_may_have_taken_what_it_wants_no_more_of() -> None:
    entries = make_entries(2)
    outcome = make_judge().judge(Flight(entries), [Stop("disable", delivered=True), Skip("abort-message")])
    assert (outcome.delivered, outcome.skipped, outcome.left) == ([entries[0]], [entries[1]], [])
    assert outcome.gone == "disable"


def test_the_longest_wait_that_is_asked_for_with_refusals_is_known() -> None:
    refusals = [Later("400", after) for after in (None, 30.0, 5.0)]
    outcome = make_judge(5).judge(Flight(make_entries(3)), refusals)
    assert (outcome.wish, outcome.down) == (30.0, None)
    assert make_judge(5).judge(Flight(make_entries(1)), [Later("400")]).wish is None


def test_who_is_spared_waits_a_moment_and_spends_no_try() -> None:
    flight = Flight(make_entries(2), tries={2: 1})
    spared = Later("cannot connect", receiver_down=True, spares=True)
    assert make_judge(600).charge(flight, spared) == [
        Held(1, 0, NOW + 5000, "cannot connect"),
        Held(2, 1, NOW + 5000, "cannot connect"),
    ]


def test_waits_and_texts_are_bounded() -> None:
    busy, long, none = checked([Later("busy", 1e9), Never("x" * 5000), Later("busy", -1)], 3)
    assert busy == Later("busy", RETRY_AFTER)
    assert isinstance(long, Never)
    assert len(long.reason) == 500
    assert none == Later("busy")


def test_a_flight_that_failed_for_its_own_sake_spends_a_try_of_each_entry_left() -> None:
    flight = Flight(make_entries(2), tries={2: 1})
    rows = make_judge(5, 300).charge(flight, Later("503", 60.0, receiver_down=True))
    assert rows == [Held(1, 1, NOW + 60_000, "503"), Held(2, 2, NOW + 300_000, "503")]
