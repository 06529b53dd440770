"""Signing in to the console at a real Keycloak: its page, its code, its roles, and its word that somebody is out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from yarl import URL

from tests.console.conftest import Visitor, visiting
from tests.keycloak.browser import browser
from tests.keycloak.server import Keycloak
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

REALM, CLIENT, SECRET = "console", "idp-adapter", "the-clients-secret"


class Connected(NamedTuple):
    keycloak: Keycloak
    service: Opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Connected]:
    """A realm whose client for the adapter signs people in, and a service that knows it."""
    realm = await keycloak.new_realm(REALM)
    issuer = f"http://id.{REALM}.test/realms/{REALM}"
    settings: dict[str, Any] = {
        "oidc": [
            {
                "issuer": issuer, "audience": CLIENT, "sign_in_client": CLIENT, "sign_in_secret": SECRET,
                "jwks": f"{realm.url}/realms/{REALM}/protocol/openid-connect/certs",
            }
        ],
        "outgoing": {"allow": ["127.0.0.0/8"]},
    }  # fmt: skip
    async with opened(tmp_path_factory.mktemp("sign-in"), **settings) as service:
        client = {
            "clientId": CLIENT,
            "enabled": True,
            "publicClient": False,
            "secret": SECRET,
            "standardFlowEnabled": True,
            "redirectUris": [f"{service.service.url}/ui/oidc/callback"],
            "attributes": {"pkce.code.challenge.method": "S256"},
        }
        await realm.admin("POST", "/clients", client)
        [made] = await realm.admin("GET", f"/clients?clientId={CLIENT}")
        await realm.admin("POST", f"/clients/{made['id']}/roles", {"name": "view-events"})
        role = await realm.admin("GET", f"/clients/{made['id']}/roles/view-events")
        [zoe] = await realm.admin("GET", "/users?username=zoe&exact=true")
        await realm.admin("POST", f"/users/{zoe['id']}/role-mappings/clients/{made['id']}", [role])
        yield Connected(realm, service)
    await realm.admin("DELETE", "")


async def come_back(connected: Connected, visitor: Visitor, name: str) -> tuple[int, str]:
    """Sign in at the server as somebody: status, and where to or the text, of the console's answer."""
    keycloak = connected.keycloak
    query = {"issuer": f"http://id.{REALM}.test/realms/{REALM}", "next": "/ui/about"}
    async with visitor.session.get("/ui/oidc/begin", params=query, allow_redirects=False) as response:
        address = URL(response.headers["Location"])
    back = f"{connected.service.service.url}/ui/oidc/callback"
    async with browser(keycloak, back) as person:
        await person.open(str(address))
        code = await person.fill_in(username=name, password=f"{name}-pw")
    assert code is not None
    brought = {"code": code, "state": address.query["state"]}
    async with visitor.session.get("/ui/oidc/callback", params=brought, allow_redirects=False) as response:
        return response.status, response.headers.get("Location") or await response.text()


async def test_a_user_of_the_realm_signs_in_and_sees_its_events(connected: Connected) -> None:
    await connected.service.post([login(1, realmName=REALM), login(2, realmName="globex")])
    async with visiting(connected.service) as visitor:
        assert await come_back(connected, visitor, "zoe") == (303, "/ui/about")
        _, text = await visitor.page("/ui/about")
        assert f"zoe of {REALM}" in text
        assert f"realms {REALM}" in text
        headers = {"X-CSRF": await visitor.csrf(), "Accept": "application/json"}
        async with visitor.session.get("/events", headers=headers) as response:
            assert [event["realmName"] for event in (await response.json())["events"]] == [REALM]


async def test_who_signs_out_has_no_session_there_any_more(connected: Connected) -> None:
    [zoe] = await connected.keycloak.admin("GET", "/users?username=zoe&exact=true")
    async with visiting(connected.service) as visitor:
        await come_back(connected, visitor, "zoe")
        before = await connected.keycloak.admin("GET", f"/users/{zoe['id']}/sessions")
        await visitor.send("/ui/sign-out", {})
        after = await connected.keycloak.admin("GET", f"/users/{zoe['id']}/sessions")
        assert len(before) - len(after) == 1


async def test_a_user_without_a_role_does_not(connected: Connected) -> None:
    async with visiting(connected.service) as visitor:
        status, text = await come_back(connected, visitor, "alice")
        assert (status, "no role of the client" in text) == (403, True)
