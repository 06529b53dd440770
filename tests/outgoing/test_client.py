"""The client of all sinks: TLS with private authorities and certificates of our own, proxies, and what is refused."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError
from yarl import URL

from adapter.errors import Blocked, ConfigError, NoReply, public_text
from adapter.outgoing.client import Client, Reply, open_client, read_retry_after
from adapter.outgoing.settings import HttpSettings, OutgoingSettings
from tests.outgoing.certificates import Authority
from tests.outgoing.proxy import ForwardProxy

LOOPBACK = ["127.0.0.0/8", "::1/128"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> tuple[Path, Path]:
    """Our certificate, and its key."""
    return authority.sign("adapter")


@asynccontextmanager
async def client(own: HttpSettings | None = None, **settings: Any) -> AsyncIterator[Client]:
    outgoing = OutgoingSettings.model_validate({"allow": LOOPBACK, **settings})
    async with open_client(outgoing, own, connections=4, timeout=5) as opened:
        yield opened


async def post(url: str, own: HttpSettings | None = None, **settings: Any) -> Reply:
    async with client(own, **settings) as opened:
        return await opened.request("POST", URL(url), body=b"{}")


async def refusal(url: str, own: HttpSettings | None = None, **settings: Any) -> str:
    with pytest.raises(NoReply) as refused:
        await post(url, own, **settings)
    return str(refused.value)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A receiver that answers with the name in the certificate that it was shown; its port."""

    async def take(request: web.Request) -> web.Response:
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert") or {}
        names = [value for part in shown.get("subject", ()) for _, value in part]
        return web.Response(text=f"{request.path_qs} {','.join(names)} {await request.text()}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def serving(authority: Authority, name: str = "localhost", *, wants: Authority | None = None) -> ssl.SSLContext:
    """TLS of a receiver of this name, which perhaps wants certificates of an authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign(name))
    if wants is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(wants.file)
    return context


# TLS


async def test_a_private_authority_is_trusted_where_it_is_named_and_nowhere_else(authority: Authority) -> None:
    async with receiving(serving(authority)) as port:
        url = f"https://localhost:{port}/"
        assert (await post(url, ca_file=authority.file)).status == 200
        assert await refusal(url) == (
            "its certificate is not accepted: unable to get local issuer certificate; ca_file names the authorities "
            "that are"
        )


async def test_another_authority_does_not_vouch_for_a_receiver(authority: Authority, tmp_path: Path) -> None:
    async with receiving(serving(authority)) as port:
        assert "is not accepted" in await refusal(f"https://localhost:{port}/", ca_file=Authority(tmp_path).file)


async def test_a_certificate_is_good_for_its_own_name_alone(authority: Authority) -> None:
    async with receiving(serving(authority, "other.example")) as port:
        assert "is not accepted" in await refusal(f"https://localhost:{port}/", ca_file=authority.file)


async def test_a_receiver_that_wants_a_certificate_is_shown_ours(authority: Authority, ours: tuple[Path, Path]) -> None:
    certificate, key = ours
    async with receiving(serving(authority, wants=authority)) as port:
        url = f"https://localhost:{port}/x"
        own = HttpSettings(certificate_file=certificate, key_file=key)
        assert (await post(url, own, ca_file=authority.file)).body == b"/x adapter {}"
        assert await refusal(url, ca_file=authority.file)


async def test_a_key_may_be_encrypted_or_stand_beside_its_certificate(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign("locked", "open sesame")
    together = tmp_path / "both.pem"
    together.write_bytes(certificate.read_bytes() + key.read_bytes())
    async with receiving(serving(authority, wants=authority)) as port:
        url = f"https://localhost:{port}/"
        given: dict[str, Any] = {"ca_file": authority.file, "key_password": "open sesame"}
        assert (await post(url, certificate_file=certificate, key_file=key, **given)).body == b"/ locked {}"
        assert (await post(url, certificate_file=together, **given)).body == b"/ locked {}"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ca_file": "gone.pem"}, "ca_file: gone.pem: no PEM file of certificates: No such file"),
        ({"ca_file": "text"}, "ca_file: text: no PEM file of certificates"),
        ({"certificate_file": "gone.pem"}, "certificate_file: gone.pem: no certificate in PEM with its key"),
        ({"certificate_file": "locked.crt", "key_file": "other.key"}, "certificate_file: locked.crt and other.key: "),
        ({"certificate_file": "locked.crt", "key_file": "locked.key", "key_password": "hunter22"}, "key_password"),
        ({"certificate_file": "locked.crt", "key_file": "locked.key"}, "key_password"),
    ],
)
async def test_files_that_cannot_be_used_are_told_by_their_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], said: str
) -> None:
    authority = Authority(tmp_path)
    authority.sign("locked", "open sesame")
    authority.sign("other")
    (tmp_path / "text").write_text("no certificate")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        async with client(**wrong):
            pass
    assert said in str(refused.value)
    assert "hunter22" not in str(refused.value)


# Proxies


async def test_a_request_goes_through_the_proxy_which_looks_its_name_up() -> None:
    async with receiving() as port, ForwardProxy({"receiver.example": "127.0.0.1"}) as proxy:
        url = f"http://receiver.example:{port}/hook?a=b"
        assert (await post(url, proxy=proxy.url, allow=[])).body == b"/hook?a=b  {}"
        assert proxy.lines == [f"POST {url} HTTP/1.1"]


async def test_tls_goes_through_the_proxy_from_end_to_end(authority: Authority, ours: tuple[Path, Path]) -> None:
    certificate, key = ours
    tls = serving(authority, "receiver.example", wants=authority)
    async with receiving(tls) as port, ForwardProxy({"receiver.example": "127.0.0.1"}) as proxy:
        given: dict[str, Any] = {
            "ca_file": authority.file,
            "certificate_file": certificate,
            "key_file": key,
            "proxy": proxy.url,
        }
        reply = await post(f"https://receiver.example:{port}/secret", allow=[], **given)
        assert reply.body == b"/secret adapter {}"
        assert proxy.lines == [f"CONNECT receiver.example:{port} HTTP/1.1"]


async def test_a_proxy_does_not_vouch_for_a_receiver(authority: Authority) -> None:
    tls = serving(authority, "other.example")
    async with receiving(tls) as port, ForwardProxy({"receiver.example": "127.0.0.1"}) as proxy:
        told = await refusal(f"https://receiver.example:{port}/", ca_file=authority.file, proxy=proxy.url)
        assert "its certificate is not accepted" in told


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_a_password_gets_it_and_nobody_else_does(authority: Authority, scheme: str) -> None:
    tls = serving(authority, "receiver.example") if scheme == "https" else None
    names = {"receiver.example": "127.0.0.1"}
    async with receiving(tls) as port, ForwardProxy(names, user="zoë", password="se:cret") as proxy:
        url = f"{scheme}://receiver.example:{port}/"
        given: dict[str, Any] = {"ca_file": authority.file, "proxy": proxy.url}
        assert (await post(url, proxy_user="zoë", proxy_password="se:cret", **given)).status == 200
        others: list[dict[str, Any]] = [{"proxy_user": "zoë", "proxy_password": "other"}, {}]
        for wrong in others:
            told = await refusal(url, **given, **wrong)
            assert told == "the proxy answered 407; it wants other proxy_user and proxy_password"


async def test_what_a_proxy_refuses_to_connect_to_is_no_reply(authority: Authority) -> None:
    async with ForwardProxy({}) as proxy:
        assert await refusal("https://gone.example/", proxy=proxy.url) == "the proxy answered 502"


async def test_a_proxy_that_is_down_is_told_from_a_receiver_that_is() -> None:
    async with ForwardProxy({}) as proxy:
        pass
    told = await refusal("https://receiver.example/", proxy=proxy.url)
    assert told.startswith("cannot connect to the proxy: ")


REFUSED = """
10.0.0.1 127.0.0.1 [::1] [::ffff:7f00:1] 169.254.169.254 127.1 0x7f000001 0x7f.1 017700000001 2130706433 127.0.0.1.
localhost LOCALHOST. a.localhost metadata.google.internal 1.2.3.4.5 0xnothing ①②⑦.0.0.1
"""


@pytest.mark.parametrize("host", REFUSED.split())
async def test_no_proxy_is_asked_for_an_address_that_is_refused(host: str) -> None:
    async with ForwardProxy({}) as proxy:
        told = await refusal(f"http://{host}:8080/", proxy=proxy.url, allow=["192.168.0.0/16"])
        assert told.startswith("blocked: ")
        assert "[outgoing] allow" in told or "looks like an address, and is none" in told
        assert proxy.requests == []


async def test_a_proxy_is_asked_for_an_address_that_is_allowed() -> None:
    async with receiving() as port, ForwardProxy({"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1"}) as proxy:
        for host in ("127.0.0.1", "localhost"):
            assert (await post(f"http://{host}:{port}/", proxy=proxy.url, allow=["127.0.0.0/8"])).status == 200
        assert len(proxy.requests) == 2


@pytest.mark.parametrize("entry", ["127.0.0.0/8", "127.0.0.1"])
async def test_what_is_excepted_is_asked_directly_and_guarded_there(entry: str) -> None:
    async with receiving() as port, ForwardProxy({}) as proxy:
        url = f"http://127.0.0.1:{port}/"
        assert (await post(url, proxy=proxy.url, no_proxy=[entry])).status == 200
        assert "is not in the public internet" in await refusal(url, proxy=proxy.url, no_proxy=[entry], allow=[])
        assert proxy.requests == []


@pytest.mark.parametrize(
    ("entry", "host", "direct"),
    [
        ("example", "soc.example", True),
        (".example", "soc.example", True),
        ("soc.example", "SOC.example.", True),
        ("soc.example", "a.soc.example", True),
        ("soc.example", "mysoc.example", False),
        ("soc.example", "soc.example.org", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "ten.example", False),
    ],
)
async def test_an_exception_stands_for_a_host_and_all_below_it(entry: str, host: str, direct: bool) -> None:
    async with ForwardProxy({}) as proxy:
        await refusal(f"https://{host}:8443/", proxy=proxy.url, no_proxy=[entry], allow=["10.0.0.0/7"])
        assert bool(proxy.requests) is not direct


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as port, ForwardProxy({}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await post(f"http://127.0.0.1:{port}/")).status == 200
        assert proxy.requests == []


# What is refused


@pytest.mark.parametrize(
    ("url", "given", "setting"),
    [
        ("http://10.0.0.1:8080/", {}, "[outgoing] allow"),
        ("http://localhost:8080/", {"allow": []}, "[outgoing] allow"),
        ("http://soc.example:8080/", {"https_only": True}, "https_only in [outgoing]"),
        ("https://soc.example:22/", {}, "ports of [outgoing]"),
        ("https://soc.example:8443/", {"ports": [443]}, "ports in [outgoing]"),
    ],
)
@pytest.mark.parametrize("is_proxied", [False, True])
async def test_administrators_are_told_the_setting_and_others_that_it_is_blocked(
    url: str, given: dict[str, Any], setting: str, is_proxied: bool
) -> None:
    async with ForwardProxy({}) as proxy:
        proxied: dict[str, Any] = {"proxy": proxy.url} if is_proxied else {}
        with pytest.raises(Blocked) as refused:
            await post(url, **given, **proxied)
        assert setting in str(refused.value)
        assert refused.value.public == public_text(str(refused.value)) == "blocked"
        assert proxy.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_leads_to_an_inner_address(status: int) -> None:
    asked = []

    async def take(request: web.Request) -> web.Response:
        asked.append(request.host)
        return web.Response(status=status, headers={"Location": f"http://127.0.0.2:{request.url.port}/"})

    app = web.Application()
    app.router.add_route("*", "/", take)
    async with TestServer(app, host="0.0.0.0") as server:
        for allow in (["127.0.0.1/32"], LOOPBACK):
            assert (await post(f"http://127.0.0.1:{server.port}/", allow=allow)).status == status
        assert asked == [f"127.0.0.1:{server.port}"] * 2


async def test_a_failure_of_the_network_is_told_to_all() -> None:
    with pytest.raises(NoReply) as failed:
        await post("http://127.0.0.1:1024/")
    assert not isinstance(failed.value, Blocked)
    assert failed.value.public == str(failed.value) == public_text(str(failed.value))


# Settings


async def test_a_sinks_own_settings_count_before_those_of_all(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    async with receiving(serving(authority)) as port, ForwardProxy({}) as proxy:
        url = f"https://localhost:{port}/"
        own = HttpSettings(ca_file=authority.file, proxy="")
        assert (await post(url, own, ca_file=other.file, proxy=proxy.url)).status == 200
        assert proxy.requests == []


async def test_a_certificate_never_meets_the_key_of_another_place(
    authority: Authority, ours: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = authority.sign("alone")
    together = tmp_path / "both.pem"
    together.write_bytes(certificate.read_bytes() + key.read_bytes())
    async with receiving(serving(authority, wants=authority)) as port:
        own = HttpSettings(certificate_file=together)
        given: dict[str, Any] = {"ca_file": authority.file, "certificate_file": ours[0], "key_file": ours[1]}
        assert (await post(f"https://localhost:{port}/", own, **given)).body == b"/ alone {}"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("fd12::/64", "fd12::/64"),
        ("SOC.Corp.example.", "soc.corp.example"),
        ("localhost", "localhost"),
        ("büro.example", "xn--bro-hoa.example"),
    ],
)
def test_networks_and_hosts_are_allowed(given: str, read: str) -> None:
    [allowed] = OutgoingSettings.model_validate({"allow": [given]}).allow
    assert str(allowed) == read


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"allow": ["10.1.2.3/8"]}, "names an address in a network; the network is 10.0.0.0/8"),
        *(
            ({"allow": [host]}, "the name of one host such as soc.example, without a port or *")
            for host in (
                "*.example",
                "soc.example:80",
                "https://soc.example",
                "127.1",
                "0x7f.1",
                "",
                "a b",
                "1.2.3.4.5",
            )
        ),
        *(
            ({"ports": [port]}, "should be a port such as 443, or a range of them such as 8000-8999")
            for port in (0, 70000, "1-", "a", "9-2", "-5", " 5")
        ),
    ],
)
def test_a_wrong_permission_says_what_is_right(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        OutgoingSettings.model_validate(wrong)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"proxy": "https://proxy.example"}, "must be http:// with a host and a port"),
        ({"proxy": "proxy.example:3128"}, "must be http:// with a host and a port"),
        ({"proxy": "http://proxy.example/path"}, "must be http:// with a host and a port"),
        ({"proxy": "http://me:hunter22@proxy.example"}, "must not hold a user or password"),
        ({"proxy_user": "me"}, "belong to a proxy"),
        ({"no_proxy": ["a.example"]}, "belong to a proxy"),
        ({"proxy": "http://proxy.example", "proxy_user": "me"}, "one of them is missing"),
        ({"proxy": "http://proxy.example", "no_proxy": ["*.example"]}, "should be a host such as soc.example"),
        ({"key_file": "x.key"}, "belong to a certificate_file"),
    ],
)
def test_a_wrong_setting_says_what_is_right(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        HttpSettings.model_validate(wrong)
    assert said in str(refused.value)
    assert "hunter22" not in str(refused.value)


# Answers


async def test_a_body_that_is_wanted_comes_whole_or_not_at_all() -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        writer.close()

    async with await asyncio.start_server(short, "127.0.0.1", 0) as server, client() as opened:
        url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with pytest.raises(NoReply):
            await opened.request("GET", url)
        reply = await opened.request("GET", url, read=False)
        assert (reply.status, reply.body) == (200, b"abc")


@pytest.mark.parametrize(("size", "is_read"), [(190_000, True), (300_000, False)])
async def test_who_expects_long_answers_reads_so_much_and_no_more(size: int, is_read: bool) -> None:
    async def take(request: web.Request) -> web.Response:
        return web.Response(body=b"x\n" * (size // 2))

    app = web.Application()
    app.router.add_get("/", take)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outgoing = OutgoingSettings.model_validate({"allow": LOOPBACK})
    try:
        async with open_client(outgoing, connections=1, timeout=5, answer_size=200_000, answer_lines=100_000) as opened:
            url = URL(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            if is_read:
                assert len((await opened.request("GET", url)).body) == size
            else:
                with pytest.raises(NoReply):
                    await opened.request("GET", url)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 59),
        ("Fri, 31 Dec 1999 23:00:00 GMT", 0),
        ("Fri, 31 Dec 2049 23:59:59 GMT", 3600),
        ("99999999999999999999999", 3600),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Fri, 31 Dec 99999999 23:59:59 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str | None, wait: float | None) -> None:
    assert read_retry_after(text, now=946684740.0, longest=3600) == wait
