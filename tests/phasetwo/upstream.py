"""A strict server that answers as a Keycloak with Phase Two's extension does, for what reads webhooks there: tokens
that run out, roles, pages of a hundred at most in no order, secrets apart."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

#: What the extension answers at most.
PAGE = 100


@dataclass
class Phasetwo:
    """One realm, and who may ask."""

    realm: str = "acme"
    webhooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    #: Of client or user: the secret or password, and the roles.
    clients: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    users: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    #: Tokens, their roles, and for how many more questions they are good.
    tokens: dict[str, tuple[set[str], int]] = field(default_factory=dict)
    #: For how many questions a new token is good.
    lifetime: int = 1_000_000
    attributes: dict[str, str] = field(default_factory=dict)
    #: Whose webhooks appear and go while pages are read.
    restless: bool = False
    #: Whether it answers each page with the first one.
    deaf: bool = False
    logins: int = 0
    url: str = ""

    def add(self, id: str, *, secret: str | None = None, **more: Any) -> None:
        """A webhook, as the extension shows it."""
        self.webhooks[id] = {
            "id": id, "enabled": True, "url": "https://soc.example/hook", "createdBy": "u-1", "realm": self.realm,
            "createdAt": 1_700_000_000_000, "eventTypes": ["access.LOGIN"], "attributes": {},
        } | more  # fmt: skip
        if secret is not None:
            self.secrets[id] = secret

    def _roles(self, request: web.Request) -> set[str]:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        roles, left = self.tokens.get(token, (set(), 0))
        if scheme != "Bearer" or left <= 0:
            raise web.HTTPUnauthorized(text='{"error":"HTTP 401 Unauthorized"}', content_type="application/json")
        self.tokens[token] = roles, left - 1
        return roles

    def _may(self, request: web.Request, role: str) -> None:
        if request.match_info["realm"] != self.realm:
            raise web.HTTPNotFound(text='{"error":"Realm does not exist"}', content_type="application/json")
        if role not in self._roles(request):
            raise web.HTTPForbidden(text='{"error":"HTTP 403 Forbidden"}', content_type="application/json")

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        name, secret = str(form["client_id"]), str(form.get("client_secret"))
        if form["grant_type"] == "password":
            name, secret = str(form["username"]), str(form["password"])
            known = self.users.get(name)
        else:
            known = self.clients.get(name)
        if known is None or known[0] != secret:
            return web.json_response({"error": "invalid_grant", "error_description": f"for {secret}"}, status=401)
        self.logins += 1
        token = f"token-{self.logins}"
        self.tokens[token] = known[1], self.lifetime
        return web.json_response({"access_token": token, "expires_in": 60})

    async def list(self, request: web.Request) -> web.Response:
        self._may(request, "view-events")
        first, most = int(request.query.get("first", 0)), int(request.query.get("max", PAGE))
        # In no order, but in the same one for a while.
        found = sorted(self.webhooks.values(), key=lambda one: random.Random(one["id"]).random())
        if self.restless:
            found = found[first:] + found[:first]
        first = 0 if self.deaf else first
        return web.json_response(found[first : first + min(most, PAGE)])

    async def count(self, request: web.Request) -> web.Response:
        self._may(request, "view-events")
        return web.json_response(len(self.webhooks))

    async def secret(self, request: web.Request) -> web.Response:
        self._may(request, "manage-events")
        found = self.secrets.get(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound(text='{"error":"HTTP 404 Not Found"}', content_type="application/json")
        return web.json_response({"type": "secret", "value": found})

    async def show_realm(self, request: web.Request) -> web.Response:
        self._may(request, "view-realm")
        return web.json_response({"id": "6abba41c", "realm": self.realm, "attributes": self.attributes})

    async def configuration(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": f"https://id.example/realms/{request.match_info['realm']}"})


@asynccontextmanager
async def phasetwo() -> AsyncIterator[Phasetwo]:
    """The server on a port of its own; the client ``importer`` may see all of it."""
    one = Phasetwo()
    one.clients["importer"] = "importers-secret", {"view-events", "manage-events", "view-realm"}
    app = web.Application()
    app.router.add_post("/realms/{realm}/protocol/openid-connect/token", one.token)
    app.router.add_get("/realms/{realm}/.well-known/openid-configuration", one.configuration)
    app.router.add_get("/admin/realms/{realm}", one.show_realm)
    app.router.add_get("/realms/{realm}/webhooks", one.list)
    app.router.add_get("/realms/{realm}/webhooks/count", one.count)
    app.router.add_get("/realms/{realm}/webhooks/{id}/secret", one.secret)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield one
    finally:
        await runner.cleanup()
