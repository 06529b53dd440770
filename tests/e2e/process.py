"""The service as a process of its own: started as people start it, killed as the world kills it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.e2e.forked import Forked

ADMIN = "administrators-token"

#: Generous: what is waited for here comes in a second or two, on a busy machine in a few more.
DEADLINE = 60.0

COMMAND = (sys.executable, "-m", "adapter")


class Process:
    """``idp-adapter serve`` on one data folder, and a session of the administrator's."""

    def __init__(self, folder: Path, popen: subprocess.Popen[bytes] | Forked, session: ClientSession) -> None:
        self.folder = folder
        self.popen = popen
        self.session = session

    @property
    def pid(self) -> int:
        """The process that serves, also where another one (strace) stands around it."""
        return int((self.folder / "lock").read_text())

    @property
    def writer_pid(self) -> int:
        """The process that writes its log."""
        return self._child(b"adapter.log.sqlite.writer")

    @property
    def filler_pid(self) -> int:
        """The process that fills its search."""
        return self._child(b"adapter.search.filler")

    def _child(self, module: bytes) -> int:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        (found,) = [one for one in children if module in Path(f"/proc/{one}/cmdline").read_bytes()]
        return int(found)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(json.loads((self.folder / "service.json").read_text())["url"].rpartition(":")[2])

    def kill(self) -> None:
        """End it as a power cut would: no handler runs."""
        self.popen.kill()
        self.popen.wait()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and wait for it; its exit code."""
        self.popen.send_signal(number)
        return await asyncio.to_thread(self.popen.wait, DEADLINE)

    @property
    def errors(self) -> str:
        """What it logged so far."""
        return (self.folder.parent / f"{self.folder.name}.err").read_text("utf-8")

    @property
    def output(self) -> str:
        """What it said to the person who started it."""
        return (self.folder.parent / f"{self.folder.name}.out").read_text("utf-8")

    async def post(self, events: Any, source: str = "keycloak") -> dict[str, Any]:
        """Post native events; what the service answers."""
        async with self.session.post(f"/ingest/{source}", json=events) as response:
            assert response.status == 202, await response.text()
            receipts: dict[str, Any] = await response.json()
            return receipts

    async def events(self, **query: Any) -> list[dict[str, Any]]:
        """Every event that a question finds, all pages joined."""
        found: list[dict[str, Any]] = []
        while True:
            async with self.session.get("/events", params={"limit": "1000", **query}) as response:
                assert response.status == 200, await response.text()
                page = await response.json()
            found += page["events"]
            if not page["next"] or not page["events"]:
                return found
            query["cursor"] = page["next"]

    async def metric(self, name: str, **labels: str) -> float:
        """A number from the metrics; 0 if it is not there."""
        async with self.session.get("/metrics") as response:
            assert response.status == 200, await response.text()
            lines = (await response.text()).splitlines()
        wanted = "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else ""
        found = [line for line in lines if line.startswith(f"idp_adapter_{name}{wanted} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(DEADLINE):
        pause = 0.02
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(pause)
            # What takes long is asked for less often: the question is work, too, for what it waits for.
            pause = min(1.2 * pause, 0.1)


async def start_command(
    *words: str, stdin: int = subprocess.DEVNULL, variables: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """``idp-adapter`` with these words and variables of the environment, as it begins to run."""
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *words,
        env={**_environment({}), **(variables or {})},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def command(*words: str, stdin: bytes | None = None) -> str:
    """Run ``idp-adapter`` with these words to its end; what it wrote.

    Raises:
        AssertionError: it ended with an error.
    """
    process = await start_command(*words, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
    written, errors = await process.communicate(stdin)
    assert process.returncode == 0, errors.decode()
    return written.decode()


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    port: int | None = 0,
    around: Sequence[str] = (),
    arguments: Sequence[str] = (),
    limits: Callable[[], None] | None = None,
    passed: Sequence[int] = (),
) -> AsyncIterator[Process]:
    """A service with its data in ``folder``, which answers when the context begins and is gone when it ends.

    ``settings`` are variables of the environment without their prefix, values that are no text as JSON
    (``None``: not set); ``around`` is
    a command in front (strace); ``limits`` is called in the process before it begins. ``port``: ``None``: as in the
    settings. ``passed``: descriptors that it gets.
    """
    where = [] if port is None else ["--port", str(port)]
    popen = _start(folder, around, ["serve", *where, *arguments], settings or {}, limits, passed)
    try:
        url = await _announced(folder, popen)
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with ClientSession(url, headers=headers, timeout=ClientTimeout(DEADLINE)) as session:
            yield Process(folder, popen, session)
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait()


def _start(
    folder: Path,
    around: Sequence[str],
    words: Sequence[str],
    settings: Mapping[str, Any],
    limits: Callable[[], None] | None,
    passed: Sequence[int],
) -> subprocess.Popen[bytes] | Forked:
    (folder / "service.json").unlink(missing_ok=True)  # a killed one could not take it with it
    with (
        (folder.parent / f"{folder.name}.out").open("ab") as out,
        (folder.parent / f"{folder.name}.err").open("ab") as err,
    ):
        if not around and not limits and not passed:
            return Forked([*words, "--data", str(folder)], _environment(settings), out, err)
        return subprocess.Popen(
            [*around, *COMMAND, *words, "--data", str(folder)],
            env=_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            preexec_fn=limits,
            pass_fds=passed,
        )


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a process with these settings and no others."""
    given = {"AUTH__ADMIN_TOKEN": ADMIN, "LOG__FORMAT": "json", **settings}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("IDP_ADAPTER_")}
    variables = {
        f"IDP_ADAPTER_{name}": one if isinstance(one, str) else json.dumps(one)
        for name, one in given.items()
        if one is not None
    }
    return {**inherited, **variables}


async def _announced(folder: Path, popen: subprocess.Popen[bytes] | Forked) -> str:
    """Where the service says that it listens, once it answers there."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if popen.poll() is not None:
                raise AssertionError((folder.parent / f"{folder.name}.err").read_text("utf-8"))
            try:
                url: str = json.loads((folder / "service.json").read_text())["url"]
                async with ClientSession(url) as session, session.get("/healthz") as response:
                    if response.status == 200:
                        return url
            except (OSError, ValueError, ClientError):
                pass
            await asyncio.sleep(0.02)
