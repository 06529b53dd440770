"""A damaged log is recovered on the command line, and the new folder is one to serve from."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapter.__main__ import make_app
from tests.log.sqlite.damaging import overwrite, pages_of
from tests.opened import login, opened


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(make_app("log"), ["log", "recover", *map(str, arguments)])
    return result.exit_code, result.output


async def post(folder: Path, numbers: range) -> dict[str, Any]:
    async with opened(folder) as service:
        return await service.post([login(number) for number in numbers])


def test_a_damaged_folder_becomes_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    asyncio.run(post(old, range(1000)))
    pages = pages_of(old / "log.sqlite")
    overwrite(old / "log.sqlite", [1, pages["event"][3]], random.Random(1))
    code, told = run("--from", old, "--to", new)
    assert code == 0
    assert f"recovered into {new}:" in told
    assert "of 1000 entries are whole" in told
    assert "quarantined; to make it again of the native bytes" in told
    # The same tokens, the same events; and what was lost of them is made again.
    assert json.loads((new / "tokens.json").read_text()) == json.loads((old / "tokens.json").read_text())
    assert (new / "log.sqlite").stat().st_mode & 0o77 == 0
    receipts = asyncio.run(post(new, range(1000)))
    # What was lost is quarantined, and an event again when it is sent again.
    assert 0 < receipts["accepted"] < 500
    assert receipts["duplicates"] == 1000 - receipts["accepted"]
    assert asyncio.run(post(new, range(1000)))["duplicates"] == 1000
    result = CliRunner().invoke(
        make_app("events"), ["events", "renormalize", "--type", "quarantined", "--data", str(new)]
    )
    assert result.exit_code == 0, result.output
    code, told = run("--from", new, "--to", tmp_path / "again")
    assert "1000 of" in told or "entries are whole" in told


def test_a_folder_that_is_served_from_is_refused(tmp_path: Path) -> None:
    async def trying() -> tuple[int, str]:
        async with opened(tmp_path / "old"):
            return await asyncio.to_thread(run, "--from", tmp_path / "old", "--to", tmp_path / "new")

    code, told = asyncio.run(trying())
    assert code == 1
    assert "a service runs on it; stop it first" in told.replace("\n", " ")


@pytest.mark.parametrize("what", ["nothing", "another log"])
def test_what_cannot_be_done_is_told(tmp_path: Path, what: str) -> None:
    (tmp_path / "old").mkdir()
    if what == "another log":
        (tmp_path / "old" / "log.sqlite").write_bytes(b"x" * 5000)
    code, told = run("--from", tmp_path / "old", "--to", tmp_path / "new")
    assert code == 1
    assert ("No such file" if what == "nothing" else "no entry of a log") in told.replace("\n", " ")
