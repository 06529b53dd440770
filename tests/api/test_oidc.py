"""Access tokens of a realm: whose events they show, and which are refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from structlog.testing import capture_logs
from yarl import URL

from adapter.oidc import Issuer, Issuers
from adapter.outgoing.client import open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.scope import RealmOf, Scope
from adapter.settings import OidcIssuer, Permission
from adapter.sources.public_keys import FetchedKeys
from tests.api.issuer import AUDIENCE, Realm, realms
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALLOW = {"allow": ["127.0.0.0/8"]}
OUTGOING = OutgoingSettings.model_validate(ALLOW)
#: Two events of one realm, by its name and by its id, and one of another.
EVENTS = [login(1, realmName="acme"), login(2, realmId="acme-id"), login(3, realmName="globex")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme() -> AsyncIterator[Realm]:
    async with realms("acme") as [realm]:
        yield realm


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bound(acme: Realm, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    """A service that shows tokens of a realm its events alone."""
    issuer = {"issuer": acme.issuer, "audience": AUDIENCE}
    async with opened(tmp_path_factory.mktemp("bound"), oidc=[issuer], outgoing=ALLOW) as service:
        await service.post(EVENTS)
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def free(acme: Realm, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    """A service that shows them everything."""
    issuer = {"issuer": acme.issuer, "audience": AUDIENCE, "realms": ["*"]}
    async with opened(tmp_path_factory.mktemp("free"), oidc=[issuer], outgoing=ALLOW) as service:
        await service.post(EVENTS)
        yield service


def ids(page: Any) -> list[int]:
    return sorted(int(event["id"][-1]) for event in page["events"])


async def ask(service: Opened, token: str, path: str, method: str = "GET", **rest: Any) -> tuple[int, Any, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with service.session.request(method, path, headers=headers, **rest) as response:
        return response.status, response.headers, await response.json(content_type=None)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_role_of_the_client_lets_its_holder_read(free: Opened, acme: Realm, algorithm: str) -> None:
    status, page = await free.get("/events", token=acme.token("view-events", algorithm=algorithm))
    assert (status, ids(page)) == (200, [1, 2, 3])


async def test_roles_are_permissions(free: Opened, acme: Realm) -> None:
    async def may(*roles: str, **changes: Any) -> list[int]:
        token = acme.token(*roles, **changes)
        asked = [
            ("GET", "/events", None),
            ("GET", "/events?limit=1", None),
            ("GET", "/quarantine?raw=1", None),
            ("POST", "/mappings/keycloak/check", None),
            ("POST", "/renormalization", {"dry_run": True, "type": "nothing"}),
            ("POST", "/ingest/keycloak", login(1)),
            ("GET", "/metrics", None),
            ("POST", "/scrub", {}),
            ("GET", "/events/export", None),
        ]
        statuses = []
        for method, path, body in asked[1:]:
            headers = {"Authorization": f"Bearer {token}"}
            async with free.session.request(method, path, json=body, headers=headers) as response:
                statuses.append(response.status)
        return statuses

    assert await may("view-events") == [200, 403, 403, 403, 401, 403, 403, 403]
    assert await may("manage-events") == [200, 200, 200, 202, 401, 200, 403, 200]
    assert await may("publish-events") == [403, 403, 403, 403, 202, 403, 403, 403]
    assert await may() == [403, 403, 403, 403, 401, 403, 403, 403]
    # Roles of the realm, and of other clients, say nothing here.
    assert await may(realm_access={"roles": ["view-events"]}) == [403, 403, 403, 403, 401, 403, 403, 403]
    for odd in ({"resource_access": {AUDIENCE: {"roles": "view-events"}}}, {"resource_access": [1]}):
        assert (await may(**odd))[0] == 403


async def test_a_token_shows_its_own_realm_alone(bound: Opened, acme: Realm) -> None:
    token = acme.token("view-events", "manage-events", "publish-events")
    assert ids((await bound.get("/events", token=token))[1]) == [1]
    assert ids((await bound.get("/events", token=token, order="log"))[1]) == [1]
    # A question of its own does not widen it.
    assert ids((await bound.get("/events", token=token, realm="globex"))[1]) == []
    assert ids((await bound.get("/events", token=token, not_realm="acme"))[1]) == []
    _, everything = await bound.get("/events")
    for event in everything["events"]:
        for name in (event["uid"], event["id"]):
            status, _ = await bound.get(f"/events/{name}", token=token, raw="1")
            assert status == (200 if event["id"].endswith("1") else 404)
    # Nor does the one parameter that nobody has, by which it is limited.
    assert (await bound.get("/events", token=token, origin="/globex"))[0] == 400
    async with bound.session.get("/events/export", headers={"Authorization": f"Bearer {token}"}) as response:
        assert len((await response.text()).splitlines()) == 1
    assert (await bound.get("/admin/realms/acme/events", token=token))[0] == 200
    assert (await bound.get("/admin/realms/globex/events", token=token))[0] == 403


async def test_a_realm_that_shows_whole_sources_shows_a_token_its_own_events_alone(acme: Realm, tmp_path: Path) -> None:
    issuer = {"issuer": acme.issuer, "audience": AUDIENCE}
    shown = {"realms": {"acme": ["keycloak"]}}
    async with opened(tmp_path, oidc=[issuer], outgoing=ALLOW, keycloak=shown) as service:
        await service.post(EVENTS)
        status, own = await service.get("/admin/realms/acme/events", token=acme.token("view-events"))
        assert (status, ids({"events": own})) == (200, [1])
        # A key may read of all realms.
        _, all_of_them = await service.get("/admin/realms/acme/events")
        assert ids({"events": all_of_them}) == [1, 2, 3]


async def test_a_token_is_not_told_which_sources_there_are(bound: Opened, acme: Realm) -> None:
    _, page = await bound.get("/events", source="keycloack")
    assert "keycloak" in page["hints"][0]
    for path in ("/events", "/events/counts?by=type"):
        status, page = await bound.get(path, token=acme.token("view-events"), source="keycloack")
        assert (status, "hints" in page) == (200, False)


async def test_what_is_about_all_realms_is_refused_to_who_is_bound_to_one(bound: Opened, acme: Realm) -> None:
    token = acme.token("view-events", "manage-events", "publish-events")
    for path in ("/quarantine", "/ignored", "/metrics", "/mappings", "/renormalization", "/retention/preview"):
        status, _, problem = await ask(bound, token, path)
        assert (status, problem["realms"]) == (403, ["acme"]), path
    status, _, _ = await ask(bound, token, "/ingest/keycloak", "POST", json=login(4, realmName="globex"))
    assert status == 401


async def test_what_is_no_access_token_for_this_audience_is_refused(free: Opened, acme: Realm) -> None:
    now = int(time.time())
    stranger = RSAKey.generate_key(2048, {"kid": "rsa"})
    wrong: dict[str, dict[str, Any]] = {
        "an ID token": {"typ": "ID"},
        "a refresh token": {"typ": "Refresh"},
        "a logout token": {"typ": "Logout"},
        "no type": {"typ": None},
        "another audience": {"aud": "account"},
        "no audience": {"aud": None},
        "expired": {"exp": now - 120},
        "without an end": {"exp": None},
        "not valid yet": {"nbf": now + 120},
        "no number": {"exp": "tomorrow"},
        "another issuer": {"iss": acme.issuer.replace("acme", "globex")},
        "a slash more": {"iss": acme.issuer + "/"},
        "bound to a key": {"cnf": {"jkt": "x"}},
        "another key": {"key": stranger},
    }
    for why, changes in wrong.items():
        status, headers, _ = await ask(free, acme.token("view-events", **changes), "/events")
        assert status == 401, why
        assert headers["WWW-Authenticate"].startswith("Bearer "), why
    # Clocks may differ by a minute; and RFC 9068 has its type in the header.
    for token in (acme.token("view-events", exp=now - 30), acme.token("view-events", nbf=now + 30)):
        assert (await free.get("/events", token=token))[0] == 200


async def test_what_a_realm_signs_as_a_sender_is_no_refused_token(acme: Realm, tmp_path: Path) -> None:
    issuer = {"issuer": acme.issuer, "audience": AUDIENCE}
    source = {"name": "signed", "provider": "keycloak", "public_keys": OidcIssuer(**issuer).keys_at}
    body = json.dumps([login(1)]).encode()  # as the session writes it
    async with opened(tmp_path, oidc=[issuer], outgoing=ALLOW, sources=[source]) as service:
        pushed = acme.token(typ=None, request_body_sha256=hashlib.sha256(body).hexdigest())
        with capture_logs() as logs:
            assert (await ask(service, pushed, "/ingest/signed", "POST", json=[login(1)]))[0] == 202
        assert [one for one in logs if one["log_level"] == "warning"] == []
        # Of one that neither proves the source nor a user the operator hears why.
        with capture_logs() as logs:
            token = acme.token("publish-events", typ="ID")
            assert (await ask(service, token, "/ingest/signed", "POST", json=[login(1)]))[0] == 401
            assert (await ask(service, token, "/events"))[0] == 401
        told = [one["why"] for one in logs if "it is no access token" in one.get("why", "")]
        assert len(told) == 2


async def test_an_algorithm_that_is_none_or_shared_is_refused(free: Opened, acme: Realm) -> None:
    right = acme.token("view-events")
    header, payload, signature = right.split(".")
    assert (await free.get("/events", token=right))[0] == 200
    claims = jwt.decode(right, acme.keys["RS256"]).claims
    shared = jwt.encode({"alg": "HS256", "kid": "rsa"}, claims, OctKey.import_key(b"k" * 32))
    none = "eyJhbGciOiJub25lIn0"
    for token in (
        f"{none}.{payload}.", f"{none}.{payload}.{signature}", f"{header}.{payload}.", shared,
        f"{header}.{payload}.{signature}A", f"{header}..{signature}", "..", "a.b.c", "x" * 7_000 + ".." ,
        f"{header}.{payload[:-4]}AAAA.{signature}",
    ):  # fmt: skip
        assert (await free.get("/events", token=token))[0] == 401, token[:80]


async def test_a_new_key_is_fetched_when_a_token_names_it_and_no_other_time() -> None:
    async with realms("acme") as [realm], open_client(OUTGOING, connections=1, timeout=5) as client:
        settings = OidcIssuer(issuer=realm.issuer, audience=AUDIENCE)
        now = [0.0]
        keys = FetchedKeys(client, URL(settings.keys_at), "acme", pause=30, clock=lambda: now[0])
        issuers = Issuers([Issuer(settings, keys)])

        async def permissions() -> frozenset[Permission] | None:
            await issuers.learn(token := realm.token("view-events"))
            principal = issuers.principal(token)
            return None if principal is None else principal.permissions

        for _ in range(5):
            assert await permissions() == frozenset([Permission.READ])
        realm.keys["RS256"] = RSAKey.generate_key(2048, {"kid": "next", "use": "sig"})
        # However many come: not sooner than half a minute after the last time.
        for _ in range(5):
            assert await permissions() is None
        assert realm.asked == 1
        now[0] = 31.0
        assert await permissions() == frozenset([Permission.READ])
        assert realm.asked == 2


async def test_a_token_is_remembered_no_longer_than_it_lasts() -> None:
    async with realms("acme") as [realm], open_client(OUTGOING, connections=1, timeout=5) as client:
        settings = OidcIssuer(issuer=realm.issuer, audience=AUDIENCE, tolerance=0)
        now = [time.time()]
        keys = FetchedKeys(client, URL(settings.keys_at), "acme")
        issuers = Issuers([Issuer(settings, keys)], clock=lambda: now[0])
        await issuers.learn(token := realm.token("view-events", exp=int(now[0]) + 20, preferred_username="z\x1b[31m"))
        principal = issuers.principal(token)
        assert principal is not None
        assert (principal.scope, "\x1b" in principal.name) == (Scope(frozenset({RealmOf(None, "acme")})), False)
        now[0] += 21
        assert issuers.principal(token) is None


async def test_keys_that_cannot_be_had_are_a_503_and_hold_up_nobody_else(tmp_path: Path) -> None:
    async with realms("acme", "globex") as [up, down]:
        down.status = 500
        issuers = [{"issuer": one.issuer, "audience": AUDIENCE, "realms": ["*"]} for one in (up, down)]
        keys = [{"name": "reader", "token": "reader-token"}]
        async with opened(tmp_path, oidc=issuers, outgoing=ALLOW, keys=keys) as service:
            for method, path in (("GET", "/events"), ("POST", "/ingest/keycloak"), ("POST", "/ingest/nobody")):
                status, headers, problem = await ask(service, down.token("view-events", "publish-events"), path, method)
                assert (status, "Retry-After" in headers) == (503, True)
                assert down.issuer in problem["detail"]
            assert (await service.get("/events", token=up.token("view-events")))[0] == 200
            assert (await service.get("/events", token="reader-token"))[0] == 200
            # A token of somebody else's is not asked for.
            assert (await service.get("/events", token=up.token(iss="https://elsewhere.example")))[0] == 401


async def test_an_issuer_that_hangs_holds_up_its_own_tokens_alone(tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server, realms("acme") as [up]:
        slow = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/realms/slow"
        issuers = [{"issuer": one, "audience": AUDIENCE} for one in (up.issuer, slow)]
        async with opened(tmp_path, oidc=issuers, outgoing=ALLOW) as service:
            token = up.token("view-events", iss=slow)
            waiting = asyncio.create_task(service.get("/events", token=token))
            for _ in range(3):
                assert (await service.get("/events", token=up.token("view-events")))[0] == 200
            assert not waiting.done()
            assert (await waiting)[0] == 503
