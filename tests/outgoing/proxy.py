"""A forward proxy for tests: CONNECT, and requests in absolute form, to names that it knows."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class ForwardProxy:
    """Connects to any port of the names in ``names``, each an address, or to ``port`` of it whatever it is asked for;
    notes what it was asked for."""

    def __init__(
        self, names: dict[str, str], *, user: str | None = None, password: str = "", port: int | None = None
    ) -> None:
        #: First line of each request, and names and values of its headers in lower case.
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.port = 0
        self._names = names
        self._port = port
        self._wanted = None if user is None else base64.b64encode(f"{user}:{password}".encode()).decode()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        return [line for line, _ in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
        self.requests.append((line, headers))
        if self._wanted is not None and headers.get("proxy-authorization") != f"Basic {self._wanted}":
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        method, target, version = line.split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        address = self._names.get(url.hostname or "")
        if address is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection(address, self._port or url.port or 80)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            kept = [one for one in fields if not one.lower().startswith("proxy-")]
            path = url._replace(scheme="", netloc="").geturl()
            far_writer.write("\r\n".join([f"{method} {path} {version}", *kept, "", ""]).encode())
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
