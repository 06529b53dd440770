"""A service is replaced, and reads other settings, while it is posted to: real processes, real connections."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, TCPConnector

from adapter.handover import Channel, call
from tests.e2e.process import ADMIN, DEADLINE, Process, serving, start_command, until
from tests.opened import login
from tests.postgresql import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORIZATION = {"Authorization": f"Bearer {ADMIN}"}


#: Numbers of events that were not posted yet.
NUMBERS = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    """A service that is the same one after each test."""
    async with serving(tmp_path_factory.mktemp("one") / "data") as process:
        yield process
        assert process.popen.poll() is None


def event() -> dict[str, Any]:
    """A login that was not posted yet."""
    return login(next(NUMBERS))


class Load:
    """Senders that post one event after the other, each once."""

    def __init__(self, session: ClientSession) -> None:
        self._url = session._base_url
        self._stop = asyncio.Event()
        #: Ids of the events that were acknowledged.
        self.acknowledged: set[str] = set()
        #: What else a sender got.
        self.failures: list[str] = []

    async def send(self, connector: TCPConnector) -> None:
        async with ClientSession(
            self._url, headers=AUTHORIZATION, connector=connector, timeout=ClientTimeout(DEADLINE)
        ) as session:
            while not self._stop.is_set():
                posted = event()
                try:
                    async with session.post("/ingest/keycloak", json=posted) as response:
                        if response.status == 202:
                            self.acknowledged.add(posted["id"])
                        else:
                            self.failures.append(f"{response.status}: {await response.text()}")
                except Exception as error:
                    self.failures.append(repr(error))
                await asyncio.sleep(0.002)

    async def more(self, count: int = 20) -> None:
        """Wait until so many more were acknowledged."""
        goal = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= goal or bool(self.failures))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Three senders with a connection for each request, and three that keep theirs."""
        connectors = [TCPConnector(limit=1, force_close=is_new) for is_new in (True, False) * 3]
        tasks = [asyncio.create_task(self.send(connector)) for connector in connectors]
        try:
            await self.more()
            yield
        finally:
            self._stop.set()
            await asyncio.gather(*tasks)


async def reload(folder: Path, *words: str, **variables: str) -> tuple[int | None, str]:
    """``idp-adapter reload``; its exit code, and what it said."""
    process = await start_command("reload", "--data", str(folder), *words, variables=variables)
    out, err = await process.communicate()
    return process.returncode, (out + err).decode()


def lines(process: Process, event: str) -> list[dict[str, Any]]:
    """Lines of the service's log with this event."""
    parsed = [json.loads(line) for line in process.errors.splitlines() if line.startswith("{")]
    return [one for one in parsed if one["event"] == event]


def taking_over(folder: Path, **more: Any) -> AbstractAsyncContextManager[Process]:
    """Another service that takes the place of the one that runs."""
    return serving(folder, arguments=["--take-over"], **more)


async def refused(folder: Path, *words: str) -> str:
    """Why a service cannot take the place of the one that runs."""
    process = await start_command("serve", "--take-over", "--data", str(folder), *words)
    _, err = await process.communicate()
    assert process.returncode == 1, err.decode()
    return err.decode()


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of our own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(event: dict[str, Any], *, length: int | None = None) -> bytes:
    """A post of an event; ``length`` is what its header says."""
    body = json.dumps(event).encode()
    head = f"POST /ingest/keycloak HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {ADMIN}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> str:
    """An answer: its head and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    [length] = [line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("content-length")]
    return head + (await reader.readexactly(int(length))).decode()


@asynccontextmanager
async def successor(folder: Path) -> AsyncIterator[Channel]:
    """A successor that has the sockets, and may end at any step."""
    channel, message, sockets = await call(folder, "take-over", process=os.getpid())
    try:
        assert message["word"] == "sockets"
        yield channel
    finally:
        channel.close()
        for one in sockets:
            one.close()


async def test_nobody_notices_that_the_service_is_replaced_and_reloaded(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(folder))
        load = Load(first.session)
        port = first.port
        async with load.running():
            assert (await reload(folder))[0] == 0
            await load.more()
            second = await stack.enter_async_context(taking_over(folder))
            assert await asyncio.to_thread(first.popen.wait, DEADLINE) == 0
            await load.more()
            assert (second.port, second.pid) == (port, second.popen.pid)
            second.popen.send_signal(signal.SIGHUP)
            await until(lambda: len(lines(second, "listening")) == 4)
            await load.more()
            third = await stack.enter_async_context(taking_over(folder))
            await load.more()
        found = [one["id"] for one in await third.events()]
    assert load.failures == []
    assert len(found) == len(set(found))
    assert set(found) >= load.acknowledged


async def test_over_postgresql_it_is_the_same(tmp_path: Path, postgresql: Server) -> None:
    async with postgresql.database() as url, AsyncExitStack() as stack:
        settings = {"STORE__URL": url}
        first = await stack.enter_async_context(serving(tmp_path / "data", settings=settings))
        load = Load(first.session)
        async with load.running():
            assert (await reload(tmp_path / "data", IDP_ADAPTER_STORE__URL=url))[0] == 0
            await load.more()
            second = await stack.enter_async_context(taking_over(tmp_path / "data", settings=settings))
            await load.more()
        found = [one["id"] for one in await second.events()]
    assert load.failures == []
    assert len(found) == len(set(found))
    assert set(found) >= load.acknowledged


async def test_an_idle_connection_is_the_successors_and_what_is_sent_meanwhile_is_answered(service: Process) -> None:
    async with connection(service.port) as (reader, writer):
        writer.write(request(event()))
        assert "202" in await answer(reader)
        async with successor(service.folder) as channel:
            await channel.send("go")
            message, kept = await channel.receive_all()
            assert message["word"] == "yours"
            assert writer.get_extra_info("sockname") in [one.getpeername() for one in kept]
            writer.write(request(event()))  # nobody serves now
            for one in kept:
                one.close()
        # That one has ended, so the first goes on.
        assert '"accepted":1' in await answer(reader)


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_whatever_step_a_successor_ends_at_the_service_goes_on(service: Process, steps: int) -> None:
    load = Load(service.session)
    word = "take_over_failed" if steps else "take_over_broken_off"
    before = len(lines(service, word))
    async with load.running():
        async with successor(service.folder) as channel:
            if steps > 0:
                await channel.send("go")
            if steps > 1:
                _, kept = await channel.receive_all()
                for one in kept:
                    one.close()
        await until(lambda: len(lines(service, word)) > before)
        await load.more()
    assert load.failures == []
    assert {one["id"] for one in await service.events()} >= load.acknowledged


async def test_settings_that_cannot_be_used_change_nothing(tmp_path: Path) -> None:
    folder, file = tmp_path / "data", tmp_path / "adapter.toml"
    sink = '[server]\nport = 0\n[[sinks]]\nname = "one"\nkind = "webhook"\nurl = "https://soc.example/one"\n'
    sink += 'secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"\n'
    file.write_text("[server]\nport = 0\n")
    async with serving(folder, port=None, arguments=["--config", str(file)]) as first:
        load = Load(first.session)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            wrong = {
                f"[server]\nport = {taken.getsockname()[1]}": "server: cannot listen on 127.0.0.1",
                f'{sink}filter = {{colour = "red"}}': "sinks: one: filter",
                # Only seen when the service is opened with it: the one before is opened again.
                f'{sink}ca_file = "nowhere.pem"': "nowhere.pem",
            }
            async with load.running():
                for text, problem in wrong.items():
                    file.write_text(text)
                    code, said = await reload(folder, "--config", str(file))
                    assert (code, problem in said) == (1, True), said
                assert "nowhere.pem" in await refused(folder, "--config", str(file))
                await load.more()
        assert load.failures == []
        assert len(lines(first, "listening")) == 3
        assert first.popen.poll() is None


async def test_changed_settings_are_in_use_after_a_reload(tmp_path: Path) -> None:
    folder, file = tmp_path / "data", tmp_path / "adapter.toml"
    file.write_text("")
    async with serving(folder, arguments=["--config", str(file)]) as first:
        assert (await first.post(login(1)))["accepted"] == 1
        secret = tmp_path / "secret"
        secret.write_text("readers-token")
        key = f'[[keys]]\nname = "reader"\ntoken_file = "{secret}"\npermissions = ["read"]\n'
        sink = f'[[sinks]]\nname = "copy"\nkind = "file"\npath = "{tmp_path}/copy"\nfrom = "beginning"\n'
        file.write_text(key + sink)
        code, said = await reload(folder, "--config", str(file))
        assert (code, said.startswith("reloaded in ")) == (0, True), said
        async with first.session.get("/events", headers={"Authorization": "Bearer readers-token"}) as response:
            assert response.status == 200
        await until(lambda: (tmp_path / "copy").exists() and login(1)["id"] in (tmp_path / "copy").read_text())
        secret.write_text("another-token")
        assert (await reload(folder, "--config", str(file)))[0] == 0
        async with first.session.get("/events", headers={"Authorization": "Bearer readers-token"}) as response:
            assert response.status == 401


async def test_one_takes_over_at_a_time(service: Process) -> None:
    async with successor(service.folder):
        assert f"a take-over by process {os.getpid()} is under way" in await refused(service.folder, "--port", "0")
        code, said = await reload(service.folder)
        assert (code, "is under way" in said) == (1, True)
        assert (await service.post(event()))["accepted"] == 1


async def test_a_service_that_is_killed_while_it_ends_is_followed_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with serving(folder) as first, connection(first.port) as (_, writer):
        port = first.port
        assert (await first.post(login(1)))["accepted"] == 1
        writer.write(request(login(2), length=10_000))  # ends when it has waited for the rest
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(_entered(taking_over(folder)))
            await until(lambda: bool(lines(first, "handing_over")))
            first.kill()
        async with following.result() as (_, second):
            assert (second.port, (await second.post(login(3)))["accepted"]) == (port, 1)
            assert {one["id"] for one in await second.events()} == {login(1)["id"], login(3)["id"]}


async def test_what_takes_longer_than_a_moment_is_told_to_come_again(service: Process) -> None:
    async with connection(service.port) as (reader, writer):
        writer.write(request(event(), length=10_000))
        await service.post(event())  # that one was taken before
        assert (await reload(service.folder))[0] == 0
        told = (await answer(reader)).lower()
        assert " 503 " in told.splitlines()[0]
        assert "retry-after: 1\r\n" in told
        assert "connection: close\r\n" in told


async def test_a_request_that_is_being_answered_is_told_that_its_connection_ends(service: Process) -> None:
    before = len(lines(service, "handing_over"))
    async with connection(service.port) as (reader, writer):
        whole = request(event())
        writer.write(whole[:-5])
        await service.post(event())
        process = await start_command("reload", "--data", str(service.folder))
        await until(lambda: len(lines(service, "handing_over")) > before)
        writer.write(whole[-5:])
        told = (await answer(reader)).lower()
        assert (" 202 " in told.splitlines()[0], "connection: close\r\n" in told) == (True, True)
        assert await process.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
async def test_another_user_is_not_heard(service: Process) -> None:
    control = service.folder / "control"
    assert control.stat().st_mode & 0o777 == 0o600
    # Even if the file were open to everybody.
    directory = os.open(service.folder, os.O_RDONLY)
    control.chmod(0o666)
    stranger = (
        "import os, socket, sys; one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "os.fchdir(int(sys.argv[1])); os.setuid(65534); one.connect('control');"
        'one.send(b\'{"word": "take-over", "protocol": 1}\'); print(one.recv(1000))'
    )
    service.folder.chmod(0o711)
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", stranger, str(directory)],
            pass_fds=[directory],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
    finally:
        service.folder.chmod(0o700)
        os.close(directory)
    assert "sockets" not in done.stdout
    await until(lambda: [one["user"] for one in lines(service, "control_refused")] == [65534])


async def test_without_a_service_to_take_over_from_it_starts_as_usual(tmp_path: Path) -> None:
    async with taking_over(tmp_path / "data") as only:
        assert (await only.post(event()))["accepted"] == 1
    code, said = await reload(tmp_path / "data")
    assert (code, "no service runs on this data folder" in said) == (1, True)


async def _entered(context: AbstractAsyncContextManager[Process]) -> Any:
    """A context that is entered, for whoever ends it."""
    stack = AsyncExitStack()
    process = await stack.enter_async_context(context)

    @asynccontextmanager
    async def held() -> AsyncIterator[tuple[AsyncExitStack, Process]]:
        async with stack:
            yield stack, process

    return held()


PASSING = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


async def test_a_socket_that_systemd_passes_stays_open_while_the_service_is_restarted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(DEADLINE)
    with told, socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        around = (sys.executable, "-c", PASSING, str(listening.fileno()))
        passed: dict[str, Any] = {"around": around, "passed": [listening.fileno()]}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            async with serving(folder, **passed) as first:
                assert first.port == listening.getsockname()[1]
                assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
                assert "is run by systemd" in await refused(folder, "--port", "0")
                assert (await reload(folder))[0] == 0
                assert (await asyncio.to_thread(told.recv, 100)).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert await asyncio.to_thread(told.recv, 100) == b"READY=1"
                assert await first.stop() == 0
                assert await asyncio.to_thread(told.recv, 100) == b"STOPPING=1"
            async with connection(listening.getsockname()[1]) as (reader, writer):
                writer.write(request(login(1)))  # nobody runs now
                async with serving(folder, **passed):
                    assert "202" in await answer(reader)
