"""Connections that are slow, many, idle, broken off, or not HTTP: others are served, and memory comes back."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import resource
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from tests.hostile.client import Address, Answer, Connection, NoAnswer, connected, request
from tests.hostile.shapes import JSON, MIB
from tests.hostile.stand import READER, SECRET, Stand, bearer, post
from tests.hostile.watches import Watch
from tests.opened import login

pytestmark = [pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]

#: A body of just less than the largest.
LARGE = 16 * MIB - 1024


@asynccontextmanager
async def opened(address: Address, count: int) -> AsyncIterator[list[Connection]]:
    """So many connections; those that are refused are left out."""
    connections: list[Connection] = []
    try:
        for start in range(0, count, 200):
            found = await asyncio.gather(
                *(Connection.open(address) for _ in range(min(200, count - start))), return_exceptions=True
            )
            connections += [one for one in found if isinstance(one, Connection)]
        yield connections
    finally:
        for one in connections:
            one.reset()
        await asyncio.sleep(0)


async def count_answer(watch: Watch, connection: Connection, patience: float = 10) -> Answer:
    """What comes back on a connection; status 0 if nothing does."""
    try:
        answer = await connection.answer(patience)
    except NoAnswer:
        answer = Answer(0, {}, b"")
    watch.answers[answer.status] += 1
    return answer


CREDENTIALS = {
    "without a credential": {},
    "with a wrong token": bearer("wrong-token"),
    "with a right token": bearer("keycloak-token"),
    "with a forged signature": {"X-Keycloak-Signature": "sha256=" + "0" * 64},
}


@pytest.mark.parametrize(
    ("credential", "source"),
    [
        ("without a credential", "keycloak"),
        ("without a credential", "nosuch"),
        ("with a wrong token", "keycloak"),
        ("with a right token", "keycloak"),
        ("with a forged signature", "keycloak"),
        ("with a forged signature", "nosuch"),
    ],
)
async def test_bodies_broken_off_before_their_last_byte(stand: Stand, credential: str, source: str, full: bool) -> None:
    """Bodies of 16 MB without their last byte, one after another and held open at once."""
    count = 300 if full else 24
    headers = {**CREDENTIALS[credential], "Content-Type": JSON}
    head = request("POST", f"/ingest/{source}", headers, length=LARGE)
    body = b" " * (LARGE - 1)
    what = f"{count} bodies of 16 MB broken off, {credential}, to {'a' if source != 'nosuch' else 'no'} source"
    bound = "no credential: 401 before the body; `in_flight_limit`: 503"
    async with stand.attacked("connections", what, bound, neighbour={202, 503}) as watch:
        for _ in range(count // 8):

            async def one() -> None:
                with suppress(OSError):
                    connection = await Connection.open(stand.address)
                    try:
                        with suppress(TimeoutError):
                            async with asyncio.timeout(20):
                                await connection.send(head + body)
                    finally:
                        connection.reset()

            await asyncio.gather(*(one() for _ in range(8)))
        # And so many held open at once.
        async with opened(stand.address, count) as connections:

            async def hold(connection: Connection) -> None:
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(10):
                        await connection.send(head + body)

            await asyncio.gather(*(hold(one) for one in connections))
            answers = await asyncio.gather(*(count_answer(watch, one, 1) for one in connections))
            allowed = {401} if not credential.startswith("with a r") or source == "nosuch" else {0, 503, 408}
            if credential == "with a forged signature":
                allowed = {0, 401, 503, 408}
            watch.expect(
                {answer.status for answer in answers} <= allowed | {0},
                f"{sorted({answer.status for answer in answers})}",
            )
            if credential in ("without a credential", "with a wrong token"):
                refused = sum(answer.status == 401 for answer in answers)
                # Those whose turn does not come while the rest of a body is dropped may not read their answer.
                watch.expect(refused >= min(count, 24), f"{refused} of {len(answers)} were told 401 before the body")


async def test_an_early_refusal_reaches_its_sender(stand: Stand) -> None:
    """Whoever sends all of a large body before reading still reads why it was refused."""
    async with stand.attacked("connections", "large bodies of strangers", "401") as watch:
        for headers in (CREDENTIALS["without a credential"], CREDENTIALS["with a wrong token"]):
            for _ in range(5):
                data = request("POST", "/ingest/keycloak", {**headers, "Content-Type": JSON}, b" " * 10 * MIB)
                answer = await watch.send(data)
                watch.expect(answer.status == 401, f"{answer.status} {answer.body[:100]!r}")


async def test_idle_connections(stand: Stand, full: bool) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000 if full else 3000, most - 500)
    async with stand.attacked("connections", f"{count:,} idle ones", "`connections_limit`, `header_timeout`") as watch:
        async with opened(stand.address, count) as connections:
            watch.expect(len(connections) > count * 0.9, f"only {len(connections)} could be opened")
            await asyncio.sleep(2)
            for connection in connections[:: len(connections) // 20]:
                with suppress(OSError):
                    await connection.send(request("GET", "/healthz"))
                    await count_answer(watch, connection)
        watch.expect(set(watch.answers) <= {0, 200, 408}, f"{dict(watch.answers)}")


async def test_slow_headers_and_bodies_are_ended(stand: Stand) -> None:
    """Half a head, a head that trickles, half a body, a body that trickles: each is ended by its timeout. The timeouts
    are short ones here."""
    halves = {
        "half a head": b"POST /ingest/keycloak HTTP/1.1\r\nHost: a\r\nX-A: ",
        "nothing": b"",
        "half a request line": b"GET /hea",
        "half a body": request("POST", "/ingest/keycloak", bearer("keycloak-token"), length=1000) + b"[",
        "half a chunk": request(
            "POST", "/ingest/keycloak", {**bearer("keycloak-token"), "Transfer-Encoding": "chunked"}
        )
        + b"ffff\r\n[",
    }
    settings = {"SERVER__HEADER_TIMEOUT": "2", "SERVER__BODY_TIMEOUT": "2", "SERVER__KEEPALIVE_TIMEOUT": "2"}
    async with (
        stand.beside("slow", settings) as slow,
        slow.attacked("connections", "slow heads and bodies", "`header_timeout`, `body_timeout`") as watch,
    ):
        patience = 15 * stand.limits.margin

        async def trickle(connection: Connection) -> None:
            with suppress(OSError):
                for _ in range(100):
                    await connection.send(b" ")
                    await asyncio.sleep(0.3)

        async def half(name: str, data: bytes, *, trickles: bool) -> None:
            async with connected(slow.address) as connection:
                await connection.send(data)
                trickling = asyncio.create_task(trickle(connection)) if trickles and data else None
                watch.expect(await connection.ended(patience), f"{name}, {trickles=}: still open")
                if trickling is not None:
                    trickling.cancel()

        async def used() -> None:
            async with connected(slow.address) as connection:
                await connection.send(request("GET", "/healthz"))
                await count_answer(watch, connection)
                watch.expect(await connection.ended(patience), "an idle one is still open")

        await asyncio.gather(
            used(), *(half(name, data, trickles=one) for name, data in halves.items() for one in (False, True))
        )


async def test_slow_bodies_in_great_number(stand: Stand, full: bool) -> None:
    count = 2000 if full else 400
    head = request("POST", "/ingest/keycloak", bearer("keycloak-token"), length=1 << 20)
    async with stand.attacked("connections", f"{count:,} slow bodies", "`body_timeout`, `in_flight_limit`") as watch:
        async with opened(stand.address, count) as connections:
            for _ in range(20):
                for connection in connections:
                    with suppress(OSError):
                        connection.writer.write(head if head else b" ")
                head = b""
                await asyncio.sleep(0.1)
        watch.expect(len(connections) == count, f"only {len(connections)} could be opened")


BAD = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    "a word": b"HELLO\r\n\r\n",
    "another version": b"GET /healthz HTTP/3.9\r\n\r\n",
    "an endless request line": b"GET /" + b"a" * 100_000,
    "an endless header": b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 100_000,
    "many headers": b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 50_000 + b"\r\n",
    "two lengths": b"POST /ingest/keycloak HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": (
        b"POST /ingest/keycloak HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a negative length": b"POST /ingest/keycloak HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a huge length": b"POST /ingest/keycloak HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a bad chunk": b"POST /ingest/keycloak HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a huge chunk": b"POST /ingest/keycloak HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
    "NUL in a header": b"GET /healthz HTTP/1.1\r\nX: a\0b\r\n\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    "blanks before the colon": b"GET /healthz HTTP/1.1\r\nX : a\r\n\r\n",
}


async def test_what_is_not_http(stand: Stand, full: bool) -> None:
    async with stand.attacked("connections", "what is not HTTP", "400; connection closed") as watch:
        for _ in range(20 if full else 4):
            for name, data in BAD.items():
                with suppress(OSError):
                    async with connected(stand.address) as connection:
                        with suppress(OSError):
                            await connection.send(data)
                        answer = await count_answer(watch, connection, 3)
                        watch.expect(
                            answer.status in (0, 200, 400, 401, 405, 408, 413, 431, 505), f"{name}: {answer.status}"
                        )
                        watch.expect(not answer.headers.get("server"), f"{name}: Server {answer.headers.get('server')}")


async def test_chunks_with_endless_extensions_and_trailers(stand: Stand, full: bool) -> None:
    head = request("POST", "/ingest/keycloak", {**bearer("keycloak-token"), "Transfer-Encoding": "chunked"})
    endless = {
        "extensions": (b"1;", b"a" * 65536),
        "small chunks with extensions": (b"", b"1;" + b"a" * 4000 + b"\r\n \r\n"),
        "trailers": (b"0\r\n", b"X: a\r\n" * 10_000),
        "small chunks": (b"", b"1\r\n \r\n" * 10_000),
    }
    async with stand.attacked("connections", "endless chunks", "400 or 413, connection closed") as watch:
        for name, (before, unit) in endless.items():
            sent = 0
            async with connected(stand.address) as connection:
                with suppress(OSError):
                    await connection.send(head + before)
                    until = time.monotonic() + (10 if full else 4)
                    while time.monotonic() < until and sent < 256 * MIB:
                        async with asyncio.timeout(max(0.1, until - time.monotonic())):
                            await connection.send(unit)
                        sent += len(unit)
                connection.reset()
            watch.expect(sent < 64 * MIB, f"{name}: {sent:,} bytes were read")


async def test_pipelined_requests(stand: Stand, full: bool) -> None:
    """Requests one behind another whose answers nobody reads."""
    gets = request("GET", "/healthz") * (20_000 if full else 5000)
    pages = request("GET", "/events?limit=1000", bearer(READER)) * 1000
    posts = post("keycloak", b"[]") * (20_000 if full else 5000)
    async with stand.attacked("connections", "pipelined requests that are never read", "backpressure") as watch:
        for data in (gets, pages, posts):
            async with connected(stand.address, receive_buffer=4096) as connection:
                with suppress(TimeoutError, OSError):
                    async with asyncio.timeout(3):
                        await connection.send(data)
                connection.reset()
        async with connected(stand.address) as connection:
            await connection.send(request("GET", "/healthz") * 50)
            for _ in range(50):
                watch.expect((await count_answer(watch, connection)).status == 200, "a pipelined request got no 200")


async def test_exports_that_are_never_read(stand: Stand, full: bool) -> None:
    async with (
        stand.attacked("connections", "exports that are never read", "a page each; cut off after a time") as watch,
        AsyncExitStack() as stack,
    ):
        for number in range(8 if full else 4):
            connection = await stack.enter_async_context(connected(stand.address, receive_buffer=4096))
            form = "csv" if number % 2 else "unified"
            await connection.send(request("GET", f"/events/export?format={form}", bearer(READER)))
        await asyncio.sleep(3)
        page = await stand.ask("GET", "/events?limit=10", token="administrators-token")
        watch.expect(page.status == 200, f"a page meanwhile: {page.status}")


async def test_a_header_that_comes_twice(stand: Stand) -> None:
    body = json.dumps(login(8_000_000)).encode()
    good = ("Authorization", "Bearer keycloak-token")
    bad = ("Authorization", "Bearer wrong")
    signature = ("X-Keycloak-Signature", hmac.digest(SECRET.encode(), body, hashlib.sha256).hex())
    forged = ("X-Keycloak-Signature", "0" * 64)
    async with stand.attacked("connections", "a credential's header twice", "401") as watch:
        for source, headers in (
            ("keycloak", [good, bad]),
            ("keycloak", [bad, good]),
            ("keycloak", [good, good]),
            ("signed", [signature, forged]),
            ("signed", [forged, signature]),
        ):
            answer = await watch.send(request("POST", f"/ingest/{source}", headers, body))
            watch.expect(answer.status == 401, f"{headers}: {answer.status}")


async def test_a_stop_waits_for_none_of_them(stand: Stand) -> None:
    """SIGTERM: what was complete is answered, what is not does not hold the stop."""
    drain = 2
    waiting = {
        "half a head": b"POST /ingest/keycloak HTTP/1.1\r\nHost: a\r\nX-A: ",
        "half a body": request("POST", "/ingest/keycloak", bearer("keycloak-token"), length=1000) + b"[",
        "idle": b"",
        "an export that is never read": request("GET", "/events/export", bearer(READER)),
    }
    complete = json.dumps([login(8_100_000 + number) for number in range(5000)]).encode()
    async with stand.beside("ending", {"SERVER__DRAIN": str(drain)}) as one:
        async with AsyncExitStack() as stack:
            for data in waiting.values():
                for _ in range(20):
                    connection = await stack.enter_async_context(connected(one.address, receive_buffer=4096))
                    await connection.send(data)
            answered = await stack.enter_async_context(connected(one.address))
            # The service says when it has begun with it: what it has not begun with, it refuses.
            head, _, body = post("keycloak", complete, Expect="100-continue").partition(b"\r\n\r\n")
            await answered.send(head + b"\r\n\r\n")
            assert (await answered.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            await answered.send(body)
            begin = time.monotonic()
            one.process.popen.send_signal(signal.SIGTERM)
            answer = await answered.answer()
            assert answer.status == 202, answer
            Watch(one.subject).count(answer)
            code = await asyncio.to_thread(one.process.popen.wait, 60)
            took = time.monotonic() - begin
        assert code == 0
        assert took < drain + 2 + one.limits.margin, f"the stop took {took:.1f} s"
        await one.forget()
