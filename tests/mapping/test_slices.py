"""Slices are what a JSON parser finds, and nothing that is none is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping import slices
from adapter.mapping.slices import Pause, Unbalanced, lines, list_elements, objects

TEXTS = st.text(alphabet='ab"\\[]{},: é\n', max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
#: Some are smaller than a text or an escape, so that all that may be cut in two by the end of a window is.
WINDOWS = st.sampled_from([1, 2, 3, 5, 1 << 14])


@pytest.fixture(autouse=True)
def scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are scanned, as those are that the native parser does not take."""
    monkeypatch.setattr(slices, "NATIVE_COMMAS", -1)


def found(scan: Callable[[bytes], Iterator[bytes | Pause]], body: bytes, window: int = 1 << 14) -> list[bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "WINDOW", window)
        return [one for one in scan(body) if isinstance(one, bytes)]


@given(values=st.lists(VALUES, max_size=4), indent=st.sampled_from([None, 0, 1]), window=WINDOWS)
def test_elements_of_a_list_are_those_of_a_parser(values: list[Any], indent: int | None, window: int) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=False).encode()
    assert [json.loads(one) for one in found(list_elements, body, window)] == values


@given(
    values=st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=4),
    between=st.sampled_from(["", " ", "\r\n\t"]),
    window=WINDOWS,
)
def test_objects_one_after_another_are_those_of_a_parser(values: list[Any], between: str, window: int) -> None:
    body = between.join(["", *map(json.dumps, values), ""]).encode()
    assert [json.loads(one) for one in found(objects, body, window)] == values


@given(body=st.binary(max_size=40).map(lambda body: body.replace(b"\r", b"\n")), window=WINDOWS)
def test_lines_are_those_that_are_not_blank(body: bytes, window: int) -> None:
    assert found(lines, body, window) == [line.strip() for line in body.split(b"\n") if line.strip()]


@given(values=st.lists(VALUES, max_size=3), data=st.data(), window=WINDOWS)
def test_a_list_that_is_cut_off_is_unbalanced(values: list[Any], data: st.DataObject, window: int) -> None:
    body = json.dumps(values).encode()
    cut = data.draw(st.integers(1, len(body) - 1))
    with pytest.raises(Unbalanced):
        found(list_elements, body[:cut], window)


@pytest.mark.parametrize(
    "body", [b"[,]", b"[1,]", b"[,1]", b"[1,,2]", b"[1]]", b"[1] x", b"[1}", b"[}", b'["]', b"[[]"]
)
def test_a_list_that_is_none_is_unbalanced(body: bytes) -> None:
    with pytest.raises(Unbalanced):
        found(list_elements, body)


@pytest.mark.parametrize("body", [b"{} 1", b"1", b"{}}", b"{", b'{"}', b"{},{}", b"[]"])
def test_objects_with_something_else_between_are_unbalanced(body: bytes) -> None:
    with pytest.raises(Unbalanced):
        found(objects, body)


def test_what_stands_between_brackets_need_not_be_json() -> None:
    assert found(list_elements, b"[tru, {a b}, 1 2]") == [b"tru", b"{a b}", b"1 2"]
