"""The page People: who is known, what one of them did, where each number leads, and who sees none of it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.console.conftest import Console, Visitor, visiting
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALICE, BOB, EVE = (f"11111111-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
NAMES = {ALICE: "alice@acme.example", BOB: "bob", EVE: "bob"}
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">'\"\u202e\x1b[2J"
SOURCES = [{"name": name, "provider": "keycloak"} for name in ("keycloak", "shop")]
KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "of-shop", "token": "of-shop-token", "permissions": ["read", "people"], "sources": ["shop"]},
]
#: The hour in which Alice did all she did.
AT = 1_700_000_000_000
HOUR = 3_600_000


def did(second: int, user: str, type: str = "LOGIN", **changes: Any) -> dict[str, Any]:
    """What somebody did so many seconds after the beginning."""
    failed = {"error": "invalid_user_credentials", "sessionId": None} if type == "LOGIN_ERROR" else {}
    details = {"username": NAMES.get(user, user), "browser": "Firefox", "os": "Linux"}
    return login(second, **{"type": type, "userId": user, "details": details, **failed, **changes})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    """Two sources; Alice has an account at both, and the second Bob the first one's id at the other."""
    hostile = {"username": HOSTILE, "browser": HOSTILE, "city": HOSTILE}
    at_keycloak = [
        did(1, ALICE, "LOGIN_ERROR", ipAddress="198.51.100.66"),
        did(2, ALICE, "LOGIN_ERROR", ipAddress="198.51.100.66"),
        did(3, ALICE, sessionId="s1"),
        did(4, ALICE, "CODE_TO_TOKEN", sessionId="s1"),
        did(5000, ALICE, sessionId="s2", ipAddress="203.0.113.80"),
        *(did(6000 + number, ALICE, "LOGIN_ERROR") for number in range(6)),
        # Somebody tries her name, and one that nobody has.
        did(7000, ALICE, "LOGIN_ERROR", userId=None),
        did(7001, "nobody", "LOGIN_ERROR", error="user_not_found"),
        did(8000, BOB, sessionId="s3"),
        did(8100, HOSTILE, details=hostile, ipAddress=HOSTILE),
    ]
    at_shop = [did(9000, "a-7", details={"username": NAMES[ALICE]}), did(9100, EVE), did(9200, BOB, "LOGOUT")]
    async with opened(tmp_path_factory.mktemp("people"), sources=SOURCES, keys=KEYS) as one:
        await one.post(at_keycloak)
        await one.post(at_shop, "shop")
        await one.get("/events", limit=1)
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_service(service: Opened) -> Opened:
    return service


async def behind(service: Opened, address: str) -> list[dict[str, Any]]:
    """The events that the page behind a link shows, as the API tells them by the same filters."""
    path, _, query = unescape(address).partition("?")
    assert path == "/ui/events", address
    async with service.session.get(f"/events?{query}&limit=1000") as response:
        assert response.status == 200, await response.text()
        found: list[dict[str, Any]] = (await response.json())["events"]
        return found


def rows_of(text: str) -> dict[str, str]:
    """The rows of a list of accounts, by the addresses of their persons."""
    rows = re.findall(r"<tr data-row>.*?</tr>", text, re.S)
    return {unescape(re.findall(r'href="([^"]+)"', row)[0]): row for row in rows}


def person(source: str, id: str) -> str:
    return f"/ui/people/{quote(f'{source}:{id}', safe='')}"


async def test_each_number_of_an_account_leads_to_its_events(visitor: Visitor, service: Opened) -> None:
    status, text = await visitor.page("/ui/people")
    assert status == 200
    row = rows_of(text)[person("keycloak", ALICE)]
    assert "to account, on Firefox on Linux, from 203.0.113.80" in row
    # Behind the number are also those under her name alone, of whom nobody knows whether they were hers.
    [(failures, number)] = re.findall(r'<a href="([^"]+LOGIN_ERROR[^"]*)"[^>]*>(\d+)</a>', row)
    assert number == "6"
    ids = [one["authDetails"].get("userId") for one in await behind(service, failures)]
    assert sorted(ids, key=str) == [*[ALICE] * 6, None]
    last, first, login_at = re.findall(r'<a class="people-plain" href="([^"]+)">', row)
    assert [one["time"] for one in await behind(service, last)] == [AT + 6_005_000]
    assert [one["time"] for one in await behind(service, first)] == [AT + 1_000]
    status, event = await visitor.page(unescape(login_at))
    assert status == 200 and "203.0.113.80" in event


async def test_accounts_are_found_by_name_and_by_what_became_of_them(visitor: Visitor) -> None:
    async def found(query: str) -> set[str]:
        status, text = await visitor.page(f"/ui/people?{query}")
        assert status == 200
        return set(rows_of(text))

    alice = {person("keycloak", ALICE), person("shop", "a-7")}
    assert await found("q=ALI") == alice
    assert await found("q=ALI&source=shop") == {person("shop", "a-7")}
    assert await found("failures_min=5") == {person("keycloak", ALICE)}
    assert len(await found("dormant_since=90d")) == 6
    assert await found("dormant_since=2023-11-14T00:00:00Z") == set()
    _, text = await visitor.page("/ui/people?q=nobody")
    assert "No account fits" in text and '/ui/events?user=nobody"' in text
    for query, said in (("failures_min=many", "failures_min"), ("dormant_since=soon", "dormant_since")):
        status, text = await visitor.page(f"/ui/people?{query}")
        assert status == 400
        assert said in text[text.index('role="alert"><p>') :]


async def test_a_person_is_told_in_lines_and_each_link_says_why(visitor: Visitor, service: Opened) -> None:
    _, text = await visitor.page(person("keycloak", ALICE))
    lines = [
        re.sub(r"<[^>]+>|\s+", " ", one) for one in re.findall(r"<li data-row>.*?</li>\s*(?=<li data|</ol)", text, re.S)
    ]
    told = [" ".join(unescape(one).split()) for one in reversed(lines)]
    assert "after 2 failed tries within 2 s from 198.51.100.66" in told[0]
    assert "4 events" in told[0]
    assert f"userId {ALICE} in source keycloak" in told[0]
    assert "e-mail alice@acme.example of accounts in keycloak and shop" in told[-1].lower()
    # Each event is a link.
    uids = re.findall(r'<a href="/ui/events/([0-9a-f-]{36})" aria-label="Event \d+">', text)
    _, timeline = await service.get("/timeline", user=ALICE)
    assert sorted(uids) == sorted(uid for one in timeline["items"] for uid in one["uids"])
    # Both accounts, with their reasons; addresses and devices with the logins behind them.
    assert set(rows_of(text[text.index('id="people-accounts"') :]).keys()) == {
        f"/ui/events?source={source}&actor={id}&realm=realm-1" for source, id in (("keycloak", ALICE), ("shop", "a-7"))
    }
    used = dict(re.findall(r'people-used">([^<]+)</th>\s*<td class="num"><a href="([^"]+)">', text))
    assert set(used) == {"Firefox on Linux", "203.0.113.7", "203.0.113.80"}
    assert len(await behind(service, used["203.0.113.80"])) == 1
    assert len(await behind(service, used["203.0.113.7"])) == 2
    assert len(await behind(service, used["Firefox on Linux"])) == 2


async def test_a_timeline_goes_on_page_by_page(visitor: Visitor, service: Opened, tmp_path: Path) -> None:
    async with opened(tmp_path, sources=SOURCES[:1]) as long, visiting(long) as other:
        await long.post([did(hour * 3600, ALICE, sessionId=f"s{hour}") for hour in range(60)])
        await other.sign_in()
        address: str | None = person("keycloak", ALICE)
        uids: list[str] = []
        while address is not None:
            status, text = await other.page(address)
            assert status == 200
            uids += re.findall(r'<a href="/ui/events/([0-9a-f-]{36})" aria-label="Event', text)
            found = re.search(r'href="([^"]+)" rel="next"', text)
            address = None if found is None else unescape(found[1])
        assert (len(uids), len(set(uids))) == (60, 60)


async def test_an_account_with_the_same_id_elsewhere_is_somebody_else(visitor: Visitor) -> None:
    _, text = await visitor.page(person("keycloak", BOB))
    assert "bob logged in" in text and "logged out" not in text
    _, text = await visitor.page(person("shop", BOB))
    assert "logged out" in text and "bob logged in" not in text


async def test_where_a_name_is_several_peoples_each_can_be_chosen(visitor: Visitor) -> None:
    status, text = await visitor.page("/ui/people/bob")
    assert status == 409
    ways = re.findall(r'<li data-row><a href="([^"]+)"', text)
    assert len(ways) >= 2
    for way in map(unescape, ways):
        assert (await visitor.page(way))[0] == 200
    assert (await visitor.page("/ui/people/nobody"))[0] == 404


async def test_active_accounts_are_a_picture_and_a_table_with_links(visitor: Visitor, service: Opened) -> None:
    now = time.time_ns() // 1_000_000
    today = [login(90_000 + number, time=now, userId=f"t{number % 3}", sessionId=f"t{number}") for number in range(4)]
    await service.post(today)
    await service.post([login(90_100, time=now, type="LOGOUT", userId="t9", sessionId="t9")], "shop")
    await service.get("/events", limit=1)
    for bucket in ("day", "month"):
        status, text = await visitor.page(f"/ui/people/active?bucket={bucket}")
        assert status == 200
        # The first that has any: the day may have ended since.
        row = next(one for one in re.findall(r'<tr><th scope="row">.*?</tr>', text, re.S) if "<a " in one)
        (seen, number), (logins, got_in) = re.findall(r'<a href="([^"]+)">(\d+)</a>', row)
        events = await behind(service, seen)
        assert len({(one["source"]["name"], one["authDetails"]["userId"]) for one in events}) == int(number) == 4
        assert len({one["authDetails"]["userId"] for one in await behind(service, logins)}) == int(got_in) == 3
        assert f'<a href="{logins}" tabindex="-1"' in text
        assert "4 seen, 3 of them logged in" in text


async def test_what_names_and_devices_hold_is_text(visitor: Visitor) -> None:
    for path in (
        "/ui/people",
        person("keycloak", HOSTILE),
        f"/ui/people?q={quote(HOSTILE)}",
        "/ui/people/" + quote(HOSTILE),
    ):
        status, text = await visitor.page(path)
        assert status < 500
        assert "<script>document" not in text and "<img src=x" not in text
        assert not {"\u202e", "\x1b"} & set(text)
    _, text = await visitor.page(person("keycloak", HOSTILE))
    assert "&lt;script&gt;document" in text


async def test_a_limited_key_sees_its_own_accounts_alone(service: Opened) -> None:
    async with visiting(service) as shop:
        await shop.sign_in("of-shop-token")
        _, text = await shop.page("/ui/people")
        assert {"keycloak" in one for one in rows_of(text)} == {False}
        assert person("shop", "a-7") in rows_of(text)
        assert (await shop.page(person("keycloak", ALICE)))[0] == 404
        _, text = await shop.page(person("shop", "a-7"))
        assert "198.51.100.66" not in text and "203.0.113.80" not in text


async def test_it_is_not_there_without_the_permission_or_where_it_is_off(service: Opened, tmp_path: Path) -> None:
    _, page = await service.get("/events", user=ALICE, limit=1)
    async with visiting(service) as reader:
        await reader.sign_in("reader-token")
        for path in (
            "/ui/",
            "/ui/events",
            f"/ui/events/{page['events'][0]['uid']}",
            "/ui/overview/top?by=user&from=2000d",
        ):
            _, text = await reader.page(path)
            assert "/ui/people" not in text and "/timeline" not in text
        assert (await reader.page("/ui/people"))[0] == 403
    async with opened(tmp_path, people={"enabled": False}) as off, visiting(off) as visitor:
        receipts = await off.post([did(1, ALICE)])
        await visitor.sign_in()
        for path in ("/ui/", f"/ui/events/{receipts['uids'][0]}"):
            status, text = await visitor.page(path)
            assert status == 200
            assert "/ui/people" not in text and "/timeline" not in text
        assert (await visitor.page("/ui/people"))[0] == 404


async def test_an_event_leads_to_who_acted_and_a_failing_user_to_the_accounts(
    visitor: Visitor, service: Opened
) -> None:
    _, page = await service.get("/events", actor=ALICE, source="keycloak", type="LOGIN", limit=1)
    _, text = await visitor.page(f"/ui/events/{page['events'][0]['uid']}")
    assert f'href="{person("keycloak", ALICE)}"' in text
    _, page = await service.get("/events", reason="unknown_user", limit=1)
    _, text = await visitor.page(f"/ui/events/{page['events'][0]['uid']}")
    assert "/ui/people/" not in text
    _, text = await visitor.page("/ui/overview/top?by=user&from=2023-11-14T00:00:00Z&to=2023-11-16T00:00:00Z&all=1")
    assert f'/ui/people?q={NAMES[ALICE]}"' in text


# In a browser


async def test_a_person_is_found_and_read_with_keys_alone(console: Console) -> None:
    page = console.page
    await console.open("/ui/")
    await page.keyboard.press("g")
    await page.keyboard.press("p")
    await page.wait_for_url("**/ui/people")
    await expect(page.locator("#chart-active")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("alice")
    await page.keyboard.press("Enter")
    await expect(page.locator("tr[data-row]")).to_have_count(2)
    # The account at Keycloak is the second: that at the shop was seen later.
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("alice@acme.example")
    first = page.locator(".people-stories > li").last
    await expect(first).to_contain_text("after 2 failed tries")
    await first.locator("summary").focus()
    await page.keyboard.press("Enter")
    await expect(first.get_by_text("in source keycloak")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile("/ui/events/[0-9a-f-]{36}$"))
