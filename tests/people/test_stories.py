"""What several events tell together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.people.stories import SILENCE, STEPS, TRIES, Happening, Story, tell
from tests.people.golden import FOLDER, PROVIDERS, catalogue, happening, told

SOURCE = {"name": "prod", "provider": "keycloak", "nativeType": "x"}


def event(type: str, at: float, *, source: str = "prod", outcome: str | None = None, **changes: Any) -> dict[str, Any]:
    """One event of Zoe's, so many seconds after the beginning."""
    failed = type.endswith("_ERROR")
    who = {"userId": "u1", "username": "zoe", "ipAddress": "203.0.113.7", **changes.pop("who", {})}
    return {
        "time": 1_800_000_000_000 + round(at * 1_000),
        "type": f"access.{type}",
        "outcome": outcome or ("failure" if failed else "success"),
        "source": {**SOURCE, "name": source},
        "authDetails": {name: value for name, value in who.items() if value is not None},
        **changes,
    }


def stories(*events: dict[str, Any], known: frozenset[tuple[str, str]] = frozenset()) -> list[Story]:
    return tell([happening(str(number), one) for number, one in enumerate(events, 1)], catalogue(), known)


def uids(story: Story) -> list[int]:
    return [int(one.uid) for one in story.parts]


def shape(found: list[Story]) -> list[tuple[str, list[int]]]:
    return [(story.kind, uids(story)) for story in found]


def test_there_is_a_story_of_each_provider() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(PROVIDERS)
    assert len(PROVIDERS) == 9


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_a_provider_sends_tells_its_stories(provider: str) -> None:
    assert told(provider) == Path(FOLDER / f"{provider}.txt").read_text()


def test_a_login_is_one_line_with_method_factor_device_and_place() -> None:
    (login,) = stories(
        event("LOGIN_ATTEMPT", 0, outcome="unknown"),
        event("VALIDATE_PASSWORD", 1),
        event("SEND_OTP", 2, details={"factor": "sms"}),
        event("VALIDATE_OTP", 20, details={"factor": "sms"}),
        event(
            "LOGIN",
            21,
            who={"sessionId": "s1", "clientId": "shop"},
            details={"browser": "Firefox", "os": "Linux", "city": "Utrecht", "country": "NL"},
        ),
        event("CODE_TO_TOKEN", 22, who={"sessionId": "s1", "clientId": "shop", "username": None}),
    )
    assert login.sentence == (
        "zoe logged in to shop from 203.0.113.7 (Utrecht, NL): new session, by password and a code by SMS, "
        "on Firefox on Linux"
    )
    assert uids(login) == [1, 2, 3, 4, 5, 6]
    assert [(tie.shown, tie.made) for tie in login.ties] == [("4", "3")]


def test_failed_tries_before_a_success_are_counted_and_told_with_it() -> None:
    (login,) = stories(
        event("LOGIN_ERROR", 0, reason="bad_credentials", who={"ipAddress": "198.51.100.66"}),
        event("LOGIN_ERROR", 30, reason="bad_credentials"),
        event("LOGIN", 60),
    )
    assert login.sentence == "zoe logged in from 203.0.113.7: after 2 failed tries within 60 s from 198.51.100.66"
    assert (len(login.tries), login.addresses_of_tries) == (2, ["198.51.100.66", "203.0.113.7"])


def test_failed_tries_are_counted_since_the_login_before_and_for_half_an_hour() -> None:
    early, first, between, late = stories(
        event("LOGIN_ERROR", 0),
        event("LOGIN", TRIES / 1_000 + 1),
        event("LOGIN_ERROR", TRIES / 1_000 + 2),
        event("LOGIN", TRIES / 1_000 + 3),
        event("LOGIN", TRIES / 1_000 + 4),
    )
    assert [early.kind, first.tries, uids(between), late.tries] == ["failed_login", [], [3, 4], []]


def test_a_failure_under_a_name_alone_is_not_told_with_the_login_of_who_has_it() -> None:
    found = stories(event("LOGIN_ERROR", 0, who={"userId": None}), event("LOGIN", 5))
    assert shape(found) == [("failed_login", [1]), ("login", [2])]


def test_a_user_whom_the_provider_does_not_know_is_nobody() -> None:
    found = stories(event("LOGIN_ERROR", 0, reason="unknown_user"), event("LOGIN", 5))
    assert shape(found) == [("failed_login", [1]), ("login", [2])]


def test_a_session_in_which_somebody_had_logged_in_is_single_sign_on() -> None:
    first, second = stories(event("LOGIN", 0, who={"sessionId": "s1"}), event("LOGIN", 60, who={"sessionId": "s1"}))
    assert (first.session, second.session) == ("new", "single sign-on")
    (only,) = stories(event("LOGIN", 0, who={"sessionId": "s1"}), known=frozenset({("prod", "s1")}))
    assert only.session == "single sign-on"
    (elsewhere,) = stories(event("LOGIN", 0, who={"sessionId": "s1"}), known=frozenset({("other", "s1")}))
    assert elsewhere.session == "new"
    assert stories(event("LOGIN", 0))[0].session is None


def test_the_token_of_another_application_is_no_part_of_a_login() -> None:
    found = stories(
        event("LOGIN", 0, who={"sessionId": "s1", "clientId": "shop"}),
        event("CODE_TO_TOKEN", 1, who={"sessionId": "s1", "clientId": "wiki"}),
        event("CODE_TO_TOKEN", 2, who={"sessionId": "s1", "clientId": "shop"}),
    )
    assert shape(found) == [("login", [1, 3]), ("event", [2])]


def test_steps_of_another_session_or_person_stay_apart() -> None:
    found = stories(
        event("VALIDATE_PASSWORD", 0, who={"userId": "u2"}),
        event("VALIDATE_PASSWORD", 1, who={"sessionId": "s2"}),
        event("VALIDATE_PASSWORD", 2, source="other"),
        event("VALIDATE_PASSWORD", 3),
        event("LOGIN", 4, who={"sessionId": "s1"}),
    )
    assert shape(found) == [("event", [1]), ("event", [2]), ("event", [3]), ("login", [4, 5])]


def test_steps_that_name_only_their_session_belong_to_its_login() -> None:
    nobody = {"userId": None, "username": None, "sessionId": "s1"}
    (login,) = stories(
        event("CREATE_SESSION", 0, who=nobody),
        event("VALIDATE_PASSWORD", 5, who=nobody),
        event("LOGIN", 9, who={"sessionId": "s1"}),
    )
    assert uids(login) == [1, 2, 3]


def test_a_step_that_was_long_before_a_login_is_an_event_of_its_own() -> None:
    found = stories(event("VALIDATE_PASSWORD", 0), event("LOGIN", STEPS / 1_000 + 1))
    assert shape(found) == [("event", [1]), ("login", [2])]


def test_a_code_that_is_no_part_of_a_login_is_one_line() -> None:
    (code,) = stories(
        event("CREATE_OTP", 0, id="g1", details={"factor": "email", "otp_purpose": "PASSWORD_CHANGE"}),
        event("SEND_OTP", 1, details={"factor": "email", "otp_purpose": "PASSWORD_CHANGE"}),
        event("VALIDATE_OTP_ERROR", 10, details={"factor": "email", "related_event_id": "g1"}),
        event("VALIDATE_OTP", 20, details={"factor": "email", "related_event_id": "g1"}),
    )
    assert code.kind == "code"
    assert code.sentence == (
        "A code or link by e-mail for zoe (password change) was made, sent and accepted after 20 s, "
        "after 1 failed try within 10 s"
    )
    assert [(tie.shown, tie.made, tie.by) for tie in code.ties] == [
        ("3", "1", "the id that it names"),
        ("4", "1", "the id that it names"),
    ]


def test_a_code_of_another_purpose_or_kind_is_another_one() -> None:
    found = stories(
        event("CREATE_OTP", 0, details={"factor": "email", "otp_purpose": "LOGIN"}),
        event("CREATE_OTP", 1, details={"factor": "phone", "otp_purpose": "LOGIN"}),
        event("VALIDATE_OTP", 9, details={"factor": "email", "otp_purpose": "LOGIN"}),
        event("VALIDATE_OTP", 10, details={"factor": "phone", "otp_purpose": "LOGIN"}),
    )
    ties = {tie.shown: tie.made for story in found for tie in story.ties}
    assert ties == {"3": "1", "4": "2"}


def test_a_validation_whose_code_is_not_there_says_so() -> None:
    (one,) = stories(event("VALIDATE_OTP", 0, details={"related_event_id": "gone"}))
    assert [(tie.made, tie.by) for tie in one.ties] == [(None, "it names gone, which is not among these")]


def test_what_an_administrator_does_is_no_step_of_a_login() -> None:
    found = stories(event("UPDATE_PASSWORD", 0, details={"userId": "u2", "username": "tom"}), event("LOGIN", 1))
    assert [story.sentence for story in found] == [
        "The password of tom was set, by zoe",
        "zoe logged in from 203.0.113.7",
    ]


def test_hostile_text_is_harmless_in_sentences() -> None:
    (one,) = stories(event("LOGIN", 0, who={"username": "zoe\n\x1b[31m\u202e"}, details={"city": "a\nb"}))
    assert "\n" not in one.sentence and "\x1b" not in one.sentence and "\u202e" not in one.sentence


TYPES = ["LOGIN", "LOGIN_ERROR", "VALIDATE_OTP", "VALIDATE_OTP_ERROR", "CREATE_OTP", "SEND_OTP", "CODE_TO_TOKEN"]
TYPES += ["CREATE_SESSION", "LOGIN_ATTEMPT", "LOGOUT", "NOBODY_KNOWS"]
SOME = st.builds(
    lambda type, gap, user, session, client, source: (gap, type, user, session, client, source),
    st.sampled_from(TYPES),
    st.integers(0, 2_400),
    st.sampled_from([None, "u1", "u2"]),
    st.sampled_from([None, "s1", "s2"]),
    st.sampled_from([None, "shop", "wiki"]),
    st.sampled_from(["prod", "other"]),
)


#: A loaded machine takes its time for this.
_SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def drawn(some: list[tuple[Any, ...]]) -> list[Happening]:
    found, at = [], 0
    for number, (gap, type, user, session, client, source) in enumerate(some):
        at += gap
        who = {"userId": user, "sessionId": session, "clientId": client}
        found.append(happening(str(number), event(type, at, who=who, source=source)))
    return found


@_SLOWLY
@given(st.lists(SOME, max_size=25))
def test_every_event_is_in_one_story_and_a_story_in_one_source(some: list[tuple[Any, ...]]) -> None:
    all = drawn(some)
    found = tell(all, catalogue())
    assert sorted(int(one.uid) for story in found for one in story.parts) == list(range(len(all)))
    for story in found:
        assert len({one.event.source for one in story.parts}) == 1
        assert story.begin <= story.time <= story.end
        assert story.end - story.begin <= TRIES + STEPS + SILENCE
        assert story.sentence
        users = {one.event.actor for one in story.parts} - {None}
        assert len(users) <= 1
    times = [story.time for story in found]
    assert times == sorted(times)


@_SLOWLY
@given(st.lists(SOME, max_size=12), st.lists(SOME, max_size=12))
def test_no_story_goes_on_over_a_long_silence(before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]) -> None:
    silence = (SILENCE // 1_000 + 1, "LOGOUT", "u1", None, None, "prod")
    all = drawn([*before, silence, *after])
    first, second = all[: len(before)], all[len(before) :]
    sessions = frozenset(
        (one.event.source, one.event.session)
        for one in first
        if one.event.type == "access.LOGIN" and one.event.session is not None
    )
    apart = [*tell(first, catalogue()), *tell(second, catalogue(), sessions)]
    assert [(one.kind, uids(one), one.sentence) for one in apart] == [
        (one.kind, uids(one), one.sentence) for one in tell(all, catalogue())
    ]
