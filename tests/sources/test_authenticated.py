"""What is refused costs the same for the name of a source and for a name that is none."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from multidict import CIMultiDict

from adapter.mapping.table import Table
from adapter.sources.authenticated import AuthenticatedSources
from adapter.sources.intake import Source
from tests.mapping.built_in import table

NOW = 1_700_000_000.0
NAMES = ["keycloak", "zitadel", "magic-link", "onewelcome", "nosuch"]
LONG = b" " * 5_000_000


def authenticated_sources(tables: dict[str, Table] | None = None) -> AuthenticatedSources:
    tables = tables or {name: table(name) for name in NAMES[:-1]}
    # One of the sources has two tokens, while they change.
    tokens = {"keycloak": ("old-token", "new-token")}
    sources = AuthenticatedSources(lambda token, _: token == "admin")
    for name in tables:
        sources.add(Source(name, name, name, tables), tokens.get(name, (f"token-of-{name}",)))
    return sources


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every digest that is computed: its name, and over how many bytes."""
    done: list[tuple[str, int]] = []
    digest, new = hmac.digest, hmac.new

    def counted_digest(key: bytes, text: bytes, name: str) -> bytes:
        done.append((name, len(text)))
        return digest(key, text, name)

    class Counted:
        def __init__(self, key: bytes, text: bytes, name: str) -> None:
            self.name, self.length, self.mac = name, len(text), new(key, text, name)

        def update(self, text: bytes) -> None:
            self.length += len(text)
            self.mac.update(text)

        def digest(self) -> bytes:
            done.append((self.name, self.length))
            return self.mac.digest()

    monkeypatch.setattr(hmac, "digest", counted_digest)
    monkeypatch.setattr(hmac, "new", Counted)
    return done


@pytest.mark.parametrize("body", [b"{}", LONG], ids=["short", "long"])
@pytest.mark.parametrize(
    "presented",
    [
        {"X-Keycloak-Signature": "00"},
        {"ZITADEL-Signature": "t=1700000000,v1=00"},
        {"ZITADEL-Signature": "t=1600000000,v1=00"},
        {"X-Keycloak-Signature": "00", "ZITADEL-Signature": "t=1700000000,v1=00"},
        {"X-Keycloak-Signature": "00", "DD-API-KEY": "wrong"},
        {"X-Keycloak-Signature": "00", "Authorization": "Bearer wrong"},
    ],
    ids=lambda headers: "+".join(headers),
)
async def test_a_wrong_signature_is_computed_over_the_whole_body_for_every_name(
    hashed: list[tuple[str, int]], presented: dict[str, str], body: bytes
) -> None:
    all_sources = authenticated_sources()
    headers = CIMultiDict(presented)
    reads, work = set(), set()
    for name in NAMES:
        authenticated = all_sources[name]
        hashed.clear()
        judgement = authenticated.authenticator.judge(headers, NOW)
        reads.add(bool(judgement.signatures))
        assert await authenticated.authenticator.verify(judgement, headers, body, NOW) is not None
        work.add(tuple(sorted(hashed)))
    assert len(reads) == len(work) == 1
    if reads == {True}:
        assert all(length >= len(body) for _, length in hashed)


async def test_a_wrong_signed_token_is_tried_as_often_for_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    decode: Callable[..., Any] = jwt.decode

    def counted(*arguments: Any, **options: Any) -> Any:
        tried.append(arguments)
        return decode(*arguments, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    all_sources, headers = authenticated_sources(), CIMultiDict({"x-webhook-secret": "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"})
    numbers = set()
    for name in NAMES:
        tried.clear()
        assert all_sources[name].authenticator.judge(headers, NOW).refusal is not None
        numbers.add(len(tried))
    assert numbers == {2}


async def test_nothing_but_its_own_proofs_costs_a_sender_who_is_right(hashed: list[tuple[str, int]]) -> None:
    body = b"{}"
    mac = hmac.HMAC(b"old-token", body, hashlib.sha256).hexdigest()
    headers = CIMultiDict({"X-Keycloak-Signature": mac, "ZITADEL-Signature": "t=1700000000,v1=00"})
    hashed.clear()
    assert await authenticated_sources()["keycloak"].authenticator.refusal(headers, body, NOW) is None
    assert len(hashed) == 2 * 3  # its two tokens, by three digests


def test_long_bodies_are_hashed_in_turns() -> None:
    async def turns() -> int:
        count = 0

        async def others() -> None:
            nonlocal count
            while True:
                count += 1
                await asyncio.sleep(0)

        running = asyncio.create_task(others())
        headers = CIMultiDict({"X-Keycloak-Signature": "00"})
        await authenticated_sources()["keycloak"].authenticator.refusal(headers, LONG, NOW)
        running.cancel()
        return count

    assert asyncio.run(turns()) >= 2 * 3 * 4


async def test_a_changed_table_is_taken_up() -> None:
    tables = {"keycloak": table("onewelcome")}
    all_sources = authenticated_sources(tables)
    headers = CIMultiDict({"X-Keycloak-Signature": hmac.HMAC(b"new-token", b"{}", hashlib.sha256).hexdigest()})
    assert await all_sources["keycloak"].authenticator.refusal(headers, b"{}", NOW) is not None
    tables["keycloak"] = table("keycloak")
    assert await all_sources["keycloak"].authenticator.refusal(headers, b"{}", NOW) is None
    assert all_sources["nosuch"].authenticator.judge(headers, NOW).signatures
