"""One record into many events."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.counts import IngestCounts
from adapter.docs.language import EACH_RECORD, EACH_TABLE
from adapter.errors import MappingError
from adapter.log.memory import open_memory_log
from adapter.mapping import elements
from adapter.mapping.body import JSON
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.table import Table
from adapter.resources import mappings_path
from adapter.sources.intake import Intake, Source
from adapter.workbench.apply import apply
from adapter.workbench.explain import explain
from tests.mapping.test_compile import json_values

Make = Callable[[str], Table]
NOW = 1_767_225_600_000

TABLE = """
type: kind
identity: {strong: id}
fields: {id: id}
shapes:
  batch:
    when: {has: [result.list]}
    each: result.list
    type: result.list.kind
    identity:
      strong: {template: "{id}/{@element}"}
      weak: [at, result.list.who]
    fields:
      authDetails.userId: result.list.who
      details.size: result.size
  event: {}
types:
  in: {type: LOGIN}
  out: {type: LOGOUT}
  seen: {ignore: true}
"""


@pytest.fixture
def table(make_table: Make) -> Table:
    return make_table(TABLE)


def batch(*elements: Any, **around: Any) -> bytes:
    return json.dumps({"id": "b", "at": 1, "result": {"list": list(elements), "size": 2}, **around}).encode()


def who(kind: str, name: str) -> dict[str, str]:
    return {"kind": kind, "who": name}


def applied(table: Table, body: bytes) -> list[dict[str, Any]]:
    return list(apply(table, body, NOW))


def uids(table: Table, body: bytes) -> list[str]:
    return [event["uid"] for event in applied(table, body)]


def test_each_element_is_an_event_and_what_stands_around_it_belongs_to_all(table: Table) -> None:
    events = applied(table, batch(who("in", "anna"), who("seen", "ben"), who("out", "cleo"), who("new", "dora")))
    assert [event.get("type") for event in events] == ["access.LOGIN", None, "access.LOGOUT", None]
    assert events[0]["authDetails"] == {"userId": "anna"}
    assert events[2]["authDetails"] == {"userId": "cleo"}
    assert events[0]["details"]["size"] == events[2]["details"]["size"] == "2"
    assert events[1] == {"ignored": {"nativeType": "seen"}}
    assert events[3]["quarantined"]["nativeType"] == "new"


def test_the_whole_record_is_kept_with_each_event(table: Table) -> None:
    body = batch(who("in", "anna"), who("out", "anna"))
    assert [record.raw for record in table.split(body)] == [body, body]
    both = table.split(b"[" + body + b"," + batch() + b"]")
    assert [record.raw for record in both] == [body, body, batch()]


def test_an_event_is_the_same_however_the_elements_are_grouped_and_ordered(table: Table) -> None:
    anna, ben, cleo = who("in", "anna"), who("in", "ben"), who("out", "cleo")
    first = uids(table, batch(anna, ben, cleo))
    assert len(set(first)) == 3
    assert uids(table, batch(anna, ben, cleo)) == first
    assert uids(table, batch(cleo, anna)) == [first[2], first[0]]
    assert uids(table, batch(ben)) == [first[1]]
    assert uids(table, batch({"who": "ben", "kind": "in"})) == [first[1]]
    assert uids(table, json.dumps({"id": "b", "result": {"list": ben}}).encode()) == [first[1]]


def test_equal_elements_of_one_record_stay_apart(table: Table) -> None:
    again = uids(table, batch(*[who("in", "anna")] * 3))
    assert len(set(again)) == 3
    assert uids(table, batch(who("in", "anna"))) == again[:1]


@pytest.mark.parametrize("held", [[], {}, [{}]])
def test_a_record_without_an_element_is_one_event(make_table: Make, held: object) -> None:
    table = make_table(TABLE.replace("type: result.list.kind", "type: [result.list.kind, result.kind]"))
    body = json.dumps({"id": "b", "result": {"list": held, "kind": "in"}}).encode()
    (event,) = applied(table, body)
    assert event["type"] == "access.LOGIN"
    assert uids(table, body) == [event["uid"]]


def test_the_shape_is_chosen_by_the_whole_record(make_table: Make) -> None:
    table = make_table(TABLE.replace("{has: [result.list]}", "{has: ['result.list[0].kind']}"))
    assert [event["type"] for event in applied(table, batch(who("in", "a"), who("out", "b")))] == [
        "access.LOGIN",
        "access.LOGOUT",
    ]


def test_a_record_of_another_shape_is_left_whole(table: Table) -> None:
    (record,) = table.split(b'{"id": "1", "kind": "in"}')
    assert record.value == {"id": "1", "kind": "in"}
    assert record.place is None


def test_more_events_than_can_be_kept_are_one_that_is_quarantined(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "KEPT_LIMIT", 1000)
    body = batch(*[who("in", f"user {number}") for number in range(10)])
    (record,) = table.split(body)
    assert record.raw == body
    assert record.problem is not None and record.problem.startswith("result.list holds 10 events, and ")


@pytest.mark.parametrize(
    ("identity", "problem"),
    [
        ("{strong: id}", "identity.strong: is the same for all elements of result.list"),
        ("{strong: [result.list.id, id]}", "identity.strong: is the same for all elements"),
        ("{weak: [id, '@native', at]}", "identity.weak: is the same for all elements"),
    ],
)
def test_keys_that_all_elements_share_are_refused(make_table: Make, identity: str, problem: str) -> None:
    text = TABLE.replace(
        """identity:
      strong: {template: "{id}/{@element}"}
      weak: [at, result.list.who]""",
        f"identity: {identity}",
    )
    with pytest.raises(MappingError, match=problem) as error:
        make_table(text)
    assert error.value.line is not None


def test_only_keys_lead_to_the_list(make_table: Make) -> None:
    with pytest.raises(MappingError, match="only keys lead to the list of events"):
        make_table(TABLE.replace("each: result.list", "each: result[0].list"))


def test_explain_says_which_element_it_speaks_of(table: Table) -> None:
    first, second = explain(table, table.split(batch(who("in", "a"), who("out", "b"))), NOW)
    assert (first.place, second.place) == ("result.list[0]", "result.list[1]")
    assert [tried.name for tried in second.shapes if tried.taken] == ["batch"]
    assert second.fields["authDetails.userId"].by == "result.list.who"


def test_the_reference_shows_a_record_that_its_table_reads() -> None:
    document = Document(Path("mappings/shop/mapping.yaml"), EACH_TABLE)
    events = applied(Table(document, load_catalogue([mappings_path()])), EACH_RECORD.encode())
    assert [(event["type"], event["resourcePath"]) for event in events] == [
        ("admin.USER-UPDATE", "users/4711"),
        ("admin.USER-DELETE", "users/4712"),
        ("admin.USER-DELETE", "users/4713"),
    ]


async def test_a_record_that_comes_again_in_parts_is_stored_once(table: Table, tmp_path: Path) -> None:
    async with open_memory_log() as log:
        intake, source = Intake(log, IngestCounts()), Source("acme", "acme", "acme", {"acme": table})
        anna, ben, cleo = who("in", "anna"), who("in", "ben"), who("out", "cleo")
        body = batch(anna, ben)
        first = await intake.take(source, body, JSON, NOW)
        again = await intake.take(source, b"[" + batch(ben) + b"," + batch(cleo, anna) + b"]", JSON, NOW)
        assert (first.accepted, again.accepted, again.duplicates) == (2, 1, 2)
        assert [again.uids[0], again.uids[2]] == [first.uids[1], first.uids[0]]
        assert [await log.raw(position) for position in (1, 2)] == [(body, JSON, b"")] * 2


_TABLE = Table(
    Document(Path("mappings/acme/mapping.yaml"), "provider: acme\ntitle: Acme\n" + TABLE),
    load_catalogue([mappings_path()]),
)


@given(
    value=st.fixed_dictionaries(
        {"result": st.fixed_dictionaries({"list": st.lists(json_values, max_size=4) | json_values}) | json_values},
        optional={"@shape": json_values | st.just("batch"), "@element": json_values, "id": json_values},
    )
)
def test_no_record_raises_whatever_its_list_holds(value: dict[str, Any]) -> None:
    held = value["result"].get("list") if isinstance(value["result"], dict) else None
    results = applied(_TABLE, json.dumps(value).encode())
    assert len(results) == (len(held) if isinstance(held, list) and held else 1)
