"""What comes over connections is bounded: the time and size of headers and bodies, the number of connections, and one
time for all of them at a stop. Everything is told as a problem document, and nothing names the server."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
SOURCES = [{"name": "keycloak", "provider": "keycloak", "token": "keycloak-token"}]
BEARER = "Authorization: Bearer keycloak-token\r\n"
SIGNATURE = "X-Keycloak-Signature: 00\r\n"

#: Seconds in which the service must have answered on a busy machine.
DEADLINE = 30.0


class Caller:
    """A connection on which exactly these bytes are sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: str | bytes) -> None:
        self._writer.write(data.encode() if isinstance(data, str) else data)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        async with asyncio.timeout(DEADLINE):
            head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().rstrip().split("\r\n")
        pairs = (line.lower().partition(":") for line in lines)
        return int(first.split()[1]), {name: value.strip() for name, _, value in pairs}

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of the next answer."""
        status, headers = await self.head()
        async with asyncio.timeout(DEADLINE):
            body = await self._reader.readexactly(int(headers["content-length"]))
        return status, headers, json.loads(body)

    async def closed(self) -> bytes:
        """What comes until the service closes the connection."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        self._writer.transport.abort()


#: Of the running test; closed at its end.
_callers: list[Caller] = []


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    yield
    for caller in _callers:
        caller.close()
    _callers.clear()


async def call(service: Opened, data: str | bytes = b"") -> Caller:
    host, port = service.service.url.removeprefix("http://").split(":")
    caller = Caller(*await asyncio.open_connection(host, int(port)))
    _callers.append(caller)
    await caller.send(data)
    return caller


def post(headers: str, length: int, source: str = "keycloak") -> str:
    return f"POST /ingest/{source} HTTP/1.1\r\nHost: here\r\n{headers}Content-Length: {length}\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("data"), sources=SOURCES) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    """A service with short times, few connections, and a small budget."""
    server = {
        "header_timeout": 0.2,
        "body_timeout": 0.2,
        "keepalive_timeout": 0.5,
        "connections_limit": 5,
        "body_limit": MIB,
        "unpacked_limit": MIB,
        "in_flight_limit": 2 * MIB,
    }
    feed = {"reading_timeout": 0.2}
    async with opened(tmp_path_factory.mktemp("hasty"), sources=SOURCES, server=server, feed=feed) as service:
        yield service


@pytest.mark.parametrize(
    "headers", ["", "Authorization: Bearer wrong\r\n", f"Authorization: Bearer wrong\r\n{SIGNATURE}"]
)
@pytest.mark.parametrize("source", ["keycloak", "nosuch"])
async def test_without_a_credential_the_body_is_not_waited_for(service: Opened, headers: str, source: str) -> None:
    caller = await call(service, post(headers, 16_000_000, source) + "[")
    status, told, problem = await caller.answer()
    assert (status, problem["title"], told["connection"]) == (401, "Unauthorized", "close")


async def test_who_sends_much_without_a_credential_is_told_so(service: Opened) -> None:
    async with ClientSession(service.service.url) as sender:
        async with sender.post("/ingest/keycloak", data=io.BytesIO(b" " * 10_000_000)) as response:
            assert response.status == 401
        async with sender.post(
            "/ingest/keycloak", json=[login(1)], headers={"Authorization": "Bearer keycloak-token"}
        ) as response:
            assert response.status == 202


async def test_of_many_refused_bodies_a_few_are_dropped_at_a_time_and_each_in_its_turn(
    service: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.api.connections._DROPPED_AT_ONCE", 2)

    async def refused() -> int:
        caller = await call(service, post("", 16_000_000))
        await caller.send(b" " * 16_000_000)
        return (await caller.head())[0]

    assert await asyncio.gather(*(refused() for _ in range(8))) == [401] * 8


async def test_the_caller_is_judged_before_he_is_told_to_go_on(service: Opened) -> None:
    expect = "Expect: 100-continue\r\n"
    refused = await call(service, post(expect, 2))
    assert (await refused.head())[0] == 401
    taken = await call(service, post(BEARER + expect, 2))
    assert (await taken.head())[0] == 100
    await taken.send("[]")
    assert (await taken.answer())[0] == 202


async def test_a_body_whose_length_is_too_large_is_not_waited_for(service: Opened) -> None:
    caller = await call(service, post(BEARER, 17 * MIB))
    assert (await caller.answer())[0] == 413


@pytest.mark.parametrize("path", ["/ingest/keycloak", "/ingest/nosuch", "/healthz", "/events", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_no_answer_names_the_server(service: Opened, method: str, path: str) -> None:
    async with ClientSession(service.service.url) as session, session.request(method, path) as response:
        assert response.headers.get("Server", "") == ""
    async with service.session.post("/ingest/keycloak", json=[]) as response:
        assert response.status == 202
        assert response.headers.get("Server", "") == ""


@pytest.mark.parametrize("data", ["\x16\x03\x01\r\n\r\n", "GET / HTTP/1.1\r\nHost here\r\n\r\n", "GET  HTTP/9\r\n\r\n"])
async def test_what_is_no_http_gets_a_problem_document(service: Opened, data: str) -> None:
    caller = await call(service, data)
    status, headers, problem = await caller.answer()
    assert (status, problem["status"], headers["content-type"]) == (400, 400, "application/problem+json")
    assert headers.get("server", "") == ""
    assert await caller.closed() == b""


async def test_an_authorization_that_is_there_twice_reads_nothing(service: Opened) -> None:
    admin = f"Authorization: Bearer {service.service.admin_token}\r\n"
    for headers, status in ((admin, 200), (admin * 2, 401)):
        caller = await call(service, f"GET /events HTTP/1.1\r\nHost: here\r\n{headers}\r\n")
        assert (await caller.head())[0] == status


async def test_half_a_header_is_answered_and_closed_in_time(hasty: Opened) -> None:
    caller = await call(hasty, "GET /healthz HTTP/1.1\r\nHo")
    assert (await caller.answer())[0] == 408
    assert await caller.closed() == b""


async def test_half_a_header_has_its_time_on_a_used_connection_too(hasty: Opened) -> None:
    caller = await call(hasty, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (await caller.answer())[0] == 200
    await caller.send("GET /healthz HTTP/1.1\r\nHo")
    # Idle it would have been closed without a word.
    assert (await caller.answer())[0] == 408


async def test_a_connection_without_a_request_is_closed(hasty: Opened) -> None:
    assert await (await call(hasty)).closed() == b""
    used = await call(hasty, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (await used.answer())[0] == 200
    assert await used.closed() == b""


async def test_a_header_that_never_ends_is_refused(service: Opened) -> None:
    caller = await call(service, "GET /healthz HTTP/1.1\r\nHost: here\r\n")
    for number in range(33):
        await caller.send(f"X-{number}: {'x' * 1000}\r\n")
    assert b" 431 " in (await caller.closed())[:30]


@pytest.mark.parametrize("line", ["GET /events?q={} HTTP/1.1", "GET / HTTP/1.1\r\nCookie: {}"])
async def test_a_line_of_a_header_that_is_too_long_is_told_as_that(service: Opened, line: str) -> None:
    caller = await call(service, f"{line.format('x' * 9000)}\r\nHost: here\r\n\r\n")
    status, headers, problem = await caller.answer()
    assert (status, problem["title"], headers["content-type"]) == (431, "Header too large", "application/problem+json")


@pytest.mark.parametrize("headers", [BEARER, SIGNATURE])
async def test_half_a_body_is_answered_in_time(hasty: Opened, headers: str) -> None:
    caller = await call(hasty, post(headers, 1000) + "[")
    status, told, _ = await caller.answer()
    assert (status, told["connection"]) == (408, "close")


async def test_who_takes_nothing_of_his_answers_is_cut_off(hasty: Opened) -> None:
    caller = await call(hasty)
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n" * 1000
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(ConnectionError):
            while True:
                await caller.send(asked)


async def test_bodies_of_one_source_hold_half_the_budget(service: Opened) -> None:
    almost = post(BEARER, 15 * MIB) + " " * (15 * MIB - 1)
    callers = [await call(service) for _ in range(3)]
    sending = [asyncio.create_task(caller.send(almost)) for caller in callers]
    # One of three is too much, and told so while the others are open.
    answers = [asyncio.create_task(caller.answer()) for caller in callers]
    done, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    status, told, problem = done.pop().result()
    assert (status, problem["title"]) == (503, "Busy")
    assert int(told["retry-after"]) > 0
    for task in (*waiting, *sending):
        task.cancel()
    await asyncio.gather(*waiting, *sending, return_exceptions=True)
    # What breaks off is free again, as soon as the service has seen that it broke off.
    for caller in callers:
        caller.close()
    json_media = {"Content-Type": "application/json"}
    whole = b"[" + b" " * 15 * MIB + b"]"
    for _ in range(2):
        async with asyncio.timeout(DEADLINE):
            status = 503
            while status == 503:
                body = io.BytesIO(whole)
                async with service.session.post("/ingest/keycloak", data=body, headers=json_media) as response:
                    status = response.status
        assert status == 202


async def test_a_signed_body_is_taken_while_strangers_hold_the_budget(service: Opened) -> None:
    for _ in range(4):
        await call(service, post(SIGNATURE, 15 * MIB) + " " * 14 * MIB)
    caller = await call(service, post(SIGNATURE, 3 * MIB) + "[")
    await caller.send(b" " * (3 * MIB - 1))
    assert (await caller.answer())[0] == 401  # judged, and not 503


async def test_beyond_the_limit_the_connection_unused_for_longest_gives_way(service: Opened, tmp_path: Path) -> None:
    server = {"connections_limit": 3}
    async with opened(tmp_path, sources=SOURCES, server=server) as small:
        callers = []
        for _ in range(3):
            callers.append(await call(small, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"))
            assert (await callers[-1].answer())[0] == 200
        await callers[0].send("GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await callers[0].answer())[0] == 200
        newest = await call(small, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await newest.answer())[0] == 200
        assert await callers[1].closed() == b""
        for one in (callers[0], callers[2], newest):
            await one.send("GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await one.answer())[0] == 200


async def test_in_a_burst_of_connections_the_newest_is_still_answered(tmp_path: Path) -> None:
    async with opened(tmp_path, sources=SOURCES, server={"connections_limit": 3}) as small:
        idle = [await call(small) for _ in range(50)]
        for _ in range(10):
            caller = await call(small, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await caller.answer())[0] == 200
        assert [await one.closed() for one in idle] == [b""] * 50


async def test_a_stop_answers_what_is_complete_in_time_and_waits_for_nothing_else(tmp_path: Path) -> None:
    callers: dict[str, Caller] = {}
    stopping = asyncio.Event()

    async def complete() -> tuple[int, int]:
        """Complete two of the requests when the service is about to stop."""
        await stopping.wait()
        await asyncio.sleep(0)
        await callers["late body"].send("]")
        await callers["late header"].send("t: here\r\n\r\n")
        return (await callers["late body"].head())[0], (await callers["late header"].head())[0]

    async with opened(tmp_path, sources=SOURCES, server={"drain": 1.5}) as service:
        for name, begun in {
            "half header": "GET /healthz HT",
            "late header": "GET /healthz HTTP/1.1\r\nHos",
            "half body": post(BEARER, 2) + "[",
            "late body": post(BEARER, 2) + "[",
            "other half body": post(SIGNATURE, 2) + "[",
        }.items():
            callers[name] = await call(service, begun)
        idle = await call(service)
        assert await service.get("/healthz") == (200, {"status": "ok"})  # all of them are known to it
        completing = asyncio.create_task(complete())
        begin = asyncio.get_running_loop().time()
        stopping.set()
    took = asyncio.get_running_loop().time() - begin
    assert await completing == (202, 200)
    assert await idle.closed() == b""
    for name in ("half header", "half body", "other half body"):
        await callers[name].closed()
    assert took < 10  # and not 1.5 seconds for each, with a wide margin


@pytest.mark.parametrize(
    ("before", "unit"),
    [("1;", "a" * 4096), ("", "1;" + "a" * 4000 + "\r\n \r\n"), ("0\r\n", "X: a\r\n" * 600), ("", "1\r\n \r\n" * 600)],
    ids=["an extension", "small chunks with extensions", "trailers", "small chunks"],
)
async def test_chunks_that_bring_little_of_a_body_are_not_read_for_ever(
    service: Opened, before: str, unit: str
) -> None:
    caller = await call(service, post(BEARER, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked") + before)
    with suppress(ConnectionError):
        for _ in range(20_000):
            await caller.send(unit)
    assert b"202 Accepted" not in await caller.closed()


async def test_a_body_in_small_chunks_is_taken(service: Opened) -> None:
    body = json.dumps([login(number) for number in range(900_000, 900_300)])
    caller = await call(service, post(BEARER, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked"))
    for start in range(0, len(body), 50):
        piece = body[start : start + 50]
        await caller.send(f"{len(piece):x}\r\n{piece}\r\n")
    await caller.send("0\r\n\r\n")
    status, _, receipts = await caller.answer()
    assert (status, receipts["accepted"]) == (202, 300)
