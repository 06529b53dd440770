"""Keys over HTTP, against a real service: who makes one, what its token may, and that a revoked one may nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientError

from tests.e2e.process import until
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS: dict[str, Any] = {
    "keys": [
        {"name": "boss", "token": "boss-token-1", "permissions": ["read", "keys"]},
        {"name": "reader", "token": "reader-token", "permissions": ["read"]},
        {"name": "limited", "token": "limited-token", "permissions": ["keys"], "realms": ["acme"]},
    ]
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("keys"), **SETTINGS) as one:
        yield one


async def ask(service: Opened, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with service.session.request(method, path, json=body, headers=headers) as response:
        return response.status, await response.json()


async def make(service: Opened, name: str, **said: Any) -> str:
    status, made = await ask(service, "POST", "/keys", {"name": name, **said})
    assert status == 201, made
    return str(made["token"])


async def test_a_key_may_what_was_said_and_no_more(service: Opened) -> None:
    token = await make(service, "soc", permissions=["read"])
    assert (await service.get("/events", token=token))[0] == 200
    assert (await service.get("/sinks", token=token))[0] == 403
    assert (await service.get("/events/export", token=token))[0] == 403  # read says nothing of exports


async def test_a_key_of_a_realm_sees_that_realm_alone(service: Opened) -> None:
    await service.post([login(1, realmId="acme"), login(2, realmId="globex")])
    token = await make(service, "acme", realms=["acme"])
    _, page = await service.get("/events", token=token)
    assert [event["realmId"] for event in page["events"]] == ["acme"]


async def test_a_token_is_told_once(service: Opened) -> None:
    token = await make(service, "once")
    _, listed = await ask(service, "GET", "/keys")
    assert token not in json.dumps(listed)
    assert "token" not in next(one for one in listed["keys"] if one["name"] == "once")


async def test_all_keys_are_listed_with_their_last_use(service: Opened) -> None:
    token = await make(service, "used", permissions=["read", "metrics"], sources=["keycloak"], expires="90d")
    await make(service, "unused")
    await service.get("/events", token=token)
    _, listed = await ask(service, "GET", "/keys")
    named = {one["name"]: one for one in listed["keys"]}
    now = time.time() * 1000
    assert named["used"]["permissions"] == ["metrics", "read"]
    assert (named["used"]["sources"], named["used"]["realms"]) == (["keycloak"], None)
    assert abs(named["used"]["lastUsedAt"] - now) < 600_000
    assert abs(named["used"]["expiresAt"] - now - 90 * 86_400_000) < 600_000
    assert (named["used"]["createdBy"], named["used"]["managed"]) == ("admin", "api")
    assert named["unused"]["lastUsedAt"] is None
    assert named["reader"]["managed"] == "settings"
    assert named["reader"]["permissions"] == ["export", "read"]  # as it was before there was export


async def test_a_revoked_key_is_refused_at_once(service: Opened) -> None:
    token = await make(service, "gone")
    assert (await service.get("/events", token=token))[0] == 200
    status, revoked = await ask(service, "DELETE", "/keys/gone")
    assert (status, revoked["name"]) == (200, "gone")
    assert (await service.get("/events", token=token))[0] == 401
    status, problem = await ask(service, "DELETE", "/keys/gone")
    assert (status, problem["detail"].startswith("There is no key 'gone' in the log; there are: ")) == (404, True)


async def test_nobody_gives_what_he_does_not_have(service: Opened) -> None:
    status, problem = await ask(
        service, "POST", "/keys", {"name": "more", "permissions": ["read", "raw", "sinks"]}, "boss-token-1"
    )
    assert (status, problem["title"]) == (403, "Forbidden")
    assert "raw, sinks" in problem["detail"]
    for token in ("reader-token", "limited-token"):
        assert (await ask(service, "POST", "/keys", {"name": "more", "permissions": ["keys"]}, token))[0] == 403
        assert (await ask(service, "GET", "/keys", None, token))[0] == 403
        assert (await ask(service, "DELETE", "/keys/reader", None, token))[0] == 403


async def test_a_key_lasts_no_longer_than_the_one_that_makes_it(service: Opened) -> None:
    token = await make(service, "for-a-day", permissions=["read", "keys"], expires="1d")
    for longer in ({}, {"expires": "2d"}):
        status, problem = await ask(service, "POST", "/keys", {"name": "longer", **longer}, token)
        assert (status, "no longer than" in problem["detail"]) == (403, True)
    assert (await ask(service, "POST", "/keys", {"name": "shorter", "expires": "1h"}, token))[0] == 201


@pytest.mark.parametrize(
    ("said", "status", "part"),
    [
        ({}, 400, "name"),
        ({"name": "a b"}, 400, "name"),
        ({"name": "x", "permissions": []}, 400, "permissions"),
        ({"name": "x", "permissions": ["everything"]}, 400, "permissions"),
        ({"name": "x", "token": "mine"}, 400, "token is not known; known are name, permissions"),
        ({"name": "x", "realms": []}, 400, "realms"),
        ({"name": "x", "realms": ["acme"], "permissions": ["ingest"]}, 400, "ingest cannot be limited to realms"),
        ({"name": "x", "expires": "soon"}, 400, "expires: 'soon' is neither in how long (8h, 90d, 1y) nor"),
        ({"name": "x", "expires": "2020-01-01T00:00:00Z"}, 400, "is over already"),
        ({"name": "x", "expires": 10**30}, 400, "expires"),
        ({"name": "reader"}, 409, "there is a key 'reader'"),
        ({"name": "admin"}, 409, "there is a key 'admin'"),
    ],
)
async def test_what_is_wrong_of_a_key_is_told(service: Opened, said: dict[str, Any], status: int, part: str) -> None:
    answered, problem = await ask(service, "POST", "/keys", said)
    assert (answered, part in problem["detail"]) == (status, True), problem


async def test_a_key_of_the_settings_is_ended_there(service: Opened) -> None:
    status, problem = await ask(service, "DELETE", "/keys/reader")
    assert (status, "adapter.toml" in problem["detail"]) == (409, True)


async def test_an_answer_that_is_being_written_ends_with_its_key(service: Opened) -> None:
    for start in range(1000, 13_000, 1000):
        await service.post([login(number) for number in range(start, start + 1000)])
    token = await make(service, "exporter", permissions=["read", "export"])
    headers = {"Authorization": f"Bearer {token}"}
    # Of an answer this long most is not written when its head is there, since nobody reads it.
    async with service.session.get("/events/export", params={"format": "unified"}, headers=headers) as response:
        assert response.status == 200
        await ask(service, "DELETE", "/keys/exporter")
        with pytest.raises(ClientError):
            async with asyncio.timeout(60):
                await response.read()


async def test_keys_outlast_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        token = await make(one, "siem")
    async with opened(tmp_path) as one:
        assert (await one.get("/events", token=token))[0] == 200
        await ask(one, "DELETE", "/keys/siem")
    async with opened(tmp_path) as one:
        assert (await one.get("/events", token=token))[0] == 401


async def test_services_over_one_log_take_the_keys_of_each_other(database_url: str, tmp_path: Path) -> None:
    store = {"store": {"url": database_url}}
    async with opened(tmp_path / "one", **store) as one, opened(tmp_path / "other", **store) as other:
        token = await make(one, "siem")

        async def is_answered(status: int) -> bool:
            return (await other.get("/events", token=token))[0] == status

        await until(lambda: is_answered(200))
        await ask(one, "DELETE", "/keys/siem")
        await until(lambda: is_answered(401))
