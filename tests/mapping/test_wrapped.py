"""Events inside something else: JSON in a text, pairs in a field, JSON lines among others."""

from __future__ import annotations

import json
from collections.abc import Callable

from adapter.mapping.table import Table

Make = Callable[[str], Table]

TABLE = """
body:
  - {when: {has: [Message]}, events: Message}
  - {media: text/plain, lines: keyvalue, find: "kind="}
type: kind
identity: none
fields: {authDetails.username: name, authDetails.clientId: app}
types: {in: {type: LOGIN}}
shapes:
  log: {when: {has: [line]}, beside: [line]}
  event: {}
"""


def names(table: Table, body: bytes, media: str = "application/json") -> list[str | None]:
    events = [table.result(record, 0).event for record in table.split(body, media)]
    return [None if event is None else event["authDetails"].get("username") for event in events]


def test_the_events_of_an_envelope_may_stand_in_a_text(make_table: Make) -> None:
    table = make_table(TABLE)
    one, two = {"kind": "in", "name": "ann"}, {"kind": "in", "name": "bob"}
    assert names(table, json.dumps({"Message": json.dumps(one)}).encode()) == ["ann"]
    assert names(table, json.dumps({"Message": json.dumps([one, two])}).encode()) == ["ann", "bob"]
    (record,) = table.split(json.dumps({"Message": "no JSON"}).encode())
    assert record.problem is not None and "not JSON" in record.problem


def test_pairs_in_a_text_are_read_as_if_they_stood_beside_it(make_table: Make) -> None:
    body = json.dumps({"line": 'kind="in", name="ann"', "app": "web"}).encode()
    (record,) = make_table(TABLE).split(body)
    event = make_table(TABLE).result(record, 0).event
    assert event is not None
    assert event["authDetails"] == {"username": "ann", "clientId": "web"}
    assert record.raw == body


def test_an_object_or_json_in_a_text_is_read_as_if_its_entries_stood_beside_it(make_table: Make) -> None:
    table = make_table(TABLE)
    inner = {"kind": "in", "name": "ann"}
    assert names(table, json.dumps({"line": inner}).encode()) == ["ann"]
    assert names(table, json.dumps({"line": json.dumps(inner)}).encode()) == ["ann"]


def test_a_text_without_pairs_leaves_the_event_without_a_type(make_table: Make) -> None:
    (record,) = make_table(TABLE).split(b'{"line": [1]}')
    problem = make_table(TABLE).result(record, 0).problem
    assert problem is not None and "kind" in problem


def test_a_line_of_json_among_lines_of_text_is_an_event_too(make_table: Make) -> None:
    body = b'12:00 kind="in", name="ann"\n{"kind": "in", "name": "bob"}\nsomething else\n'
    assert names(make_table(TABLE), body, "text/plain") == ["ann", "bob", None]
