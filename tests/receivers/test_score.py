"""The score of the hostile receiver: careless senders fail, each where it is careless."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.process import until
from tests.receivers.behaviours import BEHAVIOURS
from tests.receivers.judging import Bounds, State
from tests.receivers.names import NameServer
from tests.receivers.receiver import Receiver, open_receiver

pytestmark = pytest.mark.hostile

BOUNDS = Bounds(deadline=1.0, patience=0.5, quiet=0.2, grace=0.0, connections=4)


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with open_receiver(tmp_path, bounds=BOUNDS) as one:
        yield one


@asynccontextmanager
async def careless() -> AsyncIterator[aiohttp.ClientSession]:
    """A client as it comes, which keeps cookies and follows redirects."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, connector=aiohttp.TCPConnector(ssl=False)) as session:
        yield session


def urls(receiver: Receiver) -> dict[str, str]:
    return {one.name: receiver.url(one) for one in BEHAVIOURS}


def state(receiver: Receiver, name: str) -> State:
    return next(row.verdict.state for row in receiver.score(BOUNDS).rows if row.name == name)


async def post(session: aiohttp.ClientSession, url: str, message: str = "one") -> int:
    async with session.post(url, data=b"{}", headers={"webhook-id": message}) as response:
        await response.read()
        return response.status


def test_every_behaviour_is_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "hostile-receiver.md").read_text("utf-8")
    assert [one.name for one in BEHAVIOURS if f"`{one.name}`" not in page] == []


async def test_nothing_is_said_of_a_sender_that_was_not_seen(receiver: Receiver) -> None:
    assert {row.verdict.state for row in receiver.score(BOUNDS).rows} == {State.NOT_SEEN}


async def test_who_follows_a_redirect_fails(receiver: Receiver) -> None:
    async with careless() as session:
        for name in ("redirect-301", "redirect-302", "redirect-303", "redirect-307", "redirect-308"):
            assert await post(session, urls(receiver)[name]) == 200
            assert state(receiver, name) is State.FAILED


async def test_who_follows_no_redirect_and_comes_again_passes(receiver: Receiver) -> None:
    async with aiohttp.ClientSession() as session:
        for name in ("redirect-301", "redirect-307"):
            for status in (int(name[-3:]), 204):
                sent = session.post(
                    urls(receiver)[name], data=b"{}", headers={"webhook-id": "one"}, allow_redirects=False
                )
                async with sent as response:
                    assert response.status == status
            assert state(receiver, name) is State.PASSED


@pytest.mark.parametrize("name", ["error", "hang-up", "garbage", "two-lengths"])
async def test_a_message_that_does_not_come_again_after_a_failure_fails(receiver: Receiver, name: str) -> None:
    async with careless() as session:
        with suppress(aiohttp.ClientError):
            await post(session, urls(receiver)[name])
        assert state(receiver, name) is State.NOT_SEEN
        await asyncio.sleep(BOUNDS.patience)
        assert state(receiver, name) is State.FAILED
        assert await post(session, urls(receiver)[name]) == 204
        assert state(receiver, name) is State.PASSED


async def test_a_message_that_comes_again_after_it_was_taken_fails(receiver: Receiver) -> None:
    async with careless() as session:
        for name in ("good", "interim", "tls-good"):
            await post(session, urls(receiver)[name])
            assert state(receiver, name) is State.PASSED
            await post(session, urls(receiver)[name])
            assert state(receiver, name) is State.FAILED


async def test_who_reads_on_fails(receiver: Receiver) -> None:
    async with careless() as session:
        async with session.post(urls(receiver)["huge-body"], data=b"{}") as response:
            await response.content.readexactly(8 << 20)
        async with session.post(urls(receiver)["huge-body"], data=b"{}") as response:
            response.close()
        await until(lambda: receiver.seen["huge-body"].exchanges[0].ended is not None)
    assert state(receiver, "huge-body") is State.FAILED


@pytest.mark.parametrize("name", ["silent", "no-reading", "drip-head", "drip-body", "tls-silent"])
async def test_who_waits_for_ever_fails(receiver: Receiver, name: str) -> None:
    async with careless() as session:
        waiting = asyncio.ensure_future(post(session, urls(receiver)[name]))
        await asyncio.sleep(BOUNDS.deadline + 0.2)
        assert state(receiver, name) is State.FAILED
        waiting.cancel()


async def test_who_comes_to_a_receiver_that_is_gone_fails(receiver: Receiver) -> None:
    async with careless() as session:
        for name in ("gone", "disable"):
            await post(session, urls(receiver)[name], "one")
            await asyncio.sleep(BOUNDS.quiet)
            assert state(receiver, name) is State.PASSED
            await post(session, urls(receiver)[name], "two")
            assert state(receiver, name) is State.FAILED


async def test_who_sends_again_what_was_not_to_come_fails(receiver: Receiver) -> None:
    async with careless() as session:
        for message, wanted in (("one", State.PASSED), ("two", State.PASSED), ("one", State.FAILED)):
            await post(session, urls(receiver)["abort-message"], message)
            await asyncio.sleep(BOUNDS.quiet)
            assert state(receiver, "abort-message") is wanted


@pytest.mark.parametrize("name", ["too-many", "too-many-date", "unavailable", "unavailable-date"])
async def test_who_comes_too_early_fails(receiver: Receiver, name: str) -> None:
    async with careless() as session:
        assert await post(session, urls(receiver)[name]) in (429, 503)
        assert await post(session, urls(receiver)[name]) in (429, 503)
    assert state(receiver, name) is State.FAILED


async def test_who_sends_a_cookie_back_fails(receiver: Receiver) -> None:
    async with careless() as session:
        for message in ("one", "two"):
            await post(session, urls(receiver)["cookie"], message)
    assert state(receiver, "cookie") is State.FAILED


async def test_who_trusts_every_certificate_fails(receiver: Receiver) -> None:
    names = ("tls-wrong-name", "tls-expired", "tls-self-signed")
    trusting = ssl.create_default_context(cafile=receiver.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        assert await post(session, urls(receiver)["tls-good"]) == 204
        for name in names:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await post(session, urls(receiver)[name])
            await until(lambda name=name: state(receiver, name) is State.PASSED)  # type: ignore[misc]
    async with careless() as session:
        for name in names:
            await post(session, urls(receiver)[name])
            assert state(receiver, name) is State.FAILED


async def test_who_opens_a_connection_for_each_request_and_keeps_it_fails(receiver: Receiver) -> None:
    writers = []
    for _ in range(BOUNDS.connections + 1):
        reader, writer = await asyncio.open_connection(receiver.host, receiver.port)
        writer.write(b"POST /keep-alive HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)
    assert state(receiver, "keep-alive") is State.FAILED
    for writer in writers:
        writer.close()


async def test_who_takes_surplus_bytes_for_the_next_answer_fails(receiver: Receiver) -> None:
    reader, writer = await asyncio.open_connection(receiver.host, receiver.port)
    for _ in range(2):
        writer.write(b"POST /surplus HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    await until(lambda: state(receiver, "surplus") is State.FAILED)
    writer.close()


# Names


def query(name: str, kind: int = 1, number: int = 7) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def addresses(answer: bytes, asked: bytes) -> list[str]:
    """The addresses in an answer of ours, whose records are all alike."""
    number, flags, questions, count, *_ = struct.unpack_from("!6H", answer)
    assert (number, flags & 0x8000, questions) == (7, 0x8000, 1)
    records = answer[len(asked) :]
    return [socket.inet_ntoa(records[16 * at + 12 : 16 * at + 16]) for at in range(count)]


async def ask(receiver: Receiver, name: str) -> list[str]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        await loop.sock_connect(one, receiver.dns)
        await loop.sock_sendall(one, query(name))
        return addresses(await loop.sock_recv(one, 512), query(name))


async def test_a_name_leads_inside_at_every_other_lookup(receiver: Receiver) -> None:
    found = [await ask(receiver, "Rebound.receivers.test") for _ in range(3)]
    assert found == [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]]
    assert state(receiver, "rebound") is State.PASSED
    first, second = await ask(receiver, "mixed.receivers.test"), await ask(receiver, "mixed.receivers.test")
    assert first == second[::-1] == ["127.0.0.1", "127.0.0.2"]


async def test_who_goes_where_the_name_leads_fails(receiver: Receiver) -> None:
    async with careless() as session:
        for name in ("rebound", "mixed"):
            headers = {"Host": f"{name}.receivers.test"}
            async with session.post(f"{receiver.inner}/{name}", data=b"{}", headers=headers):
                pass
            assert state(receiver, name) is State.FAILED


def test_other_names_and_other_queries_have_no_address() -> None:
    server = NameServer(lambda name: ["192.0.2.1"] if name == "a.receivers.test" else None)
    good = server.answer(query("a.receivers.test"))
    assert good is not None
    assert addresses(good, query("a.receivers.test")) == ["192.0.2.1"]
    ipv6 = server.answer(query("a.receivers.test", kind=28))
    assert ipv6 is not None
    assert struct.unpack_from("!6H", ipv6)[1] & 15 == 0
    assert struct.unpack_from("!6H", ipv6)[3] == 0
    other = server.answer(query("other.example"))
    assert other is not None
    assert struct.unpack_from("!6H", other)[1] & 15 == 3
    for broken in (b"", b"x" * 11, query("a.receivers.test")[:-3], good):
        assert server.answer(broken) is None


async def test_the_score_is_a_page_too(receiver: Receiver) -> None:
    async with aiohttp.ClientSession() as session:
        await post(session, urls(receiver)["good"])
        async with session.get(f"{receiver.base}/score") as response:
            score = json.loads(await response.text())
        async with session.get(receiver.base) as response:
            assert urls(receiver)["gzip-bomb"] in await response.text()
    assert score["passed"] == 1
    assert score["rows"][0]["state"] == "passed"
