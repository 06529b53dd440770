"""Answers that are written piece by piece."""

from __future__ import annotations

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer

from adapter.api.stream import streamed


async def whole(request: web.Request) -> web.StreamResponse:
    async with streamed(request, "text/plain", {"X-More": "1"}) as response:
        await response.write(b"all of it")
    return response


async def broken(request: web.Request) -> web.StreamResponse:
    async with streamed(request, "text/plain") as response:
        await response.write(b"a part of it")
        raise OSError("the disk is gone")
    return response


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
