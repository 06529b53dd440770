"""A sink whose receiver may not be reached: its events wait, spend no try, and are sent once the settings allow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.e2e.process import until
from tests.opened import Opened, login, opened

READER = {"name": "reader", "token": "reader-token"}


async def sink(service: Opened, token: str | None = None) -> dict[str, Any]:
    _, status = await service.get("/status", token=token)
    found: dict[str, Any] = status["sinks"][0]
    return found


async def metric(service: Opened, name: str) -> float:
    async with service.session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"idp_adapter_sink_{name}{{"))


async def test_events_for_a_blocked_receiver_wait_without_spending_a_try(tmp_path: Path) -> None:
    received: list[str] = []

    async def take(request: web.Request) -> web.Response:
        received.append(request.headers["webhook-id"])
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", take)
    async with TestServer(app) as receiver:
        # One try: an event that spent it would be dead.
        hook = {"name": "hook", "kind": "webhook", "url": f"http://localhost:{receiver.port}/", "retry": []}
        given: dict[str, Any] = {"sinks": [{**hook, "from": "beginning"}], "keys": [READER]}
        async with opened(tmp_path, **given) as service:
            receipts = await service.post([login(number) for number in range(20)])

            async def is_down() -> bool:
                return bool((await sink(service))["state"] == "down")

            await until(is_down)
            told = await sink(service)
            assert told["answer"].startswith("blocked: localhost leads to ")
            assert told["answer"].endswith("list the host or its network in [outgoing] allow")
            assert (told["lag"], told["held"], told["dead"]) == (20, 0, 0)
            assert (await sink(service, "reader-token"))["answer"] == "blocked"
            _, status = await service.get("/status", token="reader-token")
            assert "localhost" not in str(status["todo"])
        assert received == []
        async with opened(tmp_path, **given, outgoing={"allow": ["localhost"]}) as service:

            async def is_delivered() -> bool:
                return await metric(service, "delivered_total") == 20

            await until(is_delivered)
            assert (await metric(service, "matched_total"), await metric(service, "dead")) == (20, 0)
        assert sorted(received) == sorted(receipts["uids"])
