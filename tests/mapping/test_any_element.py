"""Conditions on the elements of lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.any_element import any_element
from adapter.mapping.conversion import text_of
from adapter.mapping.expressions import compile_condition
from adapter.mapping.language import Condition, Mapping, Requirement
from adapter.mapping.paths import ELEMENTS_LIMIT, follow_every, parse_steps
from adapter.mapping.table import Table
from adapter.workbench.explain import explain

Make = Callable[[str], Table]
TABLE = Mapping.model_validate({"provider": "acme", "title": "Acme", "absent": ["null", "-"]})

PHISHING = {"kind": "phishing", "score": 90, "by": {"name": "Mail Guard"}}
SPAM = {"kind": "spam", "score": 10, "tags": ["bulk", "known"]}


def holds(condition: dict[str, Any], raw: dict[str, Any]) -> bool:
    return compile_condition(TABLE, Condition.model_validate(condition))(raw)


@pytest.mark.parametrize(
    ("wanted", "threats", "expected"),
    [
        ({"threats[*].kind": "phishing"}, [SPAM, PHISHING], True),
        ({"threats[*].kind": "phishing"}, [SPAM], False),
        ({"threats[*].kind": "phishing"}, [], False),
        ({"threats[*].kind": "phishing"}, None, False),
        ({"threats[*].kind": "phishing"}, PHISHING, True),
        ({"threats[*].kind": "phishing"}, [[PHISHING]], False),
        ({"threats[*].kind": "phishing"}, [5, None, "phishing", PHISHING], True),
        ({"threats[*].kind": ["virus", "spam"]}, [SPAM, PHISHING], True),
        ({"threats[*].score": 90}, [PHISHING], True),
        ({"threats[*].score": "90"}, [PHISHING], True),
        ({"threats[*]": "x"}, ["y", "x"], True),
        ({"threats[*]": True}, ["x", 1], False),
        ({"threats[*]": True}, ["x", True], True),
        ({"threats[*]": {"contains": "guard"}}, ["The Guardian"], True),
        ({"threats[*]": {"contains": ["guard", "b"]}}, ["a", "xBx"], True),
        ({"threats[*].by.name": {"starts": "Mail"}}, [SPAM, PHISHING], True),
        ({"threats[*].by.name": {"matches": "^[A-Z]ail .uard$"}}, [SPAM, PHISHING], True),
        ({"threats[*].by.name": {"matches": "^uard"}}, [SPAM, PHISHING], False),
        # One and the same element must be all that is asked for.
        ({"threats[*]": {"starts": "a", "contains": "z"}}, ["ab", "xz"], False),
        ({"threats[*]": {"starts": "a", "contains": "z"}}, ["ab", "xz", "a-z"], True),
        ({"threats[*]": {"starts": "a", "matches": "z$"}}, ["ab", "xz"], False),
        ({"threats[*]": {"starts": "a", "matches": "z$"}}, ["xz", "az"], True),
        # None of them may be what `not` names.
        ({"threats[*].kind": {"not": "spam"}}, [PHISHING], True),
        ({"threats[*].kind": {"not": "spam"}}, [PHISHING, SPAM], False),
        ({"threats[*].kind": {"not": ["x", "spam"]}}, [SPAM], False),
        ({"threats[*].kind": {"not": "spam"}}, [], True),
        ({"threats[*].kind": {"not": "spam"}}, None, True),
        ({"threats[*].kind": {"not": "spam", "starts": "ph"}}, [PHISHING], True),
        ({"threats[*].kind": {"not": "spam", "starts": "ph"}}, [PHISHING, SPAM], False),
        ({"threats[*].kind": {"not": "spam", "starts": "ph"}}, [], False),
        ({"threats[*].kind": {"present": True}}, [5, SPAM], True),
        ({"threats[*].kind": {"present": True}}, [5, {"kind": "-"}], False),
        ({"threats[*].by": {"present": True}}, [PHISHING], True),
        ({"threats[*].kind": {"present": False}}, [5, {"kind": ""}], True),
        ({"threats[*].kind": {"present": False}}, [5, SPAM], False),
        ({"has": ["threats[*].by.name"]}, [SPAM, PHISHING], True),
        ({"has": ["threats[*].by.name"]}, [SPAM], False),
        ({"lacks": ["threats[*].by.name"]}, [SPAM], True),
        ({"lacks": ["threats[*].by.name"]}, [SPAM, PHISHING], False),
        ({"lacks": ["threats[*].by.name"]}, None, True),
        ({"threats[*].tags[*]": "known"}, [PHISHING, SPAM], True),
        ({"threats[*].tags[*]": "known"}, [PHISHING], False),
        ({"threats[*].tags[0]": "bulk"}, [PHISHING, SPAM], True),
        ({"any": [{"threats[*].kind": "x"}, {"threats[*].kind": "spam"}]}, [SPAM], True),
    ],
    ids=str,
)
def test_one_of_the_elements_must_be_what_is_asked_for(wanted: dict[str, Any], threats: Any, expected: bool) -> None:
    assert holds(wanted, {"threats": threats}) is expected


def test_no_more_elements_are_looked_at_than_the_limit() -> None:
    for before, expected in ((ELEMENTS_LIMIT - 1, True), (ELEMENTS_LIMIT, False)):
        assert holds({"ids[*]": "x"}, {"ids": ["-"] * before + ["x"]}) is expected
        assert holds({"ids[*]": {"not": "x"}}, {"ids": ["-"] * before + ["x"]}) is not expected
    nested = {"groups": [{"ids": ["a"] * 600}, {"ids": ["a"] * 399 + ["x"]}, {"ids": ["y"]}]}
    assert holds({"groups[*].ids[*]": "x"}, nested)
    assert not holds({"groups[*].ids[*]": "y"}, nested)


def test_a_pattern_sees_of_all_elements_as_much_as_of_one_text() -> None:
    pattern = Requirement(matches=".{0,100}x.{0,100}")
    check = any_element(pattern, text_of(frozenset()))
    assert check(["a" * 100, "x"])
    assert not check(["a" * 300] * 4 + ["x"])


scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "-", "a", "b", "ab", "null"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner)
)


@given(values, st.sampled_from(["l[*]", "l[*].a", "l[*].a[*]", "l[*][*]", "l.a[*].b", "l[*].a[0]", "l[*].a[a=b].b"]))
def test_whatever_stands_there_the_condition_is_decided(value: Any, path: str) -> None:
    raw = {"l": value}
    found = [
        text for one in follow_every(raw, parse_steps(path)) if (text := text_of(frozenset(["-", "null", ""]))(one))
    ]
    assert holds({path: "a"}, raw) is ("a" in found)
    assert holds({path: {"not": "a"}}, raw) is ("a" not in found)
    assert holds({path: {"starts": "a"}}, raw) is any(one.startswith("a") for one in found)
    assert holds({"has": [path]}, raw) is not holds({"lacks": [path]}, raw)


ROWS = """
type: kind
identity: none
types:
  mail:
    - {when: {"threats[*].kind": phishing}, type: LOGIN_ERROR, reason: policy_denied}
    - {type: LOGIN}
"""


def test_a_row_is_chosen_by_an_element_and_says_why(make_table: Make) -> None:
    table = make_table(ROWS)
    assert table.read({"kind": "mail", "threats": [SPAM, PHISHING]}, 0)[0]["type"] == "access.LOGIN_ERROR"
    assert table.read({"kind": "mail", "threats": [SPAM]}, 0)[0]["type"] == "access.LOGIN"
    for body, why in (
        (b'{"kind": "mail", "threats": [{"kind": "spam"}]}', "threats[*].kind is ['spam'], wanted 'phishing'"),
        (b'{"kind": "mail"}', "threats[*].kind is absent, wanted 'phishing'"),
    ):
        [told] = explain(table, table.split(body), 0)
        assert [row.failed for row in told.rows] == [why, None]


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ('fields: {details.x: "threats[*].kind"}', "fields.details.x"),
        ('fields: {details.x: {path: ["a", "threats[*].kind"]}}', "fields.details.x.path.1"),
        ('fields: {details.x: {template: "{threats[*].kind}"}}', "fields.details.x.template"),
        ('redact: [{in: "threats[*].token"}]', "redact.0.in"),
        ('each: "threats[*]"', "each"),
    ],
)
def test_values_are_of_one_element_alone(make_table: Make, part: str, place: str) -> None:
    with pytest.raises(MappingError) as refused:
        make_table(ROWS + part)
    assert place in str(refused.value)
    assert "[*] stands for all elements, which only conditions look at" in str(refused.value)


def test_an_envelope_is_not_known_by_the_elements_of_its_lists(make_table: Make) -> None:
    for when in ('{"events[*].id": 1}', '{any: [{has: ["events[*].id"]}]}'):
        with pytest.raises(MappingError, match=r"body\.0\.when: an envelope is not known by the elements of its lists"):
            make_table(ROWS + f"body: [{{when: {when}, events: events}}]")
