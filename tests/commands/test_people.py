"""``idp-adapter people`` and ``idp-adapter timeline`` against a real service: what they show."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands.remote import Machine, Said
from tests.opened import Opened, login, opened


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Opened]:
    async with opened(tmp_path / "data") as one:
        failed = {"type": "LOGIN_ERROR", "error": "invalid_user_credentials", "sessionId": None}
        await one.post([login(1, **failed), login(5), login(60, type="LOGOUT")])
        await one.post([login(9, userId="user-2", details={"username": "\x1b[31mben\n"}, sessionId="s2")])
        yield one


class Shell:
    """Commands that ask one service."""

    def __init__(self, machine: Machine, service: Opened) -> None:
        self._machine = machine
        self._service = service

    async def __call__(self, *words: str, status: int = 0) -> Said:
        where = {"URL": self._service.service.url, "TOKEN": self._service.service.admin_token}
        said = await self._machine.run(*words, **where)
        assert said.status == status, said
        return said


@pytest.fixture
def shell(tmp_path: Path, service: Opened, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return Shell(Machine(tmp_path / "config"), service)


def rows(said: Said) -> list[str]:
    """What a command wrote, with one blank between words, without the log of the service."""
    return [" ".join(line.split()) for line in said.output.splitlines() if line.strip() and '"event"' not in line]


async def test_a_timeline_is_a_table_of_sentences(shell: Shell) -> None:
    found = rows(await shell("timeline", "anna"))
    assert "keycloak: user-1 (anna), by username anna of userId user-1 in source keycloak" in found
    (told,) = [line for line in found if "logged in" in line]
    assert told.endswith("anna logged in to account from 203.0.113.7: new session, after 1 failed try within 4 s 2")
    assert found.index(told) < next(n for n, line in enumerate(found) if "logged out" in line)
    latest = rows(await shell("timeline", "--session", "session-1", "--reverse", "--why"))
    assert "session session-1 in source keycloak" in latest[1] and "logged out" in latest[1]


async def test_a_timeline_as_json_is_a_story_a_line(shell: Shell) -> None:
    said = await shell("timeline", "anna", "--json")
    told = [json.loads(line) for line in said.output.splitlines() if line.startswith('{"kind"')]
    assert [one["kind"] for one in told] == ["login", "event"]


async def test_a_timeline_is_of_one_thing(shell: Shell) -> None:
    for words in ((), ("anna", "--ip", "203.0.113.7")):
        assert "name one of" in (await shell("timeline", *words, status=1)).error


async def test_accounts_are_listed_harmlessly_with_since_when_they_are_known(shell: Shell) -> None:
    said = await shell("people", "list", "--sort", "last")
    assert "\x1b[31m" not in said.output and "\\x1bben" not in said.output
    assert "known since 2023-11-14 22:13:21Z" in said.error
    assert any(line.startswith("anna keycloak realm-1 2023-11-14") for line in rows(said))
    none = await shell("people", "list", "zoe")
    assert "Nobody is known by that." in none.output


async def test_a_person_is_shown_with_addresses(shell: Shell) -> None:
    found = rows(await shell("people", "show", "anna"))
    assert any("last login 2023-11-14 22:13:25Z: to account from 203.0.113.7" in line for line in found)
    assert any(line.startswith("203.0.113.7 2023-11-14") for line in found)
    await shell("people", "show", "nobody", status=1)


async def test_active_accounts_are_counted(shell: Shell) -> None:
    found = rows(await shell("people", "active", "--from", "2023-11-14T00:00:00Z", "--to", "2023-11-15T00:00:00Z"))
    assert "2023-11-14 2 2" in found
