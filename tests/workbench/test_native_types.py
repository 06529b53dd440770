"""A table as people look at it: each native type, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.table import Table, load_table, read_table
from adapter.resources import mappings_path
from adapter.workbench.native_types import KnownTypes, NativeType

TABLE = """
provider: shop
title: Shop
type: kind
error_suffix: _failed
identity: {strong: id}
reason: {path: why, table: {pw: bad_credentials}, default: unspecified}
types:
  in: {type: LOGIN, details: {login_method: password}, note: the whole login}
  bad: {type: LOGIN_ERROR}
  removed:
    - {when: {by: [1, 2]}, type: admin.USER-DELETE}
    - {type: DELETE_ACCOUNT_ERROR, reason: policy_denied}
  seen: {ignore: true}
  pam.*: {type: LOGOUT}
catalogue: {page: handbook, types: [in, pam.close, sent, other], unmapped: {sent: no event of an identity}}
"""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue([mappings_path()])


def table(catalogue: Catalogue, text: str = TABLE) -> Table:
    return read_table(Document(Path("shop/mapping.yaml"), text), catalogue)


def by_name(
    table: Table, arrived: dict[str | None, tuple[int, int, int]] | None = None
) -> dict[str | None, NativeType]:
    return {one.name: one for one in KnownTypes(table).with_arrived(arrived).types}


def test_rows_stand_in_order_of_the_file_with_what_they_say(catalogue: Catalogue) -> None:
    found = by_name(table(catalogue))
    assert list(found) == ["in", "bad", "removed", "seen", "pam.*", "pam.close", "sent", "other"]
    [row] = found["in"].rows
    assert (row.type, row.outcome, row.details, row.note) == (
        "access.LOGIN", "success", {"login_method": "password"}, "the whole login",
    )  # fmt: skip
    assert [one.when for one in found["removed"].rows] == ["by: [1, 2]", None]


def test_what_becomes_of_a_type_is_an_outcome_or_that_its_rows_differ(catalogue: Catalogue) -> None:
    found = by_name(table(catalogue))
    assert {name: one.becomes for name, one in found.items()} == {
        "in": "success", "bad": "failure", "removed": "several", "seen": "ignored", "pam.*": "success",
        "pam.close": "success", "sent": "none", "other": "none",
    }  # fmt: skip


def test_the_reason_of_a_failure_is_a_word_or_where_it_is_looked_for(catalogue: Catalogue) -> None:
    found = by_name(table(catalogue))
    assert [one.reason for one in found["removed"].rows] == [None, "policy_denied"]
    assert [one.reason for one in found["bad"].rows] == ["by why (by its table)"]
    assert [one.reason for one in found["in"].rows] == [None]


def test_the_vendors_list_says_what_is_missing_and_what_falls_to_a_family(catalogue: Catalogue) -> None:
    found = by_name(table(catalogue))
    assert [name for name, one in found.items() if one.listed] == ["in", "pam.close", "sent", "other"]
    assert (found["pam.close"].by, found["other"].by) == ("pam.*", None)
    assert found["sent"].unmapped == "no event of an identity"


def test_what_arrived_is_counted_and_added_where_nobody_knows_it(catalogue: Catalogue) -> None:
    found = by_name(table(catalogue), {"in": (7, 0, 5), "in_failed": (2, 0, 6), "odd": (3, 3, 7), None: (1, 1, 8)})
    assert (found["in"].entries, found["in"].lastAt, found["bad"].entries) == (7, 5, 0)
    assert (found["in_failed"].by, found["in_failed"].becomes) == ("in", "failure")
    assert [(found[name].becomes, found[name].quarantined) for name in ("odd", None)] == [("none", 3), ("none", 1)]


def test_rows_that_stand_under_several_shapes_in_the_same_words_come_once(catalogue: Catalogue) -> None:
    keycloak = load_table(mappings_path() / "keycloak" / "mapping.yaml", catalogue)
    [login] = [one for one in KnownTypes(keycloak).with_arrived().types if one.name == "LOGIN"]
    assert len(login.shapes) > 1


def test_rows_of_the_own_file_are_told_from_those_it_extends(catalogue: Catalogue) -> None:
    text = "provider: shop\ntitle: Ours\nextends: onewelcome\ntypes:\n  10001: {type: LOGOUT}\n  101: null\n"
    document = Document(Path("shop/mapping.yaml"), text)
    known = KnownTypes(read_table(document, catalogue, [mappings_path()])).with_arrived()
    assert known.extends == "onewelcome"
    own = {one.name: one.own for one in known.types if one.rows}
    assert (own["10001"], own["102"], "101" in own) == (True, False, False)


def test_what_happens_to_types_without_a_row_is_told(catalogue: Catalogue) -> None:
    def unknown(text: str) -> str:
        return KnownTypes(table(catalogue, TABLE + text)).with_arrived().unknown

    assert unknown("") == "quarantine"
    assert unknown("unknown: ignore\n") == "ignore"
    assert unknown('unknown: {type: "access.{native}"}\n') == "pass through"
