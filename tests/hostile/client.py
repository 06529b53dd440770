"""A small HTTP client over raw sockets: what it sends is exactly what it is given, half requests included."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

#: Seconds after which an answer is given up.
PATIENCE = 60.0
#: Bytes that are handed over at a time, so that a thousand senders need little memory of ours.
PIECE = 1 << 18
#: Bytes of an answer's head.
HEAD_LIMIT = 1 << 20


class Address(NamedTuple):
    """Where a service listens."""

    host: str
    port: int


class NoAnswer(Exception):
    """The connection ended, or time ran out, before a whole answer was there."""


class Answer(NamedTuple):
    """One HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: From the last byte sent to the last byte read; of an answer that came earlier, from its first byte.
    seconds: float = 0.0


def request(
    method: str,
    path: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    length: int | None = None,
) -> bytes:
    """The bytes of a request. ``length`` is what it says of its body, if that is not true."""
    given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    lines = [f"{method} {path} HTTP/1.1", "Host: service", *(f"{name}: {value}" for name, value in given)]
    if body is not None or length is not None:
        lines.append(f"Content-Length: {len(body or b'') if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


class Connection:
    """One TCP connection to a service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address: Address, *, receive_buffer: int | None = None) -> Connection:
        """Connect. ``receive_buffer``: bytes that the kernel keeps for who does not read."""
        one = socket.socket()
        try:
            one.setblocking(False)
            if receive_buffer is not None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(one, tuple(address))
            limit = HEAD_LIMIT if receive_buffer is None else receive_buffer
            return cls(*await asyncio.open_connection(sock=one, limit=limit))
        except BaseException:
            one.close()
            raise

    async def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            OSError: the other side is gone.
        """
        for start in range(0, len(data), PIECE):
            self.writer.write(data[start : start + PIECE])
            await self.writer.drain()

    async def answer(self, patience: float = PATIENCE) -> Answer:
        """Read one answer; interim ones (1xx) are passed over.

        Raises:
            NoAnswer: it did not come, or not whole.
        """
        try:
            async with asyncio.timeout(patience):
                while True:
                    begin = time.monotonic()
                    status, headers = await self._head()
                    if status >= 200:
                        body = b"" if status in (204, 304) else await self._body(headers)
                        return Answer(status, headers, body, time.monotonic() - begin)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, TimeoutError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:200]) from None

    async def _head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ", 2)[1]), headers

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            chunks = []
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                chunks.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
            return b"".join(chunks)
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.reader.read()

    async def ended(self, patience: float) -> bool:
        """Whether the other side closes within so many seconds; what it sends meanwhile is thrown away."""
        try:
            async with asyncio.timeout(patience):
                while await self.reader.read(1 << 16):
                    pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def reset(self) -> None:
        """End the connection at once, with RST."""
        one = self.writer.get_extra_info("socket")
        if one is not None:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                await self.writer.wait_closed()


@asynccontextmanager
async def connected(address: Address, *, receive_buffer: int | None = None) -> AsyncIterator[Connection]:
    """A connection for as long as the context lasts."""
    connection = await Connection.open(address, receive_buffer=receive_buffer)
    try:
        yield connection
    finally:
        await connection.close()


async def ask(address: Address, data: bytes, patience: float = PATIENCE) -> Answer:
    """Send a request on a connection of its own, and read its answer, also one that comes before all is sent.

    Raises:
        NoAnswer: there was none.
    """
    try:
        async with asyncio.timeout(patience), connected(address) as connection:
            begin = time.monotonic()
            sent = begin

            async def send() -> None:
                nonlocal sent
                with suppress(OSError):  # it may have answered and closed
                    await connection.send(data)
                sent = time.monotonic()

            sending = asyncio.create_task(send())
            try:
                answer = await connection.answer(patience)
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
            ended = time.monotonic()
            return answer._replace(seconds=ended - sent if begin < sent < ended else answer.seconds)
    except (OSError, TimeoutError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}"[:200]) from None
