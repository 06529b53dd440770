"""Events that forwarders bring, through a real service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.mapping.forwarded import AT, WRAPPED
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    sources = [
        {"name": "keycloak", "provider": "keycloak"},
        {"name": "bare", "provider": "keycloak", "unwrap": "none"},
        {"name": "docker", "provider": "keycloak", "unwrap": "docker"},
    ]
    async with opened(tmp_path_factory.mktemp("data"), sources=sources) as service:
        yield service


async def post(service: Opened, body: str, media: str, source: str = "keycloak") -> dict[str, Any]:
    headers = {"Content-Type": media}
    async with service.session.post(f"/ingest/{source}", data=body.encode(), headers=headers) as response:
        assert response.status == 202, await response.text()
        receipts: dict[str, Any] = await response.json()
        return receipts


def counts(receipts: dict[str, Any]) -> tuple[int, int, int, int]:
    return tuple(receipts[name] for name in ("accepted", "duplicates", "quarantined", "ignored"))


@pytest.mark.parametrize("name", ["docker", "splunk", "sns", "cloudwatch", "pubsub", "rfc5424", "journald"])
async def test_an_event_is_one_whichever_way_it_comes(service: Opened, name: str) -> None:
    event = login(4711)
    await service.post(event)
    [uid] = (await service.post(event))["uids"]
    body, media = WRAPPED[name](json.dumps(event))
    receipts = await post(service, body, media)
    assert (counts(receipts), receipts["uids"]) == ((0, 1, 0, 0), [uid])


async def test_what_is_kept_is_the_event_and_beside_it_what_it_came_in(service: Opened) -> None:
    event = login(4712)
    body = {"log": json.dumps(event) + "\n", "stream": "stdout", "time": "2026-01-14T09:04:57Z", "apiToken": "s3cret"}
    [uid] = (await post(service, json.dumps(body), "application/json"))["uids"]
    status, shown = await service.get(f"/events/{uid}", raw="1")
    assert (status, shown["raw"]) == (200, event)
    members = {"stream": "stdout", "time": "2026-01-14T09:04:57Z", "apiToken": "[redacted]"}
    assert shown["envelope"] == [{"forwarder": "docker", "time": 1_768_381_497_000, "members": members}]
    assert "envelope" not in (await service.get(f"/events/{uid}"))[1]
    [uid] = (await service.post(login(4715)))["uids"]
    assert "envelope" not in (await service.get(f"/events/{uid}", raw="1"))[1]


async def test_what_is_quarantined_keeps_what_it_came_in(service: Opened) -> None:
    odd = {"log": '{"odd":1}', "stream": "stderr"}
    receipts = await post(service, json.dumps(odd), "application/json", "docker")
    assert counts(receipts) == (0, 0, 1, 0)
    [uid] = receipts["uids"]
    status, shown = await service.get(f"/quarantine/{uid}", raw="1")
    assert (status, shown["envelope"]) == (200, [{"forwarder": "docker", "members": {"stream": "stderr"}}])


async def test_the_forwarders_time_is_kept_for_an_event_that_says_none(service: Opened) -> None:
    line = 'type="LOGOUT", realmId="acme", userId="u", ipAddress="203.0.113.7"'
    [uid] = (await post(service, *WRAPPED["docker"](line)))["uids"]
    status, shown = await service.get(f"/events/{uid}", raw="1")
    assert (status, shown["time"], shown["details"]["time_source"], shown["raw"]) == (200, AT, "forwarder", line)
    async with service.session.post("/renormalization") as response:
        assert response.status == 202, await response.text()
    while (await service.get("/renormalization"))[1]["state"] == "running":
        pass
    job = (await service.get("/renormalization"))[1]
    assert (job["counts"]["corrected"], job["counts"]["kept"]) == (0, 0)


async def test_a_source_may_say_what_its_events_come_in(service: Opened) -> None:
    body, media = WRAPPED["docker"](json.dumps(login(4713)))
    assert counts(await post(service, body, media, "bare")) == (0, 0, 1, 0)
    assert counts(await post(service, body, media, "docker")) == (1, 0, 0, 0)
    body, media = WRAPPED["splunk"](json.dumps(login(4714)))
    assert counts(await post(service, body, media, "docker")) == (0, 0, 1, 0)


async def test_lines_of_a_cluster_are_read_ignored_or_kept(service: Opened) -> None:
    lines = [
        '2026-01-14 09:04:50,000 DEBUG [org.keycloak.events] (x) type="LOGIN", realmId="acme", userId="u"',
        "2026-01-14 09:04:50,000 INFO  [io.quarkus] (main) Profile prod activated.",
        "2026-01-14 09:04:50,000 DEBUG [org.keycloak.events] (x) an event of another form",
    ]
    body = "\n".join(WRAPPED["cri"](line)[0] for line in lines)
    assert counts(await post(service, body, "text/plain")) == (1, 0, 1, 1)
    body = json.dumps([json.loads(WRAPPED["fluent-bit"](line)[0])[0] for line in lines])
    assert counts(await post(service, body, "application/json")) == (0, 1, 1, 1)
