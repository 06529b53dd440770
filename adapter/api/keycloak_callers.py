"""Who may read events as a Keycloak gives them: whoever has a token of ours with the permission to read, or one with
which Keycloak itself lets him read the same."""

from __future__ import annotations

import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote_plus

import orjson
from aiohttp import web
from pydantic import BaseModel
from yarl import URL

from adapter.access import Access, bearer_token
from adapter.api.operation import ACCESS, authorize, json_answer, learn_caller, refuse_limited, request_body
from adapter.errors import NoReply, RequestError
from adapter.keys.live import TOKEN_PREFIX
from adapter.keys.sessions import SESSION_PREFIX
from adapter.outgoing.client import Client, open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.problem import SECURITY_HEADERS
from adapter.scope import EVERYTHING, Scope
from adapter.settings import KeycloakApi, Permission

#: For how long it is remembered that a token may read, seconds: as long as it may do so after it was revoked.
REMEMBERED_FOR = 60.0
#: How many tokens are remembered.
REMEMBERED = 1_000
#: Bytes of a request for a token.
FORM_LIMIT = 64 * 1024


class Token(BaseModel):
    """What a client asks for first; a Keycloak says more."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_expires_in: int
    scope: str


class TokenRefusal(BaseModel):
    """Why it gets none (RFC 6749, 5.2)."""

    error: str
    error_description: str


class Reader(NamedTuple):
    """Who may read what he asks for."""

    name: str
    #: What he may see of what the realm shows that he asks for.
    scope: Scope = EVERYTHING


class KeycloakCallers:
    """Checks callers, for settings with a Keycloak or without one."""

    def __init__(self, client: Client | None, url: URL | None, now: Callable[[], float]) -> None:
        """``client`` asks the Keycloak at ``url``; ``now``: seconds of a clock that only goes forward."""
        self._client = client
        self._url = url
        self._now = now
        #: Digest of a token with what it reads: until when it may.
        self._may: OrderedDict[bytes, float] = OrderedDict()

    async def check(self, request: web.Request, realm: str, what: str) -> Reader:
        """The caller, who may read ``what`` (``events``, ``admin-events``) of a realm.

        Raises:
            RequestError: 401, 403: he may not; 503: Keycloak does not say.
        """
        presented = request.headers.getall("Authorization", ())
        token = bearer_token(presented[0]) if len(presented) == 1 else None
        access: Access = request.app[ACCESS]
        # What we have made is shown to nobody else, also when it is of no use any more.
        is_ours = token is None or self._client is None or token.startswith((SESSION_PREFIX, TOKEN_PREFIX))
        if is_ours:
            # Of a session it is found out, too, whether its parent still may.
            await learn_caller(request)
        if token is None or is_ours or access.key(token) is not None:
            principal = authorize(request, Permission.READ)
            realms = principal.scope.realms
            if realms is not None and all(realm != one.name for one in realms):
                refuse_limited(request, principal)
            return Reader(principal.name, principal.scope)
        name = hashlib.sha256("\0".join((token, realm, what)).encode("utf-8", "surrogateescape")).digest()
        until = self._may.get(name)
        if until is None or until < self._now():
            await self._ask(token, realm, what)
            self._may[name] = self._now() + REMEMBERED_FOR
            self._may.move_to_end(name)
            if len(self._may) > REMEMBERED:
                self._may.popitem(last=False)
        return Reader(f"keycloak {name[:8].hex()}")

    async def _ask(self, token: str, realm: str, what: str) -> None:
        path = f"admin/realms/{quote(realm, safe='')}/{what}?max=1"
        status, _, answer = await self._request("GET", path, {"Authorization": f"Bearer {token}"}, None)
        # Something else than a Keycloak may answer 200 to everybody, with a page.
        if status == 200 and _is_list(answer):
            return
        if status in (401, 403, 404):
            detail = f"Keycloak answers {status} to this token for {what} of this realm."
            raise RequestError(status, "Refused by Keycloak", detail, error=f"HTTP {status}")
        detail = f"Keycloak answers {status}; whether this token may read is not known now."
        raise RequestError(503, "Keycloak does not say", detail, headers={"Retry-After": "5"}, error="unknown_error")

    async def make_token(self, request: web.Request) -> web.Response:
        """What a client asks for first: a token. Keycloak gives it, or else a token of ours is its own answer, for who
        brings it as the secret of his client.

        Raises:
            RequestError: 503, Keycloak does not answer.
        """
        body = await request_body(request, FORM_LIMIT)
        try:
            form = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=50))
        except ValueError:
            raise RequestError(400, "Bad request", "the form has too many fields", error="invalid_request") from None
        token = form.get("client_secret") or _basic_secret(request.headers.get("Authorization", ""))
        # What we have made is shown to nobody else, as in `check`.
        is_ours = token.startswith((SESSION_PREFIX, TOKEN_PREFIX)) or request.app[ACCESS].key(token) is not None
        if self._client is not None and not is_ours:
            realm = quote(request.match_info["realm"], safe="")
            sent = {
                name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers
            }
            status, media, answer = await self._request(
                "POST", f"realms/{realm}/protocol/openid-connect/token", sent, body
            )
            if media != "application/json":
                # A page, as of a proxy in front of it; nobody here is answered with pages of others.
                detail = f"Keycloak answers {status}, without JSON; no token is to be had now."
                raise RequestError(
                    503, "Keycloak does not say", detail, headers={"Retry-After": "5"}, error="unknown_error"
                )
            return web.Response(status=status, body=answer, content_type=media, headers=SECURITY_HEADERS)
        if form.get("grant_type") != "client_credentials" or not request.app[ACCESS].may(token, Permission.READ):
            said = "a token of the adapter with the permission read, as client_secret of client_credentials, is right"
            refusal = TokenRefusal(error="unauthorized_client", error_description=f"Not a known token; {said}")
            return json_answer(refusal.model_dump_json().encode(), status=401)
        # It does not expire; a client that asks again soon gets the same.
        given = Token(access_token=token, token_type="Bearer", expires_in=300, refresh_expires_in=0, scope="")
        return json_answer(given.model_dump_json().encode())

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, str, bytes]:
        assert self._client is not None
        assert self._url is not None
        address = URL(f"{str(self._url).rstrip('/')}/{path}", encoded=True)
        try:
            reply = await self._client.request(method, address, headers=headers, body=body)
        except NoReply as error:
            raise RequestError(
                503, "Keycloak does not answer", error.public, headers={"Retry-After": "5"}, error="unknown_error"
            ) from None
        return reply.status, reply.headers.get("Content-Type", "application/json").partition(";")[0], reply.body


@asynccontextmanager
async def open_keycloak_callers(settings: KeycloakApi, outgoing: OutgoingSettings) -> AsyncIterator[KeycloakCallers]:
    """The callers that the settings let read.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    if settings.url is None:
        yield KeycloakCallers(None, None, time.monotonic)
        return
    async with open_client(outgoing, connections=8, timeout=10) as client:
        yield KeycloakCallers(client, URL(settings.url), time.monotonic)


def _is_list(answer: bytes) -> bool:
    try:
        return isinstance(orjson.loads(answer), list)
    except ValueError:
        return False


def _basic_secret(header: str) -> str:
    """The secret of a client that proves itself by HTTP Basic (RFC 6749, 2.3.1); empty if it does not."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        _, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except ValueError:
        return ""
    return unquote_plus(secret)
