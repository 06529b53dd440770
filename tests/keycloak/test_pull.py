"""Real Keycloaks whose stored events are pulled: with ids and without, beside push and after trouble."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from adapter.outgoing.settings import OutgoingSettings
from adapter.sources.keycloak.needs import examine
from adapter.sources.keycloak.server import open_server
from adapter.sources.keycloak.settings import PullSettings
from tests.e2e.process import Process, command, serving, until
from tests.keycloak.distribution import NEWEST, PUSHING, WITHOUT_IDS
from tests.keycloak.server import Keycloak, Server, asked

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize(
        "server", [PUSHING, NEWEST, WITHOUT_IDS], indirect=True, scope="session", ids=lambda one: one.version
    ),
]

REALM = "pulled"

TOKEN = "QkstEpSEJCN9XGl-cnyBoVo7TTiiO6cC"
ALLOW = {"allow": ["127.0.0.0/8"]}


class Pulled(NamedTuple):
    keycloak: Keycloak
    folder: Path

    @property
    def pull(self) -> dict[str, Any]:
        return {
            "url": self.keycloak.url,
            "realms": [REALM],
            "client_id": "poller",
            "client_secret": "poller-secret",
            "interval": "0.2s",
        }

    def settings(self, **more: Any) -> dict[str, Any]:
        source = {"name": "kc", "provider": "keycloak", "token": TOKEN, "pull": {**self.pull, **more}}
        return {"SOURCES": [source], "OUTGOING": ALLOW}

    def file(self) -> str:
        """The settings as a file, for commands."""
        path = self.folder / "adapter.toml"
        pull = "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.pull.items())
        path.write_text(
            f'[outgoing]\nallow = ["127.0.0.0/8"]\n[[sources]]\nname = "kc"\nprovider = "keycloak"\n'
            f"[sources.pull]\n{pull}\n"
        )
        return str(path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pulled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pulled]:
    """A realm that keeps nothing until the command has prepared it."""
    async with asked(server) as first:
        keycloak = await first.new_realm(REALM)
        yield Pulled(keycloak, tmp_path_factory.mktemp("pull"))
        await keycloak.admin("DELETE", "")


async def native(adapter: Process) -> list[dict[str, Any]]:
    """The native events in the log."""
    found = []
    for event in await adapter.events():
        async with adapter.session.get(f"/events/{event['uid']}", params={"raw": "1"}) as response:
            found.append((await response.json())["raw"])
    return found


def told(events: Sequence[dict[str, Any]], *without: str) -> list[str]:
    """Events as texts that can be compared: without what is redacted in some."""
    without += ("representation",)
    return sorted(
        json.dumps({key: value for key, value in one.items() if key not in without}, sort_keys=True) for one in events
    )


async def equal(adapter: Process, pulled: Pulled, *without: str) -> None:
    """Wait until the log has what the server has, each as often. The poller's own logins are among it, at any time."""

    async def is_equal() -> bool:
        return told(await native(adapter), *without) == told(await pulled.keycloak.stored(), *without)

    await until(is_equal)


async def polled_again(adapter: Process) -> None:
    """Wait until the round is over that is under way, so that its place is stored."""

    async def last() -> float:
        return await adapter.metric("pull_last_timestamp_seconds", kind="events", realm=REALM, source="kc")

    await until(lambda: _positive(last()))
    before = await last()

    async def later() -> bool:
        return await last() > before

    await until(later)


async def _positive(number: Awaitable[float]) -> bool:
    return await number > 0


async def complete(adapter: Process, pulled: Pulled) -> None:
    """Wait until the log has as many events as the server."""

    async def has_all() -> bool:
        return len(await adapter.events()) >= len(await pulled.keycloak.stored())

    await until(has_all)


async def test_what_a_new_realm_lacks_is_said_and_turned_on_and_nothing_else_changed(pulled: Pulled) -> None:
    configured = PullSettings.model_validate(pulled.pull)
    async with open_server(configured, OutgoingSettings.model_validate(ALLOW)) as server:
        lacking = [one.text for one in await examine(server, REALM) if not one.well]
        assert any("no user events are kept" in one for one in lacking)
        assert await server.realms() == [REALM]
        before = await pulled.keycloak.admin("GET", "")
        # The account of the settings only reads; its administrator lets it change this once.
        with pytest.raises(AssertionError, match="the role manage-events"):
            await command("sources", "prepare", "kc", "--yes", "--config", pulled.file())
        await _grant(pulled.keycloak, "manage-events")
        written = await command("sources", "prepare", "kc", "--yes", "--config", pulled.file())
        assert "eventsEnabled: false becomes true" in written
        after = await pulled.keycloak.admin("GET", "")
        changed = {key for key in after if after[key] != before.get(key)}
        # Keycloak itself writes down the defaults of some attributes when a realm is saved.
        changed.discard("attributes")
        assert changed == {"eventsEnabled", "adminEventsEnabled", "adminEventsDetailsEnabled", "enabledEventTypes"}
        assert {key: value for key, value in after["attributes"].items() if key in before["attributes"]} == before[
            "attributes"
        ]
        assert [one.text for one in await examine(server, REALM) if not one.well] == []


async def test_each_stored_event_is_in_the_log_once_also_after_a_kill(pulled: Pulled) -> None:
    keycloak, data = pulled.keycloak, pulled.folder / "data"
    for name, password in (("alice", "alice-pw"), ("zoe", "zoe-pw"), ("zoe", "wrong"), ("nobody", "x")):
        await keycloak.login(name, password)
    async with serving(data, settings=pulled.settings()) as adapter:
        await complete(adapter, pulled)
        adapter.kill()
    for number in range(10):
        await keycloak.admin("POST", "/users", {"username": f"user-{number}", "enabled": True})
        await keycloak.login("alice", "alice-pw")
    async with serving(data, settings=pulled.settings()) as adapter:
        for _ in range(10):
            await keycloak.login("zoe", "zoe-pw")
        await equal(adapter, pulled)
        types = {event["type"] for event in await adapter.events()}
        assert {"access.LOGIN", "access.LOGIN_ERROR", "admin.USER-CREATE"} <= types
        assert await adapter.metric("pull_last_timestamp_seconds", kind="events", realm=REALM, source="kc") > 0
        assert "HTTP Request" not in adapter.errors
        assert await adapter.metric("pull_lag_seconds", kind="events", realm=REALM, source="kc") < 60
        assert await adapter.metric("pull_gaps_total", kind="events", realm=REALM, source="kc") == 0


async def test_pushed_events_are_the_ones_that_are_pulled(pulled: Pulled) -> None:
    """Every second event is pushed, in the form of a listener and with an id, and the others are not."""
    keycloak = pulled.keycloak
    async with serving(pulled.folder / "beside", settings=pulled.settings()) as adapter:
        for _ in range(6):
            await keycloak.login("alice", "alice-pw")
        stored = await pulled.keycloak.stored()
        ids = [{"id": f"00000000-0000-4000-8000-{number:012x}", **one} for number, one in enumerate(stored)]
        await adapter.post(ids[::2], "kc")
        await equal(adapter, pulled, "id")
        await adapter.post(ids, "kc")
        await equal(adapter, pulled, "id")


async def test_events_that_were_deleted_are_a_gap(pulled: Pulled) -> None:
    keycloak = pulled.keycloak
    async with serving(pulled.folder / "gap", settings=pulled.settings()) as adapter:
        await complete(adapter, pulled)
        await polled_again(adapter)
    await keycloak.login("alice", "alice-pw")
    await keycloak.admin("DELETE", "/events")
    await keycloak.login("zoe", "zoe-pw")
    async with serving(pulled.folder / "gap", settings=pulled.settings()) as adapter:

        async def told_so() -> bool:
            return await adapter.metric("pull_gaps_total", kind="events", realm=REALM, source="kc") == 1

        await until(told_so)
        assert "may be missing" in adapter.errors


async def test_a_wrong_secret_is_told(pulled: Pulled) -> None:
    async with serving(pulled.folder / "wrong", settings=pulled.settings(client_secret="wrong")) as adapter:

        async def warned() -> bool:
            async with adapter.session.get("/readyz") as response:
                return "or its secret, is refused" in await response.text()

        await until(warned)


async def _grant(keycloak: Keycloak, role: str) -> None:
    """Give the poller's account a role."""
    (client,) = await keycloak.admin("GET", "/clients?clientId=realm-management")
    (user,) = await keycloak.admin("GET", "/users?username=service-account-poller&exact=true")
    found = await keycloak.admin("GET", f"/clients/{client['id']}/roles/{role}")
    await keycloak.admin("POST", f"/users/{user['id']}/role-mappings/clients/{client['id']}", [found])
