"""Answers that are written piece by piece."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer

from adapter.api.stream import PIECE, sent_json, streamed


async def whole(request: web.Request) -> web.StreamResponse:
    async with streamed(request, "text/plain", {"X-More": "1"}) as stream:
        await stream.write(b"all of it")
    return stream.response


async def broken(request: web.Request) -> web.StreamResponse:
    async with streamed(request, "text/plain") as stream:
        await stream.write(b"a part of it")
        raise OSError("the disk is gone")
    return stream.response


async def test_an_answer_ends_with_its_context() -> None:
    app = web.Application()
    app.router.add_get("/", whole)
    async with TestClient(TestServer(app)) as client, client.get("/") as response:
        assert await response.text() == "all of it"
        assert (response.content_type, response.headers["X-More"]) == ("text/plain", "1")
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_breaks_off_is_never_taken_for_the_whole() -> None:
    app = web.Application()
    app.router.add_get("/", broken)
    async with TestClient(TestServer(app)) as client, client.get("/") as response:
        with pytest.raises(ClientPayloadError):
            await response.read()


async def test_over_http_1_0_what_breaks_off_is_reset() -> None:
    """There an answer ends where its connection does, so a plain end would make a whole of the part."""
    app = web.Application()
    app.router.add_get("/", broken)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_reader_that_takes_nothing_is_cut_off_and_what_it_has_not_taken_is_bounded() -> None:
    written = 0
    ended = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        async with streamed(request, "text/plain", reading_timeout=0.2) as stream:
            try:
                while True:
                    await stream.write(bytes(PIECE))
                    written += PIECE
            except TimeoutError:
                ended.set()
                raise
        return stream.response

    app = web.Application()
    app.router.add_get("/", endless)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 30)
        assert written < 64 * 1024 * 1024  # what the system's buffers take
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1 << 30)
        writer.close()


@pytest.mark.parametrize("size", [10, 300_000])
async def test_json_of_any_length_has_its_length_said(size: int) -> None:
    body = b'"%s"' % (b"x" * size)

    async def show(request: web.Request) -> web.StreamResponse:
        return await sent_json(request, body)

    app = web.Application()
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        async with client.get("/") as response:
            assert (await response.read(), response.content_length) == (body, len(body))
            assert (response.content_type, response.headers["X-Content-Type-Options"]) == (
                "application/json",
                "nosniff",
            )
        async with client.head("/") as response:
            assert (await response.read(), response.content_length) == (b"", len(body))
