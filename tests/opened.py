"""A real service on a loopback port, for tests that talk to it as its callers do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from adapter.service import Service, open_service
from adapter.settings import Settings

KEYCLOAK = {
    "id": "0f7b1a52-0001-4e0a-9a57-0f0f6a1c9e11",
    "time": 1_700_000_000_000,
    "type": "LOGIN",
    "realmId": "realm-1",
    "clientId": "account",
    "userId": "user-1",
    "sessionId": "session-1",
    "ipAddress": "203.0.113.7",
    "details": {"username": "anna", "auth_method": "openid-connect"},
}


def login(number: int, **changes: Any) -> dict[str, Any]:
    """A login of its own at a time of its own, as Keycloak's HTTP sender posts it."""
    return {
        **KEYCLOAK,
        "id": f"0f7b1a52-0001-4e0a-9a57-{number:012x}",
        "time": 1_700_000_000_000 + number * 1000,
        **changes,
    }


@dataclass(frozen=True)
class Opened:
    """A service, and a session of the administrator's."""

    service: Service
    session: ClientSession

    async def post(self, events: Any, source: str = "keycloak") -> dict[str, Any]:
        """Post native events; what the service answers."""
        async with self.session.post(f"/ingest/{source}", json=events) as response:
            assert response.status == 202, await response.text()
            receipts: dict[str, Any] = await response.json()
            return receipts

    async def get(self, path: str, *, token: str | None = None, **query: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.session.get(path, params=query, headers=headers) as response:
            return response.status, await response.json(content_type=None)


@asynccontextmanager
async def opened(folder: Path, *, port: Any = 0, **settings: Any) -> AsyncIterator[Opened]:
    """A service with its data in ``folder``, as long as the context lasts.

    Who read what is not recorded, unless ``audit`` says so: these entries come by themselves some time after a
    question, and tests count those that they made.
    """
    given = Settings.model_validate({"data": {"folder": folder}, "audit": {"record": []}, **settings})
    async with open_service(given, port=port) as service:
        headers = {"Authorization": f"Bearer {service.admin_token}"}
        async with ClientSession(service.url, headers=headers) as session:
            yield Opened(service, session)
