"""The text with which an editor of a table begins is a table, whatever it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.console.table_text import extension_of, row_text, with_row
from adapter.mapping.document import Document

BLOCK = "provider: shop\ntypes:\n    in: {type: LOGIN}  # first\n\n# after\nunknown: quarantine\n"


def read(text: str) -> object:
    return Document(Path("shop/mapping.yaml"), text).value


def test_a_row_comes_behind_those_that_are_there_and_as_deep() -> None:
    text = with_row(BLOCK, "out: {type: LOGOUT}")
    assert "    in: {type: LOGIN}  # first\n    out: {type: LOGOUT}\n" in text
    assert read(text) == {
        "provider": "shop", "types": {"in": {"type": "LOGIN"}, "out": {"type": "LOGOUT"}}, "unknown": "quarantine",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["provider: shop", "provider: shop\n", "provider: shop\ntypes:\n", "types:"])
def test_the_first_row_makes_its_place(text: str) -> None:
    assert read(with_row(text, "out: {type: LOGOUT}"))["types"] == {"out": {"type": "LOGOUT"}}  # type: ignore[index]


def test_where_rows_are_written_otherwise_the_row_is_a_comment() -> None:
    text = "types: {in: {type: LOGIN}}\n"
    assert read(with_row(text, "out: {type: LOGOUT}")) == read(text)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_native_type_is_written_so_that_it_reads_as_itself(native: str) -> None:
    rows = read(with_row(BLOCK, row_text(native, {"type": "LOGOUT"})))["types"]  # type: ignore[index]
    assert rows[native] == {"type": "LOGOUT"}
    assert read(with_row(BLOCK, row_text(native, None)))["types"][native] == {"type": None}  # type: ignore[index]


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_an_extension_is_a_table_whatever_the_title(title: str) -> None:
    assert read(extension_of("okta", title)) == {"provider": "okta", "title": title, "extends": "okta"}
