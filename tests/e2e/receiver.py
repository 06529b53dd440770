"""A webhook's receiver on a loopback port that can be away, and remembers what it took."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from tests.e2e.process import until


class Receiver:
    """Takes every event, unless ``status`` says otherwise; nobody listens while it is `away`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host
        self.status = 204
        #: Seconds until it answers.
        self.delay = 0.0
        #: How often each event was taken, by its uid and the message id it came with.
        self.taken: Counter[tuple[str, str]] = Counter()
        #: How often it was asked.
        self.asked = 0
        self._runner: web.AppRunner | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What makes a sink of it."""
        return {
            "SINKS": [
                {
                    "name": "hook",
                    "kind": "webhook",
                    "url": f"http://{self.host}:{self.port}/",
                    "from": "beginning",
                    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                }
            ],
            "OUTGOING__ALLOW": ["127.0.0.0/8"],
        }

    @property
    def uids(self) -> set[str]:
        """The events that it has."""
        return {uid for uid, _ in self.taken}

    async def listen(self) -> None:
        """Answer from now on."""
        app = web.Application()
        app.router.add_post("/", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, reuse_address=True).start()

    async def leave(self) -> None:
        """Refuse connections from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def has(self, uids: Iterable[str]) -> None:
        """Wait until it has all of these."""
        wanted = set(uids)
        await until(lambda: wanted <= self.uids)

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        event = orjson.loads(await request.read())
        await asyncio.sleep(self.delay)
        if self.status < 300:
            self.taken[event["uid"], request.headers["webhook-id"]] += 1
        return web.Response(status=self.status)


@asynccontextmanager
async def receiver(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver that answers, on a port of its own."""
    with socket.create_server((host, 0)) as free:
        port: int = free.getsockname()[1]
    one = Receiver(port, host)
    await one.listen()
    try:
        yield one
    finally:
        await one.leave()
