from __future__ import annotations

import asyncio
import csv
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks.file import File, Settings
from adapter.sinks.file import open_sink as open_file
from adapter.sinks.protocol import DELIVERED, Later, Sink
from tests.sinks.conformance import SinkConformance
from tests.sinks.entries import make_entries, make_entry


class Folder:
    """A file in a folder that can go away."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "out" / "events.ndjson"
        self.path.parent.mkdir()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[File]:
        async with open_file(Settings(name="out", path=self.path), OutgoingSettings()) as sink:
            yield sink

    def received(self) -> list[bytes]:
        return self.path.read_bytes().splitlines() if self.path.exists() else []

    async def fail(self) -> None:
        self.path.parent.rename(self.path.parent.with_name("gone"))

    async def fix(self) -> None:
        self.path.parent.with_name("gone").rename(self.path.parent)


@pytest.fixture
def receiver(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class TestFileConforms(SinkConformance):
    pass


async def send(sink: Sink, *positions: int) -> list[object]:
    return list(await sink.send([make_entry(position) for position in positions]))


async def test_a_new_file_is_for_its_owner_alone(receiver: Folder) -> None:
    async with receiver.open() as sink:
        await send(sink, 1)
    assert receiver.path.stat().st_mode & 0o777 == 0o600


async def test_a_torn_last_line_is_cut_off_and_no_other(receiver: Folder) -> None:
    whole = b'{"n":1}\n{"n":2}\n'
    receiver.path.write_bytes(whole + b'{"n":3')
    async with receiver.open() as sink:
        await send(sink, 4)
    event = make_entry(4).event
    assert event is not None
    assert receiver.path.read_bytes() == whole + event + b"\n"


async def test_a_torn_line_longer_than_one_read_is_cut_off(receiver: Folder) -> None:
    receiver.path.write_bytes(b"{}\n" + b"x" * 200_000)
    async with receiver.open() as sink:
        await send(sink, 1)
    assert receiver.received() == [b"{}", make_entry(1).event]


async def test_a_file_of_nothing_but_a_torn_line_begins_anew(receiver: Folder) -> None:
    receiver.path.write_bytes(b'{"n"')
    async with receiver.open() as sink:
        await send(sink, 1)
    assert receiver.received() == [make_entry(1).event]


@pytest.mark.parametrize("length", [65535, 65536, 65537, 131072])
async def test_whole_lines_of_any_length_stay(receiver: Folder, length: int) -> None:
    line = b"x" * (length - 1) + b"\n"
    receiver.path.write_bytes(line)
    async with receiver.open() as sink:
        await send(sink, 1)
    assert receiver.path.read_bytes().startswith(line)
    assert len(receiver.received()) == 2


async def test_a_renamed_file_is_left_alone_and_a_new_one_made(receiver: Folder) -> None:
    old = receiver.path.with_suffix(".1")
    async with receiver.open() as sink:
        await send(sink, 1)
        receiver.path.rename(old)
        await send(sink, 2)
    assert old.read_bytes().splitlines() == [make_entry(1).event]
    assert receiver.received() == [make_entry(2).event]


async def test_two_sinks_never_write_to_one_file(receiver: Folder) -> None:
    async with receiver.open() as first, receiver.open() as second:
        assert await send(first, 1) == [DELIVERED]
        (answer,) = await send(second, 2)
    assert isinstance(answer, Later)
    assert "another process, or another sink, writes to this file" in answer.reason
    assert receiver.received() == [make_entry(1).event]


async def test_a_pipe_is_no_file(receiver: Folder) -> None:
    os.mkfifo(receiver.path)
    async with receiver.open() as sink:
        (answer,) = await send(sink, 1)
    assert isinstance(answer, Later)
    assert "is not a regular file" in answer.reason


async def test_a_full_disk_leaves_no_part_of_a_batch(receiver: Folder) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with receiver.open() as sink:
        await send(sink, 1)
        size = receiver.path.stat().st_size
        # A write beyond the limit fails as one on a full disk does, after a part of it was written.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, hard))
        try:
            (answer, *_) = await sink.send(make_entries(10, first=2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert isinstance(answer, Later)
        assert answer.receiver_down
        assert receiver.received() == [make_entry(1).event]
        assert list(await sink.send(make_entries(10, first=2))) == [DELIVERED] * 10
    assert receiver.received() == [entry.event for entry in make_entries(11)]


# Formats


@asynccontextmanager
async def csv_file(path: Path) -> AsyncIterator[File]:
    settings = Settings.model_validate({"name": "out", "path": path, "format": "csv"})
    async with open_file(settings, OutgoingSettings()) as sink:
        yield sink


def rows(path: Path) -> list[str]:
    return [row["time"] for row in csv.DictReader(path.read_text().splitlines())]


async def test_a_format_with_a_header_has_it_once_in_each_file(receiver: Folder) -> None:
    old = receiver.path.with_suffix(".1")
    async with csv_file(receiver.path) as sink:
        await send(sink, 1)
        await send(sink, 2)
        receiver.path.rename(old)
        await send(sink, 3)
    async with csv_file(receiver.path) as sink:
        await send(sink, 4)
    assert rows(old) == ["1700000000001", "1700000000002"]
    assert rows(receiver.path) == ["1700000000003", "1700000000004"]


async def test_a_torn_header_is_written_anew(receiver: Folder) -> None:
    receiver.path.write_bytes(b'"uid","ti')
    async with csv_file(receiver.path) as sink:
        await send(sink, 1)
    assert rows(receiver.path) == ["1700000000001"]


async def test_a_file_of_another_format_is_left_as_it_is(receiver: Folder) -> None:
    async with receiver.open() as sink:
        await send(sink, 1)
    before = receiver.path.read_bytes()
    async with csv_file(receiver.path) as sink:
        (answer,) = await send(sink, 2)
    assert isinstance(answer, Later)
    assert "begins otherwise than files of this format" in answer.reason
    assert receiver.path.read_bytes() == before


@pytest.mark.crash
async def test_what_was_answered_for_is_there_after_a_kill(receiver: Folder) -> None:
    child = """
import asyncio, sys
from pathlib import Path
from adapter.sinks.file import Settings, open_sink
from adapter.outgoing.settings import OutgoingSettings
from tests.sinks.entries import make_entries

async def main():
    async with open_sink(Settings(name="out", path=Path(sys.argv[1])), OutgoingSettings()) as sink:
        first = 1
        while True:
            await sink.send(make_entries(50, first))
            first += 50
            print(first - 1, flush=True)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", child, str(receiver.path), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    answered = [int(await process.stdout.readline()) for _ in range(20)][-1]
    process.kill()
    answered = max([answered, *map(int, (await process.stdout.read()).split())])
    await process.wait()
    async with receiver.open() as sink:
        await send(sink, 1)
    events = receiver.received()[:-1]
    assert events[:answered] == [entry.event for entry in make_entries(answered)]
