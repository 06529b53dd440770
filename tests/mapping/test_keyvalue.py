from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.keyvalue import parse_keyvalue


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ('type="LOGIN", userId="null", x="a, b=c"', {"type": "LOGIN", "userId": "null", "x": "a, b=c"}),
        ("type=LOGIN, userId=null, name='bob smith'", {"type": "LOGIN", "userId": "null", "name": "bob smith"}),
        (r'type="A", q="say \"hi\", ok=\"no\"", z="1"', {"type": "A", "q": 'say "hi", ok="no"', "z": "1"}),
        (r'a="ends in \", b="2"', {"a": "ends in \\", "b": "2"}),
        ("a=x, y, b=1=2", {"a": "x, y", "b": "1=2"}),
        ('a="never closed', {"a": "never closed"}),
        ('a="", b=', {"a": "", "b": ""}),
        ("no pairs here", {}),
        (r'name="x\", error=\"forged", b="2"', {"name": 'x", error="forged', "b": "2"}),
        ('a="1", a="2"', {"a": "1"}),
    ],
)  # fmt: skip
def test_pairs_are_read_in_every_form(line: str, pairs: dict[str, str]) -> None:
    assert parse_keyvalue(line) == pairs


keys = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
values = st.text(st.characters(exclude_characters='"\\\n='))


@given(st.dictionaries(keys, values, max_size=6))
def test_what_was_written_quoted_is_read_back(pairs: dict[str, str]) -> None:
    assert parse_keyvalue(", ".join(f'{key}="{value}"' for key, value in pairs.items())) == pairs


@given(st.text(alphabet="ab=\"'\\, "))
def test_any_line_is_read_without_an_error(line: str) -> None:
    parse_keyvalue(line)


def test_a_value_in_brackets_ends_with_its_bracket() -> None:
    assert parse_keyvalue('type="LOGIN", cookies=[A=1, B=2], username="ann"') == {
        "type": "LOGIN",
        "cookies": "[A=1, B=2]",
        "username": "ann",
    }
    assert parse_keyvalue("a=[1, b=2") == {"a": "[1", "b": "2"}


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_value_of_quotes_alone_ends_with_the_last_one(quote: str) -> None:
    assert parse_keyvalue(f"a={quote}{quote * 1000}b") == {"a": quote * 999}


def test_pairs_inside_a_text_of_json_end_where_that_does() -> None:
    inner = 'type="LOGIN", name="no \\"body\\", at=\\ home", last="x"'
    plain = parse_keyvalue(inner)
    for _ in range(3):
        inner = json.dumps(inner)[1:-1]
        assert parse_keyvalue(inner) == plain
        assert parse_keyvalue(inner + '", more="y"}') == plain


def test_an_escape_that_json_does_not_have_stands_for_what_follows_it() -> None:
    assert parse_keyvalue(r"a=\"b\", c=\"\d\"") == {"a": "b", "c": "d"}
