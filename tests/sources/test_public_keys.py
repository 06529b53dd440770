"""The keys with which a sender's tokens are verified: read from files, and fetched."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError
from yarl import URL

from adapter.errors import ConfigError
from adapter.outgoing.client import open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.sources.public_keys import FetchedKeys, PublicKeys, open_public_keys, read_keys
from adapter.sources.settings import read_source_settings
from adapter.sources.signed_token import SignedToken
from tests.outgoing.certificates import Authority
from tests.sources.signing import jwk, key, pem


def token(algorithm: str = "RS256", kid: str | None = None) -> SignedToken:
    return SignedToken("", algorithm, kid)


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def short() -> bytes:
    """An RSA key that anybody can factor who has a cluster."""
    return (
        rsa.RSAPublicNumbers(65537, (1 << 1023) + 1)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


# Reading


@pytest.mark.parametrize("name", ["rsa", "p256", "p384", "p521", "ed25519"])
def test_a_key_is_read_as_pem_and_as_jwk(name: str) -> None:
    for text in (pem(name), json.dumps(jwk(name)).encode(), jwks(jwk(name))):
        [found] = read_keys(text)
        assert found.thumbprint() == key(name).thumbprint()
        assert not found.is_private


def test_a_file_may_hold_several_keys() -> None:
    keys = PublicKeys(read_keys(b"the old one\n" + pem("rsa") + b"\nthe new one\n" + pem("rsa-2") + pem("p256")))
    assert len(keys.fitting(token())) == 2
    assert len(keys.fitting(token("ES256", "any"))) == 1
    assert keys.fitting(token("EdDSA")) == keys.fitting(token("HS256")) == keys.fitting(token("none")) == []


def test_of_a_published_set_what_cannot_verify_signatures_is_passed_over() -> None:
    odd = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        jwk("rsa-2", use="enc"),
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-1", "x": "AA", "y": "AA"},
        5,
        None,
    ]
    [found] = read_keys(jwks(*odd, jwk("rsa", alg="RS256", use="sig")))  # type: ignore[arg-type]
    assert found.kid == "rsa"


def test_of_a_private_jwk_the_public_part_is_read() -> None:
    [found] = read_keys(jwks({**key("p256").as_dict(private=True), "kid": "x"}))
    assert not found.is_private


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "neither PEM nor JSON"),
        (b"[" * 100_000, "neither PEM nor JSON"),
        (b"[]", "is no JWKS"),
        (b'{"keys": 5}', "is no JWKS"),
        (b"{}", "holds no public key"),
        (jwks({"kty": "oct", "k": "c2VjcmV0"}), "holds no public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key of RSA, EC or OKP"),
        (b"-----BEGIN", "holds no public key"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_what_holds_no_key_is_refused_with_the_reason(text: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_keys(text)


def test_private_short_and_too_many_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="holds a private key"):
        read_keys(key("rsa").as_pem(private=True))  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="an RSA key of 1024 bits; 2048 is the least"):
        read_keys(short())
    with pytest.raises(ValueError, match="more than 4 EC keys without a `kid`"):
        read_keys(pem("p256") * 5)


@pytest.mark.parametrize("place", ["http://shop.example/jwks", "ftp://x", "https://", "", "file:///etc/passwd"])
def test_a_place_that_is_neither_file_nor_https_is_refused(place: str) -> None:
    with pytest.raises(ValidationError, match="https://"):
        read_source_settings({"name": "shop", "provider": "keycloak", "public_keys": place})


async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    for text, told in ((None, "No such file"), (b"{}", "holds no public key")):
        if text is not None:
            file.write_bytes(text)
        with pytest.raises(ConfigError, match=f"public_keys: .*keys.pem.*{told}"):
            async with open_public_keys(str(file), "shop", OutgoingSettings()):
                pass


# Fetching


class Publisher:
    """Publishes keys over HTTPS, on an address of this machine."""

    def __init__(self, authority: Authority, port: int) -> None:
        self.url = f"https://localhost:{port}/jwks.json"
        self.outgoing = OutgoingSettings.model_validate(
            {"allow": ["127.0.0.0/8", "::1/128"], "ca_file": authority.file}
        )
        self.status = 200
        self.body = b""
        #: How often they were fetched.
        self.fetched = 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def publishing(authority: Authority, *names: str) -> AsyncIterator[Publisher]:
    async def answer(_: web.Request) -> web.Response:
        publisher.fetched += 1
        return web.Response(body=publisher.body, status=publisher.status)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("localhost"))
    app = web.Application()
    app.router.add_get("/jwks.json", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    publisher = Publisher(authority, runner.addresses[0][1])
    publisher.body = jwks(*map(jwk, names))
    try:
        yield publisher
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fetching(publisher: Publisher, pause: float = 0) -> AsyncIterator[FetchedKeys]:
    async with open_client(publisher.outgoing, connections=1, timeout=5) as client:
        yield FetchedKeys(client, URL(publisher.url), "shop", pause=pause)


async def test_keys_are_fetched_for_the_first_token_and_not_for_the_next(authority: Authority) -> None:
    async with (
        publishing(authority, "rsa", "p256") as publisher,
        open_public_keys(publisher.url, "shop", publisher.outgoing) as keys,
    ):
        assert keys is not None
        for _ in range(3):
            await keys.seek(token("RS256", "rsa"))
            await keys.seek(token("ES256", "p256"))
            assert [one.kid for one in keys.fitting(token("RS256", "rsa"))] == ["rsa"]
        assert publisher.fetched == 1


async def test_a_key_that_is_new_is_fetched_when_a_token_names_it(authority: Authority) -> None:
    async with publishing(authority, "rsa") as publisher, fetching(publisher) as keys:
        await keys.seek(token(kid="rsa"))
        publisher.body = jwks(jwk("rsa-2"))
        await keys.seek(token(kid="rsa-2"))
        assert [one.kid for one in keys.fitting(token(kid="rsa-2"))] == ["rsa-2"]
        # The withdrawn one is gone.
        assert keys.fitting(token(kid="rsa")) == []
        assert publisher.fetched == 2


async def test_however_many_unknown_keys_are_named_there_is_a_pause_between_fetches(authority: Authority) -> None:
    async with publishing(authority, "rsa") as publisher, fetching(publisher, pause=3600) as keys:
        for number in range(50):
            await keys.seek(token(kid=f"unknown-{number}"))
        assert publisher.fetched == 1
        for algorithm in ("HS256", "none", "", "XX999"):
            await keys.seek(token(algorithm, "unknown"))
        assert publisher.fetched == 1


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, b"", "status 500"),
        (302, b"", "status 302"),
        (200, b"<html>", "neither PEM nor JSON"),
        (200, b'{"keys": []}', "holds no public key"),
        (200, b" " * 300_000, "the connection failed"),
    ],
)
async def test_an_answer_without_keys_leaves_those_that_were_there(
    authority: Authority, status: int, body: bytes, told: str
) -> None:
    async with publishing(authority, "rsa") as publisher, fetching(publisher) as keys:
        await keys.seek(token(kid="rsa"))
        publisher.status, publisher.body = status, body
        with structlog.testing.capture_logs() as logs:
            await keys.seek(token(kid="new"))
        assert told in logs[0]["problem"]
        assert [one.kid for one in keys.fitting(token(kid="rsa"))] == ["rsa"]


async def test_an_address_of_our_own_network_is_not_asked_unless_it_is_allowed(authority: Authority) -> None:
    async with publishing(authority, "rsa") as publisher:
        publisher.outgoing = OutgoingSettings.model_validate({"ca_file": authority.file})
        async with fetching(publisher) as keys:
            with structlog.testing.capture_logs() as logs:
                await keys.seek(token(kid="rsa"))
        assert "is not in the public internet" in logs[0]["problem"]
        assert publisher.fetched == 0
        assert keys.fitting(token(kid="rsa")) == []
