"""What the receiver does wrong, one path for each, and who judges it."""

from __future__ import annotations

import asyncio
import email.utils
import math
import socket
import struct
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from tests.receivers.judging import (
    Judge,
    all_of,
    comes_again,
    comes_once,
    does_not_trust,
    drops_message,
    ends_in_time,
    goes_on,
    has_few_connections,
    is_not_led,
    is_not_rebound,
    keeps_no_cookie,
    leaves_connection,
    leaves_silent_tls,
    stays_away,
    takes_little,
    waits_as_asked,
)
from tests.receivers.seen import Seen

#: Seconds between two bytes of an answer that drips.
DRIP = 0.1
#: Seconds that a receiver asks to be left alone.
WAIT = 3
#: How large the body is that is said to be large.
LARGE = 10 * 1024**3


class Turn(Protocol):
    """One request, to be answered."""

    writer: asyncio.StreamWriter
    seen: Seen
    #: Where the receiver itself is reached, and where no sender may be led; without a slash at the end.
    base: str
    inner: str
    #: Whether this message did not come before.
    is_first_try: bool

    async def send(self, data: bytes) -> None:
        """Write a part of the answer.

        Raises:
            ConnectionError: the sender has left.
        """

    async def until_left(self, patience: float = math.inf) -> None:
        """Wait until the sender closes the connection, or for so long."""


#: Answers one request; whether the connection may serve for another one.
Answering = Callable[[Turn], Awaitable[bool]]


class Behaviour(NamedTuple):
    """One path, on which every request is treated alike."""

    #: The path without its slash.
    name: str
    #: What the receiver does, for the table.
    does: str
    judge: Judge
    answer: Answering
    #: On which listener: plain HTTP; TLS with one of several certificates, or that never begins; names of the DNS.
    listener: str = "http"
    #: Whether the request's body is read before the answer.
    reads: bool = True


def _head(status: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()


TAKEN = _head("204 No Content")


def says(*parts: bytes, closes: bool = True) -> Answering:
    """The same bytes for each request."""

    async def answer(turn: Turn) -> bool:
        for part in parts:
            await turn.send(part)
        return not closes

    return answer


def at_first(answering: Answering) -> Answering:
    """It is done when a message comes first; one that comes again is taken."""

    async def answer(turn: Turn) -> bool:
        if turn.is_first_try:
            return await answering(turn)
        await turn.send(TAKEN)
        return True

    return answer


def drips(head: bytes, unit: bytes) -> Answering:
    """Some bytes now and then, for ever."""

    async def answer(turn: Turn) -> bool:
        await turn.send(head)
        while True:
            await turn.send(unit)
            await asyncio.sleep(DRIP)

    return answer


def pours(head: bytes, block: bytes, size: float = math.inf) -> Answering:
    """As many bytes as the sender takes."""

    async def answer(turn: Turn) -> bool:
        await turn.send(head)
        left = size
        while left > 0:
            await turn.send(block[: int(min(len(block), left))])
            left -= len(block)
        await turn.until_left()
        return False

    return answer


async def _bomb(turn: Turn) -> bool:
    """Ten gigabytes of zeros, which are ten megabytes of gzip."""
    await turn.send(_head("200 OK", "Content-Type: text/plain", "Content-Encoding: gzip", "Connection: close"))
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    for _ in range(LARGE // len(zeros)):
        await turn.send(packer.compress(zeros))
        await asyncio.sleep(0)
    await turn.send(packer.flush())
    return False


async def _silent(turn: Turn) -> bool:
    await turn.until_left()
    return False


async def _hang_up(turn: Turn) -> bool:
    return False


async def _reset(turn: Turn) -> bool:
    await turn.send(_head("200 OK", "Content-Length: 100") + b"half")
    await asyncio.sleep(0.05)
    one: socket.socket | None = turn.writer.get_extra_info("socket")
    if one is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    turn.writer.transport.abort()
    return False


async def _early(turn: Turn) -> bool:
    await turn.send(_head("200 OK", "Content-Length: 2", "Connection: close") + b"ok")
    # To close at once would be a reset, which takes the answer with it.
    await turn.until_left(5.0)
    return False


def redirects(status: str, where: str) -> Answering:
    async def answer(turn: Turn) -> bool:
        place = turn.inner if where == "inner" else turn.base
        await turn.send(_head(status, f"Location: {place}/landing/{status[:3]}", "Content-Length: 0"))
        return True

    return at_first(answer)


def asks_to_wait(status: str, *, is_date: bool) -> Answering:
    """The first request is answered so, and all that come while the sender cannot have heard of it."""

    async def answer(turn: Turn) -> bool:
        now = time.monotonic()
        if turn.seen.named is None:
            named = math.ceil(time.time() + WAIT)
            turn.seen.named = now + (named - time.time() if is_date else WAIT)
        left = turn.seen.named - now
        if left <= 0:
            await turn.send(TAKEN)
            return True
        said = email.utils.formatdate(round(time.time() + left), usegmt=True) if is_date else str(math.ceil(left))
        await turn.send(_head(status, f"Retry-After: {said}", "Content-Length: 0"))
        return True

    return answer


_GOES_ON = all_of(goes_on, ends_in_time, takes_little)
_FAILED = all_of(ends_in_time, comes_again)
_NOT_FOLLOWED = all_of(is_not_led, comes_again)
_OK = all_of(ends_in_time, comes_once)

BEHAVIOURS = (
    Behaviour("good", "answers 204", _OK, says(TAKEN, closes=False)),
    Behaviour("error", "answers 500", _FAILED, at_first(says(_head("500 Oh", "Content-Length: 0"), closes=False))),
    Behaviour("silent", "accepts and never answers", _FAILED, at_first(_silent)),
    Behaviour("no-reading", "reads no body and never answers", _FAILED, at_first(_silent), reads=False),
    Behaviour("hang-up", "closes without an answer", _FAILED, at_first(_hang_up)),
    Behaviour("drip-head", "drips the bytes of a header", _FAILED, at_first(drips(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"))),
    Behaviour(
        "drip-body",
        "answers 200 and drips the body",
        all_of(ends_in_time),
        drips(_head("200 OK", "Content-Length: 1000000"), b"a"),
    ),
    Behaviour(
        "huge-body",
        "answers 200 with a body of 10 GB",
        all_of(takes_little, ends_in_time),
        pours(_head("200 OK", f"Content-Length: {LARGE}"), bytes(65536), LARGE),
    ),
    Behaviour("gzip-bomb", "answers 200 with 10 GB in gzip", all_of(takes_little, ends_in_time), _bomb),
    Behaviour(
        "interim-flood",
        "answers 100 Continue for ever",
        _FAILED,
        at_first(pours(b"", _head("100 Continue") * 1000)),
    ),
    Behaviour(
        "interim", "answers 103 three times, then 204", _OK, says(_head("103 Early Hints") * 3, TAKEN, closes=False)
    ),
    Behaviour(
        "big-header",
        "answers 200 with a header of 20 kB",
        _GOES_ON,
        says(_head("200 OK", "X-A: " + "a" * 20_000, "Content-Length: 0")),
    ),
    Behaviour(
        "many-headers",
        "answers 200 with 200,000 headers",
        _GOES_ON,
        pours(b"HTTP/1.1 200 OK\r\n", b"X-A: 1234\r\n" * 1000, 200_000 * 11),
    ),
    Behaviour("garbage", "answers what is no HTTP", _FAILED, at_first(says(b"HELLO from the receiver\r\n\r\n"))),
    Behaviour(
        "two-lengths",
        "answers 200 with two lengths of its body",
        _FAILED,
        at_first(says(_head("200 OK", "Content-Length: 5", "Content-Length: 7") + b"hello")),
    ),
    Behaviour("reset-body", "answers 200 and resets in the body", _GOES_ON, _reset),
    Behaviour(
        "short-body",
        "answers 200 with less body than it says",
        _GOES_ON,
        says(_head("200 OK", "Content-Length: 1000") + b"0123456789"),
    ),
    Behaviour(
        "no-content-body",
        "answers 204 with a body",
        all_of(leaves_connection, ends_in_time),
        says(TAKEN + b"surplus", closes=False),
    ),
    Behaviour(
        "surplus",
        "answers 200, and the next request before it comes",
        all_of(leaves_connection, ends_in_time),
        says(_head("200 OK", "Content-Length: 2") + b"ok" + _head("200 OK", "Content-Length: 0"), closes=False),
    ),
    Behaviour("early", "answers 200 before the body was read", _OK, _early, reads=False),
    Behaviour("keep-alive", "never closes a connection", all_of(has_few_connections), says(TAKEN, closes=False)),
    Behaviour(
        "cookie",
        "sets a cookie",
        all_of(keeps_no_cookie),
        says(_head("204 No Content", "Set-Cookie: session=1; Path=/"), closes=False),
    ),
    Behaviour("redirect-301", "answers 301 to a page that says 200", _NOT_FOLLOWED, redirects("301 Moved", "base")),
    Behaviour("redirect-302", "answers 302 to a page that says 200", _NOT_FOLLOWED, redirects("302 Found", "base")),
    Behaviour("redirect-303", "answers 303 to a page that says 200", _NOT_FOLLOWED, redirects("303 See", "base")),
    Behaviour("redirect-307", "answers 307 to an inner address", _NOT_FOLLOWED, redirects("307 There", "inner")),
    Behaviour("redirect-308", "answers 308 to an inner address", _NOT_FOLLOWED, redirects("308 There", "inner")),
    Behaviour("gone", "answers 410", all_of(stays_away), says(_head("410 Gone", "Content-Length: 0"), closes=False)),
    Behaviour(
        "disable",
        "answers 400 with webhook-delivery: disable",
        all_of(stays_away),
        says(_head("400 No", "webhook-delivery: disable", "Content-Length: 0"), closes=False),
    ),
    Behaviour(
        "abort-message",
        "answers 400 with webhook-delivery: abort-message",
        all_of(drops_message),
        says(_head("400 No", "webhook-delivery: abort-message", "Content-Length: 0"), closes=False),
    ),
    Behaviour(
        "too-many",
        "answers 429 with Retry-After in seconds",
        all_of(waits_as_asked),
        asks_to_wait("429 Slow", is_date=False),
    ),
    Behaviour(
        "too-many-date",
        "answers 429 with Retry-After as a date",
        all_of(waits_as_asked),
        asks_to_wait("429 Slow", is_date=True),
    ),
    Behaviour(
        "unavailable",
        "answers 503 with Retry-After in seconds",
        all_of(waits_as_asked),
        asks_to_wait("503 Later", is_date=False),
    ),
    Behaviour(
        "unavailable-date",
        "answers 503 with Retry-After as a date",
        all_of(waits_as_asked),
        asks_to_wait("503 Later", is_date=True),
    ),
    Behaviour("tls-good", "answers 204 over TLS", _OK, says(TAKEN, closes=False), "good"),
    Behaviour("tls-wrong-name", "has the certificate of another name", does_not_trust, says(TAKEN), "wrong name"),
    Behaviour("tls-expired", "has a certificate that has expired", does_not_trust, says(TAKEN), "expired"),
    Behaviour("tls-self-signed", "has a certificate that it signed itself", does_not_trust, says(TAKEN), "self-signed"),
    Behaviour("tls-silent", "accepts and never begins TLS", leaves_silent_tls, says(TAKEN), "silent"),
    Behaviour(
        "rebound",
        "has a name that leads inside at the next lookup",
        is_not_rebound(3),
        says(_head("204 No Content", "Connection: close")),
        "names",
    ),
    Behaviour("mixed", "has a name that leads here and inside", is_not_rebound(2), says(TAKEN), "names"),
)
