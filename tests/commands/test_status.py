"""How it stands, on one screen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from adapter.commands.status import show
from tests.e2e.process import serving, start_command
from tests.opened import login

NOW = 1_700_000_000_000
TALLY = {"accepted": 1234, "duplicates": 5, "quarantined": 6, "ignored": 7, "refused": 31}
HOSTILE = "x\x1b[2J\u202ey\n"


def source(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "state": "ok", "lastAt": NOW - 90_000, "lastEventTime": NOW - 91_000, "silentSince": None,
        "tenMinutes": 12, "hour": TALLY, "total": TALLY, "refused": None, "pulls": [], **more,
    }  # fmt: skip


def sink(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": "webhook", "state": "running", "since": NOW, "lag": 5, "behind": 3.2, "held": 0,
        "dead": 0, "nextTry": None, "answer": "delivered", **more,
    }  # fmt: skip


def status(**more: Any) -> dict[str, Any]:
    return {"running": True, "now": NOW, "problem": None, "head": 1, "sources": [], "sinks": [], "todo": [], **more}


def shown(found: dict[str, Any], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    show(found, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_screen_and_nothing_in_it_moves_the_cursor(width: int) -> None:
    pull = {"lag": 12.5, "problem": HOSTILE}
    found = status(
        sources=[source("keycloak-of-the-whole-company", state="refused", pulls=[pull]), source("kc", state="silent")],
        sinks=[sink("hook", state="down", answer=HOSTILE * 50, held=3, nextTry=NOW + 240_000)],
        todo=[{"about": "kc", "problem": f"31 requests refused in 10 min: {HOSTILE}", "advice": "compare " * 30}],
    )
    lines = shown(found, width)
    assert all(len(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)
    text = "\n".join(lines)
    for wanted in ("refused", "silent", "90 s ago", "down", "12 s", "To do:", "compare compare", "kc: 31 requests"):
        assert wanted in text


def test_a_source_that_never_sent_anything_takes_no_line_of_its_own() -> None:
    sources = [source(f"provider{number}", state="new", lastAt=None) for number in range(8)]
    lines = shown(status(sources=sources), 80)
    assert lines == [
        "The service takes events; its log has 1 entry.",
        "nothing ever came from: provider0, provider1, provider2, provider3, provider4 and 3 more",
        "",
        "Nothing to do.",
    ]


async def asked(folder: Path, *words: str) -> tuple[int | None, str]:
    process = await start_command("status", "--data", str(folder), *words)
    written, errors = await process.communicate()
    return process.returncode, (written + errors).decode()


async def test_the_exit_code_says_whether_there_is_something_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    code, text = await asked(folder)
    assert (code, "idp-adapter serve" in text) == (1, True)
    async with serving(folder) as service:
        await service.post(login(1))
        code, text = await asked(folder)
        assert code == 0, text
        assert "keycloak  ok" in text
        assert "\x1b" not in text
        async with service.session.post("/ingest/okta", json=[], headers={"Authorization": "Bearer no"}) as response:
            assert response.status == 401
        code, text = await asked(folder)
        assert code == 1
        assert "okta: 1 request refused" in text
        assert await service.stop() == 0
    code, text = await asked(folder)
    assert code == 1
    assert text.startswith("No service runs here")
    assert "keycloak  ok" in text
