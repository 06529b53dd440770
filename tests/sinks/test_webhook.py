from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook as Judge

from adapter.errors import ConfigError
from adapter.model import uid_text
from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks.protocol import DELIVERED, RETRY_AFTER, Answer, Delivered, Later, Skip, Stop
from adapter.sinks.settings import open_sink as open_any_sink
from adapter.sinks.webhook import On4xx, Refusal, Settings, Webhook, open_sink, read_answer
from tests.outgoing.certificates import Authority
from tests.outgoing.proxy import ForwardProxy
from tests.sinks.conformance import SinkConformance
from tests.sinks.entries import make_entries, make_entry

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
LOOPBACK = OutgoingSettings.model_validate({"allow": ["127.0.0.0/8"]})


def settings(url: str, **more: Any) -> Settings:
    return Settings.model_validate({"name": "soc", "kind": "webhook", "url": url, **more})


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[Webhook]:
    async with open_sink(settings(url, **more), LOOPBACK) as sink:
        yield sink


class HttpReceiver:
    """A receiver that keeps what it gets."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self._runner = web.AppRunner(self._app(), shutdown_timeout=0)
        self.port = 0

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        self.requests.append((f"{request.method} {request.path}", request.headers.copy(), await request.read()))
        return web.Response(status=self.status, headers=self.headers)

    async def fix(self) -> None:
        self._runner = web.AppRunner(self._app(), shutdown_timeout=0, auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def fail(self) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Webhook]:
        async with opened(self.url, secret=SECRET) as sink:
            yield sink

    def received(self) -> list[bytes]:
        return [body for _, _, body in self.requests]


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    receiver = HttpReceiver()
    await receiver.fix()
    yield receiver
    await receiver.fail()


class TestWebhookConforms(SinkConformance):
    pass


# Signatures


async def test_the_standards_own_library_accepts_what_arrives(receiver: HttpReceiver) -> None:
    async with receiver.open() as sink:
        await sink.send([make_entry(1, name="Zoë")])
    ((_, headers, body),) = receiver.requests
    assert Judge(SECRET).verify(body, dict(headers)) == json.loads(body)


async def test_with_two_secrets_either_of_them_verifies(receiver: HttpReceiver) -> None:
    async with opened(receiver.url, secret=[SECRET, OTHER_SECRET]) as sink:
        await sink.send([make_entry()])
    ((_, headers, body),) = receiver.requests
    for secret in (SECRET, OTHER_SECRET):
        Judge(secret).verify(body, dict(headers))


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
async def test_phase_twos_signature_is_the_hex_hmac_of_the_body(receiver: HttpReceiver, digest: str) -> None:
    async with opened(receiver.url, secret="any text", signature=f"phasetwo-{digest}") as sink:
        await sink.send([make_entry()])
    ((_, headers, body),) = receiver.requests
    assert headers["X-Keycloak-Signature"] == hmac.new(b"any text", body, getattr(hashlib, digest)).hexdigest()


async def test_without_a_secret_nothing_is_signed(receiver: HttpReceiver) -> None:
    async with opened(receiver.url) as sink:
        await sink.send([make_entry()])
    ((_, headers, _),) = receiver.requests
    assert "webhook-id" in headers
    assert "webhook-signature" not in headers


async def test_a_repeat_has_the_same_id_and_the_time_of_the_repeat(receiver: HttpReceiver) -> None:
    times = iter([1_700_000_000.9, 1_700_000_060.0])
    async with open_sink(settings(receiver.url, secret=SECRET), LOOPBACK, clock=lambda: next(times)) as sink:
        await sink.send([make_entry()])
        await sink.send([make_entry()])
    (_, first, _), (_, second, _) = receiver.requests
    assert first["webhook-id"] == second["webhook-id"] == uid_text(make_entry().uid)
    assert [first["webhook-timestamp"], second["webhook-timestamp"]] == ["1700000000", "1700000060"]


async def test_a_correction_is_a_message_of_its_own(receiver: HttpReceiver) -> None:
    async with receiver.open() as sink:
        for revision in (0, 1, 12):
            await sink.send([make_entry()._replace(revision=revision)])
    uid = uid_text(make_entry().uid)
    assert [headers["webhook-id"] for _, headers, _ in receiver.requests] == [uid, f"{uid}-1", f"{uid}-12"]


async def test_a_request_says_what_it_is_and_asks_for_nothing_packed(receiver: HttpReceiver) -> None:
    async with receiver.open() as sink:
        await sink.send([make_entry()])
    ((line, headers, _),) = receiver.requests
    assert line == "POST /hook"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("idp-event-adapter/")
    assert headers["Accept-Encoding"] == "identity"


# What an answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert read_answer(status, {}, 0) == DELIVERED


def meaning(status: int, on_4xx: On4xx = "retry") -> str:
    """What becomes of a message that gets this answer, in a word."""
    answer = read_answer(status, {}, 0, on_4xx)
    match answer:
        case Delivered():
            return "delivered"
        case Later(reason):
            assert str(status) in reason
            return "spared" if answer.spares else "down" if answer.receiver_down else "retry"
    assert str(status) in answer.reason
    return type(answer).__name__.lower()


def test_what_every_status_means() -> None:
    expected = dict.fromkeys(range(200, 300), "delivered")
    expected |= dict.fromkeys(range(300, 500), "retry")
    expected |= dict.fromkeys((401, 403, 408, 425, *range(500, 600)), "down")
    expected |= {410: "stop", 429: "spared"}
    assert {status: meaning(status) for status in range(200, 600)} == expected


@pytest.mark.parametrize(("on_4xx", "word"), [("dead", "never"), ("hold", "down"), ("retry", "retry")])
def test_what_4xx_means_is_set_where_it_has_no_meaning_of_its_own(on_4xx: Refusal, word: str) -> None:
    own = {401: "down", 403: "down", 408: "down", 410: "stop", 425: "down", 429: "spared"}
    found = {status: meaning(status, on_4xx) for status in range(400, 500)}
    assert found == {status: own.get(status, word) for status in range(400, 500)}
    others = [*range(200, 400), *range(500, 600)]
    assert [meaning(status, on_4xx) for status in others] == [meaning(status) for status in others]


def test_what_4xx_means_can_be_set_for_some_statuses() -> None:
    set_to = settings("https://soc.example/", on_4xx={"413": "dead", "404": "hold"}).on_4xx
    assert [meaning(status, set_to) for status in (413, 404, 400)] == ["never", "down", "retry"]


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 408, 422, 425, 429, 500, 503])
@pytest.mark.parametrize("text", ["7", "Thu, 01 Jan 1970 00:00:07 GMT"])
def test_a_wait_is_read_with_any_failure_in_both_its_forms(status: int, text: str) -> None:
    answer = read_answer(status, {"Retry-After": text}, 0)
    assert isinstance(answer, Later)
    assert answer.after == 7


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("86400", RETRY_AFTER),
        ("Fri, 02 Jan 1970 00:00:00 GMT", RETRY_AFTER),
        ("-5", None),
        ("1e9", None),
        ("soon", None),
    ],
)
def test_a_wait_is_bounded_and_what_is_none_is_passed_over(text: str, after: float | None) -> None:
    answer = read_answer(503, {"Retry-After": text}, 0)
    assert isinstance(answer, Later)
    assert answer.after == after


def test_a_wait_that_is_over_by_our_clock_is_none() -> None:
    answer = read_answer(503, {"Retry-After": "Thu, 01 Jan 1970 00:00:07 GMT"}, 86_400)
    assert isinstance(answer, Later)
    assert answer.after == 0


def test_who_has_too_many_requests_and_names_no_wait_gets_none_for_a_second() -> None:
    answer = read_answer(429, {}, 0)
    assert isinstance(answer, Later)
    assert answer.after == 1


@pytest.mark.parametrize("status", [200, 301, 400, 410, 429, 500])
def test_a_receiver_may_stop_the_sink_with_any_answer(status: int) -> None:
    answer = read_answer(status, {"webhook-delivery": "disable"}, 0)
    assert isinstance(answer, Stop)
    assert answer.delivered == (status == 200)


def test_a_receiver_may_ask_not_to_get_a_message() -> None:
    headers = {"webhook-delivery": "Abort-Message"}
    assert isinstance(read_answer(422, headers, 0), Skip)
    assert read_answer(200, headers, 0) == DELIVERED
    assert isinstance(read_answer(410, headers, 0), Stop)


async def test_the_header_is_found_however_it_is_written(receiver: HttpReceiver) -> None:
    receiver.status, receiver.headers = 422, {"Webhook-Delivery": "abort-message"}
    async with receiver.open() as sink:
        (answer,) = await sink.send([make_entry()])
    assert isinstance(answer, Skip)


async def test_where_no_connection_came_about_no_message_is_the_cause(receiver: HttpReceiver) -> None:
    async with receiver.open() as sink:
        await receiver.fail()
        (answer,) = await sink.send([make_entry()])
    assert isinstance(answer, Later)
    assert (answer.receiver_down, answer.spares) == (True, True)


async def test_a_redirect_is_not_followed(receiver: HttpReceiver) -> None:
    receiver.status, receiver.headers = 307, {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
    async with receiver.open() as sink:
        (answer,) = await sink.send([make_entry()])
    assert isinstance(answer, Later)
    assert "elsewhere" in answer.reason
    assert [line for line, _, _ in receiver.requests] == ["POST /hook"]


async def test_cookies_are_not_kept(receiver: HttpReceiver) -> None:
    receiver.headers = {"Set-Cookie": "session=1"}
    async with receiver.open() as sink:
        await sink.send([make_entry(1)])
        await sink.send([make_entry(2)])
    assert all("Cookie" not in headers for _, headers, _ in receiver.requests)


async def test_a_refused_address_says_how_to_allow_it(receiver: HttpReceiver) -> None:
    async with open_sink(settings(receiver.url), OutgoingSettings()) as sink:
        (answer,) = await sink.send([make_entry()])
    assert isinstance(answer, Later)
    assert (answer.receiver_down, answer.spares) == (True, True)
    assert answer.reason == (
        "blocked: 127.0.0.1 is not in the public internet; if it is meant, list its network in [outgoing] allow"
    )
    assert receiver.requests == []


async def test_a_file_that_cannot_be_used_is_told_with_the_sinks_name() -> None:
    with pytest.raises(ConfigError, match=r"sinks: soc: ca_file: gone\.pem: no PEM file of certificates"):
        async with open_any_sink(settings("https://soc.example/", ca_file="gone.pem"), LOOPBACK):
            pass


async def test_tls_proxy_and_certificate_are_those_of_the_settings(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("adapter")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.sign("soc.example"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.file)
    receiver = HttpReceiver(tls)
    await receiver.fix()
    async with ForwardProxy({"soc.example": "127.0.0.1"}) as proxy:
        outgoing = OutgoingSettings.model_validate({"ca_file": authority.file, "proxy": proxy.url})
        url = f"https://soc.example:{receiver.port}/hook"
        async with open_sink(settings(url, certificate_file=certificate, key_file=key), outgoing) as sink:
            assert list(await sink.send([make_entry(1)])) == [DELIVERED]
            assert list(await sink.send([make_entry(2)])) == [DELIVERED]
        assert proxy.lines == [f"CONNECT soc.example:{receiver.port} HTTP/1.1"]
    await receiver.fail()
    assert receiver.received() == [make_entry(1).event, make_entry(2).event]


# Hostile receivers

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Hostile:
    """Speaks raw bytes; counts its connections."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    await reader.readexactly(length)


def saying(
    *parts: bytes, pause: float = 0.0, endless: bool = False, read: bool = True, close: bool = True
) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if read:
            await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        while endless:
            writer.write(parts[-1])
            await writer.drain()
            await asyncio.sleep(pause)
        while not close and await reader.read(65536):
            pass

    return behave


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def reset_in_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def answer_of(behave: Behaviour, *, body: int = 10, timeout: float = 20.0) -> Answer:
    async with Hostile(behave) as hostile, opened(f"http://127.0.0.1:{hostile.port}/", timeout=timeout) as sink:
        async with asyncio.timeout(60):
            (answer,) = await sink.send([make_entry(1, representation="x" * body)])
        return answer


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(hang, id="never reads, never answers"),
        pytest.param(saying(close=False), id="reads and says nothing"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n", b"X", pause=0.02, endless=True), id="drips its headers"),
        pytest.param(saying(b"HTTP/1.1 100 Continue\r\n\r\n", close=False), id="says only that it will answer"),
    ],
)
async def test_what_never_answers_ends_at_the_deadline(behave: Behaviour) -> None:
    answer = await answer_of(behave, body=20_000_000 if behave is hang else 10, timeout=0.3)
    assert answer == Later("no answer within 0.3 s", receiver_down=True)


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(saying(b"hello, this is not HTTP\r\n\r\n"), id="garbage"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"), id="one long header"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000 + b"\r\n"), id="200,000 headers"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), id="two content lengths"
        ),
    ],
)
async def test_a_malformed_answer_is_not_taken_for_the_receivers_400(behave: Behaviour) -> None:
    assert await answer_of(behave) == Later("the answer is not valid HTTP", receiver_down=True)


async def test_closing_without_an_answer_is_a_failure() -> None:
    answer = await answer_of(saying())
    assert answer == Later("the receiver closed the connection without an answer", receiver_down=True)


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"x", pause=0.02, endless=True), id="drips"
        ),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, endless=True), id="endless"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), id="too short"),
        pytest.param(reset_in_body, id="reset"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\xff\xff"),
            id="bad gzip",
        ),
        pytest.param(saying(OK, read=False), id="answers before it read the request"),
    ],
)
async def test_a_2xx_status_line_is_the_answer_whatever_becomes_of_its_body(behave: Behaviour) -> None:
    assert await answer_of(behave, timeout=2.0) == DELIVERED


class Pouring(Hostile):
    """Says the same thing for ever; counts the bytes that were taken from it."""

    def __init__(self, first: bytes, then: bytes) -> None:
        super().__init__(self._pour)
        self._first = first
        self._then = then * (65536 // len(then))
        self.sent = 0

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(self._first)
        while True:
            writer.write(self._then)
            await writer.drain()
            self.sent += len(self._then)


#: What the kernel's buffers take of one connection without being read, at most, and then some.
UNREAD = 16 * 1024 * 1024

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_HTTP = Later("the answer is not valid HTTP", receiver_down=True)
TOO_LONG = Later("no answer within 16 KiB and 200 lines", receiver_down=True)
ENDLESS = [
    pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", [TOO_LONG], id="interim answers"),
    pytest.param(b"", b"HTTP/1.1 103\r\nLink: </a>\r\n\r\n", [TOO_LONG], id="early hints"),
    pytest.param(b"HTTP/1.1 200 ", b"x", [NO_HTTP], id="status line"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: ", b"x", [NO_HTTP], id="header"),
    pytest.param(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", [NO_HTTP], id="headers"),
    pytest.param(b"", b"\r\n", [TOO_LONG], id="empty lines"),
    pytest.param(CHUNKED + b"1;", b"x", [DELIVERED], id="chunk extension"),
    pytest.param(CHUNKED, b"1\r\nx\r\n", [DELIVERED], id="chunks"),
    # Which of the two depends on whether they arrive together with the status.
    pytest.param(CHUNKED + b"0\r\n", b"X: y\r\n", [DELIVERED, NO_HTTP], id="trailers"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x", [DELIVERED], id="body"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"\x1f\x8b\x08", [DELIVERED], id="gzip"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 410 Gone\r\n\r\n", [DELIVERED], id="body of status lines"),
]


@pytest.mark.parametrize(("first", "then", "meanings"), ENDLESS)
async def test_an_endless_answer_costs_a_bounded_part_of_it_and_its_connection(
    first: bytes, then: bytes, meanings: list[Answer]
) -> None:
    async with Pouring(first, then) as pouring, opened(f"http://127.0.0.1:{pouring.port}/", timeout=60) as sink:
        answers = [answer for position in range(3) for answer in await sink.send([make_entry(position)])]
        assert pouring.connections == 3
    assert all(answer in meanings for answer in answers), answers
    assert pouring.sent < 3 * UNREAD


async def test_a_few_interim_answers_are_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3
    assert await answer_of(saying(b"HTTP/1.1 100 Continue\r\n\r\n", hints + OK)) == DELIVERED


async def test_each_answer_on_a_connection_may_be_as_long_as_the_first() -> None:
    body = b"x" * 15_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)

    async with Hostile(serve) as hostile, opened(f"http://127.0.0.1:{hostile.port}/") as sink:
        for position in range(5):
            assert list(await sink.send([make_entry(position)])) == [DELIVERED]
        assert hostile.connections == 1


async def test_surplus_bytes_never_answer_the_next_request() -> None:
    async with (
        Hostile(saying(OK + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", close=False)) as hostile,
        opened(f"http://127.0.0.1:{hostile.port}/") as sink,
    ):
        for position in range(3):
            answers = await sink.send([make_entry(position)])
            assert not isinstance(answers[0], Stop)


async def test_a_post_is_made_once_even_if_its_idle_connection_was_closed() -> None:
    requests = 0

    async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while True:
            await read_request(reader)
            requests += 1
            if requests == 2:
                return
            writer.write(OK)

    async with Hostile(answer_one) as hostile, opened(f"http://127.0.0.1:{hostile.port}/") as sink:
        assert list(await sink.send([make_entry(1)])) == [DELIVERED]
        (answer,) = await sink.send([make_entry(2)])
    assert isinstance(answer, Later)
    assert requests == 2


async def test_connections_are_used_again_and_no_more_than_the_window() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async with Hostile(serve) as hostile, opened(f"http://127.0.0.1:{hostile.port}/", window=2) as sink:
        await asyncio.gather(*(sink.send([entry]) for entry in make_entries(20)))
        assert hostile.connections <= 2


# Settings


@pytest.mark.parametrize(
    ("wrong", "place", "text"),
    [
        ({"url": "ftp://soc.example/"}, "url", "must begin with https:// or http://"),
        ({"url": "/hook"}, "url", "must begin with https:// or http://"),
        ({"url": "https://user:secret@soc.example/"}, "url", "must not hold a user or password"),
        ({"secret": "hunter22"}, "", "whsec_ and the base64 of 24 to 64 random bytes"),
        ({"secret": "whsec_AAAA"}, "", "whsec_ and the base64 of 24 to 64 random bytes"),
        ({"secret": ["a" * 8, "b" * 8], "signature": "phasetwo-sha256"}, "", "takes one secret, not 2"),
        ({"signature": "standard"}, "", "needs secret"),
        ({"signature": "md5", "secret": "x"}, "signature", "phasetwo-sha256"),
        ({"on_4xx": "later"}, "on_4xx", "should be retry, dead or hold, or a table"),
        ({"on_4xx": {"413": "later"}}, "on_4xx", "should be retry, dead or hold, or a table"),
        ({"on_4xx": 413}, "on_4xx", "should be retry, dead or hold, or a table"),
        ({"on_4xx": {"429": "dead"}}, "on_4xx", "has a meaning of its own"),
        ({"on_4xx": {"500": "dead"}}, "on_4xx", "none of 4xx"),
        ({"rate": 0}, "rate", "greater than 0"),
        ({"disable_after": "5 minutes"}, "disable_after", "12h, 90d"),
        ({"window": 0}, "window", "greater than or equal to 1"),
        ({"timeout": 0}, "timeout", "greater than 0"),
        ({"from": "yesterday"}, "from", "beginning"),
        ({"retry": [5, -1]}, "retry", "greater than 0"),
        (
            {"format": "csv"},
            "format",
            "csv makes no body of one event alone; there are: cloudevents, keycloak, phasetwo, unified",
        ),
        (
            {"format": "xml"},
            "format",
            "no format is called 'xml'; there are: cloudevents, csv, keycloak, phasetwo, unified",
        ),
        ({"proxy": "proxy.example"}, "proxy", "must be http://"),
        ({"compress": "zip"}, "compress", "'none' or 'gzip'"),
        ({"batch": {"as": "xml"}}, "batch", "'json' or 'ndjson'"),
        ({"batch": {"entries": 0}}, "batch", "greater than or equal to 1"),
        ({"batch": {}, "format": {"name": "cloudevents", "mode": "binary"}}, "", "each goes alone"),
        ({"name": "a/b"}, "name", "match pattern"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_a_wrong_setting_names_its_place_and_what_is_right(wrong: dict[str, Any], place: str, text: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        settings(**{"url": "https://soc.example/hook", **wrong})
    errors = refusal.value.errors(include_url=False, include_input=False)
    assert any((error["loc"][0] if error["loc"] else "") == place and text in error["msg"] for error in errors)
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\nwith a body",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nwith a body",
    ],
)
async def test_a_success_counts_whatever_comes_behind_it_in_the_same_packet(answer: bytes) -> None:
    async with Hostile(saying(answer)) as hostile, opened(f"http://127.0.0.1:{hostile.port}/") as sink:
        for position in range(5):
            assert list(await sink.send([make_entry(position)])) == [DELIVERED]
