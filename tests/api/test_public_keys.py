"""The public keys that a service shows, as receivers use them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jwt
from joserfc.jwk import KeySet

from adapter.api.realm_certs import ASKED, FRESH, PAUSE, open_realm_certs
from adapter.folder import TOKEN_KEY
from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks.token_key import make_token_key
from tests.api.issuer import Realm, realms
from tests.opened import Opened, login, opened

LOOPBACK = {"allow": ["127.0.0.0/8"]}
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
ISSUER = "https://id.example/realms/acme"
OURS = "/.well-known/jwks.json"
CERTS = "/realms/acme/protocol/openid-connect/certs"


async def shown(service: Opened, path: str) -> list[dict[str, Any]]:
    """What a receiver gets, who has no token."""
    async with ClientSession(service.service.url) as stranger, stranger.get(path) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "public, max-age=60"
        assert response.content_type == "application/json"
        keys: list[dict[str, Any]] = (await response.json())["keys"]
        return keys


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[str, asyncio.Queue[tuple[dict[str, str], bytes]]]]:
    """A receiver: its address, and headers (in lower case) and bodies of what comes."""
    posts: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        posts.put_nowait(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/hook")), posts


async def test_a_receiver_verifies_token_and_signature_with_the_published_keys(tmp_path: Path) -> None:
    async with receiving() as (url, posts):
        bearer = {"kind": "phasetwo-bearer", "issuer": ISSUER, "audience": "siem"}
        signature = [{"kind": "standard", "secret": [WHSEC, WHSK]}, bearer]
        sink = {"name": "siem", "kind": "webhook", "url": url, "signature": signature, "from": "beginning"}
        async with opened(tmp_path, sinks=[sink], outgoing=LOOPBACK) as service:
            await service.post(login(1))
            headers, body = await posts.get()
            keys = await shown(service, OURS)
            for path in (CERTS, f"/auth{CERTS}"):
                assert await shown(service, path) == keys
    token = headers["authorization"].removeprefix("Bearer ")
    rsa = [key for key in keys if key["kty"] == "RSA"]
    claims = jwt.decode(token, KeySet.import_key_set({"keys": rsa}), algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"]) == (ISSUER, "siem")
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()
    (okp,) = (key for key in keys if key["kty"] == "OKP")
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(okp["x"] + "="))
    entry = next(one for one in headers["webhook-signature"].split() if one.startswith("v1a,"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    public.verify(base64.b64decode(entry.removeprefix("v1a,")), signed)
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & {name for key in keys for name in key}
    assert (tmp_path / TOKEN_KEY).stat().st_mode & 0o777 == 0o600


async def test_who_signs_no_tokens_has_no_key(tmp_path: Path) -> None:
    async with opened(tmp_path) as service:
        assert await shown(service, OURS) == []
    assert not (tmp_path / TOKEN_KEY).exists()


async def test_a_key_of_the_settings_is_shown_before_anything_is_signed(tmp_path: Path) -> None:
    key = make_token_key()
    (tmp_path / "key").write_text(json.dumps(key.private))
    async with opened(tmp_path / "data", signing={"key_file": tmp_path / "key"}) as service:
        assert await shown(service, OURS) == [key.public]


# The keys of a Keycloak's realms


def ids(keys: list[dict[str, Any]]) -> set[str]:
    return {key["kid"] for key in keys}


async def test_the_realms_own_keys_are_shown_beside_ours(tmp_path: Path) -> None:
    key = make_token_key()
    (tmp_path / "key").write_text(json.dumps(key.private))
    async with realms("acme") as [acme]:
        url = acme.issuer.removesuffix("/realms/acme")
        signing = {"key_file": tmp_path / "key", "keycloak_url": url}
        async with opened(tmp_path / "data", signing=signing, outgoing=LOOPBACK) as service:
            keys = await shown(service, CERTS)
            assert ids(keys) == {"rsa", "ec", "okp", key.id}
            assert not {"d", "p", "q", "k"} & {name for one in keys for name in one}
            # A token of the realm, and one of ours, are verified by what is shown.
            jwt.decode(acme.token(), KeySet.import_key_set({"keys": keys}), algorithms=["RS256"])
            jwt.decode(key.sign({"iss": ISSUER}), KeySet.import_key_set({"keys": keys}), algorithms=["RS256"])
            assert ids(await shown(service, f"/auth{CERTS}")) == ids(keys)
            assert acme.asked == 1
            assert ids(await shown(service, "/realms/nobody/protocol/openid-connect/certs")) == {key.id}
            assert ids(await shown(service, OURS)) == {key.id}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def acme() -> AsyncIterator[Realm]:
    async with realms("acme") as [realm]:
        yield realm


async def test_the_last_keys_stay_while_a_keycloak_does_not_answer(acme: Realm) -> None:
    clock = Clock()
    url = acme.issuer.removesuffix("/realms/acme")
    async with open_realm_certs(url, OutgoingSettings.model_validate(LOOPBACK), clock) as certs:
        assert certs is not None
        assert ids(await certs.of("acme")) == {"rsa", "ec", "okp"}
        acme.keys.pop("ES256")
        clock.now += FRESH - 1
        assert ids(await certs.of("acme")) == {"rsa", "ec", "okp"}
        assert acme.asked == 1
        clock.now += 1
        assert ids(await certs.of("acme")) == {"rsa", "okp"}
        acme.status = 503
        clock.now += FRESH
        for _ in range(5):
            assert ids(await certs.of("acme")) == {"rsa", "okp"}
        assert acme.asked == 3
        clock.now += PAUSE
        acme.status = 200
        acme.keys.pop("EdDSA")
        assert ids(await certs.of("acme")) == {"rsa"}


async def test_realms_that_strangers_make_up_cost_little_and_displace_none() -> None:
    asked: list[str] = []
    go_on = asyncio.Event()

    async def certs_of(request: web.Request) -> web.Response:
        asked.append(request.match_info["realm"])
        await go_on.wait()
        return web.json_response({}, status=404)

    app = web.Application()
    app.router.add_get("/realms/{realm}/protocol/openid-connect/certs", certs_of)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        async with open_realm_certs(url, OutgoingSettings.model_validate(LOOPBACK), Clock()) as certs:
            assert certs is not None
            waiting = [asyncio.create_task(certs.of(f"made-up-{number}")) for number in range(ASKED)]
            await asyncio.sleep(0)
            for name in ("one-more", "..", ".", "x" * 300):
                assert await certs.of(name) == []
            go_on.set()
            assert await asyncio.gather(*waiting) == [[]] * ASKED
            assert sorted(asked) == sorted(f"made-up-{number}" for number in range(ASKED))
            assert await certs.of("made-up-1") == []
            assert len(asked) == ASKED


async def test_a_name_stays_a_name_on_the_way_to_keycloak() -> None:
    asked: list[str] = []

    async def take(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response({}, status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", take)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        async with open_realm_certs(url, OutgoingSettings.model_validate(LOOPBACK)) as certs:
            assert certs is not None
            await certs.of("a/../../admin?x#y")
    assert asked == ["/realms/a%2F..%2F..%2Fadmin%3Fx%23y/protocol/openid-connect/certs"]
