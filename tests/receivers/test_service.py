"""The service against the hostile receiver, one sink for each path: it passes everywhere."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.process import DEADLINE, Process, serving
from tests.opened import login

pytestmark = pytest.mark.hostile

#: Where the name server listens, on the one port that resolvers ask.
DNS = "127.7.7.7"
#: What the service may take more while answers without an end come, bytes.
MEMORY = 64 << 20
#: Paths whose names only the receiver's own name server knows.
NAMED = {"rebound", "mixed"}


def has_own_names() -> bool:
    """Whether a process can be given a name server of its own here."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((DNS, 53))
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@asynccontextmanager
async def receiver(folder: Path, *, names: bool) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    """The receiver as a process of its own: where it listens, and a call that ends it and gives its score."""
    words = ["--port", "0", "--json", "--folder", str(folder), "--deadline", "15", "--quiet", "5", "--grace", "1.5"]
    words += ["--dns-host", DNS, "--dns-port", "53"] if names else ["--dns-port", "0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.receivers", *words, stdout=subprocess.PIPE, limit=1 << 20
    )
    assert process.stdout is not None

    async def end() -> dict[str, Any]:
        assert process.stdout is not None
        process.terminate()
        score: dict[str, Any] = json.loads(await process.stdout.readline())
        assert await process.wait() == (1 if score["failed"] else 0)
        return score

    try:
        yield json.loads(await process.stdout.readline()), end
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def settings(told: dict[str, Any], *, leave_out: set[str]) -> dict[str, Any]:
    sinks = [
        {
            "name": name, "kind": "webhook", "url": url, "from": "beginning", "filter": {"provider": "keycloak"},
            "timeout": 4.0, "retry": [0.3] * 100, "window": 8,
        }
        for name, url in told["urls"].items()
        if name not in leave_out
    ]  # fmt: skip
    allow = [f"{re.findall(r'//(.*):', told['base'])[0]}/32"]
    return {"SINKS": sinks, "OUTGOING__ALLOW": allow, "OUTGOING__CA_FILE": told["caFile"], "SERVER__DRAIN": "2"}


def memory(process: Process, field: str) -> int:
    """Bytes of a field of the process's status."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) * 1024


async def send_until_told(process: Process, score: str, *, leave_out: set[str]) -> None:
    """Send an event now and then, until every row has a verdict."""
    async with asyncio.timeout(DEADLINE * 2), ClientSession() as session:
        for number in range(100, 10_000):
            await process.post([login(number)])
            await asyncio.sleep(0.3)
            async with session.get(score) as response:
                rows = (await response.json())["rows"]
            if not {row["name"] for row in rows if row["state"] == "not seen"} - leave_out:
                return


async def test_the_service_passes_everywhere(tmp_path: Path) -> None:
    names = has_own_names()
    leave_out = set() if names else NAMED
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {DNS}\noptions timeout:1 attempts:3\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    around = ("unshare", "--mount", "sh", "-c", script, str(resolver)) if names else ()
    async with receiver(tmp_path / "receiver", names=names) as (told, end):
        given = settings(told, leave_out=leave_out)
        async with serving(tmp_path / "data", settings=given, around=around) as process:
            before = memory(process, "VmRSS")
            await process.post([login(number) for number in range(8)])
            await send_until_told(process, told["score"], leave_out=leave_out)
            grown = memory(process, "VmHWM") - before
            score = await end()
    failed = {row["name"]: row["said"] for row in score["rows"] if row["state"] != "passed"}
    assert set(failed) == leave_out, failed
    assert grown < MEMORY, f"{grown >> 20} MiB more than before"
