from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from yarl import URL

from adapter.outgoing.answer import AnswerTooLong
from adapter.outgoing.guard import AddressRefused, Guard, make_guard, open_connector
from adapter.outgoing.own import OwnAddresses
from adapter.outgoing.resolver import LOOKUPS, Resolver
from adapter.outgoing.settings import OutgoingSettings
from tests.opened import login, opened
from tests.outgoing.certificates import Authority

LOOPBACK = ip_network("127.0.0.0/8")

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


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Names(AbstractResolver):
    """A name server: each lookup gets the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in answer
        ]

    async def close(self) -> None:
        pass


async def post(url: str, guard: Guard, names: AbstractResolver | None = None) -> int:
    async with (
        aiohttp.ClientSession(connector=open_connector(guard, 1, names)) as session,
        session.post(url, data=b"{}", allow_redirects=False, timeout=aiohttp.ClientTimeout(total=2)) as response,
    ):
        return response.status


async def refusal(url: str, guard: Guard, names: AbstractResolver | None = None) -> str:
    """Why the guard refused it."""
    with pytest.raises(aiohttp.ClientConnectorError) as refused:
        await post(url, guard, names)
    assert isinstance(refused.value.os_error, AddressRefused)
    return str(refused.value.os_error)


@asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[tuple[int, list[str]]]:
    """A receiver that answers 202: its port, and the hosts for which it was asked."""
    asked: list[str] = []

    async def take(request: web.Request) -> web.Response:
        asked.append(request.url.host or "")
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/", take)
    async with TestServer(app, host=host) as server:
        yield server.port or 0, asked


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0x7f.1", "0x7f000001", "[::ffff:7f00:1]", "①②⑦.0.0.1", "[::1]", "[fe80::1%25lo]"],
)
async def test_no_spelling_of_a_refused_address_leads_there(host: str) -> None:
    assert "[outgoing] allow" in await refusal(f"http://{host}:8080/", Guard())


@pytest.mark.parametrize("address", [one for one in REFUSED.split() if "%" not in one])
async def test_no_refused_address_is_reached_as_a_literal_or_by_a_name(address: str) -> None:
    literal = f"[{address}]" if ":" in address else address
    assert "is not in the public internet" in await refusal(f"http://{literal}:8080/", Guard())
    named = await refusal("http://receiver.example:8080/", Guard(), Names([address]))
    assert "receiver.example leads to " in named


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0", "0177.0.0.1", "017700000001", "127.0.0.1."])
async def test_odd_spellings_are_no_addresses(host: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        await post(f"http://{host}:8080/", Guard())


@pytest.mark.parametrize("answer", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"]])
async def test_a_name_with_one_refused_address_is_refused_whole(answer: list[str]) -> None:
    async with receiving() as (port, asked):
        told = await refusal(f"http://receiver.example:{port}/", Guard([LOOPBACK]), Names(answer))
        assert "10.0.0.1" in told
        assert asked == []


async def test_an_allowed_address_is_reached() -> None:
    async with receiving() as (port, asked):
        guard = Guard([ip_network("127.0.0.1/32")])
        assert await post(f"http://127.0.0.1:{port}/", guard) == 202
        assert await post(f"http://receiver.example:{port}/", guard, Names(["127.0.0.1"])) == 202
        assert asked == ["127.0.0.1", "receiver.example"]


async def test_all_is_reached_where_all_networks_are_allowed_and_no_more_where_they_are_not_again() -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert all(Guard(everything).allows(address) for address in REFUSED.split())
    async with receiving() as (port, asked):
        url = f"http://127.0.0.1:{port}/"
        assert await post(url, Guard(everything)) == 202
        assert await refusal(url, Guard())
        assert len(asked) == 1


async def test_the_address_is_judged_when_the_socket_is_made_whatever_the_lookup_said() -> None:
    class Trusting(Guard):
        """Finds nothing at the lookup, as when the name changes after it."""

        looked_up = False

        def allows(self, address: str, host: str = "") -> bool:
            first, self.looked_up = not self.looked_up, True
            return first or super().allows(address, host)

    async with receiving() as (port, asked):
        assert await refusal(f"http://receiver.example:{port}/", Trusting(), Names(["127.0.0.1"]))
        assert asked == []


async def test_a_name_that_leads_elsewhere_at_the_next_lookup_is_judged_anew() -> None:
    """Every lookup that a connection is made by is judged, and nothing is looked up twice for one connection."""
    async with receiving() as (port, asked):
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        guard = Guard([ip_network("127.0.0.1/32")])
        url = f"http://receiver.example:{port}/"
        assert await post(url, guard, names) == 202
        assert "127.0.0.2" in await refusal(url, guard, names)
        assert len(asked) == 1


# Hosts that are allowed by name


async def test_an_allowed_host_opens_its_addresses_to_no_other_name() -> None:
    async with receiving() as (port, asked):
        guard = Guard(["soc.corp.example"])
        names = Names(["127.0.0.1"])
        assert await post(f"http://SOC.corp.example.:{port}/", guard, names) == 202
        for other in ("other.example", "a.soc.corp.example", "corp.example", "127.0.0.1"):
            assert "is not in the public internet" in await refusal(f"http://{other}:{port}/", guard, names)
        assert len(asked) == 1


async def test_an_allowed_host_does_not_excuse_another_one_that_is_connected_to_at_the_same_time() -> None:
    async with receiving() as (port, asked):
        connector = open_connector(Guard(["soc.example"]), 8, Names(["127.0.0.1"]))
        async with aiohttp.ClientSession(connector=connector) as session:

            async def ask(host: str) -> int | None:
                try:
                    async with session.post(f"http://{host}:{port}/", data=b"{}") as response:
                        return response.status
                except aiohttp.ClientConnectorError:
                    return None

            assert await asyncio.gather(*map(ask, ["soc.example", "127.0.0.1", "other.example"] * 4)) == [
                202, None, None,
            ] * 4  # fmt: skip
        assert set(asked) == {"soc.example"}


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "100.64.0.1", "172.16.0.1", "192.168.0.1", "::1", "fd12::1"]
)
def test_an_allowed_host_may_lie_in_a_private_network_or_on_this_machine(address: str) -> None:
    assert Guard(["soc.example"]).allows(address, "soc.example")


NO_RECEIVERS = """
169.254.169.254 100.100.100.200 168.63.129.16 fd00:ec2::254 fd20:ce::254 0.0.0.0 :: 224.0.0.1 ff02::1 fe80::1
255.255.255.255 192.0.2.1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:7f00:1::
"""


@pytest.mark.parametrize("address", NO_RECEIVERS.split())
def test_no_allowed_host_leads_to_what_is_no_receiver(address: str) -> None:
    guard = Guard(["soc.example"])
    assert not guard.allows(address, "soc.example")
    with pytest.raises(AddressRefused, match="the name of the host does not allow such an address"):
        guard.check(address, 443, "soc.example")


def test_who_lists_such_an_address_as_a_network_reaches_it() -> None:
    assert Guard([ip_network("169.254.169.254/32")]).allows("169.254.169.254", "metadata.example")


# Ports, plain HTTP


@pytest.mark.parametrize("port", [22, 23, 25, 53, 465, 587, 3306, 5432, 6000, 6379, 11211, 27017])
def test_ports_of_other_protocols_are_refused(port: int) -> None:
    with pytest.raises(
        AddressRefused, match=rf"port {port} is for another protocol than HTTP; .* ports of \[outgoing\]"
    ):
        Guard().check("8.8.8.8", port)


@pytest.mark.parametrize(
    "port", [80, 443, 591, 2375, 3000, 5000, 8000, 8080, 8088, 8443, 9000, 9200, 9292, 32000, 65535]
)
def test_all_other_ports_are_reached(port: int) -> None:
    Guard().check("8.8.8.8", port)


async def test_listed_ports_are_reached_and_no_others() -> None:
    guard = make_guard(OutgoingSettings.model_validate({"allow": ["127.0.0.1"], "ports": [25, "8000-8999"]}))
    for port in (25, 8000, 8999):
        guard.check("8.8.8.8", port)
    for port in (24, 443, 7999, 9000):
        with pytest.raises(AddressRefused, match=f"port {port} is not among the ports"):
            guard.check("8.8.8.8", port)
    async with receiving() as (port, asked):
        closed = make_guard(OutgoingSettings.model_validate({"allow": ["127.0.0.1"], "ports": ["1-1023"]}))
        assert "is not among the ports" in await refusal(f"http://localhost.:{port}/", closed, Names(["127.0.0.1"]))
        assert asked == []


@pytest.mark.parametrize(("url", "is_refused"), [("http://soc.example/", True), ("https://soc.example/", False)])
def test_plain_http_is_refused_where_the_settings_say_so(url: str, is_refused: bool) -> None:
    Guard().check_url(URL(url))
    guard = make_guard(OutgoingSettings(https_only=True))
    with pytest.raises(AddressRefused, match=r"https_only in \[outgoing\]") if is_refused else nullcontext():
        guard.check_url(URL(url))


# The service itself


@contextmanager
def listening(host: str) -> Iterator[tuple[int, OwnAddresses]]:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        own = OwnAddresses()
        own.add([listener])
        yield listener.getsockname()[1], own


def test_where_the_service_listens_is_refused_although_its_network_is_allowed() -> None:
    with listening("127.0.0.1") as (port, own):
        guard = Guard([LOOPBACK, ip_network("0.0.0.0/8")], own=own)
        for address in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"):
            with pytest.raises(
                AddressRefused, match=r"this service itself listens; .* allow_self = true in \[outgoing\]"
            ):
                guard.check(address, port)
        guard.check("127.0.0.1", port - 1)
        guard.check("127.0.0.2", port)
        Guard([LOOPBACK]).check("127.0.0.1", port)


def test_who_listens_everywhere_listens_on_every_address_of_the_machine() -> None:
    with listening("0.0.0.0") as (port, own):
        guard = Guard([LOOPBACK], own=own)
        for address in ("127.0.0.1", "127.3.2.1"):
            with pytest.raises(AddressRefused, match="itself listens"):
                guard.check(address, port)
        guard.check("8.8.8.8", port)


async def test_a_service_sends_nothing_to_itself_unless_it_is_told_to(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sink = {
        "name": "loop", "kind": "webhook", "url": f"http://localhost:{port}/ingest/keycloak", "from": "beginning",
        "filter": {"provider": "keycloak"},
    }  # fmt: skip
    for name, allowed in (("apart", {}), ("loop", {"allow_self": True})):
        outgoing = {"allow": ["127.0.0.0/8", "::1"], **allowed}
        keys = [{"name": "reader", "token": "reader-token"}]
        async with opened(tmp_path / name, port=port, sinks=[sink], outgoing=outgoing, keys=keys) as service:
            await service.post(login(1))
            while True:
                _, status = await service.get("/status")
                [told] = status["sinks"]
                if told["answer"] != "nothing sent yet":
                    break
                await asyncio.sleep(0.01)
            assert ("itself listens" in told["answer"]) is not bool(allowed)
            if not allowed:
                _, others = await service.get("/status", token="reader-token")
                assert others["sinks"][0]["answer"] == "blocked"
                assert "itself listens" not in str(others)
                assert (told["state"], told["lag"], told["held"], told["dead"]) == ("down", 1, 0, 0)


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
