"""What a webhook tells of a request, beside its answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from adapter.outgoing import client
from adapter.sinks.protocol import DELIVERED, Later, Stop
from adapter.sinks.tried import EXCERPT, Tried, excerpt_of
from adapter.sinks.webhook import open_sink
from tests.sinks.entries import make_entry
from tests.sinks.test_webhook import LOOPBACK, SECRET, Hostile, HttpReceiver, opened, read_request, saying, settings


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    receiver = HttpReceiver()
    await receiver.fix()
    yield receiver
    await receiver.fail()


def head(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status.encode(), len(body)) + body


async def tried_by(raw: bytes, pause: float = 0.0) -> Tried:
    """What is seen of one request that is answered so."""
    async with Hostile(saying(raw, pause=pause)) as hostile, opened(f"http://127.0.0.1:{hostile.port}/") as sink:
        (answer,) = await sink.send([make_entry()])
    assert isinstance(answer, Later | Stop)
    assert answer.tried is not None
    return answer.tried


async def test_a_delivered_event_is_answered_plainly_unless_all_tries_are_wanted(receiver: HttpReceiver) -> None:
    async with opened(receiver.url) as sink:
        (plain,) = await sink.send([make_entry()])
    async with opened(receiver.url, attempts="all") as sink:
        (told,) = await sink.send([make_entry()])
    assert plain is DELIVERED
    assert told == DELIVERED
    assert told.tried is not None
    assert told.tried.status == 200


async def test_a_refusal_comes_with_status_durations_and_the_beginning_of_the_answer() -> None:
    tried = await tried_by(head("422 No", b'{"error": "no such tenant"}'))
    assert (tried.status, tried.excerpt) == (422, '{"error": "no such tenant"}')
    assert tried.connect is not None
    assert tried.first_byte is not None
    assert tried.connect <= tried.first_byte <= tried.total
    assert tried.resolve is None  # the receiver is named by its address


async def test_a_connection_that_was_open_takes_no_time_to_connect(receiver: HttpReceiver) -> None:
    async with opened(receiver.url, attempts="all") as sink:
        first, second = [(await sink.send([make_entry(number)]))[0].tried for number in (1, 2)]
    assert first is not None
    assert second is not None
    assert (first.connect is None, second.connect) == (False, None)


async def test_the_wait_for_the_first_byte_is_told_apart_from_connecting() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.2)
        writer.write(head("500 No", b""))

    async with Hostile(slow) as hostile, opened(f"http://127.0.0.1:{hostile.port}/") as sink:
        (answer,) = await sink.send([make_entry()])
    tried = answer.tried
    assert tried is not None
    assert tried.first_byte is not None
    assert tried.first_byte - (tried.connect or 0) >= 190


async def test_looking_up_the_name_is_told_apart_from_connecting(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            await asyncio.sleep(1.0)
            return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

        async def close(self) -> None:
            pass

    monkeypatch.setattr(client, "Resolver", Slow)
    async with opened(f"http://soc.example:{receiver.port}/hook", attempts="all") as sink:
        (answer,) = await sink.send([make_entry()])
    tried = answer.tried
    assert tried is not None
    assert tried.resolve is not None
    assert tried.resolve >= 990
    assert (tried.connect or 0) < tried.resolve


async def test_no_answer_is_told_with_how_far_it_came(receiver: HttpReceiver) -> None:
    await receiver.fail()
    async with opened(receiver.url) as sink:
        (answer,) = await sink.send([make_entry()])
    tried = answer.tried
    assert tried is not None
    assert (tried.status, tried.first_byte, tried.excerpt) == (None, None, "")


async def test_of_a_long_answer_little_is_kept() -> None:
    tried = await tried_by(head("500 No", b"x" * 60_000))
    assert tried.excerpt == "x" * EXCERPT


async def test_a_receiver_that_echoes_a_secret_is_not_quoted() -> None:
    async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head("401 No", f'{{"known": "{SECRET}"}}'.encode()))

    async with Hostile(echoing) as hostile, opened(f"http://127.0.0.1:{hostile.port}/", secret=SECRET) as sink:
        (answer,) = await sink.send([make_entry()])
    assert answer.tried is not None
    assert SECRET.removeprefix("whsec_")[:12] not in answer.tried.excerpt
    assert "known" in answer.tried.excerpt


async def test_the_time_is_that_of_the_sinks_clock(receiver: HttpReceiver) -> None:
    receiver.status = 500
    async with open_sink(settings(receiver.url), LOOPBACK, clock=lambda: 1_700_000_000.25) as sink:
        (answer,) = await sink.send([make_entry()])
    assert answer.tried is not None
    assert answer.tried.began_at == 1_700_000_000_250


def test_an_excerpt_is_text_whatever_came() -> None:
    assert excerpt_of(b" no\n") == "no"
    assert excerpt_of(b"\xff\x00!") == "\ufffd\ufffd!"
    assert excerpt_of(("ä" * EXCERPT).encode()[: EXCERPT + 1]) == "ä" * (EXCERPT // 2)
    assert excerpt_of(b"x" + ("ä" * EXCERPT).encode()[: EXCERPT - 1]) == "x" + "ä" * (EXCERPT // 2 - 1)
