"""What forwarders say beside an event is kept with it: all of it, in what it came, in bounds, without secrets."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.body import JSON, NDJSON, TEXT, Record
from adapter.mapping.language import Redaction
from adapter.mapping.redact import Redactor
from adapter.mapping.table import Table
from adapter.mapping.wrapping import Level, Surroundings, time_in
from adapter.model import ENVELOPE_SIZE
from tests.mapping.built_in import table
from tests.mapping.forwarded import AT, WRAPPED

EVENT = {"type": "LOGIN", "realmId": "acme", "userId": "u", "time": AT, "ipAddress": "203.0.113.7"}
TEXT_OF_EVENT = json.dumps(EVENT)


def split(body: Any, media: str = JSON, of: Table | None = None) -> list[Record]:
    text = body if isinstance(body, str) else json.dumps(body)
    return (of or table("keycloak")).split(text.encode(), media)


def envelope(record: Record) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(record.envelope)
    return told


def kept(members: dict[str, Any], redactor: Redactor | None = None) -> dict[str, Any]:
    """The members of an object, as they are kept."""
    (level,) = json.loads(
        Surroundings(redactor).of_object("vector", None, {**members, "message": "m"}, ["message"]).around(b"")
    )
    told: dict[str, Any] = level["members"]
    return told


def test_an_event_that_came_in_nothing_has_no_envelope() -> None:
    for body, media in ((TEXT_OF_EVENT, JSON), (f"[{TEXT_OF_EVENT}]", JSON), (TEXT_OF_EVENT + "\n", NDJSON[0])):
        assert [one.envelope for one in split(body, media)] == [b""]


def test_what_stands_before_a_line_is_kept_in_the_line() -> None:
    for name in ("rfc5424", "cri", "rfc3164"):
        body, media = WRAPPED[name](TEXT_OF_EVENT)
        (found,) = split(body, media)
        assert (found.envelope, found.raw) == (b"", body.encode().strip())


def test_all_but_the_event_is_kept_with_the_forwarders_name_and_time() -> None:
    others = {"account": "111111111111", "region": "eu-central-1", "time": "2026-01-14T09:04:57Z", "source": "idp"}
    (found,) = split({"detail-type": "login", "detail": EVENT, **others})
    assert json.loads(found.raw) == EVENT
    members = {"detail-type": "login", **others}
    assert envelope(found) == [{"forwarder": "eventbridge", "time": 1_768_381_497_000, "members": members}]


def test_an_object_that_holds_nothing_else_has_no_members() -> None:
    (found,) = split({"message": TEXT_OF_EVENT})
    assert envelope(found) == [{"forwarder": "plain"}]


def test_of_an_inner_object_what_stands_beside_the_event_is_kept() -> None:
    body, media = WRAPPED["pubsub"](TEXT_OF_EVENT)
    told = json.loads(body)
    del told["message"]["data"]
    (found,) = split(body, media)
    assert envelope(found)[0]["members"] == told


def test_what_is_nested_comes_outermost_first_and_the_innermost_time_counts() -> None:
    docker = {"log": json.dumps(EVENT | {"time": None}), "stream": "stdout", "time": "2026-01-14T09:04:57Z"}
    line = {"id": "1", "timestamp": AT, "message": json.dumps(docker)}
    (found,) = split({"messageType": "DATA_MESSAGE", "logGroup": "/ecs/idp", "logEvents": [line]})
    told = [(one["forwarder"], one.get("time"), one["members"]) for one in envelope(found)]
    assert told == [
        ("cloudwatch", None, {"messageType": "DATA_MESSAGE", "logGroup": "/ecs/idp"}),
        ("cloudwatch", AT, {"id": "1", "timestamp": AT}),
        ("docker", 1_768_381_497_000, {"stream": "stdout", "time": "2026-01-14T09:04:57Z"}),
    ]
    assert time_in(found.envelope) == found.forwarded_at == 1_768_381_497_000


def test_the_head_of_a_line_around_an_object_is_kept_as_what_is_outermost() -> None:
    head = "<14>1 2026-01-14T09:04:57Z node-1 app - - - "
    (found,) = split(head + json.dumps({"message": TEXT_OF_EVENT, "tag": "idp"}), TEXT)
    assert (json.loads(found.raw), found.media) == (EVENT, JSON)
    assert envelope(found) == [
        {"head": head, "time": 1_768_381_497_000},
        {"forwarder": "plain", "members": {"tag": "idp"}},
    ]


def test_events_of_one_list_share_what_they_came_in() -> None:
    events = [{**EVENT, "id": str(number)} for number in range(100)]
    found = split({"records": events, "tenant": "t"})
    assert len(found) == 100
    assert len({id(one.envelope) for one in found}) == 1
    assert envelope(found[99]) == [{"forwarder": "azure", "members": {"tenant": "t"}}]


@pytest.mark.parametrize("name", ["password", "client_secret", "UnsubscribeURL"])
def test_a_secret_is_hidden_by_its_name_alone_at_any_depth(name: str) -> None:
    for _ in range(2):
        assert kept({"host": "h", name: "abc"}) == {"host": "h", name: "[redacted]"}
        assert kept({"a": [{"b": {name: "abc"}}]}) == {"a": [{"b": {name: "[redacted]"}}]}
    cleaning = Redactor([Redaction.model_validate({"in": "details", "keys": ["colour"]})])
    assert kept({"a": {"colour": "red"}}) == {"a": {"colour": "red"}}
    assert kept({"a": {"colour": "red"}}, cleaning) == {"a": {"colour": "[redacted]"}}


def test_secrets_are_hidden_by_their_names_and_by_their_form() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0"
    hidden = {
        "headers": {"Authorization": "Splunk 0e1b2c3d-0000-4000-8000-123456789abc", "host": "h"},
        "apiKey": "k",
        "note": f"sent with Bearer abcdefgh12345678 and {token}",
        "url": "https://user:pass@example.org/in?access_token=abcdef&page=2",
        "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
        "nested": [{"client_secret": {"a": 1}}],
        "token_type": "Bearer",
        "hasPassword": True,
    }
    assert kept(hidden) == {
        "headers": {"Authorization": "[redacted]", "host": "h"},
        "apiKey": "[redacted]",
        "note": "sent with [redacted] and [redacted]",
        "url": "https[redacted]example.org/in[redacted]&page=2",
        "UnsubscribeURL": "[redacted]",
        "nested": [{"client_secret": "[redacted]"}],
        "token_type": "Bearer",
        "hasPassword": True,
    }


def test_what_the_table_takes_out_of_an_event_is_not_kept_beside_it() -> None:
    redactor = Redactor([Redaction.model_validate({"in": "details", "keys": ["pet_name"]})])
    copy = json.dumps({"details": {"pet_name": "Rex", "color": "red"}})
    assert kept({"copy": copy, "pet_name": "Rex", "other": 1}, redactor) == {
        "copy": '{"details": {"pet_name": [redacted], "color": "red"}}',
        "pet_name": "[redacted]",
        "other": 1,
    }


def test_what_is_too_long_is_cut_and_says_so() -> None:
    (level,) = json.loads(
        Surroundings(None).of_object("docker", 1, {"log": "x", "a": "y" * 9000, "b": 1}, ["log"]).around(b"")
    )
    assert level == {"forwarder": "docker", "time": 1, "members": {"a": "y" * 512 + "…", "b": 1}, "cut": True}
    many = kept({str(number): "z" * 100 for number in range(1000)})
    assert 20 < len(many) < 40


def test_many_that_are_nested_keep_the_innermost_whole() -> None:
    def level(number: int) -> Level:
        return Surroundings(None).of_object("plain", None, {"message": "m", "filling": str(number) * 500}, ["message"])

    told = b""
    for number in range(9):
        told = level(number).around(told)
    assert len(told) <= ENVELOPE_SIZE
    levels = json.loads(told)
    assert levels[-1]["members"]["filling"] == "0" * 500
    assert levels[0] == {"forwarder": "plain", "cut": True}


def test_a_list_larger_than_an_event_is_kept_without_what_it_came_in() -> None:
    body = json.dumps({"records": [EVENT] * 20, "tenant": "t"}).encode()
    found = [one for one in table("keycloak").records(body, JSON, 500) if isinstance(one, Record)]
    assert [one.envelope for one in found] == [b""] * 20


_texts = st.text(max_size=40) | st.sampled_from(["token", "a" * 5000, "\x00\x1f", "\u2028", "é" * 3000])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts
    | st.just(Decimal("0.12345678901234567890123")) | st.just(10**4000),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(_texts, inner, max_size=9),
    max_leaves=40,
)  # fmt: skip


@given(st.dictionaries(_texts, _values, max_size=20))
def test_whatever_stands_around_an_event_what_is_kept_is_json_on_one_line_in_bounds(members: dict[str, Any]) -> None:
    redactor = Redactor([Redaction.model_validate({"in": "token"})])
    for cleaning in (None, redactor):
        told = Surroundings(cleaning).of_object("fluent-bit", AT, {**members, "log": "l"}, ["log"]).around(b"")
        again = Surroundings(cleaning).of_line("".join(members)[:4096], None).around(told)
        for one in (told, again):
            assert len(one) <= ENVELOPE_SIZE and b"\n" not in one
            assert json.loads(one)[-1]["forwarder"] == "fluent-bit"


@pytest.mark.parametrize("depth", [5, 20, 200, 5000])
def test_however_deep_it_is_it_is_kept_to_a_depth(depth: int) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = [deep]
    told = Surroundings(None).of_object("plain", None, {"message": "m", "deep": deep}, ["message"]).around(b"")
    assert b'"cut":true' in told or depth == 5
    assert len(told) < ENVELOPE_SIZE
