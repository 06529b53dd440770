"""The service's own API, as the console's pages ask it: over HTTP, on connections that no other process can make."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import BaseConnector, ClientSession, ClientTimeout, DummyCookieJar
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest

#: Makes one end of a connection to the service; the other one is answered by it.
Connect = Callable[[], Awaitable[socket.socket]]

#: Seconds for which an answer may be silent.
_SILENT = 300.0


class _Inside(BaseConnector):
    """Connects to the service without an address."""

    def __init__(self, connect: Connect) -> None:
        super().__init__(limit=0)
        self._connect_inside = connect

    async def _create_connection(self, req: ClientRequest, traces: Any, timeout: ClientTimeout) -> ResponseHandler:
        ours = await self._connect_inside()
        _, protocol = await self._loop.create_unix_connection(self._factory, sock=ours)
        return protocol


@asynccontextmanager
async def open_inside(connect: Connect) -> AsyncIterator[ClientSession]:
    """A client of the service itself, as long as the context lasts; it asks as nobody, until a token is given."""
    async with ClientSession(
        "http://adapter.invalid/",
        connector=_Inside(connect),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_read=_SILENT),
        skip_auto_headers=("User-Agent",),
    ) as session:
        yield session
