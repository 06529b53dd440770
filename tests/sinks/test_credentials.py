"""How a webhook says who it is, to real receivers and a real token endpoint."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from aiohttp import web
from pydantic import ValidationError

from adapter.errors import NoReply
from adapter.outgoing.client import open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.section import secrets_of
from adapter.sinks.credentials import OAuth2Auth, Tokens, read_auth
from adapter.sinks.protocol import DELIVERED, Answer, Later
from adapter.sinks.webhook import open_sink
from tests.opened import login, opened
from tests.outgoing.certificates import Authority
from tests.outgoing.proxy import ForwardProxy
from tests.sinks.entries import make_entries, make_entry
from tests.sinks.test_webhook import LOOPBACK, HttpReceiver, settings
from tests.sinks.token_server import Guarded, TokenServer, token_server

PASSWORD = "correct horse: battery"
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    receiver = HttpReceiver()
    await receiver.fix()
    yield receiver
    await receiver.fail()


@pytest.fixture
async def servers() -> AsyncIterator[tuple[TokenServer, Guarded]]:
    async with token_server() as both:
        yield both


def oauth2(server: TokenServer, **more: Any) -> dict[str, Any]:
    return {
        "kind": "oauth2",
        "token_url": server.url,
        "client_id": "adapter one",
        "client_secret": "s€cret: of the client",
        **more,
    }


async def send(url: str, auth: dict[str, Any] | None, *, times: int = 1, **more: Any) -> Sequence[Answer]:
    given = settings(url, **({} if auth is None else {"auth": auth}), **more)
    async with open_sink(given, LOOPBACK) as sink:
        return [answer for entry in make_entries(times) for answer in await sink.send([entry])]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def tokens_of(server: TokenServer, clock: Any = None, **more: Any) -> AsyncIterator[Tokens]:
    given = read_auth(oauth2(server, **more))
    assert isinstance(given, OAuth2Auth)
    async with open_client(LOOPBACK, given, connections=1, timeout=5) as client:
        yield Tokens(client, given, clock or asyncio.get_running_loop().time)


# What does not change


async def test_a_user_and_a_password(receiver: HttpReceiver) -> None:
    await send(receiver.url, {"kind": "basic", "user": "zoë", "password": PASSWORD})
    ((_, headers, _),) = receiver.requests
    coded = base64.b64encode(f"zoë:{PASSWORD}".encode()).decode()
    assert headers["Authorization"] == f"Basic {coded}"


async def test_a_token_and_headers_beside_it_and_beside_signatures(receiver: HttpReceiver, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    (tmp_path / "token").write_text("the-token\n")
    headers = {"X-Api-Key": {"value_file": str(tmp_path / "key")}, "Tenant": "acme"}
    auth = {"kind": "bearer", "token_file": str(tmp_path / "token"), "headers": headers}
    await send(receiver.url, auth, secret=STANDARD)
    ((_, got, _),) = receiver.requests
    assert (got["Authorization"], got["X-Api-Key"], got["Tenant"]) == ("Bearer the-token", "from-a-file", "acme")
    assert got["webhook-signature"].startswith("v1,")
    assert got["Content-Type"] == "application/json"


async def test_headers_alone_may_be_an_authorization_of_another_scheme(receiver: HttpReceiver) -> None:
    await send(receiver.url, {"kind": "headers", "headers": {"Authorization": "Splunk 0815"}})
    ((_, headers, _),) = receiver.requests
    assert headers.getall("Authorization") == ["Splunk 0815"]  # type: ignore[attr-defined]


async def test_who_we_are_is_not_told_to_a_proxy_in_between(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.sign("soc.example"))
    receiver = HttpReceiver(tls)
    await receiver.fix()
    auth = {"kind": "bearer", "token": "the-token", "headers": {"X-Api-Key": "the-key"}}
    proxy = ForwardProxy({"soc.example": "127.0.0.1"}, user="adapter", password="at the proxy")
    async with proxy:
        more: dict[str, Any] = {"proxy": proxy.url, "proxy_user": "adapter", "proxy_password": "at the proxy"}
        url = f"https://soc.example:{receiver.port}/hook"
        assert await send(url, auth, ca_file=authority.file, **more) == [DELIVERED]
        ((line, told),) = proxy.requests
    await receiver.fail()
    assert line.startswith("CONNECT soc.example:")
    assert not {"authorization", "x-api-key"} & set(told)
    ((_, headers, _),) = receiver.requests
    assert (headers["Authorization"], headers["X-Api-Key"]) == ("Bearer the-token", "the-key")
    assert "Proxy-Authorization" not in headers


# A certificate


async def test_a_receiver_that_asks_for_a_certificate_refuses_who_has_none(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "another")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.sign("localhost"))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.file)
    receiver = HttpReceiver(tls)
    await receiver.fix()
    url = f"https://localhost:{receiver.port}/hook"
    certificate, key = authority.sign("adapter", "hunter22")
    shown = {"certificate_file": certificate, "key_file": key, "key_password": "hunter22"}
    wrong, wrong_key = other.sign("stranger")
    given: list[dict[str, Any]] = [{}, {"certificate_file": wrong, "key_file": wrong_key}]
    outgoing = OutgoingSettings.model_validate({"allow": ["127.0.0.0/8", "::1/128"], "ca_file": authority.file})
    for one in given:
        async with open_sink(settings(url, **one), outgoing) as sink:
            (answer,) = await sink.send([make_entry()])
            assert isinstance(answer, Later)
            assert answer.receiver_down
    async with open_sink(settings(url, **shown), outgoing) as sink:
        assert list(await sink.send([make_entry()])) == [DELIVERED]
    # Its authority is a private one: who does not know it does not send.
    stranger = settings(url, ca_file=other.file)
    async with open_sink(stranger, outgoing) as sink:
        (answer,) = await sink.send([make_entry()])
    await receiver.fail()
    assert isinstance(answer, Later)
    assert "certificate is not accepted" in answer.reason
    assert len(receiver.requests) == 1


# OAuth2


async def test_a_token_is_fetched_once_and_used_by_all(servers: tuple[TokenServer, Guarded]) -> None:
    server, receiver = servers
    async with open_sink(settings(receiver.url, auth=oauth2(server)), LOOPBACK) as sink:
        answers = await asyncio.gather(*(sink.send([entry]) for entry in make_entries(40)))
    assert [one for (one,) in answers] == [DELIVERED] * 40
    assert receiver.answers == [("token-1", 200)] * 40
    assert len(server.asked) == 1


async def test_what_the_token_endpoint_is_told(servers: tuple[TokenServer, Guarded]) -> None:
    server, receiver = servers
    more = {"scope": "events:write x", "parameters": {"audience": "https://siem.example/"}}
    assert await send(receiver.url, oauth2(server, **more)) == [DELIVERED]
    assert await send(receiver.url, oauth2(server, client_auth="post")) == [DELIVERED]
    (first, form), (second, posted) = server.asked
    # Id and secret are encoded as in a form before they are put together (RFC 6749, 2.3.1).
    coded = base64.b64decode(first["Authorization"].removeprefix("Basic ")).decode()
    assert coded == "adapter+one:s%E2%82%ACcret%3A+of+the+client"
    assert form == {
        "grant_type": "client_credentials",
        "scope": "events:write x",
        "audience": "https://siem.example/",
    }
    assert "Authorization" not in second
    assert posted == {
        "grant_type": "client_credentials",
        "client_id": "adapter one",
        "client_secret": "s€cret: of the client",
    }


async def test_a_token_is_fetched_anew_shortly_before_its_end(servers: tuple[TokenServer, Guarded]) -> None:
    server, _ = servers
    clock = Clock()
    for says, good_for in ((3600, 3540), (100, 80), ("3600", 3540), (None, 240), ("soon", 240), (-5, 240)):
        server.says = says
        async with tokens_of(server, clock) as tokens:
            first = await tokens.get()
            clock.now += good_for - 1
            assert await tokens.get() == first
            clock.now += 1
            assert await tokens.get() != first


async def test_a_token_that_the_receiver_refuses_is_fetched_anew_once(servers: tuple[TokenServer, Guarded]) -> None:
    server, receiver = servers
    async with open_sink(settings(receiver.url, auth=oauth2(server)), LOOPBACK) as sink:
        assert list(await sink.send([make_entry(1)])) == [DELIVERED]
        server.revoke()
        answers = await asyncio.gather(*(sink.send([entry]) for entry in make_entries(20)))
        assert [one for (one,) in answers] == [DELIVERED] * 20
        assert len(server.asked) == 2
        server.lifetime = 0  # what it gives from now on is refused
        server.revoke()
        before = len(receiver.answers)
        (answer,) = await sink.send([make_entry(3)])
        assert isinstance(answer, Later)
        assert answer.receiver_down
        assert "401" in answer.reason
        assert receiver.answers[before:] == [("token-2", 401), ("token-3", 401)]
        server.lifetime = 300
        assert list(await sink.send([make_entry(3)])) == [DELIVERED]


async def test_who_waits_for_a_token_gets_what_comes_of_the_one_fetch(servers: tuple[TokenServer, Guarded]) -> None:
    server, _ = servers
    server.answer = lambda: web.Response(status=503)
    server.open.clear()
    async with tokens_of(server) as tokens:
        waiting = [asyncio.create_task(tokens.get()) for _ in range(30)]
        await server.called.wait()
        server.open.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(one) for one in outcomes} == {"no token from 127.0.0.1: it answered 503"}
        assert len(server.asked) == 1
        server.answer = None
        assert await tokens.get() == "token-2"


async def test_one_who_hangs_up_leaves_the_fetch_to_the_next(servers: tuple[TokenServer, Guarded]) -> None:
    server, _ = servers
    server.open.clear()
    async with tokens_of(server) as tokens:
        first, second = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
        await server.called.wait()
        first.cancel()
        server.open.set()
        assert await second == "token-2"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((401, '{"error":"invalid_client","error_description":"bad hunter22"}'), "it answered 401 (invalid_client)"),
        ((400, '{"error":"hunter22"}'), "it answered 400"),
        ((302, ""), "it answered 302"),
        ((200, "<html>"), "there is no access_token in its answer"),
        ((200, '["hunter22"]'), "there is no access_token in its answer"),
        ((200, '{"access_token":7}'), "there is no access_token in its answer"),
        ((200, '{"access_token":"a\\r\\nX-Evil: hunter22"}'), "its access_token holds what no header may"),
        ((200, '{"access_token":"hunter22","token_type":"DPoP"}'), "its token is not of the type Bearer"),
    ],
)
async def test_without_a_token_the_receiver_as_a_whole_is_down(
    servers: tuple[TokenServer, Guarded], answer: tuple[int, str], why: str
) -> None:
    server, receiver = servers
    status, text = answer
    server.answer = lambda: web.Response(status=status, text=text, headers={"Location": "https://hunter22.example/"})
    with structlog.testing.capture_logs() as lines:
        (got,) = await send(receiver.url, oauth2(server))
    assert got == Later(f"no token from 127.0.0.1: {why}", receiver_down=True, spares=True)
    assert receiver.answers == []
    assert lines == []


async def test_a_token_endpoint_is_reached_by_the_guarded_client(servers: tuple[TokenServer, Guarded]) -> None:
    server, receiver = servers
    outgoing = OutgoingSettings()
    async with open_sink(settings(receiver.url, auth=oauth2(server)), outgoing) as sink:
        (answer,) = await sink.send([make_entry()])
    assert isinstance(answer, Later)
    assert answer.reason.startswith("no token from 127.0.0.1: blocked: 127.0.0.1 is not in the public internet")
    # No message can be the cause of that.
    assert answer.spares
    assert server.asked == []


async def test_a_token_endpoint_has_a_proxy_and_authorities_of_its_own(
    servers: tuple[TokenServer, Guarded], receiver: HttpReceiver
) -> None:
    server, _ = servers
    async with ForwardProxy({"127.0.0.1": "127.0.0.1"}) as proxy:
        await send(receiver.url, oauth2(server, proxy=proxy.url))
        assert [line.split()[0] for line in proxy.lines] == ["POST"]
    assert len(receiver.requests) == 1


# Settings


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        ("hunter22", "should be a table with its kind; there are: basic, bearer, headers, oauth2"),
        ({"kind": "digest", "password": "hunter22"}, "there are: basic, bearer, headers, oauth2"),
        ({"kind": "basic", "user": "a:b", "password": "hunter22"}, "no colon"),
        ({"kind": "basic", "user": "a", "password": "hunter22\r\n"}, "no control characters"),
        ({"kind": "basic", "user": "a", "pasword": "hunter22"}, "there are kind, headers, user, password"),
        ({"kind": "bearer", "token": "hunter22 x"}, "no blanks"),
        ({"kind": "bearer", "token": "hunter22\nX: y"}, "printable"),
        ({"kind": "bearer", "token": "a", "headers": {"authorization": "hunter22"}}, "bearer writes it"),
        ({"kind": "headers"}, "one header at least"),
        ({"kind": "headers", "headers": {"X A": "hunter22"}}, "no name of a header"),
        ({"kind": "headers", "headers": {"X-A\r\nX-B": "hunter22"}}, "no name of a header"),
        ({"kind": "headers", "headers": {"X-Ä": "hunter22"}}, "no name of a header"),
        ({"kind": "headers", "headers": {"X-A": "hunter22\r\nX-B: c"}}, "without line breaks"),
        ({"kind": "headers", "headers": {"X-A": "hunter22\x00"}}, "without line breaks"),
        ({"kind": "headers", "headers": {"X-A": ""}}, "printable ASCII"),
        ({"kind": "headers", "headers": {"X-A": "b", "x-a": "hunter22"}}, "there twice"),
        ({"kind": "oauth2", "client_id": "a", "client_secret": "hunter22", "token_url": "id.example"}, "must begin"),
        (
            {"kind": "oauth2", "client_id": "a", "client_secret": "hunter22", "token_url": "http://id.example/"},
            "must begin with https://; http:// is for this machine alone",
        ),
        (
            {"kind": "oauth2", "client_id": "a", "client_secret": "x", "token_url": "https://u:hunter22@id.example/"},
            "must hold no user, password or fragment",
        ),
        (
            {
                "kind": "oauth2",
                "client_id": "a",
                "client_secret": "x",
                "token_url": "https://id.example/",
                "parameters": {"client_secret": "hunter22"},
            },
            "must not hold client_secret",
        ),
    ],
)
def test_a_wrong_authentication_is_refused_without_a_secret_in_the_message(auth: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings("https://soc.example/", auth=auth)
    errors = caught.value.errors(include_url=False, include_input=False)
    assert {error["loc"][0] for error in errors} == {"auth"}
    assert any(text in error["msg"] for error in errors), errors
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "content-length", "Content-Type", "Content-Encoding", "Accept-Encoding", "User-Agent", "Expect"),
        *("Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade"),
        *("Proxy-Authorization", "Proxy-Authenticate", "Proxy-Connection"),
        *("webhook-id", "Webhook-Signature", "webhook-anything", "X-Keycloak-Signature", "ce-id"),
    ],
)
def test_a_header_that_is_not_the_users_cannot_be_set(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} cannot be set"):
        read_auth({"kind": "headers", "headers": {name: "x"}})


def test_a_token_of_ours_and_another_authorization_do_not_go_together() -> None:
    signature = {"kind": "phasetwo-bearer", "issuer": "https://id.example/realms/acme"}
    for auth in (
        {"kind": "basic", "user": "a", "password": "b"},
        {"kind": "headers", "headers": {"authorization": "x"}},
    ):
        with pytest.raises(ValidationError, match="both write Authorization"):
            settings("https://soc.example/", auth=auth, signature=signature)
    settings("https://soc.example/", auth={"kind": "headers", "headers": {"X-A": "x"}}, signature=signature)


def test_every_credential_is_known_as_a_secret_and_not_shown() -> None:
    headers = {"X-Api-Key": "key-of-a-header"}
    given: list[tuple[dict[str, Any], list[str]]] = [
        ({"kind": "basic", "user": "a", "password": "the-password"}, ["the-password"]),
        ({"kind": "bearer", "token": "the-token", "headers": headers}, ["key-of-a-header", "the-token"]),
        ({"kind": "headers", "headers": headers}, ["key-of-a-header"]),
        (
            {"kind": "oauth2", "client_id": "a", "client_secret": "the-secret", "token_url": "https://id.example/"},
            ["the-secret"],
        ),
    ]
    for auth, secrets in given:
        read = settings("https://soc.example/", auth=auth)
        assert sorted(secrets_of(read)) == secrets
        shown = f"{read!r} {read.model_dump_json()}"
        assert not [one for one in secrets if one in shown]


async def test_a_token_that_was_refused_and_comes_again_is_told(servers: tuple[TokenServer, Guarded]) -> None:
    server, _ = servers
    server.answer = lambda: web.json_response({"access_token": "the-same", "token_type": "Bearer"})
    async with tokens_of(server) as tokens:
        token = await tokens.get()
        with pytest.raises(NoReply, match=r"it gave the one again that was refused$"):
            await tokens.get(refused=token)


async def test_a_sink_waits_out_a_token_endpoint_that_is_down_and_nobody_sees_a_secret(
    servers: tuple[TokenServer, Guarded], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server, receiver = servers
    secrets = ["secret-of-the-client", "key-of-the-gateway"]
    headers = {"X-Api-Key": secrets[1]}
    auth = {**oauth2(server, client_secret=secrets[0]), "headers": headers}
    sink = {"name": "siem", "kind": "webhook", "url": receiver.url, "auth": auth, "from": "beginning"}
    server.answer = lambda: web.Response(status=503, text=f"{secrets[0]} is not known")
    async with opened(tmp_path, sinks=[sink], outgoing={"allow": ["127.0.0.0/8"]}) as service:
        await service.post([login(1), login(2)])
        await server.called.wait()
        async with asyncio.timeout(20):
            while "no token from 127.0.0.1: it answered 503" not in (status := str(await service.get("/status"))):
                server.called.clear()
                await server.called.wait()
        assert receiver.answers == []
        server.answer = None
        await receiver.taken(2)
        answers = [status, str(await service.get("/status"))]
        assert "'held': 0" in answers[1]
        assert "'dead': 0" in answers[1]
    assert {one for _, one in receiver.answers} == {200}
    said = capfd.readouterr()
    secrets.append(receiver.answers[0][0])  # the token
    assert not [one for one in secrets if one in f"{answers}{said.out}{said.err}"]
