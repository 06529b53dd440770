"""A file from the console is whole, or its transfer is seen to break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError
from yarl import URL

from tests.console.conftest import Visitor, visiting
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: More than lies in the buffers of all connections from the log to the browser.
EVENTS, LENGTH = 2_000, 8_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("download")) as service:
        details = {"note": "x" * LENGTH}
        for start in range(0, EVENTS, 100):
            await service.post([login(number, details=details) for number in range(start, start + 100)])
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def auditor(service: Opened) -> AsyncIterator[Visitor]:
    """Somebody with a key of the log, who has signed in."""
    given = {"name": "auditor", "permissions": ["read", "export"]}
    async with service.session.post("/keys", json=given) as response:
        token = (await response.json())["token"]
    async with visiting(service) as visitor:
        await visitor.sign_in(token)
        yield visitor
    await revoke(service)


async def revoke(service: Opened) -> None:
    async with service.session.delete("/keys/auditor") as response:
        await response.read()


async def test_what_breaks_off_inside_is_no_file_for_the_browser(service: Opened, auditor: Visitor) -> None:
    async with auditor.session.get("/ui/events/export?format=unified") as response:
        assert response.status == 200
        await response.content.readexactly(1000)
        await revoke(service)
        with pytest.raises(ClientPayloadError):
            await response.read()


async def export_over_http_1_0(service: Opened, auditor: Visitor, query: str) -> Any:
    """The answer to a proxy that speaks HTTP/1.0 and would use its connection again."""
    url = URL(service.service.url)
    [cookie] = auditor.session.cookie_jar
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = {"Cookie": f"{cookie.key}={cookie.value}", "Connection": "keep-alive"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    writer.write(f"GET /ui/events/export?{query} HTTP/1.0\r\n{lines}\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.0 200")
    return reader, writer


async def test_nor_over_http_1_0_where_a_file_ends_with_its_connection(service: Opened, auditor: Visitor) -> None:
    reader, writer = await export_over_http_1_0(service, auditor, "format=unified")
    await revoke(service)
    with pytest.raises(ConnectionResetError):
        while await reader.read(1 << 20):
            pass
    writer.close()


async def test_over_http_1_0_a_file_ends_when_it_is_whole(service: Opened, auditor: Visitor) -> None:
    reader, writer = await export_over_http_1_0(service, auditor, f"format=unified&id={login(1)['id']}")
    assert (await reader.read()).count(login(1)["id"].encode()) >= 1
    writer.close()


async def test_what_is_not_broken_off_is_whole(service: Opened, auditor: Visitor) -> None:
    async with auditor.session.get("/ui/events/export?format=unified") as response:
        assert (await response.read()).count(b"\n") == EVENTS
