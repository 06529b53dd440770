"""What is no YAML is told in plain words, at the line of the slip, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.document import Document


def told(text: str) -> str:
    with pytest.raises(MappingError) as error:
        Document(Path("m.yaml"), text)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix("m.yaml:")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("types:\n\ta: {type: LOGIN}\n", 2, "a tab indents this line; use blanks"),
        ("fields:\n  id: x\n  \ttime: y\n", 3, "a tab indents this line; use blanks"),
        ("title: Shop: accounts\n", 1, "the value has a colon with a blank behind it (column 12); put the value in"),
        ("types:\n  a: {type: LOGIN, note: see: this}\n", 2, "there is a colon too many (column 29)"),
        ("types:\n  a: {type: LOGIN reason: x}\n", 2, "there is a colon too many (column 25): put the text in quotes"),
        ("type: kind\nidentity:none\nfields: {}\n", 2, "a blank is missing behind the colon: write `identity: …`"),
        ("provider:acme\ntitle: x\n", 1, "a blank is missing behind the colon: write `provider: …`"),
        ("types:\n  a:{type: LOGIN}\n", 2, "a blank is missing behind the colon of 'a:{type'; write `a: {type`"),
        ("types: {a: {type:LOGIN}}\n", 1, "a blank is missing behind the colon of 'type:LOGIN'; write `type: LOGIN`"),
        ("note: hello\nworld\ntype: kind\n", 2, "this line is no `key: value`"),
        ('title: "Shop\ntype: kind\n', 1, 'the quote " at column 8 is never closed'),
        ("title: 'The shop's'\n", 1, "text stands behind the closing quote (column 18)"),
        ("auth: [bearer\ntype: kind\n", 1, "the [ at column 7 is never closed"),
        ("a: {b: c,\n    d: e\n    f: g}\n", 3, "a comma is missing before this line, or the { in line 1 is"),
        ("auth: [a}\n", 1, "the [ at column 7 is closed with }; write ]"),
        ("fields: {id: x}}\n", 1, "there is a } too many (column 16)"),
        ("fields: {x: {template: users/{id}}}\n", 1, "a text with { in it needs quotes (column 30)"),
        ("find: [a-z]+\n", 1, "a value that begins with [ ends with ]; put a text that does not in quotes"),
        ("body:\n  - a: 1\n    - b: 2\n", 3, "this item of a list stands where none can be: indent it by 2 blanks"),
        ("auth:\n  - bearer\n  x: 1\n", 3, "this line stands among the items of a list: begin it with `- `, or indent"),
        ("body:\n  -{a: b}\n  - {a: c}\n", 2, "a blank is missing behind the -"),
        ("fields:\n    id: x\n  time: y\n", 3, "this line is indented like none around it: indent it by 0 or 4 blanks"),
        ("type: kind\n  fields: {}\n", 2, "this line is indented below one that has its value already: indent it by 0"),
        ("type: a\ntitle: b\ntype: c\n", 3, "duplicate key 'type': it stands in line 1, too; keep one"),
        ("find: %d\n", 1, "a value may not begin with %; put it in quotes"),
        ("x: @line\n", 1, "a value may not begin with @; put it in quotes"),
        ("x: *any\n", 1, "what begins with * stands for an anchor, and there is none; put a text that does in quotes"),
        ("x: !any\n", 1, "what begins with ! is a tag, and there are none; put a text that does in quotes"),
        ('find: "\\d"\n', 1, "put the text in single quotes, in which a backslash is itself"),
        ("title: \u201cShop\u201d: x\n", 1, "\u201c is no quote of YAML"),
        ("x: a\x01b\n", 1, "the character U+0001 may not stand in YAML"),
        ("x: 1\n---\ny: 2\n", 2, "a second document begins here"),
    ],
)  # fmt: skip
def test_a_slip_is_told_at_its_line(text: str, line: int, words: str) -> None:
    message = told(text)
    assert message.startswith(f"{line}: "), message
    assert words in message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("types:\n  \ta: {type: LOGIN}\n", 2, 3),
        ("title: Shop: accounts\n", 1, 12),
        ("title: \u201cShop\u201d: x\n", 1, 8),
        ("types:\n  a:{type: LOGIN}\n", 2, 3),
        ('title: "Shop\ntype: kind\n', 1, 8),
        ("auth: [bearer\ntype: kind\n", 1, 7),
        ("a: {b: c,\n    d: e\n    f: g}\n", 3, 5),
        ("auth: [a}\n", 1, 9),
        ("body:\n  - a: 1\n    - b: 2\n", 3, 5),
        ("a:\n  type: a\n  type: c\n", 3, 3),
        ("find: %d\n", 1, 7),
        ("x: [a, *any]\n", 1, 8),
        ('find: "\\d"\n', 1, 8),
        ('find: "\\xyz"\n', 1, 8),
        ("\u00e9: \u00fc\nx: \u00e9\u00e9\x01b\n", 2, 6),
        ("x: &x [*x]\n", 1, 4),
        (f"x: {'[' * 200}\n", 1, 103),
        ("x: 1\n---\ny: 2\n", 2, 1),
    ],
)
def test_a_slip_has_a_column(text: str, line: int, column: int) -> None:
    with pytest.raises(MappingError) as error:
        Document(Path("m.yaml"), text)
    assert (error.value.line, error.value.column) == (line, column)


def test_the_line_is_shown_as_far_as_it_is_short() -> None:
    assert told("types:\n\ta: x\n").endswith(r"; the line is: \ta: x")
    assert told(f"title: a: {'b' * 1000}\n").endswith("b…")


@pytest.mark.parametrize("text", ["a:b: 1\n", "x: {a:b: 1}\n", "url: http://x/{a}\n", "{http://x: 1}\n", "x: a:b\n"])
def test_a_key_with_a_colon_in_it_is_one(text: str) -> None:
    assert Document(Path("m.yaml"), text).value


LINES = st.lists(st.text("ab: -{}[],\"'\t#&*!|>%@\\", max_size=12), max_size=6)


@given(LINES)
def test_any_text_is_a_document_or_is_told_in_one_line(lines: list[str]) -> None:
    try:
        Document(Path("m.yaml"), "\n".join(lines))
    except MappingError as error:
        assert "\n" not in str(error)
        assert error.code is not None
        assert (error.line is None) == (error.column is None)
        if error.line is not None and error.column is not None:
            assert 1 <= error.line <= len(lines) + 1
            assert 1 <= error.column <= len([*lines, ""][error.line - 1]) + 1
