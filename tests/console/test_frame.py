"""The console in a browser: moving about by keys, choosing zone and theme, keys and sessions, and what is hostile."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.console.conftest import AXE, Console, Visitor, seen, visiting
from tests.opened import Opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

Check = Callable[[Page], Awaitable[None]]
Screenshot = Callable[[Page, str], Awaitable[None]]
NUMBERS = itertools.count(1)
#: What somebody would have run in the browser of whoever looks.
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">'\"{{7*7}}\u202e\x1b[31m"


@pytest_asyncio.fixture(loop_scope="module")
async def key(console_service: Opened) -> AsyncIterator[str]:
    """The name of a key that has every limit."""
    name = f"siem-{next(NUMBERS)}"
    given = {"name": name, "permissions": ["read", "raw", "export"], "realms": ["acme", "keycloak/globex"]}
    async with console_service.session.post("/keys", json={**given, "expires": "90d"}) as response:
        assert response.status == 201
    yield name
    async with console_service.session.delete(f"/keys/{name}") as response:
        await response.read()


async def test_a_link_signs_a_person_in(browser: Browser, console_service: Opened, check_accessibility: Check) -> None:
    async with seen(browser, console_service, []) as one:
        await one.page.goto(await console_service.service.make_link())
        await check_accessibility(one.page)
        await one.page.get_by_role("button", name="Sign in").click()
        await expect(one.page.get_by_role("heading", level=1)).to_be_visible()
        await expect(one.page.locator(".who")).to_contain_text("admin")
        await one.page.get_by_role("button", name="Sign out", exact=True).click()
        await expect(one.page.get_by_role("heading", level=1)).to_have_text("Sign in")


async def test_a_key_signs_a_person_in(
    browser: Browser, console_service: Opened, check_accessibility: Check, screenshot: Screenshot
) -> None:
    for size, theme in (("desktop", "light"), ("phone", "dark")):
        async with seen(browser, console_service, [], size, theme) as one:
            await one.open("/ui/about")
            await check_accessibility(one.page)
            await screenshot(one.page, "sign-in")
            await one.page.get_by_label("Token of a key").fill("nobodys-token")
            await one.page.keyboard.press("Enter")
            await expect(one.page.get_by_role("alert")).to_contain_text("no token of a key that is known here")
            await one.page.get_by_label("Token of a key").fill(console_service.service.admin_token)
            await one.page.keyboard.press("Enter")
            await expect(one.page.get_by_role("heading", level=1)).to_have_text("About")


async def test_a_key_is_made_shown_once_and_revoked(console: Console) -> None:
    page = console.page
    await console.open("/ui/keys")
    await page.get_by_role("link", name="New key").click()
    await page.get_by_label("Name").fill("not a name")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_role("alert").filter(has_text="name:")).to_be_visible()
    await page.get_by_label("Name").fill("soc")
    await page.get_by_label("Ends").fill("90d")
    await page.get_by_label("raw see what").check()
    await page.get_by_label("Realms").fill("acme, keycloak/globex")
    await page.get_by_role("button", name="Make the key").click()
    token = await page.locator(".code code").inner_text()
    assert re.fullmatch(r"idpa_[\w-]{43}", token)
    status, _ = await console.service.get("/events", token=token)
    assert status == 200
    await page.get_by_role("link", name="All keys").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="soc", exact=True))
    await expect(row).to_contain_text("raw, read")
    await expect(row).to_contain_text("realms acme, keycloak/globex")
    assert token not in await page.content()
    await row.get_by_role("button", name="Revoke").click()
    await expect(page.get_by_text("Whoever uses soc is refused from now on.")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(row).to_be_visible()
    await row.get_by_role("button", name="Revoke").click()
    await page.get_by_role("form", name="Revoke").get_by_role("button", name="Revoke").click()
    await expect(row).to_have_count(0)
    status, _ = await console.service.get("/events", token=token)
    assert status == 401


async def test_it_works_without_scripts(
    browser: Browser, console_service: Opened, _cookies: list[dict[str, Any]]
) -> None:
    async with seen(browser, console_service, _cookies, java_script_enabled=False) as one:
        page = one.page
        await one.open("/ui/keys")
        await page.get_by_label("Theme").select_option("dark")
        await page.get_by_role("button", name="Set").click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await page.get_by_role("link", name="New key").click()
        name = f"plain-{next(NUMBERS)}"
        await page.get_by_label("Name").fill(name)
        await page.get_by_role("button", name="Make the key").click()
        await page.get_by_role("link", name="All keys").click()
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))
        await row.get_by_role("button", name="Revoke").click()
        await page.get_by_role("form", name="Revoke").get_by_role("button", name="Revoke").click()
        await expect(row).to_have_count(0)


async def test_times_are_in_the_readers_zone_or_in_utc_and_say_so(console: Console, key: str) -> None:
    page = console.page
    await console.open("/ui/keys")
    shown = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=key)).locator("time").first
    await expect(shown).to_contain_text("UTC")
    instant = await shown.get_attribute("datetime")
    await page.get_by_label("Times in").select_option("Europe/Berlin")
    await expect(shown).to_contain_text(re.compile("CES?T"))
    assert await shown.get_attribute("datetime") == instant
    assert page.url == f"{console.url}/ui/keys"
    await page.get_by_label("Times in").select_option("UTC")
    await expect(shown).to_contain_text("UTC")


async def test_the_theme_is_the_systems_or_ones_own(console: Console) -> None:
    page = console.page

    async def paper() -> str:
        return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))

    await console.open("/ui/about")
    light = await paper()
    await page.get_by_label("Theme").select_option("dark")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = await paper()
    assert dark != light
    await page.get_by_label("Theme").select_option("system")
    await expect(page.locator("html")).to_have_attribute("data-theme", "system")
    assert await paper() == light
    await page.emulate_media(color_scheme="dark")
    assert await paper() == dark


async def test_keys_lead_everywhere(console: Console, key: str) -> None:
    page = console.page
    await console.open("/ui/about")
    await page.keyboard.press("g")
    await page.keyboard.press("k")
    await page.wait_for_url("**/ui/keys")
    await page.keyboard.press("j")
    await expect(page.locator("tr[data-row]").first).to_be_focused()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_contain_text("next, previous row")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("abo")
    await expect(page.locator("#palette").get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui/about")
    # What is typed into a field is text.
    await console.open("/ui/keys/new")
    await page.get_by_label("Name").focus()
    await page.keyboard.type("ga?j/")
    await expect(page.get_by_label("Name")).to_have_value("ga?j/")
    assert page.url.endswith("/ui/keys/new")


async def test_the_palette_is_usable_for_everybody(console: Console, check_accessibility: Check) -> None:
    await console.open("/ui/about")
    await console.page.get_by_role("button", name="Go to").click()
    await expect(console.page.get_by_role("combobox", name="Go to")).to_be_focused()
    await check_accessibility(console.page)


async def test_a_view_is_told_as_commands(console: Console) -> None:
    await console.open("/ui/keys")
    await console.page.get_by_text("This view as a command").click()
    commands = await console.page.locator(".question code").all_inner_texts()
    assert commands == [
        "idp-adapter keys list --sessions",
        f'curl -H "Authorization: Bearer $TOKEN" {console.url}/keys',
        f'curl -H "Authorization: Bearer $TOKEN" {console.url}/sessions',
    ]


async def test_what_goes_wrong_is_a_page_in_the_frame(console: Console, check_accessibility: Check) -> None:
    response = await console.open("/ui/nothing")
    assert response.status == 404
    await expect(console.page.get_by_role("heading", level=1)).to_have_text("Not found")
    await expect(console.page.get_by_role("navigation", name="Sections")).to_be_visible()
    await check_accessibility(console.page)
    console.problems.clear()  # a browser says that there was a 404


async def test_a_part_of_a_page_comes_alone_and_so_does_what_is_wrong_with_it(visitor: Visitor) -> None:
    _, whole = await visitor.page("/ui/keys")
    _, part = await visitor.page("/ui/keys", **{"HX-Request": "true"})
    assert "<nav" in whole and "<nav" not in part and "<html" not in part
    assert "Signed in to these pages" in part
    headers = {"HX-Request": "true"}
    async with visitor.session.get("/ui/nothing", headers=headers) as response:
        assert (response.status, response.headers["HX-Retarget"]) == (404, "#problem")
        assert "<html" not in await response.text()


async def test_what_is_hostile_is_shown_and_does_nothing(
    console: Console, visitor: Visitor, console_service: Opened
) -> None:
    page = console.page
    # Whatever a form brings comes back escaped, and harmless.
    for field in ("name", "realms", "sources", "providers", "expires"):
        form = {"name": "x", "can": ["read"], field: HOSTILE}
        status, text = await visitor.send("/ui/keys/new", form)
        assert status == 400, text
        assert "<script>document" not in text and "<img src=x" not in text
        assert "\u202e" not in text and "\x1b" not in text
        assert "49" not in re.findall(r"&#34;(\d+)", text)
    for path in (f"/ui/{HOSTILE}", f"/ui/sign-in?next={HOSTILE}", f"/ui/sign-in/{HOSTILE}", f"/ui/keys?{HOSTILE}"):
        await page.goto(console.url + path.replace("#", "%23"))
        assert await page.title() != "run"
    # The name of who made a key comes from an issuer's token at worst.
    for path in ("/ui/keys", "/ui/about"):
        await console.open(path)
        assert await page.locator("main script, main img").count() == 0
    console.problems.clear()


async def test_a_limited_key_sees_its_own_sections_alone(console_service: Opened) -> None:
    given = {"name": f"acme-{next(NUMBERS)}", "permissions": ["read", "keys"], "realms": ["acme"]}
    async with console_service.session.post("/keys", json=given) as response:
        token = (await response.json())["token"]
    async with visiting(console_service) as limited:
        await limited.sign_in(token)
        status, text = await limited.page("/ui/about")
        assert (status, "realms acme" in text) == (200, True)
        assert '/ui/keys"' not in text and '/ui/sources"' not in text and '/ui/events"' in text
        # It has the permission, and its limits refuse it: in the API's words.
        status, text = await limited.page("/ui/keys")
        assert (status, "limited to realms acme" in text) == (403, True)
    async with console_service.session.delete(f"/keys/{given['name']}") as response:
        await response.read()


async def test_vendored_axe_is_what_was_published() -> None:

    listed = json.loads((AXE.parent / "vendor.json").read_text())[AXE.name]
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == listed["sha256"]
    assert AXE.read_text().startswith(f"/*! axe v{listed['version']}")


async def test_who_may_not_see_the_overview_begins_with_what_is_open(console_service: Opened) -> None:
    given = {"name": f"ops-{next(NUMBERS)}", "permissions": ["sinks"]}
    async with console_service.session.post("/keys", json=given) as response:
        token = (await response.json())["token"]
    async with visiting(console_service) as visitor:
        await visitor.sign_in(token)
        status, text = await visitor.page("/ui/")
        assert (status, "<h1" in text, "lacks the permission" in text) == (200, True, False)
    async with console_service.session.delete(f"/keys/{given['name']}") as response:
        await response.read()
