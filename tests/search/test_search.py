"""Search over a real log, filled by its own process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapter.errors import RequestError
from adapter.filter import Filter
from adapter.log.opening import file_url, open_store
from adapter.log.protocol import Log, NewEntry
from adapter.search.cursor import Order
from adapter.search.learning import USERS
from adapter.search.linking import Asked
from adapter.search.search import Search, open_search
from adapter.search.sqlite.schema import create
from tests.search.events import CATALOGUE, make_entry, make_event

ALL = Filter(CATALOGUE)
ORDERS: tuple[Order, ...] = ("time", "log")


class Place:
    """A log and its search, opened one after the other."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.log_path = folder / "log.sqlite"
        self.search_path = folder / "search.sqlite"
        self._appended = 0

    @contextlib.asynccontextmanager
    async def open(self, *, timeout: float = 30.0, owner: str = "one") -> AsyncIterator[tuple[Log, Search]]:
        async with (
            open_store(self.url, dictionary=bytes, commit_timeout=30.0) as log,
            open_search(self.search_path, log, self.url, owner, timeout=timeout) as search,
        ):
            yield log, search

    async def append(self, log: Log, count: int = 1, *, time: int = 1_000) -> list[int]:
        """Append logins, all at ``time``; their positions."""
        entries = []
        for _ in range(count):
            self._appended += 1
            entry = make_entry(self._appended, make_event(time=time), uid=uuid.uuid4().bytes)
            uid = entry.uid
            entries.append(
                NewEntry(
                    source="prod",
                    received_at=entry.received_at,
                    raw=b"{}",
                    media="application/json",
                    uid=uid,
                    strong=None,
                    weak=None,
                    seconds=0,
                    native_type="LOGIN",
                    type="access.LOGIN",
                    event=entry.event,
                    problem=None,
                )
            )
        return [receipt.position for receipt in await log.append(entries) if receipt.position is not None]


@pytest.fixture
def file_place(tmp_path: Path) -> Place:
    return Place(file_url(tmp_path / "log.sqlite"), tmp_path)


@pytest.fixture
def shared_place(database_url: str, tmp_path: Path) -> Place:
    return Place(database_url, tmp_path)


@pytest.fixture(params=["file_place", "shared_place"])
def place(request: pytest.FixtureRequest) -> Place:
    place: Place = request.getfixturevalue(request.param)
    return place


async def test_what_was_appended_is_found_at_once(place: Place) -> None:
    async with place.open() as (log, search):
        assert (await search.find(ALL)).positions == []
        for _ in range(5):
            appended = await place.append(log)
            assert list((await search.find(ALL, limit=1)).positions) == appended
        assert search.position == 5


async def test_pages_of_both_orders_join_to_all(place: Place) -> None:
    async with place.open() as (log, search):
        for time in (3_000, 1_000, 2_000):
            await place.append(log, 2, time=time)
        pages = [list(page) async for page in search.pages(ALL, limit=4)]
        assert pages == [[2, 1, 6, 5], [4, 3]]
        assert [list(page) async for page in search.pages(ALL, order="log", limit=4)] == [[1, 2, 3, 4], [5, 6]]


async def test_the_end_by_time_is_none_and_by_log_a_cursor_that_goes_on(place: Place) -> None:
    async with place.open() as (log, search):
        await place.append(log, 2)
        assert (await search.find(ALL, limit=2)).next is None
        page = await search.find(ALL, order="log", limit=2)
        empty = await search.find(ALL, order="log", cursor=page.next)
        assert list(empty.positions) == []
        assert empty.next == page.next
        appended = await place.append(log)
        assert list((await search.find(ALL, order="log", cursor=empty.next)).positions) == appended


async def test_an_empty_log_gives_a_cursor_for_what_will_come(place: Place) -> None:
    async with place.open() as (log, search):
        empty = await search.find(ALL, order="log")
        appended = await place.append(log)
        assert list((await search.find(ALL, order="log", cursor=empty.next)).positions) == appended


@pytest.mark.parametrize("cursor", ["", "x", "é", "bAAAAA", "!!!!", "bP////////////8"])
async def test_a_bad_cursor_is_refused_by_name(place: Place, cursor: str) -> None:
    async with place.open() as (_, search):
        for order in ("time", "log"):
            with pytest.raises(RequestError) as refused:
                await search.find(ALL, order=order, cursor=cursor)
            assert refused.value.status == 400
            assert refused.value.extra["parameter"] == "cursor"


async def test_a_cursor_of_the_other_order_is_refused(place: Place) -> None:
    async with place.open() as (log, search):
        await place.append(log, 2)
        by_time, by_log = await search.find(ALL, limit=1), await search.find(ALL, order="log", limit=1)
        with pytest.raises(RequestError, match="order=log"):
            await search.find(ALL, order="log", cursor=by_time.next)
        with pytest.raises(RequestError, match="order=time"):
            await search.find(ALL, cursor=by_log.next)


def _delete(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _overwrite_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"garbage" * 1000)


def _overwrite_middle(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))


def _make_older(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 0")
    connection.close()


def _drop_a_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE kind")
    connection.close()


def _make_foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE something (else_)")
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [
        _delete,
        _truncate,
        _empty,
        _overwrite_head,
        _overwrite_middle,
        _make_older,
        _drop_a_table,
        _make_foreign,
    ],
)
async def test_a_spoiled_database_is_built_again(file_place: Place, spoil: Callable[[Path], None]) -> None:
    async with file_place.open() as (log, search):
        await file_place.append(log, 500)
        assert len((await search.find(ALL, limit=1000)).positions) == 500
    spoil(file_place.search_path)
    async with file_place.open() as (log, search):
        await file_place.append(log)
        assert len((await search.find(ALL, limit=1000)).positions) == 501
        assert len((await search.find(_parse(q="alice", client="app"), limit=1000)).positions) == 501


async def test_a_database_of_another_log_is_built_again(file_place: Place, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Place(file_url(tmp_path / "other" / "log.sqlite"), tmp_path / "other")
    async with other.open() as (log, search):
        await other.append(log, 3, time=9)
        await search.wait(3)
    file_place.search_path.write_bytes(other.search_path.read_bytes())
    async with file_place.open() as (log, search):
        await file_place.append(log, 5, time=7)
        assert len((await search.find(_parse(to="8"))).positions) == 5
        assert search.rebuilt == "filled from another log"


async def test_a_database_ahead_of_its_log_is_built_again(file_place: Place) -> None:
    async with file_place.open() as (log, search):
        await file_place.append(log, 3)
        await search.wait(3)
    for end in ("", "-wal", "-shm"):
        file_place.log_path.with_name(file_place.log_path.name + end).unlink(missing_ok=True)
    async with file_place.open() as (log, search):
        await file_place.append(log)
        assert list((await search.find(ALL)).positions) == [1]


async def test_a_database_that_is_taken_away_meanwhile_is_built_again(file_place: Place) -> None:
    async with file_place.open() as (log, search):
        await file_place.append(log, 3)
        await search.wait(3)
        file_place.search_path.unlink()
        await file_place.append(log)
        assert len((await search.find(ALL)).positions) == 4
        assert search.rebuilt == "taken away"


async def test_a_killed_filler_comes_back(place: Place) -> None:
    async with place.open() as (log, search):
        await place.append(log, 3)
        await search.wait(3)
        assert search.filler is not None
        os.kill(search.filler, signal.SIGKILL)
        await place.append(log)
        assert list((await search.find(ALL)).positions) == [4, 3, 2, 1]


async def test_the_filler_ends_when_its_input_ends(file_place: Place) -> None:
    async with file_place.open() as (log, search):
        await file_place.append(log)
        await search.wait(1)
        filler = search.filler
    assert filler is not None
    with pytest.raises(ProcessLookupError):
        os.kill(filler, 0)


_A_SERVICE = """
import asyncio, pathlib, sys
from adapter.log.opening import file_url
from adapter.log.sqlite.log import open_sqlite_log
from adapter.search.search import open_search

async def main(folder):
    async with (
        open_sqlite_log(folder / "log.sqlite") as log,
        open_search(folder / "search.sqlite", log, file_url(folder / "log.sqlite"), "one") as search,
    ):
        await search.wait(log.head)
        print(search.filler, flush=True)
        await asyncio.sleep(60)

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.crash
async def test_the_filler_ends_when_its_service_is_killed(file_place: Place, tmp_path: Path) -> None:
    async with file_place.open() as (log, _):
        await file_place.append(log)
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _A_SERVICE, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert service.stdout is not None
    # Warnings stand there, too: the search that was open before may have ended before its file was made.
    while not (line := await service.stdout.readline()).strip().isdigit():
        assert line
    filler = int(line)
    process = os.pidfd_open(filler)
    service.kill()
    await service.wait()
    ended, _, _ = await asyncio.to_thread(select.select, [process], [], [], 10)
    os.close(process)
    assert ended


async def test_a_question_that_takes_too_long_is_broken_off(place: Place) -> None:
    async with place.open() as (log, search):
        await place.append(log, 3_000)
        await search.wait(3_000)
        search.timeout = 0.0
        with pytest.raises(RequestError) as refused:
            await search.find(_parse(not_q="nothing"), limit=1000)
        assert refused.value.status == 503
        search.timeout = 30.0
        assert len((await search.find(_parse(not_q="nothing"), limit=1000)).positions) == 1000


async def test_many_questions_of_one_caller_do_not_hold_up_another(place: Place) -> None:
    async with place.open() as (log, search):
        await place.append(log, 50)
        await search.wait(50)
        # As if each of these took for ever.
        go_on, began = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            async with search._turns.of("busy"):
                began.set()
                await go_on.wait()

        heavy = [asyncio.create_task(wait()) for _ in range(8)]
        try:
            await began.wait()
            page = await search.find(ALL, limit=1, caller="other")
            assert len(page.positions) == 1
            search.timeout = 0.05
            with pytest.raises(RequestError, match="other questions") as refused:
                await search.find(ALL, limit=1, caller="busy")
            assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "5")
        finally:
            go_on.set()
            await asyncio.gather(*heavy)


async def test_who_is_patient_waits_for_names_however_long_his_own_questions_take(file_place: Place) -> None:
    async with file_place.open() as (log, search):
        await file_place.append(log)
        await search.wait(1)
        asked = [Asked(USERS, "u-alice", ("prod", "keycloak", "6abba41c-2362-4d1c-93c7-b2ea2454ecab", "acme"), 1_000)]
        async with search._turns.of("busy"):
            exporting = asyncio.create_task(search.names(asked, ALL, caller="busy", timeout=1.0, patient=True))
            with pytest.raises(RequestError, match="names were not looked up"):
                await search.names(asked, ALL, caller="busy", timeout=1.0)
            assert not exporting.done()
        assert await exporting == ["alice"]


async def test_a_page_whose_time_runs_out_goes_on_from_where_it_ended(file_place: Place) -> None:
    create(file_place.search_path, part_size=16)
    async with file_place.open() as (log, search):
        for number in range(10):
            await file_place.append(log, 16, time=1_000 + number)
        whole = {order: (await search.find(_parse(q="alice"), order=order, limit=200)).positions for order in ORDERS}
        search.share = 0.0
        for order in ORDERS:
            pages = [list(page) async for page in search.pages(_parse(q="alice"), order=order, limit=200)]
            assert len(pages) > 5
            assert [position for page in pages for position in page] == list(whole[order])


async def test_a_stop_leaves_the_database_alone_in_its_file(file_place: Place) -> None:
    async with file_place.open() as (log, search):
        await file_place.append(log, 10)
        await search.find(ALL)

    assert [file.name for file in file_place.search_path.parent.glob("search.sqlite*")] == ["search.sqlite"]


async def test_a_question_waits_no_longer_than_it_may_for_the_filling(place: Place) -> None:
    async with place.open() as (log, search):
        await place.append(log)
        await search.wait(1)
        assert search.filler is not None
        os.kill(search.filler, signal.SIGSTOP)
        try:
            await place.append(log)
            search.timeout = 0.05
            with pytest.raises(RequestError, match="1 of 2 entries"):
                await search.find(ALL)
        finally:
            os.kill(search.filler, signal.SIGCONT)
        search.timeout = 30.0
        assert len((await search.find(ALL)).positions) == 2


async def test_questions_are_asked_side_by_side(place: Place) -> None:
    async with place.open() as (log, search):
        await place.append(log, 50)
        pages = await asyncio.gather(*(search.find(ALL, limit=50) for _ in range(20)))
        assert [len(page.positions) for page in pages] == [50] * 20


def _parse(**parameters: str) -> Filter:
    return Filter.parse({name: [value] for name, value in parameters.items()}, CATALOGUE)
