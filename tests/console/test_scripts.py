"""What the scripts of the console see to: copying, one submission of a form, the drawer, and a session that ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Route, expect

from tests.console.conftest import Console, seen, visiting
from tests.opened import Opened, login

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Milliseconds, for a machine that has much else to do.
expect.set_options(timeout=60_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def events(console_service: Opened) -> None:
    """Two logins of two users."""
    await console_service.post(
        [login(900 + number, realmId="pair", details={"username": name}) for number, name in enumerate(("ann", "ben"))]
    )


async def test_a_text_is_copied_also_where_a_page_has_no_clipboard(console: Console) -> None:
    """As over plain http from another machine."""
    page = console.page
    await page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined})")
    # What the button says goes after a second and a half, and a busy machine may look later.
    await page.add_init_script(
        "{ window.held = []; const later = window.setTimeout.bind(window);"
        " window.setTimeout = (done, wait, ...more) => wait === 1500 ? held.push(done) : later(done, wait, ...more); }"
    )
    await console.open("/ui/keys")
    await page.get_by_text("This view as a command").click()
    button = page.locator(".question [data-copy]").first
    for _ in range(2):
        await button.click()
        await expect(button).to_have_text("Copied")
    await page.keyboard.press("Control+k")
    await page.keyboard.press("Control+v")
    await expect(page.get_by_role("combobox", name="Go to")).to_have_value("idp-adapter keys list --sessions")
    for _ in range(2):  # the first one empties the field
        await page.keyboard.press("Escape")
    await page.evaluate("held.splice(0).forEach(done => done())")
    await expect(button).to_have_text("Copy")
    # Where that is not possible either, the text is selected, and the page says what to do.
    await page.evaluate("document.execCommand = () => false")
    await button.click()
    await expect(button).to_have_text("Press Ctrl C")
    assert await page.evaluate("getSelection().toString()") == "idp-adapter keys list --sessions"


async def test_a_second_click_does_not_do_it_twice(console: Console) -> None:
    """The answer to the second one would take the place of the first, which alone has the token."""
    page = console.page
    posts = 0
    clicked = asyncio.Event()

    async def slow(route: Route) -> None:
        nonlocal posts
        if route.request.method == "POST":
            posts += 1
            await clicked.wait()
        await route.continue_()

    await console.open("/ui/keys/new")
    await page.get_by_label("Name").fill("twice")
    await page.route("**/ui/keys/new", slow)
    await page.get_by_role("button", name="Make the key").dblclick(no_wait_after=True)
    clicked.set()
    await expect(page.locator(".code code")).to_have_text(re.compile(r"idpa_[\w-]{43}"))
    assert posts == 1
    async with console.service.session.delete("/keys/twice") as response:
        assert response.status == 200


# The drawer


async def test_an_event_that_does_not_come_opens_nothing(console: Console) -> None:
    page = console.page
    drawer = page.locator("#events-drawer")
    await console.open("/ui/events?realm=pair")
    listed = page.url
    first, second = await page.locator("a[data-drawer]").all()
    await first.click()
    await expect(drawer.locator("[data-event]")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()

    async def gone(route: Route) -> None:
        await route.continue_(url=f"{console.url}/ui/events/nothing")

    await page.route(re.compile(r"/ui/events/[0-9a-f-]{36}$"), gone)
    await second.click()
    await expect(page.locator("#problem")).to_contain_text("Not found")
    await expect(drawer).to_be_hidden()
    await expect(drawer.locator("[data-event]")).to_have_count(0)
    assert page.url == listed
    console.problems.clear()  # a browser says that there was a 404


async def test_of_two_events_the_one_that_was_chosen_last_is_shown(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?realm=pair")
    first, second = await page.locator("a[data-drawer]").all()
    wanted = await second.get_attribute("href")
    held, came = asyncio.Event(), asyncio.Event()

    async def slow(route: Route) -> None:
        came.set()
        await held.wait()
        with suppress(Error):  # it is not wanted any more
            await route.continue_()

    await page.route(f"**{await first.get_attribute('href')}", slow)
    await first.click()
    await came.wait()
    await second.click()
    await expect(page.locator("#events-drawer [data-event]")).to_have_attribute("data-event", wanted or "")
    held.set()
    await page.unroute_all(behavior="wait")
    await expect(page.locator("#events-drawer [data-event]")).to_have_attribute("data-event", wanted or "")
    assert page.url == f"{console.url}{wanted}"


async def test_what_goes_wrong_in_the_drawer_is_said_in_it(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?realm=pair")
    await page.locator("a[data-drawer]").first.click()
    drawer = page.locator("#events-drawer")

    async def wrong(route: Route) -> None:
        await route.continue_(url=f"{console.url}/ui/nothing")

    async def lost(route: Route) -> None:
        await route.abort()

    await page.route("**/deliveries", wrong)
    await page.route("**/explain", lost)
    await drawer.locator("summary", has_text="Deliveries").click()
    await expect(drawer.get_by_role("alert")).to_contain_text("There is no such page")
    await drawer.locator("summary", has_text="Why it is so").click()
    await expect(drawer.get_by_role("alert")).to_contain_text("The service does not answer")
    console.problems.clear()


async def test_the_page_of_a_proxy_is_no_part_of_ours(console: Console) -> None:
    page = console.page

    async def proxied(route: Route) -> None:
        await route.fulfill(status=502, content_type="text/html", body="<title>502</title><h1>Bad gateway</h1>")

    await page.route("**/ui/events/counts**", proxied)
    await console.open("/ui/events?realm=pair")
    await expect(page.locator("#problem")).to_contain_text("something in front of it, with 502")
    await expect(page.get_by_role("link", name="Counts of these events")).to_be_visible()
    assert await page.title() == "Events · IdP Event Adapter"
    console.problems.clear()


async def test_a_link_within_the_page_of_an_event_does_not_load_it_again(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?realm=pair")
    await page.goto(console.url + (await page.locator("a[data-drawer]").first.get_attribute("href") or ""))
    await page.evaluate("window.isTheSame = true")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("#main$"))
    await expect(page.locator("#main")).to_be_focused()
    assert await page.evaluate("window.isTheSame")


# A session that ends


@pytest_asyncio.fixture(loop_scope="module")
async def leaving(browser: Browser, console_service: Opened) -> AsyncIterator[Console]:
    """A page of a session of its own."""
    async with visiting(console_service) as visitor:
        await visitor.sign_in()
        url = console_service.service.url
        cookies = [{"name": one.key, "value": one.value, "url": url} for one in visitor.session.cookie_jar]
    async with seen(browser, console_service, cookies) as one:
        yield one


async def end_sessions(service: Opened) -> None:
    """End the newest session."""
    newest = (await service.get("/sessions"))[1]["sessions"][-1]
    async with service.session.delete(f"/sessions/{newest['id']}") as response:
        assert response.status == 200


async def sign_in_again(console: Console, url: str) -> None:
    page = console.page
    await page.get_by_label("Token of a key").fill(console.service.service.admin_token)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(url)


@pytest.mark.parametrize("how", ["a part of the page", "a form", "live"])
async def test_who_was_signed_out_signs_in_and_is_back_where_he_was(leaving: Console, how: str) -> None:
    page = leaving.page
    url = f"{leaving.url}/ui/{'live' if how == 'live' else 'events'}?realm=pair"
    await page.goto(url)
    if how == "live":
        await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    else:
        # Nothing of the page is asked for any more.
        await expect(page.get_by_role("region", name="By outcome")).to_be_visible()
    await end_sessions(leaving.service)
    if how == "a part of the page":
        await page.locator("a[data-drawer]").first.click()
    elif how == "a form":
        await page.get_by_label("Theme").select_option("dark")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await expect(page.get_by_role("status")).to_contain_text("not signed in any more")
    await sign_in_again(leaving, url)
