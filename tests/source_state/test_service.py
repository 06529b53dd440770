"""Silence and refusal, as a service shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapter import service as service_module
from adapter.settings import Settings
from adapter.source_state import watching
from tests.e2e.process import until
from tests.opened import Opened, login, opened

TOKEN = "the-token-of-the-source"
SOURCES = [
    {"name": "kc", "provider": "keycloak", "silence": "1min", "token": TOKEN},
    {"name": "okta", "provider": "okta"},
]
KEYS = [
    {"name": "reader", "token": "reader-token"},
    {"name": "scraper", "token": "scraper-token", "permissions": ["metrics"]},
]


class Later:
    """What the service takes for the time, ahead of the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0
        now = service_module._now
        monkeypatch.setattr(service_module, "_now", lambda: now() + self.ahead)
        monkeypatch.setattr(watching, "EVERY", 0.05)


async def status(service: Opened) -> dict[str, Any]:
    answered, found = await service.get("/status", token="reader-token")
    assert answered == 200
    assert isinstance(found, dict)
    return found


async def metrics(service: Opened) -> str:
    async with service.session.get("/metrics") as response:
        return await response.text()


async def system_events(service: Opened) -> list[dict[str, Any]]:
    _, page = await service.get("/events", type="system.SOURCE-*", order="log")
    found: list[dict[str, Any]] = page["events"]
    return found


async def test_a_silent_and_refused_source_is_seen_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = Later(monkeypatch)
    async with opened(tmp_path, sources=SOURCES, keys=KEYS) as service:
        assert (await service.get("/status", token="nobody"))[0] == 401
        assert (await service.get("/status", token="scraper-token"))[0] == 403
        await service.post([{"type": "odd"}, login(1)], "kc")
        found = await status(service)
        kc, okta = found["sources"]
        assert (kc["state"], kc["tenMinutes"], kc["total"]["accepted"], kc["total"]["quarantined"]) == ("ok", 2, 1, 1)
        assert kc["lastEventTime"] == login(1)["time"]
        assert (okta["state"], okta["lastAt"], okta["silentSince"]) == ("new", None, None)
        assert [one["problem"] for one in found["todo"]] == ["1 record of the last hour could not be made an event"]

        for _ in range(4):
            headers = {"Authorization": "Bearer wrong"}
            async with service.session.post("/ingest/kc", json=login(2), headers=headers) as response:
                assert response.status == 401
        found = await status(service)
        reason = "its Authorization is not that of the source"
        assert found["sources"][0]["state"] == "refused"
        assert found["sources"][0]["refused"]["reasons"] == {reason: 4}
        (todo,) = [one for one in found["todo"] if reason in one["problem"]]
        assert "token of the source kc" in todo["advice"]
        assert await system_events(service) == []

        later.ahead = 90_000

        async def told() -> bool:
            return len(await system_events(service)) == 2

        await until(told)
        silent, refused = sorted(await system_events(service), key=lambda one: one["type"], reverse=True)
        assert (silent["type"], silent["details"]["source"]) == ("system.SOURCE-SILENT", "kc")
        assert (refused["type"], refused["details"]["refused"]) == ("system.SOURCE-REFUSED", "4")
        assert (refused["details"]["reason"], refused["details"]["addresses"]) == (reason, "127.0.0.1")
        answered, ready = await service.get("/readyz")
        assert answered == 200
        assert [one.split(" since ")[0] for one in ready["warnings"]] == [
            "sources: kc: silent",
            "sources: kc: 4 requests refused",
        ]
        text = await metrics(service)
        assert 'idp_adapter_source_silent{source="kc"} 1.0' in text
        assert 'idp_adapter_source_refused{source="kc"} 1.0' in text
        assert 'source="okta"' not in text.partition("idp_adapter_source_silent")[2].partition("# HELP")[0]
        assert TOKEN not in json.dumps([found, ready, silent, refused])

        await service.post(login(3), "kc")

        async def is_back() -> bool:
            return 'idp_adapter_source_silent{source="kc"} 0.0' in await metrics(service)

        await until(is_back)
        assert (await system_events(service))[-1]["details"]["after"] == "silence"


@pytest.mark.parametrize("silence", ["1h", "15min", "2d", "usual", "never"])
def test_a_time_of_silence_is_a_setting(silence: str) -> None:
    assert Settings.model_validate({"sources": [{**SOURCES[0], "silence": silence}]})


@pytest.mark.parametrize(
    ("silence", "problem"), [("30s", "1min is the least"), ("soon", "15min, 1h or 2d"), ("", "15min, 1h or 2d")]
)
def test_what_is_no_time_is_refused_with_what_would_be_right(silence: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Settings.model_validate({"sources": [{**SOURCES[0], "silence": silence}]})
