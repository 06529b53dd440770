"""What readers may ask at once, and how much of an answer is in memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapter.api.feed import STRETCH
from adapter.log.sqlite.log import SqliteLog
from adapter.model import Entry
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [{"name": name, "token": f"{name}-token"} for name in ("one", "other")]
LARGE = 200_000
PAGE_LIMIT = 1_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    limits = {"page_limit": PAGE_LIMIT, "questions_limit": 3, "exports_limit": 2, "key_exports_limit": 1}
    feed = {**limits, "question_timeout": 60}
    async with opened(tmp_path_factory.mktemp("data"), keys=KEYS, feed=feed) as service:
        for number in range(12):
            await service.post(login(number, details={"username": "anna", "large": "x" * LARGE}))
        yield service


@pytest.mark.parametrize("order", ["time", "log"])
async def test_a_page_ends_when_it_is_large_and_pages_join_to_all(service: Opened, order: str) -> None:
    numbers: list[int] = []
    query: dict[str, Any] = {"limit": 7, "order": order}
    while True:
        _, page = await service.get("/events", **query)
        assert len(page["events"]) <= 7
        assert sum(len(json.dumps(event)) for event in page["events"]) < PAGE_LIMIT + STRETCH + 2 * LARGE
        numbers += [(event["time"] - 1_700_000_000_000) // 1000 for event in page["events"]]
        if not page["events"] or page["next"] is None:
            break
        query["cursor"] = page["next"]
    expected = list(range(12))
    assert numbers == (expected if order == "log" else expected[::-1])


async def test_a_page_has_an_event_at_least(tmp_path: Path) -> None:
    async with opened(tmp_path, feed={"page_limit": 1024, "question_timeout": 60}) as service:
        await service.post([login(number, details={"large": "x" * 100_000}) for number in range(3)])
        _, page = await service.get("/events")
        assert len(page["events"]) >= 1
        assert page["next"] is None or len(page["events"]) < 3


async def test_what_an_answer_reads_at_once_is_bounded(service: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    fetch = SqliteLog.fetch

    async def watched(log: SqliteLog, positions: Sequence[int], *, size: int) -> list[Entry]:
        entries = await fetch(log, positions, size=size)
        read.append(sum(len(entry.event or b"") for entry in entries))
        return entries

    monkeypatch.setattr(SqliteLog, "fetch", watched)
    async with service.session.get("/events/export") as response:
        assert len((await response.text()).splitlines()) == 12
    await service.get("/events", limit=12)
    assert len(read) > 4
    assert max(read) < STRETCH + 2 * LARGE


async def test_questions_of_one_key_are_so_many_and_another_key_has_its_own(service: Opened, filler: int) -> None:
    os.kill(filler, signal.SIGSTOP)
    try:
        await service.post(login(500))
        asked = [asyncio.create_task(service.get("/events", token="one-token", limit=1)) for _ in range(5)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert sorted(task.result()[0] for task in done) == [429, 429]
        others = asyncio.create_task(service.get("/events", token="other-token", limit=1))
    finally:
        os.kill(filler, signal.SIGCONT)
    assert [(await task)[0] for task in [*waiting, others]] == [200] * 4


@pytest_asyncio.fixture(loop_scope="module")
async def filler(service: Opened) -> int:
    """Process id of the search filler of this service."""
    return find_filler(service.service.folder)


def find_filler(folder: Path) -> int:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    fillers = [child for child in children if b"adapter.search.filler" in Path(f"/proc/{child}/cmdline").read_bytes()]
    search = folder / "search.sqlite"
    [found] = [int(child) for child in fillers if search in map(_target, Path(f"/proc/{child}/fd").iterdir())]
    return found


def _target(link: Path) -> Path | None:
    """What an open file is; ``None`` if it is closed meanwhile."""
    with suppress(FileNotFoundError):
        return link.readlink()
    return None


async def test_exports_of_one_key_and_of_all_are_so_many(service: Opened) -> None:
    async def export(token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return await service.session.get("/events/export", headers=headers)

    # Large enough that neither is written before it is read.
    for number in range(40):
        await service.post(login(1_000 + number, details={"large": "x" * 900_000}))
    first = await export("one-token")
    assert first.status == 200
    assert (await export("one-token")).status == 429
    second = await export("other-token")
    assert second.status == 200
    refused = await export(service.service.admin_token)
    assert (refused.status, "Retry-After" in refused.headers) == (503, True)
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ({"q": "ä" * 999, "user": "u" * 2_000}, "user", "2000 characters"),
        ({"client": "c" * 1_001}, "client", "1001 characters"),
        ({"type": [f"access.*{n}" for n in range(21)]}, "type", "20 types and resources with a *"),
        ({"q": "word " * 40, "not_q": " ".join(f"w{n}" for n in range(65))}, "not_q", "64 words"),
    ],
)
async def test_a_question_has_so_many_values(service: Opened, query: dict[str, Any], parameter: str, said: str) -> None:
    status, problem = await service.get("/events", **query)
    assert (status, problem["parameter"]) == (400, parameter)
    assert said in problem["detail"]
