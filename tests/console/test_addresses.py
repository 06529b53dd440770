"""What is recorded of people in the console has their own address, whatever they say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import visiting
from tests.opened import login, opened

pytestmark = pytest.mark.asyncio
SAID = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}


@pytest.mark.parametrize(
    ("server", "headers", "address"),
    [
        ({}, SAID, "127.0.0.1"),
        ({"behind_tls": True}, SAID, "198.51.100.7"),
        ({"behind_tls": True}, {"X-Forwarded-For": "198.51.100.7, nobody"}, None),
        ({"behind_tls": True}, {"X-Forwarded-For": "::ffff:198.51.100.7"}, "198.51.100.7"),
        ({"behind_tls": True}, {}, None),
    ],
)
async def test_reads_and_sign_ins_have_the_persons_address(
    tmp_path: Path, server: dict[str, Any], headers: dict[str, str], address: str | None
) -> None:
    async with opened(tmp_path, audit={}, server=server) as service, visiting(service) as visitor:
        [uid] = (await service.post(login(1)))["uids"]
        visitor.session.headers.update(headers)
        await visitor.sign_in()
        assert (await visitor.page(f"/ui/events/{uid}"))[0] == 200
        assert (await visitor.page("/ui/events/export?format=csv"))[0] == 200
    async with opened(tmp_path) as service:
        _, page = await service.get("/events", type=["system.AUDIT-*", "system.CONSOLE-*"], order="log")
    assert [(one["type"], one["authDetails"].get("ipAddress")) for one in page["events"]] == [
        ("system.CONSOLE-SIGNED-IN", address),
        ("system.AUDIT-READ", address),
        ("system.AUDIT-EXPORT", address),
    ]
