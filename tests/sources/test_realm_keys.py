"""Posts that a Keycloak's listener signs with the key of its realm: verified by what the realm publishes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey

from tests.api.issuer import Realm, realms
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALLOW = {"allow": ["127.0.0.0/8"]}
AUDIENCE = "adapter"


def source(realm: Realm, **changes: Any) -> dict[str, Any]:
    keys = f"{realm.issuer}/protocol/openid-connect/certs"
    return {"name": "signed", "provider": "keycloak", "public_keys": keys, "issuer": realm.issuer, **changes}


def signed(realm: Realm, body: bytes, **changes: Any) -> str:
    """A token as Phase Two's sender makes it."""
    now = int(time.time())
    claims: dict[str, Any] = dict.fromkeys(
        ("sub", "typ", "azp", "realm_access", "resource_access", "preferred_username")
    )
    hashed = hashlib.sha256(body).hexdigest()
    return realm.token(**{**claims, "aud": AUDIENCE, "exp": now + 300, "request_body_sha256": hashed, **changes})


async def post(service: Opened, body: bytes, token: str | None, name: str = "signed") -> tuple[int, Any]:
    # The session's own token is the administrator's.
    headers = {"Content-Type": "application/json", "Authorization": "" if token is None else f"Bearer {token}"}
    async with service.session.post(f"/ingest/{name}", data=body, headers=headers) as response:
        return response.status, await response.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme() -> AsyncIterator[Realm]:
    async with realms("acme") as [realm]:
        yield realm


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(acme: Realm, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    sources = [source(acme, audience=AUDIENCE), source(acme, name="any")]
    async with opened(tmp_path_factory.mktemp("data"), sources=sources, outgoing=ALLOW) as one:
        yield one


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_what_the_realm_signed_is_taken(service: Opened, acme: Realm, algorithm: str) -> None:
    body = json.dumps([login(hash(algorithm) % 1000)]).encode()
    status, answer = await post(service, body, signed(acme, body, algorithm=algorithm))
    assert (status, answer["accepted"] + answer["duplicates"]) == (202, 1)


async def test_a_token_proves_its_own_body_alone(service: Opened, acme: Realm) -> None:
    body, other = (json.dumps(login(number)).encode() for number in (5_000, 5_001))
    token = signed(acme, body)
    assert (await post(service, other, token))[0] == 401
    assert (await post(service, body + b" ", token))[0] == 401
    assert (await post(service, body, signed(acme, body, request_body_sha256=None)))[0] == 401
    # An access token that the realm gave a user is signed by the same key.
    assert (await post(service, body, acme.token("view-events", aud=AUDIENCE)))[0] == 401
    assert (await post(service, body, token))[0] == 202


async def test_who_made_it_for_whom_and_until_when_counts(service: Opened, acme: Realm) -> None:
    body, now = json.dumps(login(6_000)).encode(), int(time.time())
    elsewhere = acme.issuer.replace("acme", "globex")
    wrong: list[dict[str, Any]] = [
        {"iss": elsewhere},
        {"iss": None},
        {"aud": "somebody"},
        {"aud": None},
        {"exp": now - 90},
        {"iat": now + 90},
        {"key": RSAKey.generate_key(2048, {"kid": "rsa"})},
    ]
    for changes in wrong:
        assert (await post(service, body, signed(acme, body, **changes)))[0] == 401, changes
    # Without an audience in the settings none is asked for; the issuer is.
    assert (await post(service, body, signed(acme, body, aud=None), "any"))[0] == 202
    assert (await post(service, body, signed(acme, body, iss=elsewhere), "any"))[0] == 401


async def test_a_post_without_a_token_is_refused(service: Opened) -> None:
    body = json.dumps(login(7_000)).encode()
    assert (await post(service, body, None))[0] == 401
    assert (await post(service, body, ""))[0] == 401


async def test_while_the_keys_cannot_be_had_the_sender_is_to_come_again(tmp_path: Path) -> None:
    async with realms("acme") as [realm]:
        realm.status = 500
        async with opened(tmp_path, sources=[source(realm)], outgoing=ALLOW) as service:
            body = json.dumps(login(1)).encode()
            status, problem = await post(service, body, signed(realm, body))
            assert (status, problem["title"]) == (503, "Public keys are missing")
            # What no key could prove is refused as ever.
            assert (await post(service, body, None))[0] == 401
            assert (await post(service, body, "a.b.c"))[0] == 401


async def test_keys_that_are_known_are_good_while_the_issuer_is_away(tmp_path: Path) -> None:
    async with realms("acme") as [realm], opened(tmp_path, sources=[source(realm)], outgoing=ALLOW) as service:
        body = json.dumps(login(1)).encode()
        assert (await post(service, body, signed(realm, body)))[0] == 202
        realm.status = 500
        assert (await post(service, body, signed(realm, body)))[0] == 202
