from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from adapter.outgoing.answer import AnswerTooLong
from adapter.outgoing.guard import AddressRefused, Guard, open_connector
from adapter.outgoing.resolver import LOOKUPS, Resolver
from tests.outgoing.certificates import Authority

REFUSED = """
0.0.0.0 10.0.0.1 100.64.0.1 100.127.255.254 100.100.100.200 127.0.0.1 127.255.255.255 169.254.169.254
172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16 192.31.196.1 192.52.193.1
192.175.48.1 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:a9fe:a9fe ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b::ac1c:5 64:ff9b::a00:1 64:ff9b::c000:201 64:ff9b::ffff:ffff 64:ff9b:1::1 64:ff9c::1
100::1 100:0:0:1::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:30::1
2001:db8::1 2002:7f00:1:: 2002:a00:1::1 2002:808:808::1 2620:4f:8000::1 3fff::1 5f00::1 4000::1 fc00::1
fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
"""
ALLOWED = """
8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.254 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255
169.255.0.1 172.15.255.255 172.32.0.1 191.255.255.255 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255
198.20.0.1 223.255.255.255 2001:4860:4860::8888 2606:4700:4700::1111 2001:200::1 2003::1 ::ffff:8.8.8.8
64:ff9b::808:808
"""


@pytest.mark.parametrize("address", REFUSED.split())
def test_addresses_outside_the_public_internet_are_refused(address: str) -> None:
    assert not Guard().allows(address)


@pytest.mark.parametrize("address", ALLOWED.split())
def test_neighbours_of_refused_networks_are_allowed(address: str) -> None:
    assert Guard().allows(address)


def test_what_is_no_address_is_refused() -> None:
    assert not Guard().allows("localhost")


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_listed_network_is_allowed_however_it_is_written(address: str) -> None:
    assert Guard([ip_network("127.0.0.0/8")]).allows(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "64:ff9b::7f00:1", "169.254.169.254"])
def test_a_listed_network_allows_no_other(address: str) -> None:
    assert not Guard([ip_network("127.0.0.0/8")]).allows(address)


class Names(AbstractResolver):
    """A name server: each lookup gets the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in answer
        ]

    async def close(self) -> None:
        pass


async def post(url: str, guard: Guard, names: Names | None = None) -> int:
    async with (
        aiohttp.ClientSession(connector=open_connector(guard, 1, names)) as session,
        session.post(url, data=b"{}", allow_redirects=False, timeout=aiohttp.ClientTimeout(total=2)) as response,
    ):
        return response.status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0x7f.1", "0x7f000001", "[::ffff:7f00:1]", "①②⑦.0.0.1", "[::1]", "[fe80::1%25lo]"],
)
async def test_no_spelling_of_a_refused_address_leads_there(host: str) -> None:
    with pytest.raises(aiohttp.ClientConnectorError) as refusal:
        await post(f"http://{host}:9/", Guard())
    assert isinstance(refusal.value.os_error, AddressRefused)
    assert "[outgoing] allow" in str(refusal.value.os_error)


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0", "0177.0.0.1", "017700000001", "127.0.0.1."])
async def test_odd_spellings_are_no_addresses(host: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        await post(f"http://{host}:9/", Guard())


@pytest.mark.parametrize("answer", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"]])
async def test_a_name_with_one_refused_address_is_refused_whole(answer: list[str]) -> None:
    with pytest.raises(aiohttp.ClientConnectorError) as refusal:
        await post("http://receiver.example:9/", Guard([ip_network("127.0.0.0/8")]), Names(answer))
    assert "10.0.0.1" in str(refusal.value.os_error)


async def test_an_allowed_address_is_reached() -> None:
    async def take(request: web.Request) -> web.Response:
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/", take)
    async with TestServer(app) as server:
        guard = Guard([ip_network("127.0.0.1/32")])
        assert await post(f"http://127.0.0.1:{server.port}/", guard) == 202
        assert await post(f"http://receiver.example:{server.port}/", guard, Names(["127.0.0.1"])) == 202


async def test_the_address_is_judged_when_the_socket_is_made_whatever_the_lookup_said() -> None:
    class Trusting(Guard):
        """Finds nothing at the lookup, as when the name changes after it."""

        looked_up = False

        def allows(self, address: str) -> bool:
            first, self.looked_up = not self.looked_up, True
            return first or super().allows(address)

    with pytest.raises(aiohttp.ClientConnectorError) as refusal:
        await post("http://receiver.example:9/", Trusting(), Names(["127.0.0.1"]))
    assert isinstance(refusal.value.os_error, AddressRefused)


async def test_answers_over_tls_are_bounded_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)
                await writer.drain()

    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*authority.sign("localhost"))
    server = await asyncio.start_server(pour, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=authority.file)
    connector = open_connector(Guard([ip_network("127.0.0.0/8")]), 1, Names(["127.0.0.1"]))
    async with server, aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(AnswerTooLong):
            await session.post(f"https://localhost:{port}/", data=b"{}", ssl=trusting)


# Lookups


def addresses(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]


async def test_a_lookup_gives_all_addresses_of_a_name() -> None:
    found = await Resolver().resolve("localhost", 80)
    assert {one["host"] for one in found} & {"127.0.0.1", "::1"}
    assert [one["host"] for one in await Resolver(lookup=addresses).resolve("soc.example")] == ["192.0.2.7"]


async def test_a_name_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        await Resolver().resolve("nothing.invalid", 80)


async def test_lookups_that_hang_are_bounded_in_time_and_number_and_hold_up_nobody_else() -> None:
    answered = threading.Event()

    def hang(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        answered.wait(60)
        return addresses(host, port)

    resolver = Resolver(lookup=hang, timeout=0.01)
    try:
        for _ in range(LOOKUPS):
            with pytest.raises(OSError, match="no answer within"):
                await resolver.resolve("soc.example")
        with pytest.raises(OSError, match="4 lookups before it have no answer yet"):
            await resolver.resolve("soc.example")
        assert await asyncio.to_thread(lambda: "free") == "free"
        assert await Resolver(lookup=addresses).resolve("soc.example")
    finally:
        answered.set()


async def test_a_resolver_that_hung_is_asked_again_when_it_answers() -> None:
    answered = threading.Event()

    def hang(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        answered.wait(60)
        return addresses(host, port)

    resolver = Resolver(lookup=hang)
    lookups = [asyncio.ensure_future(resolver.resolve("soc.example")) for _ in range(LOOKUPS)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="before it have no answer yet"):
        await resolver.resolve("soc.example")
    answered.set()
    await asyncio.gather(*lookups)
    assert await resolver.resolve("soc.example")
