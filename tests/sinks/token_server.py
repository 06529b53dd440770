"""An OAuth2 server and a receiver that takes its tokens, on loopback ports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web


class TokenServer:
    """Gives tokens that end, to whom it knows."""

    def __init__(self) -> None:
        self.url = ""
        #: Seconds that a token is good for, as it says and as it holds to it.
        self.says: Any = 300
        self.lifetime = 300.0
        self.clock: Callable[[], float] = time.monotonic
        #: What it was asked: headers and form.
        self.asked: list[tuple[dict[str, str], dict[str, str]]] = []
        #: What it answers in the place of a token.
        self.answer: Callable[[], web.Response] | None = None
        #: Set when it is asked; it answers when the other one is set.
        self.called = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self._tokens: dict[str, float] = {}

    def is_good(self, authorization: str) -> bool:
        return self.clock() < self._tokens.get(authorization.removeprefix("Bearer "), 0)

    def revoke(self) -> None:
        """No token that was given is taken any more."""
        self._tokens.clear()

    async def give(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        self.asked.append((dict(request.headers), form))
        self.called.set()
        await self.open.wait()
        if self.answer is not None:
            return self.answer()
        token = f"token-{len(self.asked)}"
        self._tokens[token] = self.clock() + self.lifetime
        says = {} if self.says is None else {"expires_in": self.says}
        return web.json_response({"access_token": token, "token_type": "bearer", **says})


class Guarded:
    """A receiver that takes posts with a token of the server, and answers 401 to others."""

    def __init__(self, tokens: TokenServer) -> None:
        self._tokens = tokens
        self.url = ""
        self.answers: list[tuple[str, int]] = []
        self._taken = asyncio.Condition()

    async def taken(self, count: int) -> None:
        """Wait until so many posts were taken."""
        async with self._taken:
            await self._taken.wait_for(lambda: sum(status == 200 for _, status in self.answers) >= count)

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        presented = request.headers.get("Authorization", "")
        status = 200 if self._tokens.is_good(presented) else 401
        async with self._taken:
            self.answers.append((presented.removeprefix("Bearer "), status))
            self._taken.notify_all()
        return web.Response(status=status)


@asynccontextmanager
async def token_server() -> AsyncIterator[tuple[TokenServer, Guarded]]:
    """Both, while the context lasts."""
    server = TokenServer()
    receiver = Guarded(server)
    app = web.Application()
    app.router.add_post("/token", server.give)
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        server.url, receiver.url = f"{url}/token", f"{url}/hook"
        yield server, receiver
    finally:
        server.open.set()
        await runner.cleanup()
