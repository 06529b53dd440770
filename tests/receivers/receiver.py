"""The receiver: its listeners, and what it sees on each path."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.receivers.behaviours import BEHAVIOURS, Behaviour
from tests.receivers.certificates import KINDS, make_certificates
from tests.receivers.judging import Bounds
from tests.receivers.names import ZONE, NameServer
from tests.receivers.score import Score, make_score
from tests.receivers.seen import Exchange, Seen

#: Headers that name a message, of the senders that are known; without any of them its body does.
IDS = ("webhook-id", "svix-id", "event-id", "x-event-id", "x-convoy-idempotency-key", "idempotency-key")
#: Bytes of a request's head at most, and of a body that is read.
HEAD, BODY = 65536, 64 * 1024 * 1024
#: Bytes that wait in the kernel on this side: few, so that what was written was taken, or nearly.
_SEND_BUFFER = 1 << 15
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Turn:
    """One request, as `behaviours.Turn` has it."""

    def __init__(
        self,
        receiver: Receiver,
        exchange: Exchange,
        seen: Seen,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.writer = writer
        self.seen = seen
        self.base = receiver.base
        self.inner = receiver.inner
        self.is_first_try = sum(one.message == exchange.message for one in seen.exchanges) == 1
        self._exchange = exchange
        self._reader = reader

    async def send(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange.answered is None:
            exchange.answered = time.monotonic()
        self.writer.write(data)
        await self.writer.drain()
        exchange.taken += len(data)

    async def until_left(self, patience: float = float("inf")) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if patience == float("inf") else patience):
                while await self._reader.read(65536):
                    pass
                self._exchange.is_left = True


class Receiver:
    """Listens, and remembers what it saw. Made by `open_receiver`."""

    def __init__(self, host: str, inner_host: str) -> None:
        self.host = host
        self.inner_host = inner_host
        self.port = 0
        self.ca_file = Path()
        self.dns = ("", 0)
        #: What senders are held to.
        self.bounds = Bounds()
        self.seen = {one.name: Seen() for one in BEHAVIOURS}
        #: Port of each listener.
        self.ports: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._by_name = {one.name: one for one in BEHAVIOURS}
        self._tasks: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._rounds = itertools.count()

    @property
    def base(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def inner(self) -> str:
        return f"http://{self.inner_host}:{self.port}"

    def url(self, behaviour: Behaviour) -> str:
        """Where a sender is to be pointed."""
        if behaviour.listener == "names":
            return f"http://{behaviour.name}.{ZONE}:{self.port}/{behaviour.name}"
        scheme = "http" if behaviour.listener == "http" else "https"
        return f"{scheme}://{self.host}:{self.ports[behaviour.listener]}/{behaviour.name}"

    def score(self, bounds: Bounds) -> Score:
        """How the sender did so far."""
        now = time.monotonic()
        return make_score(
            (one.name, one.does, self.url(one), one.judge(self.seen[one.name], bounds, now)) for one in BEHAVIOURS
        )

    def look_up(self, name: str) -> list[str] | None:
        """The addresses that a name has this time."""
        label, _, zone = name.partition(".")
        if zone != ZONE:
            return None
        if label in self.seen:
            self.seen[label].lookups += 1
        match label:
            case "rebound":
                return [self.inner_host if self.seen[label].lookups % 2 == 0 else self.host]
            case "mixed":
                both = [self.host, self.inner_host]
                return both[::-1] if next(self._rounds) % 2 else both
            case _:
                return None

    async def take(self, listener: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        number = next(self._numbers)
        paths: set[str] = set()
        try:
            while True:
                line, headers = _read_head(await reader.readuntil(b"\r\n\r\n"))
                method, target, _ = line.split(" ", 2)
                if not await self._answer(listener, number, method, target, headers, reader, writer, paths):
                    break
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            self._tasks.pop(task, None)
            for name in paths:
                self.seen[name].open.discard(number)
            writer.close()

    async def _answer(
        self,
        listener: str,
        number: int,
        method: str,
        target: str,
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        paths: set[str],
    ) -> bool:
        """Answer one request; whether the connection may serve for another one."""
        name = target.partition("?")[0].strip("/")
        behaviour = self._by_name.get(name)
        if behaviour is None or (
            behaviour.listener != listener and (behaviour.listener, listener) != ("names", "http")
        ):
            await self._other(name, writer)
            return False
        seen = self.seen[name]
        begun = time.monotonic()
        message = next((headers[one] for one in IDS if one in headers), None)
        # What is not read the first time, is read when it comes again: then it is taken.
        reads = behaviour.reads or any(one.message == message for one in seen.exchanges)
        body = await _read_body(headers, reader) if reads else b""
        if message is None:
            message = hashlib.sha256(body or repr(sorted(headers.items())).encode()).hexdigest()
        exchange = Exchange(begun, number, method, headers, message)
        seen.begin(exchange)
        paths.add(name)
        keeps = False
        try:
            keeps = await behaviour.answer(_Turn(self, exchange, seen, reader, writer))
        except ConnectionError:
            exchange.is_left = True
        finally:
            exchange.ended = time.monotonic()
        return keeps and reads

    async def _other(self, name: str, writer: asyncio.StreamWriter) -> None:
        """A page to which a redirect leads, or something for the person who runs this."""
        what, _, rest = name.partition("/")
        if what == "landing":
            if (seen := self.seen.get(f"redirect-{rest}")) is not None:
                seen.inner.append(f"/{name}")
            writer.write(_PAGE)
        else:
            body = json.dumps(self.score(self.bounds).as_json(), indent=1) if name == "score" else self.told()
            media = "application/json" if name == "score" else "text/plain"
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write((head + body).encode())
        await writer.drain()

    def told(self) -> str:
        """All that a person needs to point a sender here."""
        lines = [f"{self.url(one)}  {one.does}" for one in BEHAVIOURS]
        lines += [
            "",
            f"authority of the certificates: {self.ca_file}",
            f"name server: {self.dns[0]}, UDP {self.dns[1]}",
        ]
        lines += [f"the score so far: {self.base}/score", ""]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "base": self.base,
            "score": f"{self.base}/score",
            "inner": self.inner,
            "caFile": str(self.ca_file),
            "dns": {"host": self.dns[0], "port": self.dns[1]},
            "urls": {one.name: self.url(one) for one in BEHAVIOURS},
        }

    async def take_inner(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection where none may come. Whatever is asked for there, is noted."""
        with suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            line, headers = _read_head(await reader.readuntil(b"\r\n\r\n"))
            target = line.split(" ", 2)[1]
            name = target.strip("/")
            name = f"redirect-{name.removeprefix('landing/')}" if name.startswith("landing/") else name
            seen = self.seen.get(name) or self.seen.get(headers.get("host", "").partition(".")[0])
            if seen is not None:
                seen.inner.append(f"{self.inner_host}{target}")
            writer.write(_PAGE)
            await writer.drain()
        writer.close()

    async def take_tls(
        self, kind: str, context: ssl.SSLContext | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A connection that is to be TLS. Without a context it never becomes that."""
        name = next(one.name for one in BEHAVIOURS if one.listener == kind)
        seen = self.seen[name]
        begun = time.monotonic()
        seen.knocks.append(begun)
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        try:
            if context is None:
                while await reader.read(65536):
                    pass
            else:
                await writer.start_tls(context)
        except OSError:  # what ssl raises are some of them
            context = None
        finally:
            self._tasks.pop(task, None)
        if context is None:
            seen.held.append(time.monotonic() - begun)
            writer.transport.abort()
            return
        await self.take(kind, reader, writer)

    async def close(self) -> None:
        """End all connections."""
        for writer in self._tasks.values():
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)


def _read_head(head: bytes) -> tuple[str, dict[str, str]]:
    line, *fields = head.decode("latin-1").strip().split("\r\n")
    return line, {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}


async def _read_body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    """
    Raises:
        ValueError: it is none, or too long.
        EOFError: it is not whole.
    """
    if "chunked" in headers.get("transfer-encoding", "").lower():
        parts, size = [], 0
        while length := int((await reader.readline()).partition(b";")[0], 16):
            size += length
            if size > BODY:
                raise ValueError("too long")
            parts.append(await reader.readexactly(length))
            await reader.readline()
        while (await reader.readline()).strip():
            pass
        return b"".join(parts)
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= BODY:
        raise ValueError("too long")
    return await reader.readexactly(length)


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=1024)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return listener


@asynccontextmanager
async def open_receiver(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    inner_host: str = "127.0.0.2",
    port: int = 0,
    dns_host: str | None = None,
    dns_port: int = 0,
    bounds: Bounds | None = None,
) -> AsyncIterator[Receiver]:
    """The receiver, while the context lasts. It puts its certificates into ``folder``. TLS listens on the ports after
    ``port``; 0: on any that are free.

    Raises:
        OSError: it cannot listen there.
    """
    receiver = Receiver(host, inner_host)
    receiver.bounds = bounds or Bounds()
    receiver.ca_file, contexts = make_certificates(folder, host)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(receiver.close)

        async def serve(listener: socket.socket, take: Any) -> int:
            server = await asyncio.start_server(take, sock=listener, limit=HEAD)
            stack.callback(server.close)
            bound: int = listener.getsockname()[1]
            return bound

        # The inner address has the port of the outer one, so that a name can lead to either.
        for _ in range(20):
            outer = _listener(host, port)
            receiver.port = outer.getsockname()[1]
            try:
                inside = _listener(inner_host, receiver.port)
                break
            except OSError:
                outer.close()
                if port:
                    raise
        else:
            raise OSError(f"no port is free on both {host} and {inner_host}")
        receiver.ports["http"] = await serve(outer, lambda *streams: receiver.take("http", *streams))
        await serve(inside, receiver.take_inner)
        for number, kind in enumerate((*KINDS, "silent"), start=1):

            async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str = kind) -> None:
                await receiver.take_tls(kind, contexts.get(kind), reader, writer)

            receiver.ports[kind] = await serve(_listener(host, port + number if port else 0), take)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: NameServer(receiver.look_up), local_addr=(dns_host or host, dns_port)
        )
        stack.callback(transport.close)
        receiver.dns = transport.get_extra_info("sockname")[:2]
        yield receiver
