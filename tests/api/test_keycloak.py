"""Keycloak's own clients, and its parameters, against the log."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakAuthenticationError

from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAPTURES = Path(__file__).parents[1] / "captures" / "keycloak-26.6.4"
USER_EVENTS: list[dict[str, Any]] = json.loads((CAPTURES / "events.json").read_text())
ADMIN_EVENTS: list[dict[str, Any]] = json.loads((CAPTURES / "admin-events.json").read_text())
REALM = USER_EVENTS[0]["realmId"]
KEYS = [
    {"name": "reader", "token": "reader-token"},
    {"name": "writer", "token": "writer-token", "permissions": ["ingest"]},
]
OKTA = {
    "uuid": "c1b6b1f2-0001-11f0-8000-000000000001",
    "published": "2026-01-14T10:00:00.000Z",
    "eventType": "user.session.start",
    "outcome": {"result": "SUCCESS"},
    "actor": {"id": "00u1", "type": "User", "alternateId": "anna@acme.test"},
    "client": {"ipAddress": "203.0.113.9"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(
        tmp_path_factory.mktemp("data"),
        sources=[
            {"name": "kc", "provider": "keycloak", "token": "token-of-kc"},
            {"name": "okta", "provider": "okta", "token": "token-of-okta"},
        ],
        keys=KEYS,
        keycloak={"realms": {"everything": ["kc", "okta"]}},
    ) as running:
        for source, events in (("kc", [*USER_EVENTS, *ADMIN_EVENTS]), ("okta", [OKTA])):
            async with running.session.post(f"/ingest/{source}", json=events) as response:
                assert response.status == 202, await response.text()
        yield running


async def read(
    service: Opened, what: str = "events", realm: str = REALM, token: str = "reader-token", **query: Any
) -> list[dict[str, Any]]:
    async with service.session.get(
        f"/admin/realms/{realm}/{what}", params=query, headers={"Authorization": f"Bearer {token}"}
    ) as response:
        assert response.status == 200, await response.text()
        found: list[dict[str, Any]] = await response.json()
        return found


def ids(events: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in events]


def newest_first(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(events, key=lambda one: -one["time"])


async def test_keycloaks_python_client_reads_unmodified(service: Opened) -> None:
    def ask() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        admin = KeycloakAdmin(
            server_url=f"{service.service.url}/", realm_name=REALM, client_id="reader",
            client_secret_key="reader-token", user_realm_name=REALM,
        )  # fmt: skip
        return admin.get_events({"max": 1000, "type": ["LOGIN", "LOGIN_ERROR"]}), admin.get_admin_events({"max": -1})

    users, admins = await asyncio.to_thread(ask)
    assert sorted(ids(users)) == sorted(ids([one for one in USER_EVENTS if one["type"] in ("LOGIN", "LOGIN_ERROR")]))
    assert sorted(ids(admins)) == sorted(ids(ADMIN_EVENTS))


async def test_a_token_that_is_not_known_is_no_secret_of_a_client(service: Opened) -> None:
    for secret in ("wrong", "writer-token"):

        def ask(secret: str = secret) -> None:
            KeycloakAdmin(
                server_url=f"{service.service.url}/", realm_name=REALM, client_id="reader", client_secret_key=secret
            ).get_events()

        with pytest.raises(KeycloakAuthenticationError):
            await asyncio.to_thread(ask)


async def test_a_client_may_bring_its_secret_by_http_basic(service: Opened) -> None:
    for header, status in (
        (f"Basic {base64.b64encode(b'any-client:reader-token').decode()}", 200),
        (f"Basic {base64.b64encode(b'any-client:wrong').decode()}", 401),
        ("Basic ???", 401),
    ):
        async with service.session.post(
            f"/realms/{REALM}/protocol/openid-connect/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": header},
        ) as response:
            assert response.status == status
            assert ("access_token" in await response.json()) is (status == 200)


async def test_a_form_of_any_number_of_fields_is_no_fault_of_the_service(service: Opened) -> None:
    path = f"/realms/{REALM}/protocol/openid-connect/token"
    async with service.session.post(path, data=[("a", "1")] * 51) as response:
        assert (response.status, response.content_type) == (400, "application/problem+json")


async def test_a_hundred_of_the_newest_come_unless_something_else_is_said(service: Opened) -> None:
    assert [one["time"] for one in await read(service)] == [one["time"] for one in newest_first(USER_EVENTS)][:100]
    assert [one["time"] for one in await read(service, direction="asc", max="7")] == sorted(
        one["time"] for one in USER_EVENTS
    )[:7]


@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_pages_joined_are_all_events_once(service: Opened, direction: str) -> None:
    found: list[dict[str, Any]] = []
    while page := await read(service, direction=direction, first=str(len(found)), max="9"):
        found += page
    assert len(found) == len(USER_EVENTS)
    assert set(ids(found)) == set(ids(USER_EVENTS))
    assert found == await read(service, direction=direction, max="-1")


async def test_each_parameter_means_what_it_means_to_keycloak(service: Opened) -> None:
    one = next(one for one in USER_EVENTS if one["type"] == "LOGIN")
    cases: list[tuple[Mapping[str, str], Any]] = [
        ({"client": one["clientId"]}, lambda each: each.get("clientId") == one["clientId"]),
        ({"user": one["userId"]}, lambda each: each.get("userId") == one["userId"]),
        ({"ipAddress": "127.0.0.1"}, lambda each: each["ipAddress"] == "127.0.0.1"),
        ({"dateFrom": str(one["time"])}, lambda each: each["time"] >= one["time"]),
        ({"dateTo": str(one["time"])}, lambda each: each["time"] <= one["time"]),
        ({"dateFrom": "2026-11-21", "dateTo": "2026-11-21"}, lambda each: True),
        ({"dateTo": "2026-11-20"}, lambda each: False),
        ({"dateFrom": "2026-11-22"}, lambda each: False),
        ({"type": "LOGOUT"}, lambda each: each["type"] == "LOGOUT"),
        ({"client": "", "unheard_of": "x"}, lambda each: True),
    ]
    for query, wanted in cases:
        found = await read(service, max="-1", **query)
        assert set(ids(found)) == set(ids([each for each in USER_EVENTS if wanted(each)])), query


async def test_each_parameter_of_admin_events_too(service: Opened) -> None:
    one = next(one for one in ADMIN_EVENTS if one["resourceType"] == "USER" and one["operationType"] == "CREATE")
    cases: list[tuple[Mapping[str, str], Any]] = [
        ({"operationTypes": "CREATE"}, lambda each: each["operationType"] == "CREATE"),
        ({"resourceTypes": "USER"}, lambda each: each["resourceType"] == "USER"),
        ({"resourcePath": "users/*"}, lambda each: each.get("resourcePath", "").startswith("users/")),
        ({"resourcePath": one["resourcePath"]}, lambda each: each.get("resourcePath") == one["resourcePath"]),
        ({"authUser": one["authDetails"]["userId"]},
         lambda each: each["authDetails"]["userId"] == one["authDetails"]["userId"]),
        ({"authRealm": one["authDetails"]["realmId"]},
         lambda each: each["authDetails"]["realmId"] == one["authDetails"]["realmId"]),
        ({"authRealm": "another"}, lambda each: False),
    ]  # fmt: skip
    for query, wanted in cases:
        found = await read(service, "admin-events", max="-1", **query)
        assert set(ids(found)) == set(ids([each for each in ADMIN_EVENTS if wanted(each)])), query


async def test_a_realm_shows_the_sources_that_the_settings_name(service: Opened) -> None:
    found = await read(service, realm="everything", max="-1")
    assert len(found) == len(USER_EVENTS) + 1
    (okta,) = [one for one in found if one["id"] not in ids(USER_EVENTS)]
    assert (okta["type"], okta["userId"], okta["ipAddress"]) == ("LOGIN", "00u1", "203.0.113.9")
    assert await read(service, realm="nobody") == []


async def test_any_number_of_resource_types_can_be_asked_for(service: Opened) -> None:
    query = [("max", "-1"), *(("resourceTypes", f"OTHER_{number}") for number in range(40)), ("resourceTypes", "USER")]
    async with service.session.get(f"/admin/realms/{REALM}/admin-events", params=query) as response:
        assert response.status == 200
        assert set(ids(await response.json())) == set(
            ids([one for one in ADMIN_EVENTS if one["resourceType"] == "USER"])
        )


@pytest.mark.parametrize(
    "query",
    [{"dateFrom": "2026-11-21T10:00:00Z"}, {"dateTo": "yesterday"}, {"max": "many"}, {"direction": "up"},
     {"ipAddress": "not one"}, {"dateFrom": "2026-13-40"}],
)  # fmt: skip
async def test_what_is_wrong_is_refused_as_keycloak_does(service: Opened, query: dict[str, str]) -> None:
    async with service.session.get(
        f"/admin/realms/{REALM}/events", params=query, headers={"Authorization": "Bearer reader-token"}
    ) as response:
        assert response.status == 400
        assert "detail" in await response.json(content_type=None)


async def test_events_are_not_deleted(service: Opened) -> None:
    for what in ("events", "admin-events"):
        async with service.session.delete(f"/admin/realms/{REALM}/{what}") as response:
            assert response.status == 403
    assert len(await read(service, max="-1")) == len(USER_EVENTS)


async def test_without_a_token_that_may_read_nothing_is_shown(service: Opened) -> None:
    for token, status in (("nobodys", 401), ("writer-token", 403)):
        async with service.session.get(
            f"/auth/admin/realms/{REALM}/events", headers={"Authorization": f"Bearer {token}"}
        ) as response:
            assert response.status == status


class Gatekeeper:
    """A Keycloak as far as it is asked here: who may read, and tokens."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        self.answer: Any = []
        #: What is said to who wants a token, in its place.
        self.page: str | None = None

    async def read(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, request.headers.get("Authorization")))
        good = request.headers.get("Authorization") == "Bearer of-keycloak"
        return web.json_response(self.answer, status=self.status if good else 401)

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if self.page is not None:
            return web.Response(text=self.page, content_type="text/html", status=502)
        return web.json_response({"access_token": "of-keycloak", "for": form["username"]}, status=201)


async def test_who_may_read_in_keycloak_may_read_here(tmp_path: Path) -> None:
    gatekeeper = Gatekeeper()
    app = web.Application()
    app.router.add_get("/auth/admin/realms/{realm}/{what}", gatekeeper.read)
    app.router.add_post("/auth/realms/{realm}/protocol/openid-connect/token", gatekeeper.token)
    async with (
        TestServer(app) as server,
        opened(
            tmp_path,
            sources=[{"name": "kc", "provider": "keycloak", "token": "token-of-kc"}],
            keys=KEYS,
            keycloak={"url": str(server.make_url("/auth"))},
            outgoing={"allow": ["127.0.0.0/8"]},
        ) as running,
    ):
        async with running.session.post("/ingest/kc", json=USER_EVENTS) as response:
            assert response.status == 202
        assert len(await read(running, token="of-keycloak", max="-1")) == len(USER_EVENTS)
        assert len(await read(running, token="of-keycloak", max="1")) == 1
        assert gatekeeper.asked == [(f"/auth/admin/realms/{REALM}/events?max=1", "Bearer of-keycloak")]
        assert len(await read(running, token="reader-token", max="1")) == 1
        assert len(gatekeeper.asked) == 1

        async def status(token: str, what: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            async with running.session.get(f"/admin/realms/{REALM}/{what}", headers=headers) as response:
                return response.status

        assert await status("another", "events") == 401
        gatekeeper.status = 403
        assert await status("of-keycloak", "admin-events") == 403
        gatekeeper.status = 500
        assert await status("of-keycloak", "admin-events") == 503
        # Something that is no Keycloak may say 200 to everybody.
        gatekeeper.status, gatekeeper.answer = 200, {"page": "welcome"}
        assert await status("of-keycloak", "admin-events") == 503
        async with running.session.post(
            "/realms/acme/protocol/openid-connect/token", data={"grant_type": "password", "username": "anna"}
        ) as response:
            assert (response.status, await response.json()) == (201, {"access_token": "of-keycloak", "for": "anna"})
        # A token of ours is answered here, also one that is not known any more: no one else learns of it.
        for secret, expected in (("reader-token", 200), ("idpa_gone", 401)):
            form = {"grant_type": "client_credentials", "client_id": "any", "client_secret": secret}
            async with running.session.post("/realms/acme/protocol/openid-connect/token", data=form) as response:
                assert (response.status, (await response.json()).get("access_token")) == (
                    expected, secret if expected == 200 else None,
                )  # fmt: skip
        # A proxy in front of it may answer with a page, which goes to nobody.
        gatekeeper.page = "<h1>Bad gateway</h1>"
        async with running.session.post("/realms/acme/protocol/openid-connect/token", data={}) as response:
            assert (response.status, response.content_type) == (503, "application/problem+json")
        await server.close()
        assert await status("of-keycloak", "admin-events") == 503
