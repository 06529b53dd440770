from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.compile import Result
from adapter.mapping.families import Families
from adapter.mapping.table import Table
from adapter.mapping.trace import Trace

Make = Callable[[str], Table]
NOW = 1_767_225_600_000

TABLE = """
type: kind
identity: {strong: id}
fields: {id: id}
failed: {result: bad}
types:
  role.*: {type: admin.REALM_ROLE-UPDATE}
  role.deleted.*:
    - {when: {result: draft}, ignore: true}
    - {type: admin.REALM_ROLE-DELETE}
  role.deleted.all: {type: admin.REALM-UPDATE}
"""


def read(table: Table, kind: str, **more: str | None) -> Result:
    return Result(*table.read({"id": "e-1", "kind": kind, **more}, NOW))


def type_of(table: Table, kind: str, **more: str) -> str:
    result = read(table, kind, **more)
    assert result.event is not None, result.problem
    return str(result.event["type"])


def test_the_longest_beginning_counts_and_a_row_of_its_own_before_all(make_table: Make) -> None:
    table = make_table(TABLE)
    assert type_of(table, "role.added") == "admin.REALM_ROLE-UPDATE"
    assert type_of(table, "role.deleted") == "admin.REALM_ROLE-UPDATE"
    assert type_of(table, "role.deleted.one") == "admin.REALM_ROLE-DELETE"
    assert type_of(table, "role.deleted.all") == "admin.REALM-UPDATE"
    assert type_of(table, "role.deleted.all.again") == "admin.REALM_ROLE-DELETE"
    assert type_of(table, "role.") == "admin.REALM_ROLE-UPDATE"


def test_a_type_of_no_family_is_quarantined(make_table: Make) -> None:
    table = make_table(TABLE)
    for kind in ("role", "roles.added", "a", "z", "Role.added"):
        assert read(table, kind).problem == f"no row for {kind!r}: add one to the table"


def test_a_family_is_read_as_any_row(make_table: Make) -> None:
    table = make_table(TABLE)
    failed = read(table, "role.added", result="bad").event
    assert failed is not None
    assert (failed["outcome"], failed["reason"]) == ("failure", "unspecified")
    ignored = read(table, "role.deleted.one", result="draft")
    assert (ignored.event, ignored.problem, ignored.native_type) == (None, None, "role.deleted.one")


def test_a_family_has_a_failing_twin_where_the_table_has_a_suffix(make_table: Make) -> None:
    table = make_table(TABLE.replace("admin.REALM_ROLE-UPDATE", "UPDATE_PROFILE") + "error_suffix: _ERROR\n")
    assert type_of(table, "role.added") == "access.UPDATE_PROFILE"
    assert type_of(table, "role.added_ERROR") == "access.UPDATE_PROFILE_ERROR"
    assert read(table, "roles_ERROR").event is None


def test_what_has_no_family_passes_through_where_the_table_says_so(make_table: Make) -> None:
    table = make_table(TABLE + 'unknown: {type: "access.{native}"}\n')
    assert type_of(table, "role.added") == "admin.REALM_ROLE-UPDATE"
    assert type_of(table, "SOMETHING") == "access.SOMETHING"


def test_a_shape_adds_to_the_families_of_the_table(make_table: Make) -> None:
    text = TABLE.replace("types:", "shapes: {event: {types: {role.added.*: {type: LOGIN}}}}\ntypes:")
    table = make_table(text)
    assert type_of(table, "role.added.x") == "access.LOGIN"
    assert type_of(table, "role.removed") == "admin.REALM_ROLE-UPDATE"


def test_a_trace_names_the_family(make_table: Make) -> None:
    trace = Trace()
    table = make_table(TABLE).traced(trace)
    read(table, "role.deleted.one")
    assert [(one.name, one.failed is None) for one in trace.rows] == [
        ("types.role.deleted.*.0", False),
        ("types.role.deleted.*.1", True),
    ]


def test_a_star_alone_is_refused(make_table: Make) -> None:
    with pytest.raises(MappingError, match="that is what `unknown` is for"):
        make_table(TABLE + "  '*': {type: LOGIN}\n")


WORDS = st.text("ab.", max_size=6)


@given(st.lists(WORDS.filter(bool)), WORDS)
def test_the_family_found_is_the_longest_of_those_that_fit(beginnings: list[str], native: str) -> None:
    fitting: list[Any] = [one for one in beginnings if native.startswith(one)]
    expected = max(fitting, key=len) + "*" if fitting else None
    assert Families(one + "*" for one in beginnings).of(native) == expected


PATTERNS = """
type: kind
identity: none
fields:
  details.medium:
    path: medium
    table: {mail: email, "sms*": sms, "~^tel:": call, "sms:49*": german, "~^(?i)push": push}
    default: other
types:
  login failed twice: {type: USER_DISABLED_BY_TEMPORARY_LOCKOUT}
  "login failed*": {type: LOGIN_ERROR, reason: unspecified}
  ~(?i)^login .* (unknown|locked): {type: LOGIN_ERROR, reason: policy_denied}
  ~locked$: {type: LOGIN_ERROR, reason: locked}
"""


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("login failed twice", None),
        ("login failed", "unspecified"),
        ("login failed: anna is unknown", "policy_denied"),
        ("LOGIN of anna: locked", "policy_denied"),
        ("anna is locked", "locked"),
    ],
)
def test_a_pattern_counts_before_beginnings_and_the_first_of_several(
    make_table: Make, kind: str, reason: str | None
) -> None:
    event = read(make_table(PATTERNS), kind).event
    assert event is not None
    assert event.get("reason") == reason


@pytest.mark.parametrize(
    ("medium", "found"),
    [
        ("mail", "email"),
        ("mailing", "other"),
        ("sms", "sms"),
        ("sms:1", "sms"),
        ("sms:49170", "german"),
        ("tel:49170", "call"),
        ("PUSH", "push"),
        (None, "other"),
    ],
)
def test_a_translation_names_many_values_as_types_do(make_table: Make, medium: str | None, found: str) -> None:
    for table in (make_table(PATTERNS), make_table(PATTERNS).traced(Trace())):
        event = read(table, "anna is locked", medium=medium).event
        assert event is not None
        assert event["details"]["medium"] == found


def test_a_value_of_no_family_is_told_as_it_is(make_table: Make) -> None:
    trace = Trace()
    table = make_table(PATTERNS).traced(trace)
    read(table, "anna is locked", medium="mailing")
    assert [text for _, text in trace.untranslated] == ["mailing"]
    assert "its table lacks 'mailing'" in trace.fields["details.medium"]
    trace.begin()
    read(table, "anna is locked", medium="sms:1")
    assert trace.untranslated == []


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("~", "'~' needs a pattern behind it"),
        ("~(a", "not a pattern of RE2 syntax: missing )"),
    ],
)
def test_a_pattern_that_is_none_is_refused(make_table: Make, key: str, complaint: str) -> None:
    for text in (f"  '{key}': {{type: LOGIN}}\n", f"reason: {{path: a, table: {{'{key}': locked}}}}\n"):
        with pytest.raises(MappingError) as error:
            make_table(TABLE + text)
        assert complaint in str(error.value)


def test_a_star_alone_is_no_key_of_a_translation(make_table: Make) -> None:
    with pytest.raises(MappingError, match="that is what `default` is for"):
        make_table(TABLE + "reason: {path: a, table: {'*': locked}}\n")


def test_as_many_patterns_as_would_be_slow_are_refused(make_table: Make) -> None:
    with pytest.raises(MappingError, match=r"has 201 patterns .*; the limit is 200"):
        make_table(TABLE + "".join(f"  ~{number}$: {{type: LOGIN}}\n" for number in range(201)))


def test_many_patterns_together_see_no_more_of_a_text_than_one_may() -> None:
    families = Families([f"~x{{50}}{number}" for number in range(200)])
    assert families.of("x" * 50 + "7") == "~x{50}7"
    assert families.of("a" * 10_000_000 + "x" * 50 + "7") is None
