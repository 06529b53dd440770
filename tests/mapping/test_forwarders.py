"""What forwarders wrap events in is opened for every table, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from adapter.mapping.body import EVENT_LIMIT, LONG, NDJSON, NOT_FOUND, TEXT, Record, UnknownMedia
from adapter.mapping.forwarders import AUTO, NONE, forwarder_names, load_forwarders
from adapter.mapping.slices import Pause
from adapter.mapping.table import Table
from adapter.model import source_key
from adapter.normalize import normalize, read_raw
from adapter.workbench.apply import apply
from adapter.workbench.examples import RECEIVED_AT
from tests.mapping.built_in import cases, table
from tests.mapping.forwarded import AT, JSON, TIMELESS, WRAPPED

Make = Callable[[str], Table]

KEYCLOAK = {
    "id": "3f0e1f4c-7a54-4a0e-9d3d-3a1c50b51107",
    "time": 1_768_381_490_000,
    "type": "LOGIN",
    "realmId": "acme",
    "clientId": "web-app",
    "userId": "f7cd3491",
    "ipAddress": "203.0.113.7",
    "details": {"username": "johndoe"},
}
OKTA = {
    "uuid": "d9c2ad1b-f133-11f0-9a43-3dbd2ab9f5c6",
    "published": "2026-01-14T09:04:50.000Z",
    "eventType": "user.session.start",
    "version": "0",
    "severity": "INFO",
    "actor": {"id": "00u1", "type": "User", "alternateId": "ann@acme.example"},
    "outcome": {"result": "SUCCESS"},
    "target": [],
}
LINE = (
    '2026-01-14 09:04:50,000 DEBUG [org.keycloak.events] (executor-thread-2) type="LOGIN", realmId="acme", userId="u"'
)
BARE_LINE = LINE[LINE.index("type=") :]
OTHER_LINE = "2026-01-14 09:04:50,000 INFO  [io.quarkus] (main) Profile prod activated."


def records(name: str, text: str, provider: str) -> list[Record]:
    body, media = WRAPPED[name](text)
    return table(provider).split(body.encode(), media)


def event_of(found: Record, provider: str) -> dict[str, Any]:
    event = table(provider).result(found, RECEIVED_AT).event
    assert event is not None, found
    return event


@pytest.mark.parametrize("name", WRAPPED)
def test_a_forwarded_event_is_the_one_that_was_sent(name: str) -> None:
    for provider, sent in (("keycloak", KEYCLOAK), ("okta", OKTA)):
        text = json.dumps(sent)
        (found,) = records(name, text, provider)
        assert found.value == sent
        # Behind a head the line is what came.
        assert json.loads(found.raw[found.raw.index(b"{") :]) == sent
        (alone,) = table(provider).split(text.encode())
        assert event_of(found, provider) == event_of(alone, provider)


@pytest.mark.parametrize("name", WRAPPED)
def test_a_forwarded_line_is_the_one_that_was_written(name: str) -> None:
    (found,) = records(name, LINE, "keycloak")
    (alone,) = table("keycloak").split(LINE.encode(), TEXT)
    assert found.media == TEXT and found.raw.endswith(LINE.encode())
    assert found.value == alone.value
    read, told = (table("keycloak").result(one, RECEIVED_AT) for one in (found, alone))
    assert (read.event, read.weak) == (told.event, told.weak)


@pytest.mark.parametrize("name", WRAPPED)
def test_an_event_without_a_time_has_the_forwarders(name: str) -> None:
    (found,) = records(name, BARE_LINE, "keycloak")
    event = event_of(found, "keycloak")
    told = (event["details"].get("time_source"), event["details"].get("time_problem"))
    if name in TIMELESS:
        assert (event["time"], told) == (RECEIVED_AT, ("log", "absent"))
    else:
        assert (event["time"] // 1000, told) == (AT // 1000, ("forwarder", None))


SURE = [
    "docker", "docker logs", "docker compose", "cri", "fluent-bit", "filebeat", "vector", "cloudwatch", "splunk",
    "rfc5424", "rfc3164", "journald", "plain message",
]  # fmt: skip


@pytest.mark.parametrize("name", SURE)
def test_forwarded_lines_that_a_table_passes_over_are_passed_over(name: str) -> None:
    (found,) = records(name, OTHER_LINE, "keycloak")
    assert found.ignored == "another logger"


@pytest.mark.parametrize("name", WRAPPED)
def test_what_a_table_does_not_read_stays_whole(name: str) -> None:
    body, media = WRAPPED[name]('{"hello": "world"}')
    for provider in ("keycloak", "okta", "zitadel"):
        found = table(provider).split(body.encode(), media)
        assert all(table(provider).result(one, 0).problem is not None for one in found)
        if media == JSON:
            sent = json.loads(body)
            assert [json.loads(one.raw) for one in found] == (sent if isinstance(sent, list) else [sent])


@pytest.mark.parametrize("name", WRAPPED)
def test_nothing_is_opened_for_a_source_that_says_none(name: str) -> None:
    body, media = WRAPPED[name](json.dumps(OKTA))
    try:
        found = table("okta").split(body.encode(), media, unwrap=NONE)
    except UnknownMedia:
        assert media == TEXT
        return
    assert all(table("okta").result(one, 0).event is None for one in found)


def test_every_forwarder_has_a_body_here_and_may_be_named() -> None:
    told = {
        "cri": "cri", "docker": "docker logs", "rfc5424": "rfc5424", "rfc3164": "rfc3164", "journald": "journald",
        "fluent-bit": "fluent-bit", "elastic": "filebeat", "vector": "vector", "datadog": "datadog",
        "gelf": "gelf short", "splunk": "splunk", "cloudwatch": "cloudwatch", "eventbridge": "eventbridge",
        "sns": "sns", "azure": "azure, bare", "pubsub": "pubsub", "cloudevents": "cloudevents",
        "kafka": "kafka", "plain": "plain log",
    }  # fmt: skip
    assert forwarder_names() == [AUTO, NONE, *load_forwarders().by_name]
    assert set(told) == {*load_forwarders().by_name}
    for forwarder, name in told.items():
        body, media = WRAPPED[name](json.dumps(OKTA))
        (found,) = table("okta").split(body.encode(), media, unwrap=forwarder)
        assert found.value == OKTA
        (other,) = table("okta").split(json.dumps({"message": "x", "foo": 1}).encode(), unwrap=forwarder)
        assert other.problem is not None or table("okta").result(other, 0).event is None


@pytest.mark.parametrize("name", WRAPPED)
def test_every_example_of_every_table_is_read_as_if_it_came_alone(name: str) -> None:
    wrong = []
    for case in cases():
        example = case.placed.example
        if example.media != JSON or not isinstance(example.raw, dict) or len(example.expect) != 1:
            continue
        text = json.dumps(example.raw)
        alone = list(apply(table(case.provider), text.encode(), RECEIVED_AT))
        # Frontegg says in an envelope of EventBridge's what its event is, so the table reads that itself.
        if "quarantined" in alone[0] or (case.provider, name) == ("magic-link", "eventbridge"):
            continue
        body, media = WRAPPED[name](text)
        found = list(apply(table(case.provider), body.encode(), RECEIVED_AT, media))
        for one in (*alone, *found):
            for part in ("time", "uid"):
                one.pop(part, None)
            for part in ("time_problem", "time_source"):
                one.get("details", {}).pop(part, None)
        if alone != found:
            wrong.append(str(case))
    assert wrong == []


@pytest.mark.parametrize("name", WRAPPED)
def test_a_secret_in_a_forwarded_event_is_not_kept(name: str) -> None:
    event = {
        "id": "1",
        "time": 1_768_381_490_000,
        "operationType": "CREATE",
        "resourceType": "USER",
        "authDetails": {"userId": "root"},
        "representation": json.dumps({"username": "jane", "credentials": [{"value": "hunter2"}]}),
    }
    (found,) = records(name, json.dumps(event), "keycloak")
    assert b"jane" in found.raw and b"hunter2" not in found.raw
    assert event_of(found, "keycloak")["type"] == "admin.USER-CREATE"


def test_an_event_with_a_member_called_message_stays_what_it_is() -> None:
    inner = {**KEYCLOAK, "type": "LOGOUT"}
    for provider, event in (("keycloak", KEYCLOAK), ("okta", OKTA)):
        outer = {**event, "message": json.dumps(inner), "log": json.dumps(inner), "event": inner, "data": inner}
        (found,) = table(provider).split(json.dumps(outer).encode())
        assert found.value == outer


def test_a_record_of_a_log_is_one_whatever_its_message_quotes() -> None:
    record = {"timestamp": "2026-01-14T09:04:57Z", "loggerName": "org.keycloak.services", "message": f"refused: {LINE}"}
    (found,) = table("keycloak").split(json.dumps(record).encode())
    assert found.value == record


def test_an_object_that_says_more_than_its_message_is_not_passed_over_with_it() -> None:
    for other in ({"user": "bob"}, {"@timestamp": "2026-01-14T09:04:57Z"}, {"version": "1.1", "host": "node-1"}):
        whole = {"message": "User logged in", "short_message": "User logged in", **other}
        (found,) = table("keycloak").split(json.dumps(whole).encode())
        assert (found.ignored, found.value) == (None, whole)


def test_several_events_in_one_body_are_each_read_alone() -> None:
    body, _ = WRAPPED["splunk"](json.dumps(OKTA))
    for between in ("", "\n", "\r\n\r\n"):
        assert [one.value for one in table("okta").split((body + between + body).encode())] == [OKTA, OKTA]
    lines = "".join(WRAPPED["docker"](line)[0] + "\n" for line in (LINE, OTHER_LINE, "[of no known form]"))
    for media in (NDJSON[0], TEXT):
        first, second, third = table("keycloak").split(lines.encode(), media)
        assert first.value is not None and first.value["@line"] == LINE
        assert second.ignored == "another logger"
        assert third.value is not None and third.value["log"] == "[of no known form]\n"


def test_a_list_is_opened_if_one_of_its_events_is_read_and_the_others_are_kept() -> None:
    events = [{"id": "1", "timestamp": AT, "message": text} for text in ("{}", "[of no known form]", LINE, OTHER_LINE)]
    body = json.dumps({"messageType": "DATA_MESSAGE", "logEvents": events}).encode()
    odd, unknown, line, other = table("keycloak").split(body)
    assert (odd.value, unknown.value) == (events[0], events[1])
    assert line.value is not None and line.value["@line"] == LINE
    assert other.ignored == "another logger"
    assert table("keycloak").split(b'{"messageType": "DATA_MESSAGE", "logEvents": []}') == []
    assert table("keycloak").split(b'{"messageType": "CONTROL_MESSAGE", "logEvents": []}')[0].value is not None


def test_a_list_larger_than_an_event_is_opened_and_never_parsed_as_a_whole() -> None:
    events = [{**OKTA, "uuid": str(number)} for number in range(50)]
    lines = [{"id": "1", "timestamp": AT, "message": json.dumps(one)} for one in events]
    for body in ({"records": events}, {"messageType": "DATA_MESSAGE", "logEvents": lines}):
        found = table("okta").split(json.dumps(body).encode(), event_limit=1000)
        assert [one.value for one in found] == events


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize(
    "line", [LINE, BARE_LINE, '{"type":"LOGIN","realmId":"acme"}'], ids=["time", "no time", "json"]
)
def test_what_is_kept_of_an_event_gives_the_same_event_again(name: str, line: str) -> None:
    (found,) = records(name, line, "keycloak")
    made = normalize(table("keycloak"), found, "kc", source_key("kc"), RECEIVED_AT, uuid4)
    assert not isinstance(made, str)
    entry, event = made
    (again,) = read_raw(table("keycloak"), entry.raw, entry.media, RECEIVED_AT, envelope=entry.envelope)
    assert event is not None and again.event is not None
    for part in ("time", "type", "authDetails", "details"):
        assert again.event[part] == event[part]


def test_a_subscription_that_waits_for_its_confirmation_says_so() -> None:
    body = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": "arn:aws:sns:eu-central-1:111111111111:idp",
        "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription",
    }
    for provider in ("keycloak", "okta"):
        for media in (JSON, TEXT):
            (found,) = table(provider).split(json.dumps(body, indent=1).encode(), media)
            assert found.problem is not None and "SubscribeURL" in found.problem


@pytest.mark.parametrize(("provider", "event"), [("keycloak", KEYCLOAK), ("okta", OKTA)])
@pytest.mark.parametrize("change", [str.lower, str.upper], ids=["lower", "upper"])
def test_keys_in_another_case_are_what_is_wrong(
    provider: str, event: dict[str, Any], change: Callable[[str], str]
) -> None:
    changed = {change(key): value for key, value in event.items()}
    wanted = "should be 'eventType'" if provider == "okta" else "should be 'realmId'"
    for body in (json.dumps(changed), *(WRAPPED[name](json.dumps(changed))[0] for name in ("docker", "splunk", "sns"))):
        (found,) = table(provider).split(body.encode())
        assert found.problem is not None and found.problem.startswith("keys in another case than the vendor's")
        assert wanted in found.problem
        assert json.loads(found.raw) == changed


def test_a_line_of_a_table_that_says_nothing_of_lines_is_kept() -> None:
    (found,) = table("okta").split(b"2026-01-14T09:04:54.424Z stdout F no event", TEXT)
    assert (found.problem, found.raw) == (NOT_FOUND, b"2026-01-14T09:04:54.424Z stdout F no event")


def test_a_table_that_reads_what_stands_before_a_line_still_finds_it(make_table: Make) -> None:
    table = make_table(
        r"""
type: kind
identity: none
body: [{media: text/plain, lines: keyvalue, find: 'app\[\d+\]: (kind=)'}]
fields: {details.app: {path: "@line", capture: ' (\w+)\['}}
types: {in: {type: LOGIN}}
"""
    )
    (found,) = table.split(b"<14>Jan 14 09:04:54 node-1 app[712]: kind=in", TEXT)
    event = table.result(found, 0).event
    assert event is not None and event["details"]["app"] == "app"


def test_envelopes_inside_envelopes_come_to_an_end() -> None:
    text = json.dumps(OKTA)
    for _ in range(4):
        text = json.dumps({"message": text})
    (found,) = table("okta").split(text.encode())
    assert found.value == OKTA
    (found,) = table("okta").split(json.dumps({"message": text}).encode())
    assert found.value == {"message": text}


def test_a_long_event_in_an_envelope_is_announced() -> None:
    long = {**OKTA, "displayMessage": "x" * LONG}
    for name in ("docker", "splunk", "cri"):
        body, media = WRAPPED[name](json.dumps(long))
        found = [one for one in table("okta").records(body.encode(), media, EVENT_LIMIT) if one is not Pause.TURN]
        assert found[0] is Pause.LONG
        assert [one.value for one in found if isinstance(one, Record)] == [long]
