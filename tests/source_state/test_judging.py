"""What is told of a source, and when: with a clock that the test moves."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from adapter.counts import ADDRESSES, REASONS, Tally
from adapter.source_state.judging import DOUBLED, FORGIVEN, KNOWN, QUIET, Gap, Told, is_refused, judge
from adapter.source_state.state import News, SourceState, take_up

START = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE


class Watched:
    """A source that is looked at every ten seconds."""

    def __init__(self, silence: float | None = 3600.0) -> None:
        self.now = START
        self.looked_since = START
        self.state = SourceState(START)
        self.silence = silence
        self.told: list[Told] = []

    def look(self, news: News | None = None, gaps: list[Gap] | None = None) -> list[str]:
        """What one look tells."""
        take_up(self.state, news or News(), self.now)
        told = [*judge(self.state, "kc", self.silence, gaps or [], self.now, self.looked_since)]
        self.told += told
        return [one.name for one in told]

    def hear(self) -> list[str]:
        return self.look(News(Tally(accepted=1), self.now))

    def refuse(self, count: int = 1, reason: str = "wrong") -> list[str]:
        return self.look(News(Tally(refused=count), None, None, {reason: count}, self.now, ("192.0.2.1",)))

    def pass_time(self, milliseconds: int) -> list[str]:
        told, end = [], self.now + milliseconds
        while self.now < end:
            self.now = min(self.now + 10_000, end)
            told += self.look()
        return told


def test_a_source_that_says_nothing_for_its_time_is_silent_once_and_back_once() -> None:
    watched = Watched()
    watched.hear()
    assert watched.pass_time(HOUR + KNOWN - 1) == []
    assert watched.pass_time(5 * HOUR) == ["SOURCE-SILENT"]
    assert watched.hear() == ["SOURCE-BACK"]
    assert watched.pass_time(MINUTE) == []
    silent, back = watched.told
    assert silent.details == {"source": "kc", "since": "2023-11-14T22:13:20Z", "seconds": "3629", "rule": "set"}
    assert back.details == {
        "source": "kc", "after": "silence", "since": "2023-11-14T22:13:20Z", "seconds": "21619",
    }  # fmt: skip


def test_a_source_that_never_came_is_silent_by_its_own_time_alone() -> None:
    assert Watched(60.0).pass_time(2 * MINUTE) == ["SOURCE-SILENT"]
    assert Watched(None).pass_time(24 * HOUR) == []
    assert Watched(inf).pass_time(24 * HOUR) == []


def test_time_in_which_nobody_listened_is_no_silence() -> None:
    watched = Watched()
    watched.hear()
    watched.now += 10 * HOUR
    watched.looked_since = watched.now
    assert watched.pass_time(HOUR) == []
    assert watched.pass_time(KNOWN) == ["SOURCE-SILENT"]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=60))
def test_a_source_at_the_edge_of_its_time_does_not_flap(hours: list[int]) -> None:
    watched = Watched()
    for pause in hours:
        watched.hear()
        watched.now += pause * HOUR + MINUTE
        watched.look()
    names = [one.name for one in watched.told]
    days = (watched.now - START) // FORGIVEN + 1
    # A time is doubled with each silence of a day: after one, two, four, and eight hours.
    assert names.count("SOURCE-SILENT") <= (DOUBLED + 1) * days
    assert names == (["SOURCE-SILENT", "SOURCE-BACK"] * len(names))[: len(names)]


def test_after_a_day_without_a_silence_the_time_is_as_it_was() -> None:
    watched = Watched()
    watched.pass_time(HOUR + KNOWN)
    assert watched.hear() == ["SOURCE-BACK"]
    assert watched.pass_time(2 * HOUR) == []
    watched.hear()
    for _ in range(24):
        watched.now += HOUR - MINUTE
        watched.hear()
    watched.now += HOUR + KNOWN
    assert watched.look() == ["SOURCE-SILENT"]


def test_a_flood_of_refused_requests_is_one_event_and_its_end_another() -> None:
    watched = Watched(inf)
    watched.hear()
    for _ in range(60):
        watched.now += MINUTE
        watched.refuse(1000)
    assert watched.pass_time(QUIET) == ["SOURCE-BACK"]
    refused, back = watched.told
    assert refused.name == "SOURCE-REFUSED"
    assert {**refused.details, "since": ""} == {
        "source": "kc", "since": "", "refused": "2000", "reason": "wrong", "addresses": "192.0.2.1",
    }  # fmt: skip
    assert (back.details["after"], back.details["refused"]) == ("refusal", "60000")


def test_a_stranger_who_comes_once_is_not_told_and_a_sender_with_a_wrong_secret_is() -> None:
    stranger = Watched(inf)
    stranger.hear()
    stranger.refuse()
    stranger.now += 1000
    stranger.hear()
    assert stranger.pass_time(3 * HOUR) == []
    sender = Watched(inf)
    sender.hear()
    sender.now += 1000
    sender.refuse()
    assert sender.pass_time(MINUTE) == ["SOURCE-REFUSED"]


def test_a_warning_ends_soon_after_requests_are_accepted_again() -> None:
    watched = Watched(inf)
    watched.refuse(5)
    watched.pass_time(2 * MINUTE)
    assert is_refused(watched.state, watched.now)
    watched.pass_time(30 * MINUTE)
    assert is_refused(watched.state, watched.now)
    watched.hear()
    assert not is_refused(watched.state, watched.now)


def test_whatever_is_refused_what_is_kept_of_it_is_bounded() -> None:
    watched = Watched(inf)
    for number in range(500):
        watched.look(News(Tally(refused=2), None, None, {str(number): 2}, watched.now, (f"192.0.2.{number}",)))
    state = watched.state.refusing
    assert state is not None
    assert state.count == sum(state.reasons.values()) == 1000
    assert len(state.reasons) <= REASONS + 1
    assert len(state.addresses) <= ADDRESSES


def test_each_gap_is_told_once() -> None:
    watched = Watched(inf)
    first, second = Gap("acme", "events", 1, START, START + HOUR), Gap("acme", "events", 2, START, START + 2 * HOUR)
    assert watched.look(gaps=[first]) == ["SOURCE-GAP"]
    assert watched.look(gaps=[first]) == []
    assert watched.look(gaps=[second]) == ["SOURCE-GAP"]
    assert watched.told[1].details == {
        "source": "kc", "realm": "acme", "kind": "events",
        "from": "2023-11-14T22:13:20Z", "to": "2023-11-15T00:13:20Z",
    }  # fmt: skip


def test_what_came_lately_is_counted_by_the_minute() -> None:
    watched = Watched(inf)
    for _ in range(90):
        watched.now += MINUTE
        watched.hear()
    assert watched.state.lately(watched.now, 10).accepted == 10
    assert watched.state.lately(watched.now, 60).accepted == 60
    assert watched.state.total.accepted == 90
    assert len(watched.state.minutes) == 60
