"""Stored raw events read again by the service as people run it: over kills, beside receiving, from the command line."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Process, command, serving, start_command, until
from tests.e2e.receiver import receiver

UNKNOWN = {"event_type_id": 999, "timestamp": "2026-01-02T03:04:05Z", "user": {"id": "u-1", "segment": "acme"}}
ROW = "provider: onewelcome\nextends: onewelcome\ntitle: OneWelcome, with our rows\ntypes:\n  999: {type: LOGIN}\n"


def unknown(number: int) -> dict[str, Any]:
    """One of many events of a type without a row."""
    return {**UNKNOWN, "user": {"id": f"u-{number}", "segment": "acme"}}


def fix(own: Path, text: str = ROW) -> None:
    """Put the row in place, as its author would."""
    (own / "onewelcome").mkdir(exist_ok=True)
    (own / "onewelcome" / "mapping.yaml").write_text(text)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The user's folder of tables."""
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


async def in_use(process: Process) -> bool:
    """Whether the row is taken up."""
    async with process.session.get("/mappings/onewelcome") as response:
        return "with our rows" in (await response.json())["title"]


async def job(process: Process) -> Any:
    async with process.session.get("/renormalization") as response:
        return await response.json()


async def is_done(process: Process) -> bool:
    return bool((await job(process))["state"] == "done")


async def quarantine(process: Process, count: int, bodies_of: int = 500) -> list[str]:
    """Post events without a row; their uids."""
    uids = []
    for begin in range(0, count, bodies_of):
        uids += (await process.post([unknown(begin + one) for one in range(bodies_of)], "onewelcome"))["uids"]
    return uids


@pytest.mark.crash
async def test_a_kill_in_the_middle_loses_and_doubles_nothing(tmp_path: Path, own: Path) -> None:
    chance = random.Random(7)
    data = tmp_path / "data"
    async with receiver() as there:
        settings = {**there.settings, "MAPPINGS__PATH": [str(own)]}
        async with serving(data, settings=settings) as process:
            uids = await quarantine(process, 5000)
            fix(own)
            await until(lambda: in_use(process))
            async with process.session.post("/renormalization", json={"rate": 4000}) as response:
                assert response.status == 202
            await asyncio.sleep(chance.uniform(0.1, 0.4))
            process.kill()
        for _ in range(2):
            async with serving(data, settings=settings) as process:
                await asyncio.sleep(chance.uniform(0.0, 0.2))
                assert (await job(process))["state"] == "running"
                process.kill()
        async with serving(data, settings=settings) as process:
            await until(lambda: is_done(process))
            counts = (await job(process))["counts"]
            assert (counts["looked_at"], counts["recovered"]) == (5000, 5000)
            assert await process.metric("log_position") == 10_000
            assert [event["uid"] for event in await process.events(order="log")] == uids
            await there.has(uids)
            assert all(uid == id for uid, id in there.taken)
            await process.stop()


async def test_commands_show_what_is_quarantined_and_have_it_read_again(tmp_path: Path, own: Path) -> None:
    data = tmp_path / "data"
    config = tmp_path / "adapter.toml"
    config.write_text(f'[mappings]\npath = ["{own}"]\n[auth]\nadmin_token = "administrators-token"\n')
    words = ("--data", str(data), "--config", str(config))
    async with serving(data, arguments=("--config", str(config))) as process:
        await process.post([UNKNOWN, {**UNKNOWN, "event_type_id": 101}], "onewelcome")
        shown = await command("events", "quarantine", "--raw", *words)
        assert all(part in shown for part in ("onewelcome", "999", '"event_type_id": 999'))
        [group] = map(json.loads, (await command("events", "quarantine", "--json", *words)).splitlines())
        assert group["count"] == 1
        fix(own)
        await until(lambda: in_use(process))
        said = await command("events", "renormalize", "--dry-run", "--since", "1h", *words)
        assert said.startswith("dry run done: looked at ")
        assert "999 -> access.LOGIN" in said
        assert "AUDIT-READ" not in said  # what the service tells itself is made by no table
        said = await command("events", "renormalize", "--type", "quarantined", *words)
        assert "  recovered            1  quarantined until then, events now" in said
        assert "Nothing is quarantined." in await command("events", "quarantine", *words)
        assert "renormalization done" in await command("events", "renormalize", "--watch", *words)
        await process.stop()
    # Without a service the command does it itself.
    fix(own, ROW.replace("LOGIN", "LOGOUT"))
    ended = json.loads(await command("events", "renormalize", "--provider", "onewelcome", "--json", *words))
    assert (ended["state"], ended["counts"]["corrected"], ended["counts"]["unchanged"]) == ("done", 1, 1)
    listed = await command("events", "list", "--json", "--source", "onewelcome", *words)
    assert sorted(json.loads(line)["type"] for line in listed.splitlines()) == ["access.LOGIN", "access.LOGOUT"]


async def test_to_interrupt_the_command_leaves_the_job_going(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as process:
        await quarantine(process, 1000)
        asking = await start_command("events", "renormalize", "--rate", "1", "--data", str(data))

        async def is_running() -> bool:
            return bool((await job(process)).get("state") == "running")

        await until(is_running)
        # The answer has to reach the command, too.
        await asyncio.sleep(0.5)
        asking.send_signal(signal.SIGINT)
        _, said = await asking.communicate()
        assert asking.returncode == 130
        assert "it goes on in the service" in said.decode()
        assert await is_running()
        assert "renormalization cancelled" in await command("events", "renormalize", "--cancel", "--data", str(data))
