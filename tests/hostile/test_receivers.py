"""Receivers of a webhook that answer as no receiver should: receiving goes on, and what is read of them is bounded."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.e2e.process import until
from tests.hostile.shapes import MIB
from tests.hostile.stand import Stand, post
from tests.hostile.watches import Watch
from tests.opened import login

pytestmark = [pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]

#: Bytes of one answer that may be taken, what kernels buffer included.
READ = 1 * MIB

#: Seconds for which a receiver has one habit, with full sizes and in short.
FULL, SHORT = 5.0, 2.0

Writer = asyncio.StreamWriter
Answering = Callable[["Receiver", Writer], Awaitable[None]]


class Receiver:
    """Accepts posts on a loopback port, and answers each as it was told to."""

    def __init__(self, answering: Answering) -> None:
        #: Taken in turn.
        self.answerings = [answering]
        self.port = 0
        #: Connections so far, and bytes that were written to them.
        self.asked = 0
        self.written = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def take(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.asked += 1
        with suppress(OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                0,
            )
            await reader.readexactly(length)
            await self.answerings[self.asked % len(self.answerings)](self, writer)
        writer.transport.abort()
        self._tasks.discard(task)

    async def write(self, writer: Writer, data: bytes) -> None:
        """Write, and count what the other side took."""
        writer.write(data)
        await writer.drain()
        self.written += len(data)

    async def close(self) -> None:
        """End all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)


def endless(before: bytes, unit: bytes) -> Answering:
    """An answer that goes on for ever."""

    async def answer(receiver: Receiver, writer: Writer) -> None:
        await receiver.write(writer, before)
        while True:
            await receiver.write(writer, unit)

    return answer


def trickling(before: bytes, unit: bytes) -> Answering:
    """An answer that comes a byte at a time."""

    async def answer(receiver: Receiver, writer: Writer) -> None:
        await receiver.write(writer, before)
        while True:
            await receiver.write(writer, unit)
            await asyncio.sleep(0.05)

    return answer


def once(data: bytes) -> Answering:
    """An answer, and the end of the connection."""

    async def answer(receiver: Receiver, writer: Writer) -> None:
        await receiver.write(writer, data)
        writer.close()
        await writer.wait_closed()

    return answer


async def never(receiver: Receiver, writer: Writer) -> None:
    """No answer."""
    await asyncio.Event().wait()


OK = b"HTTP/1.1 200 OK\r\n"

_ENDLESS: dict[str, Answering] = {
    "100 Continue for ever": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "103 Early Hints for ever": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000),
    "an endless chunk extension": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 65536),
    "endless chunk extensions": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 16
    ),
    "endless headers": endless(OK, b"X-A: a\r\n" * 8192),
    "an endless header": endless(OK + b"X-A: ", b"a" * 65536),
    "an endless status line": endless(b"HTTP/1.1 200 ", b"a" * 65536),
    "endless trailers": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: a\r\n" * 8192),
    "an endless body": endless(OK + b"\r\n", b"a" * 65536),
    "a body of gzip": endless(OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0" * 65536),
}

_SLOW: dict[str, Answering] = {
    "no answer": never,
    "a trickling head": trickling(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
    "a trickling body": trickling(OK + b"Content-Length: 100000\r\n\r\n", b"a"),
}

_ODD: dict[str, Answering] = {
    "an end at once": once(b""),
    "no HTTP": once(b"\x16\x03\x01" * 1000),
    "a negative length": once(OK + b"Content-Length: -1\r\n\r\n"),
    "a huge length": once(OK + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n"),
}


_LATER = b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: "

WELL = once(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

#: Each asks for more than the hour that any receiver gets.
_WAITS: dict[str, Answering] = {
    "a huge Retry-After": once(_LATER + b"9" * 5000 + b"\r\n\r\n"),
    "a Retry-After in the year 9999": once(_LATER + b"Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n"),
}

RECEIVERS = {"answers without an end": _ENDLESS, "slow answers": _SLOW, "odd answers": _ODD}


@asynccontextmanager
async def listening(answering: Answering) -> AsyncIterator[Receiver]:
    """A receiver on a loopback port."""
    receiver = Receiver(answering)
    # Small buffers, so that what is written was read, or nearly.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
    server = await asyncio.start_server(receiver.take, sock=listener)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()


def webhook(receiver: Receiver) -> dict[str, Any]:
    """Settings of a service that sends all it has to a receiver."""
    sink = {
        "name": "hook",
        "kind": "webhook",
        "url": f"http://127.0.0.1:{receiver.port}/",
        "from": "beginning",
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "timeout": 2.0,
        "retry": [0.2] * 1000,
    }
    return {"SINKS": [sink], "OUTGOING__ALLOW": ["127.0.0.0/8"], "SERVER__DRAIN": "2"}


@pytest.fixture
def seconds(full: bool) -> float:
    return FULL if full else SHORT


async def send_for_a_while(watch: Watch, first: int, seconds: float) -> None:
    """Ten posts of a hundred new events each, from a number on, over so many seconds."""
    for repeat in range(10):
        number = first + repeat * 100
        body = json.dumps([login(number + each) for each in range(100)]).encode()
        answer = await watch.send(post("keycloak", body))
        watch.expect(answer.status == 202, f"{answer.status}")
        await asyncio.sleep(seconds / 10)


async def asked_again(receiver: Receiver) -> None:
    """Return once the receiver is asked. The next probe of one that was down may be a little more than a minute
    away."""
    asked = receiver.asked
    with suppress(TimeoutError):
        await until(lambda: receiver.asked > asked)
    await until(lambda: receiver.asked > asked)


async def test_receivers_that_answer_as_none_should(stand: Stand, full: bool, seconds: float) -> None:
    """One service with a webhook; its receiver takes one bad habit after another."""
    async with listening(never) as receiver, stand.beside("sink", webhook(receiver)) as one:
        await until(lambda: receiver.asked > 0)
        # In short, the receiver has all of a group's habits at once.
        habits = {name: [answering] for group in RECEIVERS.values() for name, answering in group.items()}
        if not full:
            habits = {name: list(group.values()) for name, group in RECEIVERS.items()}
        for number, (name, answerings) in enumerate(habits.items()):
            receiver.answerings = answerings
            await receiver.close()
            async with one.attacked("receivers", name, "16 KiB of raw bytes; `timeout`") as watch:
                receiver.written, asked = 0, receiver.asked
                await send_for_a_while(watch, 9_000_000 + number * 10_000, seconds)
                await asked_again(receiver)
                read, answers = receiver.written, receiver.asked - asked
                watch.expect(read < READ * (answers + 64), f"{read:,} bytes of {answers} answers were read")
        receiver.answerings = [WELL]
        await receiver.close()
        await asked_again(receiver)


@pytest.mark.parametrize("habit", _WAITS)
async def test_a_receiver_that_asks_for_too_long_a_wait(stand: Stand, habit: str, seconds: float) -> None:
    """It has its hour, and a service that starts asks it at once."""
    async with listening(_WAITS[habit]) as receiver, stand.beside(f"wait-{len(habit)}", webhook(receiver)) as one:
        await until(lambda: receiver.asked > 0)
        async with one.attacked("receivers", habit, "one hour; a start asks at once") as watch:
            # Those that were under way when the first one answered are answered, too.
            await send_for_a_while(watch, 9_900_000, seconds)
            asked = receiver.asked
            # The pauses told in `retry` would have ended several times.
            await asyncio.sleep(seconds)
            watch.expect(receiver.asked == asked, f"asked {receiver.asked - asked} times more")
        assert await one.end() == 0
        receiver.answerings, asked = [WELL], receiver.asked
        await one.start(warm=False)
        await until(lambda: receiver.asked > asked)
