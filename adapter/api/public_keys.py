"""The public keys by which receivers verify what they get.

They are for everybody, without a token: with a public key nobody can sign, and a receiver has no token of ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.operation import Answer, Operation, Parameter
from adapter.api.realm_certs import RealmCerts
from adapter.problem import SECURITY_HEADERS
from adapter.signing_keys import SigningKeys
from adapter.sinks.settings import SinkSettings

#: Seconds for which an answer may be kept, by whoever asks and on its way.
MAX_AGE = 60
#: After so many sinks others get their turn.
_TURN = 50
#: Seconds for which our own keys are not put together again.
_GATHERED = 5.0


class PublicKeys(BaseModel):
    """A JWKS (RFC 7517)."""

    keys: list[dict[str, Any]] = Field(description="JWKs: RSA (RS256) and Ed25519 (EdDSA)")


class PublicKeyPages:
    """Shows them."""

    def __init__(
        self,
        keys: SigningKeys,
        sinks: Callable[[], Iterable[SinkSettings]],
        certs: RealmCerts | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``sinks``: the settings of those there are; ``certs``: the keys of a Keycloak's realms, if one is known;
        ``clock`` gives epoch seconds."""
        self._keys = keys
        self._sinks = sinks
        self._certs = certs
        self._clock = clock
        self._gathered: tuple[float, list[dict[str, Any]]] | None = None

    def operations(self) -> list[Operation]:
        ours = "The public keys by which receivers verify signatures of the adapter"
        realms = "The public keys of a realm of the Keycloak, and those of the adapter"
        return [
            Operation(
                "GET", "/.well-known/jwks.json", self.show, ours,
                {200: Answer("The keys.", model=PublicKeys)}, public=True, other_parameters=True,
            ),
            *(
                Operation(
                    "GET", f"{top}/realms/{{realm}}/protocol/openid-connect/certs", self.show_realm, realms,
                    {200: Answer("The keys.", model=PublicKeys)},
                    parameters=[Parameter("realm", "Name of the realm")], public=True, other_parameters=True,
                )
                for top in ("", "/auth")
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        return _answer(await self._ours())

    async def show_realm(self, request: web.Request) -> web.Response:
        ours = await self._ours()
        theirs = [] if self._certs is None else await self._certs.of(request.match_info["realm"])
        return _answer([*theirs, *ours])

    async def _ours(self) -> list[dict[str, Any]]:
        now = self._clock()
        if self._gathered is None or not 0 <= now - self._gathered[0] < _GATHERED:
            token_key = await self._keys.present()
            moment = datetime.fromtimestamp(now, UTC)
            found = [] if token_key is None else [token_key.public]
            for number, sink in enumerate(self._sinks(), 1):
                found += sink.public_keys(moment)
                if number % _TURN == 0:
                    await asyncio.sleep(0)
            # The same secret may sign for several sinks.
            self._gathered = now, list({key["kid"]: key for key in found}.values())
        return self._gathered[1]


def _answer(keys: list[dict[str, Any]]) -> web.Response:
    headers = {**SECURITY_HEADERS, "Cache-Control": f"public, max-age={MAX_AGE}"}
    return web.Response(body=orjson.dumps({"keys": keys}), content_type="application/json", headers=headers)
