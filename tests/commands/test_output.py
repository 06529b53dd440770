"""Foreign text on a real terminal, and in a pipe."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapter.commands.output import Output
from tests.opened import login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Moves the cursor, and turns the direction of writing.
EVIL = "a\x9b2Jb\u202ec"


def is_evil(shown: bytes) -> bool:
    return not {"\x9b", "\u202e"}.isdisjoint(shown.decode())


def arguments(command: Sequence[str | Path]) -> list[str]:
    return [sys.executable, "-m", "adapter", *map(str, command)]


async def on_terminal(*command: str | Path) -> bytes:
    """What a command shows on a terminal, standard error too."""
    return await asyncio.to_thread(_on_terminal, command)


def _on_terminal(command: Sequence[str | Path]) -> bytes:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "1000"}
    with subprocess.Popen(arguments(command), stdout=theirs, stderr=theirs, stdin=theirs, env=environment):
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            shown += piece
    os.close(ours)
    return shown.replace(b"\r\n", b"\n")


async def in_pipe(*command: str | Path) -> bytes:
    done = await asyncio.to_thread(subprocess.run, arguments(command), capture_output=True, check=True)
    return bytes(done.stdout)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def data(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The data folder of a service with an event and a quarantined one that hold such text."""
    folder = tmp_path_factory.mktemp("data")
    async with opened(folder) as service:
        await service.post([login(1, clientId=EVIL), {"type": EVIL, "realmId": EVIL, "time": 1}])
        yield folder


def values(lines: bytes) -> list[Any]:
    return [json.loads(line) for line in lines.splitlines() if line.startswith(b"{")]


@pytest.mark.parametrize(
    "command",
    [
        ("events", "list", "--json"),
        ("events", "export"),
        ("events", "quarantine", "--json", "--raw"),
        ("events", "count", "--by", "client", "--json"),
    ],
    ids=" ".join,
)
async def test_json_on_a_terminal_is_harmless_and_has_the_same_values(data: Path, command: tuple[str, ...]) -> None:
    shown, piped = await on_terminal(*command, "--data", data), await in_pipe(*command, "--data", data)
    assert not is_evil(shown)
    assert values(shown) == values(piped) != []
    assert is_evil(piped)


@pytest.mark.parametrize(
    "command",
    [
        ("events", "list"),
        ("events", "list", "--where", f"{EVIL}=1"),
        ("events", "quarantine", "--raw"),
        ("events", "count", "--by", "client"),
        ("events", "count", "--by", "client", "--from", "2023-11-14T00:00:00Z", "--to", "2023-11-16T00:00:00Z",
         "--bucket", "12h", "--tz", "+01:00"),
        ("searches", "save", "odd", "--query", f"q={EVIL}"),
        ("searches", "save", "odd", "--client", EVIL),
        ("searches", "list"),
        ("searches", "show", "odd"),
        ("events", "export", "--format", "csv"),
        ("events", "show", login(1)["id"], "--raw"),
        ("events", "show", EVIL),
    ],
    ids=lambda command: ascii(" ".join(command)),
)  # fmt: skip
async def test_nothing_else_on_a_terminal_moves_its_cursor(data: Path, command: tuple[str, ...]) -> None:
    shown = await on_terminal(*command, "--data", data)
    assert shown
    assert not is_evil(shown)


async def test_what_tables_make_of_raw_events_is_harmless_on_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(login(1, clientId=EVIL), ensure_ascii=False))
    for command in (("mapping", "apply", "keycloak"), ("mapping", "explain", "keycloak", "--json")):
        shown, piped = await on_terminal(*command, file), await in_pipe(*command, file)
        assert (is_evil(shown), is_evil(piped)) == (False, True)
        assert EVIL in json.dumps(values(shown)[0], ensure_ascii=False).replace("\\u009b", "\x9b")
    assert not is_evil(await on_terminal("mapping", "explain", "keycloak", file))
    (tmp_path / EVIL).write_text("types: [")
    assert not is_evil(await on_terminal("mapping", "check", str(tmp_path / EVIL) + ".yaml"))


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


async def test_pieces_that_end_within_a_character_or_a_line_break_are_shown_as_the_whole() -> None:
    text = f'"é{EVIL}"\r\n"日\xff"\n'.encode() + b"\xff\xfe\r\n"
    terminal, pieces = Terminal(), Terminal()
    Output(terminal).write(text)
    output = Output(pieces)
    for number in range(len(text)):
        output.write(text[number : number + 1])
    output.flush()
    assert pieces.getvalue() == terminal.getvalue() == '"éa\\u009b2Jb\\u202ec"\n"日ÿ"\n\\xff\\xfe\n'.encode()


async def test_a_file_gets_the_bytes_as_they_are() -> None:
    file = io.BytesIO()
    output = Output(file)
    output.write(b"\xff\x9b\r\n")
    output.flush()
    assert file.getvalue() == b"\xff\x9b\r\n"
