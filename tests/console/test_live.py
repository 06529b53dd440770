"""The page Live: events as they come, with pause and filters."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.console.conftest import Console, Visitor
from tests.opened import login

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "=cmd|' /C calc'!A0\u202e\r\n<img src=x onerror=alert(1)>\x1b[2J\"'&"
Check = Callable[[Page], Awaitable[None]]
Shot = Callable[[Page, str], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_settings() -> dict[str, Any]:
    return {"feed": {"key_live_limit": 50}}


async def test_without_scripts_it_shows_the_newest_events_and_a_link_to_look_again(visitor: Visitor) -> None:
    await visitor.service.post([login(number, realmId="plain") for number in range(100, 103)])
    status, text = await visitor.page("/ui/live?realm=plain&not_type=LOGOUT")
    assert status == 200
    rows = re.findall(r'data-uid="([^"]+)"', text)
    _, page = await visitor.service.get("/events", realm="plain")
    assert rows == [event["uid"] for event in page["events"]]
    assert '<a class="button" href="/ui/live?realm=plain&amp;not_type=LOGOUT" data-without-script>Refresh</a>' in text
    # A filter without a field stays, and can be taken away.
    assert '<input type="hidden" name="not_type" value="LOGOUT">' in text
    assert 'href="/ui/live?realm=plain" aria-label="Without not_type=LOGOUT"' in text
    assert "idp-adapter events list --follow --where realm=plain --where not_type=LOGOUT" in text
    assert "/events/live?realm=plain" in unescape(text)


async def test_a_wrong_filter_is_told_and_can_be_corrected(visitor: Visitor) -> None:
    status, text = await visitor.page("/ui/live?ip=nowhere")
    assert status == 400
    assert "an address or a CIDR" in text
    assert 'value="nowhere"' in text


async def test_foreign_text_is_shown_as_text(visitor: Visitor) -> None:
    await visitor.service.post(login(110, realmId="hostile", clientId=HOSTILE, details={"username": HOSTILE}))
    _, text = await visitor.page("/ui/live?realm=hostile")
    assert "calc" in text
    assert "<img src=x" not in text
    assert not {"\u202e", "\x1b"} & set(text)


# In a browser


async def test_events_show_as_they_come(console: Console) -> None:
    page, service = console.page, console.service
    await console.open("/ui/live?realm=come")
    await expect(page.locator("[data-live-state]")).to_have_text("Live: 0 came since this page was opened")
    await expect(page.locator("[data-live-empty]")).to_be_visible()
    rows = page.locator("[data-live-list] > li")
    for number in range(200, 205):
        # What some take for the end of a line ends no event.
        told = login(number, realmId="come", sessionId=f"\u2028{number}\x85\u2029")
        receipts = await service.post([told, login(number + 50, realmId="other")])
        await expect(rows).to_have_count(number - 199)
        await expect(rows.first).to_have_attribute("data-uid", receipts["uids"][0])
    await expect(rows.first.locator("a")).to_have_attribute("href", f"/ui/events/{receipts['uids'][0]}")
    await expect(page.locator("[data-live-state]")).to_have_text("Live: 5 came since this page was opened")
    _, event = await service.get(f"/events/{receipts['uids'][0]}", sentence="1")
    await expect(rows.first.locator("a")).to_have_text(event["sentence"]["text"])


async def test_a_row_that_came_looks_like_one_that_was_there(console: Console) -> None:
    page, service = console.page, console.service
    await console.open("/ui/live?realm=alike")
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    await service.post(login(260, realmId="alike"))
    row = page.locator("[data-live-list] > li")
    await expect(row).to_have_count(1)
    came = [await row.inner_text(), await row.locator("a").get_attribute("href")]
    await page.reload()
    await expect(row).to_have_count(1)
    assert [await row.inner_text(), await row.locator("a").get_attribute("href")] == came


async def test_while_it_is_paused_what_comes_is_counted_and_shown_later(console: Console) -> None:
    page, service = console.page, console.service
    await console.open("/ui/live?realm=paused")
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    await page.get_by_role("button", name="Pause").click()
    receipts = await service.post([login(number, realmId="paused") for number in range(300, 303)])
    await expect(page.locator("[data-live-state]")).to_have_text("Paused: 3 came meanwhile")
    rows = page.locator("[data-live-list] > li")
    await expect(rows).to_have_count(0)
    await page.get_by_role("button", name="Resume").click()
    await expect(rows).to_have_count(3)
    await expect(rows.first).to_have_attribute("data-uid", receipts["uids"][2])


async def test_it_keeps_no_more_rows_than_it_says(console: Console) -> None:
    page, service = console.page, console.service
    await console.open("/ui/live?realm=many")
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    receipts = await service.post([login(number, realmId="many") for number in range(400, 650)])
    rows = page.locator("[data-live-list] > li")
    await expect(rows.first).to_have_attribute("data-uid", receipts["uids"][-1])
    await expect(rows).to_have_count(200)


async def test_what_came_between_the_page_and_its_connection_is_not_missing(console: Console) -> None:
    """The stream goes on from where the page was made."""
    page, service = console.page, console.service

    async def later(route: Any) -> None:
        await service.post(login(700, realmId="between"))
        await route.continue_()

    await page.route("**/events/live?**", later)
    await console.open("/ui/live?realm=between")
    await expect(page.locator("[data-live-list] > li")).to_have_count(1)


async def test_where_it_fell_behind_it_says_so(console: Console) -> None:
    page = console.page
    body = 'retry: 60000\nevent: behind\ndata: {"cursor": "x", "path": "/events?order=log&cursor=x"}\n\n'
    await page.route(
        "**/events/live?**", lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body)
    )
    await console.open("/ui/live?realm=nobody")
    await expect(page.get_by_text("Events are missing here")).to_be_visible()


async def test_a_gap_leads_to_what_came_since(console: Console) -> None:
    page, service = console.page, console.service
    await console.open("/ui/live?realm=gap&outcome=success")
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    receipts = await service.post(login(710, realmId="gap"))
    await expect(page.locator("[data-live-list] > li")).to_have_count(1)
    _, event = await service.get(f"/events/{receipts['uids'][0]}")
    behind = 'retry: 60000\nevent: behind\ndata: {"cursor": "x", "path": "/events"}\n\n'
    await page.route(
        "**/events/live?**", lambda route: route.fulfill(status=200, content_type="text/event-stream", body=behind)
    )
    await be_seen(page, False)
    await be_seen(page, True)
    address = await page.get_by_role("link", name="Find them in Events").get_attribute("href")
    query = parse_qs(urlsplit(address or "").query)
    received = str(event["source"]["receivedAt"])
    assert query == {"realm": ["gap"], "outcome": ["success"], "received_from": [received]}


async def be_seen(page: Page, is_seen: bool) -> None:
    """Have the page be in front, or in the background, as far as its scripts are told."""
    await page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        not is_seen,
    )


async def test_in_the_background_it_holds_no_connection_and_misses_nothing(console: Console) -> None:
    """A browser has six to one host: seven pages that nobody sees would keep all others from loading."""
    page, service = console.page, console.service
    await console.open("/ui/live?realm=background")
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    async with page.expect_event("requestfailed", lambda one: "/events/live" in one.url):
        await be_seen(page, False)
    console.asked.clear()
    receipts = await service.post([login(number, realmId="background") for number in range(720, 723)])
    assert [url for url in console.asked if "/events/live" in url] == []
    await be_seen(page, True)
    rows = page.locator("[data-live-list] > li")
    await expect(rows).to_have_count(3)
    await expect(rows.first).to_have_attribute("data-uid", receipts["uids"][-1])


async def test_it_goes_on_from_the_last_place_also_where_nothing_matched(console: Console) -> None:
    """Else a rare kind of events would seem to have gaps: the place of the last one lies far behind."""
    page = console.page
    body = "retry: 1\n:\nid: a-place\n\n"
    await page.route(
        "**/events/live?**", lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body)
    )
    async with page.expect_request(lambda one: "cursor=a-place" in one.url):
        await console.open("/ui/live?realm=rare")


async def test_it_says_why_it_is_refused_and_tries_again(console: Console) -> None:
    page = console.page
    refusal = {"title": "Too many", "status": 429, "detail": "admin has 10 live tails under way already"}
    await page.clock.install()
    await page.route("**/events/live?**", lambda route: route.fulfill(status=429, json=refusal))
    await console.open("/ui/live?realm=refused")
    await expect(page.locator("[data-live-state]")).to_have_text(
        "Not connected, which is tried again: admin has 10 live tails under way already"
    )
    await page.unroute_all(behavior="wait")
    await page.clock.run_for(10_000)
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    console.problems.clear()  # a browser says that there was a 429


async def test_what_comes_is_text_and_never_markup(console: Console) -> None:
    page, service = console.page, console.service
    await console.open("/ui/live?realm=hostile-live")
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    await service.post(login(800, realmId="hostile-live", clientId=HOSTILE, details={"username": HOSTILE}))
    row = page.locator("[data-live-list] > li")
    await expect(row).to_contain_text("calc")
    assert await row.locator("img").count() == 0
    text = await row.inner_text()
    assert not {"\u202e", "\x1b"} & set(text)
