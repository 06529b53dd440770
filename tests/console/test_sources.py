"""Pages of sources: where to post, what came of it, and what is fetched."""

from __future__ import annotations

import html
import itertools
import json
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.console.conftest import Console, Visitor, is_within_width, visiting
from tests.e2e.process import until
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS = itertools.count(1)
TOKEN = "a-source-token-of-the-settings"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_settings() -> dict[str, Any]:
    pull = {"url": "http://127.0.0.1:9/", "client_id": "adapter", "client_secret": "s", "realms": ["acme"]}
    return {
        "outgoing": {"allow": ["127.0.0.0/8"], "ports": ["1-65535"]},
        "sources": [
            {"name": "keycloak", "provider": "keycloak", "token": [TOKEN, f"{TOKEN}-2"], "silence": "2h"},
            {"name": "okta", "provider": "okta"},
            {"name": "kc-pull", "provider": "keycloak", "pull": pull},
        ],
        "keys": [{"name": "of-okta", "token": "okta-token", "permissions": ["read"], "sources": ["okta"]}],
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_service(
    tmp_path_factory: pytest.TempPathFactory, console_settings: dict[str, Any]
) -> AsyncIterator[Opened]:
    """A service without events but those that a test posts."""
    async with opened(tmp_path_factory.mktemp("console"), **console_settings) as service:
        yield service


def said(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def test_all_sources_are_shown_with_what_came_of_them(console_service: Opened, visitor: Visitor) -> None:
    await console_service.post([login(next(NUMBERS)), {"type": "odd"}])

    async def is_counted() -> bool:
        _, found = await console_service.get("/status")
        return any(one["name"] == "keycloak" and one["hour"]["quarantined"] for one in found["sources"])

    await until(is_counted)
    status, page = await visitor.page("/ui/sources")
    assert status == 200
    row = re.search(r"<tr data-row>(?:(?!</tr>).)*?>keycloak</a>.*?</tr>", page, re.S)
    assert row is not None
    assert "events come in" in said(row[0])
    assert "could not be made an event" in said(row[0])
    assert 'href="/ui/quarantine?source=keycloak"' in row[0]
    assert 'href="/ui/events?source=keycloak&amp;received_from=1h"' in row[0]
    assert "/ingest/keycloak" in row[0]
    assert "idp-adapter status" in said(page)


async def test_a_source_says_how_to_post_to_it_and_the_command_does_it(
    console_service: Opened, visitor: Visitor
) -> None:
    _, page = await visitor.page("/ui/sources/okta")
    found = next(one for one in re.findall(r"<code>(curl .*?)</code>", page, re.S) if "/ingest/" in one)
    words = shlex.split(
        html.unescape(found).replace("\\\n", " ").replace("$TOKEN", console_service.service.admin_token)
    )
    assert words[-1] == f"{console_service.service.url}/ingest/okta"
    body = words[words.index("--data-binary") + 1]
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    async with console_service.session.post(words[-1], data=body, headers=headers) as response:
        receipts = await response.json()
        assert (response.status, receipts["quarantined"]) == (202, 0), receipts
    assert "idp-adapter keys create --name post-to-okta --can ingest --source okta" in said(page)


async def test_no_page_of_a_source_shows_its_token_and_each_says_how_it_is_replaced(
    console_service: Opened, visitor: Visitor
) -> None:
    _, page = await visitor.page("/ui/sources/keycloak")
    assert TOKEN not in page
    assert "where 2 are valid at the moment" in said(page)
    assert "2h" in said(page)
    _, page = await visitor.page("/ui/sources/okta")
    assert "It was generated, and stands in tokens.json" in said(page)
    tokens = [token for one in console_service.service.sources for token in one.tokens]
    assert [token for token in tokens if token in page] == []


async def test_a_source_that_fetches_shows_what_is_wrong_and_its_gaps(
    console_service: Opened, visitor: Visitor
) -> None:
    async def is_tried() -> bool:
        _, found = await console_service.get("/status")
        return any(stream["problem"] for one in found["sources"] for stream in one["pulls"])

    await until(is_tried)
    _, page = await visitor.page("/ui/sources/kc-pull")
    assert "http://127.0.0.1:9/" in page
    assert "cannot connect" in said(page)
    assert 'href="/ui/events?type=system.SOURCE-GAP&amp;q=kc-pull"' in page
    assert "idp-adapter sources reconcile kc-pull --from 24h" in said(page)


async def test_who_is_limited_to_a_source_sees_that_one_alone(console_service: Opened) -> None:
    async with visiting(console_service) as visitor:
        await visitor.sign_in("okta-token")
        status, page = await visitor.page("/ui/sources")
        assert (status, "/ui/sources/okta" in page, "keycloak" in page) == (200, True, False)
        status, page = await visitor.page("/ui/sources/kc-pull")
        assert (status, "127.0.0.1:9" in page, "limited to" in said(page)) == (403, False, True)


async def test_only_the_administrator_is_told_where_events_are_fetched(console_service: Opened) -> None:
    _, found = await console_service.get("/sources")
    [pull] = [one["pull"] for one in found["sources"] if one["pull"]]
    assert pull["url"] == "http://127.0.0.1:9/"
    given = {"name": "reader", "permissions": ["read"]}
    async with console_service.session.post("/keys", json=given) as response:
        token = (await response.json())["token"]
    _, found = await console_service.get("/sources", token=token)
    [pull] = [one["pull"] for one in found["sources"] if one["pull"]]
    assert pull["url"] is None
    assert (await console_service.get("/sources/kc-pull", token=token))[1]["pull"] == pull
    assert TOKEN not in json.dumps(found)


async def test_a_source_that_there_is_not_is_told_with_those_that_there_are(visitor: Visitor) -> None:
    status, page = await visitor.page("/ui/sources/okat")
    assert (status, "there are keycloak, okta, kc-pull" in said(page)) == (404, True)
    status, page = await visitor.page("/ui/sources/%3Cscript%3E")
    assert (status, "<script>" in page) == (404, False)


async def test_a_new_source_teaches_what_to_do(console: Console) -> None:
    await console.open("/ui/sources")
    await console.page.get_by_role("link", name="kc-pull").click()
    await expect(console.page.get_by_role("heading", name="Nothing ever came from it")).to_be_visible()


async def test_all_can_read_the_pages_at_each_size_in_each_theme(
    each_console: Console,
    check_accessibility: Callable[[Page], Awaitable[None]],
) -> None:
    for path in ("", "/keycloak", "/kc-pull"):
        response = await each_console.open(f"/ui/sources{path}")
        assert response.status == 200, path
        await check_accessibility(each_console.page)
        assert await is_within_width(each_console.page), path


async def test_what_is_wrong_with_a_source_is_not_said_of_a_sink_of_its_name(tmp_path: Path) -> None:
    sources = [{"name": "soc", "provider": "keycloak"}]
    sinks = [{"name": "soc", "kind": "file", "path": tmp_path / "out"}]
    async with opened(tmp_path / "data", sources=sources, sinks=sinks) as service, visiting(service) as visitor:
        await service.post([{"type": "odd"}], "soc")
        _, found = await service.get("/status")
        assert [(one["kind"], one["about"]) for one in found["todo"]] == [("source", "soc")]
        await visitor.sign_in()
        assert "could not be made an event" in said((await visitor.page("/ui/sources/soc"))[1])
        status, page = await visitor.page("/ui/sinks/soc")
        assert (status, "could not be made an event" in said(page)) == (200, False)
