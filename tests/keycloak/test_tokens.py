"""Tokens of a real Keycloak: its users read here with theirs, and what its realm's key has signed is taken."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.keycloak.server import Keycloak
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

REALM = "tokens"

#: As the realm's `frontendUrl` says.
ISSUER = f"http://id.{REALM}.test/realms/{REALM}"
CLIENT = "idp-adapter"


class Connected(NamedTuple):
    keycloak: Keycloak
    service: Opened
    #: The private part of the key that was imported into the realm, by the id under which that publishes it.
    key: RSAKey
    key_id: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Connected]:
    """A realm with a client for the adapter, its roles, and an imported key; and a service that knows both."""
    realm = await keycloak.new_realm(REALM)
    await _make_client(realm)
    certs = f"{realm.url}/realms/{REALM}/protocol/openid-connect/certs"
    key = RSAKey.generate_key(2048)
    key_id = await _import_key(realm, key, certs)
    source = {"name": "signed", "provider": "keycloak", "public_keys": certs, "issuer": ISSUER}
    settings: dict[str, Any] = {
        "oidc": [{"issuer": ISSUER, "audience": CLIENT, "jwks": certs}],
        "sources": [source, {"name": "keycloak", "provider": "keycloak"}],
        "outgoing": {"allow": ["127.0.0.0/8"]},
    }
    async with opened(tmp_path_factory.mktemp("tokens"), **settings) as service:
        yield Connected(realm, service, key, key_id)
    await realm.admin("DELETE", "")


async def _make_client(keycloak: Keycloak) -> None:
    client = {"clientId": CLIENT, "enabled": True, "standardFlowEnabled": False}
    await keycloak.admin("POST", "/clients", client)
    [made] = await keycloak.admin("GET", f"/clients?clientId={CLIENT}")
    for role in ("view-events", "manage-events", "publish-events"):
        await keycloak.admin("POST", f"/clients/{made['id']}/roles", {"name": role})
    role = await keycloak.admin("GET", f"/clients/{made['id']}/roles/view-events")
    [zoe] = await keycloak.admin("GET", "/users?username=zoe&exact=true")
    await keycloak.admin("POST", f"/users/{zoe['id']}/role-mappings/clients/{made['id']}", [role])


async def _import_key(keycloak: Keycloak, key: RSAKey, certs: str) -> str:
    realm = await keycloak.admin("GET", "")
    component = {
        "name": "imported",
        "providerId": "rsa",
        "providerType": "org.keycloak.keys.KeyProvider",
        "parentId": realm["id"],
        "config": {"priority": ["200"], "privateKey": [key.as_pem(private=True).decode()], "algorithm": ["RS256"]},
    }
    await keycloak.admin("POST", "/components", component)
    async with keycloak.session.get(certs) as response:
        published = (await response.json())["keys"]
    [kid] = [one["kid"] for one in published if one.get("n") == key.as_dict(private=False)["n"]]
    return str(kid)


async def test_a_user_reads_with_the_token_that_keycloak_gave(connected: Connected) -> None:
    service = connected.service
    await service.post([login(1, realmName=REALM), login(2, realmName="globex")])
    status, tokens = await connected.keycloak.login("zoe", "zoe-pw")
    assert status == 200, tokens
    status, page = await service.get("/events", token=tokens["access_token"])
    assert (status, [event["realmName"] for event in page["events"]]) == (200, [REALM])
    assert (await service.get("/metrics", token=tokens["access_token"]))[0] == 403
    # Neither of the other tokens that come with it, nor one of who has no role.
    for name in ("id_token", "refresh_token"):
        assert (await service.get("/events", token=tokens[name]))[0] == 401
    _, tokens = await connected.keycloak.login("alice", "alice-pw")
    assert (await service.get("/events", token=tokens["access_token"]))[0] == 401  # it is not for this audience
    _, tokens = await connected.keycloak.login("admin", "x", realm="master", client="admin-cli")
    assert "access_token" not in tokens


async def test_what_was_signed_with_the_imported_key_is_taken(connected: Connected) -> None:
    """As Phase Two's sender signs from 0.61 on, whose public versions end at 0.59."""
    service, now = connected.service, int(time.time())
    body = json.dumps(login(10)).encode()

    async def post(body: bytes, key: RSAKey, **changes: Any) -> int:
        claims = {
            "jti": "1", "iss": ISSUER, "iat": now, "exp": now + 300,
            "request_body_sha256": hashlib.sha256(body).hexdigest(), **changes,
        }  # fmt: skip
        token = jwt.encode({"alg": "RS256", "typ": "JWT", "kid": connected.key_id}, claims, key)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with service.session.post("/ingest/signed", data=body, headers=headers) as response:
            return response.status

    assert await post(body, connected.key) == 202
    assert await post(body, connected.key, iss=ISSUER.replace(REALM, "globex")) == 401
    assert await post(body, connected.key, exp=now - 90) == 401
    assert await post(body, connected.key, request_body_sha256="0" * 64) == 401
    assert await post(body, RSAKey.generate_key(2048)) == 401
    # An access token of a user, which the same key signs now, proves no body.
    _, tokens = await connected.keycloak.login("zoe", "zoe-pw")
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "Content-Type": "application/json"}
    async with service.session.post("/ingest/signed", data=body, headers=headers) as response:
        assert response.status == 401
