"""The way to the process that writes: what it does when that process is stopped, killed, or out of memory."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapter.errors import StoreDamaged, StoreError, StoreUnanswered, StoreUnavailable
from adapter.log.protocol import NewEntry, Settlement, Stored
from adapter.log.sqlite import log as sqlite_log
from adapter.log.sqlite import writing
from adapter.log.sqlite.log import SqliteLog, open_sqlite_log
from adapter.log.sqlite.messages import Options, Packer
from adapter.subprocesses import environment
from tests.log.conformance import read_all
from tests.log.entries import new_entry, strong_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@contextmanager
def stopped(log: SqliteLog) -> Iterator[None]:
    """The writer does nothing, as where the disk hangs."""
    writer = log.writer_id
    assert writer is not None
    os.kill(writer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(writer, signal.SIGCONT)


def leave_room(process: int, size: int) -> None:
    """Let a process take so many bytes of memory more than it has."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + size
    resource.prlimit(process, resource.RLIMIT_AS, (room, room))


async def append_until_taken(log: SqliteLog, entries: list[NewEntry]) -> list[StoreUnavailable]:
    """Append as a sender does, who sends again what was not taken; the refusals.

    Raises:
        StoreDamaged: it never will be.
    """
    refusals: list[StoreUnavailable] = []
    while True:
        try:
            await log.append(entries)
        except StoreDamaged:
            raise
        except StoreUnavailable as error:
            refusals.append(error)
            await asyncio.sleep(0.02)
        else:
            return refusals


# Time


async def test_a_writer_that_is_stopped_is_waited_for_and_then_not_waited_for(path: Path) -> None:
    async with open_sqlite_log(path, commit_timeout=0.5) as log:
        await log.begin("sink", 0, "f")
        await log.append([new_entry("before")])
        with stopped(log):
            calls = [log.append([new_entry("during")]), log.settle(Settlement("sink", 1, 1, matched=1, delivered=1))]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(answer) for answer in answers] == [StoreUnanswered, StoreUnanswered]
            assert "did not answer within 0.5 s" in str(answers[0])
            # From now on it is said at once, and nothing of it is stored.
            with pytest.raises(StoreUnavailable, match="has not answered for") as refused:
                await log.append([new_entry("refused")])
            assert type(refused.value) is StoreUnavailable
            assert "has not answered" in (await log.writable() or "")
            assert len(await log.read(0)) == 1
        # It goes on by itself; what was unknown is settled by sending it again.
        await append_until_taken(log, [new_entry("during")])
        await log.settle(Settlement("sink", 1, 1, matched=1, delivered=1))
        assert [entry.uid for entry in await read_all(log)] == [strong_key("before"), strong_key("during")]
        progress = await log.progress("sink")
        assert progress is not None
        assert (progress.matched, progress.delivered) == (1, 1)
        assert await log.writable() is None


async def test_whether_it_is_writable_is_answered_although_the_writer_is_stopped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_log, "TRIAL_TIMEOUT", 0.2)
    async with open_sqlite_log(path) as log:
        with stopped(log):
            assert "the disk, or the process that writes the log" in (await log.writable() or "")
            assert "the disk, or the process that writes the log" in (await log.writable() or "")
        # The trial that was made is answered now, and says so.
        await log.append([new_entry()])
        assert await log.writable() is None


async def test_closing_does_not_wait_for_a_writer_that_does_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "END_TIMEOUT", 0.1)
    async with open_sqlite_log(path, commit_timeout=0.3) as log:
        await log.append([new_entry("before")])
        assert log.writer_id is not None
        os.kill(log.writer_id, signal.SIGSTOP)
        asking = asyncio.create_task(log.append([new_entry("during")]))
        await asyncio.sleep(0)
    with pytest.raises(StoreUnanswered):
        await asking
    async with open_sqlite_log(path) as log:
        assert log.head in (1, 2)


# Bytes


def large_request(name: str, entries: int = 300, size: int = 20_000) -> list[NewEntry]:
    """More than is handed over at once, of texts that are all different."""
    chance = random.Random(name)
    return [
        new_entry(
            f"{name}-{number}",
            raw=b'{"raw":"%s"}' % chance.randbytes(size // 2).hex().encode(),
            event=None if number % 7 == 3 else b'{"event":"%s"}' % chance.randbytes(size // 2).hex().encode(),
            type=None if number % 7 == 3 else "access.LOGIN",
            problem="unreadable" if number % 7 == 3 else None,
            media="text/plain" if number % 11 == 5 else "application/json",
            envelope=b'[{"number":%d}]' % number if number % 13 < 4 else b"",
        )
        for number in range(entries)
    ]


async def holds(log: SqliteLog, request: list[NewEntry], first: int) -> None:
    """The request stands in the log as it was appended, from ``first`` on."""
    stored: list[Stored] = []
    while len(stored) < len(request):
        stored += await log.read_stored(first - 1 + len(stored), limit=len(request) - len(stored))
    assert [
        (one.entry.uid, one.entry.event, one.raw, one.media, one.envelope, one.entry.problem) for one in stored
    ] == [(entry.uid, entry.event, entry.raw, entry.media, entry.envelope, entry.problem) for entry in request]


async def test_a_large_request_is_stored_as_it_is_and_others_go_on_meanwhile(path: Path) -> None:
    async with open_sqlite_log(path, dictionary=b'{"raw":"","event":""}') as log:
        request = large_request("large")
        large = asyncio.create_task(log.append(request))
        while not large.done():
            await log.append([new_entry()])
        receipts = await large
        first = receipts[0].position or 0
        assert [receipt.position for receipt in receipts] == list(range(first, first + len(request)))
        await holds(log, request, first)


async def test_of_a_large_request_only_what_is_new_is_stored(path: Path) -> None:
    async with open_sqlite_log(path, dictionary=b'{"raw":"","event":""}') as log:
        request = large_request("large")
        known = [entry for number, entry in enumerate(request) if number % 5 == 0 or 100 < number < 200]
        await log.append(known)
        new = [entry for entry in request if entry not in known]
        receipts = await log.append(request)
        positions = [receipt.position for receipt in receipts]
        assert [position for position in positions if position] == list(
            range(len(known) + 1, len(known) + len(new) + 1)
        )
        assert [entry for entry, position in zip(request, positions, strict=True) if position] == new
        await holds(log, new, len(known) + 1)
        assert {receipt.position for receipt in await log.append(request)} == {None}


async def test_a_large_request_that_cannot_be_handed_over_leaves_nothing_and_hurts_nobody(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        broken = large_request("broken")
        broken[-1] = broken[-1]._replace(native_type="\ud800")
        fine = large_request("fine")
        answers = await asyncio.gather(
            log.append(broken), log.append(fine), log.append([new_entry("small")]), return_exceptions=True
        )
        assert isinstance(answers[0], StoreError)
        assert log.head == len(fine) + 1
        (position,) = {receipt.position for receipt in await log.append([new_entry("small")])}
        assert position is None
        assert {receipt.position for receipt in await log.append(fine)} == {None}


async def test_small_requests_do_not_wait_for_large_ones_that_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "HEAVY_BUDGET", 8 * 1024 * 1024)
    async with open_sqlite_log(path) as log:
        requests = [large_request(str(number)) for number in range(6)]
        large = [asyncio.create_task(log.append(request)) for request in requests]
        await asyncio.sleep(0)
        await log.append([new_entry("small")])
        assert sum(task.done() for task in large) < 2
        await asyncio.gather(*large)
        uids = [entry.uid for entry in await read_all(log) if entry.uid != strong_key("small")]
        assert uids == [entry.uid for request in requests for entry in request]


async def test_a_cancelled_large_request_is_stored_whole_or_not(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        task = asyncio.create_task(log.append(large_request("large")))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await log.append(large_request("next"))
        assert log.head in (300, 600)


# A line that went wrong


async def test_after_an_answer_that_cannot_be_read_it_goes_on_by_itself(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        await log.append([new_entry("before")])
        asking = asyncio.create_task(log.append([new_entry("asked")]))
        await asyncio.sleep(0)
        line = log._writing._line
        assert line is not None
        line.data_received(b"\xff" * 64)
        with pytest.raises(StoreUnanswered):
            await asking
        await append_until_taken(log, [new_entry("asked")])
        assert [entry.uid for entry in await read_all(log)] == [strong_key("before"), strong_key("asked")]


async def test_a_writer_out_of_memory_is_started_again(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with open_sqlite_log(path) as log:
        await log.append([new_entry("before")])
        first = log.writer_id
        assert first is not None
        leave_room(first, 3 * 1024 * 1024)
        request = large_request("large", entries=1000)
        refusals = await append_until_taken(log, request)
        assert refusals
        assert log.writer_id != first
        assert len(await read_all(log)) == 1001
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [(line["event"], line["logger"]) for line in lines] == [("process_failed", "adapter.log.sqlite.writer")]
    assert lines[0]["problem"].startswith("MemoryError")


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x10"])
def test_a_writer_that_reads_no_message_ends_with_one_line(path: Path, length: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "adapter.log.sqlite.writer"],
            stdin=theirs.fileno(),
            stderr=subprocess.PIPE,
            env=environment(),
        )
        theirs.close()
        frame = bytearray()
        Packer().add(Options(str(path), b"", 1, 1000), frame)
        ours.sendall(frame + length + b"\xc1" * 64)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    (line,) = told.splitlines()
    assert json.loads(line)["event"] == "process_failed"
    assert json.loads(line)["problem"].startswith("BrokenLine")
