from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.language import Redaction
from adapter.mapping.redact import Redactor
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


def test_a_key_may_be_named_by_its_end(make_table: Make) -> None:
    table = make_table(TABLE.replace("credentials.value", "'*.private.key'"))
    held = {"saml.Private.Key": "x", "private.key": "kept", "private.keys": "kept", "a": {"jwt.private.key": "y"}}
    for inner in (held, json.dumps(held), json.dumps({"client": json.dumps(held)})):
        (record,) = table.split(json.dumps({"kind": "in", "representation": inner}).encode())
        assert record.raw.count(b"[redacted]") == 2
        assert record.raw.count(b"kept") == 2
    (record,) = table.split(json.dumps({"kind": "in", "representation": '{"a.private.key": "hunter2'}).encode())
    assert b"hunter2" not in record.raw


def test_a_key_may_be_named_by_its_beginning(make_table: Make) -> None:
    table = make_table(TABLE.replace("credentials.value", "_providerConfig.*"))
    held = {"_providerConfig.http.0": '{"s": "x"}', "_providerConfig": "kept", "a": {"_PROVIDERCONFIG.b": {"c": "y"}}}
    for inner in (held, json.dumps(held), json.dumps({"attributes": json.dumps(held)})):
        (record,) = table.split(json.dumps({"kind": "in", "representation": inner}).encode())
        assert record.raw.count(b"[redacted]") == 2
        assert record.raw.count(b"kept") == 1
    (record,) = table.split(json.dumps({"kind": "in", "representation": '{"_providerConfig.x.0": "hunter2'}).encode())
    assert b"hunter2" not in record.raw


def test_a_text_that_cannot_be_parsed_shows_no_value_of_a_name_that_begins_so() -> None:
    for keys in (["config.*"], ["config.*", "secret", "*.key"]):
        redactor = Redactor([Redaction.model_validate({"in": "payload", "keys": keys})])
        text = '{"payload": "{\\"config.a-b.0\\": \\"hunter2\\"}", "config.c": "hunter2", config.d=hunter2 "d": 1'
        cleaned = redactor.redact_text(text)
        assert "hunter2" not in cleaned
        assert cleaned.endswith('"d": 1')


def test_a_beginning_or_an_end_alone_is_no_key() -> None:
    with pytest.raises(ValueError, match="would be every key"):
        Redaction.model_validate({"in": "payload", "keys": ["*"]})
    with pytest.raises(ValueError, match="at the beginning or at the end"):
        Redaction.model_validate({"in": "payload", "keys": ["a*b"]})


def test_a_text_that_cannot_be_parsed_shows_no_value_of_a_name_that_ends_so() -> None:
    for keys in (["*.private.key"], ["*.private.key", "secret"]):
        redactor = Redactor([Redaction.model_validate({"in": "payload", "keys": keys})])
        text = '{"payload": "{\\"a.private.key\\": \\"hunter2\\"}", "b.private.key": "hunter2", '
        text += 'c.private.key=hunter2 "d": 1'
        cleaned = redactor.redact_text(text)
        assert "hunter2" not in cleaned
        assert cleaned.endswith('"d": 1')


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


@given(
    secret=st.text(min_size=1, max_size=8).map(lambda text: f"hunter2{text}hunter2"),
    key=st.sampled_from(["secret", "PASSWORD", "value"]),
    levels=st.integers(0, 3),
    cut=st.integers(0, 60),
    indent=st.sampled_from([None, 1]),
)
def test_a_text_that_cannot_be_parsed_shows_no_value_of_a_secret_name(
    secret: str, key: str, levels: int, cut: int, indent: int | None
) -> None:
    rules = [Redaction.model_validate({"in": "representation", "keys": ["secret", "password", "credentials.value"]})]
    text = json.dumps({"name": "anna", key: secret, "rest": "x" * 30}, indent=indent)
    for _ in range(levels):
        text = json.dumps({"kind": "in", "representation": text})
    cleaned = Redactor(rules).redact_text(text[: len(text) - cut])
    assert "hunter2" not in cleaned
    assert "anna" in cleaned


@pytest.mark.parametrize(
    "value", ['{"a": "hunter2"}', '["}", "hunter2"]', "hunter2", "-12345", '"hunter2', "'hunter2'"]
)
def test_so_does_one_whose_secret_is_no_plain_text(value: str) -> None:
    cleaned = Redactor([Redaction.model_validate({"in": "token"})]).redact_text(f'{{"a": 1, "token": {value}')
    assert "hunter2" not in cleaned and "12345" not in cleaned
    assert cleaned.startswith('{"a": 1, "token": [redacted]')


@pytest.mark.parametrize("before", range(4085, 4105))
@pytest.mark.parametrize("value", ['"token":   "hunter2"', 'token="hunter2"'])
def test_so_does_one_far_behind_in_the_text(before: int, value: str) -> None:
    cleaned = Redactor([Redaction.model_validate({"in": "token"})]).redact_text(f"{'x' * before} {value} end")
    assert cleaned == f"{'x' * before} {value.replace(value[-9:], '[redacted]')} end"


def test_pairs_of_a_text_that_cannot_be_parsed_show_none_either() -> None:
    redactor = Redactor([Redaction.model_validate({"in": "representation", "keys": ["secret"]})])
    assert (
        redactor.redact_text('a="1", secret="x y", secret=z, b="2"')
        == 'a="1", secret=[redacted], secret=[redacted], b="2"'
    )
