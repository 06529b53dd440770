"""Page Events without a browser: what its pages say, and that they say nothing else, whatever events hold."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
import pytest_asyncio

from adapter.documents.kinds import KINDS
from tests.console.conftest import Visitor, visiting
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "elsewhere", "token": "elsewhere-token", "permissions": ["read", "raw", "export"], "realms": ["realm-2"]},
    {"name": "shelf", "token": "shelf-token", "permissions": ["read", "searches"]},
]
SINK = {"name": "copy", "kind": "file", "filter": {"outcome": ["failure"]}}
#: What must come out as text, wherever it stands.
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "'onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    '=HYPERLINK("http://evil.example")',
    "left\u202eright\u2066\u200f",
    "null\u0000byte\u001b[31m\r\nX-Header: 1",
    "\ufffe\uffff\U0001f600 e\u0301",
    "]]>--></style></title></textarea>",
]
#: What no page may hold as it is.
_UNSEEN = re.compile("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, texts and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name in ("href", "src", "action", "hx-get"):
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def hostile_login(number: int, text: str) -> dict[str, Any]:
    """A login whose every field is the text."""
    return login(
        number, realmId=text, clientId=text, userId=text, sessionId=text, ipAddress=text,
        details={"username": text, "auth_method": text, "code_id": text, "identity_provider": text, text: text},
    )  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    """Some logins of people, and one of each hostile text."""
    folder = tmp_path_factory.mktemp("events")
    sinks = [{**SINK, "path": str(folder / "copy.ndjson")}]
    settings = {"auth": {"read_exports": False}, "mappings": {"trial_timeout": 60}}
    async with opened(folder / "data", keys=KEYS, sinks=sinks, **settings) as one:
        events = [
            login(1),
            login(2, type="LOGIN_ERROR", error="user_not_found", details={"username": "ben"}, userId="user-2"),
            login(3, realmId="realm-2"),
            *(hostile_login(10 + number, text) for number, text in enumerate(HOSTILE)),
            login(90, details={"username": "anna", "long": "y" * 200_000}),
        ]
        await one.post(events)
        with pytest.MonkeyPatch.context() as patch:
            # There is time to count, however much else the machine does.
            patch.setattr("adapter.console.events._SECONDS", 5.0)
            yield one


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(service: Opened) -> AsyncIterator[Visitor]:
    async with visiting(service) as one:
        await one.sign_in()
        yield one


async def found(visitor: Visitor, path: str, **headers: str) -> Page:
    status, text = await visitor.page(path, **headers)
    assert status == 200, text[-2000:]
    return Page(text)


async def test_an_event_is_a_row_with_its_sentence(visitor: Visitor) -> None:
    page = await found(visitor, "/ui/events?user=ben")
    assert "ben failed to log in to account from 203.0.113.7 : unknown user" in page.text
    for link in ("user=ben&not_user=anna", "user=ben&client=account", "user=ben&not_ip=203.0.113.7"):
        name = link.partition("&")[2]
        assert (f"/ui/events?{link}" in page.links) == (name != "not_user=anna"), link
    # What is asked for already leads nowhere.
    assert "/ui/events?user=ben&user=ben" not in page.links


async def test_each_link_of_a_value_finds_the_event_or_leaves_it_out(visitor: Visitor) -> None:
    page = await found(visitor, "/ui/events?id=0f7b1a52-0001-4e0a-9a57-000000000002")
    links = {one for one in page.links if one.startswith("/ui/events?id=") and "&" in one and "from=" not in one}
    assert len(links) >= 14
    for link in links:
        status, text = await visitor.page(link)
        assert status == 200, link
        assert ('class="events-time"' in text) == ("not_" not in link), link


@pytest.mark.parametrize("number", range(len(HOSTILE)))
async def test_whatever_an_event_holds_is_shown_as_text(visitor: Visitor, number: int) -> None:
    """In the table, the counts, the event, its parts, the filter bar and the completion: the same elements and
    attributes as with harmless events, and every link leads to the console."""
    usual: set[str] = set()
    own: set[str] = set()
    for seen, event_id in ((usual, 1), (own, 10 + number)):
        id = f"0f7b1a52-0001-4e0a-9a57-{event_id:012x}"
        _, event = await visitor.service.get(f"/events/{id}")
        value = event["authDetails"]["clientId"]
        async with visitor.session.get("/ui/events", params={"client": value, "q": "x"}) as response:
            assert response.status == 200
        pages = [
            f"/ui/events?id={id}", f"/ui/events/counts?id={id}", f"/ui/events/counts?id={id}&by=client&by=ip&by=user",
            f"/ui/events/{event['uid']}", f"/ui/events/{event['uid']}/explain", f"/ui/events/{event['uid']}/revisions",
            f"/ui/events/{event['uid']}/deliveries",
        ]  # fmt: skip
        texts = [await visitor.page(path) for path in pages]
        for name in ("client", "user", "not_realm", "q"):
            async with visitor.session.get("/ui/events", params={name: value}) as response:
                texts.append((response.status, await response.text()))
        for status, text in texts:
            assert status in (200, 400), text[-1000:]
            assert _UNSEEN.search(text.replace("\n", "")) is None
            page = Page(text)
            seen |= page.elements | page.attributes
            assert all(link.startswith(("/ui/", "#")) for link in page.links), page.links
    assert not own - usual - {"details", "summary", "hidden", "p", "ul", "li", "strong", "aria-invalid"}


async def test_a_value_goes_through_link_and_form_unchanged(visitor: Visitor, service: Opened) -> None:
    for text in HOSTILE:
        _, page = await service.get("/events", client=text)
        wanted = [event["uid"] for event in page["events"]]
        async with visitor.session.get("/ui/events", params={"client": text}) as response:
            shown = await response.text()
        hidden = re.search(r'<input type="hidden" name="filters" value="([^"]*)">', shown)
        assert hidden is not None
        form = {"filters": html.unescape(hidden[1]), "q": "", "from": "", "to": "", "field": "user", "value": ""}
        async with visitor.session.get("/ui/events", params=form) as response:
            assert response.url.query.getall("client") == [text]
        assert wanted
        for uid in wanted:
            assert f"/ui/events/{uid}" in Page(shown).links


async def test_a_long_value_is_cut_and_can_be_seen_whole(visitor: Visitor, service: Opened) -> None:
    _, page = await service.get("/events", id="0f7b1a52-0001-4e0a-9a57-00000000005a")
    uid = page["events"][0]["uid"]
    status, text = await visitor.page(f"/ui/events/{uid}")
    assert status == 200
    assert len(text) < 300_000
    assert "200\u202f000 characters" in text
    async with visitor.session.get(f"/ui/events/{uid}/json") as response:
        assert response.headers["Content-Disposition"] == f'attachment; filename="event-{uid}.json"'
        assert (await response.json())["details"]["long"] == "y" * 200_000
    _, text = await visitor.page("/ui/events?user=anna")
    assert "y" * 1_000 not in text


async def test_an_event_of_many_fields_makes_no_endless_page(service: Opened, visitor: Visitor) -> None:
    details = {f"{number}-{'n' * 300}": "v" * 100 for number in range(2_000)}
    [uid] = (await service.post(login(95, details=details)))["uids"]
    page = await found(visitor, f"/ui/events/{uid}")
    assert re.search(r"1 5\d\d more fields are in the file", page.text)
    for part in ("", "/explain"):
        assert len((await visitor.page(f"/ui/events/{uid}{part}"))[1]) < 600_000


@pytest.mark.parametrize("depth", [50, 900, 5_000])
async def test_what_is_nested_deeply_is_shown_within_bounds(service: Opened, visitor: Visitor, depth: int) -> None:
    body = b'{"id":"deep-%d","time":1700000300000,"type":"LOGIN","realmId":"realm-1","n":%b%b}'
    raw = body % (depth, b"[" * depth, b"]" * depth)
    async with service.session.post("/ingest/keycloak", data=raw, headers={"Content-Type": "application/json"}) as one:
        [uid] = (await one.json())["uids"]
    if (await service.get(f"/events/{uid}"))[0] == 200:
        status, text = await visitor.page(f"/ui/events/{uid}")
        assert status == 200
        assert len(text) < 200_000


async def test_numbers_of_any_size_are_shown_as_the_provider_sent_them(service: Opened, visitor: Visitor) -> None:
    body = b'{"id":"big","time":1700000200000,"type":"LOGIN","realmId":"realm-1","n":12345678901234567890123,"n":1e999}'
    async with service.session.post("/ingest/keycloak", data=body, headers={"Content-Type": "application/json"}) as one:
        [uid] = (await one.json())["uids"]
    page = await found(visitor, f"/ui/events/{uid}")
    assert '"n": 12345678901234567890123, "n": 1e999' in page.text


async def test_what_was_sent_is_for_those_who_may_see_it(service: Opened) -> None:
    _, page = await service.get("/events", user="ben")
    uid = page["events"][0]["uid"]
    async with visiting(service) as reader:
        await reader.sign_in("reader-token")
        shown = await found(reader, f"/ui/events/{uid}")
        assert "a key needs the permission raw" in shown.text
        assert '"user_not_found"' not in shown.text
        assert not any(link.endswith(("/explain", "/deliveries")) for link in shown.links)
        assert not any("/export" in link for link in (await found(reader, "/ui/events")).links)
        for part in ("explain", "deliveries"):
            assert (await reader.page(f"/ui/events/{uid}/{part}"))[0] == 403
        async with reader.session.get(f"/ui/events/{uid}/json") as response:
            assert "raw" not in await response.json()


async def test_a_limited_key_sees_nothing_else_on_any_page(service: Opened) -> None:
    _, page = await service.get("/events", user="ben")
    uid = page["events"][0]["uid"]
    async with visiting(service) as other:
        await other.sign_in("elsewhere-token")
        shown = await found(other, "/ui/events")
        assert shown.text.count("logged in") == 1
        assert "ben" not in (await found(other, "/ui/events/counts?by=user&by=client&by=ip")).text.split()
        assert "realm-1" not in (await found(other, "/ui/events/counts")).text
        for path in (f"/ui/events/{uid}", f"/ui/events/{uid}/explain", f"/ui/events/{uid}/revisions"):
            assert (await other.page(path))[0] == 404
        assert await other.page("/ui/events/values?field=user&prefix=b") == (200, '{"values":[]}')
        # Nor is it told that without a condition there would be something.
        assert "There are events without" not in (await found(other, "/ui/events?user=ben&outcome=failure")).text
        async with other.session.get("/ui/events/export?format=unified&user=ben") as response:
            assert await response.text() == ""


async def test_the_counts_of_a_filter_are_links_to_what_they_count(visitor: Visitor, service: Opened) -> None:
    page = await found(visitor, "/ui/events/counts?user=anna")
    _, counted = await service.get("/events/counts", by="outcome", user="anna")
    assert f"{counted['total']} events" in page.text
    assert "/ui/events?user=anna&outcome=success" in page.links
    later = await found(visitor, "/ui/events/counts?by=user&outcome=failure", **{"HX-Request": "true"})
    assert "html" not in later.elements
    assert "/ui/events?outcome=failure&actor=ben" in later.links


@pytest.mark.parametrize(
    "query, field, said",
    [
        ("from=soon", "from", "how long ago"),
        ("ip=nowhere", "ip", "ip"),
        ("usr=anna", "usr", "usr is not known; known are"),
        ("from=1h&from=2h", "from", "once is right"),
        ("user=" + "x" * 1_001, "user", "the limit is 1000"),
        ("cursor=nonsense", None, "cursor"),
    ],
)
async def test_what_is_wrong_is_told_at_its_field(visitor: Visitor, query: str, field: str | None, said: str) -> None:
    status, text = await visitor.page(f"/ui/events?{query}")
    assert status == 400
    assert said in Page(text).text
    assert ('aria-describedby="events-wrong"' in text) == (field is not None)
    assert 'role="alert"' in text


async def test_each_condition_of_an_address_is_shown_and_can_be_removed(visitor: Visitor) -> None:
    page = await found(visitor, "/ui/events?received_from=2020-01-01T00:00:00Z&not_reason_class=flow&user=anna")
    assert "received_from is 2020-01-01 00:00:00" in page.text
    assert "reason_class is not flow" in page.text
    assert "/ui/events?not_reason_class=flow&user=anna" in page.links
    assert not any("not_received_from" in link for link in page.links)


async def test_a_slip_leads_to_what_may_have_been_meant(visitor: Visitor) -> None:
    page = await found(visitor, "/ui/events?type=access.LOGN&user=anna")
    assert "the catalogue has no such type; did you mean" in page.text
    assert "/ui/events?user=anna&type=access.LOGIN" in page.links


async def test_an_empty_page_says_which_condition_leaves_nothing(visitor: Visitor) -> None:
    page = await found(visitor, "/ui/events?user=ben&outcome=success&from=2020-01-01T00:00:00Z")
    assert "Nothing matches" in page.text and "There are events without one of these conditions" in page.text
    assert "without user is ben" in page.text and "without outcome is success" in page.text
    assert "without from" not in page.text
    assert "/ui/events?outcome=success&from=2020-01-01T00%3A00%3A00Z" in page.links
    both = await found(visitor, "/ui/events?user=nobody-1&client=nobody-2")
    assert "Leaving out one of the conditions does not help" in both.text


async def test_where_nothing_has_come_the_page_says_how_to_send_something(tmp_path_factory: Any) -> None:
    async with opened(tmp_path_factory.mktemp("empty") / "data") as service, visiting(service) as visitor:
        await visitor.sign_in()
        page = await found(visitor, "/ui/events")
        assert "No events yet" in page.text
        assert f"{service.service.url.rstrip('/')}/ingest/keycloak" in page.text


async def test_pages_go_on_to_the_last_event(service: Opened, tmp_path_factory: Any) -> None:
    async with opened(tmp_path_factory.mktemp("many") / "data") as one, visiting(one) as visitor:
        await visitor.sign_in()
        await one.post([login(number) for number in range(250)])
        uids: list[str] = []
        path, pages = "/ui/events?from=90000d", 0
        while path:
            _, text = await visitor.page(path)
            uids += re.findall(r'class="events-time"><a href="/ui/events/([^"]+)"', text)
            following = re.search(r'href="([^"]+)" rel="next"', text)
            path, pages = html.unescape(following[1]) if following else "", pages + 1
            assert "from=90000d" not in path
        assert (pages, len(uids), len(set(uids))) == (3, 250, 250)


async def test_searches_are_saved_used_and_deleted(service: Opened) -> None:
    async with visiting(service) as visitor:
        await visitor.sign_in("shelf-token")
        query = "user=ben&from=90000d"
        status, text = await visitor.send("/ui/events/searches", {"name": "bens", "query": query})
        assert status == 200 and "bens" in Page(text).text
        assert f"/ui/events?{query}" in Page(text).links
        assert (await service.get("/searches/bens"))[1]["query"] == query
        status, text = await visitor.send("/ui/events/searches", {"name": "no name", "query": query})
        assert status == 400 and "is no name of a search" in text
        status, text = await visitor.send("/ui/events/searches", {"name": "bad", "query": "from=soon"})
        assert status == 400
        status, _ = await visitor.send("/ui/events/searches/delete", {"name": "bens"}, csrf="wrong")
        assert status == 403
        await visitor.send("/ui/events/searches/delete", {"name": "bens", "query": query})
        assert (await service.get("/searches/bens"))[0] == 404
    async with visiting(service) as reader:
        await reader.sign_in("reader-token")
        _, text = await reader.page("/ui/events/searches?user=ben")
        assert "<form" not in text[text.index("<main") : text.index("</main")]
        assert (await reader.send("/ui/events/searches", {"name": "bens", "query": query}))[0] == 403


async def test_what_was_found_can_be_followed_as_it_goes_on(visitor: Visitor) -> None:
    page = await found(visitor, "/ui/events?user=ben&from=7d&not_outcome=success")
    assert "/ui/live?user=ben&not_outcome=success" in page.links


async def test_files_hold_what_the_filter_matches(visitor: Visitor, service: Opened) -> None:
    async with visitor.session.get("/ui/events/export?user=ben&format=csv") as response:
        assert response.headers["Content-Disposition"] == 'attachment; filename="events.csv"'
        lines = (await response.text()).splitlines()
    assert len(lines) == 2 and '"ben"' in lines[1]
    assert (await visitor.page("/ui/events/export?format=nothing"))[0] == 400


async def test_a_file_and_its_manifest_are_of_one_moment(visitor: Visitor, service: Opened) -> None:
    await service.post([login(989, id="early", details={"username": "kim"}, userId="kim")])
    _, text = await visitor.page("/ui/events/export?user=kim")
    ways = {unescape(name): unescape(way) for way, name in re.findall(r'href="([^"]+)" download>(\w+)<', text)}
    assert set(ways) == {"CSV", "NDJSON", "Parquet", "PDF"}
    # What comes in between is in neither.
    await service.post([login(990, id="late", details={"username": "kim"}, userId="late")])
    for form in ("NDJSON", "Parquet"):
        async with visitor.session.get(ways[form]) as response:
            file = await response.read()
            cursor = response.headers["X-Cursor"]
            name = re.search(r'filename="([^"]+)"', response.headers["Content-Disposition"])
        manifest = unescape(re.findall(rf'href="([^"]+)" download aria-label="Manifest of the {form} file"', text)[0])
        async with visitor.session.get(manifest) as response:
            assert name is not None and f'filename="{name[1]}.manifest.json"' in response.headers["Content-Disposition"]
            said = json.loads(await response.text())
        assert (said["sha256"], said["count"]) == (hashlib.sha256(file).hexdigest(), 1)
        # By the cursor whoever has a key goes on with a file that broke off.
        assert said["cursor"] == cursor


async def test_only_files_that_can_be_made_are_offered(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "pdf", dataclasses.replace(KINDS["pdf"], needs=("no_such_package",)))
    _, text = await visitor.page("/ui/events/export")
    assert ">Parquet<" in text and ">PDF<" not in text


async def test_what_keeps_the_files_from_being_offered_is_told(visitor: Visitor, service: Opened) -> None:
    status, text = await visitor.page("/ui/events/export?from=soon")
    assert (status, "soon" in text[text.index("<main") :]) == (400, True)
    async with visiting(service) as shelf:
        await shelf.sign_in("shelf-token")
        assert "/ui/events/export" not in (await shelf.page("/ui/events"))[1]
        status, text = await shelf.page("/ui/events/export")
        assert (status, "lacks the permission" in text) == (403, True)


async def test_each_view_says_how_else_it_can_be_asked(visitor: Visitor, service: Opened) -> None:
    page = await found(visitor, "/ui/events?user=ben&not_outcome=success")
    assert "idp-adapter events list --limit 100 --user=ben --where not_outcome=success" in page.text
    assert f"{service.service.url.rstrip('/')}/events?user=ben&not_outcome=success&limit=100" in page.text


async def test_times_are_shown_in_the_zone_of_the_reader_and_named(visitor: Visitor) -> None:
    path = "/ui/events?user=ben&from=2023-11-14T22:00:00Z"
    _, text = await visitor.page(path, Cookie="")
    visitor.session.cookie_jar.update_cookies({"zone": "Asia/Tokyo"})
    page = await found(visitor, path)
    assert "2023-11-15 07:13:22 JST" in page.text and "times in Asia/Tokyo" in page.text
    _, text = await visitor.page(path)
    assert 'name="from" value="2023-11-15 07:00:00"' in text
    async with visitor.session.get(
        "/ui/events?from=2023-11-15+07:00&op=is&field=user&value=", allow_redirects=False
    ) as one:
        assert one.headers["Location"] == "/ui/events?from=2023-11-14T22%3A00%3A00.000Z"


async def test_deliveries_say_what_became_of_an_event(visitor: Visitor, service: Opened) -> None:
    _, page = await service.get("/events", user="ben")
    shown = await found(visitor, f"/ui/events/{page['events'][0]['uid']}/deliveries")
    assert "copy" in shown.text and "file" in shown.text
    _, page = await service.get("/events", user="anna", limit=1)
    shown = await found(visitor, f"/ui/events/{page['events'][0]['uid']}/deliveries")
    assert "filtered" in shown.text and "outcome: success is not failure" in shown.text


async def test_an_id_that_nobody_has_is_not_found(visitor: Visitor) -> None:
    for path in ("/ui/events/nothing", "/ui/events/%3Cscript%3E", "/ui/events/nothing/explain", "/ui/events/a/other"):
        status, text = await visitor.page(path)
        assert status == 404 and "script>alert" not in text, path
