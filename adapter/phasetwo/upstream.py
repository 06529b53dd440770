"""A running Phase Two extension, asked for the webhooks of a realm with a token of its Keycloak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector

from adapter.errors import AdapterError

#: Webhooks of a page: of more, the extension answers so many. And how often all pages are read until they are all.
PAGE, PASSES = 100, 3
#: Webhooks of a realm.
MOST = 10_000
#: Bytes of an answer, and seconds until it is there.
SIZE, TIMEOUT = 8 * 1024 * 1024, 60.0
#: Bytes of a stranger's text that are told.
_SHOWN = 200


class UpstreamError(AdapterError):
    """Phase Two's server did not give what was asked for; says why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a token is got: one that is given, or by a client's secret, or by a user's password."""

    realm: str
    token: str | None = field(default=None, repr=False)
    client: str = "admin-cli"
    client_secret: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def form(self) -> dict[str, str]:
        """What is posted to the token endpoint."""
        form = {"client_id": self.client}
        if self.client_secret is not None:
            form["client_secret"] = self.client_secret
        if self.user is None:
            return {**form, "grant_type": "client_credentials"}
        return {**form, "grant_type": "password", "username": self.user, "password": self.password or ""}


class _Status(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class Upstream:
    """One realm of a server. Made by `open_upstream`."""

    def __init__(self, session: ClientSession, base: str, realm: str, login: Login) -> None:
        self._session = session
        self._base = base
        self._realm = realm
        self._login = login
        self._token = login.token

    async def webhooks(self) -> list[dict[str, Any]]:
        """All webhooks of the realm, by their ids.

        Raises:
            UpstreamError: they cannot be had.
        """
        for _ in range(PASSES):
            found: dict[str, dict[str, Any]] = {}
            first = 0
            while True:
                page = await self._webhooks(f"?first={first}&max={PAGE}")
                if not isinstance(page, list) or not all(isinstance(one, dict) and one.get("id") for one in page):
                    raise UpstreamError(f"{self._base}: what came is no list of webhooks; is it a Phase Two extension?")
                before = len(found)
                found |= {str(one["id"]): one for one in page}
                first += len(page)
                if len(page) < PAGE or len(found) == before:
                    break
                if len(found) > MOST:
                    raise UpstreamError(f"{self._base}: there are more than {MOST} webhooks")
            # Its pages have no order: one may stand in two of them, and another one in none.
            count = await self._webhooks("/count")
            if count == len(found):
                return [found[id] for id in sorted(found)]
        raise UpstreamError(
            f"{self._base}: of {count} webhooks its pages show {len(found)}; somebody may be changing them: try again"
        )

    async def secret(self, webhook: str) -> str | None:
        """The secret of a webhook; ``None``: it has none.

        Raises:
            UpstreamError: it cannot be had.
        """
        try:
            found = await self._get(f"{self._path}/webhooks/{quote(webhook, safe='')}/secret")
        except _Status as answer:
            if answer.status == 404:
                return None
            raise self._refused(answer.status, "manage-events") from None
        if not isinstance(found, dict) or "value" not in found:
            raise UpstreamError(f"{self._base}: what came is no secret of the webhook {webhook}")
        value = found["value"]
        return value if isinstance(value, str) and value else None

    async def realm(self) -> Mapping[str, Any] | None:
        """The realm as Keycloak's Admin REST shows it; ``None``: the token may not see it."""
        try:
            found = await self._get(f"/admin{self._path}")
        except _Status:
            return None
        return found if isinstance(found, dict) else None

    async def issuer(self) -> str:
        """The issuer of the realm's tokens: as it is published, or else by its address."""
        try:
            found = await self._get(f"{self._path}/.well-known/openid-configuration")
        except _Status:
            found = None
        said = found.get("issuer") if isinstance(found, dict) else None
        return said if isinstance(said, str) else f"{self._base}{self._path}"

    @property
    def _path(self) -> str:
        return f"/realms/{quote(self._realm, safe='')}"

    async def _webhooks(self, rest: str) -> Any:
        try:
            return await self._get(f"{self._path}/webhooks{rest}")
        except _Status as answer:
            raise self._refused(answer.status, "view-events") from None

    async def _get(self, path: str) -> Any:
        """The JSON of an answer. One who can log in does so again where a token has run out.

        Raises:
            _Status: it was refused.
            UpstreamError: what came is no JSON, or nobody can log in.
        """
        is_new = self._token is None
        while True:
            if self._token is None:
                self._token = await self._log_in()
            headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
            async with self._session.get(self._base + path, headers=headers, allow_redirects=False) as response:
                if response.status == 401 and not is_new and self._login.token is None:
                    self._token, is_new = None, True
                    continue
                if response.status != 200:
                    raise _Status(response.status)
                return _read(self._base + path, await _rest(response))

    async def _log_in(self) -> str:
        path = f"/realms/{quote(self._login.realm, safe='')}/protocol/openid-connect/token"
        async with self._session.post(self._base + path, data=self._login.form(), allow_redirects=False) as response:
            found = _read(self._base + path, await _rest(response)) if response.status < 500 else {}
            token = found.get("access_token") if isinstance(found, dict) else None
            if response.status == 200 and isinstance(token, str):
                return token
            # The codes of OAuth2 hold nothing of what was sent.
            said = found.get("error") if isinstance(found, dict) else None
            why = f": {said[:_SHOWN]}" if isinstance(said, str) else ""
        who = f"user {self._login.user}" if self._login.user is not None else f"client {self._login.client}"
        hint = (
            "" if response.status != 404 else "; is that the realm to log in to (--login-realm)? Older ones: URL/auth"
        )
        raise UpstreamError(
            f"{self._base}: no token for the {who} in the realm {self._login.realm} ({response.status}{why}){hint}"
        )

    def _refused(self, status: int, role: str) -> UpstreamError:
        base, realm = self._base, self._realm
        match status:
            case 401:
                right = "it has run out, or is of another server: get a new one, or log in with --client-id or --user"
                return UpstreamError(f"{base}: this token is not known there (401); {right}")
            case 403:
                where = f"realm-management, of a token of master on {realm}-realm"
                return UpstreamError(f"{base}: this token lacks the role {role} of the realm {realm} (403), on {where}")
            case 404:
                right = "the extension is not there, or the realm; older servers answer below /auth: give URL/auth"
                return UpstreamError(f"{base}: there are no webhooks of a realm {realm} (404): {right}")
            case _ if 300 <= status < 400:
                return UpstreamError(f"{base}: answers that it is elsewhere ({status}); give that address")
        return UpstreamError(f"{base}: answered {status}; try again later")


@asynccontextmanager
async def open_upstream(base: str, realm: str, login: Login, tls: SSLContext | bool) -> AsyncIterator[Upstream]:
    """A realm of the server at ``base``, without a slash at its end."""
    async with ClientSession(connector=TCPConnector(ssl=tls), timeout=ClientTimeout(total=TIMEOUT)) as session:
        yield Upstream(session, base, realm, login)


async def _rest(response: ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > SIZE:
            break
    return bytes(body)


def _read(where: str, body: bytes) -> Any:
    if len(body) > SIZE:
        raise UpstreamError(f"{where}: the answer is larger than {SIZE >> 20} MiB")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamError(f"{where}: what came is no JSON; is this the address of a Keycloak?") from None
