"""Answers that no service of ours gives: commands read a bounded part of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from adapter.commands import client
from adapter.commands.client import Client, Refused
from adapter.errors import AdapterError


async def endless(request: web.Request) -> web.StreamResponse:
    """A body without an end and without a line's."""
    response = web.StreamResponse(status=int(request.query.get("status", "200")))
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


@pytest_asyncio.fixture
async def asking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(client, "ANSWER_SIZE", 1_000_000)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", endless)
    async with TestServer(app) as server, ClientSession(server.make_url("/")) as session:
        yield Client(session, own=False)


async def test_an_answer_without_an_end_is_broken_off(asking: Client) -> None:
    with pytest.raises(AdapterError, match="the answer is larger than"):
        await asking.ask("GET", "/renormalization")


async def test_a_line_without_an_end_is_broken_off(asking: Client) -> None:
    with pytest.raises(AdapterError, match="the answer is larger than"):
        async for _ in asking.lines("/mappings/acme/diff", [], {}):
            pass


async def test_a_refusal_without_an_end_is_broken_off(asking: Client) -> None:
    with pytest.raises(AdapterError) as raised:
        await asking.ask("GET", "/renormalization?status=500")
    assert not isinstance(raised.value, Refused)
