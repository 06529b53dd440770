"""The process that fills the search, when something is wrong: its service's log stays one of JSON lines."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapter.log.opening import file_url
from adapter.log.sqlite.log import open_sqlite_log
from adapter.subprocesses import command, environment
from tests.delivery.parts import append


@pytest.fixture
async def log_file(tmp_path: Path) -> AsyncIterator[Path]:
    file = tmp_path / "log.sqlite"
    async with open_sqlite_log(file, dictionary=b"") as log:
        await append(log, 3)
        yield file


def filler(search: Path, log: Path) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    arguments = command("adapter.search.filler")
    process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment())
    assert process.stdin is not None
    process.stdin.write(f"{file_url(search)}\n{file_url(log)}\npeople\n".encode())
    process.stdin.flush()
    return process


def complaint(process: subprocess.Popen[bytes], said: bytes = b"") -> dict[str, Any]:
    """The one line that it writes before it ends."""
    with process:
        _, told = process.communicate(said, timeout=60)
    assert process.returncode == 1
    (line,) = told.decode().splitlines()
    read: dict[str, Any] = json.loads(line)
    assert read["timestamp"].endswith("Z")
    return read


def test_a_log_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    told = complaint(filler(tmp_path / "search.sqlite", tmp_path / "log.sqlite"))
    assert (told["event"], told["logger"], told["level"]) == ("process_failed", "adapter.search.filler", "error")
    assert "log.sqlite" in told["problem"]
    assert "filler.py:" in told["at"]


def test_an_error_of_ours_is_told_in_one_line(tmp_path: Path, log_file: Path) -> None:
    told = complaint(filler(tmp_path / "search.sqlite", log_file), b"not \x9b a number\n")
    assert told["problem"].startswith("ValueError: invalid literal")


def test_a_database_that_fails_is_told_in_one_line(tmp_path: Path, log_file: Path) -> None:
    process = filler(tmp_path / "search.sqlite", log_file)
    assert process.stdout is not None
    assert process.stdout.readline() == b"0\n"
    with closing(sqlite3.connect(tmp_path / "search.sqlite")) as other:
        other.execute("DROP TABLE origin")
    assert complaint(process, b"3\n")["problem"] == "OperationalError: no such table: origin"


def test_without_its_service_it_ends_without_a_word(tmp_path: Path, log_file: Path) -> None:
    process = filler(tmp_path / "search.sqlite", log_file)
    with process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        # Nobody hears it any more, when it still has something to say.
        os.kill(process.pid, signal.SIGSTOP)
        process.stdin.write(b"3\n")
        process.stdin.close()
        process.stdout.close()
        os.kill(process.pid, signal.SIGCONT)
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_it_imports_no_more_than_it_uses() -> None:
    code = (
        "import sys, adapter.search.filler, adapter.search.sqlite.store, adapter.log.sqlite.events;"
        "print(*{'pydantic', 'structlog', 'asyncio', 'asyncpg', 'adapter.filter'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert told.stdout.strip() == ""
