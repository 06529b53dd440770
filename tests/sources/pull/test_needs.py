"""What is missing on a server is said, and turned on without any other change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapter.__main__ import make_app
from adapter.sources.keycloak.needs import TYPES, changed, changes, examine
from adapter.sources.keycloak.server import open_server
from tests.sources.pull.stored import SECRET, EventStore, Keycloak, serving
from tests.sources.pull.test_pull import LOOPBACK, pull

NEW = {
    "eventsEnabled": False,
    "adminEventsEnabled": False,
    "adminEventsDetailsEnabled": False,
    "eventsExpiration": 3600,
    "eventsListeners": ["jboss-logging"],
    "enabledEventTypes": ["LOGIN"],
}


async def missing(keycloak: Keycloak, realm: str = "acme") -> list[str]:
    async with open_server(pull(keycloak.url), LOOPBACK) as server:
        return [finding.text for finding in await examine(server, realm) if not finding.well]


@pytest.mark.parametrize("ids", [True, False])
async def test_what_a_new_realm_lacks_is_said(ids: bool) -> None:
    store = EventStore(ids=ids)
    store.configs["acme"] |= NEW
    async with serving(store) as keycloak:
        told = "\n".join(await missing(keycloak))
        for word in (
            "eventsEnabled",
            "adminEventsEnabled",
            "adminEventsDetailsEnabled",
            "REFRESH_TOKEN",
            "0.0416667 days",
        ):
            assert word in told
        store.configs["acme"] |= {**dict.fromkeys(list(NEW)[:3], True), "eventsExpiration": 0}
        store.configs["acme"]["enabledEventTypes"] = ["LOGIN", *TYPES]
        assert await missing(keycloak) == []


async def test_a_store_that_was_taken_away_and_a_missing_realm_are_said() -> None:
    async with serving(EventStore()) as keycloak:
        keycloak.instead["events"] = (500, '{"error":"unknown_error"}')
        assert any("KC_SPI_EVENTS_STORE_PROVIDER=jpa" in told for told in await missing(keycloak))
        (told,) = await missing(keycloak, "gone")
        assert "renamed or deleted" in told


def test_nothing_is_sent_but_what_changes_and_what_would_be_reset() -> None:
    wanted = changes(NEW | {"enabledEventTypes": ["LOGIN", *TYPES]})
    assert changed(NEW, wanted) == {
        "eventsEnabled": True,
        "adminEventsEnabled": True,
        "adminEventsDetailsEnabled": True,
        "eventsExpiration": 3600,
        "eventsListeners": ["jboss-logging"],
    }
    assert changed(NEW, changes(NEW))["enabledEventTypes"] == ["LOGIN", *TYPES]


async def test_a_realm_is_prepared_by_the_command_after_it_was_shown(tmp_path: Path) -> None:
    store = EventStore()
    store.configs["acme"] |= NEW
    async with serving(store) as keycloak:
        (tmp_path / "adapter.toml").write_text(
            f"""
            [outgoing]
            allow = ["127.0.0.0/8"]
            [[sources]]
            name = "kc"
            provider = "keycloak"
            [sources.pull]
            url = "{keycloak.url}"
            realms = ["acme"]
            client_id = "poller"
            client_secret = "{SECRET}"
            """
        )

        def idp_adapter(*words: str, answer: str | None = None) -> Any:
            arguments = ["sources", *words, "--config", str(tmp_path / "adapter.toml")]
            return CliRunner().invoke(make_app("sources"), arguments, input=answer)

        checked = await asyncio.to_thread(idp_adapter, "check", "kc")
        assert checked.exit_code == 1
        assert "MISSING  realm acme: no user events are kept (eventsEnabled is off)" in checked.output
        refused = await asyncio.to_thread(idp_adapter, "prepare", "kc", answer="n\n")
        assert "eventsEnabled: false becomes true" in refused.output
        assert store.configs["acme"]["eventsEnabled"] is False
        done = await asyncio.to_thread(idp_adapter, "prepare", "kc", answer="y\n")
        assert done.exit_code == 0, done.output
        assert store.configs["acme"]["eventsEnabled"] is True
        assert store.configs["acme"]["eventsExpiration"] == 3600
        assert store.configs["acme"]["enabledEventTypes"] == ["LOGIN", *TYPES]
        again = await asyncio.to_thread(idp_adapter, "prepare", "kc")
        assert "keeps all that is needed" in again.output
        unknown = await asyncio.to_thread(idp_adapter, "check", "other")
        assert "there are: kc" in unknown.output
