"""Events as sentences: every template of the catalogue, with everything that an event may say and with nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.errors import MappingError
from adapter.mapping.catalogue import Catalogue, Kind, load_catalogue
from adapter.mapping.sentence import LENGTH, Part, sentence, text_of
from adapter.model import Outcome
from adapter.resources import mappings_path
from adapter.search_fields import search_fields

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
#: The same, done by somebody else to Tom's account.
BY_ANOTHER = {**FULL, "details": {**FULL["details"], "userId": "u-2", "username": "tom"}}
#: Words that lead to something.
LEADING = ("to", "of", "from", "by", "for", "through", "at", "with", "was", "came")
SOURCE = {"name": "prod", "provider": "keycloak", "nativeType": "x", "receivedAt": 1}


def parts_of(type: str, outcome: str = "success", catalogue: Catalogue = CATALOGUE, **said: Any) -> list[Part]:
    event = {"time": 1, "type": type, "outcome": outcome, "source": SOURCE, **said}
    return sentence(search_fields(orjson.dumps(event)), catalogue)


def made(type: str, outcome: str = "success", **said: Any) -> str:
    return text_of(parts_of(type, outcome, **said))


def each_type(catalogue: Catalogue = CATALOGUE) -> list[tuple[str, str]]:
    twins = [(f"{name}_ERROR", "failure") for name in catalogue.types if name.startswith("access.")]
    forms = ["admin.USER-CREATE", "admin.REALM-READ", "admin.CLIENT-ACTION"]
    return [(name, outcome) for name in (*catalogue.types, *forms) for outcome in Outcome] + twins


@pytest.mark.parametrize("said", [FULL, BY_ANOTHER, {}], ids=["all", "by another", "nothing"])
def test_every_template_is_filled(said: dict[str, Any]) -> None:
    for type, outcome in each_type():
        told = made(type, outcome, **said)
        assert not set("{}") & set(told), told
        assert "  " not in told and told == told.strip(), told
        assert told.split()[-1] not in LEADING and told[-1] not in ":(,", told
        assert not any(f" {word}{end}" in told for word in LEADING for end in (",", ":", " (")), told
        assert "()" not in told and " :" not in told and " ," not in told and "None" not in told, told
        names = ("anna", "tom", "web", "google", "admin", "203.")
        assert told[0].isupper() or told.startswith(names), told


def test_what_is_not_said_leaves_no_gap() -> None:
    login = "access.LOGIN_ERROR", "failure"
    assert made(*login, **FULL) == "anna failed to log in to web from 203.0.113.7: bad credentials"
    assert made(*login, reason="locked", authDetails={"username": "anna"}) == "anna failed to log in: locked"
    assert made(*login, reason="unspecified", authDetails={"clientId": "web"}) == "Someone failed to log in to web"
    assert made("access.CLIENT_LOGIN") == "A client logged in"
    assert made("access.UPDATE_CREDENTIAL", details={}) == "A credential of someone was set up or changed"
    assert made("access.ISSUE_TOKEN", authDetails={"username": "anna"}) == "A token was issued for anna"
    assert made("access.LOGIN", authDetails={"username": "\u3000 "}) == "Someone logged in"


def test_a_failure_never_reads_as_a_success() -> None:
    for type, outcome in each_type():
        if outcome == "failure":
            assert made(type, outcome, **FULL) != made(type.removesuffix("_ERROR"), **FULL), type
    assert made("admin.CLIENT-DELETE", "failure", **FULL) == (
        "A client (clients/shop) could not be deleted by anna: bad credentials"
    )
    assert (
        made("access.REQUIRE_MFA", "failure", **FULL) == "anna was asked for a second factor (failed: bad credentials)"
    )
    assert made("access.REQUIRE_MFA", "failure") == "Someone was asked for a second factor (failed)"
    assert made("acme.SHIPPED", "failure", **FULL).endswith("(failed: bad credentials)")


def test_what_may_not_have_succeeded_is_not_told_as_a_success() -> None:
    for type, known in CATALOGUE.types.items():
        if known.kind in (Kind.ACTION, Kind.READ):
            assert made(type, "unknown", **FULL).endswith(" (outcome unknown)"), type
        if known.success is not None:
            assert made(type, "unknown", **FULL) != made(type, **FULL), type
    assert made("access.DELETE_ACCOUNT", "unknown", **BY_ANOTHER) == (
        "The account of tom was deleted, by anna (outcome unknown)"
    )
    assert made("access.VALIDATE_OTP", "unknown", **FULL) == "The one-time code of anna was checked"
    assert made("access.VALIDATE_OTP", **FULL) == "The one-time code of anna was accepted"
    # A twin is a failure, whatever stands beside it.
    assert made("access.LOGIN_ERROR", "unknown", authDetails={"username": "anna"}) == "anna failed to log in"


def test_types_that_nobody_knows_have_a_sentence() -> None:
    assert made("access.CUSTOM", **FULL) == "access.CUSTOM: anna at web from 203.0.113.7"
    assert made("access.CUSTOM") == "access.CUSTOM"
    assert made("access.CUSTOM_ERROR", "failure", reason="locked") == "access.CUSTOM_ERROR: locked"
    assert made("admin.THING-MEND", **FULL) == "admin.THING-MEND: anna (clients/shop)"
    assert made("system.SOURCE-SILENT") == "system.SOURCE-SILENT"
    assert made("access.{username}", authDetails={"username": "{client}"}) == "access.{username}: {client}"


def test_another_name_of_a_type_has_its_sentence() -> None:
    assert made("access.FEDERATED_IDENTITY_LINK", **FULL) == made("access.SOCIAL_LINK", **FULL)


def test_an_admin_event_says_whom_or_what_it_changed() -> None:
    said: dict[str, Any] = {"authDetails": {"username": "root"}, "details": {"userId": "u-2", "username": "zoe"}}
    assert made("admin.USER-UPDATE", resourcePath="users/u-2", **said) == "root changed a user (zoe)"
    named: dict[str, Any] = {"resourcePath": "clients/3f0a", "representation": '{"id":"3f0a","clientId":"shop"}'}
    assert made("admin.CLIENT-UPDATE", **named) == "Someone changed a client (clients/shop)"
    # The client need not be the one who acted: it may be the one that was changed.
    assert made("admin.CLIENT-UPDATE", authDetails={"clientId": "shop"}) == "Someone changed a client"
    assert (
        made("admin.CLIENT-UPDATE", "failure", reason="policy_denied") == "A client could not be changed: policy denied"
    )


def test_what_is_done_to_the_account_of_another_one_is_not_told_as_his_doing() -> None:
    assert made("access.UPDATE_PASSWORD", **BY_ANOTHER) == "The password of tom was set, by anna"
    assert made("access.UNBLOCK_USER_ERROR", "failure", **BY_ANOTHER) == (
        "tom could not be unblocked, by anna: bad credentials"
    )
    own: dict[str, Any] = {
        "authDetails": {"username": "tom", "userId": "u-1"},
        "details": {"username": "tom", "userId": "app-user-1"},
    }
    assert made("access.READ_SECRET", **own) == "A stored secret of tom was shown"
    nobody: dict[str, Any] = {**BY_ANOTHER, "authDetails": {}}
    assert made("access.UNBLOCK_USER", **nobody) == "tom was unblocked"
    ids: dict[str, Any] = {"details": {"userId": "u-2"}, "lookedUp": {"target": "tom", "actor": "anna"}}
    assert made("access.UNBLOCK_USER", authDetails={"userId": "u-1"}, **ids) == "tom was unblocked, by anna"


def test_who_is_impersonated_is_not_who_acts() -> None:
    details = {"impersonator": "admin", "username": "admin"}
    said: dict[str, Any] = {"authDetails": {"username": "anna", "userId": "u-1"}, "details": details}
    assert made("access.IMPERSONATE", **said) == "admin impersonated anna"
    # He has no id of his own: that is hers.
    assert Part("admin", "user", "admin") in parts_of("access.IMPERSONATE", **said)


def test_names_stand_before_ids_and_lead_to_what_the_event_has() -> None:
    ids = {"userId": "u-1", "clientId": "c-1"}
    names = {"actor": "anna", "client": "shop"}
    assert parts_of("access.LOGIN", authDetails=ids, lookedUp=names) == [
        Part("anna", "user", "u-1"),
        Part(" logged in to "),
        Part("shop", "client", "c-1"),
    ]
    details = {"client_name": "The shop", "identity_provider": "0a1b", "identity_provider_name": "Google"}
    assert Part("The shop", "client", "c-1") in parts_of("access.LOGIN", authDetails=ids, details=details)
    assert made("access.SOCIAL_LINK", authDetails={"username": "anna"}, details=details) == "anna was linked to Google"


def test_an_address_stands_with_its_place() -> None:
    place = {"city": "Utrecht", "country": "NL"}
    who = {"username": "anna", "ipAddress": "203.0.113.7"}
    assert made("access.LOGIN", authDetails=who, details=place) == "anna logged in from 203.0.113.7 (Utrecht, NL)"
    assert (
        made("access.REGISTER", authDetails=who, details={"country": "NL"}) == "anna registered from 203.0.113.7 (NL)"
    )


def test_parts_say_what_finds_them() -> None:
    parts = parts_of("access.LOGIN", **FULL)
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
    parts = parts_of("access.REGISTER", authDetails={"ipAddress": address})
    assert parts[-1] == Part(address, "ip" if value else None, value)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("\u202eanna", "\\u202eanna"),
        ("a\0b\nc\x1b[31m", "a\\u0000b\\nc\\u001b[31m"),
        ("=1+1", "=1+1"),
        ("x" * 1_000_000, f"{'x' * LENGTH}… (1000000 characters)"),
    ],
    ids=["markup", "direction", "control", "formula", "long"],
)
def test_foreign_texts_are_harmless_and_not_too_long(text: str, shown: str) -> None:
    said: dict[str, Any] = {"authDetails": {"username": text, "clientId": text, "ipAddress": text}, "details": {}}
    parts = parts_of("access.LOGIN", **said)
    assert text_of(parts).startswith(f"{shown} logged in to {shown} from ")
    assert all(part.value is None or (part.value == text and len(text) <= LENGTH) for part in parts)
    assert text_of(parts_of("access.CUSTOM", details={"city": text}, authDetails={"ipAddress": "::1"})).endswith(
        f"from ::1 ({shown})"
    )


def test_a_template_with_an_unknown_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "types.yaml").write_text(
        'types:\n  OPEN_DOOR: {group: login, kind: action, meaning: Opened, sentence: "{user} opened {details.door}"}\n'
    )
    with pytest.raises(MappingError, match=r"there is no \{user\} for a sentence; there are \{username\}, "):
        load_catalogue([tmp_path])


def test_a_type_by_another_name_of_its_own_says_that_nothing_is_known_of_its_outcome() -> None:
    for type in ("access.SOCIAL_LINK", "access.FEDERATED_IDENTITY_LINK"):
        assert made(type, "unknown", authDetails={"username": "anna"}).endswith("(outcome unknown)")


def test_an_address_in_brackets_goes_with_them_and_holds_no_place(tmp_path: Path) -> None:
    own = (
        "types:\n  TAP_CARD: {group: login, kind: action, meaning: A card, sentence: '{username} came ({ip}) {type}'}\n"
    )
    (tmp_path / "types.yaml").write_text(own)
    catalogue = load_catalogue([tmp_path, mappings_path()])
    who = {"username": "anna"}
    assert text_of(parts_of("access.TAP_CARD", catalogue=catalogue, authDetails=who)) == "anna came access.TAP_CARD"
    told = parts_of(
        "access.TAP_CARD", catalogue=catalogue, authDetails={**who, "ipAddress": "10.0.0.1"}, details={"country": "NL"}
    )
    assert text_of(told) == "anna came (10.0.0.1) access.TAP_CARD"
