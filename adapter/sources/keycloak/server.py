"""A Keycloak's Admin REST API, as far as reading events needs it. python-keycloak gets the tokens and sends requests;
the answers become rows, or problems that a person can act on."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder

from adapter.errors import NoReply, Refused
from adapter.formats.text import harmless
from adapter.outgoing.client import open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.keycloak.transport import ClientTransport

#: Bytes and lines of one answer that are read: a page of events with long representations.
_SIZE, _LINES = 64 << 20, 1_000_000


class Kind(StrEnum):
    """What is read of a realm; the value is the last part of its path."""

    USER = "events"
    ADMIN = "admin-events"


class Row(NamedTuple):
    """One stored event."""

    #: Epoch milliseconds.
    time: int
    #: As the server wrote it.
    raw: bytes


class Page(NamedTuple):
    """An answer with rows, in the server's order."""

    rows: Sequence[Row]
    #: The server's clock, where it tells it, else our own: epoch milliseconds.
    now: int


class NoEpoch(Exception):
    """The server takes days alone as dates: it is older than 26.2."""


class LoginRefused(Refused):
    """The server gives the account no token, or does not take it."""


class _Time(Struct):
    time: int


_rows = Decoder(list[Raw])
_time = Decoder(_Time)


class Server:
    """A server, asked by one request at a time, so that one token is made for all of them. Made by `open_server`."""

    def __init__(self, connection: Any, settings: PullSettings, now: Callable[[], int]) -> None:
        """``connection``: a ``KeycloakOpenIDConnection``; ``now`` gives epoch milliseconds."""
        self._connection = connection
        self._settings = settings
        self._now = now
        self._turn = asyncio.Lock()
        #: By how much the server's clock is ahead of ours, as its answers tell it: to a second, in milliseconds.
        self.ahead = 0
        #: The token by which that was seen.
        self._token: Any = None

    async def events(self, realm: str, kind: Kind, **query: str | int) -> Page:
        """One page of stored events. ``query``: the parameters of the API.

        Raises:
            NoEpoch: the server does not understand a date in ``query``.
            NoReply: no answer came.
            Refused: the server refuses; says what is to be changed there.
        """
        response = await self._ask(realm, f"/{kind}", **query)
        if response.status_code == 400 and isinstance(query.get("dateFrom"), int):
            raise NoEpoch
        self._expect_success(response, realm, kind)
        try:
            found = _rows.decode(response.content)
            rows = [Row(_time.decode(row).time, bytes(row)) for row in found]
        except MsgspecError as error:
            raise Refused(f"realm {harmless(realm)}: {kind}: the answer is no list of events: {error}") from None
        return Page(rows, self._now() + self.ahead)

    async def config(self, realm: str) -> dict[str, Any]:
        """What a realm stores: the answer of ``events/config``.

        Raises: as `events`.
        """
        response = await self._ask(realm, "/events/config")
        self._expect_success(response, realm, None)
        return _object(response, realm)

    async def set_config(self, realm: str, config: dict[str, Any]) -> None:
        """Change what a realm stores.

        Raises: as `events`.
        """
        path = _path(realm, "/events/config")
        response = await self._answered(self._connection.a_raw_put, path, data=json.dumps(config))
        if response.status_code == 403:
            raise Refused(
                f"realm {harmless(realm)}: the account may not change this: it needs the role manage-events; "
                "or change it in the Admin Console: Realm settings, Events"
            )
        self._expect_success(response, realm, None)

    async def realm(self, realm: str) -> dict[str, Any]:
        """A realm's own settings; little of them where the account lacks ``view-realm``.

        Raises: as `events`.
        """
        response = await self._ask(realm, "")
        self._expect_success(response, realm, None)
        return _object(response, realm)

    async def realms(self) -> list[str]:
        """Names of the realms that the account sees.

        Raises: as `events`.
        """
        response = await self._answered(self._connection.a_raw_get, "admin/realms", briefRepresentation="true")
        self._expect_success(response, None, None)
        try:
            return sorted(one["realm"] for one in response.json())
        except (ValueError, KeyError, TypeError):
            raise Refused("the answer to admin/realms is no list of realms") from None

    async def _ask(self, realm: str, path: str, **query: str | int) -> httpx.Response:
        return await self._answered(self._connection.a_raw_get, _path(realm, path), **query)

    async def _answered(
        self, request: Callable[..., Awaitable[httpx.Response]], path: str, **more: Any
    ) -> httpx.Response:
        """The answer to a request of python-keycloak, by one at a time."""
        async with self._turn:
            had_token = self._connection.token is not None
            try:
                return await self._answered_once(request, path, **more)
            except LoginRefused:
                # A token, or what renews it, may never be taken again, as after a restart: begin without.
                self._connection.token = None
                if not had_token:
                    raise
            return await self._answered_once(request, path, **more)

    async def _answered_once(
        self, request: Callable[..., Awaitable[httpx.Response]], path: str, **more: Any
    ) -> httpx.Response:
        """The same without a second try, errors told as ours."""
        library, settings = import_module("keycloak.exceptions"), self._settings
        try:
            response = await request(path, **more)
            if response.status_code != 401:
                self._see_clock(response)
                return response
            status, why = 401, "the server gave a token, and does not take it"
        except library.KeycloakConnectionError as error:
            raise NoReply(f"{settings.url}: {error.__cause__ or error}") from None
        except library.KeycloakError as error:
            # Of a token: all other requests give their answer, whatever its status.
            status = error.response_code
            if status in (400, 401, 403):
                why = "it, or its secret, is refused; the client needs client authentication and a service account"
            else:
                why = "there is no such realm, or url is wrong" if status == 404 else "no token was given"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # What it says may hold the answer.
            status, why = 0, f"the answer with a token cannot be read ({type(error).__name__})"
        raise LoginRefused(
            f"{settings.url}: client {harmless(settings.client_id)} of the realm {harmless(settings.login_realm)}: "
            f"{why}{f' ({status})' if status else ''}"
        )

    def _expect_success(self, response: httpx.Response, realm: str | None, kind: Kind | None) -> None:
        status = response.status_code
        if status < 300:
            return
        where = "the list of realms" if realm is None else f"realm {harmless(realm)}"
        login = self._settings.login_realm
        if status == 403:
            client = f"{realm}-realm" if realm != login else "realm-management"
            raise Refused(
                f"{where}: the account may not read events (403): give the service account of "
                f"{harmless(self._settings.client_id)}, in the realm {harmless(login)}, the role view-events of the "
                f"client {harmless(client)}"
            )
        if status == 404:
            raise Refused(
                f"{where}: the server has none of that name (404): it was renamed or deleted, or url is wrong"
            )
        if status == 500 and kind is not None and b"unknown_error" in response.content:
            raise Refused(
                f"{where}: {kind}: the server cannot read its stored events (500 unknown_error). With Phase Two's "
                "listener, start Keycloak with KC_SPI_EVENTS_STORE_PROVIDER=jpa; otherwise one of the stored events "
                "has a type that this version does not know"
            )
        raise Refused(f"{where}: the server answers {status}{_said(response)}")

    def _see_clock(self, response: httpx.Response) -> None:
        """Most Keycloaks send no ``Date``, and all say in a token when they made it."""
        token = self._connection.token
        if token is not self._token:
            self._token = token
            self.ahead = _issued_at(token, self._now()) - self._now()
        with suppress(ValueError, OverflowError, TypeError):
            date = email.utils.parsedate_to_datetime(response.headers.get("date"))
            self.ahead = int(date.timestamp() * 1000) - self._now()


@asynccontextmanager
async def open_server(
    settings: PullSettings,
    outgoing: OutgoingSettings,
    *,
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> AsyncIterator[Server]:
    """The server of the settings, while the context lasts. Nothing is sent yet. ``now`` gives epoch milliseconds.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    # 14,000 lines, with a second HTTP client: only who pulls has them, and others go on while they are read.
    library = await asyncio.to_thread(import_module, "keycloak.openid_connection")
    opening = open_client(
        outgoing, settings, connections=2, timeout=settings.timeout, answer_size=_SIZE, answer_lines=_LINES
    )
    async with opening as client, httpx.AsyncClient(transport=ClientTransport(client), trust_env=False) as through:
        connection = library.KeycloakOpenIDConnection(
            server_url=settings.url,
            grant_type="client_credentials",
            realm_name=settings.login_realm,
            client_id=settings.client_id,
            client_secret_key=settings.client_secret.get_secret_value(),
            timeout=settings.timeout,
        )
        connection.async_s = connection.keycloak_openid.connection.async_s = through
        yield Server(connection, settings, now)


def _issued_at(token: Any, otherwise: int) -> int:
    """When a token was made, by the server's clock, epoch milliseconds."""
    try:
        payload = token["access_token"].split(".")[1]
        issued = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"]
        return int(issued * 1000)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        return otherwise


def _path(realm: str, path: str) -> str:
    return f"admin/realms/{quote(realm, safe='')}{path}"


def _object(response: httpx.Response, realm: str) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(f"realm {harmless(realm)}: the answer is no JSON object; is url that of a Keycloak?")
    return found


def _said(response: httpx.Response) -> str:
    """What an answer gives as its error, shortened."""
    try:
        found = response.json()
        text = found.get("error_description") or found.get("errorMessage") or found.get("error") or ""
    except (ValueError, AttributeError):
        return ""
    return f": {harmless(str(text)[:200])}" if text else ""
