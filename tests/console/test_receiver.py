"""Links for a receiver's own people: what one lets them see and do, and nothing else; by scripts and in a browser."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientResponse, ClientSession, CookieJar
from playwright.async_api import Browser, Page, async_playwright, expect
from standardwebhooks import Webhook

from adapter.console.receiver import told_to_receiver
from adapter.sink_management.managing import make_private_key
from tests.console.hook import Hook, hooking
from tests.e2e.process import until
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS = itertools.count(1)
KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "keeper", "token": "keeper-token", "permissions": ["sinks"]},
]
#: What a hostile receiver would have run in the browser of whoever looks.
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">'\"{{7*7}}\u202e"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest_asyncio.fixture(loop_scope="module")
async def hook() -> AsyncIterator[Hook]:
    async with hooking() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder = tmp_path_factory.mktemp("data")
    sinks = [
        {"name": "copy", "kind": "file", "path": folder / "copy"},
        {"name": "set", "kind": "webhook", "url": "http://127.0.0.1:9/", "filter": {"type": "none.SUCH"}},
    ]
    async with opened(folder, outgoing={"allow": ["127.0.0.0/8"]}, keys=KEYS, sinks=sinks) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def service(one_service: Opened) -> AsyncIterator[Opened]:
    yield one_service
    for sink in (await one_service.get("/sinks"))[1]["sinks"]:
        if sink["managed"] == "api":
            await ask(one_service.session, "DELETE", f"/sinks/{sink['name']}?force=1")


async def ask(
    session: ClientSession, method: str, path: str, body: Any = None, *, status: int = 200, headers: Any = None
) -> Any:
    async with session.request(method, path, json=body, headers=headers) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text)


async def made(service: Opened, hook: Hook, name: str = "soc", **more: Any) -> dict[str, Any]:
    """A sink to the receiver, and a link to it."""
    given = {"name": name, "kind": "webhook", "url": f"http://127.0.0.1:{hook.port}/", "attempts": "all", **more}
    await ask(service.session, "POST", "/sinks", given, status=201)
    link: dict[str, Any] = await ask(service.session, "POST", f"/sinks/{name}/links", {"label": "SOC"}, status=201)
    return link


@asynccontextmanager
async def script(service: Opened, token: str) -> AsyncIterator[ClientSession]:
    """A script of the receiver's people."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    async with ClientSession(service.service.url, headers=headers) as session:
        yield session


@asynccontextmanager
async def visitor(service: Opened) -> AsyncIterator[ClientSession]:
    """A browser without a screen: it keeps cookies, and says where its forms come from."""
    jar = CookieJar(unsafe=True)
    headers = {**HTML, "Origin": service.service.url, "Sec-Fetch-Site": "same-origin"}
    async with ClientSession(service.service.url, headers=headers, cookie_jar=jar) as session:
        yield session


async def dead_event(service: Opened, hook: Hook, name: str = "soc") -> str:
    """The uid of an event that the receiver did not take."""
    hook.status, before = 422, hook.status
    [uid] = (await service.post([login(next(NUMBERS))]))["uids"]

    async def is_dead() -> bool:
        found = (await service.get(f"/sinks/{name}/dead"))[1]["dead"]
        return uid in [one["uid"] for one in found]

    await until(is_dead)
    hook.status = before
    return str(uid)


async def types_of(service: Opened, type: str) -> list[dict[str, Any]]:
    found = (await service.get("/events", type=type, order="log", limit="1000"))[1]["events"]
    return [one["details"] | {"username": one["authDetails"].get("username")} for one in found]


async def test_a_script_sees_how_it_stands_with_its_sink(service: Opened, hook: Hook) -> None:
    link = await made(service, hook, on_4xx="dead")
    [uid] = (await service.post([login(next(NUMBERS))]))["uids"]
    await until(lambda: len(hook.taken) == 1)
    dead = await dead_event(service, hook)
    async with script(service, link["token"]) as session:
        state = await ask(session, "GET", "/links/soc/")
        assert (state["sink"], state["state"], state["until"]) == ("soc", "running", link["expiresAt"])
        assert (state["counts"]["delivered"], state["counts"]["dead"]) == (1, 1)
        attempts = (await ask(session, "GET", "/links/soc/attempts"))["attempts"]
        assert [(one["uid"], one["outcome"], one["status"]) for one in attempts] == [
            (dead, "dead", 422),
            (uid, "delivered", 204),
        ]
        assert attempts[0]["durations"]["total"] is not None
        [one] = (await ask(session, "GET", "/links/soc/dead"))["dead"]
        assert (one["uid"], one["type"], one["reason"]) == (dead, "access.LOGIN", "the receiver answered 422")


async def test_pages_of_attempts_and_dead_ones_follow_each_other_without_a_place_of_the_log(
    service: Opened, hook: Hook
) -> None:
    link = await made(service, hook, on_4xx="dead", window=8)
    hook.status = 422
    uids = (await service.post([login(next(NUMBERS)) for _ in range(25)]))["uids"]

    async def are_dead() -> bool:
        return bool((await service.get("/sinks/soc/dead"))[1]["count"] == 25)

    await until(are_dead)
    async with script(service, link["token"]) as session:
        for what, member in (("attempts", "attempts"), ("dead", "dead")):
            found, cursor = [], ""
            while True:
                page = await ask(session, "GET", f"/links/soc/{what}?limit=4{cursor}")
                found += [one["uid"] for one in page[member]]
                assert not {"position", "last"} & set(page[member][0])
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
            assert sorted(found) == sorted(uids), what


async def test_it_lets_them_test_replace_the_secret_and_send_again(service: Opened, hook: Hook) -> None:
    link = await made(service, hook, on_4xx="dead")
    dead = await dead_event(service, hook)
    other = await dead_event(service, hook)
    async with script(service, link["token"]) as session:
        tested = await ask(session, "POST", "/links/soc/test")
        assert (tested["outcome"], tested["status"]) == ("delivered", 204)
        assert hook.types[-1] == "system.SINK-TEST"
        secret = (await ask(session, "POST", "/links/soc/rotate", {"overlap": "1h"}))["secret"]
        await ask(session, "POST", "/links/soc/resend", {"uid": dead})
        await until(lambda: len(hook.taken) == 4)
        Webhook(secret).verify(hook.taken[-1][1], dict(hook.taken[-1][0]))
        await ask(session, "POST", "/links/soc/replay", {}, status=202)
        await until(lambda: len(hook.taken) == 5)
        assert json.loads(hook.taken[-1][1])["uid"] == other

        async def is_done() -> bool:
            return bool((await ask(session, "GET", "/links/soc/"))["replay"]["state"] == "done")

        await until(is_done)
        replay = {"status": "delivered", "from": "1h", "to": "now"}
        await ask(session, "POST", "/links/soc/replay", replay, status=202)
        await until(lambda: len(hook.taken) == 7)
    id = link["id"]
    used = [one for one in await types_of(service, "system.SINK-LINK-USED") if one["link"] == id]
    assert [one["use"] for one in used] == ["test", "rotate", "resend", "replay", "replay"]
    assert {(one["sink"], one["label"], one["username"]) for one in used} == {("soc", "SOC", f"link {id}")}
    rotated = [one for one in await types_of(service, "system.CONFIG-SINK-ROTATED") if one["username"] == f"link {id}"]
    assert len(rotated) == 1


async def test_replaying_what_was_delivered_sends_nothing_that_the_sink_did_not_get(
    service: Opened, hook: Hook
) -> None:
    await service.post([login(next(NUMBERS))])
    link = await made(service, hook, filter={"client": ["account"]})
    [uid] = (await service.post([login(next(NUMBERS)), login(next(NUMBERS), clientId="other")]))["uids"][:1]
    await until(lambda: len(hook.taken) == 1)
    async with script(service, link["token"]) as session:
        await ask(session, "POST", "/links/soc/replay", {"status": "all", "from": "0"}, status=202)

        async def is_done() -> bool:
            return bool((await ask(session, "GET", "/links/soc/"))["replay"]["state"] == "done")

        await until(is_done)
    assert {json.loads(body)["uid"] for _, body in hook.taken} == {uid}


async def test_it_is_for_one_sink_and_for_nothing_else_of_the_service(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    other = await made(service, hook, "other", filter={"user": ["somebody"]})
    async with script(service, link["token"]) as session:
        for path in ("attempts", "dead", ""):
            await ask(session, "GET", f"/links/other/{path}", status=401)
        for path in ("/sinks", "/sinks/soc", "/sinks/soc/links", "/events", "/status", "/metrics"):
            await ask(session, "GET", path, status=401)
        for action in ("test", "rotate", "replay", "resend"):
            await ask(session, "POST", f"/links/other/{action}", {}, status=401)
        for action in ("pause", "resume"):
            await ask(session, "POST", f"/sinks/soc/{action}", status=401)
            await ask(session, "POST", f"/links/soc/{action}", {}, status=405)
        wrong: list[dict[str, Any]] = [{"filter": {}}, {"rate": 0}, {"status": "never"}]
        for body in wrong:
            await ask(session, "POST", "/links/soc/replay", body, status=400)
        told = json.dumps([await ask(session, "GET", f"/links/soc/{path}") for path in ("", "attempts", "dead")])
        assert not {"other", "somebody", "127.0.0.1", "whsec", "filter", "settings", "position"} & set(
            re.findall(r"[\w.]+", told)
        )
    assert other["id"] != link["id"]


@pytest.mark.parametrize("wrong", ["", "x", "{id}.", "{id}.x", "{id}", "0.{secret}", "{token}x", "é.{secret}"])
async def test_another_token_opens_nothing(service: Opened, hook: Hook, wrong: str) -> None:
    link = await made(service, hook)
    id, _, secret = link["token"].partition(".")
    token = wrong.format(id=id, secret=secret, token=link["token"])
    headers = {"Authorization": f"Bearer {token}".encode().decode("latin-1"), "Accept": "application/json"}
    async with ClientSession(service.service.url) as session:
        await ask(session, "GET", "/links/soc/", status=401, headers=headers)
        async with session.get(f"/links/soc/{token or 'x'}", headers=HTML, allow_redirects=False) as response:
            assert response.status == 401
            assert "Set-Cookie" not in response.headers


async def test_a_link_ends_when_it_is_revoked(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with visitor(service) as browser, script(service, link["token"]) as session:
        assert (await opened_by(browser, link)).status == 200
        [listed] = (await ask(service.session, "GET", "/sinks/soc/links"))["links"]
        assert (listed["id"], listed["label"], listed["createdBy"]) == (link["id"], "SOC", "admin")
        assert "token" not in listed
        await ask(service.session, "DELETE", f"/sinks/soc/links/{link['id']}")
        await ask(session, "GET", "/links/soc/", status=401)
        async with browser.get("/links/soc/") as response:
            assert response.status == 401
        assert (await ask(service.session, "GET", "/sinks/soc/links"))["links"] == []
        await ask(service.session, "DELETE", f"/sinks/soc/links/{link['id']}", status=404)
    for what in ("CREATED", "REVOKED"):
        assert link["id"] in [one["link"] for one in await types_of(service, f"system.CONFIG-SINK-LINK-{what}")]


async def test_a_link_ends_with_its_sink_also_if_another_one_gets_the_name(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with script(service, link["token"]) as session:
        await ask(service.session, "DELETE", "/sinks/soc?force=1")
        await ask(session, "GET", "/links/soc/", status=401)
        await made(service, hook)
        await ask(session, "GET", "/links/soc/", status=401)
        assert len((await ask(service.session, "GET", "/sinks/soc/links"))["links"]) == 1


async def test_a_link_rests_while_its_sink_has_another_address(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with script(service, link["token"]) as session:
        await ask(service.session, "PATCH", "/sinks/soc", {"url": f"{hook.url}other"})
        assert (await ask(service.session, "GET", "/sinks/soc/links"))["links"] == []
        await ask(session, "GET", "/links/soc/", status=401)
        await ask(service.session, "PATCH", "/sinks/soc", {"url": hook.url})
        assert [one["id"] for one in (await ask(service.session, "GET", "/sinks/soc/links"))["links"]] == [link["id"]]
        await ask(session, "GET", "/links/soc/")


async def test_there_are_no_links_of_a_sink_that_is_none(service: Opened) -> None:
    found = await ask(service.session, "GET", "/sinks/nobody/links", status=404)
    assert found["detail"].startswith("There is no sink 'nobody'; there are: ")


async def test_who_manages_sinks_makes_links_for_a_time_that_is_bounded(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    assert link["expiresAt"] - link["createdAt"] == 7 * 86_400_000
    make = "/sinks/soc/links"
    long = await ask(service.session, "POST", make, {"expires_in": "90d"}, status=201)
    assert long["expiresAt"] - long["createdAt"] == 90 * 86_400_000
    for body in ({"expires_in": "91d"}, {"expires_in": 0}, {"expires_in": "soon"}, {"label": "x" * 101}, {"x": 1}):
        await ask(service.session, "POST", make, body, status=400)
    await ask(service.session, "POST", "/sinks/nobody/links", {}, status=404)
    await ask(service.session, "POST", "/sinks/copy/links", {}, status=409)
    reader = {"Authorization": "Bearer reader-token"}
    await ask(service.session, "POST", make, {}, status=403, headers=reader)
    await ask(service.session, "GET", make, status=403, headers=reader)
    for _ in range(18):
        await ask(service.session, "POST", make, {}, status=201)
    await ask(service.session, "POST", make, {}, status=409)


async def test_a_sink_of_the_settings_has_links_and_no_secret_to_replace(service: Opened) -> None:
    link = await ask(service.session, "POST", "/sinks/set/links", {}, status=201)
    async with script(service, link["token"]) as session:
        assert (await ask(session, "GET", "/links/set/"))["canRotate"] is False
        await ask(session, "POST", "/links/set/rotate", {}, status=409)
        tested = await ask(session, "POST", "/links/set/test", {})
        assert (tested["outcome"], tested["answer"]) == (
            "later", "held back on the sender's side, whose operators know more",
        )  # fmt: skip
    await ask(service.session, "DELETE", f"/sinks/set/links/{link['id']}")


async def test_a_link_does_so_many_things_a_minute(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with script(service, link["token"]) as session:
        statuses = []
        for _ in range(32):
            async with session.post("/links/soc/test") as response:
                statuses.append(response.status)
        assert statuses == [200] * 30 + [429] * 2
        await ask(session, "GET", "/links/soc/")
    used = [one for one in await types_of(service, "system.SINK-LINK-USED") if one["link"] == link["id"]]
    assert len(used) == 30


async def test_no_more_than_some_replaced_secrets_sign(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with script(service, link["token"]) as session:
        for _ in range(8):
            await ask(service.session, "POST", "/sinks/soc/rotate", {})
        await ask(session, "POST", "/links/soc/rotate", {}, status=409)
        assert (await ask(session, "POST", "/links/soc/rotate", {"overlap": "0"}))["oldUntil"] is None


async def test_a_link_replaces_a_secret_once_in_a_while(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with script(service, link["token"]) as session:
        await ask(session, "POST", "/links/soc/rotate", {})
        refused = await ask(session, "POST", "/links/soc/rotate", {}, status=429)
    assert "less than 10 minutes ago" in refused["detail"]


async def test_a_link_is_no_way_to_a_private_key(service: Opened, hook: Hook) -> None:
    link = await made(service, hook, secret=make_private_key())
    async with script(service, link["token"]) as session:
        assert "whsk_" not in json.dumps(await ask(session, "POST", "/links/soc/rotate", {}, status=409))


async def test_a_link_ends_when_its_sink_gets_another_receiver(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with script(service, link["token"]) as session:
        await ask(session, "GET", "/links/soc/")
        await ask(service.session, "PATCH", "/sinks/soc", {"url": f"http://127.0.0.1:{hook.port}/another"})
        await ask(session, "GET", "/links/soc/", status=401)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("the receiver answered 503", "the receiver answered 503"),
        ("no answer within 15 s", "no answer within 15 s"),
        ("cannot connect: [Errno 111] Connect call failed ('10.1.2.3', 443)", "no connection could be made"),
        ("the proxy answered 407; it wants other proxy_user and proxy_password", "no connection could be made"),
        ("its certificate is not accepted: expired; ca_file names …", "its certificate is not accepted: expired"),
        ("blocked: 10.1.2.3 is in 10.0.0.0/8", "held back on the sender's side, whose operators know more"),
        ("no token from id.corp.internal: invalid_client", "held back on the sender's side, whose operators know more"),
    ],
)
async def test_answers_are_told_without_a_word_of_the_network(said: str, told: str) -> None:
    assert told_to_receiver(said) == told


# In a browser

CSRF = re.compile(r'name="csrf" value="([^"]+)"')


async def opened_by(browser: ClientSession, link: Mapping[str, Any]) -> ClientResponse:
    """The page to which a link leads."""
    async with browser.get(link["url"]) as response:
        await response.read()
        return response


async def test_the_token_leaves_the_address_for_a_cookie_that_scripts_and_other_sites_cannot_use(
    service: Opened, hook: Hook
) -> None:
    link = await made(service, hook)
    async with visitor(service) as browser:
        async with browser.get(link["url"], allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "./")
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Path" not in cookie
        assert link["token"].partition(".")[2] not in cookie
        page = await opened_by(browser, link)
        assert link["token"] not in str(page.url)
        assert link["token"] not in await page.text()
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        # A cookie is no token.
        value = cookie.partition("=")[2].partition(";")[0]
        async with script(service, value) as session:
            await ask(session, "GET", "/links/soc/", status=401)
        async with browser.get(link["url"], allow_redirects=False, headers={"X-Forwarded-Proto": "https"}) as response:
            assert "Secure" in response.headers["Set-Cookie"]


async def test_a_form_counts_from_its_own_page_alone(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with visitor(service) as browser:
        text = await (await opened_by(browser, link)).text()
        csrf = CSRF.findall(text)[0]
        evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        for form, headers in (
            ({"csrf": csrf}, evil),
            ({"csrf": csrf}, {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-site"}),
            ({"csrf": csrf}, {"Origin": "null", "Sec-Fetch-Site": "none"}),
            ({"csrf": "x"}, {}),
            ({}, {}),
        ):
            async with browser.post("/links/soc/test", data=form, headers=headers) as response:
                assert response.status == 403, (form, headers)
        jar = browser.cookie_jar.filter_cookies(browser._base_url / "links/soc/")  # type: ignore[operator]
        async with ClientSession(service.service.url, cookies=jar) as bare:
            for headers, status in (
                ({}, 403),
                ({"Origin": "https://evil.example"}, 403),
                ({"Origin": service.service.url}, 200),
                ({"Origin": "https://adapter.example", "X-Forwarded-Host": "adapter.example"}, 200),
            ):
                async with bare.post("/links/soc/test", data={"csrf": csrf}, headers=headers | HTML) as response:
                    assert response.status == status, headers
        assert hook.types == ["system.SINK-TEST"] * 2


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


async def hostile_sink(service: Opened, hook: Hook) -> dict[str, Any]:
    """A sink whose receiver and events try to run something in each field that is shown."""
    hook.status, hook.text = 404, HOSTILE
    hook.headers = {"Location": HOSTILE.replace("\u202e", "")}
    link = await made(service, hook, on_4xx="dead", retry=[0.01])
    await service.post([login(next(NUMBERS), clientId=HOSTILE, error=HOSTILE)])

    async def count(number: int) -> bool:
        return bool((await service.get("/sinks/soc"))[1]["counts"]["dead"] == number)

    await until(lambda: count(1))
    hook.status = 302
    await service.post([login(next(NUMBERS))])
    await until(lambda: count(2))
    return link


async def test_nothing_foreign_becomes_part_of_a_page(service: Opened, hook: Hook) -> None:
    link = await hostile_sink(service, hook)
    async with visitor(service) as browser:
        text = await (await opened_by(browser, link)).text()
        csrf = CSRF.findall(text)[0]
        pages = [text]
        for path in ("attempts", "dead", f"attempts?cursor={HOSTILE}", f"dead?cursor={HOSTILE}", f"dead?{HOSTILE}=1"):
            async with browser.get(f"/links/soc/{path}") as response:
                # A parameter that there is not is told as a problem document, which no browser takes for a page.
                is_page = response.content_type == "text/html"
                assert is_page or response.content_type == "application/problem+json"
                pages += [await response.text()] if is_page else []
        for path, form in (("test", {}), ("replay", {"status": HOSTILE}), ("replay", {"from": HOSTILE})):
            async with browser.post(f"/links/soc/{path}", data={"csrf": csrf, **form}) as response:
                pages.append(await response.text())
        async with browser.get("/links/soc/<script>alert(1)</script>") as response:
            pages.append(await response.text())
    assert len(pages) == 9
    assert "&lt;script&gt;" in pages[1]
    assert "&lt;script&gt;" in pages[3]
    for page in pages:
        found = Tags(page)
        assert not {"script", "img", "iframe", "object", "base", "link", "svg"} & found.tags, page
        assert not [name for name in found.attributes if name.startswith("on") or name in ("src", "style")], page
        assert "\u202e" not in page
        assert "49" not in re.findall(r"'&#34;(\d+)", page)


async def test_what_is_done_by_a_form_leads_back_when_it_is_loaded_again(service: Opened, hook: Hook) -> None:
    link = await made(service, hook)
    async with visitor(service) as session:
        async with session.get(link["url"]) as response:
            assert response.status == 200
        for deed in ("test", "rotate", "replay", "resend"):
            async with session.get(f"/links/soc/{deed}") as response:
                assert (response.status, response.url.path) == (200, "/links/soc/")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def seen(chromium: Browser, width: int, **how: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page without scripts, and what it asks for."""
    viewport = {"width": width, "height": 800}
    context = await chromium.new_context(viewport=viewport, java_script_enabled=False, **how)  # type: ignore[arg-type]
    page = await context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page, asked
    await context.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
async def test_people_do_their_jobs_in_a_browser_without_scripts(
    service: Opened, hook: Hook, chromium: Browser, width: int, scheme: str, tmp_path: Path
) -> None:
    link = await made(service, hook, on_4xx="dead")
    dead = await dead_event(service, hook)
    async with seen(chromium, width, color_scheme=scheme) as (page, asked):
        await page.goto(link["url"])
        assert page.url == f"{service.service.url}/links/soc/"
        await expect(page.get_by_role("heading", level=1)).to_have_text("Webhook soc")
        await page.get_by_role("button", name="Send a test event").click()
        await expect(page.get_by_role("status")).to_contain_text("delivered")
        await page.get_by_role("link", name="Back").click()
        await page.get_by_role("button", name="Replace the secret").click()
        secret = await page.locator(".secret").inner_text()
        await page.get_by_role("link", name="Attempts").click()
        await expect(page.locator("tbody tr")).to_have_count(1)
        await expect(page.locator("tbody")).to_contain_text("the receiver answered 422")
        assert await width_of(page) <= width
        await page.screenshot(path=tmp_path / "attempts.png")
        await page.get_by_role("link", name="Dead letters").click()
        await expect(page.locator("tbody")).to_contain_text(dead)
        assert await width_of(page) <= width
        await page.get_by_role("button", name=f"Send again {dead}").click()
        await until(lambda: len(hook.taken) == 3)
        Webhook(secret).verify(hook.taken[-1][1], dict(hook.taken[-1][0]))
        await page.get_by_role("link", name="State").click()
        await page.get_by_label("delivered", exact=True).check()
        # By keys alone.
        await page.get_by_label("delivered", exact=True).focus()
        await page.keyboard.press("Enter")
        await until(lambda: len(hook.taken) == 4)
        assert page.url == f"{service.service.url}/links/soc/"
        assert await width_of(page) <= width
        assert {url.partition("/links/")[0] for url in asked} == {service.service.url}


async def width_of(page: Page) -> int:
    """How far the widest part of a page reaches: measured from outside, as it runs no script."""
    found = 0.0
    for one in await page.locator("main *, header *").all():
        box = await one.bounding_box()
        if box is not None and box["height"] > 1 and box["x"] > -100:
            found = max(found, box["x"] + box["width"])
    return int(found)


async def test_nothing_foreign_runs_in_a_browser(service: Opened, hook: Hook, chromium: Browser) -> None:
    link = await hostile_sink(service, hook)
    context = await chromium.new_context()
    page = await context.new_page()
    said: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    await page.goto(link["url"])
    for path in ("attempts", "dead", "attempts?cursor=%3Cscript%3Edocument.title=1%3C/script%3E", "%3Cscript%3E"):
        await page.goto(f"{service.service.url}/links/soc/{path}")
        assert await page.title() != "run"
        assert await page.locator("script, img").count() == 0
    assert said == []
    assert await page.evaluate("document.cookie") == ""
    await context.close()


@pytest.mark.parametrize(
    ("server", "headers", "begin"),
    [
        ({"public_url": "https://adapter.example/idp/"}, {}, "https://adapter.example/idp/links/soc/"),
        ({}, {"X-Forwarded-Proto": "https", "Host": "adapter.example"}, "https://adapter.example/links/soc/"),
    ],
    ids=["said", "asked by"],
)
async def test_a_link_begins_with_the_address_of_the_service_for_others(
    tmp_path: Path, server: dict[str, str], headers: dict[str, str], begin: str
) -> None:
    given = {"name": "soc", "kind": "webhook", "url": "https://soc.example/"}
    async with opened(tmp_path, server=server) as service:
        await ask(service.session, "POST", "/sinks?paused=1", given, status=201)
        link = await ask(service.session, "POST", "/sinks/soc/links", {}, status=201, headers=headers)
        assert link["url"].startswith(begin)
