from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from asyncio.subprocess import Process
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from adapter.log.sqlite.log import open_sqlite_log
from adapter.model import uid_text
from tests.delivery import child
from tests.delivery.parts import check_settled_law, new_entry, until

EVENTS = 2000


class Receiver:
    """Takes posts; refuses some, is out of order at times, and is slow now and then."""

    def __init__(self) -> None:
        self.chance = random.Random(3)
        self.down = False
        #: Posts during outages.
        self.turned_away = 0
        #: How often each id was taken.
        self.taken: Counter[str] = Counter()
        #: Times of each user's events, as they were taken first.
        self.firsts: dict[str, list[int]] = defaultdict(list)
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        assert request.headers["webhook-id"] == body["uid"]
        if self.down:
            self.turned_away += 1
            return web.Response(status=503)
        if self.chance.random() < 0.02:
            return web.Response(status=400)
        if self.chance.random() < 0.01:
            await asyncio.sleep(0.1)
        if not self.taken[body["uid"]]:
            self.firsts[body["authDetails"]["userId"]].append(body["time"])
        self.taken[body["uid"]] += 1
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield receiver
    await runner.cleanup()


async def start(path: Path, receiver: Receiver, order_by: str | None) -> Process:
    told = [str(path), receiver.url, str(EVENTS), *([] if order_by is None else [order_by])]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.delivery.child", *told, stdout=subprocess.DEVNULL
    )


@pytest.mark.crash
@pytest.mark.parametrize("order_by", [None, "user"])
async def test_killed_again_and_again_every_event_arrives_with_its_one_id(
    tmp_path: Path, receiver: Receiver, order_by: str | None
) -> None:
    path = tmp_path / "log.sqlite"
    goals = [50, 400, 401, 900, 1500]
    for goal in goals:
        process = await start(path, receiver, order_by)
        # Each kill comes at another point; some of them in an outage.
        await until(lambda goal=goal: len(receiver.taken) >= goal)  # type: ignore[misc]
        if goal in (401, 900):
            receiver.down, before = True, receiver.turned_away
            await until(lambda before=before: receiver.turned_away > before)  # type: ignore[misc]
        await asyncio.sleep(0.05 * receiver.chance.random())
        process.kill()
        await process.wait()
        receiver.down = False
    process = await start(path, receiver, order_by)
    async with asyncio.timeout(60):
        assert await process.wait() == 0

    async with open_sqlite_log(path, dictionary=b"") as log:
        await check_settled_law(log)
        kept = [uid_text(entry.uid) for entry in await log.read(0, limit=EVENTS)]
    assert len(kept) == EVENTS
    assert set(receiver.taken) == set(kept) == {uid_text(new_entry(n + 1).uid) for n in range(EVENTS)}
    again = receiver.taken.total() - EVENTS
    assert again <= len(goals) * 2 * child.WINDOW
    if order_by is not None:
        assert all(times == sorted(times) for times in receiver.firsts.values())
