"""Page Events in a browser: with a pointer, with keys alone, on a phone, in both themes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.console.conftest import Console, is_within_width
from tests.e2e.process import command
from tests.opened import Opened, login

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=\"document.title='taken'\">\u202e\u0000'\"</script>{{7*7}}"
#: A trial begins with a process of its own, which takes its time on a loaded machine (see `console_settings`, too).
#: Milliseconds.
expect.set_options(timeout=60_000)
#: When mallory tried, epoch milliseconds.
AT = 1_700_000_500_000


def failure(number: int) -> dict[str, Any]:
    """A failed login at Keycloak."""
    return login(
        500 + number, type="LOGIN_ERROR", error="invalid_user_credentials", userId=None, ipAddress="198.51.100.66",
        details={"username": "mallory@example.com"},
    )  # fmt: skip


#: One at Okta.
OKTA = {
    "uuid": "f0f0f0f0-0000-4000-8000-000000000001",
    "published": "2023-11-14T22:21:45.000Z",
    "eventType": "user.session.start",
    "version": "0",
    "severity": "WARN",
    "displayMessage": "User login to Okta",
    "actor": {"id": "00umallory", "type": "User", "alternateId": "mallory@example.com", "displayName": "Mallory"},
    "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
    "client": {"ipAddress": "198.51.100.66"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_settings() -> dict[str, Any]:
    return {"mappings": {"trial_timeout": 60}}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def events(console_service: Opened) -> AsyncIterator[None]:
    """Mallory tried to log in at two providers, and once somebody whose every name is hostile. There is time to count,
    however much else the machine does."""
    logged_in = login(510, userId="user-m", ipAddress="198.51.100.66", details={"username": "mallory@example.com"})
    hostile = login(
        # A value with a null byte is not completed.
        600, clientId=HOSTILE.replace("\0", ""), userId=HOSTILE, sessionId=HOSTILE, ipAddress=HOSTILE, realmId=HOSTILE,
        details={"username": HOSTILE, "auth_method": HOSTILE, HOSTILE: HOSTILE},
    )  # fmt: skip
    await console_service.post([failure(1), failure(2), logged_in, hostile])
    await console_service.post([OKTA], "okta")
    await console_service.get("/events", limit=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapter.console.events._SECONDS", 5.0)
        yield


def query_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


async def add(page: Page, field: str, value: str) -> None:
    await page.get_by_label("Filter", exact=True).select_option(field)
    await page.get_by_role("combobox", name="Value").fill(value)
    await page.get_by_role("button", name="Add filter").click()


async def test_the_failed_logins_of_a_user_across_two_providers(console: Console) -> None:
    page = console.page
    await console.open("/ui/events")
    await add(page, "user", "mallory@example.com")
    await expect(page.locator("tr[data-row]")).to_have_count(4)
    # Of the four that are left, a click on the outcome leaves those that failed.
    await page.locator("tr[data-row]").get_by_role("link", name="failure", exact=True).first.click()
    await expect(page.locator("tr[data-row]")).to_have_count(3)
    assert query_of(page) == {"user": ["mallory@example.com"], "outcome": ["failure"]}
    rows = " ".join(await page.locator("tr[data-row]").all_inner_texts())
    assert "keycloak" in rows and "okta" in rows
    assert "mallory@example.com failed to log in" in rows
    # A provider is left out, and comes back.
    await page.locator("tr[data-row]", has_text="okta").get_by_role("link", name="without provider okta").click()
    await expect(page.locator("tr[data-row]")).to_have_count(2)
    await page.get_by_label("Remove provider okta").click()
    await expect(page.locator("tr[data-row]")).to_have_count(3)
    # Counts stand beside it, and are links.
    await page.get_by_role("region", name="By provider").get_by_role("link", name="2", exact=True).click()
    await expect(page.locator("tr[data-row]")).to_have_count(2)
    await page.go_back()
    await page.go_back()
    await expect(page.locator("tr[data-row]")).to_have_count(2)
    assert query_of(page)["not_provider"] == ["okta"]


async def test_an_address_that_is_passed_on_shows_the_same(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?user=mallory%40example.com&not_outcome=success")
    await expect(page.locator("tr[data-row]")).to_have_count(3)
    await expect(page.get_by_label("Filters", exact=True)).to_contain_text("outcome is not success")
    command = await page.locator(".question code").first.text_content()
    assert command == "idp-adapter events list --limit 100 --user=mallory@example.com --where not_outcome=success"


async def test_a_value_is_completed_with_keys_alone(console: Console) -> None:
    page = console.page
    await console.open("/ui/events")
    await page.get_by_label("Filter", exact=True).select_option("user")
    box = page.get_by_role("combobox", name="Value")
    await box.focus()
    await page.keyboard.type("mallo")
    option = page.get_by_role("option", name=re.compile("mallory@example.com"))
    await expect(option).to_be_visible()
    assert await box.get_attribute("aria-expanded") == "true"
    await page.keyboard.press("ArrowDown")
    assert await box.get_attribute("aria-activedescendant") == await option.get_attribute("id")
    await page.keyboard.press("Escape")
    await expect(option).to_be_hidden()
    await expect(box).to_have_value("mallo")
    await page.keyboard.press("ArrowDown")
    await expect(option).to_be_visible()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(box).to_have_value("mallory@example.com")
    await page.keyboard.press("Enter")
    await expect(page.locator("tr[data-row]")).to_have_count(4)
    assert query_of(page) == {"user": ["mallory@example.com"]}


async def test_an_event_is_opened_read_and_closed_with_keys_alone(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?user=mallory%40example.com")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name=re.compile("mallory"))
    await expect(drawer).to_be_visible()
    assert re.fullmatch(r"/ui/events/[0-9a-f-]{36}", urlsplit(page.url).path)
    await expect(drawer.get_by_role("heading", name="As the provider sent it")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    await expect(page).to_have_url(re.compile(r"/ui/events\?user="))
    assert await page.evaluate("document.activeElement.matches('tr[data-row]:first-child')")
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.name") == "q"


async def test_the_back_button_closes_an_event_and_forward_opens_it(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?user=mallory%40example.com")
    listed = page.url
    await page.locator("a[data-drawer]").first.click()
    drawer = page.locator("#events-drawer")
    await expect(drawer).to_be_visible()
    opened = page.url
    await page.go_back()
    await expect(drawer).to_be_hidden()
    assert page.url == listed
    await page.go_forward()
    await expect(drawer).to_be_visible()
    assert page.url == opened
    # What the address shows by itself is the same event.
    await page.reload()
    await expect(page.get_by_role("heading", name=re.compile("mallory"))).to_be_visible()
    await expect(page.locator("#events-drawer")).to_have_count(0)
    await page.go_back()
    await expect(page.locator("tr[data-row]")).to_have_count(4)


async def test_an_event_says_which_row_made_it_and_what_happened_around_it(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?user=mallory%40example.com&provider=keycloak&outcome=success")
    await page.locator("a[data-drawer]").click()
    drawer = page.locator("#events-drawer")
    await drawer.locator("summary", has_text="Why it is so").click()
    await expect(drawer.get_by_role("row", name=re.compile("authDetails.userId user-m userId"))).to_be_visible()
    await drawer.locator("summary", has_text="Deliveries").click()
    await expect(drawer.get_by_text("There are no sinks")).to_be_visible()
    around = drawer.get_by_role("link", name="the same address")
    asked = dict(parse_qsl(urlsplit(await around.get_attribute("href") or "").query))
    assert asked == {"ip": "198.51.100.66", "from": str(AT + 10_000 - 300_000), "to": str(AT + 10_000 + 300_001)}
    await around.click()
    await expect(page.locator("tr[data-row]")).to_have_count(4)


async def test_whatever_an_event_holds_runs_nowhere(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?q=x&type=LOGIN")
    await console.open("/ui/events?from=2023-11-14T22:23:20Z&to=2023-11-14T22:23:21Z")
    await expect(page.locator("tr[data-row]")).to_have_count(1)
    await page.locator("a[data-drawer]").click()
    drawer = page.locator("#events-drawer")
    await expect(drawer).to_be_visible()
    await drawer.locator("summary", has_text="Why it is so").click()
    await expect(drawer.get_by_role("row", name=re.compile("authDetails.userId"))).to_be_visible()
    await page.keyboard.press("Escape")
    await page.locator("tr[data-row] .events-sentence a").first.click()
    await expect(page.locator(".events-chip")).to_contain_text("\\u202e\\u0000")
    await expect(page.locator("tr[data-row]")).to_have_count(1)
    await page.get_by_label("Filter", exact=True).select_option("client")
    await page.get_by_role("combobox", name="Value").press_sequentially("<im")
    await expect(page.locator("#events-values [role=option]").first).to_contain_text("<img src=x")
    assert await page.title() == "Events · IdP Event Adapter"
    assert await page.locator("main img").count() == 0


async def test_without_scripts_everything_is_a_page(console: Console, browser: Any, _cookies: Any) -> None:
    context = await browser.new_context(java_script_enabled=False)
    await context.add_cookies(_cookies)
    page = await context.new_page()
    await page.goto(console.url + "/ui/events")
    await add_plainly(page, "user", "mallory@example.com")
    await expect(page.locator("tr[data-row]")).to_have_count(4)
    await page.get_by_role("link", name="Counts of these events").click()
    await expect(page.get_by_text("4 events")).to_be_visible()
    await page.get_by_role("link", name="The events", exact=True).click()
    await page.locator("a[data-drawer]").first.click()
    await page.locator("summary", has_text="Why it is so").click()
    await page.locator("details[open]").get_by_role("link", name="Show").click()
    await expect(page.get_by_role("row", name=re.compile("authDetails.ipAddress"))).to_be_visible()
    await context.close()


async def add_plainly(page: Page, field: str, value: str) -> None:
    await page.locator("#events-field").select_option(field)
    await page.locator("#events-value").fill(value)
    await page.get_by_role("button", name="Add filter").click()


async def test_an_export_is_saved_and_verified_with_its_manifest(console: Console, tmp_path: Path) -> None:
    page = console.page
    await console.open("/ui/events?user=mallory%40example.com&outcome=failure")
    await page.locator("summary", has_text="Export").focus()
    await page.keyboard.press("Enter")
    saved = []
    for name in ("CSV", "Manifest of the CSV file"):
        async with page.expect_download() as downloading:
            await page.get_by_role("link", name=name, exact=True).click()
        download = await downloading.value
        saved.append(tmp_path / download.suggested_filename)
        await download.save_as(saved[-1])
    assert saved[1] == saved[0].with_name(f"{saved[0].name}.manifest.json")
    assert "3 events, as" in await command("events", "verify", str(saved[0]))
    assert len(saved[0].read_text().splitlines()) == 4
    saved[0].write_text(saved[0].read_text().replace("mallory", "mallary", 1))
    with pytest.raises(AssertionError, match="is not what"):
        await command("events", "verify", str(saved[0]))


async def test_a_search_is_saved_and_used(console: Console) -> None:
    page = console.page
    await console.open("/ui/events?user=mallory%40example.com&from=90000d")
    await page.get_by_role("link", name="Saved searches").click()
    await page.get_by_label("Name", exact=True).fill("mallory")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_role("link", name="mallory", exact=True).click()
    await expect(page.locator("tr[data-row]")).to_have_count(4)
    assert query_of(page) == {"user": ["mallory@example.com"], "from": ["90000d"]}


async def test_it_is_good_at_each_size_in_each_theme(
    each_console: Console,
    check_accessibility: Callable[[Page], Awaitable[None]],
) -> None:
    page = each_console.page
    await each_console.open("/ui/events?not_provider=okta&from=2023-01-01T00:00:00Z")
    await expect(page.get_by_role("region", name="By outcome")).to_be_visible()
    assert await is_within_width(page)
    await check_accessibility(page)
    await page.locator("a[data-drawer]").first.click()
    drawer = page.locator("#events-drawer")
    await expect(drawer).to_be_visible()
    await drawer.locator("summary", has_text="Why it is so").click()
    await expect(drawer.get_by_role("region", name="Which line made which field")).to_be_visible()
    assert await drawer.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    await check_accessibility(page)
    for path in ("/ui/events?user=nobody&outcome=failure", "/ui/events?from=soon", "/ui/events/searches?user=a"):
        await each_console.open(path)
        assert await is_within_width(page)
        await check_accessibility(page)
