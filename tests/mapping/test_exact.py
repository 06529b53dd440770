"""Numbers as they were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.body import NDJSON
from adapter.mapping.exact import DIGITS_LIMIT, NotJson, parse_json, write_json
from adapter.mapping.table import Table

Make = Callable[[str], Table]

NUMBERED = """
type: kind
identity: {strong: no}
fields: {id: no, details.rest: {path: rest, as: json}, details.inner: {path: inner, json: no}}
redact: [{in: secret}]
types: {in: {type: LOGIN}}
"""

#: Pairs that a 64-bit number cannot tell apart.
NEIGHBOURS = [
    ("28446744073709551616", "28446744073709551617"),
    ("9007199254740993.0", "9007199254740992.0"),
    ("1714550000.1234567891", "1714550000.1234567892"),
    ("0.12345678901234567", "0.123456789012345671"),
]

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize("pair", NEIGHBOURS)
@pytest.mark.parametrize("form", ["one", "list", "lines", "redacted", "beside a lone surrogate"])
def test_events_are_told_apart_by_every_digit_of_their_ids(make_table: Make, pair: tuple[str, str], form: str) -> None:
    table = make_table(NUMBERED)
    rest = {"redacted": '"secret":"x"', "beside a lone surrogate": '"odd":"\\ud800"'}.get(form, '"a":1')
    events = [f'{{"kind":"in","no":{digits},{rest}}}' for digits in pair]
    match form:
        case "list":
            records = table.split(f"[{','.join(events)}]".encode())
        case "lines":
            records = table.split("\n".join(events).encode(), NDJSON[0])
        case _:
            records = [record for event in events for record in table.split(event.encode())]
    results = [table.result(record, 0) for record in records]
    assert [result.event and result.event["id"] for result in results] == list(pair)
    assert [digits in record.raw.decode() for digits, record in zip(pair, records, strict=True)] == [True, True]


def test_long_numbers_stay_what_they_are_inside_texts_and_lists(make_table: Make) -> None:
    table = make_table(NUMBERED)
    [record] = table.split(
        b'{"kind":"in","no":1,"inner":"{\\"no\\":28446744073709551617}","rest":[28446744073709551617,0.12345678901234567890]}'
    )
    event = table.result(record, 0).event
    assert event is not None
    assert event["details"] == {
        "inner": "28446744073709551617",
        "rest": "[28446744073709551617,0.12345678901234567890]",
    }
    orjson.dumps(event)


def test_a_number_longer_than_any_number_is_kept_as_text(make_table: Make) -> None:
    digits = "9" * (DIGITS_LIMIT + 1)
    table = make_table(NUMBERED)
    [record] = table.split(b'{"kind":"in","no":%s}' % digits.encode())
    event = table.result(record, 0).event
    assert event is not None
    assert event["id"] == digits


def test_an_exponent_without_end_is_no_moment_and_costs_nothing(make_table: Make) -> None:
    table = make_table(NUMBERED.replace("{id: no,", "{id: no, time: {path: at, as: epoch},"))
    [record] = table.split(b'{"kind":"in","no":1,"at":1e999999999}')
    result = table.result(record, 1_700_000_000_000)
    assert result.event is not None
    assert result.event["time"] == 1_700_000_000_000


@given(_VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse_json(write_json(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_no_fraction_becomes_another(number: Decimal) -> None:
    read = parse_json(f"[{number}]".encode())[0]
    assert Decimal(repr(read) if isinstance(read, float) else read) == number


@given(_VALUES)
def test_it_reads_what_the_standard_parser_reads(value: object) -> None:
    text = json.dumps(value)
    try:
        assert parse_json(text) == json.loads(text)
    except NotJson:
        assert "\\ud" in text  # lone surrogates are read by the slower way


def test_a_byte_that_is_no_text_is_named_with_its_place() -> None:
    with pytest.raises(NotJson, match="not UTF-8: byte 0xe9 at 9"):
        parse_json(b'{"name":"\xe9"}')


@pytest.mark.parametrize("digits", ["1e" + "9" * 30, "-1.5e-" + "9" * 30, "1e999999", "0.1e" + "9" * 5000])
def test_a_number_with_an_exponent_that_no_number_has_is_kept_as_it_was_written(make_table: Make, digits: str) -> None:
    read, other = make_table(NUMBERED).split(
        f'[{{"kind":"in","rest":{digits}}},{{"kind":"in","odd":"\\ud800"}}]'.encode()
    )
    assert (read.problem, other.problem) == (None, None)
    assert str(read.value and read.value["rest"]).replace("E", "e").replace("+", "") == digits
