"""Completion of filters, within what a key may see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.opened import Opened, login, opened

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "elsewhere", "token": "elsewhere-token", "permissions": ["read"], "realms": ["realm-2"]},
    {"name": "scraper", "token": "scraper-token", "permissions": ["metrics"]},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    events = [
        login(1),
        login(2),
        login(3, userId="user-2", details={"username": "Ben"}, ipAddress="2001:db8::1"),
        login(4, type="LOGIN_ERROR", error="user_not_found", userId=None, details={"username": "annabel"}),
    ]
    async with opened(tmp_path_factory.mktemp("values") / "data", keys=KEYS) as one:
        await one.post(events)
        await one.get("/events/counts", by="type")  # until it can be searched
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def values(service: Opened, token: str | None = None, **query: Any) -> dict[str, int]:
    status, found = await service.get("/events/values", **({"token": token} if token else {}), **query)
    assert status == 200, found
    assert (found["field"], found["partial"]) == (query.get("field"), False)
    return {one["value"]: one["count"] for one in found["values"]}


@pytest.mark.parametrize(
    "query, expected",
    [
        ({"field": "user", "prefix": "An"}, {"anna": 2, "annabel": 1}),
        ({"field": "not_actor", "prefix": "b"}, {"ben": 1}),
        ({"field": "ip"}, {"203.0.113.7": 3, "2001:db8::1": 1}),
        ({"field": "client", "prefix": "a"}, {"account": 4}),
        ({"field": "client", "prefix": "A"}, {}),
        ({"field": "provider"}, {"keycloak": 4}),
        ({"field": "realm", "prefix": "REALM"}, {"realm-1": 4}),
        ({"field": "outcome"}, {"success": 3, "failure": 1, "unknown": 0}),
        ({"field": "type", "prefix": "login", "limit": 2}, {"access.LOGIN": 3, "access.LOGIN_ERROR": 1}),
        ({"field": "type", "prefix": "access.LOGIN_E"}, {"access.LOGIN_ERROR": 1}),
        ({"field": "reason", "prefix": "unknown_u"}, {"unknown_user": 1}),
        ({"field": "reason_class", "limit": 1}, {"credential": 1}),
        ({"field": "risk"}, {}),
        ({"prefix": "not_reas"}, {"not_reason": 0, "not_reason_class": 0}),
    ],
    ids=str,
)
async def test_values_are_completed(service: Opened, query: dict[str, Any], expected: dict[str, int]) -> None:
    found = await values(service, **query)
    assert list(found.items()) == list(expected.items())


async def test_a_key_that_is_limited_learns_of_nothing_else(service: Opened) -> None:
    for field in ("user", "ip", "client", "provider", "realm", "source"):
        assert await values(service, "elsewhere-token", field=field) == {}
    assert set((await values(service, "elsewhere-token", field="type")).values()) == {0}
    assert len(await values(service, "reader-token", field="user")) == 3


@pytest.mark.parametrize("prefix", ["\0", "a\0", "%", "'", "\U0010ffff", "x" * 2_000])
async def test_a_prefix_that_nothing_has_is_no_error(service: Opened, prefix: str) -> None:
    for field in ("user", "type"):
        assert await values(service, field=field, prefix=prefix) == {}


async def test_a_slip_in_the_question_is_told(service: Opened) -> None:
    for field in ("session", "usr"):
        status, problem = await service.get("/events/values", field=field)
        assert (status, problem["parameter"]) == (400, "field")
        assert "one of type, outcome" in problem["detail"]
    assert (await service.get("/events/values", field="type", limit=0))[1]["parameter"] == "limit"


async def test_whoever_may_not_read_completes_nothing(service: Opened) -> None:
    assert (await service.get("/events/values", token="scraper-token"))[0] == 403
