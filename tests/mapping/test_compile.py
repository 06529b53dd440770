from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.body import JSON, NDJSON, NotReadable
from adapter.mapping.compile import Result
from adapter.mapping.table import Table, load_tables
from adapter.mapping.trace import Trace
from adapter.resources import mappings_path
from adapter.workbench.examples import read_examples

Make = Callable[[str], Table]
NOW = 1_767_225_600_000

BASE = """
type: kind
identity: {strong: id, weak: ["@native", when, user.id]}
fields:
  id: id
  time: {path: when, as: epoch}
  authDetails.userId: [user.id, user_id]
  authDetails.ipAddress: {path: addr, as: ip}
  details: extra
  details.agent: "client.agents[name=main].text"
"""


def read(table: Table, raw: dict[str, Any], now: int = NOW) -> Result:
    return Result(*table.read(raw, now))


def event_of(table: Table, raw: dict[str, Any]) -> dict[str, Any]:
    result = read(table, raw)
    assert result.problem is None, result.problem
    assert result.event is not None
    return result.event


def test_the_first_present_of_several_paths_counts(make_table: Make) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    assert event_of(table, {"kind": "in", "user": {"id": "a"}, "user_id": "b"})["authDetails"] == {"userId": "a"}
    assert event_of(table, {"kind": "in", "user": {"id": ""}, "user_id": "b"})["authDetails"] == {"userId": "b"}
    assert event_of(table, {"kind": "in", "user": "no object", "user_id": 7})["authDetails"] == {"userId": "7"}


@pytest.mark.parametrize("nothing", [None, "", "null", {}, []])
def test_null_in_all_its_forms_is_absent(make_table: Make, nothing: object) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    event = event_of(table, {"kind": "in", "user": {"id": nothing}, "id": nothing, "extra": {"k": None, "n": "null"}})
    assert event["authDetails"] == {}
    assert "id" not in event
    assert event["details"] == {"time_problem": "absent"}


def test_an_element_of_a_list_is_found_by_its_key(make_table: Make) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    agents = [{"name": "other", "text": "x"}, 5, {"name": "main", "text": "Firefox"}]
    assert event_of(table, {"kind": "in", "when": 1767225600, "client": {"agents": agents}})["details"] == {
        "agent": "Firefox"
    }


def test_all_entries_of_an_object_become_details_as_text(make_table: Make) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    extra = {"s": "x", "n": 5, "t": True, "o": {"a": [1]}, "z": None}
    event = event_of(table, {"kind": "in", "when": "1767225600", "extra": extra})
    assert event["details"] == {"s": "x", "n": "5", "t": "true", "o": '{"a":[1]}'}


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ('{"s": "x", "n": 5, "z": null}', {"s": "x", "n": "5"}),
        ("s=x, n=5", {"s": "x", "n": "5"}),
        ("{broken", {}),
        ("words", {}),
        ("", {}),
    ],
)
def test_details_are_taken_out_of_text_too(make_table: Make, text: str, details: dict[str, str]) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    assert event_of(table, {"kind": "in", "when": 1767225600, "extra": text})["details"] == details


@pytest.mark.parametrize(
    ("when", "time"),
    [
        (1767225600, 1767225600000),
        ("1767225600", 1767225600000),
        (1767225600123, 1767225600123),
        (1767225600123456, 1767225600123),
        (1767225600123456789, 1767225600123),
        (1767225600.5, 1767225600500),
    ],
)
def test_seconds_to_nanoseconds_are_told_apart(make_table: Make, when: object, time: int) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    assert event_of(table, {"kind": "in", "when": when})["time"] == time


@pytest.mark.parametrize("when", [0, -5, "soon", 99999999999999999999, {"a": 1}, True, 12.5e300, "NaN", "inf"])
def test_an_absurd_time_becomes_the_arrival_and_says_so(make_table: Make, when: object) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    event = event_of(table, {"kind": "in", "when": when})
    assert event["time"] == NOW
    assert event["details"]["time_problem"].startswith("not a plausible time")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-01T00:00:00Z", 1767225600000),
        ("2026-01-01T01:00:00.1+01:00", 1767225600100),
        ("2026-01-01 00:00:00,123", 1767225600123),
        ("2026-01-01T00:00:00.123456789Z", 1767225600123),
    ],
)
def test_rfc3339_times_are_read(make_table: Make, text: str, time: int) -> None:
    table = make_table(BASE.replace("as: epoch", "as: rfc3339") + "types: {in: {type: LOGIN}}")
    assert event_of(table, {"kind": "in", "when": text})["time"] == time


@pytest.mark.parametrize(
    ("addr", "ip"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:443", "10.0.0.1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("rubbish", "rubbish"),
    ],
)
def test_ports_and_zones_are_taken_off_addresses(make_table: Make, addr: str, ip: str) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    assert event_of(table, {"kind": "in", "addr": addr})["authDetails"]["ipAddress"] == ip


def test_native_types_are_equal_as_text_and_as_number(make_table: Make) -> None:
    table = make_table(BASE + "types: {101: {type: LOGIN}}")
    assert event_of(table, {"kind": 101})["type"] == event_of(table, {"kind": "101"})["type"] == "access.LOGIN"


def test_a_type_without_a_row_is_quarantined_with_what_to_do(make_table: Make) -> None:
    result = read(make_table(BASE + "types: {101: {type: LOGIN}}"), {"kind": 999, "id": "x"})
    assert result.event is None
    assert result.native_type == "999"
    assert result.problem == "no row for '999': add one to the table"
    assert result.strong == ["id", "x"]


def test_where_the_native_type_is_missing_is_said_of_the_shape_that_fits(make_table: Make) -> None:
    table = make_table("identity: none\nshapes:\n  a: {when: {has: [x]}, type: [x.kind, x.type]}\n  b: {type: kind}\n")
    assert read(table, {"x": 1}).problem == "the native type is missing: x.kind or x.type"
    assert read(table, {}).problem == "the native type is missing: kind"


def test_rows_of_one_type_are_tried_from_the_top(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
types:
  change:
    - {when: {what: [password, pin]}, type: UPDATE_PASSWORD}
    - {when: {what: {contains: Mail}}, type: UPDATE_EMAIL}
    - {when: {what: {matches: "^otp-[0-9]+$"}}, type: UPDATE_TOTP}
    - {when: {has: [what, by], what: {not: nothing}}, type: UPDATE_PROFILE}
    - {when: {lacks: [what]}, ignore: true}
"""
    )
    assert event_of(table, {"kind": "change", "what": "pin"})["type"] == "access.UPDATE_PASSWORD"
    assert event_of(table, {"kind": "change", "what": "my mail"})["type"] == "access.UPDATE_EMAIL"
    assert event_of(table, {"kind": "change", "what": "otp-12"})["type"] == "access.UPDATE_TOTP"
    assert event_of(table, {"kind": "change", "what": "shoes", "by": "x"})["type"] == "access.UPDATE_PROFILE"
    assert read(table, {"kind": "change"}) == Result(
        None, "change", None, ["fields", "change", None, None], 0, None
    )._replace(weak=None)
    nothing = read(table, {"kind": "change", "what": "nothing", "by": "x"})
    assert nothing.problem == "no row of 'change' fits: add one that does"


def test_true_is_not_one(make_table: Make) -> None:
    table = make_table(BASE + "types: {x: [{when: {flag: 1}, type: LOGIN}, {type: LOGOUT}]}")
    assert event_of(table, {"kind": "x", "flag": True})["type"] == "access.LOGOUT"
    assert event_of(table, {"kind": "x", "flag": 1})["type"] == "access.LOGIN"
    assert event_of(table, {"kind": "x", "flag": "1"})["type"] == "access.LOGIN"


def test_a_failure_always_has_error_and_reason(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
  error: code
types:
  plain: {type: LOGIN_ERROR}
  word: {type: LOGIN_ERROR, reason: unknown_user}
  lookup: {type: LOGIN_ERROR, reason: {path: why, table: {LOCKED: locked}, default: unspecified}}
  admin: {type: admin.USER-CREATE}
"""
    )
    assert event_of(table, {"kind": "plain"})["error"] == "unknown_error"
    assert event_of(table, {"kind": "plain"})["reason"] == "unspecified"
    assert event_of(table, {"kind": "word"})["error"] == "user_not_found"
    assert event_of(table, {"kind": "word", "code": "custom"})["error"] == "custom"
    assert event_of(table, {"kind": "plain", "code": "invalid_user_credentials"})["reason"] == "bad_credentials"
    assert event_of(table, {"kind": "lookup", "why": "LOCKED"})["reason"] == "locked"
    assert event_of(table, {"kind": "lookup", "why": "??"})["reason"] == "unspecified"
    assert event_of(table, {"kind": "admin"})["outcome"] == "success"
    failed = event_of(table, {"kind": "admin", "code": "boom"})
    assert (failed["outcome"], failed["error"], failed["type"]) == ("failure", "boom", "admin.USER-CREATE")


def test_an_error_code_does_not_fail_a_type_that_does_not_fail(make_table: Make) -> None:
    event = event_of(make_table(BASE + "  error: code\ntypes: {in: {type: LOGIN}}"), {"kind": "in", "code": "odd"})
    assert event["outcome"] == "success"
    assert "error" not in event
    assert event["details"]["error"] == "odd"


def test_a_status_turns_any_type_into_its_failure_but_those_that_cannot_fail(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
failed: {status: error}
types:
  in: {type: LOGIN}
  lock: {type: USER_DISABLED_BY_TEMPORARY_LOCKOUT, failable: false}
"""
    )
    assert event_of(table, {"kind": "in", "status": "success"})["type"] == "access.LOGIN"
    failed = event_of(table, {"kind": "in", "status": "error"})
    assert (failed["type"], failed["outcome"], failed["reason"]) == ("access.LOGIN_ERROR", "failure", "unspecified")
    assert event_of(table, {"kind": "lock", "status": "error"})["outcome"] == "success"


def test_a_status_that_says_neither_leaves_the_outcome_of_a_success_unknown(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
failed: {status: error}
inconclusive: {status: {not: [ok, error]}}
types:
  in: {type: LOGIN}
  bad: {type: LOGIN_ERROR, reason: locked}
  try: {type: LOGIN_ATTEMPT}
  made: {type: admin.USER-CREATE}
"""
    )
    assert event_of(table, {"kind": "in", "status": "ok"})["outcome"] == "success"
    assert event_of(table, {"kind": "in", "status": "error"})["outcome"] == "failure"
    for status in ("skipped", None):
        assert event_of(table, {"kind": "in", "status": status})["outcome"] == "unknown"
        assert event_of(table, {"kind": "made", "status": status})["outcome"] == "unknown"
        assert event_of(table, {"kind": "try", "status": status})["outcome"] == "unknown"
        failed = event_of(table, {"kind": "bad", "status": status})
        assert (failed["outcome"], failed["reason"]) == ("failure", "locked")


def test_a_table_may_say_once_where_reasons_are_found(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
failed: {status: error}
reason: {path: why, table: {WRONG: bad_credentials}, default: unspecified}
types:
  in: {type: LOGIN}
  bad: {type: LOGIN_ERROR}
  full: {type: LOGIN_ERROR, reason: rate_limited}
  gone: {type: LOGIN_ERROR, error: user_disabled}
  made: {type: admin.USER-CREATE}
"""
    )

    def reason(kind: str, **raw: str) -> object:
        return event_of(table, {"kind": kind, **raw}).get("reason")

    assert reason("in", why="WRONG") is None
    assert reason("in", status="error", why="WRONG") == "bad_credentials"
    assert reason("in", status="error", why="ELSE") == reason("bad") == "unspecified"
    assert reason("bad", why="WRONG") == "bad_credentials"
    assert reason("full", why="WRONG") == "rate_limited"
    assert reason("gone", why="WRONG") == "disabled"
    assert reason("made", why="WRONG") is None
    assert reason("made", status="error", why="WRONG") == "bad_credentials"


def test_an_error_suffix_makes_the_failing_twin_of_every_row(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
error_suffix: _ERROR
unknown: {type: "access.{native}", outcome: success, pattern: "[A-Z_]+"}
types: {IN: {type: LOGIN}}
"""
    )
    assert event_of(table, {"kind": "IN_ERROR"})["type"] == "access.LOGIN_ERROR"
    passed = event_of(table, {"kind": "NEW_THING"})
    assert (passed["type"], passed["outcome"]) == ("access.NEW_THING", "success")
    failed = event_of(table, {"kind": "NEW_THING_ERROR"})
    assert (failed["type"], failed["outcome"]) == ("access.NEW_THING_ERROR", "failure")
    assert read(table, {"kind": "not allowed"}).event is None
    alias = event_of(table, {"kind": "FEDERATED_IDENTITY_LINK_ERROR"})
    assert alias["type"] == "access.SOCIAL_LINK_ERROR"


def test_who_did_it_decides_between_rows_and_fields(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
actor: {id: by, self: user.id, technical: [login-api]}
types:
  new:
    - when: {actor: human}
      type: admin.USER-CREATE
      fields: {resourcePath: {template: "users/{user.id}"}, details.userId: user.id, authDetails.userId: by}
    - {type: REGISTER}
"""
    )
    assert event_of(table, {"kind": "new", "user": {"id": "u"}})["type"] == "access.REGISTER"
    assert event_of(table, {"kind": "new", "user": {"id": "u"}, "by": "u"})["type"] == "access.REGISTER"
    assert event_of(table, {"kind": "new", "user": {"id": "u"}, "by": "login-api"})["type"] == "access.REGISTER"
    event = event_of(table, {"kind": "new", "user": {"id": "u"}, "by": "boss"})
    assert event["type"] == "admin.USER-CREATE"
    assert (event["resourceType"], event["operationType"], event["resourcePath"]) == ("USER", "CREATE", "users/u")
    assert event["authDetails"] == {"userId": "boss"}
    assert event["details"]["userId"] == "u"


def test_lookups_capture_translate_and_look_into_json_text(make_table: Make) -> None:
    table = make_table(
        BASE
        + """
  details.level: {path: text, capture: "level=([a-z]+)"}
  details.medium: {path: m, table: {P: phone}, default: other}
  details.inner: {path: text2, json: "a.b", as: upper}
  details.both: {template: "{m}/{id}"}
types: {in: {type: LOGIN}}
"""
    )
    raw = {"kind": "in", "when": NOW, "text": "x level=high y", "m": "P", "text2": '{"a": {"b": "deep"}}', "id": "1"}
    assert event_of(table, raw)["details"] == {"level": "high", "medium": "phone", "inner": "DEEP", "both": "P/1"}
    assert event_of(table, {"kind": "in", "when": NOW, "text2": "{broken"})["details"] == {"medium": "other"}


def test_a_template_may_have_values_of_its_own(make_table: Make) -> None:
    value = '{template: "{place}/{id}", with: {place: [room, {path: m, table: {P: phone}}]}}'
    table = make_table(BASE + f"  details.both: {value}\ntypes: {{in: {{type: LOGIN}}}}\n")
    raw = {"kind": "in", "when": NOW, "id": "1", "place": "not asked for"}
    assert event_of(table, {**raw, "room": "hall", "m": "P"})["details"] == {"both": "hall/1"}
    assert event_of(table, {**raw, "m": "P"})["details"] == {"both": "phone/1"}
    assert event_of(table, {**raw, "m": "Q"})["details"] == {}
    typed = BASE.replace("type: kind", "type: " + value.replace("{id}", "{kind}"))
    found = read(make_table(typed + "types: {hall/in: {type: LOGIN}}"), {**raw, "room": "hall"})
    assert found.native_type == "hall/in"


@pytest.mark.parametrize("value", ['{template: "{m}/{id}", with: {n: room}}', "{path: m, with: {n: room}}"])
def test_a_name_that_stands_in_no_template_is_refused(make_table: Make, value: str) -> None:
    with pytest.raises(MappingError, match=r"`with` has 'n', and \{n\} stands in no template beside it"):
        make_table(BASE + f"  details.both: {value}\ntypes: {{in: {{type: LOGIN}}}}\n")


def test_keys_are_of_the_named_values_only(make_table: Make) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    result = read(table, {"kind": "in", "id": 5, "when": "2026", "user": {"id": "u"}, "session": "changes"})
    assert result.strong == ["id", "5"]
    assert result.weak == ["fields", "in", "2026", "u"]
    assert read(table, {"kind": "in"}).weak is None


def test_an_event_without_the_time_that_its_weak_key_rests_on_is_new(make_table: Make) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN}}")
    for nothing in (None, "", "null"):
        assert read(table, {"kind": "in", "when": nothing, "user": {"id": "u"}}).weak is None
    # A key that needs no time does without.
    table = make_table(BASE.replace("when, user.id", "ticket") + "types: {in: {type: LOGIN}}")
    assert read(table, {"kind": "in", "ticket": 7}).weak == ["fields", "in", "7"]


def test_a_row_whose_outcome_disagrees_with_its_type_is_refused_with_its_line(make_table: Make) -> None:
    with pytest.raises(
        MappingError, match=r"mapping.yaml:13: types.in: outcome success does not agree|outcome failure"
    ):
        make_table(BASE + "types:\n  in: {type: LOGIN, outcome: failure}")


def test_a_reason_outside_the_list_is_refused_by_name(make_table: Make) -> None:
    with pytest.raises(MappingError, match="'tired' is not a reason; there are unspecified"):
        make_table(BASE + "types:\n  in: {type: LOGIN_ERROR, reason: tired}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("types: {in: {type: LOGIN, wen: {a: b}}}", "wen: unknown key"),
        ("types: {in: {type: LOGIN, when: {'a ': b}}}", "stray blank"),
        ("types: {in: {type: LOGIN, when: {a: 'b '}}}", "stray blank in 'b '"),
        ("types: {in: {type: LOGIN}, in: {type: LOGOUT}}", "duplicate key 'in'"),
        ("types: {in: {reason: locked}}", "needs a type, or `ignore: true`"),
        ("types: {in: {type: LOGIN, when: {a: {matches: '(?=a)'}}}}", "not a pattern of RE2 syntax"),
        ("actor: {id: a}", "actor.self: is missing"),
    ],
)
def test_what_is_not_in_the_language_is_refused(make_table: Make, text: str, complaint: str) -> None:
    with pytest.raises(MappingError) as error:
        make_table(BASE + text)
    assert complaint in str(error.value)
    assert error.value.line is not None


def test_a_field_that_does_not_exist_is_refused_with_those_that_do(make_table: Make) -> None:
    with pytest.raises(
        MappingError, match=r"'authDetails\.email' is no field of the unified event; there are id, time"
    ):
        make_table("type: t\nidentity: none\nfields: {authDetails.email: x}")


def test_text_from_a_file_never_becomes_code(make_table: Make) -> None:
    nasty = "x'] + __import__('os').abort() + d['"
    path = nasty.replace(".", r"\\.").replace("[", r"\\[").replace("]", r"\\]")
    table = make_table(f"""
type: kind
identity: none
fields: {{details.x: "{path}"}}
types:
  "{nasty}": {{type: LOGIN, details: {{"{nasty}": "{nasty}"}}}}
""")
    event = event_of(table, {"kind": nasty, nasty: "value"})
    assert event["details"][nasty] == nasty
    assert event["details"]["x"] == "value"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
TABLES = load_tables([mappings_path()])
known_words = sorted({"id", "time", "type", "realmId", "details", "authDetails", "operationType", "resourceType"})


@pytest.mark.parametrize("provider", sorted(TABLES))
@given(
    value=st.dictionaries(
        st.text() | st.sampled_from([*known_words, "event_type_id", "timestamp", "eventtype", "eventType", "user"]),
        json_values,
        max_size=8,
    )
)
def test_a_table_never_raises_on_any_object(provider: str, value: dict[str, Any]) -> None:
    result = read(TABLES[provider], value)
    assert (result.event is None) or result.event["outcome"] in ("success", "failure", "unknown")


TRACED = {provider: table.traced(Trace()) for provider, table in TABLES.items()}


@pytest.mark.parametrize("provider", sorted(TABLES))
@given(value=st.dictionaries(st.text() | st.sampled_from(known_words), json_values, max_size=8))
def test_a_traced_table_reads_as_any_other(provider: str, value: dict[str, Any]) -> None:
    assert read(TRACED[provider], value) == read(TABLES[provider], value)


@pytest.mark.parametrize("provider", sorted(TABLES))
def test_a_traced_table_reads_the_examples_as_any_other(provider: str) -> None:
    table = TABLES[provider]
    for placed in read_examples(table.folder):
        for record in table.split(placed.example.body, placed.example.media):
            assert TRACED[provider].result(record, NOW) == table.result(record, NOW)


def test_a_table_looks_for_its_reason_at_a_path(make_table: Make) -> None:
    table = make_table(BASE + "reason: {path: why}\ntypes: {in: {type: LOGIN_ERROR}}")
    assert event_of(table, {"kind": "in", "why": "locked"})["reason"] == "locked"
    assert event_of(table, {"kind": "in", "why": "a whim"})["reason"] == "unspecified"


@pytest.mark.parametrize("place", ["top", "row"])
def test_a_reason_is_a_word_or_looked_up_wherever_it_stands(make_table: Make, place: str) -> None:
    def reason(written: str, **raw: str) -> object:
        own = f", reason: {written}" if place == "row" else ""
        all_rows = f"reason: {written}\n" if place == "top" else ""
        return event_of(
            make_table(BASE + f"{all_rows}types: {{in: {{type: LOGIN_ERROR{own}}}}}"), {"kind": "in", **raw}
        )["reason"]

    assert reason("locked", locked="disabled") == "locked"
    assert reason("{path: locked}", locked="disabled") == "disabled"
    several = "[{path: a, table: {x: locked}}, {path: b}, disabled]"
    assert reason(several, a="x", b="rate_limited") == "locked"
    assert reason(several, a="y", b="rate_limited") == "rate_limited"
    assert reason(several, a="y") == "disabled"


@pytest.mark.parametrize(
    ("written", "path"), [("outcome.why", "outcome.why"), ("[{path: a}, outcome.why]", "outcome.why"), ("[a, b]", "a")]
)
def test_a_path_in_the_place_of_a_reason_is_told_how_it_is_written(make_table: Make, written: str, path: str) -> None:
    for table in (f"reason: {written}\n", f"types: {{in: {{type: LOGIN_ERROR, reason: {written}}}}}"):
        with pytest.raises(MappingError) as refused:
            make_table(BASE + table)
        assert f"{path!r} is not a reason; there are unspecified" in str(refused.value)
        assert f"what stands at a path is written {{path: {path}}}" in str(refused.value)


def test_a_time_of_a_row_that_cannot_be_read_leaves_that_of_the_table(make_table: Make) -> None:
    table = make_table(BASE + "types: {in: {type: LOGIN, fields: {time: began}}}")
    raw = {"kind": "in", "when": 1_767_225_600}
    assert event_of(table, {**raw, "began": 1_767_225_601})["time"] == 1_767_225_601_000
    assert event_of(table, {**raw, "began": "soon"})["time"] == 1_767_225_600_000


@given(value=json_values, media=st.sampled_from([JSON, NDJSON[0], "text/plain"]))
def test_any_json_value_is_split_into_records(value: object, media: str) -> None:
    body = json.dumps(value).encode()
    for record in TABLES["keycloak"].split(body, media):
        if record.value is not None:
            read(TABLES["keycloak"], record.value)


@given(
    data=st.lists(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()), max_size=3),
    around=st.dictionaries(st.text(), json_values, max_size=3),
)
def test_what_stands_in_base64_never_raises(data: list[bytes], around: dict[str, Any]) -> None:
    records = [{**around, "data": base64.b64encode(b"".join(data)).decode()}, {"data": around}]
    for record in TABLES["audit-service"].split(json.dumps({"requestId": "r", "records": records}).encode()):
        if record.value is not None:
            read(TABLES["audit-service"], record.value)


@given(body=st.binary(max_size=200))
def test_any_bytes_are_records_or_refused(body: bytes) -> None:
    try:
        records = TABLES["keycloak"].split(body)
    except NotReadable:
        with pytest.raises(ValueError):
            json.loads(body)
    else:
        assert all(record.value is not None or record.problem for record in records)
