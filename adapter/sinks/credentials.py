"""Who we are to a receiver, beside signatures: a password, a token, headers of its own, or OAuth2."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote_plus, urlencode

import orjson
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    SerializeAsAny,
    WrapValidator,
    field_validator,
    model_validator,
)
from yarl import URL

from adapter.errors import NoReply, Unreached
from adapter.outgoing.client import Client, Reply, open_client
from adapter.outgoing.settings import HttpSettings, OutgoingSettings
from adapter.section import Section, read_http_url, read_kind, valid_token

#: Headers that are not a user's to set: those between two machines, and those that we write ourselves.
_OURS = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade", "expect"),
        *("host", "content-length", "content-type", "content-encoding", "accept-encoding", "user-agent"),
        "x-keycloak-signature",
    }
)
#: Beginnings of such names: Standard Webhooks, CloudEvents.
_OUR_BEGINNINGS = ("webhook-", "ce-")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
#: Characters of a header's value, and of a token that an OAuth2 server gives.
_LONGEST = 16_384
#: Seconds that a token is taken to be good for where its server does not say, and how long before its end it is no
#: longer used: a fifth of its life at most.
_LIFETIME, _MARGIN = 300.0, 60.0
#: Seconds that a server may take to give a token.
_TIMEOUT = 10.0
#: What an OAuth2 server says is wrong (RFC 6749, 5.2). Nothing else of its answer is shown.
_ERRORS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
        *("unsupported_grant_type", "invalid_scope", "invalid_target"),
    }
)


def _value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.isascii() or not text.isprintable() or text != text.strip() or not 0 < len(text) <= _LONGEST:
        raise ValueError("a header's value is printable ASCII, without line breaks, and without blanks at its ends")
    return secret


class _Value(Section):
    value: SecretStr


def _from_table(given: Any) -> Any:
    return _Value.model_validate(given).value if isinstance(given, dict) else given


#: The value of a header: a text, or a table with ``value`` or ``value_file``.
HeaderValue = Annotated[SecretStr, BeforeValidator(_from_table), AfterValidator(_value)]


class Auth(Section):
    """Who we are to a receiver."""

    kind: str = Field(description="How that is told")
    headers: dict[str, HeaderValue] = Field(
        default_factory=dict,
        description='Headers that each request carries, such as X-Api-Key; a value in a file is { value_file = "…" }',
    )

    @field_validator("headers")
    @classmethod
    def _names(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        seen: set[str] = set()
        for name in headers:
            lower = name.lower()
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if lower in _OURS or lower.startswith(_OUR_BEGINNINGS):
                raise ValueError(f"{name} cannot be set: it belongs to the connection, or the service writes it itself")
            if lower in seen:
                raise ValueError(f"{name} is there twice, in another case")
            seen.add(lower)
        return headers

    def authorizes(self) -> bool:
        """Whether requests get an ``Authorization`` by this."""
        return any(name.lower() == "authorization" for name in self.headers)

    def fixed(self) -> dict[str, str]:
        """The headers that are the same in each request."""
        return {name: value.get_secret_value() for name, value in self.headers.items()}


class _Authorizing(Auth):
    """Has an ``Authorization`` of its own."""

    @model_validator(mode="after")
    def _one_authorization(self) -> Self:
        if super().authorizes():
            raise ValueError(f"headers must not hold Authorization: {self.kind} writes it")
        return self

    def authorizes(self) -> bool:
        return True


class BasicAuth(_Authorizing):
    """A user and a password (RFC 7617)."""

    kind: Literal["basic"] = Field(description="How that is told")
    user: str = Field(description="User; holds no colon")
    password: SecretStr = Field(description="Its password")

    @field_validator("user")
    @classmethod
    def _user(cls, user: str) -> str:
        if ":" in user or not user.isprintable():
            raise ValueError("must hold no colon and no control characters")
        return user

    @field_validator("password")
    @classmethod
    def _password(cls, password: SecretStr) -> SecretStr:
        if not password.get_secret_value().isprintable():
            raise ValueError("must hold no control characters")
        return password

    def fixed(self) -> dict[str, str]:
        return {**super().fixed(), "Authorization": _basic(self.user, self.password.get_secret_value())}


class BearerAuth(_Authorizing):
    """A token that does not change (RFC 6750)."""

    kind: Literal["bearer"] = Field(description="How that is told")
    token: Annotated[SecretStr, valid_token(1)] = Field(description="The token")

    def fixed(self) -> dict[str, str]:
        return {**super().fixed(), "Authorization": f"Bearer {self.token.get_secret_value()}"}


class HeadersAuth(Auth):
    """Nothing but headers that the receiver knows us by."""

    kind: Literal["headers"] = Field(description="How that is told")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.headers:
            raise ValueError("headers needs one header at least")
        return self


class OAuth2Auth(_Authorizing, HttpSettings):
    """A token of an OAuth2 server, by client credentials (RFC 6749, 4.4)."""

    kind: Literal["oauth2"] = Field(description="How that is told")
    token_url: str = Field(description="Token endpoint: https, or http on this machine")
    client_id: str = Field(min_length=1, description="Who we are there")
    client_secret: SecretStr = Field(description="The secret of that client")
    client_auth: Literal["basic", "post"] = Field(
        "basic", description="Where id and secret are sent: basic, in a header; post, in the body"
    )
    scope: str | None = Field(None, description="Scopes, with blanks between")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="What the server wants to be told besides, such as audience or resource"
    )

    @field_validator("token_url")
    @classmethod
    def _url(cls, text: str) -> str:
        url = read_http_url(text, "https://id.example/token")
        if url.scheme != "https" and url.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("must begin with https://; http:// is for this machine alone (localhost)")
        if url.user is not None or url.password is not None or url.fragment:
            raise ValueError("must hold no user, password or fragment; client_id and client_secret say who we are")
        return text

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, parameters: dict[str, str]) -> dict[str, str]:
        own = {"grant_type", "client_id", "client_secret", "scope"}
        if taken := sorted(own & parameters.keys()):
            raise ValueError(f"must not hold {taken[0]}, which is said otherwise")
        if any(not name.isprintable() or " " in name for name in parameters):
            raise ValueError("a name must hold no blanks and no control characters")
        return parameters


MODELS: dict[str, type[Auth]] = {
    "basic": BasicAuth,
    "bearer": BearerAuth,
    "headers": HeadersAuth,
    "oauth2": OAuth2Auth,
}


def read_auth(value: Any) -> Auth | None:
    """``auth`` of a sink, as the model of its kind.

    Raises:
        ValueError: there is no such kind.
        pydantic.ValidationError: a field is wrong; places are relative to ``value``.
    """
    if value is None or isinstance(value, Auth):
        return value
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in MODELS:
        raise ValueError(f"should be a table with its kind; there are: {', '.join(MODELS)}")
    return read_kind(MODELS[kind], value)


#: ``auth`` in a settings model: read by the model of its kind, errors keep their places.
AnyAuth = Annotated[SerializeAsAny[Auth] | None, WrapValidator(lambda value, _default: read_auth(value))]


class Tokens:
    """The token of an OAuth2 server, fetched when one is needed."""

    def __init__(self, client: Client, settings: OAuth2Auth, clock: Callable[[], float]) -> None:
        """``clock``: seconds, and only goes forward."""
        self._client = client
        self._settings = settings
        self._clock = clock
        self._url = URL(settings.token_url)
        #: The last one that was fetched.
        self.present: str | None = None
        self._until = 0.0
        self._fetching = asyncio.Lock()
        #: How often one was asked for, and why none came the last time.
        self._asked = 0
        self._problem: str | None = None

    async def get(self, *, refused: str | None = None) -> str:
        """A token that is still good for a while, and not the one that was ``refused``. One fetch at a time: who comes
        meanwhile gets what comes of it.

        Raises:
            Unreached: none is to be had; says why, for people.
        """
        if (token := self._good(refused)) is not None:
            return token
        asked = self._asked
        async with self._fetching:
            if self._asked == asked:
                await self._fetch()
            if (token := self._good(refused)) is not None:
                return token
        raise Unreached(f"no token from {self._url.host}: {self._problem or 'it gave the one again that was refused'}")

    def _good(self, refused: str | None) -> str | None:
        return self.present if self.present != refused and self._clock() < self._until else None

    async def _fetch(self) -> None:
        problem = None
        began = self._clock()
        try:
            self.present, lifetime = await self._ask()
            self._until = began + max(lifetime * 0.8, lifetime - _MARGIN)
        except (NoReply, ValueError) as error:
            self.present, problem = None, str(error)
        # Not where this one is cancelled: then the next of those who wait asks.
        self._problem = problem
        self._asked += 1

    async def _ask(self) -> tuple[str, float]:
        """A token, and for how many seconds it is good.

        Raises:
            NoReply: no answer came.
            ValueError: there is none in the answer.
        """
        settings = self._settings
        secret = settings.client_secret.get_secret_value()
        form = {"grant_type": "client_credentials", **settings.parameters}
        if settings.scope is not None:
            form["scope"] = settings.scope
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if settings.client_auth == "basic":
            # Each is encoded as in a form before they are put together (RFC 6749, 2.3.1).
            headers["Authorization"] = _basic(quote_plus(settings.client_id), quote_plus(secret))
        else:
            form |= {"client_id": settings.client_id, "client_secret": secret}
        reply = await self._client.request("POST", self._url, headers=headers, body=urlencode(form).encode())
        try:
            said = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            said = {}
        if reply.status != 200:
            error = said.get("error")
            raise ValueError(f"it answered {reply.status}{f' ({error})' if error in _ERRORS else ''}")
        token, kind = said.get("access_token"), said.get("token_type", "Bearer")
        if not isinstance(token, str) or not token or not token.isascii() or len(token) > _LONGEST:
            raise ValueError("there is no access_token in its answer")
        if not token.isprintable() or " " in token:
            raise ValueError("its access_token holds what no header may")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise ValueError("its token is not of the type Bearer")
        return token, _seconds(said.get("expires_in"))


def _seconds(said: Any) -> float:
    """For how long a token is good; some servers say it as a text."""
    try:
        seconds = float(said) if isinstance(said, str | int | float) and not isinstance(said, bool) else _LIFETIME
    except ValueError:
        seconds = _LIFETIME
    # Not a number, or without end, is no time either.
    return seconds if 0 < seconds < 1e9 else _LIFETIME


class Authorized:
    """A client whose requests say who we are."""

    def __init__(self, client: Client, headers: Mapping[str, str], tokens: Tokens | None) -> None:
        self._client = client
        self._headers = headers
        self._tokens = tokens

    @property
    def present(self) -> list[str]:
        """What requests carry of us that nobody else is to know: values of headers, and the token that was fetched."""
        fixed = [value.rpartition(" ")[2] for value in self._headers.values()]
        return fixed if self._tokens is None or self._tokens.present is None else [*fixed, self._tokens.present]

    async def request(self, method: str, url: URL, *, headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
        """As `Client.request`. Where a token is refused (401), another one is fetched, and the request made once again:
        who refuses it has not taken what it brought.

        Raises:
            NoReply: no answer came, or not the whole, or there is no token; says why, for people.
        """
        own = {**(headers or {}), **self._headers}
        if self._tokens is None:
            return await self._client.request(method, url, headers=own, **more)
        token = await self._tokens.get()
        reply = await self._client.request(method, url, headers={**own, "Authorization": f"Bearer {token}"}, **more)
        if reply.status != 401:
            return reply
        token = await self._tokens.get(refused=token)
        return await self._client.request(method, url, headers={**own, "Authorization": f"Bearer {token}"}, **more)


@asynccontextmanager
async def authorized(
    client: Client, auth: Auth | None, outgoing: OutgoingSettings, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[Client | Authorized]:
    """The client of a receiver with the authentication that its settings name. ``clock``: seconds, and only goes
    forward.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    if auth is None:
        yield client
        return
    async with AsyncExitStack() as stack:
        tokens = None
        if isinstance(auth, OAuth2Auth):
            asking = await stack.enter_async_context(open_client(outgoing, auth, connections=1, timeout=_TIMEOUT))
            tokens = Tokens(asking, auth, clock)
        yield Authorized(client, auth.fixed(), tokens)


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
