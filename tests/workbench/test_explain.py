"""An explanation names what decided: the row, a condition of the table, a lookup, a path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from adapter.mapping.table import Table
from adapter.workbench.apply import apply_records, records_of
from adapter.workbench.explain import Explanation, explain

Make = Callable[[str], Table]

TABLE = """
type: kind
identity: {strong: id, weak: ["@native", at, user]}
error_suffix: _failed
failed: {rc: {present: true, not: 0}}
inconclusive: {status: pending}
reason: {path: rc, table: {17: bad_credentials}, default: locked}
fields: {time: at, error: code, authDetails.userId: user}
shapes:
  beside: {when: {has: [more]}, beside: [more]}
  event: {}
types:
  in: {type: LOGIN}
  bad: {type: LOGIN_ERROR, reason: {path: why, table: {x: code_expired}}}
  worse: {type: LOGIN_ERROR, reason: locked}
  coded: {type: LOGIN_ERROR, error: user_disabled}
  check: {type: VALIDATE_OTP, outcome: success}
  gone: {type: admin.USER-DELETE}
"""


WEAK = """
type: kind
identity: {weak: ["@native", at, user]}
fields: {time: at, authDetails.userId: user, authDetails.sessionId: sid}
types: {in: {type: LOGIN}}
"""


def explained(make: Make, *raws: dict[str, Any]) -> list[Explanation]:
    table = make(TABLE)
    records = records_of(table, orjson.dumps(raws))
    return list(explain(table, records, 1_767_225_600_000))


@pytest.mark.parametrize(
    ("raw", "by"),
    [
        ({"kind": "in"}, {"type": "the row", "outcome": "the type"}),
        (
            {"kind": "in", "rc": 17},
            {
                "type": "the row, as a failure (failed: rc: {present: true, not: 0})",
                "outcome": "failed: rc: {present: true, not: 0}",
                "reason": "rc (by its table)",
                "error": "the usual code of its reason",
            },
        ),
        ({"kind": "in", "status": "pending"}, {"outcome": "inconclusive: status: pending"}),
        (
            {"kind": "in_failed"},
            {"type": "the row, as a failure (error_suffix '_failed')", "outcome": "error_suffix '_failed'"},
        ),
        ({"kind": "bad", "why": "x"}, {"outcome": "the row", "reason": "the row: why (by its table)"}),
        ({"kind": "bad", "why": "y"}, {"reason": "nothing says why"}),
        ({"kind": "bad", "code": "user_disabled"}, {"reason": "the error", "error": "code"}),
        ({"kind": "worse"}, {"reason": "the row"}),
        ({"kind": "coded"}, {"reason": "the error", "error": "the row"}),
        ({"kind": "check"}, {"outcome": "the row"}),
        ({"kind": "gone"}, {"resourceType": "the type", "operationType": "the type"}),
        ({"kind": "in", "more": '{"user": "u"}'}, {"authDetails.userId": "user"}),
        ({"kind": "gone", "code": "x"}, {"type": "the row", "outcome": "code", "error": "code"}),
        ({"kind": "in", "code": "x"}, {"details.error": "code"}),
        ({"kind": "in", "rc": 5}, {"reason": "the default of rc (its table lacks '5')"}),
        ({"kind": "in", "at": "soon"}, {"time": "the arrival", "details.time_problem": "the adapter"}),
        ({"kind": "in", "at": 1_767_225_600}, {"time": "at"}),
    ],
)
def test_what_decided_is_named(make_table: Make, raw: dict[str, Any], by: dict[str, str]) -> None:
    [found] = explained(make_table, raw)
    assert {name: one.by for name, one in found.fields.items() if name in by} == by


def test_equal_weak_keys_are_told_apart_as_the_log_does(make_table: Make) -> None:
    raw = {"kind": "in", "at": 1_767_225_600, "user": "u"}
    records = records_of(make_table(WEAK), orjson.dumps([{**raw, "sid": sid} for sid in ("a", "b", "a")]))
    first, other, again = (event["uid"] for event in apply_records(make_table(WEAK), records, 1_767_225_600_000))
    assert len({first, other, again}) == 3
    [alone] = apply_records(make_table(WEAK), records[1:2], 1_767_225_600_000)
    assert alone["uid"] == first


def test_what_an_event_without_a_key_lacks_is_named(make_table: Make) -> None:
    both, one, none = explained(make_table, {"kind": "in", "id": 5}, {"kind": "in", "at": 1}, {"kind": "in", "user": 1})
    assert both.known_by == "5"
    assert one.known_by == "in/1/-"
    assert none.known_by == "nothing: id and at are absent"


def test_an_explanation_has_the_event_that_apply_shows(make_table: Make) -> None:
    raws = [{"kind": "in", "at": 1_767_225_600, "user": "u"}] * 2
    records = records_of(make_table(TABLE), orjson.dumps(raws))
    applied = list(apply_records(make_table(TABLE), records, 1_767_225_600_000))
    found = explained(make_table, *raws)
    assert [one.event for one in found] == applied
    assert {*found[0].fields} == {"time", "type", "outcome", "authDetails.userId"}
    assert applied[0]["uid"] != applied[1]["uid"]


def test_fields_that_found_nothing_are_listed_with_where_they_would_stand(make_table: Make) -> None:
    table = make_table(TABLE.replace("authDetails.userId: user}", "authDetails.userId: [user, {path: u, as: lower}]}"))
    records = records_of(table, orjson.dumps([{"kind": "in"}, {"kind": "in", "user": "u", "at": 1_767_225_600}]))
    none, some = explain(table, records, 1_767_225_600_000)
    assert none.absent == {"time": "at", "error": "code", "authDetails.userId": "user or u (as 'lower')"}
    assert some.absent == {"error": "code"}


def test_a_field_of_the_row_that_found_nothing_is_listed(make_table: Make) -> None:
    row = "gone: [{type: admin.USER-DELETE, fields: {details.userId: who, realmId: '@nobody'}}]"
    table = make_table(TABLE.replace("gone: {type: admin.USER-DELETE}", row))
    (found,) = explain(table, records_of(table, b'{"kind": "gone", "at": 1767225600, "user": "u"}'), 0)
    assert found.absent == {"error": "code", "details.userId": "who"}


def test_a_time_of_arrival_is_never_said_to_come_from_a_path(make_table: Make) -> None:
    text = TABLE.replace("time: at", "time: [{path: at, as: rfc3339}, {template: '{day}T{hour}', as: rfc3339}]")
    row = "gone: {type: admin.USER-DELETE, fields: {time: when}}"
    table = make_table(text.replace("gone: {type: admin.USER-DELETE}", row))
    for raw in ({"kind": "in", "at": "soon"}, {"kind": "in", "day": "x", "hour": "y"}, {"kind": "gone", "when": "no"}):
        (found,) = explain(table, records_of(table, orjson.dumps(raw)), 1_767_225_600_000)
        assert found.fields["time"].by == "the arrival"
        assert "time" in found.absent
