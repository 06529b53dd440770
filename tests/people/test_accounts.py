"""Which accounts are one person's, and which events theirs."""

from __future__ import annotations

from typing import Any

import orjson

from adapter.people.accounts import Account, Person, begin, describe, join
from adapter.search.linking import KnownName
from adapter.search_fields import search_fields


def row(source: str, id: str, name: str, *, is_email: bool = False, realm: str = "r1", last: int = 1) -> KnownName:
    return KnownName(source, realm, None, id, name, is_email, last)


def link(person: Person, *, source: str = "prod", outcome: str = "success", **event: Any) -> str | None:
    who = event.pop("who", {})
    given = {
        "time": 1, "type": "access.LOGIN", "outcome": outcome, "realmId": "r1", "authDetails": who,
        "source": {"name": source, "provider": "p", "nativeType": "x", "receivedAt": 1}, **event,
    }  # fmt: skip
    return person.link(search_fields(orjson.dumps(given)))


def zoe(*, emails: bool = True) -> Person:
    """Zoe, who has an account at prod, and one at ow with the same address."""
    person = begin("zoe", [row("prod", "u1", "zoe")])
    describe(person, [row("prod", "u1", "zoe"), row("prod", "u1", "Zoe@acme.example", is_email=True)], emails=emails)
    join(person, [row("ow", "o9", "zoe@acme.example", is_email=True), row("prod", "u1", "zoe@acme.example")])
    return person


def test_ids_link_within_a_source() -> None:
    assert link(zoe(), who={"userId": "u1"}) == "username zoe of userId u1 in source prod"
    assert link(zoe(), who={"userId": "u1"}, source="ow") is None
    assert link(begin("u1", []), who={"userId": "u1"}, source="ow") == "userId u1 in source ow"


def test_an_address_links_across_sources_and_says_of_which() -> None:
    assert link(zoe(), who={"userId": "o9"}, source="ow") == "e-mail zoe@acme.example of accounts in prod and ow"


def test_addresses_do_not_link_where_they_are_not_to() -> None:
    person = zoe(emails=False)
    assert set(person.accounts) == {Account("prod", "u1")}
    assert link(person, who={"userId": "o9"}, source="ow") is None


def test_a_name_without_an_id_links_where_somebody_got_in_under_it() -> None:
    assert link(zoe(), who={"username": "ZOE"}) == "username zoe of userId u1 in source prod"
    assert link(zoe(), who={"username": "zoe@acme.example"}, source="mail") == (
        "e-mail zoe@acme.example of accounts in prod and ow and mail"
    )


def test_names_that_were_only_tried_never_link() -> None:
    assert link(zoe(), who={"username": "zoe"}, outcome="failure", reason="bad_credentials") is None
    assert link(begin("zoe", []), who={"username": "zoe"}, outcome="failure") is None
    assert link(zoe(), who={"userId": "u1"}, outcome="failure", reason="unknown_user") is None
    assert link(begin("u1", []), who={"userId": "u1"}, outcome="failure", reason="unknown_user") is None


def test_a_name_beside_another_id_is_somebody_elses() -> None:
    assert link(zoe(), who={"userId": "u2", "username": "zoe"}) is None


def test_a_name_of_another_realm_is_somebody_elses() -> None:
    person = begin("u1", [row("prod", "u1", "zoe")])
    describe(person, [row("prod", "u1", "zoe")], emails=True)
    assert link(person, who={"username": "zoe"}) is not None
    assert link(person, who={"username": "zoe"}, realmId="r2") is None


def test_what_was_done_to_an_account_is_on_its_timeline() -> None:
    assert link(zoe(), who={"userId": "admin"}, details={"userId": "u1"}) is not None


def test_an_address_that_many_accounts_share_is_nobodys_own() -> None:
    person = begin("zoe", [row("prod", "u1", "zoe")])
    describe(person, [row("prod", "u1", "team@acme.example", is_email=True)], emails=True)
    assert join(person, [row("ow", f"o{number}", "team@acme.example") for number in range(6)]) == []
    assert set(person.accounts) == {Account("prod", "u1")}


def test_linked_accounts_bring_no_further_ones() -> None:
    person = zoe()
    describe(person, [row("ow", "o9", "other@acme.example", is_email=True)], emails=False)
    assert "other@acme.example" not in person.emails


def test_a_flood_of_accounts_is_bounded() -> None:
    person = begin("zoe", [row("prod", f"u{number}", "zoe", last=number) for number in range(1_000)])
    assert len(person.accounts) == 100
    assert Account("prod", "u999") in person.accounts
