"""What a log does when its files are damaged, removed or replaced while it is open: it never says again that something
was stored."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from adapter.errors import StoreDamaged, StoreUnavailable
from adapter.log.protocol import Settlement
from adapter.log.sqlite import checking
from adapter.log.sqlite.checking import Checking, check_stretch
from adapter.log.sqlite.files import Beginnings
from adapter.log.sqlite.log import SqliteLog, open_sqlite_log
from adapter.log.sqlite.reading import open_reader
from adapter.log.sqlite.schema import READ_ERRORS, connect_writing
from tests.log.entries import new_entry, quarantined_entry
from tests.log.sqlite.damaging import overwrite, pages_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


def remove(file: Path) -> None:
    file.unlink()


def replace(file: Path) -> None:
    shutil.copy(file, file.with_name("copy"))
    file.with_name("copy").replace(file)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 if not file.name.endswith("wal") else 0)


def overwrite_first(path: Path, other: Path) -> None:
    """Write the beginning of another file over that of a file."""
    with path.open("r+b") as file:
        file.write(other.read_bytes()[:4096])


def is_there(path: Path) -> bool:
    return path.exists()


def inode(path: Path) -> int:
    return path.stat().st_ino


def remove_all(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink()


DEEDS = [
    pytest.param(deed, end, id=f"{deed.__name__}-{end or 'database'}")
    for deed in (remove, replace, cut_off)
    for end in ("", "-wal", "-shm")
    if (deed, end) != (cut_off, "-shm")
]


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is checked in the background."""
    monkeypatch.setattr(checking, "WAIT", 3600)


@pytest.fixture
def checked_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check in the background never waits."""
    monkeypatch.setattr(checking, "WAIT", 0.0)
    monkeypatch.setattr(checking, "SHARE", 0)


async def damage(log: SqliteLog) -> str:
    """What is wrong with a log, once somebody has met it."""
    for _ in range(3000):
        if log.damaged is not None:
            return log.damaged
        await asyncio.sleep(0.01)
    raise AssertionError("nobody met it")


async def fill(log: SqliteLog, entries: int = 500) -> None:
    for number in range(0, entries, 100):
        await log.append([new_entry(f"{number}-{part}", f"{number}-{part}", raw=bytes(900)) for part in range(100)])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("deed", "end"), DEEDS)
async def test_what_the_files_on_the_disk_do_not_hold_is_not_acknowledged(
    path: Path, deed: Callable[[Path], None], end: str
) -> None:
    async with open_sqlite_log(path, checkpoint_pages=20) as log:
        await fill(log)
        await log.begin("sink", 0, "f")
        file = Path(f"{path}{end}")
        deed(file)
        with pytest.raises(StoreDamaged, match=file.name):
            await log.append([new_entry("lost")])
        assert file.name in (log.damaged or "")
        # From then on nothing is taken, without anybody being asked, and it says so.
        for call in (log.append([new_entry()]), log.settle(Settlement("sink", 1, 1))):
            with pytest.raises(StoreDamaged, match=file.name):
                await call
        problem = await log.writable()
        assert problem is not None
        assert file.name in problem
        assert str(path.parent) not in problem


@pytest.mark.usefixtures("checked_soon")
@pytest.mark.parametrize(("deed", "end"), DEEDS)
async def test_files_that_are_gone_are_noticed_although_nobody_posts(
    path: Path, deed: Callable[[Path], None], end: str
) -> None:
    async with open_sqlite_log(path) as log:
        await fill(log)
        deed(Path(f"{path}{end}"))
        await damage(log)


@pytest.mark.usefixtures("unchecked")
async def test_a_writer_that_is_started_again_makes_no_new_log(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        await fill(log)
        writer = log.writer_id
        assert writer is not None
        os.kill(writer, signal.SIGSTOP)
        remove_all(path)
        os.kill(writer, signal.SIGKILL)
        refusals = []
        while log.damaged is None:
            with pytest.raises(StoreUnavailable) as refused:
                await log.append([new_entry()])
            refusals.append(refused.value)
            await asyncio.sleep(0.02)
        assert refusals
    assert not is_there(path)


@pytest.mark.usefixtures("unchecked")
async def test_a_page_that_cannot_be_read_makes_the_log_damaged(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        await fill(log, 2000)
    pages = pages_of(path)["event"]
    async with open_sqlite_log(path) as log:
        overwrite(path, pages, random.Random(1))
        with pytest.raises(StoreDamaged, match=r"log\.sqlite: damaged"):
            await log.read(0)
        with pytest.raises(StoreDamaged):
            await log.append([new_entry()])


# The check


@pytest.mark.usefixtures("checked_soon")
async def test_a_log_that_was_checked_is_still_seen_as_open_by_a_writer_that_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it were not, the writer would remove the WAL that others have open, and nothing more could be stored."""
    checked = threading.Event()
    check = Checking._check_some

    def check_some(checking: Checking) -> tuple[int, float]:
        reached = check(checking)
        checked.set()
        return reached

    monkeypatch.setattr(Checking, "_check_some", check_some)
    async with open_sqlite_log(path) as log:
        await fill(log)
        await asyncio.to_thread(checked.wait)
        wal = inode(Path(f"{path}-wal"))
        first, line = log.writer_id, log._writing._line
        assert line is not None
        line.transport.close()
        while log.writer_id == first or await log.writable() is not None:
            assert log.damaged is None
            await asyncio.sleep(0.01)
        await log.append([new_entry()])
        assert inode(Path(f"{path}-wal")) == wal


async def test_a_log_in_order_is_checked_to_its_end(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        await fill(log, 2500)
        await log.append([quarantined_entry(raw=b""), quarantined_entry(), new_entry(weak="w"), new_entry()])
        await log.append([new_entry(weak="w"), new_entry("s", weak="w"), new_entry("t", weak="w")])
        positions: list[int] = []
        with open_reader(path) as reader:
            while not positions or positions[-1] < log.head:
                positions.append(check_stretch(reader, positions[-1] if positions else 0, log.head))
    assert positions == [1000, 2000, log.head]


TABLES = ["entry", "event", "raw", "identity", "former", "dictionary", "source", "note", "reader", "held"]
TABLES += ["quarantined", "revision_position"]


async def test_timestamps_that_no_sum_can_hold_are_no_damage(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        await log.append([quarantined_entry(received_at=1 << 62) for _ in range(3)])
        with open_reader(path) as reader:
            assert check_stretch(reader, 0, log.head) == 3


@pytest.mark.parametrize("table", TABLES)
async def test_the_check_finds_a_damaged_page_of_every_table(path: Path, table: str) -> None:
    # So many keys that most of them stand in the tree of identities.
    async with open_sqlite_log(path, dictionary=bytes(3000)) as log:
        for life in range(9):
            await log.append([new_entry(f"{life}-{number}", f"{life}-{number}") for number in range(2000)])
        await log.append([quarantined_entry(problem=f"not JSON: line {number}") for number in range(300)])
        head = log.head
    pages = pages_of(path)[table]
    chance = random.Random(table)
    for page in chance.sample(pages, min(3, len(pages))):
        copy = path.with_name("damaged.sqlite")
        shutil.copy(path, copy)
        overwrite(copy, [page], chance)
        with pytest.raises((*READ_ERRORS, StoreDamaged)), open_reader(copy) as reader:
            after = 0
            while after < head:
                after = check_stretch(reader, after, head)


@pytest.mark.usefixtures("checked_soon")
async def test_damage_is_found_in_the_background(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        await fill(log, 3000)
    pages = pages_of(path)["raw"]
    async with open_sqlite_log(path) as log:
        overwrite(path, pages[-3:], random.Random(2))
        assert "log.sqlite" in await damage(log)
        with pytest.raises(StoreDamaged):
            await log.append([new_entry()])


@pytest.mark.usefixtures("checked_soon")
async def test_a_wal_that_is_overwritten_is_damage(path: Path) -> None:
    wal = path.with_name("log.sqlite-wal")
    async with open_sqlite_log(path) as log:
        await fill(log)
        with wal.open("r+b") as file:
            file.write(bytes(wal.stat().st_size))
        assert "log.sqlite" in await damage(log)


@pytest.mark.usefixtures("checked_soon")
@pytest.mark.parametrize("application", [0, 7])
async def test_another_database_in_the_same_file_is_damage(path: Path, tmp_path: Path, application: int) -> None:
    with closing(sqlite3.connect(tmp_path / "theirs")) as theirs:
        theirs.executescript("CREATE TABLE theirs (a);")
        theirs.execute(f"PRAGMA application_id = {application}")
    async with open_sqlite_log(path) as log:
        await fill(log)
    async with open_sqlite_log(path) as log:
        overwrite_first(path, tmp_path / "theirs")
        assert "log.sqlite" in await damage(log)


def test_a_new_log_whose_first_page_no_checkpoint_has_written_is_in_order(tmp_path: Path) -> None:
    """A checkpoint may pass over the first page, when a reader holds an older one, and write others."""
    path = tmp_path / "log.sqlite"
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect_writing(path, dictionary=b"", busy_timeout=1)))
        beginnings = stack.enter_context(closing(Beginnings(path)))
        with path.open("r+b") as file:
            file.truncate(100 * 4096)
        assert path.read_bytes()[68:72] == bytes(4)
        assert beginnings.problem() is None
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert beginnings.problem() is None
        with path.open("r+b") as file:
            file.seek(68)
            file.write(bytes(4))
        assert "overwritten by something that is no log" in str(beginnings.problem())
