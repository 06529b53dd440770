"""Keycloak 26.6.4 with Phase Two's listener, connected by the commands of the page."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tests.docs.pages import DOCS, blocks
from tests.e2e.process import ADMIN as ADMIN_TOKEN
from tests.e2e.process import Process, serving, until
from tests.keycloak.server import ADMIN, PASSWORD, Keycloak

pytestmark = pytest.mark.asyncio(loop_scope="module")

REALM = "page"

PAGE = DOCS / "connect-keycloak.md"
TOKEN = "QkstEpSEJCN9XGl-cnyBoVo7TTiiO6cC"
#: What the page's words stand for.
SOURCE = {"name": "keycloak", "provider": "keycloak", "token": TOKEN}


class Connected(NamedTuple):
    keycloak: Keycloak
    adapter: Process
    #: The realm before the page's commands and after each of them.
    realms: list[dict[str, Any]]

    async def arrived(self, type: str, **filters: str) -> list[dict[str, Any]]:
        """The events of a type, once there are any."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            found[:] = await self.adapter.events(type=type, **filters)
            return bool(found)

        await until(there)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Connected]:
    """A realm that was connected as the page says, from its first command to its last."""
    realm = await keycloak.new_realm(REALM)
    # What the server wrote before there was any event: those of other tests are not asked for here.
    (realm.home / "keycloak.log").write_bytes(realm.server.log.read_bytes().partition(b"Listening on:")[0])
    settings = {"SOURCES": [SOURCE], "KEYCLOAK__REALMS": {REALM: ["keycloak"]}}
    async with serving(tmp_path_factory.mktemp("push") / "data", settings=settings) as adapter:
        yield Connected(realm, adapter, [one async for one in _follow(realm, adapter)])
    await realm.admin("DELETE", "")


async def _follow(keycloak: Keycloak, adapter: Process) -> AsyncIterator[dict[str, Any]]:
    """Do what the page says; the realm before it, and after each block."""
    words = {
        "KEYCLOAK": keycloak.url,
        "ADAPTER": f"http://127.0.0.1:{adapter.port}",
        "REALM": REALM,
        "TOKEN": TOKEN,
        "READER": ADMIN_TOKEN,
    }
    written = re.compile(rf"\b({'|'.join(words)})\b")
    yield await keycloak.admin("GET", "")
    for block in blocks(PAGE):
        text = written.sub(lambda found: words[found[1]], block.text)
        if block.title is not None:
            (keycloak.home / block.title).write_text(text)
        elif block.language == "sh" and not block.text.startswith("idp-adapter "):
            await keycloak.shell(text.replace("--user admin", f"--user {ADMIN} --password {PASSWORD}"))
            yield await keycloak.admin("GET", "")


async def test_the_commands_of_the_page_change_nothing_else_of_a_realm(connected: Connected) -> None:
    before, after = connected.realms[0], connected.realms[-1]
    wanted = {
        "eventsEnabled": True,
        "eventsExpiration": 604800,
        "adminEventsEnabled": True,
        "adminEventsDetailsEnabled": True,
    }
    listeners = {*before["eventsListeners"], "ext-event-webhook", "ext-event-http"}
    assert set(after["eventsListeners"]) == listeners
    assert {*after["enabledEventTypes"]} > {"REFRESH_TOKEN", "INTROSPECT_TOKEN", "USER_INFO_REQUEST", "LOGIN"}
    added = {"adminEventsExpiration", "_providerConfig.ext-event-http.0"}
    attributes = {**after["attributes"]}
    assert {key for key in attributes if key in added} == added
    # What Keycloak itself writes down when a realm is saved: its defaults, under their names.
    spelled_out = {key: value for key, value in attributes.items() if key not in {*added, *before["attributes"]}}
    assert set(spelled_out.values()) <= {"0", "false"}
    kept = {key: value for key, value in attributes.items() if key in before["attributes"]}
    assert kept == before["attributes"]
    others = {"attributes", "eventsListeners", "enabledEventTypes"}
    assert {key: value for key, value in after.items() if key not in others} == {
        **{key: value for key, value in before.items() if key not in others},
        **wanted,
    }


async def test_a_login_and_a_failed_one_arrive_once(connected: Connected) -> None:
    status, _ = await connected.keycloak.login("alice", "alice-pw")
    assert status == 200
    status, _ = await connected.keycloak.login("alice", "wrong")
    assert status in (400, 401)
    (login,) = await connected.arrived("access.LOGIN", user="alice", client="app")
    (failed,) = await connected.arrived("access.LOGIN_ERROR", user="alice", client="app")
    assert (login["outcome"], failed["outcome"], failed["reason"]) == ("success", "failure", "bad_credentials")
    assert failed["error"] == "invalid_user_credentials"


async def test_the_secret_of_the_source_is_nowhere_in_the_feed(connected: Connected) -> None:
    events = await connected.arrived("admin.REALM-UPDATE")
    assert any("_providerConfig.ext-event-http.0" in event["representation"] for event in events)
    for event in await connected.adapter.events():
        async with connected.adapter.session.get(f"/events/{event['uid']}", params={"raw": "1"}) as response:
            assert TOKEN not in await response.text()


async def test_kcadm_reads_the_adapter_as_it_reads_keycloak(connected: Connected) -> None:
    url = f"http://127.0.0.1:{connected.adapter.port}"
    mine, theirs = "--config ours.config", ""
    await connected.keycloak.shell(
        f"kcadm.sh config credentials {mine} --server {url} --realm {REALM} --client reader --secret {ADMIN_TOKEN}"
    )
    for what in ("events -q type=LOGIN_ERROR", "admin-events -q resourceTypes=REALM"):
        answers = []
        for config in (mine, theirs):
            read = await connected.keycloak.shell(f"kcadm.sh get {what} {config} -r {REALM} -q max=1000")
            answers.append({one["id"]: (one["time"], one.get("userId")) for one in json.loads(read, strict=False)})
        assert answers[0]
        assert answers[0] == answers[1]


async def test_what_keycloak_stored_is_what_the_log_has(connected: Connected) -> None:
    """Both listeners pushed each event, and the page's last command posted them once more."""
    for path, prefix in (("/events?max=10000", "access."), ("/admin-events?max=10000", "admin.")):
        stored = {one["id"] for one in await connected.keycloak.admin("GET", path)}
        assert stored

        async def complete(stored: set[str] = stored, prefix: str = prefix) -> bool:
            had = [one["id"] for one in await connected.adapter.events(type=f"{prefix}*")]
            assert len(had) == len(set(had))
            return stored <= set(had)

        await until(complete)
