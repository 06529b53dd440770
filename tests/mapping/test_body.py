from __future__ import annotations

import base64
import gc
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import pytest

from adapter.mapping.body import (
    EVENT_LIMIT,
    HEAD,
    LONG,
    NDJSON,
    NOT_FOUND,
    OVERSIZE,
    TOO_LARGE,
    NotReadable,
    Record,
    UnknownMedia,
)
from adapter.mapping.slices import WINDOW, Pause
from adapter.mapping.table import Table

Make = Callable[[str], Table]

TABLE = """
type: kind
identity: none
body:
  - {when: {has: [results, page]}, events: results}
  - {when: {has: [data.events]}, events: data.events}
  - {media: text/plain, lines: keyvalue, find: "kind=", ignore: {a note: "^[a-z]+$"}}
  - {media: application/vnd.acme-lines, lines: json, find: "\\\\{"}
  - {media: application/x-www-form-urlencoded, form: json}
types: {in: {type: LOGIN}}
"""


@pytest.fixture
def table(make_table: Make) -> Table:
    return make_table(TABLE)


def test_one_object_is_one_record_with_its_exact_bytes(table: Table) -> None:
    (record,) = table.split(b'  {"kind" : "in",  "x":1.50}\n')
    assert record.raw == b'{"kind" : "in",  "x":1.50}'
    assert record.value == {"kind": "in", "x": 1.5}


def test_every_element_of_a_list_keeps_its_own_slice(table: Table) -> None:
    records = table.split(b'[ {"kind":"a", "t": "x]"} ,\n{"kind" :"b"},5,null, [1]]')
    assert [record.raw for record in records] == [b'{"kind":"a", "t": "x]"}', b'{"kind" :"b"}', b"5", b"null", b"[1]"]
    assert [record.problem for record in records] == [
        None,
        None,
        "an event is a JSON object, this is a number",
        "an event is a JSON object, this is null",
        "an event is a JSON object, this is a list",
    ]


def test_what_another_form_calls_otherwise_is_read_under_its_key_and_kept_as_it_came(make_table: Make) -> None:
    table = make_table(TABLE + "aliases: {kind: [event.kind, event_kind], who: user}\n")
    bodies = [b'{"event":  {"kind": "in"}, "user": 7}', b'{"event_kind": "in",  "user": 7}', b'{"kind":"in", "who": 7}']
    for body in bodies:
        (record,) = table.split(body)
        assert record.raw == body
        assert table.result(record, 0).native_type == "in"
        assert record.value is not None and record.value["who"] == 7
    (record,) = table.split(b'{"kind": "out", "event": {"kind": "in"}}')
    assert table.result(record, 0).native_type == "out"
    (record,) = table.split(b'{"event": 5}')
    assert table.result(record, 0).problem == "the native type is missing: kind"


def test_an_envelope_is_opened_where_the_table_says(table: Table) -> None:
    assert [r.raw for r in table.split(b'{"page":0,"results":[{"kind":"a"},{"kind":"b"}]}')] == [
        b'{"kind":"a"}',
        b'{"kind":"b"}',
    ]
    assert [r.raw for r in table.split(b'{"data":{"events":[{"kind":"a"} ]}}')] == [b'{"kind":"a"}']
    assert [r.raw for r in table.split(b'{"page":0,"results":{"kind":"a"}}')] == [b'{"kind":"a"}']


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b'[{"page":0,"results":[{"kind":"a"}]},{"kind":"b"}]', "application/json"),
        (b'{"page":0,"results":[{"kind":"a"}]}\n{"kind":"b"}\n', NDJSON[0]),
        (b'{"page":0,"results":[{"kind":"a"}]}{"kind":"b"}', "application/json"),
        (b'{"data":{"events":[{"page":0,"results":[{"kind":"a"}]},{"kind":"b"}]}}', "application/json"),
        (rb'{"page":0,"results":"{\"data\":{\"events\":[{\"kind\":\"a\"},{\"kind\":\"b\"}]}}"}', "application/json"),
    ],
    ids=["in a list", "in a line", "one after another", "in another envelope", "in a text in another envelope"],
)
def test_an_envelope_is_opened_wherever_it_stands(table: Table, body: bytes, media: str) -> None:
    assert [record.raw for record in table.split(body, media)] == [b'{"kind":"a"}', b'{"kind":"b"}']


@pytest.mark.parametrize(
    "body",
    [
        rb'{"page":0,"results":[{"kind":"a","agent":"\ud800"},{"kind":"b"}]}',
        rb'{"page":0,"results":"[{\"kind\":\"a\",\"agent\":\"\ud800\"},{\"kind\":\"b\"}]"}',
    ],
)
def test_one_odd_text_does_not_hide_the_other_events_of_an_envelope(table: Table, body: bytes) -> None:
    odd, other = table.split(body)
    assert odd.value == {"kind": "a", "agent": "\N{REPLACEMENT CHARACTER}"}
    assert other.raw == b'{"kind":"b"}'


@pytest.mark.parametrize("body", [b'{"page":0,"results":null}', b'{"data":{"events":null}}', b'{"data":5}'])
def test_an_envelope_without_events_is_a_record_itself(table: Table, body: bytes) -> None:
    assert [record.raw for record in table.split(body)] == [body]


def test_envelopes_inside_envelopes_come_to_an_end(table: Table) -> None:
    body = b'{"page":0,"results":[' * 9 + b'{"kind":"a"}' + b"]}" * 9
    (record,) = table.split(body)
    assert record.raw == body[21 * 4 : -2 * 4]


def test_a_broken_line_of_ndjson_is_kept_with_its_problem(table: Table) -> None:
    records = table.split(b'{"kind":"in"}\r\n\n{"kind":\n"x"\n', NDJSON[0])
    assert [record.raw for record in records] == [b'{"kind":"in"}', b'{"kind":', b'"x"']
    assert records[1].problem is not None and records[1].problem.startswith("not JSON")


def test_lines_of_text_are_found_and_others_passed_over_or_kept(table: Table) -> None:
    records = table.split(b'12:00 INFO kind="in", user="a"\nstarted\nstarted 2 of 3\n', "text/plain")
    assert [record.ignored for record in records] == [None, "a note", None]
    assert [record.problem for record in records] == [None, None, NOT_FOUND]
    assert records[2].raw == b"started 2 of 3"
    assert records[0].value == {"kind": "in", "user": "a", "@line": '12:00 INFO kind="in", user="a"'}
    assert records[0].raw == b'12:00 INFO kind="in", user="a"'


LOGS = """
type: kind
identity: none
body:
  - media: text/plain
    lines: keyvalue
    find: (?:^|[^"])(kind=)
    ignore:
      another logger: {capture: "logger=([a-z.]+)", not: [acme.events]}
  - {media: text/plain, lines: json, find: '[{]"'}
types: {in: {type: LOGIN}}
"""


def test_of_several_forms_the_first_that_finds_something_reads_a_line(make_table: Make) -> None:
    lines = (b'12:00 kind="in", user="a"', b'12:00 {"user": "b", "text": "kind=in"}', b'x="kind=in", {"user": "c"}')
    pairs, quoted, inside = make_table(LOGS).split(b"\n".join(lines), "text/plain")
    assert pairs.value == {"kind": "in", "user": "a", "@line": '12:00 kind="in", user="a"'}
    assert quoted.value == {"user": "b", "text": "kind=in"}
    assert inside.value == {"user": "c"}


def test_lines_of_other_loggers_are_passed_over_and_those_of_one_are_kept(make_table: Make) -> None:
    body = b"logger=acme.web started\nlogger=acme.events in of its own form\nno logger"
    records = make_table(LOGS).split(body, "text/plain")
    assert [record.ignored for record in records] == ["another logger", None, None]
    assert [record.problem for record in records] == [None, NOT_FOUND, NOT_FOUND]


def test_a_line_that_is_kept_names_no_secret_nor_does_an_excerpt_of_one_that_is_not(make_table: Make) -> None:
    table = make_table(LOGS + "redact: [{in: cookies}]\n")
    (record,) = table.split(b'cookies="hunter2" of nobody', "text/plain")
    assert b"cookies=" in record.raw and b"hunter2" not in record.raw
    assert table.excerpt(b'logger=acme.web cookies="hunter2" of nobody', 30) == "logger=acme.web cookies=[redac"


def test_json_inside_lines_is_read_and_the_whole_line_is_kept(table: Table) -> None:
    (record,) = table.split(b'<13>1 host app {"kind":"in"}', "application/vnd.acme-lines")
    assert record.value == {"kind": "in"}
    assert record.raw == b'<13>1 host app {"kind":"in"}'


def test_a_form_field_holds_json_or_what_some_senders_take_for_it(table: Table) -> None:
    form = "application/x-www-form-urlencoded"
    assert table.split(b"json=%7B%22kind%22%3A%22in%22%7D", form)[0].value == {"kind": "in"}
    assert table.split(b"json={'kind': 'in', 'd': {'k': 'v', }}", form)[0].value == {"kind": "in", "d": {"k": "v"}}
    assert table.split(b"json={'kind': open}", form)[0].value is None
    with pytest.raises(NotReadable, match="has no field 'json'"):
        table.split(b"other=1", form)


@pytest.mark.parametrize(
    "text", ["{[]: 1}", "{1: 2}", "{'a': b'a'}", "{'a': {1, 2}}", "{'a': 1j}", "{'a': ...}", "{'a': '\\ud800'}"]
)
def test_a_form_field_that_says_more_than_json_can_is_kept_as_unreadable(table: Table, text: str) -> None:
    body = f"json={quote(text)}".encode()
    [record] = table.split(body, "application/x-www-form-urlencoded")
    assert (record.raw, record.value) == (body, None)
    assert "not JSON" in str(record.problem)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"hello", b'{"a":1}{"b":', b'{"a":1}5', b'{"a":1},{"b":2}', b'{"a":NaN}', b"[1,]", b'{"a":"\xff"}'],
)
def test_what_is_not_json_is_refused_and_says_so(table: Table, body: bytes) -> None:
    with pytest.raises(NotReadable, match="the body is not JSON"):
        table.split(body)


@pytest.mark.parametrize("between", [b"", b"\n", b" \r\n\t"])
def test_objects_one_after_another_are_records_each_with_its_slice(table: Table, between: bytes) -> None:
    objects = [b'{"kind" :"in"}', rb'{"kind":"\ud800"}', b'{"n": 123456789012345678901234, "t": "}{"}']
    records = table.split(between + between.join(objects) + between)
    assert [record.raw for record in records] == objects
    assert [record.problem for record in records] == [None] * 3


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"[" + b"1," * 2_000_000, "application/json"),
        (b"[" + b"{}," * 2_000_000, "application/json"),
        (b"{}" * 2_000_000, "application/json"),
        (b'{"page":0,"results":[' + b"1," * 2_000_000 + b"1]}", "application/json"),
        (b"1\n" * 2_000_000, NDJSON[0]),
        (b"a\n" * 2_000_000, "text/plain"),
    ],
    ids=["list", "list of objects", "objects", "envelope", "lines", "text"],
)
def test_records_are_made_as_they_are_taken(table: Table, body: bytes, media: str) -> None:
    records = (one for one in table.records(body, media, 1024) if isinstance(one, Record))
    made = [next(records) for _ in range(3)]
    gc.collect()
    assert len(made) == 3
    # Elements that were found natively are there before they are asked for; there are never many of them.
    assert sum(isinstance(one, Record) for one in gc.get_objects()) < 10


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 300_000,
        b"[" * 2000 + b'"' + rb"\"" * 150_000,
        b"[" * 150_000 + b"]" * 150_000,
        b"[" + b'{"a":{"b":[]}},' * 20_000 + b"!]",
        b'{"a":"' + b"\\" * 300_000,
        b"{}" * 150_000 + b"]",
        b" " * 300_000,
        b"[" + b'{"a":[' * 50_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"[" + b"[]" * 150_000,
    ],
    ids=["open", "open, text", "balanced", "list", "backslashes", "objects", "blank", "keys", "deep", "one element"],
)
def test_a_long_body_gives_way_again_and_again(table: Table, body: bytes) -> None:
    turns = 0
    with suppress(NotReadable):
        for _ in table.records(body, "application/json", 1024):
            turns += 1
    assert turns >= len(body) // WINDOW // 2


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"[%b,%b,%b]", "application/json"),
        (b"%b%b%b", "application/json"),
        (b'{"page":0,"results":[%b,%b,%b]}', "application/json"),
        (b"%b\n%b\n%b", NDJSON[0]),
    ],
    ids=["list", "objects", "envelope", "lines"],
)
def test_a_long_event_is_announced(table: Table, body: bytes, media: str) -> None:
    short, long = b'{"kind":"in"}', b'{"kind":"in","text":"%b"}' % (b"x" * LONG)
    found = [one for one in table.records(body % (short, long, short), media, EVENT_LIMIT) if one is not Pause.TURN]
    raws = [one.raw if isinstance(one, Record) else one for one in found]
    assert raws[-4:] == [short, Pause.LONG, long, short]
    # So is the body, of which the beginning may be read as a whole.
    assert set(raws[:-4]) == {Pause.LONG}


def test_an_event_that_is_too_large_is_kept_by_its_head_size_and_hash(table: Table) -> None:
    large = b'{"kind":"in","text":"' + b"x" * 100_000 + b'"}'
    expected = {"size": len(large), "sha256": hashlib.sha256(large).hexdigest(), "head": large[:HEAD].decode()}
    neighbour = b'{"kind":"in"}'
    for body, media in (
        (b"[" + large + b"," + neighbour + b"]", "application/json"),
        (large + neighbour, "application/json"),
        (b'{"page":0,"results":[' + large + b"," + neighbour + b"]}", "application/json"),
        (large + b"\n" + neighbour, NDJSON[0]),
    ):
        oversize, other = table.split(body, media, 90_000)
        assert (oversize.media, oversize.value, oversize.problem) == (OVERSIZE, None, TOO_LARGE)
        assert json.loads(oversize.raw) == expected
        assert (other.raw, other.problem) == (neighbour, None)
        assert table.split(oversize.raw, OVERSIZE)[0].problem == TOO_LARGE
    assert table.split(large, event_limit=90_000)[0].media == OVERSIZE
    assert table.split(large, event_limit=len(large))[0].problem is None


@pytest.mark.parametrize("media", ["text/plain", "application/vnd.acme-lines", "application/x-www-form-urlencoded"])
def test_so_is_a_line_or_a_form(table: Table, media: str) -> None:
    (record,) = table.split(b'json={"kind":"in","text":"' + b"x" * 2000 + b'"}', media, 1000)
    assert (record.media, json.loads(record.raw)["size"]) == (OVERSIZE, 2028)


def test_the_head_of_a_large_event_names_no_secret(make_table: Make) -> None:
    table = make_table(
        """
type: kind
identity: none
redact: [{in: representation, keys: [password, credentials.value]}, {in: token}]
"""
    )
    inner = json.dumps({"password": 'se"cret-1', "deep": json.dumps({"credentials": {"value": "secret-2"}})})
    event = {"kind": "in", "token": "secret-3", "representation": inner, "more": "x" * 2000}
    for body in (json.dumps(event), json.dumps(event)[:-1]):  # one whole, one broken off
        for limit in (1000, 10_000):
            (record,) = table.split(body.encode(), NDJSON[0], limit)
            assert b"secret" not in record.raw and b'"kind' in record.raw.replace(b"\\", b"")


def test_what_is_too_deep_to_be_looked_into_is_redacted_whole(make_table: Make) -> None:
    table = make_table(
        """
type: kind
identity: none
redact: [{in: representation, keys: [password]}]
"""
    )
    for depth in (400, 490, 700, 900, 1100, 5000):
        deep = '{"a":' * depth + '{"password":"hunter2"}' + "}" * depth
        whole, inside = table.split(b'[{"kind":"in","representation":%s},{"kind":"in","representation":%s}]' % (
            deep.encode(), json.dumps(deep).encode()
        ))  # fmt: skip
        assert whole.problem == "nested deeper than 64 levels"
        assert b"hunter2" not in whole.raw + inside.raw
        assert inside.problem is None or depth > 1000


def test_one_byte_order_mark_is_passed_over_and_many_are_no_json(table: Table) -> None:
    mark = b"\xef\xbb\xbf"
    assert table.split(mark + b'{"kind":"in"}')[0].value == {"kind": "in"}
    with pytest.raises(NotReadable):
        table.split(mark * 3000 + b'{"kind":"in"}')


def test_a_broken_element_costs_its_neighbours_nothing(table: Table) -> None:
    first, broken, last = table.split(b'[{"kind":"in"}, {"kind": tru}, {"kind":"in"}]')
    assert (first.problem, last.problem) == (None, None)
    assert broken.raw == b'{"kind": tru}' and str(broken.problem).startswith("not JSON")


def test_an_envelope_larger_than_an_event_is_opened_all_the_same(table: Table) -> None:
    events = [{"kind": "in", "n": n} for n in range(500)]
    for body in ({"page": 0, "results": events}, {"data": {"events": events, "x": "y" * 70_000}}):
        records = table.split(json.dumps(body).encode(), event_limit=100)
        assert [record.value for record in records] == events
    (record,) = table.split(json.dumps({"page": 0, "results": "x" * 70_000}).encode(), event_limit=100)
    assert record.media == OVERSIZE


def test_an_envelope_is_answered_as_its_table_says(make_table: Make) -> None:
    table = make_table(
        """
type: kind
identity: none
body:
  - {when: {has: [batch]}, events: batch, answer: {id: about.id, gone: about.gone, at: "@now"}}
  - {when: {has: [page]}, events: page}
"""
    )
    assert table.answer(b'{"batch": [], "about": {"id": 7}}', "application/json", 5) == {"id": 7, "at": 5}
    for body in (b'{"page": []}', b'{"kind": "in"}', b"[]", b"no"):
        assert table.answer(body, "application/json", 5) is None


def test_several_objects_in_base64_are_a_list(make_table: Make) -> None:
    table = make_table("type: kind\nidentity: none\nbase64: [data]\n")
    for inside, kept in (
        (rb'{"a": 1}{"b": "\ud800"}', '{"data":[{"a":1},{"b":"\N{REPLACEMENT CHARACTER}"}]}'),
        (rb'{"a": "\ud800"}', '{"data":{"a":"\N{REPLACEMENT CHARACTER}"}}'),
    ):
        data = base64.b64encode(inside).decode()
        (record,) = table.split(json.dumps({"data": data}).encode())
        assert record.raw.decode() == kept


def test_valid_json_that_fast_parsers_refuse_is_read(table: Table) -> None:
    lone, big, good = table.split(rb'[ {"kind":"\ud800in"}, {"n":123456789012345678901234}, {"kind":"in"} ]')
    assert lone.value == {"kind": "\N{REPLACEMENT CHARACTER}in"}
    assert lone.raw == rb'{"kind":"\ud800in"}'
    assert big.problem is None
    assert good.value == {"kind": "in"}
    assert table.split(b'\xef\xbb\xbf{"kind":"in"}')[0].value == {"kind": "in"}


def test_nesting_without_end_is_kept_as_one_unreadable_record(table: Table) -> None:
    for depth in (100, 1_000, 200_000):
        body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        (record,) = table.split(body)
        assert record.problem == "nested deeper than 64 levels"
        assert record.raw == body
    with pytest.raises(NotReadable):
        table.split(b"[" * 200_000)


def test_a_list_of_many_objects_is_not_deep(table: Table) -> None:
    body = json.dumps({"kind": "in", "list": [{} for _ in range(1000)]}).encode()
    assert table.split(body)[0].problem is None


def test_an_undeclared_media_type_is_refused_with_those_there_are(table: Table) -> None:
    with pytest.raises(
        UnknownMedia, match="'text/csv' is not taken here; there are application/json, application/x-ndjson"
    ):
        table.split(b"a,b", "text/csv")


def test_json_in_base64_is_read_and_kept_as_what_it_holds(make_table: Make) -> None:
    table = make_table(
        """
type: kind
identity: none
base64: [payload, deep.payload]
redact: [{in: payload, keys: [secret]}]
fields: {details.name: payload.name}
types: {in: {type: LOGIN}}
"""
    )
    encoded = base64.b64encode(b'{"name": "mia", "secret": "hunter2"}').decode()
    (record,) = table.split(json.dumps({"kind": "in", "payload": encoded}).encode())
    assert json.loads(record.raw) == {"kind": "in", "payload": {"name": "mia", "secret": "[redacted]"}}
    event = table.result(record, 0).event
    assert event is not None and event["details"]["name"] == "mia"
    for other in ('"bWlh"', '"no base64"', '"aGk"', '"\\u00e9"', "null", "5", '{"name":"mia"}'):
        body = b'{"kind":  "in", "payload": ' + other.encode() + b', "deep": []}'
        assert table.split(body)[0].raw == body
    deep = base64.b64encode(b'{"a":' * 400 + b"1" + b"}" * 400).decode()
    (record,) = table.split(json.dumps({"kind": "in", "payload": deep}).encode())
    assert record.problem == "nested deeper than 64 levels"
