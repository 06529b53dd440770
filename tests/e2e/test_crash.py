"""What was answered with 202 is on disk: held against kills, system calls, full disks and locks."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import shutil
import sqlite3
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

from tests.e2e.process import Process, serving, until
from tests.e2e.receiver import Receiver, receiver
from tests.e2e.trace import Call, read_trace
from tests.opened import login

pytestmark = pytest.mark.crash

JSON = {"Content-Type": "application/json"}


class Sender:
    """A provider: posts its events in bodies of one to five, and sends again what nobody answered."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0
        #: Bodies without an answer, to be sent again.
        self._unanswered: list[list[dict[str, Any]]] = []
        #: Uids that came with a 202, as often as they came.
        self.uids: Counter[str] = Counter()
        #: Events that were sent, answered or not.
        self.events: dict[str, dict[str, Any]] = {}

    async def post_until_it_ends(self, process: Process, *, lanes: int = 8) -> None:
        """Post as fast as the service answers, until it is gone."""
        await asyncio.gather(*(self._lane(process) for _ in range(lanes)))

    async def post_the_rest(self, process: Process) -> None:
        """Send again what nobody answered, until all is answered."""
        while self._unanswered:
            await self._post(process, self._unanswered.pop())

    async def post(self, process: Process, bodies: int) -> None:
        """Post some bodies, each to its answer."""
        for _ in range(bodies):
            await self._post(process, self._body())

    async def _lane(self, process: Process) -> None:
        while True:
            body = self._unanswered.pop() if self._unanswered else self._body()
            try:
                await self._post(process, body)
            except (ClientError, OSError):
                self._unanswered.append(body)
                return

    async def _post(self, process: Process, body: list[dict[str, Any]]) -> None:
        receipts = await process.post(body if len(body) > 1 else body[0])
        assert receipts["accepted"] + receipts["duplicates"] == len(receipts["uids"]) == len(body)
        self.uids.update(receipts["uids"])

    def _body(self) -> list[dict[str, Any]]:
        body = []
        for _ in range(self._chance.choice((1, 1, 2, 5))):
            self._number += 1
            event = login(self._number)
            self.events[event["id"]] = event
            body.append(event)
        return body


async def in_the_log(process: Process) -> list[str]:
    """The uids of the log, as its pollers get them."""
    return [event["uid"] for event in await process.events(order="log")]


async def delivered(process: Process, count: float) -> bool:
    return await process.metric("sink_delivered_total", sink="hook") == count


def copy_sink(file: Path) -> dict[str, str]:
    return {"name": "copy", "kind": "file", "path": str(file), "from": "beginning"}


def uids_in(file: Path) -> set[str]:
    """The events of a file sink; each of its lines is whole, but for one that is being written."""
    return {json.loads(line)["uid"] for line in file.read_bytes().split(b"\n")[:-1]}


def says_one_id_for_each(receiver: Receiver) -> bool:
    return all(uid == id for uid, id in receiver.taken) and len(receiver.taken) == len(receiver.uids)


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_was_answered_outlives_kills_and_reaches_the_receiver(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    sender = Sender(chance)
    copy = tmp_path / "copy.ndjson"
    async with receiver() as there:
        settings = {**there.settings, "SINKS": [*there.settings["SINKS"], copy_sink(copy)]}
        for _ in range(4):
            async with serving(tmp_path / "data", settings=settings) as process:
                work = asyncio.create_task(sender.post_until_it_ends(process))
                await asyncio.sleep(chance.uniform(0.05, 0.6))
                process.kill()
                await work
        async with serving(tmp_path / "data", settings=settings) as process:
            answered = set(sender.uids)
            kept = await in_the_log(process)
            assert answered <= set(kept)
            await sender.post_the_rest(process)
            kept = await in_the_log(process)
            assert set(sender.uids) == set(kept)
            assert len(kept) == len(set(kept)) == len(sender.events)
            assert await process.metric("log_position") == len(kept)
            await there.has(kept)
            assert says_one_id_for_each(there)
            await until(lambda: uids_in(copy) >= set(kept))
            await process.stop()
    assert uids_in(copy) == set(kept)
    assert len(answered) > 100


async def test_a_receiver_that_is_away_gets_everything_over_restarts_and_kills(tmp_path: Path) -> None:
    chance = random.Random(3)
    sender = Sender(chance)
    folder = tmp_path / "data"
    async with receiver() as there:
        async with serving(folder, settings=there.settings) as process:
            await sender.post(process, 20)
            await there.has(sender.uids)
            await there.leave()
            await sender.post(process, 20)
            process.kill()
        async with serving(folder, settings=there.settings) as process:
            await sender.post(process, 20)
            assert await process.stop() == 0
        there.status = 503
        await there.listen()
        async with serving(folder, settings=there.settings) as process:
            work = asyncio.create_task(sender.post_until_it_ends(process))
            asked = there.asked
            await until(lambda: there.asked > asked)
            process.kill()
            await work
        await there.leave()
        async with serving(folder, settings=there.settings) as process:
            await sender.post_the_rest(process)
            kept = await in_the_log(process)
            assert there.uids < set(kept)
            there.status = 204
            await there.listen()
            await there.has(kept)
            assert says_one_id_for_each(there)
            assert set(kept) == set(sender.uids)
            await until(lambda: delivered(process, len(kept)))
            assert await process.metric("sink_matched_total", sink="hook") == len(kept)
            assert await process.metric("sink_dead", sink="hook") == 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; it is needed to see system calls")
async def test_the_log_is_synced_between_the_write_of_an_event_and_its_answer(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    watched = "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync"
    around = ["strace", "-f", "-D", "-y", "-xx", "-s", "1000000", "-e", watched, "-o", str(trace), "--"]
    async with serving(tmp_path / "data", around=around) as process:
        uids: list[str] = []

        async def lane(first: int) -> None:
            for number in range(first, first + 10):
                uids.extend((await process.post(login(number)))["uids"])

        await asyncio.gather(*(lane(first) for first in range(0, 80, 10)))
        await process.stop()
    calls = read_trace(trace)
    log = str(tmp_path / "data" / "log.sqlite")
    assert len(uids) == 80
    for uid in uids:
        answered = next(call for call in calls if b"HTTP/1.1 202" in call.data and uid.encode() in call.data)
        # The log holds a uid as its 16 bytes.
        written = next(
            call
            for call in calls
            if call.file.startswith(log) and "write" in call.name and uuid.UUID(uid).bytes in call.data
        )
        assert written.ended < answered.began
        assert any(is_sync_between(call, written, answered, log) for call in calls), uid


def is_sync_between(call: Call, written: Call, answered: Call, log: str) -> bool:
    """Whether it put on disk what was written, before the answer began."""
    return (
        call.name in ("fsync", "fdatasync")
        and call.file == written.file
        and call.file.startswith(log)
        and written.ended <= call.began
        and call.ended <= answered.began
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left; the file that takes it."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    assert shutil.disk_usage(disk).free == 0
    return filler


async def status(process: Process, path: str) -> int:
    async with process.session.get(path) as response:
        return response.status


async def ready(process: Process) -> bool:
    return await status(process, "/readyz") == 200


async def refused(process: Process, events: Any) -> None:
    """Post, and be told to come again."""
    async with process.session.post("/ingest/keycloak", json=events) as response:
        assert response.status == 503, await response.text()
        assert int(response.headers["Retry-After"]) > 0
        assert response.content_type == "application/problem+json"


async def post_until_refused(process: Process, first: int) -> list[str]:
    """Post until the store says no; what was taken until then."""
    taken: list[str] = []
    for number in range(first, first + 5000):
        async with process.session.post("/ingest/keycloak", json=login(number)) as response:
            if response.status != 202:
                assert response.status == 503
                return taken
            taken += (await response.json())["uids"]
    raise AssertionError("it was never refused")


async def recovers(process: Process, taken: list[str], first: int) -> None:
    """What was refused left nothing behind, and is taken as new now; all is found."""
    events = [login(number) for number in range(first, first + 50)]
    receipts = await process.post(events)
    assert receipts["accepted"] == 50
    assert await in_the_log(process) == [*taken, *receipts["uids"]]
    assert {event["uid"] for event in await process.events()} == {*taken, *receipts["uids"]}


#: Of a disk that is to become full.
UNWATCHED = {"STORE__LOW_DISK": "0%", "STORE__FULL_DISK": "0%"}


async def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    async with serving(small_disk / "data", settings=UNWATCHED) as process:
        before = (await process.post([login(number) for number in range(50)]))["uids"]
        filler = fill(small_disk)
        taken = await post_until_refused(process, 1000)
        await refused(process, [login(number) for number in range(9000, 9050)])
        assert await status(process, "/readyz") == 503
        assert await status(process, "/healthz") == 200
        filler.unlink()
        await recovers(process, [*before, *taken], 9000)
        await until(lambda: ready(process))
        assert await process.stop() == 0
    async with serving(small_disk / "data", settings=UNWATCHED) as process:
        assert len(await in_the_log(process)) == 100 + len(taken)


async def test_a_limit_on_the_size_of_files_refuses_and_recovers(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with serving(folder) as process:
        before = (await process.post([login(number) for number in range(50)]))["uids"]
        largest = max(file.stat().st_size for file in folder.glob("log.sqlite*"))
        _, hard = resource.prlimit(process.writer_pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.writer_pid, resource.RLIMIT_FSIZE, (largest + 100_000, hard))
        taken = await post_until_refused(process, 1000)
        resource.prlimit(process.writer_pid, resource.RLIMIT_FSIZE, (hard, hard))
        await recovers(process, [*before, *taken], 9000)


async def test_a_locked_database_refuses_and_recovers(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as process:
        before = (await process.post([login(number) for number in range(50)]))["uids"]
        other = sqlite3.connect(tmp_path / "data" / "log.sqlite", isolation_level=None)
        try:
            other.execute("begin immediate")
            await asyncio.gather(*(refused(process, login(number)) for number in range(9000, 9010)))
            other.execute("rollback")
        finally:
            other.close()
        await recovers(process, before, 9000)


async def test_a_bad_request_in_a_shared_commit_hurts_no_neighbour(tmp_path: Path) -> None:
    bad = [
        b'{"id": "\\ud800", "time": 1700000000000, "type": "LOGIN"}',
        b'{"id": "a\\u0000b", "time": 1700000000000, "type": "LOGIN", "userId": "\\u0000"}',
        b'{"id": "big", "time": 99999999999999999999999999, "type": "LOGIN"}',
        b'{"id": "deep", "time": 1700000000000, "type": "LOGIN", "details": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"\xff\xfe",
        b"[1, null, true, {}]",
    ]
    async with serving(tmp_path / "data") as process:

        async def raw(body: bytes) -> None:
            async with process.session.post("/ingest/keycloak", data=body, headers=JSON) as response:
                assert response.status in (202, 400), await response.text()

        good = [process.post(login(number)) for number in range(200)]
        _, receipts = await asyncio.gather(asyncio.gather(*(raw(body) for body in bad * 5)), asyncio.gather(*good))
        assert [one["accepted"] for one in receipts] == [1] * 200
        kept = await in_the_log(process)
        assert {uid for one in receipts for uid in one["uids"]} <= set(kept)
        assert len(kept) == len(set(kept))
