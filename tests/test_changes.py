"""What an admin event changed, told from what events say of a thing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.changes import (
    DEPTH,
    LISTED,
    NOTHING,
    SIZE,
    Change,
    Difference,
    Unread,
    compare,
    compare_details,
    read_representation,
)

CAPTURED = Path(__file__).parent / "captures" / "keycloak-26.6.4" / "admin-events.json"


def update(new: Any, *earlier: Any) -> list[tuple[str, ...]]:
    """The differences of an update, as rows of path, change, old and new."""
    return [row(one) for one in compare("UPDATE", new, earlier).differences]


def row(one: Difference) -> tuple[str, ...]:
    told = (json.dumps(value) for value in (one.old, one.new) if value is not NOTHING)
    return (one.path, str(one.change), *told)


def test_a_field_that_has_another_value_was_changed_and_one_that_is_not_there_is_not_stated() -> None:
    assert update({"enabled": False, "email": "a@x"}, {"enabled": True, "email": "a@x", "firstName": "Zoe"}) == [
        ("enabled", "changed", "true", "false"),
        ("firstName", "not_stated", '"Zoe"'),
    ]


def test_what_a_field_was_is_what_the_latest_event_said_that_names_it() -> None:
    found = compare("UPDATE", {"email": "c"}, [{"enabled": False}, {"email": "b"}, {"email": "a", "name": "zoe"}])
    assert [(one.path, one.old, one.said_by) for one in found.differences] == [
        ("email", "b", 1),
        ("name", "zoe", 2),
        ("enabled", False, 0),
    ]


def test_what_was_never_said_before_is_stated_and_not_taken_for_new() -> None:
    assert update({"email": "a"}, {"enabled": True})[0] == ("email", "stated", '"a"')
    assert update({"email": "a"}) == [("email", "stated", '"a"')]


def test_null_says_that_nothing_is_there() -> None:
    assert update({"email": None}, {"email": "a"}) == [("email", "removed", '"a"')]
    assert update({"email": "a"}, {"email": None}) == [("email", "added", '"a"')]
    assert update({"email": None}, {"email": None}) == []
    assert update({"email": None}) == []


def test_a_value_of_another_kind_is_another_value() -> None:
    assert update({"a": True}, {"a": 1}) == [("a", "changed", "1", "true")]
    assert update({"a": "1"}, {"a": 1}) == [("a", "changed", "1", '"1"')]
    assert update({"a": {"b": 1}}, {"a": 1}) == [("a", "changed", "1", '{"b": 1}')]
    assert update({"a": 1.0}, {"a": 1}) == []


def test_members_of_objects_are_compared_one_by_one() -> None:
    old = {"config": {"a.b": "1", "c": {"d": 1, "e": 2}}}
    assert update({"config": {"a.b": "2", "c": {"d": 1}}}, old) == [
        ("config.a\\.b", "changed", '"1"', '"2"'),
        ("config.c.e", "not_stated", "2"),
    ]


def test_elements_of_lists_are_known_by_their_identity() -> None:
    old = {"mappers": [{"id": "1", "name": "a", "claim": "x"}, {"id": "2", "name": "b"}]}
    new = {"mappers": [{"id": "1", "name": "renamed", "claim": "x"}, {"id": "3", "name": "c"}]}
    assert update(new, old) == [
        ("mappers[id=1].name", "changed", '"a"', '"renamed"'),
        ("mappers[id=3].id", "added", '"3"'),
        ("mappers[id=3].name", "added", '"c"'),
        ("mappers[id=2].id", "removed", '"2"'),
        ("mappers[id=2].name", "removed", '"b"'),
    ]
    # Where not all have an id, the next one does.
    assert update({"m": [{"name": "a", "x": 2}]}, {"m": [{"id": "1", "name": "a", "x": 1}]})[0] == (
        *("m[name=a].x", "changed", "1", "2"),
    )
    # In another order.
    assert update({"m": [{"id": 2}, {"id": 1}]}, {"m": [{"id": 1}, {"id": 2}]}) == [
        ("m", "changed", '["1", "2"]', '["2", "1"]')
    ]


def test_texts_come_and_go_in_lists() -> None:
    assert update({"uris": ["a", "evil"]}, {"uris": ["a", "b"]}) == [
        ("uris", "added", '"evil"'),
        ("uris", "removed", '"b"'),
    ]
    assert update({"uris": ["b"]}, {"uris": ["a"]}) == [("uris", "changed", '["a"]', '["b"]')]
    assert update({"uris": ["b", "a"]}, {"uris": ["a", "b"]}) == [("uris", "changed", '["a", "b"]', '["b", "a"]')]
    assert update({"uris": []}, {"uris": ["a"]}) == [("uris", "removed", '"a"')]


def test_a_list_without_identities_is_one_value() -> None:
    assert update({"rules": [{"x": 1}, {"x": 1}]}, {"rules": [{"x": 2}]}) == [
        ("rules", "changed", '[{"x": 2}]', '[{"x": 1}, {"x": 1}]')
    ]
    # An id that is there twice is none.
    assert update({"rules": [{"id": 1, "x": 1}, {"id": 1, "x": 2}]}, {"rules": []})[0][:2] == ("rules", "changed")


@pytest.mark.parametrize("secret", ["[redacted]", "Bearer [redacted]", "**********"])
def test_what_was_redacted_is_hidden_whatever_it_was(secret: str) -> None:
    assert update({"secret": secret}, {"secret": secret}) == [("secret", "hidden")]
    assert update({"secret": secret}, {"secret": "old"}) == [("secret", "hidden")]
    assert update({"secret": "new"}, {"secret": secret}) == [("secret", "hidden")]
    assert update({"secret": secret}) == [("secret", "hidden")]
    assert update({"list": [1, {"x": secret}]}, {"list": [1]}) == [("list", "hidden")]
    assert update({}, {"secret": secret}) == [("secret", "not_stated")]
    assert update({"secret": None}, {"secret": secret}) == [("secret", "removed")]
    assert [row(one) for one in compare("CREATE", {"name": "a", "secret": secret}, []).differences] == [
        ("name", "added", '"a"'),
        ("secret", "hidden"),
    ]


def test_what_is_made_was_not_there_before_and_what_is_deleted_is_gone() -> None:
    assert [row(one) for one in compare("CREATE", {"a": 1}, [{"a": 2}]).differences] == [("a", "added", "1")]
    assert [row(one) for one in compare("DELETE", NOTHING, [{"a": 2}, {"a": 1, "b": {}}]).differences] == [
        ("a", "removed", "2"),
    ]
    assert [row(one) for one in compare("DELETE", {"id": "x", "a": 3}, [{"a": 2, "b": 1}]).differences] == [
        ("a", "removed", "3"),
        ("b", "removed", "1"),
        ("id", "removed", '"x"'),
    ]
    assert [row(one) for one in compare("DELETE", ["a"], [["a", "b"]]).differences] == [("", "removed", '["a"]')]
    assert [row(one) for one in compare("ACTION", ["VERIFY_EMAIL"], [["OTHER"]]).differences] == [
        ("", "stated", '["VERIFY_EMAIL"]')
    ]
    assert compare("UPDATE", NOTHING, [{"a": 1}]).differences == []


def test_details_tell_what_something_was_before() -> None:
    details = {"previous_email": "a", "updated_email": "b", "previous_ip": "1", "ip": "1", "previous_session": "s"}
    found = compare_details(details)
    assert [row(one) for one in found.differences] == [("details.email", "changed", '"a"', '"b"')]
    assert found.unchanged == 1


# Representations


@pytest.mark.parametrize(
    ("text", "value", "is_json"),
    [
        ('{"a": 1}', {"a": 1}, True),
        ('"{\\"a\\": 1}"', {"a": 1}, True),
        ("[1]", [1], True),
        ('{"a": 12345678901234567890123}', {"a": 12345678901234567890123}, True),
        ("not json", "not json", False),
        ('{"a": ', '{"a": ', False),
        ("", "", False),
    ],
)
def test_a_representation_is_json_or_else_one_text(text: str, value: Any, is_json: bool) -> None:
    assert read_representation(text) == (value, is_json)


def test_one_that_is_too_large_or_too_deep_is_not_compared() -> None:
    with pytest.raises(Unread, match="characters"):
        read_representation(" " * (SIZE + 1))
    read_representation("[" * DEPTH + "]" * DEPTH)
    with pytest.raises(Unread, match="deeper"):
        read_representation("[" * (DEPTH + 1) + "]" * (DEPTH + 1))
    # No parser is asked for more than it can.
    assert read_representation("[" * 100_000) == ("[" * 100_000, False)


def test_a_text_that_is_no_json_is_compared_as_a_whole() -> None:
    assert update("new words", "old words") == [("", "changed", '"old words"', '"new words"')]
    assert update({"a": 1}, "old words") == [("", "changed", '"old words"', '{"a": 1}')]


def test_of_many_differences_some_are_listed_and_all_are_counted() -> None:
    old = {f"old-{number}": number for number in range(LISTED)}
    new = {f"new-{number}": number for number in range(LISTED - 10)}
    found = compare("UPDATE", new, [old])
    assert len(found.differences) == LISTED
    assert found.counts == {Change.STATED: LISTED - 10, Change.NOT_STATED: LISTED}
    assert found.is_partial
    assert found.differences[-1].change is Change.NOT_STATED


def test_names_of_any_length_do_not_multiply() -> None:
    value: Any = {f"m{number}": number for number in range(1_000)}
    for _ in range(40):
        value = {"x" * 20_000: value}
    found = compare("CREATE", value, [])
    assert sum(len(one.path) for one in found.differences) < 20_000_000


# Whatever it is

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "[redacted]"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b.c", "id", "name"]), inner, max_size=3)
    ),
    max_leaves=10,
)


#: Without identities: of a list's element that has one, members may be left out.
PLAIN = st.dictionaries(
    st.sampled_from(["a", "b.c"]),
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b.c"]), inner, max_size=3),
        max_leaves=10,
    ),
)


def is_without_secrets(value: Any) -> bool:
    return "[redacted]" not in json.dumps(value)


@given(VALUES.filter(is_without_secrets))
def test_what_is_said_again_is_no_difference(value: Any) -> None:
    found = compare("UPDATE", value, [value])
    assert found.differences == []
    assert not found.counts


def applied(old: Any, new: Any) -> Any:
    """What a thing is after an update, by what is known: members that are left out stay."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: applied(old.get(name), one) for name, one in new.items()}}
    return new


@given(st.lists(PLAIN, max_size=3), PLAIN)
def test_there_is_a_difference_where_what_is_known_is_not_what_is_said(earlier: list[Any], new: Any) -> None:
    known: Any = {}
    for one in reversed(earlier):
        known = applied(known, one)
    found = compare("UPDATE", new, earlier)
    said = [one for one in found.differences if one.change is not Change.NOT_STATED]
    if not said:
        assert without_nulls(applied(known, new)) == without_nulls(known)
    for one in said:
        assert (one.old is NOTHING) != (one.new is NOTHING) or json.dumps(one.old) != json.dumps(one.new)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        left = {name: without_nulls(one) for name, one in value.items()}
        return {name: one for name, one in left.items() if one not in (None, {})}
    return value


@given(st.sampled_from(["CREATE", "UPDATE", "DELETE", "ACTION", None]), VALUES, st.lists(VALUES, max_size=3))
def test_a_secret_stands_in_no_difference(operation: str | None, new: Any, earlier: list[Any]) -> None:
    for one in compare(operation, new, earlier).differences:
        assert is_without_secrets([value for value in (one.old, one.new) if value is not NOTHING])


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_compared(text: str) -> None:
    value = read_representation(text).value
    assert compare("UPDATE", value, []).counts.total() <= 200


# What a real Keycloak sent


def test_the_story_of_a_captured_user() -> None:
    captured = sorted(json.loads(CAPTURED.read_text()), key=lambda one: one["time"])
    user = "users/54d850b6-c44d-4a7c-b1d2-71bd7f5a3045"
    created, updated, deleted = (one for one in captured if one.get("resourcePath") == user)
    said = [read_representation(one["representation"]).value for one in (created, updated, deleted)]
    assert [row(one) for one in compare("CREATE", said[0], []).differences] == [
        ("username", "added", '"zoe"'),
        ("firstName", "added", '"Zoe"'),
        ("lastName", "added", '"Z"'),
        ("email", "added", '"zoe@acme.test"'),
        ("enabled", "added", "true"),
    ]
    found = compare("UPDATE", said[1], [said[0]])
    assert [row(one) for one in found.differences] == [
        ("firstName", "changed", '"Zoe"', '"Zo\\u00e9"'),
        ("lastName", "changed", '"Z"', '"O\'Neil"'),
    ]
    assert found.unchanged == 3
    assert [(one.path, one.old) for one in compare("DELETE", said[2], said[1::-1]).differences] == [
        ("username", "zoe"),
        ("firstName", "Zoé"),
        ("lastName", "O'Neil"),
        ("email", "zoe@acme.test"),
        ("enabled", True),
        ("id", "54d850b6-c44d-4a7c-b1d2-71bd7f5a3045"),
    ]


def test_the_story_of_a_captured_client() -> None:
    captured = sorted(json.loads(CAPTURED.read_text()), key=lambda one: one["time"])
    client = "clients/bc5948c0-4011-47a0-b4f7-b62df58bddf9"
    created, updated, _ = (
        read_representation(one["representation"]).value for one in captured if one.get("resourcePath") == client
    )
    assert [row(one) for one in compare("CREATE", created, []).differences][3] == ("secret", "hidden")
    assert update(updated, created) == [
        ("name", "stated", '"Renamed"'),
        ("id", "not_stated", '"bc5948c0-4011-47a0-b4f7-b62df58bddf9"'),
        ("enabled", "not_stated", "true"),
        ("secret", "not_stated"),
        ("publicClient", "not_stated", "false"),
    ]


def test_a_captured_role_mapping_is_told_by_the_role_that_was_given() -> None:
    captured = json.loads(CAPTURED.read_text())
    given_role = next(
        one for one in captured if one["resourceType"] == "REALM_ROLE_MAPPING" and one["operationType"] == "CREATE"
    )
    said = read_representation(given_role["representation"]).value
    told = {one.path: one.new for one in compare("CREATE", said, []).differences}
    assert told["[id=f6a089f4-4202-4239-9b25-601af6d7c054].name"] == "auditor"
