"""A realm that makes access tokens, with real keys, on a loopback port."""

from __future__ import annotations

import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

AUDIENCE = "idp-adapter"
#: To make one takes a while.
_RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})


class Realm:
    """Its keys and tokens."""

    def __init__(self, url: str, name: str) -> None:
        self.issuer = f"{url}/realms/{name}"
        self.keys: dict[str, Key] = {
            "RS256": _RSA,
            "PS256": _RSA,
            "ES256": ECKey.generate_key("P-256", {"kid": "ec", "use": "sig"}),
            "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "okp", "use": "sig"}),
        }
        #: How it answers who asks for its keys, and how often it was asked.
        self.status = 200
        self.asked = 0

    def token(self, *roles: str, algorithm: str = "RS256", key: Key | None = None, **changes: Any) -> str:
        """A token as Keycloak 26 makes it; a claim that is ``None`` is left out."""
        key = key or self.keys[algorithm]
        now = int(time.time())
        claims = {
            "exp": now + 60,
            "iat": now,
            "jti": "trrtcc:1",
            "iss": self.issuer,
            "aud": [AUDIENCE, "account"],
            "sub": "0f7b1a52-0001-4e0a-9a57-0f0f6a1c9e11",
            "typ": "Bearer",
            "azp": "cli",
            "realm_access": {"roles": ["offline_access"]},
            "resource_access": {AUDIENCE: {"roles": list(roles)}, "account": {"roles": ["manage-events"]}},
            "preferred_username": "zoe",
            **changes,
        }
        header = {"alg": algorithm, "typ": "JWT", "kid": key.kid}
        said = {name: value for name, value in claims.items() if value is not None}
        with warnings.catch_warnings():
            # Keycloak says EdDSA, where newer specifications say Ed25519.
            warnings.simplefilter("ignore", SecurityWarning)
            return jwt.encode(header, said, key, registry=JWSRegistry(algorithms=[algorithm]))

    async def certs(self, request: web.Request) -> web.Response:
        self.asked += 1
        keys = {key.kid: key for key in self.keys.values()}
        return web.json_response(KeySet(list(keys.values())).as_dict(private=False), status=self.status)


@asynccontextmanager
async def realms(*names: str) -> AsyncIterator[list[Realm]]:
    """Realms that answer while the context lasts."""
    app = web.Application()
    runner = web.AppRunner(app)
    made: dict[str, Realm] = {}

    async def certs(request: web.Request) -> web.Response:
        return await made[request.match_info["realm"]].certs(request)

    app.router.add_get("/realms/{realm}/protocol/openid-connect/certs", certs)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        made |= {name: Realm(url, name) for name in names}
        yield list(made.values())
    finally:
        await runner.cleanup()
