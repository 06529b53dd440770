"""What somebody may see, as the settings say it."""

from __future__ import annotations

import orjson
import pytest

from adapter.errors import ConfigError
from adapter.filter import Filter
from adapter.scope import RealmOf, Scope, read_realm, read_scope
from adapter.search_fields import search_fields
from adapter.settings import OidcIssuer, Settings, load_settings
from tests.search.events import CATALOGUE, make_event

PROVIDERS = {"eu": "keycloak", "us": "keycloak", "crm": "acme"}


def sees(scope: Scope, source: str, provider: str, realm_id: str | None, realm_name: str | None = None) -> bool:
    event = make_event(realmId=realm_id, realmName=realm_name, source={"name": source, "provider": provider})
    return scope.bound(Filter(CATALOGUE)).matches(search_fields(orjson.dumps(event)))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("acme", RealmOf(None, "acme")),
        ("eu/acme", RealmOf("eu", "acme")),
        ("eu/acme/staff", RealmOf("eu", "acme/staff")),
        ("*/acme/staff", RealmOf(None, "acme/staff")),
        ("*/acme", RealmOf(None, "acme")),
    ],
)
def test_a_realm_may_have_its_source_before_it(text: str, right: RealmOf) -> None:
    assert read_realm(text) == right
    assert read_realm(str(right)) == right


@pytest.mark.parametrize("text", ["", " ", "eu/", "eu/ ", "eu/*", "*", "https://id.example/acme", "/acme", "a b/acme"])
def test_what_names_no_realm_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no realm|is no name of a source"):
        read_realm(text)


def test_a_realm_is_one_of_its_source_alone_if_that_is_said() -> None:
    scope = Scope(frozenset({RealmOf("eu", "acme"), RealmOf(None, "globex")}))
    assert sees(scope, "eu", "keycloak", "id", "acme")
    assert sees(scope, "eu", "keycloak", "acme")
    assert not sees(scope, "us", "keycloak", "id", "acme")
    assert sees(scope, "us", "keycloak", "id", "globex")
    assert not sees(scope, "eu", "keycloak", None)


def test_all_limits_must_be_met() -> None:
    scope = Scope(frozenset({RealmOf(None, "acme")}), frozenset({"eu", "crm"}), frozenset({"keycloak"}))
    assert sees(scope, "eu", "keycloak", "acme")
    assert not sees(scope, "crm", "acme", "acme")
    assert not sees(scope, "us", "keycloak", "acme")
    assert not sees(scope, "eu", "keycloak", "globex")


def test_what_has_no_realm_is_nobodys_who_is_limited_to_realms() -> None:
    assert not Scope(frozenset({RealmOf("eu", "acme")})).has_source("eu", PROVIDERS)
    assert Scope(None, frozenset({"eu"})).has_source("eu", PROVIDERS)
    assert Scope(None, None, frozenset({"keycloak"})).has_source("us", PROVIDERS)
    # Of a source that is not configured any more nobody knows the provider, but its name.
    assert not Scope(None, None, frozenset({"keycloak"})).has_source("gone", PROVIDERS)
    assert Scope(None, frozenset({"gone"})).has_source("gone", PROVIDERS)


def test_a_provider_is_within_where_one_of_its_sources_is() -> None:
    of_source = Scope(None, frozenset({"eu"}))
    assert (of_source.has_provider("keycloak", PROVIDERS), of_source.has_provider("acme", PROVIDERS)) == (True, False)
    assert not Scope(frozenset({RealmOf(None, "acme")})).has_provider("keycloak", PROVIDERS)


def test_no_limit_is_a_limit_to_everything() -> None:
    assert not Scope().is_limited
    assert Scope().bound(found := Filter(CATALOGUE)) is found
    assert str(Scope()) == "everything"
    assert str(Scope(None, frozenset({"us", "eu"}), frozenset({"keycloak"}))) == "sources eu, us; providers keycloak"


def key(**said: object) -> Settings:
    return load_settings(flags={"keys": [{"name": "one", "token": "one-token", **said}]})


def test_keys_say_their_limits() -> None:
    [one] = key(realms=["acme", "eu/acme"], sources=["eu"], providers=["keycloak"]).keys
    realms = frozenset({RealmOf(None, "acme"), RealmOf("eu", "acme")})
    assert one.scope == Scope(realms, frozenset({"eu"}), frozenset({"keycloak"}))
    assert key().keys[0].scope == Scope()
    for scope in (one.scope, Scope(), Scope(frozenset({RealmOf(None, "a/b")}))):
        assert read_scope(scope.told()) == scope


@pytest.mark.parametrize(
    ("said", "why"),
    [
        # A list that somebody has emptied is no list of all.
        ({"realms": []}, r"keys\[1\]\.realms"),
        ({"sources": []}, r"keys\[1\]\.sources"),
        ({"realms": ["*"]}, "names no realm"),
        ({"realms": ["acme"], "permissions": ["ingest"]}, "ingest cannot be limited to realms"),
    ],
)
def test_limits_that_would_not_hold_are_refused(said: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        key(**said)


def test_read_of_the_settings_exports_as_it_did_unless_they_say_that_it_does_not() -> None:
    said = frozenset({*key().keys[0].permissions})
    assert {str(one) for one in key().granted(said)} == {"read", "export"}
    strict = load_settings(flags={"auth": {"read_exports": False}})
    assert {str(one) for one in strict.granted(said)} == {"read"}


def test_tokens_of_an_issuer_see_its_realm_or_those_that_are_named() -> None:
    def scope(*realms: str) -> Scope:
        return OidcIssuer(issuer="https://id.example/realms/acme", audience="adapter", realms=realms).scope

    assert scope() == Scope(frozenset({RealmOf(None, "acme")}))
    assert scope("eu/acme", "globex") == Scope(frozenset({RealmOf("eu", "acme"), RealmOf(None, "globex")}))
    assert scope("*") == Scope()
