"""What a reader who knows nothing of providers relies on: one login is one LOGIN, one failure one LOGIN_ERROR, one
lockout one lockout event, and a rule written once holds for every provider."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.mapping.built_in import PROVIDERS, catalogue, read, story

#: The complete story of one login, everything that the provider reports about it.
LOGIN = {
    "keycloak": "John logs in and the application gets its token",
    "onewelcome": "Anna logs in with a code by SMS, a page of events",
    "magic-link": "Mia logs in by a link in her mail",
    "audit-service": "user123 logs in with a password and a code",
    "okta": "Ida logs in with her password and a push, and opens an application",
    "zitadel": "Nina logs in with a password and a code, everything that an execution on all events sends",
    "auth0": "Ida logs in with her password and a push, and the application gets its token",
    "duo": "Ida gets a code by SMS and logs in to the VPN with it",
    "fusionauth": "Ida logs in with her password and a code, and the application gets a fresh token later",
}

#: Five wrong passwords from one address, and the lockout after them.
GUESSING = {
    "keycloak": "somebody guesses Jane's password until she is locked out",
    "onewelcome": "somebody guesses passwords until the account is blocked",
    "magic-link": "somebody guesses passwords until the lockout",
    "audit-service": "somebody guesses passwords until the account is locked",
    "okta": "somebody guesses Tom's password until he is locked out",
    "zitadel": "somebody guesses Olaf's password at the hosted login until he is locked out",
    "auth0": "somebody guesses Tom's password until he is locked out",
    "duo": "somebody guesses the password of an administrator until he is locked out",
    "fusionauth": "somebody guesses Tom's password until FusionAuth takes the action that the tenant set for that",
}

#: How many events report one wrong password.
EVENTS_PER_GUESS = {
    "keycloak": 1,
    "onewelcome": 2,
    "magic-link": 1,
    "audit-service": 2,
    "okta": 1,
    "zitadel": 1,
    "auth0": 1,
    "duo": 1,
    "fusionauth": 1,
}

LOCKOUTS = ("access.USER_DISABLED_BY_TEMPORARY_LOCKOUT", "access.USER_DISABLED_BY_PERMANENT_LOCKOUT")


def guessing_addresses(events: list[dict[str, Any]]) -> set[str]:
    """The detection rule: five failed logins for a wrong credential, or for an unstated cause, from one address."""
    counted = Counter(
        event["authDetails"].get("ipAddress")
        for event in events
        if event["type"] == "access.LOGIN_ERROR"
        and (event["reason"] == "unspecified" or catalogue().reason_class(event["reason"]) == "credential")
    )
    return {address for address, number in counted.items() if address is not None and number >= 5}


def count(events: list[dict[str, Any]], *types: str) -> int:
    return sum(event["type"] in types for event in events)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_login_is_one_login(provider: str) -> None:
    events = story(provider, LOGIN[provider])
    assert count(events, "access.LOGIN") == 1
    assert [event["type"] for event in events if event["outcome"] == "failure"] == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_failed_login_is_one_login_error(provider: str) -> None:
    events = story(provider, GUESSING[provider])[: EVENTS_PER_GUESS[provider]]
    assert count(events, "access.LOGIN_ERROR") == 1
    assert count(events, "access.LOGIN") == 0


#: Those that say that an account is locked for failed logins; FusionAuth takes an action that the tenant names.
LOCKING = [one for one in PROVIDERS if one != "fusionauth"]


@pytest.mark.parametrize("provider", LOCKING)
def test_one_lockout_is_one_lockout_event(provider: str) -> None:
    events = story(provider, GUESSING[provider])
    assert count(events, *LOCKOUTS) == 1
    assert count(events, "access.LOGIN_ERROR") >= 5


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_rule_finds_the_guessing_of_passwords_at_every_provider(provider: str) -> None:
    events = story(provider, GUESSING[provider])
    assert guessing_addresses(events) == {events[0]["authDetails"]["ipAddress"]}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_rule_is_silent_about_a_login(provider: str) -> None:
    assert guessing_addresses(story(provider, LOGIN[provider]) * 5) == set()


@pytest.mark.parametrize("error", ["invalid_redirect_uri", "client_not_found", "expired_code", "user_disabled"])
def test_the_rule_is_silent_about_what_no_guessing_causes(error: str) -> None:
    raw = {"type": "LOGIN_ERROR", "realmId": "acme", "ipAddress": "203.0.113.9", "error": error}
    events = [read("keycloak", {**raw, "time": 1_768_381_200_000 + number}) for number in range(5)]
    assert guessing_addresses(events) == set()


def test_a_push_that_nobody_wanted_is_seen() -> None:
    events = story("onewelcome", "push bombing: sent, ran out, sent, declined")
    assert count(events, "access.SEND_PUSH_CHALLENGE") == 2
    assert [event["reason"] for event in events if event["type"] == "access.CONFIRM_PUSH_CHALLENGE_ERROR"] == [
        "challenge_timeout",
        "challenge_denied",
    ]


def test_a_push_that_is_reported_as_fraud_is_a_failed_login_and_a_report() -> None:
    events = story("duo", "push bombing: no answer, no answer, refused, reported as fraud")
    assert count(events, "access.LOGIN_ERROR") == 4
    assert count(events, "access.REPORT_SUSPICIOUS_ACTIVITY") == 1
