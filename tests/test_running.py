"""A process that serves goes on serving, whatever fails between one service and the next."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapter import running
from adapter.errors import AdapterError
from adapter.running import Running
from adapter.service import Service, open_service
from adapter.settings import Settings


class Opening:
    """Opens services, some of which fail."""

    def __init__(self) -> None:
        #: What the next one fails with, at its beginning and at its end.
        self.begin: Exception | None = None
        self.end: Exception | None = None

    @asynccontextmanager
    async def __call__(self, settings: Settings, **options: Any) -> AsyncIterator[Service]:
        begin, self.begin = self.begin, None
        if begin is not None:
            raise begin
        async with open_service(settings, **options) as service:
            yield service
        end, self.end = self.end, None
        if end is not None:
            raise end


class Process:
    """What is asked of a process."""

    def __init__(self, folder: Path, opening: Opening) -> None:
        self.opening = opening
        self.settings = Settings.model_validate({"data": {"folder": folder}, "server": {"port": 0}})
        self.services: list[Service] = []
        self._stop = asyncio.Event()
        self._running = Running(lambda: self.settings, self._stop, self._opened, lambda: None)
        self._opens = asyncio.Event()
        self._task = asyncio.create_task(self._running.run(self.settings))

    async def _opened(self, service: Service) -> None:
        self.services.append(service)
        self._opens.set()

    async def opened(self) -> Service:
        """Wait until another one is open."""
        opens = asyncio.create_task(self._opens.wait())
        async with asyncio.timeout(30):
            await asyncio.wait([opens, self._task], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        self._opens.clear()
        return self.services[-1]

    def change(self, **server: Any) -> None:
        """Other settings of where it listens."""
        self.settings = self.settings.model_copy(update={"server": self.settings.server.model_copy(update=server)})

    async def refused(self) -> str:
        """Why a reload is not even begun."""
        heard: list[AdapterError | None] = []

        async def told(problem: AdapterError | None) -> None:
            heard.append(problem)

        await self._running.reload(told)
        return str(heard[0])

    async def reload(self) -> AdapterError | None:
        """Why it was not done."""
        heard: asyncio.Future[AdapterError | None] = asyncio.get_running_loop().create_future()

        async def told(problem: AdapterError | None) -> None:
            heard.set_result(problem)

        await self._running.reload(told)
        await self.opened()
        return await heard

    async def end(self) -> None:
        self._stop.set()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    opening = Opening()
    monkeypatch.setattr(running, "open_service", opening)
    made = Process(folder, opening)
    try:
        await made.opened()
        yield made
    finally:
        await made.end()


def port_of(service: Service) -> int:
    return int(service.listening.sockets[0].getsockname()[1])


async def test_a_service_that_cannot_be_opened_leaves_no_port_on_which_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(tmp_path / "data", monkeypatch) as one:
        with socket.create_server(("127.0.0.1", 0)) as found:
            other = found.getsockname()[1]
        port = port_of(one.services[0])
        one.change(port=other)
        one.opening.begin = AdapterError("a certificate is not there")
        assert str(await one.reload()) == "a certificate is not there"
        assert port_of(one.services[-1]) == port
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", other)):
            pass
        # Once it is mended, the port is free.
        assert await one.reload() is None
        assert port_of(one.services[-1]) == other


async def test_a_fault_of_ours_while_the_next_one_is_opened_brings_back_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(tmp_path / "data", monkeypatch) as one:
        one.opening.begin = RuntimeError("nobody thought of this")
        assert "inside the adapter" in str(await one.reload())
        assert len(one.services) == 2


async def test_a_fault_of_ours_at_the_end_of_a_service_keeps_the_next_one_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(tmp_path / "data", monkeypatch) as one:
        one.opening.end = RuntimeError("a task of it had failed")
        assert await one.reload() is None
        assert len(one.services) == 2


async def test_another_address_of_the_same_port_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(tmp_path / "data", monkeypatch) as one:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        one.change(port=port)
        assert await one.reload() is None
        one.change(host="0.0.0.0", behind_tls=True)
        said = await one.refused()
        assert f"has port {port} on 127.0.0.1" in said
        assert "stop the service" in said
        assert port_of(one.services[-1]) == port
