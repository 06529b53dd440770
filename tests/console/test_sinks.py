"""Pages of sinks: what they show, and what is done by them, with real receivers that refuse and take."""

from __future__ import annotations

import asyncio
import html
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from standardwebhooks import Webhook

from adapter.console.attempt_chart import WIDTH, bar_of, hours_of
from adapter.console.sink_form import fill, read
from adapter.console.sink_words import law_of, state_of
from tests.console.conftest import Console, Visitor, is_within_width, visiting
from tests.console.hook import Hook, hooking
from tests.e2e.process import until
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS = itertools.count(1)
#: What a hostile receiver would have run in the browser of whoever looks.
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">'\"{{7*7}}\u202e"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    copy = {"name": "copy", "kind": "file", "path": tmp_path_factory.mktemp("copy") / "copy"}
    keys = [
        {"name": "reader", "token": "reader-token", "permissions": ["read"]},
        {"name": "keeper", "token": "keeper-token", "permissions": ["sinks"]},
    ]
    return {"outgoing": {"allow": ["127.0.0.0/8"]}, "sinks": [copy], "keys": keys}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_service(
    tmp_path_factory: pytest.TempPathFactory, console_settings: dict[str, Any]
) -> AsyncIterator[Opened]:
    """A service without events but those that a test posts: all that is counted here is its own."""
    async with opened(tmp_path_factory.mktemp("console"), **console_settings) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def hook(console_service: Opened) -> AsyncIterator[Hook]:
    """A receiver; the sinks that a test makes are gone after it."""
    async with hooking() as one:
        yield one
        for sink in (await console_service.get("/sinks"))[1]["sinks"]:
            if sink["managed"] == "api":
                async with console_service.session.delete(f"/sinks/{sink['name']}?force=1") as response:
                    assert response.status == 200, await response.text()


async def make(service: Opened, hook: Hook, name: str = "soc", **more: Any) -> dict[str, Any]:
    given = {"name": name, "kind": "webhook", "url": hook.url, "attempts": "all", "secret": SECRET, **more}
    async with service.session.post("/sinks", json=given) as response:
        made: dict[str, Any] = await response.json()
        assert response.status == 201, made
        return made


async def counts_are(service: Opened, name: str = "soc", **wanted: int) -> None:
    async def hold() -> bool:
        counts = (await service.get(f"/sinks/{name}"))[1]["counts"]
        return {key: counts[key] for key in wanted} == wanted

    await until(hold)


async def post(service: Opened, count: int = 1) -> list[str]:
    uids: list[str] = (await service.post([login(next(NUMBERS)) for _ in range(count)]))["uids"]
    return uids


async def dead_events(service: Opened, hook: Hook, count: int = 1, name: str = "soc") -> list[str]:
    """Uids of events that the receiver refused for good; from then on it takes what comes."""
    hook.status = 422
    uids = await post(service, count)
    await are_listed(service, name, "dead", count)
    hook.status = 204
    return uids


async def are_listed(service: Opened, name: str, what: str, count: int) -> None:
    """Wait until so many events are stored as held or dead."""

    async def hold() -> bool:
        return bool((await service.get(f"/sinks/{name}/{what}"))[1]["count"] == count)

    await until(hold)


def said(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def form_of(page: str) -> dict[str, str]:
    """The fields of the form of a sink, as a browser would send them."""
    form = page[page.index('name="version"') :]
    fields = {}
    for tag in re.findall(r"<input[^>]+>", form):
        name, kind = re.search(r'name="([^"]+)"', tag), re.search(r'type="([^"]+)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        if name and kind and (kind[1] != "checkbox" or " checked" in tag):
            fields[name[1]] = html.unescape(value[1]) if value else ""
    for name, body in re.findall(r'<select id="[^"]+" name="([^"]+)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'value="([^"]*)" selected', body) or re.search(r'value="([^"]*)"', body)
        fields[name] = html.unescape(chosen[1]) if chosen else ""
    for name, text in re.findall(r'<textarea id="[^"]+" name="([^"]+)"[^>]*>(.*?)</textarea>', form, re.S):
        fields[name] = html.unescape(text).removeprefix("\n")
    version = re.search(r'name="version" value="([^"]*)"', form)
    return fields | {"version": version[1] if version else ""}


# How it stands


async def test_all_sinks_are_shown_with_their_state_in_words_and_the_law(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook, on_4xx="dead")
    await post(console_service, 2)
    await counts_are(console_service, delivered=2)
    await dead_events(console_service, hook)
    status, page = await visitor.page("/ui/sinks")
    assert status == 200
    row = re.search(r"<tr data-row>(?:(?!</tr>).)*?>soc<.*?</tr>", page, re.S)
    assert row is not None
    cells = [said(one) for one in re.findall(r"<td[^>]*>(.*?)</td>", row[0], re.S)]
    assert cells[0].startswith("running since ")
    assert cells[3:] == ["3", "2", "0", "0", "1", "0", "unified", "API"]
    assert 'href="/ui/sinks/soc/dead"' in row[0]
    assert 'href="/ui/sinks/soc/attempts?outcome=delivered"' in row[0]
    assert "copy file" in said(page)
    _, one = await visitor.page("/ui/sinks/soc")
    assert "matched 3 = delivered 2 + in flight 0 + held 0 + dead 1 + skipped 0" in said(one)
    assert "it adds up" in said(one)
    assert SECRET not in one + page


async def test_a_sink_that_is_down_says_so_and_what_to_do(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook)
    hook.status = 503
    await post(console_service)

    async def is_down() -> bool:
        return bool((await console_service.get("/sinks/soc"))[1]["state"] == "down")

    await until(is_down)
    _, page = await visitor.page("/ui/sinks/soc")
    assert "down: the receiver does not take anything since" in said(page)
    assert "the receiver answered 503" in said(page)
    assert "look at the receiver; what it does not take waits in the log" in said(page)
    hook.status = 204
    await counts_are(console_service, delivered=1)


async def test_each_view_shows_the_same_question_as_a_command(visitor: Visitor, hook: Hook) -> None:
    await make(visitor.service, hook)
    for path, command in (
        ("", "idp-adapter sinks show soc"),
        ("/attempts?outcome=dead&from=2h", "idp-adapter sinks attempts soc --outcome dead --since 2h"),
        ("/held", "idp-adapter sinks held soc"),
        ("/dead", "idp-adapter sinks dead soc"),
        ("/settings", "idp-adapter sinks show soc"),
        ("/links", "idp-adapter sinks link soc --list"),
        ("/audit", "idp-adapter sinks audit soc"),
        ("/replay", "idp-adapter sinks replay soc --watch"),
    ):
        status, page = await visitor.page(f"/ui/sinks/soc{path}")
        assert (status, command in said(page)) == (200, True), path
        assert f"{visitor.service.service.url}/sinks/soc" in said(page), path


async def test_who_may_not_manage_sinks_sees_none(console_service: Opened, hook: Hook) -> None:
    await make(console_service, hook)
    async with visiting(console_service) as visitor:
        await visitor.sign_in("reader-token")
        status, page = await visitor.page("/ui/sinks/soc")
        assert (status, hook.url in page) == (403, False)
        assert (await visitor.send("/ui/sinks/soc/pause", {}))[0] == 403
        _, about = await visitor.page("/ui/about")
        assert ("/ui/sources" in about, "/ui/sinks" in about) == (True, False)


async def test_who_may_manage_sinks_alone_sees_them_without_events(console_service: Opened, hook: Hook) -> None:
    await make(console_service, hook)
    async with visiting(console_service) as visitor:
        await visitor.sign_in("keeper-token")
        for path in ("", "/soc", "/soc/attempts", "/soc/held", "/soc/dead"):
            assert (await visitor.page(f"/ui/sinks{path}"))[0] == 200, path
        assert "Changes" not in said((await visitor.page("/ui/sinks/soc"))[1])


# What is done


async def test_a_sink_is_paused_and_resumed(console_service: Opened, visitor: Visitor, hook: Hook) -> None:
    await make(console_service, hook)
    status, page = await visitor.send("/ui/sinks/soc/pause", {})
    assert (status, "paused since" in said(page), "by admin" in said(page)) == (200, True, True)
    [uid] = await post(console_service)
    status, page = await visitor.send("/ui/sinks/soc/resume", {})
    assert (status, "running since" in said(page)) == (200, True)
    await until(lambda: hook.uids == [uid])
    _, page = await visitor.page("/ui/sinks/soc")
    assert "system.SINK-PAUSED by admin" in said(page)
    assert "system.SINK-RESUMED by admin" in said(page)


async def test_a_form_that_is_of_another_session_does_nothing(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook)
    for action in ("pause", "test", "rotate", "delete", "edit", "replay", "links"):
        assert (await visitor.send(f"/ui/sinks/soc/{action}", {}, csrf="other"))[0] == 403, action
    assert (await console_service.get("/sinks/soc"))[1]["state"] == "running"
    assert hook.taken == []


async def test_a_test_event_is_sent_and_its_answer_shown_harmless(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook)
    status, page = await visitor.send("/ui/sinks/soc/test", {})
    assert (status, "The receiver took it." in page) == (200, True)
    assert hook.types == ["system.SINK-TEST"]
    Webhook(SECRET).verify(hook.taken[0][1], dict(hook.taken[0][0]))
    hook.status, hook.text = 500, HOSTILE
    status, page = await visitor.send("/ui/sinks/soc/test", {})
    assert (status, "it would be tried again" in page) == (200, True)
    assert "&lt;script&gt;document.title" in page
    assert "<script>document" not in page
    assert "\u202e" not in page
    hook.status, hook.headers = 302, {"Location": "<script>document.title='run'</script>"}
    status, page = await visitor.send("/ui/sinks/soc/test", {})
    assert (status, "redirects are not followed" in page, "<script>document" in page) == (200, True, False)


async def test_a_secret_is_replaced_and_shown_this_once(console_service: Opened, visitor: Visitor, hook: Hook) -> None:
    await make(console_service, hook)
    status, asked = await visitor.page("/ui/sinks/soc/ask?what=rotate")
    assert (status, "is shown once" in said(asked)) == (200, True)
    version = re.search(r'name="version" value="([^"]+)"', asked)
    assert version is not None
    status, page = await visitor.send("/ui/sinks/soc/rotate", {"overlap": "24h", "version": version[1]})
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", html.unescape(page))
    assert (status, found is not None) == (200, True)
    assert found is not None
    [uid] = await post(console_service)
    await until(lambda: hook.uids == [uid])
    for secret in (SECRET, found[0]):
        Webhook(secret).verify(hook.taken[0][1], dict(hook.taken[0][0]))
    for path in ("", "/settings"):
        _, page = await visitor.page(f"/ui/sinks/soc{path}")
        assert found[0] not in html.unescape(page)
    assert "A replaced secret signs, too" in said((await visitor.page("/ui/sinks/soc"))[1])
    status, page = await visitor.send("/ui/sinks/soc/rotate", {"overlap": "24h", "version": version[1]})
    assert (status, "the sink has changed since it was read" in said(page)) == (412, True)


async def test_a_sink_is_deleted_with_what_it_holds_only_if_that_is_said(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook, on_4xx="dead")
    await dead_events(console_service, hook, 2)
    _, page = await visitor.page("/ui/sinks/soc/ask?what=delete")
    assert "0 held, 2 dead" in said(page)
    status, page = await visitor.send("/ui/sinks/soc/delete", {})
    assert (status, "the sink 'soc' has 2 dead, which would not be sent any more" in said(page)) == (409, True)
    assert (await console_service.get("/sinks/soc"))[0] == 200
    status, page = await visitor.send("/ui/sinks/soc/delete", {"force": "1"})
    assert (status, 'data-command="Sink soc"' in page) == (200, False)
    assert (await console_service.get("/sinks/soc"))[0] == 404


async def test_one_dead_event_is_sent_again_and_another_given_up(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook, on_4xx="dead")
    first, second = await dead_events(console_service, hook, 2)
    _, page = await visitor.page("/ui/sinks/soc/dead")
    assert "2 events that soc gave up on" in said(page)
    assert "the receiver answered 422 (the receiver has to mend it)" in said(page)
    hook.taken.clear()
    status, page = await visitor.send("/ui/sinks/soc/resend", {"uid": first})
    assert (status, "takes its turn now" in page) == (200, True)
    await until(lambda: hook.uids == [first])
    await are_listed(console_service, "soc", "dead", 1)
    status, page = await visitor.send("/ui/sinks/soc/skip", {"uid": second, "reason": f"too old {HOSTILE}"})
    assert status == 200
    await are_listed(console_service, "soc", "dead", 0)
    assert "Nothing is dead" in (await visitor.page("/ui/sinks/soc/dead"))[1]
    await counts_are(console_service, skipped=1)
    _, page = await visitor.page("/ui/sinks/soc")
    assert "too old <script>" in said(page)
    assert "<script>document" not in page
    status, page = await visitor.send("/ui/sinks/soc/resend", {"uid": "nothing"})
    assert (status, "There is no event with this uid" in said(page)) == (404, True)


async def test_what_is_held_is_listed_and_tried_at_once(console_service: Opened, visitor: Visitor, hook: Hook) -> None:
    await make(console_service, hook, retry=[3600])
    hook.status = 422
    [uid] = await post(console_service)
    await are_listed(console_service, "soc", "held", 1)
    status, page = await visitor.page("/ui/sinks/soc/held")
    assert (status, uid in page, "the receiver answered 422" in page) == (200, True, True)
    hook.status = 204
    await visitor.send("/ui/sinks/soc/resend", {"uid": uid})
    await are_listed(console_service, "soc", "held", 0)
    assert "Nothing is held" in (await visitor.page("/ui/sinks/soc/held"))[1]


async def test_a_replay_is_counted_first_and_sends_what_was_counted(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook, on_4xx="dead")
    uids = await dead_events(console_service, hook, 3)
    hook.taken.clear()
    id = await counted(visitor, {"status": ["dead"], "filter": "type=access.*", "rate": "0"}, 3)
    assert hook.taken == []
    status, page = await visitor.send("/ui/sinks/soc/replay", {"step": "send", "id": "99"})
    assert (status, "count again" in said(page)) == (409, True)
    status, _ = await visitor.send("/ui/sinks/soc/replay", {"step": "send", "id": id})
    assert status == 200
    await until(lambda: sorted(hook.uids) == sorted(uids))
    await counts_are(console_service, dead=0, delivered=3)
    status, page = await visitor.send("/ui/sinks/soc/replay", {"status": ["dead"], "filter": "type"})
    assert (status, "Filter, line 1: write FIELD=VALUE" in said(page)) == (400, True)
    status, page = await visitor.send("/ui/sinks/soc/replay", {"status": ["dead"], "filter": "typ=x"})
    assert (status, "typ" in said(page)) == (400, True)


async def counted(visitor: Visitor, form: dict[str, Any], events: int) -> str:
    """The id of the replay that a form counts, once it finds so many events: what was delivered just now counts when
    that is settled, and counting may take longer than the answer waits for it."""
    found: list[str] = []

    async def is_there() -> bool:
        status, page = await visitor.send("/ui/sinks/soc/replay", form)
        if status == 409:  # the one before is counted still
            return False
        assert status == 200, page
        if f"{events} events would be sent" in said(page):
            found.extend(re.findall(r'name="id" value="(\d+)"', page))
        return bool(found)

    await until(is_there)
    return found[0]


async def test_what_was_counted_is_sent_once_however_often_the_form_comes(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook)
    await post(console_service, 2)
    await counts_are(console_service, delivered=2)
    form: dict[str, Any] = {"status": ["delivered"], "filter": "", "rate": "0"}
    id = await counted(visitor, form, 2)
    send = {"step": "send", "id": id}
    answers = await asyncio.gather(*(visitor.send("/ui/sinks/soc/replay", send) for _ in range(4)))
    assert sorted(status for status, _ in answers)[1:] in ([409] * 3, [409, 409, 412], [409, 412, 412], [412] * 3)

    async def is_done() -> bool:
        return bool((await console_service.get("/sinks/soc/replay"))[1]["state"] == "done")

    await until(is_done)
    # Nor when the first one has ended.
    headers = {"If-Match": f'"{id}"'}
    form = {"status": ["delivered"]}
    async with console_service.session.post("/sinks/soc/replay", json=form, headers=headers) as response:
        assert (response.status, "count again" in await response.text()) == (412, True)
    async with console_service.session.post("/sinks/soc/replay", json=form, headers={"If-Match": "*"}) as response:
        assert response.status == 400
    assert (await visitor.send("/ui/sinks/soc/replay", send))[0] == 409
    assert len(hook.taken) == 4


async def test_a_sink_that_is_deleted_twice_is_deleted(console_service: Opened, visitor: Visitor, hook: Hook) -> None:
    await make(console_service, hook)
    form = {"force": "1", "version": form_of((await visitor.page("/ui/sinks/soc/ask?what=delete"))[1])["version"]}
    assert (await visitor.send("/ui/sinks/soc/delete", form))[0] == 200
    status, page = await visitor.send("/ui/sinks/soc/delete", form)
    assert (status, "soc" in said(page)) == (404, True)
    # One that takes its name is another one, which the form does not mean.
    await make(console_service, hook)
    assert (await visitor.send("/ui/sinks/soc/delete", form))[0] == 412
    assert (await console_service.get("/sinks/soc"))[0] == 200


async def test_links_are_made_shown_once_and_revoked(console_service: Opened, visitor: Visitor, hook: Hook) -> None:
    await make(console_service, hook)
    status, page = await visitor.send("/ui/sinks/soc/links", {"label": HOSTILE, "expires_in": "24h"})
    found = re.search(r"http://[^\s<]+/links/soc/([0-9a-f]{12})\.[A-Za-z0-9_-]+", page)
    assert (status, found is not None, "<script>document" in page) == (200, True, False)
    assert found is not None
    async with visitor.session.get(found[0]) as response:
        assert response.status == 200
    _, page = await visitor.page("/ui/sinks/soc/links")
    assert (found[1] in page, found[0] in page) == (True, False)
    await visitor.send("/ui/sinks/soc/links/revoke", {"id": found[1]})
    assert found[1] not in (await visitor.page("/ui/sinks/soc/links"))[1]


async def test_counters_are_held_against_the_log(console_service: Opened, visitor: Visitor, hook: Hook) -> None:
    await make(console_service, hook)
    await post(console_service, 2)
    await counts_are(console_service, delivered=2)

    async def is_stored() -> bool:
        await visitor.send("/ui/sinks/soc/audit", {})
        return "all adds up" in (await visitor.page("/ui/sinks/soc/audit"))[1]

    await until(is_stored)


# The form


async def test_a_sink_is_made_by_the_form_after_a_look_at_what_it_would_be(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    _, page = await visitor.page("/ui/sinks/.new")
    form = form_of(page) | {"name": "made", "url": hook.url, "filter": "type=access.*\nnot_client=poller", "rate": "50"}
    form |= {"further": "[privacy]\ndrop = ['details.email']", "send": "1", "step": "check"}
    status, page = await visitor.send("/ui/sinks/.new", form)
    assert (status, "+ made" in page, "The receiver took it." in page) == (200, True, True)
    assert 'filter = { type = ["access.*"], not_client = ["poller"] }' in said(page)
    assert hook.types == ["system.SINK-TEST"]
    assert (await console_service.get("/sinks/made"))[0] == 404
    status, page = await visitor.send("/ui/sinks/.new", form_of(page) | {"step": "save"})
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", html.unescape(page))
    assert (status, found is not None) == (200, True)
    _, sink = await console_service.get("/sinks/made")
    assert sink["settings"] == {
        "name": "made", "kind": "webhook", "url": hook.url, "secret": ["<kept>"], "rate": 50, "from": "now",
        "filter": {"type": ["access.*"], "not_client": ["poller"]}, "privacy": {"drop": ["details.email"]},
    }  # fmt: skip
    status, page = await visitor.send("/ui/sinks/.new", form | {"step": "check", "send": ""})
    assert (status, "Make the sink" in page) == (200, True)
    status, page = await visitor.send("/ui/sinks/.new", form_of(page) | {"step": "save"})
    assert (status, "there is a sink 'made'" in said(page)) == (409, True)


async def test_a_form_that_is_wrong_is_shown_again_with_what_would_be_right(visitor: Visitor) -> None:
    given = {"name": "made", "url": "http://169.254.169.254/", "step": "check"}
    status, page = await visitor.send("/ui/sinks/.new", given)
    assert (status, 'value="http://169.254.169.254/"' in page, "url: " in said(page)) == (400, True, True)
    for wrong, told in (
        ({"further": "privacy ="}, "Further settings: this is not TOML"),
        ({"further": "rate = 5", "rate": "7"}, "Further settings: rate is said in a field of its own, too"),
        ({"rate": "fast"}, "rate: 'fast' is no number"),
        ({"rate": "inf"}, "rate: 'inf' is no number"),
        ({"filter": "access"}, "Filter, line 1: write FIELD=VALUE"),
        ({"secret_is": "said"}, "Secret: none is written"),
        ({"further": "ca_file = '/etc/passwd'"}, "names a file of the service's machine"),
    ):
        form = {"name": "made", "url": "https://soc.example/", "step": "check", **wrong}
        status, page = await visitor.send("/ui/sinks/.new", form)
        assert (status, told in said(page)) == (400, True), wrong
    form = {"name": HOSTILE, "url": HOSTILE, "filter": HOSTILE, "further": HOSTILE, "auth": HOSTILE, "step": "check"}
    status, page = await visitor.send("/ui/sinks/.new", form)
    assert (status, "<script>document" in page, "&lt;script&gt;document" in page) == (400, False, True)


async def test_a_changed_sink_keeps_what_the_form_does_not_have(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    auth = {"kind": "basic", "user": "us", "password": "hidden-password"}
    more: dict[str, Any] = {
        "privacy": {"hash": ["details.email"], "key": "k" * 32},
        "on_4xx": {"413": "dead"},
        "rate": 12.5,
    }
    before = await make(console_service, hook, auth=auth, retry=[1, 2.5], batch={"entries": 5}, **more)
    _, page = await visitor.page("/ui/sinks/soc/edit")
    assert "hidden-password" not in page
    form = form_of(page)
    status, page = await visitor.send("/ui/sinks/soc/edit", form | {"step": "check"})
    assert (status, "Nothing would change" in page) == (200, True)
    status, page = await visitor.send("/ui/sinks/soc/edit", form | {"window": "3", "step": "check"})
    assert (status, "+ window = 3" in page) == (200, True)
    await visitor.send("/ui/sinks/soc/edit", form_of(page) | {"step": "save"})
    _, after = await console_service.get("/sinks/soc")
    assert after["settings"] == before["settings"] | {"window": 3}
    [_] = await post(console_service)
    await until(lambda: len(hook.taken) == 1)
    assert hook.taken[0][0]["Authorization"].startswith("Basic ")
    Webhook(SECRET).verify(hook.taken[0][1], dict(hook.taken[0][0]))


async def test_what_was_not_checked_is_not_saved(console_service: Opened, visitor: Visitor, hook: Hook) -> None:
    await make(console_service, hook)
    form = form_of((await visitor.page("/ui/sinks/soc/edit"))[1])
    _, page = await visitor.send("/ui/sinks/soc/edit", form | {"window": "3", "step": "check"})
    status, page = await visitor.send("/ui/sinks/soc/edit", form_of(page) | {"window": "4", "step": "save"})
    assert (status, "+ window = 4" in page) == (200, True)
    assert "window" not in (await console_service.get("/sinks/soc"))[1]["settings"]
    await visitor.send("/ui/sinks/soc/edit", form_of(page) | {"step": "save"})
    assert (await console_service.get("/sinks/soc"))[1]["settings"]["window"] == 4


async def test_of_two_who_change_a_sink_the_second_sees_what_the_first_did(
    console_service: Opened, visitor: Visitor, hook: Hook
) -> None:
    await make(console_service, hook)
    form = form_of((await visitor.page("/ui/sinks/soc/edit"))[1])
    form = form_of((await visitor.send("/ui/sinks/soc/edit", form | {"window": "3", "step": "check"}))[1])
    async with console_service.session.patch("/sinks/soc", json={"rate": 7}) as response:
        assert response.status == 200
    status, page = await visitor.send("/ui/sinks/soc/edit", form | {"step": "save"})
    assert (status, "admin has changed it meanwhile" in said(page)) == (200, True)
    assert "- rate = 7" in said(page)
    assert (await console_service.get("/sinks/soc"))[1]["settings"]["rate"] == 7
    await visitor.send("/ui/sinks/soc/edit", form_of(page) | {"step": "save"})
    _, sink = await console_service.get("/sinks/soc")
    assert (sink["settings"].get("rate"), sink["settings"]["window"]) == (None, 3)


async def test_a_sink_of_the_settings_is_shown_and_not_changed(visitor: Visitor) -> None:
    _, page = await visitor.page("/ui/sinks/copy/settings")
    assert "It stands in adapter.toml" in said(page)
    assert "/edit" not in page
    for path in ("/ui/sinks/copy/edit",):
        assert (await visitor.page(path))[0] == 409
    assert (await visitor.send("/ui/sinks/copy/edit", {"step": "save"}))[0] == 409


@pytest.mark.parametrize("name", ["%3Cscript%3E", "a%2Fb", "..%2Fevents", "x%22y", "nobody"])
async def test_a_name_that_no_sink_has_is_no_way_in(visitor: Visitor, name: str) -> None:
    for path in ("", "/attempts", "/dead", "/ask?what=delete", "/edit"):
        status, page = await visitor.page(f"/ui/sinks/{name}{path}")
        assert (status, "<script>" in page) == (404, False), path


async def test_every_setting_that_is_shown_is_read_as_it_was() -> None:
    settings = {
        "name": "soc", "kind": "webhook", "url": "https://soc.example/?a='b'", "secret": ["<kept>"],
        "filter": {"type": ["a.*"], "q": ["x y"]}, "rate": 0.1234567, "catch_up": 5.0, "attempts": "all",
        "auth": {"kind": "oauth2", "client_secret": "<kept>", "headers": {"X-Key": "<kept>"}},
        "format": {"name": "cloudevents", "mode": "binary"}, "signature": ["standard", {"kind": "phasetwo-bearer"}],
        "tls": {"ca": "<kept>"}, "names": True, "retry": [0.5, 10], "order_by": "user", "from": "beginning",
        "batch": {"entries": 10, "as": "json"}, "on_4xx": "retry", "disable_after": "2d",
    }  # fmt: skip
    for batch in ({"entries": 10, "as": "json"}, {"as": "ndjson"}, {}):
        settings = {**settings, "batch": batch}
        assert {"name": "soc", **read(fill(settings), settings)} == settings


# What attempts look like


async def test_the_bar_of_a_request_has_the_parts_that_took_time() -> None:
    bar = bar_of({"resolve": 10, "connect": 20, "firstByte": 50, "total": 100}, 200)
    assert [(one.name, one.x, one.width) for one in bar.parts] == [
        ("resolve", 0, WIDTH * 0.05), ("connect", WIDTH * 0.05, WIDTH * 0.1), ("wait", WIDTH * 0.15, WIDTH * 0.1),
        ("body", WIDTH * 0.25, WIDTH * 0.25),
    ]  # fmt: skip
    assert bar.text == (
        "100 ms in all, look-up of the name 10 ms, connect, TLS included 20 ms, wait for the first byte 20 ms, "
        "rest of the answer 50 ms"
    )
    unanswered = bar_of({"resolve": None, "connect": 5, "firstByte": None, "total": 15}, 15)
    assert [one.name for one in unanswered.parts] == ["connect", "wait"]
    nothing = bar_of({"resolve": None, "connect": None, "firstByte": None, "total": None}, 0)
    assert (nothing.parts, nothing.text) == ([], "no time is known")


async def test_hours_stand_where_they_were_and_as_high_as_they_had_tries() -> None:
    hour = 3_600_000
    some = {"at": 2 * hour, "attempts": 4, "outcomes": {"delivered": 1, "held": 3}}
    last = {"at": 4 * hour, "attempts": 8, "outcomes": {"delivered": 8}}
    [one, other] = hours_of([some, last], hour, 5 * hour)
    assert (one.x, other.x, one.attempts, one.failed) == (WIDTH / 4, WIDTH * 3 / 4, 4, 3)
    assert one.parts == [("delivered", 52.5, 7.5), ("failed", 30.0, 22.5)]
    assert other.parts == [("delivered", 0.0, 60.0)]


async def test_counters_that_do_not_add_up_say_by_how_many() -> None:
    counts = {"matched": 10, "delivered": 5, "inFlight": 1, "held": 1, "dead": 1, "skipped": 0}
    assert law_of(counts).difference == 2
    assert law_of(counts | {"inFlight": None}).difference is None


async def test_a_state_says_who_decided_it_and_why() -> None:
    stopped = {"state": "stopped", "since": 5, "by": "receiver", "reason": "gone", "answer": "x", "problem": None}
    assert state_of(stopped) == ("stopped", "bad", 5, "its receiver", "gone")
    assert state_of(stopped | {"state": "off", "problem": "no key"})[1:] == ("bad", 5, "", "no key")


# In a browser


async def test_a_dead_letter_is_replayed_once_its_receiver_takes_it(console: Console, hook: Hook) -> None:
    await make(console.service, hook, on_4xx="dead")
    [uid] = await dead_events(console.service, hook)
    hook.taken.clear()
    page = console.page
    await console.open("/ui/sinks")
    await page.get_by_role("link", name="soc", exact=True).click()
    await page.get_by_role("link", name=re.compile("Dead letters")).click()
    await expect(page.get_by_role("row").filter(has_text=uid)).to_contain_text("the receiver answered 422")
    await page.get_by_role("link", name="Send them again").click()
    await page.get_by_role("button", name="Count them").click()
    await expect(page.get_by_text("1 event would be sent")).to_be_visible()
    assert hook.taken == []
    await page.get_by_role("button", name="Send 1 event again").click()
    await expect(page.get_by_role("heading", name=re.compile("Replay 2, done"))).to_be_visible()
    await until(lambda: hook.uids == [uid])
    await are_listed(console.service, "soc", "dead", 0)
    await page.get_by_role("link", name="Dead letters").click()
    await expect(page.get_by_role("heading", name="Nothing is dead")).to_be_visible()


async def test_what_is_asked_once_is_done_by_the_second_click(console: Console, hook: Hook) -> None:
    await make(console.service, hook)
    page = console.page
    await console.open("/ui/sinks/soc")
    await page.get_by_text("Pause…").click()
    await expect(page.get_by_text("Nothing more is sent to soc until somebody resumes it.")).to_be_visible()
    assert (await console.service.get("/sinks/soc"))[1]["state"] == "running"
    await page.get_by_role("button", name="Pause", exact=True).click()
    await expect(page.locator("main .state").first).to_have_text("paused")
    await page.get_by_text("Send a test event…").click()
    await page.get_by_role("button", name="Send a test event", exact=True).click()
    await expect(page.get_by_role("status")).to_contain_text("The receiver took it.")


async def test_attempts_are_bars_of_their_parts_and_filtered_by_outcome(console: Console, hook: Hook) -> None:
    await make(console.service, hook, on_4xx="dead")
    [taken] = await post(console.service)
    await counts_are(console.service, delivered=1)
    hook.text = HOSTILE
    [refused] = await dead_events(console.service, hook)
    page = console.page
    await console.open("/ui/sinks/soc/attempts")
    bars = page.locator("svg.phases")
    await expect(bars).to_have_count(2)
    for number in range(2):
        assert "ms in all" in (await bars.nth(number).get_attribute("aria-label") or "")
        box = await bars.nth(number).bounding_box()
        assert box is not None and box["width"] > 100
    await expect(page.get_by_role("row").filter(has_text=refused)).to_contain_text("<script>document.title='run'")
    await page.get_by_label("Outcome").select_option("delivered")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("row").filter(has_text=taken)).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text=refused)).to_have_count(0)
    assert await page.title() != "run"


async def test_a_sink_is_made_in_the_browser(console: Console, hook: Hook) -> None:
    page = console.page
    await console.open("/ui/sinks")
    await page.get_by_role("link", name="New sink").click()
    await page.get_by_label("Name", exact=True).fill("browser")
    await page.get_by_label("Address").fill(hook.url)
    await page.get_by_label("Filter").fill("type=access.*")
    await page.get_by_role("button", name="Check").click()
    await expect(page.get_by_role("heading", name="What would change")).to_be_visible()
    await page.get_by_role("button", name="Make the sink").click()
    await expect(page.get_by_text(re.compile("^whsec_"))).to_be_visible()
    await page.get_by_role("link", name="To browser").click()
    [uid] = await post(console.service)
    await until(lambda: hook.uids == [uid])


async def some_of_everything(service: Opened, hook: Hook) -> None:
    """A sink with delivered, held and dead events, whose receiver answers with hostile text."""
    await make(service, hook, on_4xx={"422": "dead"}, retry=[3600])
    await post(service, 3)
    await counts_are(service, delivered=3)
    hook.text = HOSTILE
    await dead_events(service, hook)
    hook.status = 418
    await post(service)
    await are_listed(service, "soc", "held", 1)
    hook.status = 204

    async def is_audited() -> bool:
        async with service.session.post("/sinks/soc/audit", json={}) as response:
            return response.status == 202

    await until(is_audited)


PAGES = [
    "", "/soc", "/soc/attempts", "/soc/dead", "/soc/held", "/soc/replay", "/soc/settings", "/soc/links", "/soc/audit",
    "/.new", "/soc/edit", "/soc/ask?what=delete",
]  # fmt: skip


async def test_all_can_read_the_pages_at_each_size_in_each_theme(
    each_console: Console,
    hook: Hook,
    check_accessibility: Callable[[Page], Awaitable[None]],
) -> None:
    await some_of_everything(each_console.service, hook)
    for path in PAGES:
        response = await each_console.open(f"/ui/sinks{path}")
        assert response.status == 200, path
        await check_accessibility(each_console.page)
        assert await is_within_width(each_console.page), path
        assert await each_console.page.title() != "run", path
    await make(each_console.service, hook, "n" * 64)
    for path in ("", f"/{'n' * 64}", f"/{'n' * 64}/settings"):
        await each_console.open(f"/ui/sinks{path}")
        assert await is_within_width(each_console.page), path
