"""What the author of a table sends to a running service."""

from __future__ import annotations

import json
from typing import Any

from tests.opened import Opened


async def post(
    service: Opened,
    path: str,
    body: Any = None,
    *,
    token: str | None = None,
    data: bytes | None = None,
    media: str = "application/json",
) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    headers = {"Authorization": f"Bearer {token or service.service.admin_token}", "Content-Type": media}
    sent = data if body is None else json.dumps(body).encode()
    async with service.session.post(path, data=sent, headers=headers) as response:
        return response.status, await response.json(content_type=None)
