"""A receiver on a loopback port that answers as it is told, and keeps what it was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Hook:
    """A receiver."""

    port: int = 0
    status: int = 204
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    taken: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.taken]

    @property
    def uids(self) -> list[str]:
        return [json.loads(body)["uid"] for _, body in self.taken]


@asynccontextmanager
async def hooking() -> AsyncIterator[Hook]:
    """A receiver that listens."""
    one = Hook()

    async def take(request: web.Request) -> web.Response:
        one.taken.append((request.headers.copy(), await request.read()))
        return web.Response(status=one.status, text=one.text, headers=one.headers)

    app = web.Application()
    app.router.add_post("/", take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    one.port = server.port or 0
    yield one
    await server.close()
