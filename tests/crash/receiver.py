"""A receiver that answers by dice: it takes most of what it gets, and refuses, fails, hangs, breaks off or has too many
requests else. It remembers what it took, for each sink, and judges every signature."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

#: Seconds for which it does not answer: longer than its sinks wait.
HANGS = 2.5


class DicedReceiver:
    """Made by `diced_receiver`."""

    def __init__(self, dice: random.Random) -> None:
        self.url = ""
        #: From now on it takes everything.
        self.is_kind = False
        #: Whoever is refused for ever, while it is not kind: users' ids.
        self.refused: set[str] = set()
        #: By sink: uids as often as they were answered with 2xx; in which order.
        self.taken: dict[str, list[str]] = defaultdict(list)
        #: By sink: uids whose answer said 2xx and broke off.
        self.doubtful: dict[str, Counter[str]] = defaultdict(Counter)
        #: By sink: secrets that it was told, and bodies that none of them had signed.
        self.secrets: dict[str, list[str]] = defaultdict(list)
        self.unsigned: Counter[str] = Counter()
        #: By sink: which of its secrets had signed the last body, by their number.
        self.last_signed: dict[str, set[int]] = {}
        self._dice = dice

    def has(self, sink: str) -> Counter[str]:
        """How often each event arrived and was answered for, as whoever sent it may know."""
        return Counter(self.taken[sink]) + self.doubtful[sink]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer one post."""
        sink, body = request.match_info["sink"], await request.read()
        self._judge(sink, request, body)
        events = orjson.loads(body)
        events = events if isinstance(events, list) else [events]
        uids = [event["uid"] for event in events]
        if not self.is_kind:
            users = {event.get("authDetails", {}).get("userId") for event in events}
            if sink != "ordered" and users & self.refused:
                return web.Response(status=422)
            if (answer := await self._rolled(request, sink, uids)) is not None:
                return answer
        self.taken[sink] += uids
        return web.Response(status=204)

    async def _rolled(self, request: web.Request, sink: str, uids: list[str]) -> web.StreamResponse | None:
        rolled = self._dice.random()
        if rolled < 0.05:
            return web.Response(status=500)
        if rolled < 0.09:
            return web.Response(status=400)
        if rolled < 0.095:
            return web.Response(status=429)
        if rolled < 0.10:
            await asyncio.sleep(HANGS)
            return web.Response(status=503)
        if rolled < 0.12:
            assert request.transport is not None
            self.doubtful[sink].update(uids)
            request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            await asyncio.sleep(0.01)
            request.transport.abort()
            return web.Response(status=200)
        if rolled < 0.2:
            await asyncio.sleep(0.05 * self._dice.random())
        return None

    def _judge(self, sink: str, request: web.Request, body: bytes) -> None:
        headers = request.headers
        signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
        found = set(headers["webhook-signature"].split(" "))
        secrets = self.secrets[sink]
        good = {number for number, secret in enumerate(secrets) if _signature(secret, signed) in found}
        if secrets and not good:
            self.unsigned[sink] += 1
        self.last_signed[sink] = good


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


@asynccontextmanager
async def diced_receiver(dice: random.Random) -> AsyncIterator[DicedReceiver]:
    """One that answers, while the context lasts."""
    receiver = DicedReceiver(dice)
    app = web.Application()
    app.router.add_post("/{sink}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()
