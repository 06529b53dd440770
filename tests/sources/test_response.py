"""The answer to posted events is written as aiohttp would write it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from adapter.sources.response import IngestResponse

DEADLINE = 30.0


class Server:
    """Answers every request with ``size`` bytes."""

    def __init__(self) -> None:
        self.size = 1
        self.port = 0
        self.answered = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.answered += 1
        return IngestResponse({"uids": "x" * self.size})

    async def send(self, data: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        writer.write(data)
        return reader

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    yield server
    server.close()
    await runner.cleanup()


def get(version: str = "1.1", headers: str = "") -> bytes:
    return f"GET / HTTP/{version}\r\nHost: here\r\n{headers}\r\n".encode()


async def head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    async with asyncio.timeout(DEADLINE):
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    pairs = (line.lower().partition(":") for line in lines)
    return first, {name: value.strip() for name, _, value in pairs}


async def test_a_connection_that_stays_open_gets_one_after_another(server: Server) -> None:
    reader = await server.send(get() * 3)
    for _ in range(3):
        first, headers = await head(reader)
        assert first == "HTTP/1.1 202 Accepted"
        assert headers.pop("date").endswith(" gmt")
        assert headers == {"content-type": "application/json", "content-length": "12"}
        assert await reader.readexactly(12) == b'{"uids":"x"}'


@pytest.mark.parametrize(
    ("request_bytes", "connection"),
    [
        (get(headers="Connection: close\r\n"), "close"),
        (get("1.0"), None),
        (get("1.0", "Connection: keep-alive\r\n"), "keep-alive"),
    ],
    ids=["close", "HTTP/1.0", "HTTP/1.0 that stays open"],
)
async def test_a_connection_ends_when_the_caller_says_so(server: Server, request_bytes: bytes, connection: Any) -> None:
    reader = await server.send(request_bytes)
    _, headers = await head(reader)
    assert headers.get("connection") == connection
    assert headers["content-type"] == "application/json"
    assert await reader.readexactly(int(headers["content-length"])) == b'{"uids":"x"}'
    if connection != "keep-alive":
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b""


async def test_who_takes_nothing_of_his_answers_gets_no_more(server: Server) -> None:
    server.size = 1_000_000
    reader = await server.send(get() * 100)
    answered = -1
    while answered != server.answered:
        answered = server.answered
        await asyncio.sleep(0.3)
    assert 1 <= answered < 50
    # Once they are taken, the others follow.
    for _ in range(100):
        _, headers = await head(reader)
        await reader.readexactly(int(headers["content-length"]))
    assert server.answered == 100
