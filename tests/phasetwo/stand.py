"""A service with tokens of real realms, and a receiver over HTTP that keeps what it is sent."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from tests.api.issuer import AUDIENCE, Realm, realms
from tests.e2e.process import until
from tests.opened import Opened, login, opened

SECRET = "A3jt6D8lz"
#: Events differ in ids and times.
NUMBERS = itertools.count(1)


@dataclass
class Sent:
    """One post."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def is_signed(self, secret: str = SECRET, digest: str = "sha256") -> bool:
        """Whether X-Keycloak-Signature is that of the body, as a receiver of Phase Two's judges it."""
        wanted = hmac.new(secret.encode(), self.body, getattr(hashlib, digest)).hexdigest()
        return hmac.compare_digest(self.headers.get("X-Keycloak-Signature", ""), wanted)


@dataclass
class Hook:
    """The receiver: each path is one of its own."""

    url: str = ""
    status: int = 204
    sent: dict[str, list[Sent]] = field(default_factory=dict)

    def at(self, path: str) -> list[Sent]:
        """What came to a path."""
        return self.sent.setdefault(path, [])

    async def has(self, path: str, count: int) -> list[Sent]:
        """Wait until so many posts came to a path."""
        await until(lambda: len(self.at(path)) >= count)
        return self.at(path)

    async def take(self, request: web.Request) -> web.Response:
        self.at(request.path).append(Sent(dict(request.headers), await request.read()))
        return web.Response(status=self.status)


@asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    """A receiver, as long as the context lasts."""
    one = Hook()
    app = web.Application()
    app.router.add_post("/{path:.*}", one.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield one
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Stand:
    """The service, its realms by name, and the receiver."""

    service: Opened
    realms: Mapping[str, Realm]
    hook: Hook

    def token(self, realm: str, *roles: str, **claims: Any) -> str:
        """A token of a realm."""
        return self.realms[realm].token(*roles, **claims)

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None, headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], Any]:  # fmt: skip
        """Status, headers and JSON of an answer (``None``: no body at all)."""
        said = {**(headers or {}), **({} if token is None else {"Authorization": f"Bearer {token}"})}
        data = None if body is None else json.dumps(body)
        # A session of its own: that of the administrator would add its token.
        async with (
            ClientSession(self.service.service.url) as session,
            session.request(method, path, params=query, data=data, headers=said) as response,
        ):
            text = await response.text()
            return response.status, response.headers.copy(), json.loads(text) if text else None

    async def manage(self, method: str, path: str, body: Any = None, *, realm: str = "acme", status: int = 200) -> Any:
        """The JSON of an answer to who may manage a realm; its headers where there is none."""
        token = self.token(realm, "manage-events", "view-events")
        found, headers, answer = await self.ask(method, f"/realms/{realm}{path}", body, token=token)
        assert found == status, (found, answer)
        return headers if answer is None else answer

    async def webhook(self, path: str, *, realm: str = "acme", **more: Any) -> str:
        """The id of a new webhook at a path of the receiver."""
        given = {"enabled": True, "url": self.hook.url + path, "eventTypes": ["*"], **more}
        headers = await self.manage("POST", "/webhooks", given, realm=realm, status=201)
        return str(headers["Location"]).rpartition("/")[2]

    async def publish(self, type: str, *, realm: str = "acme", **more: Any) -> None:
        """Publish an event of an application."""
        token = self.token(realm, "publish-events")
        status, _, answer = await self.ask("POST", f"/realms/{realm}/events", {"type": type, **more}, token=token)
        assert (status, answer) == (202, None)

    async def log_in(self, realm: str = "acme", **changes: Any) -> dict[str, Any]:
        """A login of a realm, as its Keycloak posts it; the raw event."""
        raw = login(next(NUMBERS), realmId=f"{realm}-id", realmName=realm, **changes)
        await self.service.post(raw)
        return raw

    async def make_user(self, realm: str = "acme") -> dict[str, Any]:
        """An admin event of a realm; the raw event."""
        number = next(NUMBERS)
        raw = {
            "id": f"0f7b1a52-0002-4e0a-9a57-{number:012x}",
            "time": 1_700_000_000_000 + number * 1000,
            "realmId": f"{realm}-id",
            "realmName": realm,
            "operationType": "CREATE",
            "resourceType": "USER",
            "resourcePath": f"users/u{number}",
            "authDetails": {"realmId": "master", "clientId": "cli", "userId": "admin-1", "ipAddress": "203.0.113.9"},
        }
        await self.service.post(raw)
        return raw


@asynccontextmanager
async def stand(
    folder: Path, names: Sequence[str], issuers: Mapping[str, Realm] | None = None, **settings: Any
) -> AsyncIterator[Stand]:
    """A service with these realms, or with those that another one has had."""
    async with AsyncExitStack() as stack:
        if issuers is None:
            issuers = dict(zip(names, await stack.enter_async_context(realms(*names)), strict=True))
        given = {
            "oidc": [{"issuer": one.issuer, "audience": AUDIENCE} for one in issuers.values()],
            "outgoing": {"allow": ["127.0.0.0/8"]},
            **settings,
        }
        receiver = await stack.enter_async_context(hook())
        service = await stack.enter_async_context(opened(folder, **given))
        yield Stand(service, issuers, receiver)
