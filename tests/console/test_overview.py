"""The page Overview: its numbers, where they lead, and what it leaves out."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from adapter.console.overview import RANGES
from tests.console.conftest import Console, Visitor, is_within_width, visiting
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "=cmd|' /C calc'!A0\u202e\r\n<script>alert(1)</script>\x1b[2J\"'&"
KEYS = [
    {"name": "reader", "token": "reader-token"},
    {"name": "of-acme", "token": "of-acme-token", "permissions": ["read"], "realms": ["overview"]},
    {"name": "of-source", "token": "of-source-token", "permissions": ["read"], "sources": ["keycloak"]},
]
Check = Callable[[Page], Awaitable[None]]
Shot = Callable[[Page, str], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    copy = tmp_path_factory.mktemp("sink") / "copy"
    return {"keys": KEYS, "sinks": [{"name": "copy", "kind": "file", "path": copy, "from": "beginning"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lately(console_service: Opened) -> int:
    """The present hour, in which things happen; epoch milliseconds of its beginning."""
    now = time.time_ns() // 1_000_000
    failure = {"type": "LOGIN_ERROR", "error": "invalid_user_credentials"}
    made = [
        *(login(number, time=now, realmId="overview", userId=f"u{number % 3}") for number in range(1000, 1012)),
        *(
            login(
                number, time=now, realmId="overview", ipAddress=f"198.51.100.{number % 2}", details={"username": "eve"}
            )
            | failure
            for number in range(1012, 1017)
        ),
        login(1017, time=now, realmId="globex", details={"username": HOSTILE}, clientId=HOSTILE) | failure,
        login(1018, time=now - 5 * 86_400_000, realmId="overview"),
        {"odd": 1},
    ]
    await console_service.post(made)
    return now


async def counted(service: Opened, address: str, *, token: str | None = None) -> int:
    """How many events the page behind a link shows, as the API counts them by the same filters."""
    path, _, query = unescape(address).partition("?")
    assert path == "/ui/events"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with service.session.get(f"/events?{query}&limit=1000", headers=headers) as response:
        assert response.status == 200, await response.text()
        return len((await response.json())["events"])


def totals(text: str) -> dict[str, tuple[str, int]]:
    """Address and number of each total on the page."""
    found = re.findall(r'<a href="([^"]+)" data-total="(\w+)">([\d\u202f]+)</a>', text)
    return {name: (address, int(number.replace("\u202f", ""))) for address, name, number in found}


@pytest.mark.parametrize("name", RANGES)
async def test_each_number_leads_to_as_many_events(visitor: Visitor, lately: int, name: str) -> None:
    status, text = await visitor.page(f"/ui/?range={name}")
    assert status == 200
    found = totals(text)
    assert set(found) >= {"all", "failure", "success", "unknown"}
    assert found["all"][1] >= 18
    for kind in ("all", "failure", "success", "unknown"):
        address, number = found[kind]
        assert await counted(visitor.service, address) == number, kind


async def test_each_bar_and_each_row_of_the_table_leads_to_as_many_events(visitor: Visitor, lately: int) -> None:
    _, text = await visitor.page("/ui/?range=7d")
    drawn = re.findall(r'<a href="([^"]+)" tabindex="-1" aria-label="[^"]*: ([\d,]+) (\w+)">', text)
    assert len(drawn) >= 3
    for address, number, kind in drawn:
        assert f"outcome={kind}" in address
        assert await counted(visitor.service, address) == int(number.replace(",", ""))
    listed = re.findall(r'<td class="num"><a href="([^"]+outcome=\w+[^"]*)">([\d\u202f]+)</a></td>', text)
    assert sorted(address for address, _ in listed) == sorted(address for address, _, _ in drawn)


async def test_a_day_in_another_zone_is_the_readers_day(visitor: Visitor, lately: int) -> None:
    await visitor.send("/ui/preferences", {"zone": "Asia/Kolkata", "next": "/ui/"})
    _, text = await visitor.page("/ui/?from=7d")
    assert "tz=Asia/Kolkata" in unescape(text)
    assert "IST" in text
    drawn = re.findall(r'<a href="([^"]+)" tabindex="-1" aria-label="[^"]*: ([\d,]+) (\w+)">', text)
    for address, number, _ in drawn:
        assert await counted(visitor.service, address) == int(number.replace(",", ""))


async def test_reasons_users_and_addresses_lead_to_their_failures(visitor: Visitor, lately: int) -> None:
    _, text = await visitor.page("/ui/?range=24h")
    [reason] = re.findall(r'<a href="([^"]+reason=bad_credentials[^"]*)" tabindex="-1">([\d\u202f]+)</a>', text)
    assert int(reason[1]) >= 6
    assert await counted(visitor.service, reason[0]) == int(reason[1])
    for by, filter, value, number in (("user", "actor", "eve", 5), ("ip", "ip", "198.51.100.1", 2)):
        [address] = re.findall(rf'hx-get="(/ui/overview/top\?by={by}[^"]*)"', text)
        status, part = await visitor.page(unescape(address), **{"HX-Request": "true"})
        assert status == 200
        assert "<html" not in part
        [found] = re.findall(rf'<a href="([^"]+{filter}={re.escape(value)}[^"]*)" tabindex="-1">(\d+)</a>', part)
        assert int(found[1]) == number, value
        assert await counted(visitor.service, found[0]) == number
        # Without scripts it is a page.
        _, page = await visitor.page(unescape(address))
        assert "<html" in page and found[0] in page


async def test_of_a_long_range_users_are_counted_in_its_last_day_until_all_are_wanted(
    visitor: Visitor, lately: int
) -> None:
    _, text = await visitor.page("/ui/?range=30d")
    [address] = re.findall(r'hx-get="(/ui/overview/top\?by=user[^"]*)"', text)
    _, part = await visitor.page(unescape(address), **{"HX-Request": "true"})
    [whole] = re.findall(r'<a href="(/ui/overview/top[^"]*all=1[^"]*)"', part)
    assert "the last day of the range" in part
    _, part = await visitor.page(unescape(whole), **{"HX-Request": "true"})
    assert "the last day of the range" not in part


async def test_the_law_of_conservation_is_shown_for_each_sink(visitor: Visitor, lately: int) -> None:
    _, text = await visitor.page("/ui/")
    _, listed = await visitor.service.get("/sinks")
    [sink] = listed["sinks"]
    assert sink["counts"]["matched"] > 0
    assert f'<a href="/ui/sinks/{sink["name"]}">' in text
    assert "adds up" in text
    assert "does not add up" not in text


async def test_quarantine_is_counted(visitor: Visitor, lately: int) -> None:
    _, text = await visitor.page("/ui/")
    _, groups = await visitor.service.get("/quarantine", limit=1)
    assert totals(text)["quarantine"] == ("/ui/quarantine", groups["count"])


async def test_a_limited_visitor_sees_his_own_and_is_told_what_is_left_out(
    console_service: Opened, lately: int
) -> None:
    async with visiting(console_service) as visitor:
        await visitor.sign_in("of-acme-token")
        status, text = await visitor.page("/ui/?range=7d")
        assert status == 200
        found = totals(text)
        assert found["all"][1] == await counted(console_service, found["all"][0], token="of-acme-token")
        assert found["all"][1] == 18
        assert "globex" not in text
        # Sources, quarantine and sinks are about more.
        assert text.count("overview-missing") >= 3
        assert "/ui/sinks/copy" not in text
        [address] = re.findall(r'hx-get="(/ui/overview/top\?by=user[^"]*)"', text)
        _, part = await visitor.page(unescape(address), **{"HX-Request": "true"})
        assert "eve" in part
        assert "calc" not in part


async def test_who_may_not_manage_sinks_is_told_so_and_sees_how_far_they_are(
    console_service: Opened, lately: int
) -> None:
    async with visiting(console_service) as visitor:
        await visitor.sign_in("reader-token")
        _, text = await visitor.page("/ui/")
        # Its page would refuse them, so the name is no link.
        assert "copy" in text and "/ui/sinks" not in text
        assert "lacks the permission" in text
        assert "adds up" not in text


async def test_foreign_text_is_shown_as_text(visitor: Visitor, lately: int) -> None:
    _, text = await visitor.page("/ui/?range=24h")
    for by in ("user", "ip"):
        [address] = re.findall(rf'hx-get="(/ui/overview/top\?by={by}[^"]*)"', text)
        text += (await visitor.page(unescape(address)))[1]
    assert "calc" in text
    assert "<script>alert" not in text
    assert not {"\u202e", "\x1b"} & set(text)


async def test_a_wrong_range_is_told_and_the_page_is_shown_all_the_same(visitor: Visitor) -> None:
    for query in ("from=nonsense", "from=1h&to=2h", "from=0", "to=999999999999999&from=1d", "from=%3Cscript%3E"):
        status, text = await visitor.page(f"/ui/?{query}")
        assert status == 200
        assert 'role="alert"><p>' in text, query
        assert "<script>&" not in text
        assert "Events over time" in text
        assert (await visitor.page(f"/ui/overview/top?{query}"))[0] == 400


async def test_an_empty_service_says_what_to_do_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as service, visiting(service) as visitor:
        await visitor.sign_in()
        _, text = await visitor.page("/ui/")
        assert "No events yet" in text
        assert "idp-adapter serve --examples" in text


async def test_the_questions_of_the_page_are_shown_for_scripts(visitor: Visitor, lately: int) -> None:
    _, text = await visitor.page("/ui/?range=7d")
    assert "/events/counts?by=outcome" in unescape(text)
    assert "idp-adapter events count --by outcome --bucket 3h" in text


# In a browser


async def test_the_page_as_people_see_it(each_console: Console, lately: int, check_accessibility: Check) -> None:
    page = each_console.page
    await each_console.open("/ui/?range=7d")
    await expect(page.locator(".overview-top").first.locator("table")).to_be_visible()
    await expect(page.locator(".overview-top").last.locator("table")).to_be_visible()
    await expect(page.locator("[data-brush] canvas")).to_be_visible()
    await check_accessibility(page)
    await page.get_by_text("The same as a table").click()
    await check_accessibility(page)
    assert await is_within_width(page)


async def test_whoever_drags_over_a_part_of_the_picture_sees_that_alone(console: Console, lately: int) -> None:
    await console.open("/ui/?range=24h")
    over = console.page.locator("[data-brush] .u-over")
    await expect(over).to_be_visible()
    await over.scroll_into_view_if_needed()
    box = await over.bounding_box()
    assert box is not None
    await console.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    await console.page.mouse.down()
    await console.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 25, steps=5)
    async with console.page.expect_navigation():
        await console.page.mouse.up()
    query = dict(re.findall(r"(from|to)=(\d+)", console.page.url))
    width = int(query["to"]) - int(query["from"])
    assert 0 < width < 12 * 3_600_000
    await expect(console.page.get_by_role("heading", name="Events over time")).to_be_visible()


async def test_a_bar_is_clicked(console: Console, lately: int) -> None:
    await console.open("/ui/?range=24h")
    bar = console.page.locator(".chart-bars a", has=console.page.locator(".chart-failure")).last
    address = await bar.get_attribute("href")
    assert address is not None
    await bar.click()
    await console.page.wait_for_url(lambda url: url.endswith(address))
