"""The running service as its people know it: started, asked, polled, damaged, stopped."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import random
import shlex
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from tests.e2e.process import ADMIN, Process, serving, until
from tests.e2e.receiver import receiver
from tests.opened import login


def search_files(folder: Path) -> list[Path]:
    return list(folder.glob("search.sqlite*"))


def delete(folder: Path) -> None:
    for file in search_files(folder):
        file.unlink()


def truncate(folder: Path) -> None:
    file = folder / "search.sqlite"
    file.write_bytes(file.read_bytes()[:10_000])


def make_older(folder: Path) -> None:
    connection = sqlite3.connect(folder / "search.sqlite")
    [version] = connection.execute("pragma user_version").fetchone()
    connection.execute(f"pragma user_version = {version - 1}")
    connection.close()


async def search_lag(process: Process) -> float:
    return await process.metric("search_lag")


async def is_even(process: Process) -> bool:
    """Whether the search is as far as the log."""
    return await search_lag(process) == 0


async def is_found(process: Process, uids: set[str]) -> bool:
    """Whether search gives exactly these; `False` while it is being filled."""
    async with process.session.get("/events", params={"limit": "1"}) as response:
        if response.status == 503:
            assert "of" in (await response.json())["detail"]
            return False
    return {event["uid"] for event in await process.events()} == uids


@pytest.mark.parametrize("spoil", [delete, truncate, make_older])
async def test_a_lost_search_database_is_built_again_while_receiving_goes_on(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / "data"
    async with serving(folder) as process:
        uids = set()
        for first in range(0, 5000, 1000):
            uids |= set((await process.post([login(number) for number in range(first, first + 1000)]))["uids"])
        await until(lambda: is_found(process, uids))
        assert await process.stop() == 0
    spoil(folder)
    async with serving(folder) as process:
        for number in range(6000, 6050):
            uids |= set((await process.post(login(number)))["uids"])
        await until(lambda: is_found(process, uids))
        assert await search_lag(process) == 0
        if spoil is not delete:
            assert '"search_rebuild"' in process.errors


async def test_how_far_the_search_is_behind_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as process:
        await process.post([login(number) for number in range(10)])
        await until(lambda: is_even(process))
        os.kill(process.filler_pid, signal.SIGSTOP)
        await process.post([login(number) for number in range(10, 30)])
        assert await search_lag(process) == 20
        os.kill(process.filler_pid, signal.SIGCONT)
        await until(lambda: is_even(process))


async def test_a_search_database_that_is_taken_away_while_it_serves_comes_back(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as process:
        uids = set((await process.post([login(number) for number in range(500)]))["uids"])
        await until(lambda: is_found(process, uids))
        truncate(tmp_path / "data")
        delete(tmp_path / "data")
        uids |= set((await process.post([login(number) for number in range(500, 1000)]))["uids"])
        await until(lambda: is_found(process, uids))


async def test_what_was_answered_is_found_at_once_under_load(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as process:
        stop = asyncio.Event()

        async def load(lane: int) -> None:
            number = lane * 1_000_000
            while not stop.is_set():
                await process.post([login(number + one) for one in range(10)])
                number += 10

        lanes = [asyncio.create_task(load(lane)) for lane in range(1, 4)]
        for number in range(20):
            receipts = await process.post(login(number, sessionId=f"mine-{number}"))
            for question in ({"session": f"mine-{number}"}, {"session": f"mine-{number}", "order": "log"}):
                async with process.session.get("/events", params=question) as response:
                    found = [event["uid"] for event in (await response.json())["events"]]
                assert found == receipts["uids"]
        stop.set()
        await asyncio.gather(*lanes)


class Poller:
    """Reads the log page by page, and knows nothing but its cursor from one time to the next."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.seen: list[str] = []

    async def poll(self, process: Process, limit: int) -> bool:
        """Read one page; whether there was anything on it."""
        question = {"order": "log", "limit": str(limit), **({"cursor": self.cursor} if self.cursor else {})}
        async with process.session.get("/events", params=question) as response:
            assert response.status == 200, await response.text()
            page = await response.json()
        self.cursor = page["next"]
        self.seen += [event["uid"] for event in page["events"]]
        return bool(page["events"])


async def test_a_poller_misses_nothing_under_concurrent_writers_and_a_restart(tmp_path: Path) -> None:
    chance = random.Random(5)
    poller = Poller()
    written: set[str] = set()
    for run in range(2):
        async with serving(tmp_path / "data") as process:

            async def write(lane: int, process: Process = process, run: int = run) -> None:
                for body in range(40):
                    first = ((run * 8 + lane) * 40 + body) * 5
                    # The time an event happened has nothing to do with when it arrives.
                    events = [login(chance.randrange(10**6) * 1000 + (first + one) % 1000) for one in range(5)]
                    for one, event in enumerate(events):
                        event["id"] = f"event-{first + one}"
                    written.update((await process.post(events))["uids"])

            writers = asyncio.gather(*(write(lane) for lane in range(8)))
            while not writers.done():
                await poller.poll(process, chance.choice((1, 7, 100)))
            await writers
            if run:
                while await poller.poll(process, 1000):
                    pass
                again = Poller()
                while await again.poll(process, 333):
                    pass
            assert await process.stop() == 0
    assert len(written) == 2 * 8 * 40 * 5
    assert set(poller.seen) == written
    assert len(poller.seen) == len(written)
    assert again.seen == poller.seen


async def test_a_client_that_hangs_up_cancels_nothing(tmp_path: Path) -> None:
    body = json.dumps([login(number) for number in range(2000)]).encode()
    async with serving(tmp_path / "data") as process:
        head = (
            "POST /ingest/keycloak HTTP/1.1\r\nHost: adapter\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {ADMIN}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        await until(lambda: holds(process, 2000))
        assert (await process.post(json.loads(body)))["duplicates"] == 2000


async def holds(process: Process, count: int) -> bool:
    return await process.metric("log_position") == count


async def test_a_stop_answers_every_request_that_it_stores(tmp_path: Path) -> None:
    answered: set[str] = set()

    async def post_until_it_ends(process: Process, lane: int) -> None:
        for number in range(lane * 10**6, (lane + 1) * 10**6):
            try:
                answered.update((await process.post(login(number)))["uids"])
            except (ClientError, OSError):
                return

    async with serving(tmp_path / "data") as process:
        lanes = asyncio.gather(*(post_until_it_ends(process, lane) for lane in range(16)))
        await until(lambda: len(answered) > 500)
        assert await process.stop() == 0
        await lanes
    async with serving(tmp_path / "data") as process:
        assert {event["uid"] for event in await process.events(order="log")} == answered


async def test_a_stop_waits_for_receivers_that_are_answering(tmp_path: Path) -> None:
    async with receiver() as there:
        there.delay = 0.3
        async with serving(tmp_path / "data", settings=there.settings) as process:
            uids = (await process.post([login(number) for number in range(20)]))["uids"]
            await until(lambda: there.asked == 20)
            assert await process.stop() == 0
        assert there.uids == set(uids)
        async with serving(tmp_path / "data", settings=there.settings) as process:
            more = (await process.post(login(100)))["uids"]
            await there.has(more)
        assert there.asked == 21


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed; what is printed is for it")
async def test_what_it_prints_at_its_start_works_as_it_is_printed(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", arguments=["--examples"], settings={"AUTH__ADMIN_TOKEN": None}) as process:
        await until(lambda: "Ctrl-C" in process.output)
        commands = [line.strip() for line in process.output.splitlines() if line.startswith("  curl ")]
        answers = [await run(*shlex.split(line)) for line in commands]
        assert len(json.loads(answers[0])["events"]) == 10
        assert json.loads(answers[1])["openapi"]

        words = shlex.split(" ".join(line for line in process.output.splitlines() if " secret=" in line))
        url, secret = (
            next(word for word in words if word.startswith(name))[len(name) :] for name in ("url=", "secret=")
        )
        body = json.dumps(login(1)).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Keycloak-Signature": signature, "Content-Type": "application/json"}
        async with ClientSession() as keycloak, keycloak.post(url, data=body, headers=headers) as response:
            assert (response.status, (await response.json())["accepted"]) == (202, 1)


async def run(*words: str) -> bytes:
    """What a command writes."""
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    written, _ = await process.communicate()
    assert process.returncode == 0
    return written


async def test_a_stop_that_reaches_all_of_its_processes_loses_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as process:
        uids = set((await process.post([login(number) for number in range(200)]))["uids"])
        os.kill(process.writer_pid, signal.SIGTERM)  # as a supervisor that stops a whole group
        uids |= set((await process.post([login(number) for number in range(200, 400)]))["uids"])
        assert await process.stop() == 0
        assert '"log_writer_ended"' not in process.errors
    async with serving(tmp_path / "data") as process:
        await until(lambda: is_found(process, uids))
