"""Events as sentences: every template of the catalogue, with everything that an event may say and with nothing."""

from __future__ import annotations

from typing import Any

import pytest

from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.sentence import LENGTH, Part, sentence, text_of
from adapter.resources import mappings_path

CATALOGUE = load_catalogue([mappings_path()])
FULL: dict[str, Any] = {
    "realmId": "acme",
    "reason": "bad_credentials",
    "authDetails": {"userId": "u-1", "username": "anna", "clientId": "web", "ipAddress": "203.0.113.7"},
    "details": {
        "identity_provider": "google",
        "impersonator": "admin",
        "credential_type": "otp",
        "notification": "welcome",
        "target": "tenant-1",
    },
    "resourcePath": "clients/shop",
}
#: Words that lead to something.
LEADING = ("to", "of", "from", "by", "for", "through", "at", "with", "on")


def made(type: str, outcome: str = "success", **said: Any) -> str:
    return text_of(sentence({"type": type, "outcome": outcome, **said}, CATALOGUE))


def each_type(catalogue: Catalogue = CATALOGUE) -> list[tuple[str, str]]:
    twins = [(f"{name}_ERROR", "failure") for name in catalogue.types if name.startswith("access.")]
    return [*((name, "success") for name in catalogue.types), *twins]


@pytest.mark.parametrize("said", [FULL, {}], ids=["all", "nothing"])
def test_every_template_is_filled(said: dict[str, Any]) -> None:
    for type, outcome in each_type():
        told = made(type, outcome, **said)
        assert not set("{}") & set(told), told
        assert "  " not in told and told == told.strip(), told
        assert told.split()[-1] not in LEADING and told[-1] not in ":(,", told
        assert "()" not in told and " :" not in told and "None" not in told, told
        assert told[0].isupper() or told.startswith(("anna", "web", "google", "admin", "tenant-1", "203.")), told


def test_what_is_not_said_leaves_no_gap() -> None:
    login = "access.LOGIN_ERROR", "failure"
    assert made(*login, **FULL) == "anna failed to log in to web from 203.0.113.7: bad credentials"
    assert made(*login, reason="locked", authDetails={"username": "anna"}) == "anna failed to log in: locked"
    assert made(*login, reason="unspecified", authDetails={"clientId": "web"}) == "Someone failed to log in to web"
    assert made("access.CLIENT_LOGIN") == "A client logged in"
    assert made("access.UPDATE_CREDENTIAL", details={}) == "Someone set up a credential"


def test_a_failure_never_reads_as_a_success() -> None:
    for type, outcome in each_type():
        if outcome == "failure":
            assert made(type, outcome, **FULL) != made(type, **FULL), type
    assert made("admin.USER-DELETE", "failure", **FULL).endswith("but it failed: bad credentials")
    assert made("acme.SHIPPED", "failure", **FULL).endswith("but it failed: bad credentials")


def test_types_that_nobody_knows_have_a_sentence() -> None:
    assert made("access.CUSTOM", **FULL) == "access.CUSTOM: anna at web from 203.0.113.7"
    assert made("access.CUSTOM") == "access.CUSTOM"
    assert made("admin.THING-MEND", **FULL) == "admin.THING-MEND: anna (clients/shop)"
    assert made("system.SOURCE-SILENT") == "system.SOURCE-SILENT"
    assert made("access.{username}", authDetails={"username": "{client}"}) == "access.{username}: {client}"


def test_an_admin_event_says_whom_it_changed() -> None:
    said: dict[str, Any] = {"authDetails": {"username": "root"}, "details": {"userId": "u-2", "username": "zoe"}}
    assert made("admin.USER-UPDATE", resourcePath="users/u-2", **said) == "root changed a user (zoe)"


def test_who_is_impersonated_is_not_who_acts() -> None:
    details = {"impersonator": "admin", "username": "admin"}
    said: dict[str, Any] = {"authDetails": {"username": "anna"}, "details": details}
    assert made("access.IMPERSONATE", **said) == "admin impersonates anna"


def test_parts_say_what_finds_them() -> None:
    parts = sentence({"type": "access.LOGIN", "outcome": "success", **FULL}, CATALOGUE)
    assert [part for part in parts if part.filter] == [
        Part("anna", "user", "anna"),
        Part("web", "client", "web"),
        Part("203.0.113.7", "ip", "203.0.113.7"),
    ]


@pytest.mark.parametrize(
    "address, value",
    [
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("nowhere", None),
    ],
)
def test_an_address_is_found_as_filters_take_it(address: str, value: str | None) -> None:
    parts = sentence(
        {"type": "access.REGISTER", "outcome": "success", "authDetails": {"ipAddress": address}}, CATALOGUE
    )
    assert parts[-1] == Part(address, "ip" if value else None, value)


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "\u202eanna", "a\0b", "=1+1", "x" * 1_000_000, " "])
def test_foreign_texts_stay_texts(text: str) -> None:
    said: dict[str, Any] = {"authDetails": {"username": text, "clientId": text, "ipAddress": text}, "details": {}}
    parts = sentence({"type": "access.LOGIN", "outcome": "success", **said}, CATALOGUE)
    assert text_of(parts).startswith(text[:LENGTH])
    assert all(len(part.text) <= LENGTH + 1 for part in parts)
    assert all(part.value is None or part.value == text.strip() for part in parts)
