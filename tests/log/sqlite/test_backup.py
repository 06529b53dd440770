"""A copy of a log, made while it is written to."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapter.errors import StoreError
from adapter.log.protocol import Receipt, Removal
from adapter.log.sqlite.backup import back_up
from adapter.log.sqlite.log import open_sqlite_log
from tests.log.conformance import read_all
from tests.log.entries import new_entry, strong_key


@pytest.mark.parametrize("compact", [False, True])
async def test_a_copy_made_under_load_holds_all_that_was_acknowledged_before_it_began(
    tmp_path: Path, compact: bool
) -> None:
    log_file, copied = tmp_path / "log.sqlite", tmp_path / "backup" / "log.sqlite"
    copied.parent.mkdir()
    acknowledged: list[Receipt] = []
    enough, over = asyncio.Event(), asyncio.Event()

    async def post(writer: int) -> None:
        number = 0
        while not over.is_set():
            acknowledged.extend(await log.append([new_entry(f"{writer}-{number}-{part}") for part in range(20)]))
            number += 1
            if len(acknowledged) > 4000:
                enough.set()

    async with open_sqlite_log(log_file, dictionary=b'{"unified": }') as log:
        writers = [asyncio.create_task(post(writer)) for writer in range(4)]
        await enough.wait()
        before, at = list(acknowledged), log.head
        copy = await asyncio.to_thread(back_up, log_file, copied, compact=compact)
        went_on = log.head
        over.set()
        await asyncio.gather(*writers)
    assert at <= copy.head <= went_on
    assert [file.name for file in copied.parent.iterdir()] == ["log.sqlite"]
    async with open_sqlite_log(copied) as log:
        entries = await read_all(log)
        assert [entry.position for entry in entries] == list(range(1, copy.head + 1))
        assert {receipt.uid for receipt in before} <= {entry.uid for entry in entries}
        again = await log.append([new_entry("0-0-0"), new_entry("new")])
        assert again == [Receipt(strong_key("0-0-0"), None), Receipt(strong_key("new"), copy.head + 1)]


async def test_a_compact_copy_leaves_out_what_is_free(tmp_path: Path) -> None:
    file, rng = tmp_path / "log.sqlite", random.Random(1)
    async with open_sqlite_log(file) as log:
        for _ in range(10):
            await log.append([new_entry(raw=rng.randbytes(2000)) for _ in range(500)])
        after = 0
        while after < 4500:
            after = (await log.remove(Removal(after, 4500, (), 4500, log.head))).reached
        whole = await asyncio.to_thread(back_up, file, tmp_path / "whole.sqlite")
        compact = await asyncio.to_thread(back_up, file, tmp_path / "compact.sqlite", compact=True)
    assert (whole.head, whole.entries) == (compact.head, compact.entries) == (5000, 500)
    assert compact.size < whole.size / 2


async def test_a_copy_takes_no_other_files_place(tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path / "log.sqlite"):
        (tmp_path / "copy.sqlite").write_bytes(b"another backup")
        with pytest.raises(StoreError, match="is there already"):
            back_up(tmp_path / "log.sqlite", tmp_path / "copy.sqlite")
    assert (tmp_path / "copy.sqlite").read_bytes() == b"another backup"


async def test_what_was_removed_is_in_the_files_no_more(tmp_path: Path) -> None:
    file = tmp_path / "log.sqlite"
    async with open_sqlite_log(file) as log:
        types = ["access.LOGIN", "access.LOGOUT"]
        secrets = [f"secret-of-{number:05d}-{number * 7919:05d}" for number in range(400)]
        for number, secret in enumerate(secrets):
            # Too short to be compressed, each a run of its own.
            await log.append([new_entry(type=types[number % 2], raw=secret.encode(), native_type=secret)])
        groups = [(["access.LOGOUT"], 400)]
        after = 0
        while after < 400:
            after = (await log.remove(Removal(after, 400, groups, 0, log.head))).reached
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = file.read_bytes()
    assert all(secret.encode() in content for secret in secrets[::2])
    assert not any(secret.encode() in content for secret in secrets[1::2])
