"""In tables and examples a value is what is written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.document import Document
from adapter.mapping.scalars import dump


def read(text: str) -> Any:
    return Document(Path("mapping.yaml"), text).value


TEXTS = """
    0010 017 0x1F 0b1 1_000 12:30 1.10 1. .5 1e3 +1 -0 1.0e+16 .inf .nan yes no on off True NULL
    Null 2026-01-01 2026-01-01T00:00:00Z =
"""


@pytest.mark.parametrize("text", [*TEXTS.split(), "9" * 50000])
def test_what_would_be_written_otherwise_is_text(text: str) -> None:
    assert read(f"a: {text}") == {"a": text}
    assert read(f"? {text}\n: a") == {text: "a"}


NUMBERS = [0, 10, -3, 2**64 - 1, 10**500, -(2**63), 10**30, 1.5, -0.25, 1e16]


@pytest.mark.parametrize(
    ("text", "value"),
    [*((repr(one), one) for one in NUMBERS), ("true", True), ("false", False), ("null", None), ("~", None), ("", None)],
)
def test_numbers_truth_and_null_are_what_json_says(text: str, value: Any) -> None:
    assert repr(read(f"a: {text}")) == repr({"a": value})


def test_every_key_is_text() -> None:
    assert read("{1: a, 1.5: b, true: c, null: d, 0010: e}") == {
        "1": "a",
        "1.5": "b",
        "true": "c",
        "null": "d",
        "0010": "e",
    }
    assert read("x: &x {1: a, 2: b}\ny: {<<: *x, 2: c}")["y"] == {"1": "a", "2": "c"}
    with pytest.raises(MappingError, match="a key must be a text"):
        read("{[a]: b}")


def test_a_wrong_value_of_a_named_kind_is_refused() -> None:
    with pytest.raises(MappingError, match="not valid YAML"):
        read("a: !!int b")


ODD = """
    yes no on off True true null Null ~ = << 2026-01-01 .inf .nan - ? : ! & * 017 1 1.5
"""
WORDS = st.sampled_from([*ODD.split(), "\x85"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.from_regex(r"[-+]?[0-9_.:exob]{1,8}", fullmatch=True),
    WORDS,
)
KEYS = st.text() | WORDS


@given(
    st.recursive(SCALARS, lambda one: st.lists(one, max_size=4) | st.dictionaries(KEYS, one, max_size=4)), st.booleans()
)
def test_what_is_written_is_read_as_it_was(value: Any, flow: bool) -> None:
    assert repr(read(dump({"a": value}, flow=flow))) == repr({"a": value})


def test_a_fraction_that_no_float_is_stays_what_was_written() -> None:
    assert read(dump({"a": Decimal("0.12345678901234567890")})) == {"a": "0.12345678901234567890"}
