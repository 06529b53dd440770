"""Every page of the console with a week of a company in it: good to read and to use at both sizes, light and dark.

With the option ``--console-screenshots`` the pictures in docs/images are made here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.console.acme_week import ATTACKED, SOURCES, a_week
from tests.console.conftest import is_within_width, seen
from tests.console.hook import hooking
from tests.e2e.process import until
from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Whatever else the machine does. Milliseconds.
expect.set_options(timeout=60_000)
#: Each is seen once at each size and once in each theme.
VIEWS = [("desktop", "light"), ("phone", "dark")]
#: What stands in pictures in the place of an address of this machine.
ADAPTER, RECEIVER = "https://adapter.acme.example", "https://siem.acme.example"


class _Week:
    def __init__(self, service: Opened, addresses: dict[str, str], attacked: str, failure: str) -> None:
        self.service = service
        self.addresses = addresses
        #: The account that somebody got into, and a failed login of it.
        self.attacked = attacked
        self.failure = failure


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def week(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[_Week]:
    settings: dict[str, Any] = {"sources": SOURCES, "outgoing": {"allow": ["127.0.0.0/8"]}}
    async with hooking() as hook, opened(tmp_path_factory.mktemp("week"), **settings) as service:
        sink = {
            "name": "siem",
            "kind": "webhook",
            "url": hook.url,
            "filter": {"type": ["access.*"]},
            "from": "beginning",
        }
        key = {"name": "soc-dashboard", "permissions": ["read", "export"], "realms": ["acme"], "expires": "90d"}
        for path, given in (("/sinks", sink), ("/keys", key)):
            async with service.session.post(path, json=given) as response:
                assert response.status == 201, await response.text()
        for source, events in a_week(time.time_ns() // 1_000_000).items():
            for begin in range(0, len(events), 200):
                await service.post(events[begin : begin + 200], source)

        async def is_caught_up() -> bool:
            return bool((await service.get("/sinks/siem"))[1]["lag"] == 0)

        people: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []

        async def are_found() -> bool:
            # A busy search answers in part.
            people[:] = (await service.get("/people", q=ATTACKED, source="keycloak"))[1].get("people", ())
            _, page = await service.get("/events", user=f"{ATTACKED}@acme.example", outcome="failure", limit=1)
            failed[:] = page.get("events", ())
            return bool(people and failed)

        await until(is_caught_up)
        await until(are_found)
        addresses = {service.service.url.rstrip("/"): ADAPTER, hook.url.rstrip("/"): RECEIVER}
        yield _Week(service, addresses, people[0]["id"], failed[0]["uid"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_service(week: _Week) -> Opened:
    return week.service


async def _overview(page: Page) -> None:
    await expect(page.locator(".overview-top table")).to_have_count(2)
    await expect(page.locator("[data-brush] canvas")).to_be_visible()


async def _events(page: Page) -> None:
    await expect(page.get_by_role("region", name="By outcome")).to_be_visible()


async def _live(page: Page) -> None:
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")


async def _people(page: Page) -> None:
    await expect(page.locator("#chart-active")).to_be_visible()


async def _export(page: Page) -> None:
    await _events(page)
    await page.locator("summary", has_text="Export").click()
    await expect(page.get_by_role("link", name="Parquet", exact=True)).to_be_visible()


#: Each page, how its picture is called, and when it is complete.
PAGES: list[tuple[str, str, Callable[[Page], Awaitable[None]] | None]] = [
    ("/ui/?range=7d", "overview", _overview),
    ("/ui/events?from=7d&outcome=failure", "events", _events),
    ("/ui/events?from=7d&outcome=failure", "export", _export),
    ("/ui/events/{failure}", "event", None),
    ("/ui/live", "live", _live),
    ("/ui/people", "people", _people),
    ("/ui/people/{attacked}", "person", None),
    ("/ui/quarantine", "quarantine", None),
    ("/ui/mappings", "mappings", None),
    ("/ui/mappings/onewelcome", "mapping", None),
    ("/ui/sources", "sources", None),
    ("/ui/sources/keycloak", "source", None),
    ("/ui/sinks", "sinks", None),
    ("/ui/sinks/siem", "sink", None),
    ("/ui/keys", "keys", None),
    ("/ui/keys/new", "keys-new", None),
    ("/ui/api", "api", None),
    ("/ui/api/get_events_export", "api-operation", None),
    ("/ui/about", "about", None),
]

#: Writes other addresses in the place of those of this machine, in all texts of the page.
_RENAME = """(addresses) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const [own, shown] of Object.entries(addresses)) {
      texts.currentNode.data = texts.currentNode.data.replaceAll(own, shown);
    }
  }
}"""


@pytest.mark.parametrize(("size", "theme"), VIEWS)
async def test_every_page_is_good_for_everybody(
    browser: Browser,
    week: _Week,
    _cookies: list[dict[str, Any]],
    check_accessibility: Callable[[Page], Awaitable[None]],
    screenshot: Callable[[Page, str], Awaitable[None]],
    size: str,
    theme: str,
) -> None:
    async with seen(browser, week.service, _cookies, size, theme) as console:
        for path, name, is_complete in PAGES:
            response = await console.open(path.format(failure=week.failure, attacked=week.attacked))
            assert response.status == 200, path
            if is_complete is not None:
                await is_complete(console.page)
            await check_accessibility(console.page)
            assert await is_within_width(console.page), path
            await console.page.evaluate(_RENAME, week.addresses)
            await screenshot(console.page, name)
        assert console.problems == []
