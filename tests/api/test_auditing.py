"""Who read what stands in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from adapter.access import Access, Principal
from adapter.api.app import make_app
from adapter.api.auditing import AUDITING, LENGTH, ONE_BY_ONE, WAITING, Auditing, record
from adapter.api.operation import Answer, BodyReading, Operation
from adapter.errors import StoreUnavailable
from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import NewEntry
from adapter.settings import Audit, Look, Permission
from adapter.sources.budget import Budget
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio

KEYS = [{"name": "auditor", "token": "auditor-token", "permissions": ["read", "raw", "export"]}]


async def audits(folder: Path, **settings: Any) -> list[dict[str, Any]]:
    """What the log has of it when the service has ended."""
    async with opened(folder, **settings) as service:
        _, page = await service.get("/events", type="system.AUDIT-*", order="log", limit="1000")
        return list(page["events"])


async def read(service: Opened, path: str, **query: Any) -> None:
    headers = {"Authorization": "Bearer auditor-token"}
    async with service.session.get(path, params=query, headers=headers) as response:
        await response.read()
        assert response.status in (200, 404)


async def test_exports_and_raw_reads_are_told_once(tmp_path: Path) -> None:
    async with opened(tmp_path, keys=KEYS, audit={}) as service:
        await service.post([login(number) for number in range(3)])
        for _ in range(2):
            await read(service, "/events/export", type="access.*", client="account")
            await read(service, "/events/export", manifest="1")
            await read(service, f"/events/{login(1)['id']}", raw="1")
        await read(service, f"/events/{login(2)['id']}", raw="1")
        await read(service, "/quarantine", raw="1")
        await read(service, "/ignored", raw="1")
        # No look of this kind.
        await read(service, "/events", order="log")
        await read(service, f"/events/{login(1)['id']}")
        await read(service, "/quarantine")
    told = await audits(tmp_path)
    assert [(one["type"], one["details"]) for one in told] == [
        (
            "system.AUDIT-EXPORT",
            {"look": "export", "question": "/events/export?client=account&type=access.%2A", "events": "3"},
        ),
        ("system.AUDIT-EXPORT", {"look": "export", "question": "/events/export?manifest=1", "events": "3"}),
        ("system.AUDIT-READ", {"look": "raw", "question": f"/events/{login(1)['id']}?raw=1"}),
        ("system.AUDIT-READ", {"look": "raw", "question": f"/events/{login(2)['id']}?raw=1"}),
        ("system.AUDIT-READ", {"look": "raw", "question": "/quarantine?raw=1"}),
        ("system.AUDIT-READ", {"look": "raw", "question": "/ignored?raw=1"}),
    ]
    assert {(one["authDetails"]["username"], one["authDetails"]["ipAddress"]) for one in told} == {
        ("auditor", "127.0.0.1")
    }


async def test_what_is_not_to_be_recorded_is_not(tmp_path: Path) -> None:
    async with opened(tmp_path, keys=KEYS, audit={"record": ["export"]}) as service:
        await service.post([login(1)])
        await read(service, f"/events/{login(1)['id']}", raw="1")
        await read(service, "/events/export")
    assert [one["type"] for one in await audits(tmp_path)] == ["system.AUDIT-EXPORT"]


async def test_an_export_that_is_broken_off_is_told_as_such(tmp_path: Path) -> None:
    async with opened(tmp_path, keys=KEYS, audit={}) as service:
        details = {"note": "x" * 6_000}  # more than lies in the buffers of a connection
        for start in range(0, 2_000, 100):
            await service.post([login(number, details=details) for number in range(start, start + 100)])
        headers = {"Authorization": "Bearer auditor-token"}
        async with ClientSession(service.service.url, headers=headers) as session:
            response = await session.get("/events/export")
            await response.content.read(10)
            response.close()
        await read(service, "/events/export")
    [first, second] = await audits(tmp_path)
    assert first["details"]["whole"] == "false"
    assert int(first["details"]["events"]) < 2_000
    assert ("whole" in second["details"], second["details"]["events"]) == (False, "2000")


# Without a log that is one


class Stand:
    """An application whose one page is a look at people, and a log that takes entries, or does not."""

    def __init__(self) -> None:
        self.told: list[NewEntry] = []
        self.refuses = False
        self.now = 1_000_000
        self.auditing = Auditing(
            self.append, Audit(again_after=600), KnownSecrets(["a-secret-of-the-service"]),
            is_behind_proxy=True, now=lambda: self.now,
        )  # fmt: skip

    async def append(self, entries: Sequence[NewEntry]) -> None:
        if self.refuses:
            raise StoreUnavailable("the disk is full")
        self.told += entries

    def details(self) -> list[dict[str, str]]:
        return [orjson.loads(one.event or b"{}")["details"] for one in self.told]


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
async def client(stand: Stand) -> AsyncIterator[TestClient[Any, Any]]:
    async def look(request: web.Request) -> web.Response:
        record(request, Look.PEOPLE)
        return web.Response()

    operation = Operation(
        "GET", "/people", look, "People", {200: Answer("Them.")}, Permission.READ, other_parameters=True
    )
    principals = [(f"{name}-token", Principal(name, frozenset({Permission.READ}))) for name in ("reader", "other")]
    app = make_app(Access(principals), [operation], BodyReading(Budget(1 << 20), 1 << 20, 1.0))
    app[AUDITING] = stand.auditing
    async with TestClient(TestServer(app)) as client:
        yield client


async def ask(client: TestClient[Any, Any], query: str, name: str = "reader", address: str = "192.0.2.1") -> None:
    headers = {"Authorization": f"Bearer {name}-token", "X-Forwarded-For": address}
    async with client.get(f"/people?{query}", headers=headers) as response:
        assert response.status == 200


async def test_pages_of_an_answer_and_polls_are_one_question(stand: Stand, client: TestClient[Any, Any]) -> None:
    for query in ("user=zoe", "user=zoe&cursor=1&limit=7", "limit=9&user=zoe&names=1"):
        await ask(client, query)
    await ask(client, "user=zoe", "other")
    await stand.auditing.write()
    assert [one["question"] for one in stand.details()] == ["/people?user=zoe", "/people?user=zoe"]
    stand.now += 600_000
    await ask(client, "user=zoe")
    await stand.auditing.write()
    assert len(stand.told) == 3


async def test_what_is_told_of_a_question_has_its_own_address(stand: Stand, client: TestClient[Any, Any]) -> None:
    for address in ("198.51.100.1", "198.51.100.2", "198.51.100.1"):
        await ask(client, "user=zoe", address=address)
    await stand.auditing.write()
    addresses = [orjson.loads(one.event or b"{}")["authDetails"]["ipAddress"] for one in stand.told]
    assert addresses == ["198.51.100.1", "198.51.100.2"]
    # What is told of many questions together is of neither.
    for number in range(ONE_BY_ONE):
        await ask(client, f"user={number}", address="198.51.100.2")
    stand.now += 600_000
    stand.auditing.end_stretches(stand.now)
    await stand.auditing.write()
    assert "ipAddress" not in orjson.loads(stand.told[-1].event or b"{}")["authDetails"]


async def test_who_asks_very_much_is_told_by_a_number(stand: Stand, client: TestClient[Any, Any]) -> None:
    for number in range(ONE_BY_ONE + 30):
        await ask(client, f"user={number}")
    await ask(client, "user=1", "other")
    await stand.auditing.write()
    assert len(stand.told) == ONE_BY_ONE + 1
    stand.now += 600_000
    stand.auditing.end_stretches(stand.now)
    await stand.auditing.write()
    assert stand.details()[-1] == {"look": "people", "more": "30", "since": "1000000"}
    assert len(stand.told) == ONE_BY_ONE + 2


async def test_nobody_waits_for_a_log_that_takes_nothing(stand: Stand, client: TestClient[Any, Any]) -> None:
    stand.refuses = True
    await ask(client, "user=zoe")
    assert not await stand.auditing.write()
    await ask(client, "user=max")
    stand.refuses = False
    assert await stand.auditing.write()
    assert [one["question"] for one in stand.details()] == ["/people?user=zoe", "/people?user=max"]


async def test_what_the_log_takes_for_too_long_is_told_elsewhere(stand: Stand, client: TestClient[Any, Any]) -> None:
    stand.refuses = True
    for number in range(WAITING + 5):
        stand.now += 600_000
        await ask(client, f"user={number}")
    stand.refuses = False
    with capture_logs() as lines:
        await stand.auditing.write()
    assert [(line["event"], line["events"]) for line in lines] == [("audit_lost", 5)]
    assert len(stand.told) == WAITING


async def test_a_question_carries_no_secret_and_is_not_endless(stand: Stand, client: TestClient[Any, Any]) -> None:
    await ask(client, "q=a-secret-of-the-service")
    await ask(client, f"q={'x' * 5_000}")
    await stand.auditing.write()
    first, second = stand.details()
    assert first["question"] == "/people?q=[redacted]"
    assert len(second["question"]) == 2_000


async def test_the_end_of_a_long_question_is_no_part_of_a_secret(stand: Stand, client: TestClient[Any, Any]) -> None:
    filler = "x" * (LENGTH - len("/people?q=") - len("a-secret"))
    await ask(client, f"q={filler}a-secret-of-the-service")
    await stand.auditing.write()
    [told] = stand.details()
    assert len(told["question"]) == LENGTH
    assert told["question"].endswith("x[redacte")


async def test_what_is_left_is_told_at_the_end(stand: Stand, client: TestClient[Any, Any]) -> None:
    for number in range(ONE_BY_ONE + 3):
        await ask(client, f"user={number}")
    stand.auditing.stop()
    await asyncio.wait_for(stand.auditing.run(), 10)
    assert stand.details()[-1]["more"] == "3"
