"""What who may manage sinks cannot reach with them: other hosts with stored secrets, what lies behind a proxy, what is
stored of others, and the past of a sink that was deleted."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapter.sinks.signing import make_secret
from tests.e2e.receiver import Receiver, receiver
from tests.opened import Opened, login, opened
from tests.sink_management.test_service import OUTGOING, ask, given

NUMBERS = itertools.count(10_000)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("data"), outgoing=OUTGOING) as one:
        yield one


OAUTH: dict[str, Any] = {
    "kind": "oauth2", "token_url": "http://127.0.0.1:8999/token", "client_id": "a",
    "client_secret": "client-secret-01"
}  # fmt: skip


async def test_the_token_of_a_sink_is_fetched_through_no_proxy_of_its_own(service: Opened, hook: Receiver) -> None:
    for proxy in ("http://10.0.0.5:8080", ""):
        asked = given(hook, "proxied", auth={**OAUTH, "proxy": proxy})
        refused = await ask(service, "POST", "/sinks", asked, status=400)
        assert refused["detail"].startswith("auth.proxy: a proxy is set in adapter.toml alone")


async def test_stored_credentials_go_to_no_other_host(service: Opened, hook: Receiver) -> None:
    auth = {"kind": "bearer", "token": "a-token-of-the-receiver"}
    await ask(service, "POST", "/sinks", given(hook, "moved", auth=auth), status=201)
    kept = {"kind": "bearer", "token": "<kept>"}
    elsewhere = {"kind": "webhook", "url": "https://evil.example/", "auth": kept}
    for method, path, body in (
        ("POST", "/sinks/check?send=0", {**elsewhere, "name": "moved"}),
        ("PUT", "/sinks/moved", elsewhere),
        ("PATCH", "/sinks/moved", {"url": "https://evil.example/"}),
    ):
        refused = await ask(service, method, path, body, status=400)
        assert refused["detail"].startswith("auth: its secrets were given for another host")
    moved = await ask(service, "PATCH", "/sinks/moved", {"url": "https://other.example/", "auth": auth})
    assert moved["settings"]["auth"]["token"] == "<kept>"


async def test_settings_that_are_only_tried_redact_nothing(service: Opened, hook: Receiver) -> None:
    name = "jane.doe@corp.example"
    asked = given(hook, "tried", auth={"kind": "headers", "headers": {"X-A": name}})
    await ask(service, "POST", "/sinks/check?send=0", asked)
    (uid,) = (await service.post([login(next(NUMBERS), username=name)]))["uids"]
    event = (await service.get(f"/events/{uid}"))[1]
    assert name in str(event)
    assert "[redacted]" not in str(event)


async def test_a_key_is_rotated_into_a_key_and_secrets_of_the_other_kind_stay(service: Opened, hook: Receiver) -> None:
    key, secret = (make_secret(kind, lambda size: bytes(range(size))) for kind in ("whsk", "whsec"))
    await ask(service, "POST", "/sinks", given(hook, "keyed", secret=[key]), status=201)
    made = await ask(service, "POST", "/sinks/keyed/rotate")
    assert made["secret"].startswith("whsk_")
    await ask(service, "POST", "/sinks", given(hook, "both", secret=[secret, key]), status=201)
    made = await ask(service, "POST", "/sinks/both/rotate")
    assert made["secret"].startswith("whsec_")
    assert (len(made["settings"]["secret"]), len(made["retiring"])) == (2, 1)


async def test_a_change_within_the_overlap_never_stops_a_sink(service: Opened, hook: Receiver) -> None:
    await ask(service, "POST", "/sinks", given(hook, "turned"), status=201)
    await ask(service, "POST", "/sinks/turned/rotate")
    changed = await ask(service, "PATCH", "/sinks/turned", {"signature": "phasetwo-sha256"})
    assert (changed["retiring"], changed["problem"]) == ([], None)
    await ask(service, "POST", "/sinks", given(hook, "bare"), status=201)
    await ask(service, "POST", "/sinks/bare/rotate")
    assert (await ask(service, "PATCH", "/sinks/bare", {"secret": None}))["retiring"] == []


async def test_a_replay_ends_with_its_sink(service: Opened, hook: Receiver) -> None:
    await service.post([login(next(NUMBERS)) for _ in range(20)])
    await ask(service, "POST", "/sinks", given(hook, "again"), status=201)
    asked = {"status": ["never"], "rate": 1}
    await ask(service, "POST", "/sinks/again/replay", asked, status=202)
    await ask(service, "DELETE", "/sinks/again?force=1")
    await ask(service, "POST", "/sinks", given(hook, "again"), status=201)
    await ask(service, "GET", "/sinks/again/replay", status=404)
    assert (await ask(service, "GET", "/sinks/again/attempts"))["attempts"] == []
