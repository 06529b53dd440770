"""What is decided about a sink, and how it fails, as the service shows it over restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.opened import Opened, login, opened


class Receiver:
    """Answers what it is told, and counts what it is sent."""

    def __init__(self) -> None:
        self.answer: Callable[[], web.Response] = web.Response
        self.requests = 0

    async def take(self, request: web.Request) -> web.Response:
        self.requests += 1
        return self.answer()

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/hook", self.take)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner


async def sink_when(service: Opened, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The status of the one sink, once it is so."""
    async with asyncio.timeout(20):
        while True:
            _, status = await service.get("/status")
            (sink,) = status["sinks"]
            if is_so(sink):
                return {**sink, "todo": status["todo"]}
            await asyncio.sleep(0.02)


async def test_a_receiver_that_is_gone_stays_so_over_a_restart_and_the_status_says_why(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.answer = lambda: web.Response(status=410)
    runner = await receiver.start()
    try:
        port = runner.addresses[0][1]
        sink = {"name": "soc", "kind": "webhook", "url": f"http://127.0.0.1:{port}/hook", "window": 1}
        settings = {"sinks": [sink], "outgoing": {"allow": ["127.0.0.0/8"]}}
        async with opened(tmp_path / "data", **settings) as service:
            await service.post(login(1))
            shown = await sink_when(service, lambda one: one["by"] is not None)
            assert (shown["state"], shown["by"], shown["lag"]) == ("stopped", "receiver", 2)
            assert shown["reason"] == "the receiver answered 410: it is gone for good"
            assert [one["about"] for one in shown["todo"]] == ["soc"]
            _, feed = await service.get("/events", type="system.SINK-STOPPED")
            ((told),) = feed["events"]
            assert told["details"]["sink"] == "soc"
        receiver.answer = web.Response
        async with opened(tmp_path / "data", **settings) as service:
            await service.post(login(2))
            shown = await sink_when(service, lambda one: one["lag"] == 3)
            assert (shown["state"], shown["by"]) == ("stopped", "receiver")
    finally:
        await runner.cleanup()
    assert receiver.requests == 1
