"""A Keycloak's event store and its Admin REST API, as far as pulling needs them, with their traps: late commits, rows
of one millisecond in any order, dates and directions by version, tokens that expire."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

SECRET = "pollers-secret"


class EventStore:
    """What a server has stored of its realms, and what they are set to."""

    def __init__(self, *, ids: bool = True, realms: tuple[str, ...] = ("acme",), seed: int = 0) -> None:
        """``ids``: it is 26.2 or newer."""
        self.ids = ids
        self.rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.configs = {
            realm: {
                "eventsEnabled": True,
                "adminEventsEnabled": True,
                "adminEventsDetailsEnabled": True,
                "eventsExpiration": 0,
                "eventsListeners": ["jboss-logging"],
                "enabledEventTypes": ["LOGIN", "LOGOUT"],
            }
            for realm in realms
        }
        self._random = random.Random(seed)

    def commit(self, *events: dict[str, Any], realm: str = "acme", kind: str = "events") -> None:
        """From now on these are seen."""
        self.rows.setdefault((realm, kind), []).extend(events)

    def expire(self, before: int) -> None:
        """Remove what is older than a time."""
        for rows in self.rows.values():
            rows[:] = [row for row in rows if row["time"] >= before]

    def read(self, realm: str, kind: str, query: dict[str, Any]) -> list[dict[str, Any]] | None:
        """A page; ``None``: the date is none."""
        text = str(query.get("dateFrom", "1970-01-01"))
        if "-" in text:
            since = int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
        elif self.ids:
            since = int(text)
        else:
            return None
        rows = [row for row in self.rows.get((realm, kind), []) if row["time"] >= since]
        self._random.shuffle(rows)
        ascending = self.ids and query.get("direction") == "asc"
        rows.sort(key=lambda row: row["time"], reverse=not ascending)
        first = int(query.get("first", 0))
        page = rows[first : first + int(query.get("max", 100))]
        return page if self.ids else [{key: value for key, value in row.items() if key != "id"} for row in page]


class Keycloak:
    """The API over a store."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.url = ""
        #: How many tokens were given, how many of them at the same time at most; and those that are taken.
        self.tokens = 0
        self.at_once = self._asking = 0
        self.valid: set[str] = set()
        #: What is answered in the place of events: status and body.
        self.instead: dict[str, tuple[int, str]] = {}
        #: Pages of more rows than that are not answered.
        self.longest: int | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.secret = SECRET
        #: Whether it gives a token to renew tokens with, which it takes never.
        self.refreshes = False
        #: Its clock, epoch milliseconds; it sends no ``Date``.
        self.clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if request.match_info["realm"] not in {*self.store.configs, "master"}:
            return web.json_response({"error": "Realm does not exist"}, status=404)
        if form.get("grant_type") == "refresh_token":
            # What python-keycloak does not take for a reason to log in again.
            return web.json_response({"error": "invalid_grant", "error_description": "Stale token"}, status=400)
        if form.get("client_secret") != self.secret or form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unauthorized_client"}, status=401)
        self._asking += 1
        self.at_once = max(self.at_once, self._asking)
        await asyncio.sleep(0)
        self._asking -= 1
        self.tokens += 1
        claims = base64.urlsafe_b64encode(json.dumps({"iat": self.clock() // 1000}).encode()).decode().rstrip("=")
        token = f"e30.{claims}.token-{self.tokens}"
        self.valid = {token}
        more = {"refresh_token": "refresh"} if self.refreshes else {}
        return web.json_response({"access_token": token, "expires_in": 60, "token_type": "Bearer", **more})

    async def admin(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.valid:
            return web.json_response({"error": "HTTP 401 Unauthorized"}, status=401)
        realm, path = request.match_info.get("realm"), request.match_info.get("path", "")
        self.requests.append((request.path, dict(request.query)))
        if realm is None:
            return web.json_response([{"realm": one} for one in self.store.configs])
        if realm not in self.store.configs:
            return web.json_response({"error": "Realm not found."}, status=404)
        if path in self.instead:
            status, body = self.instead[path]
            return web.Response(status=status, text=body, content_type="application/json")
        if path == "events/config":
            if request.method == "PUT":
                self.store.configs[realm] |= {k: v for k, v in (await request.json()).items() if v is not None}
                return web.Response(status=204)
            return web.json_response(self.store.configs[realm])
        if not path:
            return web.json_response({"realm": realm, "id": f"id-of-{realm}", "attributes": {}})
        if self.longest is not None and int(request.query.get("max", 100)) > self.longest:
            assert request.transport is not None
            request.transport.close()
        page = self.store.read(realm, path, dict(request.query))
        if page is None:
            return web.json_response({"error": "invalid date"}, status=400)
        return web.json_response(page, dumps=json.dumps)


async def _without_date(request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp adds it unless there is one, and an empty one is none.
    response.headers["Date"] = ""


@asynccontextmanager
async def serving(store: EventStore, tls: ssl.SSLContext | None = None) -> AsyncIterator[Keycloak]:
    """The API on a loopback port, on https where there is a context for it."""
    keycloak = Keycloak(store)
    app = web.Application()
    app.on_response_prepare.append(_without_date)
    app.router.add_post("/realms/{realm}/protocol/openid-connect/token", keycloak.token)
    for path in ("/admin/realms", "/admin/realms/{realm}", "/admin/realms/{realm}/{path:.+}"):
        app.router.add_route("*", path, keycloak.admin)
    server = TestServer(app, host="127.0.0.1" if tls is None else "localhost")
    await server.start_server(ssl=tls)
    async with server:
        keycloak.url = str(server.make_url("/"))
        yield keycloak
