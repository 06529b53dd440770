"""Following the events of a service that comes and goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from yarl import URL

from adapter.commands.client import Client
from adapter.commands.following import follow
from adapter.commands.options import At
from tests.opened import login, opened

KEYS = [{"name": "reader", "token": "reader-token", "permissions": ["read"]}]


@asynccontextmanager
async def following(url: str, home: Path, *words: str, stdout: int = PIPE) -> AsyncIterator[Process]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IDP_ADAPTER_")}
    environment = {**kept, "XDG_CONFIG_HOME": str(home), "IDP_ADAPTER_URL": url, "IDP_ADAPTER_TOKEN": "reader-token"}
    command = [sys.executable, "-m", "adapter", "events", "list", "--follow", *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=stdout, stderr=PIPE, env=environment, cwd=home)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(process: Process, count: int) -> list[str]:
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode().rstrip() for _ in range(count)]


async def ids(process: Process, count: int) -> list[str]:
    return [json.loads(line)["id"] for line in await lines(process, count)]


def named(*numbers: int) -> list[str]:
    return [login(number)["id"] for number in numbers]


async def test_nothing_is_missing_and_nothing_comes_twice_over_restarts(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with opened(tmp_path / "data", keys=KEYS) as service:
            await service.post([login(number) for number in (1, 2, 3)])
            url = URL(service.service.url)
            process = await stack.enter_async_context(following(str(url), tmp_path, "--json", "--limit", "2"))
            assert await ids(process, 2) == named(2, 3)
            await service.post([login(4)])
            assert await ids(process, 1) == named(4)
        assert process.stderr is not None
        said = (await process.stderr.readline()).decode()  # else the next one is there before anybody asked
        async with opened(tmp_path / "data", port=url.port, keys=KEYS) as service:
            await service.post([login(number) for number in range(5, 1_005)])
            # A late one stands where it came.
            await service.post([login(0)])
            assert await ids(process, 1_001) == named(*range(5, 1_005), 0)
        async with opened(tmp_path / "data", port=url.port, keys=KEYS) as service:
            await service.post([login(2_000)])
            assert await ids(process, 1) == named(2_000)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        said += (await process.stderr.read()).decode()
    assert "asked again until there is an answer" in said
    assert "the service answers again; nothing is missing" in said


async def test_what_comes_while_the_latest_are_asked_for_is_shown_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", keys=KEYS) as service:
        await service.post([login(1)])
        at = At(url=service.service.url, token="reader-token")
        shown: list[str] = []
        done = asyncio.Event()

        async def latest(client: Client) -> list[dict[str, Any]]:
            await service.post([login(2)])
            async with client.get("/events", []) as response:
                found: list[dict[str, Any]] = (await response.json())["events"][::-1]
            await service.post([login(3)])
            return found

        def show(events: Sequence[dict[str, Any]]) -> None:
            shown.extend(event["id"] for event in events)
            if named(3)[0] in shown:
                done.set()

        task = asyncio.create_task(follow(at, [], latest, show))
        await done.wait()
        task.cancel()
    assert shown == named(1, 2, 3)


async def test_it_ends_quietly(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", keys=KEYS) as service:
        await service.post([login(1)])
        async with following(service.service.url, tmp_path, "--utc") as process:
            heading, first = await lines(process, 2)
            assert heading.split() == ["time", "type", "outcome", "user", "target", "client", "address", "source"]
            assert first.startswith("2023-11-14 22:13:21Z  access.LOGIN")
            await service.post([login(2, type="LOGIN_ERROR", error="user_not_found")])
            (second,) = await lines(process, 1)
            assert second.index("access.LOGIN_ERROR") == first.index("access.LOGIN")
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            assert process.stderr is not None
            assert await process.stderr.read() == b""


async def test_it_ends_when_nobody_reads_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    async with opened(tmp_path / "data", keys=KEYS) as service:
        await service.post([login(1)])
        async with following(service.service.url, tmp_path, "--json", stdout=writing) as process:
            os.close(writing)
            await asyncio.to_thread(os.read, reading, 65536)
            os.close(reading)
            await service.post([login(2)])
            assert await process.wait() == 0
            assert process.stderr is not None
            assert await process.stderr.read() == b""


async def test_a_service_of_this_machine_has_to_run(tmp_path: Path) -> None:
    async with opened(tmp_path / "data"):
        pass
    command = [sys.executable, "-m", "adapter", "events", "list", "--follow", "--data", str(tmp_path / "data")]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    _, error = await process.communicate()
    assert process.returncode == 1
    assert b"no service runs on this machine" in error
