"""Saved searches: who shares them, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapter.search import saved
from tests.opened import Opened, opened

KEYS = [
    {"name": "zoe", "token": "zoe-token", "permissions": ["read", "searches"], "realms": ["acme"]},
    {"name": "max", "token": "max-token", "permissions": ["read"], "realms": ["acme"]},
    {"name": "other", "token": "other-token", "permissions": ["read", "searches"], "realms": ["globex"]},
    {"name": "saver", "token": "saver-token", "permissions": ["searches"]},
]
FAILED = "type=LOGIN_ERROR&from=7d&not_user=j%C3%B6rg%20x"


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Opened]:
    async with opened(tmp_path / "data", keys=KEYS) as one:
        yield one


async def ask(service: Opened, method: str, path: str, token: str | None = None, body: Any = None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with service.session.request(method, path, json=body, headers=headers) as response:
        return response.status, await response.json()


async def names(service: Opened, token: str | None = None) -> list[str]:
    status, found = await ask(service, "GET", "/searches", token)
    assert status == 200
    return [one["name"] for one in found["searches"]]


async def test_a_search_is_shared_by_all_who_have_the_same_limits_and_by_nobody_else(service: Opened) -> None:
    status, kept = await ask(service, "PUT", "/searches/failed", "zoe-token", {"query": "?" + FAILED})
    assert (status, kept["name"], kept["query"], kept["savedBy"]) == (200, "failed", FAILED, "zoe")
    assert await ask(service, "GET", "/searches/failed", "max-token") == (200, kept)
    assert await names(service, "max-token") == ["failed"]
    for token in ("other-token", None):  # also of one who sees everything
        assert (await ask(service, "GET", "/searches/failed", token))[0] == 404
        assert await names(service, token) == []
    assert (await ask(service, "PUT", "/searches/failed", "other-token", {"query": "outcome=failure"}))[0] == 200
    assert await ask(service, "GET", "/searches/failed", "max-token") == (200, kept)
    assert (await ask(service, "DELETE", "/searches/failed", "other-token")) == (200, {"deleted": "failed"})
    assert await names(service, "max-token") == ["failed"]


async def test_another_of_the_same_name_takes_its_place_until_it_is_deleted(service: Opened) -> None:
    for query in ("outcome=failure", "q=a%26b"):
        assert (await ask(service, "PUT", "/searches/one", body={"query": query}))[0] == 200
    assert (await ask(service, "GET", "/searches/one"))[1]["query"] == "q=a%26b"
    assert (await ask(service, "DELETE", "/searches/one"))[0] == 200
    assert (await ask(service, "DELETE", "/searches/one"))[0] == 404
    assert await names(service) == []


async def test_to_save_takes_a_permission_of_its_own(service: Opened) -> None:
    for method, body in (("PUT", {"query": "outcome=failure"}), ("DELETE", None)):
        assert (await ask(service, method, "/searches/one", "max-token", body))[0] == 403
    assert (await ask(service, "PUT", "/searches/one", "saver-token", {"query": "outcome=failure"}))[0] == 200
    assert (await ask(service, "GET", "/searches/one", "saver-token"))[0] == 403


@pytest.mark.parametrize(
    "query, character, told",
    [
        ("type=LOGIN&outcom=failure", 12, "'outcom' is no filter; filters are type, outcome"),
        ("outcome=failed", 1, "is not one of failure, success, unknown"),
        ("type=LOGIN&&ip=1.2.3", 13, "an address or a CIDR"),
        ("type=LOGIN&failed", 12, "NAME=VALUE is right"),
        ("user=100%&type=LOGIN", 9, "as itself it is %25"),
        ("user=%FF", 1, "not UTF-8"),
        ("limit=5", 1, "'limit' is no filter"),
        ("from=1d&to=1h&from=2d", 1, "from is given 2 times"),
        ("user=", 1, "is empty"),
    ],
)
async def test_a_bad_query_is_refused_with_its_place(service: Opened, query: str, character: int, told: str) -> None:
    status, problem = await ask(service, "PUT", "/searches/one", body={"query": query})
    assert (status, problem["parameter"], problem["character"]) == (400, "query", character)
    assert told in problem["detail"]
    assert f"at character {character}: " in problem["detail"]
    assert await names(service) == []


@pytest.mark.parametrize("query", ["", "?", "&&", "q=" + "x" * 5_000, "q=" + "a" * 3_000 + "&user=" + "b" * 2_000])
async def test_a_query_of_nothing_or_of_too_much_is_refused(service: Opened, query: str) -> None:
    status, problem = await ask(service, "PUT", "/searches/one", body={"query": query})
    assert (status, problem["parameter"]) == (400, "query")


@pytest.mark.parametrize("name", ["a%2Fb", "%20", "-a", "a" * 65, "a%0A", "%C3%BC"])
async def test_a_name_of_other_characters_is_refused(service: Opened, name: str) -> None:
    assert (await ask(service, "PUT", f"/searches/{name}", body={"query": "q=a"}))[0] in (400, 404)
    assert await names(service) == []


async def test_there_are_so_many_at_most(service: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "LIMIT", 2)
    answers = [(await ask(service, "PUT", f"/searches/{name}", body={"query": "q=a"}))[0] for name in "abba"]
    assert answers == [200, 200, 200, 200]
    assert (await ask(service, "PUT", "/searches/c", body={"query": "q=a"}))[0] == 409
    assert (await ask(service, "PUT", "/searches/a", "zoe-token", {"query": "q=a"}))[0] == 200
    assert await names(service) == ["a", "b"]


async def test_they_outlast_the_service(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path / "data", keys=KEYS) as service:
            await ask(service, "PUT", "/searches/one", body={"query": "q=a"})
    async with opened(tmp_path / "data", keys=KEYS) as service:
        assert await names(service) == ["one"]
