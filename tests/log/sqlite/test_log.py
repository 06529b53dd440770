"""The embedded log: what every log does, and what only a file can suffer."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest

from adapter.errors import StoreError, StoreMismatch, StoreUnavailable
from adapter.log.protocol import Attempt, Held, ReaderState, Settlement
from adapter.log.sqlite.log import SqliteLog, find_position, open_reader, open_sqlite_log, read_entries
from tests.log.conformance import LogConformance, ReplacingConformance, RetentionConformance, read_all
from tests.log.entries import new_entry, quarantined_entry, strong_key


class SqlitePlace:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.sqlite"

    def open(self, *, claim_seconds: float = 60.0, **settings: float) -> AbstractAsyncContextManager[SqliteLog]:
        """Its claims last until it is closed."""
        return open_sqlite_log(self.path, dictionary=b'{"unified": }', **settings)  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


class TestSqliteLog(LogConformance, RetentionConformance, ReplacingConformance):
    pass


# Opening


async def test_a_log_of_a_newer_version_is_refused(place: SqlitePlace) -> None:
    async with place.open():
        pass
    with alone(place.path) as connection:
        connection.execute("PRAGMA user_version = 6")
    with pytest.raises(StoreMismatch, match=r"log\.sqlite: version 6 of the log, .* up to 5; run the newer program"):
        async with place.open():
            pass


async def test_a_log_of_version_4_is_taken_to_the_present_one(place: SqlitePlace) -> None:
    async with place.open() as log:
        await log.append([new_entry("a"), new_entry("b")])
        await log.begin("sink", 1, "f")
        await log.settle(Settlement("sink", 1, 2, matched=1, hold=[Held(2, 1, 5, "503")]))
    with alone(place.path) as connection:
        for table in ("attempt", "blocked"):
            connection.execute(f"DROP TABLE {table}")
        for column in ("since", "behind", "carried"):
            connection.execute(f"ALTER TABLE reader DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 4")
    async with place.open() as log:
        # Nobody noted where the epoch began.
        assert await log.progress("sink") == ReaderState(2, 1, "f", matched=1, held=1, waiting=2, since=None)
        tried = Attempt(5, 2, 2, 1, 2, "held", 503, None, None, 2, 2, "", "no")
        await log.settle(Settlement("sink", 1, 2, attempts=[tried]))
        assert await log.attempts("sink") == [tried]
        # The next one is.
        assert (await log.begin("sink", 0, "g")).since == 2


async def test_a_database_of_another_program_is_refused_and_left_alone(place: SqlitePlace) -> None:
    with alone(place.path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreMismatch, match="a database of another program"):
        async with place.open():
            pass
    with alone(place.path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


async def test_a_file_that_is_no_database_is_refused(place: SqlitePlace) -> None:
    place.path.write_bytes(b"what is this?" * 1000)
    with pytest.raises(StoreMismatch, match="not a log"):
        async with place.open():
            pass


async def test_a_damaged_log_is_said(place: SqlitePlace) -> None:
    async with place.open():
        pass
    with alone(place.path) as connection:
        connection.execute("DROP TABLE former")
    with pytest.raises(StoreError, match=r"log\.sqlite: damaged: no such table: former"):
        async with place.open():
            pass


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nowhere/log\.sqlite"):
        async with open_sqlite_log(tmp_path / "nowhere" / "log.sqlite"):
            pass


async def test_a_log_keeps_the_dictionary_it_was_made_with(place: SqlitePlace) -> None:
    async with place.open() as log:
        await log.append([new_entry()])
        before = await log.read(0)
    async with open_sqlite_log(place.path, dictionary=b"another") as log:
        await log.append([new_entry()])
        assert (await log.read(0))[:1] == before
        assert len(await log.read(0)) == 2


async def test_a_closed_log_refuses(place: SqlitePlace) -> None:
    async with place.open() as log:
        pass
    with pytest.raises(StoreUnavailable, match="closed"):
        await log.append([new_entry()])


async def test_closing_waits_for_what_was_asked(place: SqlitePlace) -> None:
    async with place.open() as log:
        tasks = [asyncio.create_task(log.append([new_entry()])) for _ in range(20)]
        await asyncio.sleep(0)
    positions = [receipt.position for task in tasks for receipt in await task]
    assert sorted(position or 0 for position in positions) == list(range(1, 21))


# Another process that reads


async def test_others_read_what_is_committed(place: SqlitePlace) -> None:
    async with place.open() as log:
        first = new_entry("a")
        await log.append([first, quarantined_entry()])
        with open_reader(place.path) as reader:
            assert read_entries(reader, 0) == await log.read(0)
            await log.append([new_entry("b")])
            assert [entry.position for entry in read_entries(reader, 1, until=3)] == [2, 3]
            assert find_position(reader, strong_key("b")) == 3
            assert find_position(reader, uuid.uuid4().bytes) is None
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM entry")


# Trouble


@contextmanager
def alone(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


async def test_a_locked_database_refuses_and_recovers(place: SqlitePlace) -> None:
    async with place.open(busy_timeout=0.05) as log:
        await log.begin("sink", 0, "f")
        await log.append([new_entry("before")])
        with alone(place.path) as other:
            other.execute("BEGIN IMMEDIATE")
            calls = [log.append([new_entry(f"{number}")]) for number in range(5)]
            answers = await asyncio.gather(*calls, log.settle(Settlement("sink", 1, 1)), return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreUnavailable}
            assert "locked" in str(answers[0])
            assert "locked" in (await log.writable() or "")
            assert [entry.position for entry in await log.read(0)] == [1]
            other.execute("ROLLBACK")
        assert await log.writable() is None
        assert [receipt.position for receipt in await log.append([new_entry("0"), new_entry("1")])] == [2, 3]


@contextmanager
def file_size_limit(log: SqliteLog, size: int) -> Iterator[None]:
    """No file of the writer may grow beyond ``size`` bytes; as on a full disk, writing on is an error."""
    assert log.writer_id is not None
    _, hard = resource.prlimit(log.writer_id, resource.RLIMIT_FSIZE)
    resource.prlimit(log.writer_id, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(log.writer_id, resource.RLIMIT_FSIZE, (hard, hard))


async def test_a_file_that_cannot_grow_refuses_and_recovers(place: SqlitePlace) -> None:
    async with place.open() as log:
        await log.append([new_entry("before")])
        with file_size_limit(log, 500_000):
            taken, refused = await append_until_refused(log)
        await stands_as_acknowledged(place, log, taken, refused)


# The process that writes


async def test_a_writer_that_is_killed_is_started_again(place: SqlitePlace) -> None:
    async with place.open() as log:
        await log.append([new_entry("before")])
        assert log.writer_id is not None
        os.kill(log.writer_id, signal.SIGKILL)
        refusals = 0
        while True:
            try:
                receipts = await log.append([new_entry("before"), new_entry("after")])
            except StoreUnavailable as error:
                assert "writes the log" in str(error)
                refusals += 1
                await asyncio.sleep(0.02)
            else:
                break
        assert refusals
        assert [entry.uid for entry in await read_all(log)] == [strong_key("before"), strong_key("after")]
        assert receipts[0].position is None


async def test_nothing_of_the_log_is_told_in_the_list_of_processes(place: SqlitePlace) -> None:
    async with place.open() as log:
        arguments = await asyncio.to_thread(Path(f"/proc/{log.writer_id}/cmdline").read_bytes)
        assert arguments.split(b"\0")[1:] == [b"-m", b"adapter.log.sqlite.writer", b""]


async def test_two_writers_of_one_log_are_refused(place: SqlitePlace) -> None:
    async with place.open() as log:
        with pytest.raises(StoreUnavailable, match=r"log\.sqlite: another process writes this log"):
            async with place.open(busy_timeout=0.05):
                pass
        await log.append([new_entry()])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("may not mount a disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    place = SqlitePlace(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_200_000))
    async with place.open() as log:
        await log.append([new_entry("before")])
        taken, refused = await append_until_refused(log)
        assert "full" in str(refused)
        ballast.unlink()
        await stands_as_acknowledged(place, log, taken, refused)


async def append_until_refused(log: SqliteLog) -> tuple[list[str], StoreUnavailable]:
    """Names of the events that were acknowledged, and the first refusal."""
    taken: list[str] = []
    for number in range(1000):
        names = [f"{number}-{part}" for part in range(10)]
        chance = random.Random(number)
        try:
            await log.append([new_entry(name, weak=name, raw=chance.randbytes(2000)) for name in names])
        except StoreUnavailable as error:
            # Refused again, and still nothing half done.
            with pytest.raises(StoreUnavailable):
                await log.append([new_entry("large", raw=chance.randbytes(2_000_000))])
            return taken, error
        taken += names
    raise AssertionError("never refused")


async def stands_as_acknowledged(place: SqlitePlace, log: SqliteLog, taken: list[str], refused: Exception) -> None:
    """What was acknowledged is there and nothing else; the log goes on where it stood, now and when opened again."""
    assert isinstance(refused, StoreUnavailable)
    assert taken
    expected = [strong_key(name) for name in ["before", *taken]]
    assert [entry.uid for entry in await read_all(log)] == expected
    assert await log.writable() is None
    (receipt,) = await log.append([new_entry("after")])
    assert receipt.position == len(expected) + 1
    assert [receipt.position for receipt in await log.append([new_entry(name) for name in taken])] == [None] * len(
        taken
    )
    await log.append([new_entry("large")])
    # Every reference of the file stands.
    with alone(place.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def size_of_wal(place: SqlitePlace) -> int:
    return Path(f"{place.path}-wal").stat().st_size


async def test_the_wal_does_not_grow_without_bound(place: SqlitePlace) -> None:
    async with place.open(checkpoint_pages=50) as log:
        for _ in range(60):
            await log.append([new_entry() for _ in range(50)])
            await log.read(0, limit=3)
        assert size_of_wal(place) < 4 * 50 * 4096
        assert len(await read_all(log)) == 3000


APPENDER = """
import asyncio, sys
from pathlib import Path
from adapter.log.sqlite.log import open_sqlite_log
from tests.log.entries import new_entry

async def main(path, life):
    async with open_sqlite_log(Path(path)) as log:
        async def lane(lane):
            for number in range(100_000):
                name = f"{life}-{lane}-{number}"
                receipts = await log.append([new_entry(f"{name}-{part}", f"{name}-{part}") for part in range(3)])
                assert all(receipt.position for receipt in receipts)
                print(name, flush=True)
        await asyncio.gather(*map(lane, range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


def append_in_processes_that_are_killed(path: Path) -> list[str]:
    """The names of the requests that they acknowledged."""
    chance = random.Random(11)
    acknowledged: list[str] = []
    for life in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path), str(life)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        assert process.stdout is not None
        enough = chance.randrange(20, 200)
        for number, line in enumerate(process.stdout):
            acknowledged.append(line.strip())
            if number == enough:
                process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    return acknowledged


@pytest.mark.crash
async def test_a_killed_process_leaves_what_was_acknowledged_once_and_requests_whole(place: SqlitePlace) -> None:
    acknowledged = append_in_processes_that_are_killed(place.path)
    async with place.open() as log:
        entries = await read_all(log)
        assert [entry.position for entry in entries] == list(range(1, log.head + 1))
        uids = Counter(entry.uid for entry in entries)
        assert set(uids.values()) == {1}
        assert len(acknowledged) > 80
        names = [f"{name}-{part}" for name in acknowledged for part in range(3)]
        assert [name for name in names if strong_key(name) not in uids] == []
        # A request is there with all its entries or with none, acknowledged or not.
        assert log.head % 3 == 0
        answers = await log.append([new_entry(name, name) for name in names])
        assert [answer for answer in answers if answer.position is not None] == []
