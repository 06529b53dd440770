"""What in a question looks like a slip."""

from __future__ import annotations

import pytest

from adapter.filter import Filter
from adapter.hints import Hints
from adapter.scope import RealmOf, Scope
from tests.mapping.built_in import catalogue

HINTS = Hints(catalogue, ["keycloak-prod", "okta"], ["keycloak", "okta"])


def hints(**parameters: str | list[str]) -> list[str]:
    listed = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
    return HINTS.of(Filter.parse(listed, catalogue()).terms)


@pytest.mark.parametrize(
    "type",
    [
        "access.LOGIN",
        "access.LOGIN_ERROR",
        "access.FEDERATED_IDENTITY_LINK_ERROR",
        "admin.USER-CREATE",
        "system.ANYTHING",
        "system.*",
        "*",
        "access.*_ERROR",
        "*_ERROR",
        "admin.USER*",
        "LOGIN_ERROR",
        "LOGIN*",
    ],
)
def test_nothing_is_said_of_what_the_catalogue_knows(type: str) -> None:
    assert hints(type=type) == []


@pytest.mark.parametrize("type", ["access.LOGN", "LOGN", "access.LOGN*", "LOGN*"])
def test_a_type_that_nobody_knows_is_told_with_what_is_near(type: str) -> None:
    [hint] = hints(not_type=type)
    assert hint.startswith(f"not_type={type}: the catalogue has no such type; did you mean access.LOGIN or ")


def test_sources_and_providers_are_held_against_those_there_are() -> None:
    assert hints(source=["okta", "kc"], provider=["otka", "okta"]) == [
        "provider=otka: there is no table for this provider; did you mean okta?",
        "source=kc: no source of this name is configured; there are keycloak-prod, okta",
    ]


def test_who_sees_some_realms_alone_is_not_told_which_sources_there_are() -> None:
    asked = Filter.parse({"source": ["kc"], "not_provider": ["otka"], "type": ["access.LOGN"]}, catalogue())
    [hint] = HINTS.of(Scope(frozenset({RealmOf(None, "acme")})).bound(asked).terms)
    assert hint.startswith("type=access.LOGN: ")


def test_what_anybody_may_be_called_is_not_judged() -> None:
    assert hints(user="nobody", client="nothing", realm="nowhere", session="s", q="word") == []


def test_a_detail_of_a_closed_list_is_held_against_it() -> None:
    assert hints(factor=["OTP", "webauthn"], risk="high", country=["nl", "Germany", "XK"], method="passkey") == []
    assert hints(idp="anything", device="whatever") == []
    [factor, country] = hints(factor="opt", not_country="Atlantis")
    assert factor.startswith("factor=opt: none of the agreed values; it is one of password, otp, ")
    assert country.startswith("not_country=Atlantis: none of the agreed values; it is a country's code")


def test_hints_are_few_and_short() -> None:
    found = hints(type=[f"access.{number}{'x' * 900}" for number in range(100)])
    assert len(found) == 5
    assert all(len(hint) < 200 for hint in found)
