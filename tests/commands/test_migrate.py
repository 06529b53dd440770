"""``idp-adapter store migrate``, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapter.folder import read_tokens
from adapter.log.opening import file_url
from tests.opened import login, opened

#: A sink for which a key is made.
SIGNED = {
    "name": "signed",
    "kind": "webhook",
    "url": "http://127.0.0.1:1/",
    "signature": {"kind": "phasetwo-bearer", "issuer": "https://id.example/realms/acme"},
}


async def migrate(from_: str, to: str) -> tuple[int, str]:
    """Exit code, and what it says."""
    command = [sys.executable, "-m", "adapter", "store", "migrate", "--from", from_]
    environment = {**os.environ, "IDP_ADAPTER_MIGRATE_TO": to}
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, env=environment)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.heavy
async def test_a_service_goes_on_over_postgresql_and_back_in_a_file(tmp_path: Path, database_url: str) -> None:
    log = file_url(tmp_path / "one" / "log.sqlite")
    async with opened(tmp_path / "one", sinks=[SIGNED]) as service:
        _, keys = await service.get("/.well-known/jwks.json")
        await service.post([login(number) for number in range(1, 21)])
        _, page = await service.get("/events", order="log", limit="8")
        status, said = await migrate(log, database_url)
        assert (status, "another process writes this log" in said) == (1, True)
    status, said = await migrate(log, database_url)
    assert (status, said.strip()) == (0, "carried and compared: 20 entries")
    async with opened(tmp_path / "other", store={"url": database_url}) as service:
        assert (await service.get("/.well-known/jwks.json"))[1] == keys
        _, page = await service.get("/events", order="log", limit="8", cursor=page["next"])
        assert [event["time"] for event in page["events"]] == [login(number)["time"] for number in range(9, 17)]
        assert (await service.post([login(1), login(21)]))["duplicates"] == 1
        status, said = await migrate(database_url, file_url(tmp_path / "back" / "log.sqlite"))
        assert (status, "a service has the log open" in said) == (1, True)
    status, said = await migrate(database_url, file_url(tmp_path / "back" / "log.sqlite"))
    assert (status, said.strip()) == (0, "carried and compared: 21 entries")
    assert read_tokens(tmp_path / "back") == read_tokens(tmp_path / "one")
    async with opened(tmp_path / "back") as service:
        assert (await service.get("/.well-known/jwks.json"))[1] == keys
        _, page = await service.get("/events", user="user-1", limit="100")
        assert len(page["events"]) == 21


async def test_what_cannot_be_carried_is_named(tmp_path: Path) -> None:
    status, said = await migrate(file_url(tmp_path / "none" / "log.sqlite"), file_url(tmp_path / "new.sqlite"))
    assert (status, "there is no log" in said) == (1, True)
    status, said = await migrate("sqlite:///a/log.sqlite", "sqlite:///a/log.sqlite")
    assert (status, "--to: is the log that is to be carried" in said) == (1, True)
    status, said = await migrate("sqlite:///a/log.sqlite", "mysql://secret@db/events")
    assert (status, "--to: no address of a log" in said, "secret" in said) == (1, True, False)
