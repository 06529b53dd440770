"""The playground as people use it, in a real browser: while one types, by the keyboard, over what others save."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Dialog, Page, Route, expect

from tests.api.author import post
from tests.api.test_saving import ask, tag
from tests.console.conftest import Console, is_within_width
from tests.mapping.acme import MAPPING, RAW, write_example, write_table
from tests.opened import Opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>\u202e"
TRIED = "#tried"

# A trial starts a process of its own, which takes its time on a machine that has much to do.
expect.set_options(timeout=60_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("own")
    write_table(folder)
    write_example(folder)
    return {
        "mappings": {"path": [folder], "look_every": 0, "writable": True},
        "sources": [
            {"name": name, "provider": name, "token": f"{name}-token"} for name in ("acme", "keycloak", "onewelcome")
        ],
    }


@pytest_asyncio.fixture(loop_scope="module")
async def acme(console_service: Opened, console_settings: dict[str, Any]) -> AsyncIterator[Opened]:
    """The service, with the table as each test expects it, and something quarantined."""
    [folder] = console_settings["mappings"]["path"]
    write_table(folder)
    write_example(folder)
    await console_service.service.tables.reload(["acme"], force=True)
    await console_service.post([RAW, {"id": "peek-1", "kind": "peek", "user": HOSTILE}], source="acme")
    yield console_service


async def write(page: Page, editor: str, text: str) -> None:
    """Type at the end of an editor, as a person does."""
    await page.locator(f"[data-editor-of={editor}] .cm-content").click()
    await page.keyboard.press("Control+End")
    await page.keyboard.type(text)


async def put(page: Page, editor: str, text: str) -> None:
    """Paste a text in place of an editor's own."""
    await page.locator(f"[data-editor-of={editor}] .cm-content").click()
    await page.keyboard.press("Control+a")
    await page.keyboard.insert_text(text)


async def in_editor(page: Page, editor: str) -> str:
    script = "editor => document.querySelector(`[data-editor-of=${editor}]`).view.state.doc.toString()"
    return str(await page.evaluate(script, editor))


async def test_a_quarantined_type_is_fixed_in_the_playground_and_becomes_an_event(
    console: Console, acme: Opened, console_settings: dict[str, Any]
) -> None:
    page = console.page
    await console.open("/ui/quarantine?provider=acme")
    await page.get_by_role("article", name="peek").get_by_role("link", name="Try in the playground").click()
    await expect(page.locator("[data-editor-of=mapping] .cm-content")).to_be_visible()
    assert (await in_editor(page, "mapping")).rstrip().endswith("peek: {type: }")
    # The row is still to be decided; the editor says so at its line.
    await expect(page.locator(f"{TRIED} [data-finding]").first).to_contain_text("types.peek")
    await expect(page.locator("[data-editor-of=mapping] .cm-lintRange-error").first).to_be_attached()

    await put(page, "mapping", MAPPING + "  peek: {type: USER_INFO_REQUEST}\n")
    await expect(page.locator(TRIED)).to_contain_text("access.USER_INFO_REQUEST")
    await page.get_by_role("button", name="Make an example").click()
    await expect(page.locator("[data-files]")).to_have_value("examples/arrived.yaml")

    await page.get_by_role("button", name="Review and save").click()
    review = page.locator("#review")
    await expect(review).to_contain_text("Examples that expect otherwise")
    await review.get_by_role("button", name="Compare").click()
    await expect(page.locator("#stored")).to_contain_text("without an event would be events")
    await review.get_by_role("button", name="Save").click()
    await expect(review).to_contain_text("The table is in use")
    [folder] = console_settings["mappings"]["path"]
    assert "peek" in (folder / "acme" / "mapping.yaml").read_text()
    assert "access.USER_INFO_REQUEST" in (folder / "acme" / "examples" / "arrived.yaml").read_text()

    await review.get_by_role("button", name="Read them again").click()
    await expect(page.locator("#renormalization .state")).to_have_text("done")
    _, found = await acme.get("/events", type="access.USER_INFO_REQUEST", source="acme")
    assert [one["id"] for one in found["events"]] == ["peek-1"]
    (folder / "acme" / "examples" / "arrived.yaml").unlink()


async def test_the_editor_offers_types_reasons_and_words(console: Console, acme: Opened) -> None:
    page = console.page
    await console.open("/ui/mappings/acme/edit?example=0")
    await write(page, "mapping", "  out: {type: IMPERSO")
    option = page.locator("[data-editor-of=mapping] .cm-tooltip-autocomplete [role=option]")
    await expect(option.first).to_have_text("IMPERSONATE")
    await option.first.click()
    await page.keyboard.type(", rea")
    await expect(option.first).to_contain_text("reason")
    await option.first.click()
    await page.keyboard.type("bad_cred")
    await expect(option.first).to_have_text("bad_credentials")
    await option.first.click()
    assert "out: {type: IMPERSONATE, reason: bad_credentials" in await in_editor(page, "mapping")


#: A text up to the cursor: the keys that lead there (* in a list), whether a key begins there, and what is typed.
PLACES: list[tuple[str, tuple[list[str], bool, str] | None]] = [
    ("pro", ([], True, "pro")),
    ("provider: a\nty", ([], True, "ty")),
    ("unknown: qu", (["unknown"], False, "qu")),
    ("types:\n  in: {type: LO", (["types", "in", "type"], False, "LO")),
    ("types:\n  in: {ty", (["types", "in"], True, "ty")),
    ("types:\n  in: {type: LOGIN, # why\n  rea", (["types", "in"], True, "rea")),
    ("types:\n  in:\n    - {when: {actor: hu", (["types", "in", "*", "when", "actor"], False, "hu")),
    ("types:\n  in:\n  - type: LO", (["types", "in", "*", "type"], False, "LO")),
    ("types:\n  in: {type: LOGIN}\n  'a: b': {reason: ", (["types", "a: b", "reason"], False, "")),
    ("fields:\n  time: {path: at}\n  auth", (["fields"], True, "auth")),
    ("auth: [be", (["auth", "*"], False, "be")),
    ("types:\n  in: {type: LOGIN} # wh", None),
    ("# pro", None),
]


async def test_the_editor_knows_where_in_the_table_one_writes(console: Console, acme: Opened) -> None:
    await console.open("/ui/mappings/acme/edit?example=0")
    script = "async text => (await import(document.getElementById('playground').dataset.completion)).whereIs(text)"
    for text, place in PLACES:
        found = await console.page.evaluate(script, text)
        assert (found and (found["path"], found["isKey"], found["typed"])) == place, text


async def test_an_error_stands_at_its_line_and_goes_when_it_is_mended(console: Console, acme: Opened) -> None:
    page = console.page
    await console.open("/ui/mappings/acme/edit?example=0")
    await expect(page.locator(TRIED)).to_contain_text("access.LOGIN")
    await put(page, "mapping", MAPPING + "  out: {typo: LOGOUT}\n")
    await expect(page.locator(f"{TRIED} [data-finding]").first).to_contain_text("typo")
    mark = page.locator("[data-editor-of=mapping] .cm-lintRange-error")
    await expect(mark).to_contain_text("typo")
    await put(page, "mapping", MAPPING)
    await expect(page.locator(TRIED)).to_contain_text("access.LOGIN")
    await expect(mark).to_have_count(0)


async def test_an_answer_about_an_older_text_is_dropped(console: Console, acme: Opened) -> None:
    page = console.page
    await console.open("/ui/mappings/acme/edit?example=0")
    await expect(page.locator(TRIED)).to_contain_text("access.LOGIN")
    held, came = asyncio.Event(), asyncio.Event()
    shown: list[str] = []

    async def late(route: Route) -> None:
        await page.unroute("**/edit", late)
        came.set()
        await held.wait()
        headers = {"Vary": "HX-Request"}
        await route.fulfill(headers=headers, content_type="text/html", body="<p>an answer of yesterday</p>")

    await page.expose_function("note", lambda text: shown.append(text))
    await page.evaluate("new MutationObserver(() => note(tried.textContent)).observe(tried, {childList: true})")
    await page.route("**/edit", late)
    await write(page, "mapping", "# one\n")
    await came.wait()
    await put(page, "mapping", MAPPING.replace("LOGIN", "LOGOUT"))
    held.set()
    await expect(page.locator(TRIED)).to_contain_text("access.LOGOUT")
    assert shown
    assert not [text for text in shown if "yesterday" in text]


async def test_a_service_that_is_gone_leaves_what_was_written(console: Console, acme: Opened) -> None:
    page = console.page
    await console.open("/ui/mappings/acme/edit?example=0")
    await expect(page.locator(TRIED)).to_contain_text("access.LOGIN")

    async def gone(route: Route) -> None:
        await route.abort()

    await page.route("**/edit", gone)
    await put(page, "mapping", MAPPING + "# mine\n")
    await expect(page.locator("#problem")).to_contain_text("what you wrote is still here")
    assert "# mine" in await in_editor(page, "mapping")
    await page.unroute("**/edit", gone)

    answered = asyncio.Event()

    async def proxied(route: Route) -> None:
        await route.fulfill(status=502, content_type="text/html", body="<title>502</title><h1>Bad gateway</h1>")
        answered.set()

    await page.route("**/edit", proxied)
    await write(page, "mapping", "# and mine\n")
    await answered.wait()
    await expect(page.locator("[data-busy]")).to_have_text("")
    await expect(page.locator("#problem")).to_contain_text("what you wrote is still here")
    assert "Bad gateway" not in await page.content()
    await page.unroute("**/edit", proxied)
    await write(page, "mapping", "# more\n")
    await expect(page.locator("#problem")).to_be_empty()


async def test_what_somebody_else_saved_meanwhile_is_shown_before_it_is_overwritten(
    console: Console, acme: Opened, console_settings: dict[str, Any]
) -> None:
    page = console.page
    await console.open("/ui/mappings/acme/edit?example=0")
    await put(page, "mapping", MAPPING + "  mine: {type: LOGOUT}\n")
    await page.keyboard.press("Control+s")
    await expect(page.locator("#review")).to_contain_text("What saving would do")
    # What is saved is what was looked at.
    await write(page, "mapping", "# more\n")
    await expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    await page.keyboard.press("Control+s")
    await expect(page.get_by_role("button", name="Save", exact=True)).to_be_enabled()
    theirs = {"mapping": MAPPING + "  theirs: {type: LOGOUT}\n"}
    assert (await ask(acme, "PUT", "/mappings/acme", theirs, await tag(acme)))[0] == 200
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("#review .diff")).to_contain_text("theirs")
    await page.get_by_role("button", name="Keep mine, over theirs").click()
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("#review")).to_contain_text("The table is in use")
    [folder] = console_settings["mappings"]["path"]
    assert "mine" in (folder / "acme" / "mapping.yaml").read_text()


async def test_what_is_written_while_a_review_is_under_way_is_not_saved_by_it(console: Console, acme: Opened) -> None:
    page = console.page
    await console.open("/ui/mappings/acme/edit?example=0")
    await put(page, "mapping", MAPPING + "  mine: {type: LOGOUT}\n")
    await expect(page.locator("#checked")).to_contain_text(re.compile("."))
    held, came = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        if "act=review" in (route.request.post_data or ""):
            came.set()
            await held.wait()
        await route.continue_()

    await page.route("**/edit", late)
    await page.keyboard.press("Control+s")
    await came.wait()
    await write(page, "mapping", "# more\n")
    held.set()
    await expect(page.locator("#review")).to_contain_text("What saving would do")
    await expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    await expect(page.locator("#review [data-outdated]")).to_be_visible()
    await page.unroute_all(behavior="wait")


async def test_leaving_with_what_is_not_saved_asks(console: Console, acme: Opened) -> None:
    page = console.page
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    await console.open("/ui/mappings/acme/edit?example=0")
    await expect(page.locator("[data-editor-of=mapping] .cm-content")).to_be_visible()
    await write(page, "mapping", "# mine\n")
    page.on("dialog", stay)
    await page.get_by_role("link", name="The table of acme").click()
    await expect(page).to_have_url(f"{console.url}/ui/mappings/acme/edit?example=0")
    assert asked == ["beforeunload"]
    assert "# mine" in await in_editor(page, "mapping")
    # What is as it was may be left.
    await put(page, "mapping", MAPPING)
    await page.get_by_role("link", name="The table of acme").click()
    await expect(page).to_have_url(f"{console.url}/ui/mappings/acme")


async def test_it_works_by_the_keyboard(console: Console, acme: Opened) -> None:
    page = console.page
    await console.open("/ui/mappings/acme/edit?example=0")
    await page.locator("[data-editor-of=samples] .cm-content").focus()
    await page.keyboard.press("Control+End")
    # The keys of the console are letters here.
    await page.keyboard.type("\n?/jk")
    assert (await in_editor(page, "samples")).endswith("?/jk")
    assert await page.locator("dialog[open]").count() == 0
    # Tab leaves the editor, and comes to the next one.
    for _ in range(3):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.dataset.editorOf ?? ''")
        if focused == "mapping":
            break
    assert focused == "mapping"
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(TRIED)).to_contain_text("quarantined")
    await page.keyboard.press("Control+s")
    await expect(page.locator("#review")).to_contain_text("What saving would do")


async def test_hostile_samples_are_text(console: Console, acme: Opened) -> None:
    page = console.page
    receipts = await acme.post({"id": HOSTILE, "kind": HOSTILE, "user": HOSTILE}, source="acme")
    uid = receipts["uids"][0]
    edit = f"/ui/mappings/acme/edit?uid={uid}"
    for path in ("/ui/quarantine?provider=acme", f"/ui/quarantine/{uid}", edit, "/ui/mappings/acme"):
        await console.open(path)
        await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        if path == edit:
            await expect(page.locator(TRIED)).to_contain_text("onerror")
            # Marks of writing direction are shown for what they are in the editor, too.
            await expect(page.locator("[data-editor-of=samples] .cm-specialChar").first).to_be_visible()
        assert await page.evaluate("window.hacked") is None
        assert await page.evaluate("document.querySelectorAll('main img, main script').length") == 0


async def test_the_policy_of_the_page_holds(console: Console, acme: Opened) -> None:
    page = console.page
    await page.add_init_script(
        "window.broken = []; document.addEventListener('securitypolicyviolation',"
        " (event) => window.broken.push(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample))"
    )
    await console.open("/ui/mappings/acme/edit?example=0")
    await write(page, "mapping", "  out: {type: LOG")
    await expect(page.locator("[data-editor-of=mapping] .cm-tooltip-autocomplete")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+f")
    await expect(page.locator("[data-editor-of=mapping] .cm-search")).to_be_visible()
    assert await page.evaluate("window.broken") == []
    # The editor has its style all the same.
    shown = await page.evaluate(
        "getComputedStyle(document.querySelector('[data-editor-of=mapping]').shadowRoot.querySelector('.cm-editor')).display"
    )
    assert shown == "flex"


async def test_quarantine_shows_how_far_it_is_and_then_what_is_left(
    console: Console, acme: Opened, console_settings: dict[str, Any]
) -> None:
    page = console.page
    await acme.post([{"id": "later-1", "kind": "later"}], source="acme")
    await console.open("/ui/quarantine?provider=acme&native_type=later")
    group = page.get_by_role("article", name="later")
    await group.get_by_role("button", name="What would become of them?").click()
    await expect(page.locator("#renormalization")).to_contain_text("Still quarantined")
    [folder] = console_settings["mappings"]["path"]
    write_table(folder, MAPPING + "  later: {type: LOGOUT}\n")
    assert (await post(acme, "/mappings/acme/reload"))[0] == 200
    await expect(page.locator("#renormalization .state")).to_have_text("done")
    await group.get_by_role("button", name="Read them again").click()
    await expect(page.locator("#renormalization")).to_contain_text("Became events")
    await expect(page.locator("#groups")).to_contain_text("Nothing of that is quarantined")


async def test_rows_are_found_while_one_types_and_the_address_says_it(console: Console, acme: Opened) -> None:
    page = console.page
    await console.open("/ui/mappings/okta")
    await page.keyboard.press("/")
    await page.keyboard.type("group.user_membership.add")
    await expect(page.locator("#rows tbody th").first).to_have_text("group.user_membership.add")
    await expect(page).to_have_url(re.compile("q=group.user_membership.add"))
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    assert "group.user_membership.add" in await page.evaluate("document.activeElement.textContent")


@pytest.mark.parametrize(
    "path",
    ["/ui/mappings/keycloak/examples?q=LOGIN_ERROR", "/ui/mappings/acme/file", "/ui/mappings/acme/edit?example=0"],
)
async def test_each_page_is_good_for_everybody_at_each_size_in_each_theme(
    each_console: Console,
    acme: Opened,
    check_accessibility: Callable[[Page], Awaitable[None]],
    screenshot: Callable[[Page, str], Awaitable[None]],
    path: str,
) -> None:
    page = each_console.page
    response = await each_console.open(path)
    assert response.status == 200
    is_playground = path.endswith("/edit?example=0")
    if is_playground:
        await expect(page.locator(TRIED)).to_contain_text("access.LOGIN")
        await page.get_by_role("button", name="Review and save").click()
        await expect(page.locator("#review")).to_contain_text("What saving would do")
    await check_accessibility(page)
    assert await is_within_width(page)
    if is_playground:
        await page.evaluate("scrollTo(0, 0)")
        await screenshot(page, "playground")
