"""Patterns, and what each may cost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.pattern import GROUPS_LIMIT, MATCH_LIMIT, PROGRAM_LIMIT, compile_pattern


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(?=a)", "not a pattern of RE2 syntax"),
        ("(.*){999}x", f"instructions; the limit is {PROGRAM_LIMIT}"),
        ("(?s).{0,1000}y", f"instructions; the limit is {PROGRAM_LIMIT}"),
        ("((x?){999}){999}", "not a pattern of RE2 syntax"),
        ("(a)" * (GROUPS_LIMIT + 1), f"groups; the limit is {GROUPS_LIMIT}"),
        ("a|" * 10_000, "characters; the limit is 10000"),
    ],
)
def test_what_would_cost_too_much_is_no_pattern(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        compile_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        r"^(?:user|member) ([\w.-]{1,64})@([\w.-]{1,64}) signed (in|out)",
        r"\pL+",
        "|".join(f"type_{number}" for number in range(500)),
    ],
)
def test_what_a_table_needs_is_within_the_bounds(text: str) -> None:
    assert compile_pattern(text).reach >= 500


def test_of_a_long_text_a_pattern_sees_the_beginning() -> None:
    pattern = compile_pattern("(?:^a|b$|c)")
    long = "x" * pattern.reach
    assert pattern.search("a" + long)
    assert pattern.search(long[1:] + "c")
    assert pattern.search(long + "c") is None
    assert pattern.search("x" * MATCH_LIMIT * 2 + "b") is None


def test_a_text_beyond_its_reach_does_not_match_as_a_whole() -> None:
    pattern = compile_pattern("x*")
    assert pattern.fullmatch("x" * pattern.reach)
    assert pattern.fullmatch("x" * (pattern.reach + 1)) is None


TEXTS = st.text("ab1\u00e9\U0001f600 \ud800", max_size=12)


@given(st.sampled_from(["a(b)?", "(?P<x>[^a]+)a(1)?", "\u00e9(.)", "(b|1)*$", "(?:(a)|(b)) "]), TEXTS)
def test_places_and_groups_are_those_of_characters(text: str, where: str) -> None:
    found = compile_pattern(text).search(where)
    expected = re.search(text.replace("$", r"\Z"), where.replace("\ud800", "?"))
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert (found.group(), found.groups()) == (expected.group(), expected.groups())
        for number in range(len(expected.groups()) + 1):
            assert (found.start(number), found.end(number)) == expected.span(number) == found.span(number)
