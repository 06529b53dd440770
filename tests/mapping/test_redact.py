from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from adapter.mapping.table import Table

Make = Callable[[str], Table]

TABLE = """
type: kind
identity: none
body: [{media: text/plain, lines: keyvalue, find: "kind="}]
redact:
  - {in: representation, keys: [secret, Password, credentials.value]}
  - {in: cookies, keys: [session]}
fields: {representation: representation}
types: {in: {type: admin.USER-CREATE}}
"""


def test_secrets_in_json_text_go_before_anything_is_kept(make_table: Make) -> None:
    user = {"name": "a", "credentials": [{"type": "password", "value": "hunter2"}], "attributes": {"value": "kept"}}
    table = make_table(TABLE)
    (record,) = table.split(json.dumps({"kind": "in", "representation": json.dumps(user)}).encode())
    assert b"hunter2" not in record.raw
    event = table.result(record, 0).event
    assert event is not None
    assert json.loads(event["representation"]) == {
        "name": "a",
        "credentials": [{"type": "password", "value": "[redacted]"}],
        "attributes": {"value": "kept"},
    }


def test_secrets_go_at_any_depth_in_whatever_case(make_table: Make) -> None:
    raw = {
        "kind": "in",
        "representation": {"a": [{"SECRET": {"k": "x"}}, {"password": 5}]},
        "cookies": {"session": "s"},
    }
    (record,) = make_table(TABLE).split(json.dumps([raw]).encode())
    assert json.loads(record.raw) == {
        "kind": "in",
        "representation": {"a": [{"SECRET": "[redacted]"}, {"password": "[redacted]"}]},
        "cookies": {"session": "[redacted]"},
    }


def test_an_event_without_secrets_keeps_its_exact_bytes(make_table: Make) -> None:
    body = b'{"kind": "in",  "representation":"{\\"name\\": 1}"}'
    assert make_table(TABLE).split(body)[0].raw == body


@pytest.mark.parametrize(
    "text",
    [
        ' {"secret": "hunter2"}',
        '"{\\"secret\\": \\"hunter2\\"}"',
        '{"name": "\\ud800", "secret": "hunter2"}',
        '{"name": NaN, "secret": "hunter2"}',
        '{"credentials": [{"value": "hunter2',
        '{"inner": "{\\"secret\\": \\"hunter2',
    ],
    ids=["after a blank", "JSON in JSON", "lone surrogate", "no JSON", "cut off", "cut off inside"],
)
def test_secrets_in_odd_json_text_go_too(make_table: Make, text: str) -> None:
    (record,) = make_table(TABLE).split(json.dumps({"kind": "in", "representation": text}).encode())
    assert b"hunter2" not in record.raw
    assert b"[redacted]" in record.raw


def test_text_that_only_looks_like_json_stays(make_table: Make) -> None:
    for text in ("{0} has a new secret", '"secret"', "[the secret", '{"name": "cut o'):
        body = json.dumps({"kind": "in", "representation": text}).encode()
        assert make_table(TABLE).split(body)[0].raw == body


def test_secrets_in_lines_go_too(make_table: Make) -> None:
    line = b"""12:00 kind="in", representation="{\\"secret\\":\\"x1\\"}", z="1\""""
    table = make_table(TABLE)
    (record,) = table.split(line, "text/plain")
    assert record.raw == b"""12:00 kind="in", representation="{\\"secret\\":\\"[redacted]\\"}", z="1\""""
    assert table.split(record.raw, "text/plain")[0].value == record.value


def test_a_key_may_have_a_dot_in_it(make_table: Make) -> None:
    raw = {"kind": "in", "representation": {"attributes": {"credentials.value": "x", "name": "kept"}}}
    (record,) = make_table(TABLE).split(json.dumps(raw).encode())
    assert json.loads(record.raw)["representation"]["attributes"] == {"credentials.value": "[redacted]", "name": "kept"}


def test_without_keys_the_whole_part_goes(make_table: Make) -> None:
    table = make_table(TABLE.replace("{in: cookies, keys: [session]}", "{in: cookies}"))
    (record,) = table.split(b'kind="in", cookies=[a=1, b=2], z="1"', "text/plain")
    assert b"a=1" not in record.raw
    (record,) = table.split(b'{"kind": "in", "cookies": {"a": 1}}')
    assert json.loads(record.raw) == {"kind": "in", "cookies": "[redacted]"}


def test_secrets_in_pairs_inside_a_text_go_too(make_table: Make) -> None:
    raw = {"kind": "in", "representation": 'a="1", secret="x, y", z="{\\"password\\": \\"hunter2\\"}"'}
    (record,) = make_table(TABLE).split(json.dumps(raw).encode())
    kept = json.loads(record.raw)["representation"]
    assert kept == 'a="1", secret="[redacted]", z="{\\"password\\":\\"[redacted]\\"}"'
