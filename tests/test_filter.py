"""Which events a filter wants, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import ConfigError, RequestError
from adapter.filter import GLOBS_LIMIT, Filter, Word, query_words
from adapter.globs import glob_matches
from adapter.model import EventDict
from adapter.search_fields import FOUND_DETAILS, address_bytes, detail_token, search_fields, split_words
from tests.mapping.built_in import catalogue
from tests.search.events import CATALOGUE, make_event


def parse(parameters: dict[str, list[str]]) -> Filter:
    return Filter.parse(parameters, CATALOGUE)


def matches(event: EventDict, **parameters: str | list[str]) -> bool:
    listed = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
    return parse({name.rstrip("_"): values for name, values in listed.items()}).matches(
        search_fields(orjson.dumps(event))
    )


# Types


def test_without_conditions_everything_matches_but_system_events() -> None:
    assert matches(make_event())
    assert matches(make_event(type="custom.thing"))
    assert not matches(make_event(type="system.SINK-STOPPED"))


@pytest.mark.parametrize("pattern", ["system.*", "system.SINK-STOPPED", "system.SINK*"])
def test_system_events_match_when_a_type_names_them(pattern: str) -> None:
    assert matches(make_event(type="system.SINK-STOPPED"), type=pattern)


@pytest.mark.parametrize("pattern", ["*", "sys*", "*STOPPED"])
def test_a_glob_alone_does_not_name_system_events(pattern: str) -> None:
    assert not matches(make_event(type="system.SINK-STOPPED"), type=pattern)


@pytest.mark.parametrize(
    ("type", "asked"),
    [
        ("access.SOCIAL_LINK", "access.FEDERATED_IDENTITY_LINK"),
        ("access.FEDERATED_IDENTITY_LINK", "access.SOCIAL_LINK"),
        ("access.SOCIAL_LINK_ERROR", "access.FEDERATED_IDENTITY_LINK_ERROR"),
        ("access.SOCIAL_LINK_ERROR", "access.FEDERATED*_ERROR"),
        ("access.FEDERATED_IDENTITY_LINK", "access.EVENT_LINK"),
    ],
)
def test_an_alias_finds_what_its_other_names_find(type: str, asked: str) -> None:
    assert matches(make_event(type=type), type=asked)
    assert not matches(make_event(type=type), not_type=asked)


def test_the_name_of_an_access_type_is_short_for_it_as_in_tables() -> None:
    def finds(asked: str, type: str) -> bool:
        return Filter.parse({"type": [asked]}, catalogue()).matches(search_fields(orjson.dumps(make_event(type=type))))

    assert finds("LOGIN_ERROR", "access.LOGIN_ERROR")
    assert finds("LOGIN*", "access.LOGIN_ERROR")
    assert not finds("LOGIN", "access.LOGIN_ERROR")
    # A type of somebody's own may be called so.
    assert finds("LOGIN", "LOGIN")
    assert not finds("PAYMENT", "access.PAYMENT")


def test_an_alias_does_not_find_the_error_twin() -> None:
    assert not matches(make_event(type="access.SOCIAL_LINK_ERROR"), type="access.FEDERATED_IDENTITY_LINK")


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("access.*_ERROR", "access.LOGIN_ERROR", True),
        ("access.*_ERROR", "access.LOGIN", False),
        ("*", "", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("*x*x*", "x", False),
        ("LOGIN", "login", False),
        ("access.LOGIN", "access.LOGIN_ERROR", False),
        ("access.L?GIN", "access.LOGIN", False),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_is_special(pattern: str, text: str, expected: bool) -> None:
    assert glob_matches(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "type", "expected"),
    [
        (r"/access\.LOGIN(_ERROR)?/", "access.LOGIN_ERROR", True),
        (r"/access\.LOG/", "access.LOGIN", False),
        ("/.*/", "foo.bar", True),
        ("/.*/", "system.SINK-PAUSED", False),
        ("/system.SINK-.*/", "system.SINK-PAUSED", True),
        (r"/system\.SINK-.*/", "system.SINK-PAUSED", True),
        # By its other names, too.
        ("/access.SOCIAL_[A-Z]+/", "access.FEDERATED_IDENTITY_LINK", True),
        # What is longer than types are is no type that a pattern means.
        ("/a.*/", "a" * 201, False),
        ("/", "/", True),
        ("//", "//", True),
    ],
)
def test_a_pattern_is_to_match_all_of_a_type(pattern: str, type: str, expected: bool) -> None:
    assert matches(make_event(type=type), type=pattern) is expected
    if not type.startswith("system."):
        assert matches(make_event(type=type), not_type=pattern) is not expected


def test_patterns_of_one_filter_do_not_disturb_each_other() -> None:
    many = [f"/(f)(o)(o){number}|bar{number}/" for number in range(12)]
    filter = parse({"type": [*many, "/(?i)BAZ/", "access.*"]})
    found = [
        one for one in ("foo3", "bar11", "foo3bar3", "baz", "FOO3", "access.X", "other") if filter.may_match_type(one)
    ]
    assert found == ["foo3", "bar11", "baz", "access.X"]


@pytest.mark.parametrize(
    ("patterns", "problem"),
    [
        (["/(?=x)/"], "RE2"),
        (["/[/"], "RE2"),
        (["/(a{1,1000}){1,1000}/"], "RE2"),
        (["/a{600}/", "/b{600}/"], "too large"),
        ([r"/\Qaccess.LOGIN/"], "RE2"),  # alone it is one, beside others it is not
    ],
    ids=str,
)
def test_patterns_that_cannot_be_are_refused(patterns: list[str], problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        parse({"type": patterns})
    with pytest.raises(ConfigError, match=f"filter.type: .*{problem}"):
        Filter.from_settings({"type": patterns}, catalogue())


@given(pieces=st.lists(st.text("ab", max_size=3), min_size=1, max_size=4), between=st.text("ab", max_size=3))
def test_a_glob_matches_whatever_stands_for_its_stars(pieces: list[str], between: str) -> None:
    assert glob_matches("*".join(pieces), between.join(pieces))


@pytest.mark.parametrize(
    ("parameters", "needs_event"),
    [({}, False), ({"type": ["access.*"]}, False), ({"not_client": ["poller"]}, True), ({"from": ["5"]}, True)],
    ids=str,
)
def test_the_event_is_needed_where_the_type_alone_does_not_decide(
    parameters: dict[str, list[str]], needs_event: bool
) -> None:
    assert parse(parameters).needs_event is needs_event


def test_a_type_that_cannot_match_is_known_without_the_event() -> None:
    filter = parse({"type": ["access.*_ERROR"], "client": ["app"]})
    assert filter.may_match_type("access.LOGIN_ERROR")
    assert not filter.may_match_type("access.LOGIN")


# Who, where, what


def test_a_user_is_found_by_id_and_by_name() -> None:
    event = make_event(authDetails={"userId": "u1", "username": "alice"})
    assert matches(event, user="u1")
    assert matches(event, actor="alice")
    assert not matches(event, target="alice")
    assert not matches(event, not_user="alice")


def test_a_failed_login_is_found_by_the_name_that_was_tried() -> None:
    event = make_event(type="access.LOGIN_ERROR", authDetails={}, details={"username": "nobody"})
    assert matches(event, user="nobody")
    assert matches(event, actor="nobody")


@pytest.mark.parametrize(
    "changes",
    [
        {"resourcePath": "users/u2/groups/g1"},
        {"resourcePath": "attack-detection/brute-force/users/u2"},
        {"resourcePath": "organizations/o1", "details": {"userId": "u2"}},
    ],
    ids=str,
)
def test_an_administrator_acts_on_the_user_of_the_path_or_the_details(changes: dict[str, Any]) -> None:
    event = make_event(type="admin.USER-UPDATE", authDetails={"userId": "boss"}, **changes)
    assert matches(event, target="u2", actor="boss")
    assert matches(event, user=["u2"])
    assert not matches(event, actor="u2")


def test_the_name_in_an_admin_events_details_is_the_targets() -> None:
    event = make_event(type="admin.USER-UPDATE", authDetails={"username": "boss"}, details={"username": "alice"})
    assert matches(event, target="alice", actor="boss")
    assert not matches(event, actor="alice")


def test_an_impersonator_acts_on_the_one_whose_id_the_event_carries() -> None:
    event = make_event(
        type="access.IMPERSONATE",
        authDetails={"userId": "u-zoe", "username": "zoe"},
        details={"impersonator": "admin", "impersonator_realm": "master"},
    )
    assert matches(event, target="u-zoe", actor="admin")
    assert matches(event, target="zoe")
    assert not matches(event, actor="u-zoe")


def test_whose_account_it_was_is_the_target_where_somebody_else_acted() -> None:
    event = make_event(type="access.SEND_PUSH_CHALLENGE", authDetails={"userId": "desk"}, details={"userId": "u-zoe"})
    assert matches(event, target="u-zoe", actor="desk")
    assert matches(event, user="u-zoe")
    assert not matches(event, actor="u-zoe")


def test_a_session_is_the_code_id_where_no_session_is_known() -> None:
    assert matches(make_event(details={"code_id": "c1"}), session="c1")
    assert not matches(make_event(authDetails={"sessionId": "s1"}, details={"code_id": "c1"}), session="c1")


def test_an_event_is_found_by_the_id_that_its_provider_gave_it() -> None:
    assert matches(make_event(id="e1"), id="e1")
    assert not matches(make_event(id="e1"), id="e2")
    assert not matches(make_event(), id="e1")
    assert matches(make_event(), not_id="e1")


def test_a_resource_is_a_path_or_a_glob_of_it() -> None:
    event = make_event(type="admin.USER-ACTION", resourcePath="users/U1/reset-password")
    assert matches(event, resource="users/U1/reset-password")
    assert matches(event, resource=["groups/*", "users/*/reset-password"])
    assert not matches(event, resource="users/U1")
    assert not matches(event, resource="users/u1*")
    assert not matches(event, not_resource="users/*")
    assert matches(make_event(), not_resource="*")
    assert not matches(make_event(), resource="*")


def test_a_resource_has_a_length_and_globs_a_number() -> None:
    parse({"resource": ["x" * 500]})
    with pytest.raises(RequestError, match="a value of not_resource has 501 characters; the limit is 500"):
        parse({"not_resource": ["x" * 501]})
    parse({"resource": [f"{number}*" for number in range(10)], "type": [f"{number}*" for number in range(10)]})
    with pytest.raises(RequestError, match="types and resources"):
        parse({"resource": [f"{number}*" for number in range(11)], "type": [f"{number}*" for number in range(10)]})


def test_a_realm_is_found_by_id_and_by_name() -> None:
    event = make_event(realmId="r1", realmName="acme")
    assert matches(event, realm="r1")
    assert matches(event, realm=["other", "acme"])
    assert not matches(event, not_realm="r1")


def test_a_reason_class_is_any_of_its_reasons() -> None:
    event = make_event(type="access.LOGIN_ERROR", outcome="failure", reason="unknown_user")
    assert matches(event, reason_class="credential")
    assert not matches(event, reason_class="system")
    assert not matches(make_event(), reason_class="credential")


def test_what_an_event_does_not_have_is_not_among_the_excluded() -> None:
    event = make_event(authDetails={})
    assert matches(event, not_client="poller", not_ip="0.0.0.0/0", not_session="s", not_reason="unknown_user")


@pytest.mark.parametrize(
    ("address", "asked", "expected"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.0/24", True),
        ("203.0.113.7", "203.0.113.9/24", True),
        ("203.0.114.7", "203.0.113.0/24", False),
        ("203.0.113.7:50123", "203.0.113.7", True),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("[2001:db8::1]:443", "2001:db8::/32", True),
        ("2001:DB8:0:0::1", "2001:db8::1", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("unknown", "0.0.0.0/0", False),
    ],
)
def test_an_address_is_found_however_it_is_written(address: str, asked: str, expected: bool) -> None:
    assert matches(make_event(authDetails={"ipAddress": address}), ip=asked) is expected


@given(st.text(max_size=60))
def test_any_text_may_stand_where_an_address_should(text: str) -> None:
    found = address_bytes(text)
    assert found is None or len(found) == 16


def test_a_time_range_holds_its_beginning_and_not_its_end() -> None:
    assert matches(make_event(time=1_000), **{"from": "1000", "to": "1001"})
    assert not matches(make_event(time=1_000), to="1000")
    assert not matches(make_event(source={"receivedAt": 5}), received_from="6")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1767225600123", 1767225600123),
        ("2026-01-01T00:00:00Z", 1767225600000),
        ("2026-01-01T02:00:00+02:00", 1767225600000),
        ("2026-01-01T02:00:00 02:00", 1767225600000),
        ("2026-01-01t00:00:00.5z", 1767225600500),
        ("2026-01-01T00:00:00.0001Z", 1767225600001),
    ],
)
def test_a_moment_is_rfc_3339_with_its_zone_or_epoch_milliseconds(text: str, moment: int) -> None:
    assert parse({"from": [text]}).time_from == moment


# Words


def words(event: EventDict) -> set[str]:
    return search_fields(orjson.dumps(event)).words


def test_every_word_must_occur_and_a_star_ends_a_beginning() -> None:
    event = make_event(authDetails={"username": "Alice.Smith@Acme.test"})
    assert matches(event, q="SMITH alice")
    assert matches(event, q="acm*")
    assert matches(event, q="alice@acme.test")
    assert not matches(event, q="acm")
    assert not matches(event, q="alice jones")
    assert matches(event, q=["jones", "alice"])
    assert not matches(event, not_q="alice")


def test_what_people_would_type_is_a_word_and_what_machines_made_is_not() -> None:
    event = make_event(
        type="access.LOGIN_ERROR",
        error="invalid_user_credentials",
        authDetails={"clientId": "web-shop", "username": "user20071234567890abc1d2e3"},
        details={
            "token_id": "onrtro:bc185273-0f66-8577-07e3-c8f55c140e38",
            "redirect_uri": "https://shop.example/cb?state=nh5iCfRLDcd4B7kkCX1eWREU&at=2026-05-01T08:30:00Z",
            "last_seen": "1795230294395",
            "phone": "+49 151 12345678",
        },
        source={"nativeType": "LOGIN_ERROR"},
    )
    expected = [
        "access",
        "login",
        "error",
        "invalid",
        "user",
        "credentials",
        "web",
        "shop",
        "user20071234567890abc1d2e3",
    ]
    expected += ["user20071234567890abc1d2e3", "https", "example", "cb", "state", "at", "49", "151", "12345678"]
    assert words(event) == set(expected)


def test_a_value_without_end_gives_no_words_without_end() -> None:
    endless = " ".join(f"word{number}" for number in range(100_000))
    assert len(words(make_event(authDetails={"username": endless}, details={"note": endless}))) < 400


def test_letters_of_every_script_make_words_in_one_case() -> None:
    assert split_words("Straße ΣΊΣΥΦΟΣ Zoe\u0308 東京_ﬁn-1") == ["strasse", "σίσυφοσ", "zoë", "東京", "fin", "1"]
    # What nobody sees parts no word, and a number is found by whatever digits somebody types.
    assert split_words("Müller\u00adschmidt مـی\u200cخواهم \u202eevil\u202c") == ["müllerschmidt", "مـیخواهم", "evil"]
    assert split_words("غرفة ٣٤ x②") == ["غرفة", "34", "x2"]


@pytest.mark.parametrize("asked", ["Zoe\u0308", "zo\u00eb", "ZO\u00cb"])
def test_a_name_is_found_however_its_accents_are_written(asked: str) -> None:
    for said in ("zoe\u0308", "Zo\u00eb"):
        assert matches(make_event(authDetails={"username": said}), user=asked)
    assert not matches(make_event(authDetails={"username": "zoe"}), user=asked)


def test_a_filter_is_asked_again_as_it_is_told() -> None:
    globs = [f"{letter}*" for letter in "CDEGHILMNOPQRSTUVWX"]
    asked = Filter.parse({"type": globs}, catalogue())
    told = {term.parameter: list(term.values) for term in asked.terms}
    assert len(told["type"]) > GLOBS_LIMIT
    assert Filter.parse(told, catalogue()) == asked
    with pytest.raises(RequestError, match="Too many values"):
        Filter.parse({"type": [*globs, "admin.*", "other.*"]}, catalogue())


@given(st.text(max_size=80).filter(lambda text: bool(query_words(text))))
def test_a_name_of_any_letters_is_found_by_itself(name: str) -> None:
    assert matches(make_event(authDetails={"username": name}), q=name)


# Details

DETAILS = {
    "login_method": "password",
    "factor": "webauthn",
    "identity_provider": "Corporate SAML",
    "device_id": "guo1macbook8Dev0h8",
    "device_name": "alice",  # as the user is called
    "country": "NL",
    "risk_level": "high",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "password"),
        ("factor", "WebAuthn"),
        ("idp", "corporate saml"),
        ("device", "guo1macbook8Dev0h8"),
        ("device", "alice"),
        ("country", "nl"),
        ("country", "Netherlands"),
        ("risk", "high"),
    ],
)
def test_an_event_is_found_by_its_agreed_details_in_whatever_case(name: str, value: str) -> None:
    event = make_event(details=DETAILS)
    assert matches(event, **{name: value})
    assert matches(event, **{name: ["other", value]})
    assert not matches(event, **{f"not_{name}": value})
    assert not matches(event, **{name: "other"})
    assert not matches(make_event(), **{name: value})
    assert matches(make_event(), **{f"not_{name}": value})


def test_the_tokens_of_details_are_among_the_words_that_nobody_can_type() -> None:
    fields = search_fields(orjson.dumps(make_event(details=DETAILS)))
    for name in FOUND_DETAILS:
        assert set(fields.tokens(name)) <= fields.words
        assert all(query_words(token) != (Word(token, prefix=False),) for token in fields.tokens(name))


def test_every_filter_of_details_has_a_token_of_its_own_and_compares_agreed_details() -> None:
    assert len({detail_token(name, "x") for name in FOUND_DETAILS}) == len(FOUND_DETAILS)
    assert {detail for names in FOUND_DETAILS.values() for detail in names} <= catalogue().details.keys()


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_values_have_one_token_only_if_they_differ_in_case_alone(one: str, other: str) -> None:
    assert (detail_token("idp", one) == detail_token("idp", other)) is (one.casefold() == other.casefold())
    assert not any(letter.isspace() or letter in "'\\\"" for letter in detail_token("idp", one))


# Reading


def test_equal_filters_are_equal_values_however_they_were_written() -> None:
    one = parse({"type": ["b", "a", "b"], "not_client": ["x"], "from": ["1970-01-01T00:00:01Z"]})
    other = Filter.from_settings({"from": 1000, "not_client": "x", "type": ["a", "b"]}, CATALOGUE)
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == '{"from":1000,"not_client":["x"],"type":["a","b"]}'
    assert one != parse({"type": ["a", "b"]})


def test_a_filters_text_reads_as_the_same_filter() -> None:
    filter = parse({"ip": ["10.0.0.0/8"], "q": ["Zoë acme*"], "to": ["77"], "not_outcome": ["failure", "unknown"]})
    assert Filter.from_settings(json.loads(filter.canonical()), CATALOGUE) == filter


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("outcome", "maybe", "failure, success, unknown"),
        ("reason", "bad_luck", "bad_credentials, delivery_failed, unknown_user"),
        ("not_reason_class", "luck", "credential, system"),
        ("ip", "xyz", "203.0.113.0/24"),
        ("ip", "10.0.0.0/33", "203.0.113.0/24"),
        ("from", "tomorrow", "2026-05-01T08:30:00Z"),
        ("received_to", "2026-05-01T08:30:00", "2026-05-01T08:30:00Z"),
        ("to", "2026-13-01T08:30:00Z", "2026-05-01T08:30:00Z"),
        ("from", "-5", "epoch milliseconds"),
        ("type", "", "leave it out"),
        ("q", "-*-", "holds no word"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_is_right(name: str, value: str, allowed: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse({name: [value]})
    assert refused.value.status == 400
    assert refused.value.detail.startswith(name)
    assert allowed in refused.value.detail
    assert refused.value.extra["parameter"] == name


def test_a_bound_given_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="from is given 2 times"):
        parse({"from": ["1", "2"]})


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError) as refused:
        parse({"typ": ["access.LOGIN"]})
    assert refused.value.status == 400
    allowed = refused.value.extra["allowed"]
    assert isinstance(allowed, tuple)
    assert {"type", "not_type", "received_from"} <= set(allowed)
    assert "not_from" not in allowed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"typ": "x"}, r"^sinks\.soc\.filter\.typ: typ is not known; known are type, "),
        ({"outcome": ["maybe"]}, r"^sinks\.soc\.filter\.outcome: .* failure, success, unknown"),
        ({"client": 5}, r"^sinks\.soc\.filter\.client: 5 is not a text"),
        ({"client": [True]}, r"^sinks\.soc\.filter\.client: True is not a text"),
    ],
    ids=str,
)
def test_a_wrong_setting_names_its_place_and_what_is_allowed(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Filter.from_settings(settings, CATALOGUE, "sinks.soc.filter")


# How much one question may ask


@pytest.mark.parametrize(
    ("parameters", "parameter", "said"),
    [
        ({"client": ["app"], "user": [f"u{n}" for n in range(1_000)]}, "user", "1000 values"),
        ({"client": ["c" * 1_001]}, "client", "1001 characters"),
        ({"type": ["a.*"] * 11, "not_type": ["b.*"] * 10}, "not_type", "20 types and resources with a *"),
        ({"q": ["one two three"] * 22}, "q", "64 words"),
    ],
)
def test_a_question_with_too_many_values_is_refused_by_name(
    parameters: dict[str, list[str]], parameter: str, said: str
) -> None:
    with pytest.raises(RequestError) as refused:
        parse(parameters)
    assert (refused.value.status, refused.value.extra["parameter"]) == (400, parameter)
    assert said in refused.value.detail


def test_a_question_may_have_a_thousand_values() -> None:
    assert matches(make_event(), user=[*(f"u{n}" for n in range(999)), "alice"])
    assert not matches(make_event(), type=[f"access.X{n}" for n in range(1_000)])


def test_a_sink_may_name_more() -> None:
    wanted = [f"access.X{n}*" for n in range(30)]
    assert Filter.from_settings({"type": wanted}, CATALOGUE).may_match_type("access.X7")


def test_what_a_filter_remembers_of_types_is_bounded() -> None:
    filter = parse({"type": ["access.*"]})
    for number in range(12_000):
        assert filter.may_match_type(f"access.X{number}")
    assert filter.may_match_type("access." + "L" * 1_000)
    assert len(filter._types) <= 10_000
    assert all(len(type) <= 200 for type in filter._types)
