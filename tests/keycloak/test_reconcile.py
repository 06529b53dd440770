"""A real Keycloak's stored events are held against the log: complete, then some are missing, then fetched."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Process, serving, start_command, until
from tests.keycloak.server import Keycloak

pytestmark = pytest.mark.asyncio(loop_scope="module")

REALM = "reconciled"


def settings(folder: Path, keycloak: Keycloak) -> str:
    """A file with a source that polls once, and judges what is older than a second."""
    pull: dict[str, Any] = {
        "url": keycloak.url,
        "realms": [REALM],
        "client_id": "poller",
        "client_secret": "poller-secret",
        "interval": "1h",
        "overlap": "1s",
    }
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in pull.items())
    path = folder / "adapter.toml"
    path.write_text(
        f'[outgoing]\nallow = ["127.0.0.0/8"]\n[[sources]]\nname = "kc"\nprovider = "keycloak"\n'
        f"[sources.pull]\n{lines}\n"
    )
    return str(path)


async def stored(keycloak: Keycloak, path: str, since: int, until: int) -> dict[str, dict[str, Any]]:
    """What the server has of a span, by id."""
    rows = await keycloak.admin("GET", f"/{path}?max=10000")
    return {one["id"]: one for one in rows if since <= one["time"] < until}


async def moment() -> int:
    """Now, once events of before are old enough to be judged; epoch milliseconds."""
    now = time.time_ns() // 1_000_000
    await asyncio.sleep(1.5)
    return now


async def test_what_a_keycloak_has_and_the_log_has_not_is_named_and_fetched(keycloak: Keycloak, tmp_path: Path) -> None:
    realm = await keycloak.new_realm(REALM)
    await realm.keep_events()
    for password in ("alice-pw", "wrong"):
        await realm.login("alice", password)
    await realm.admin("POST", "/users", {"username": "first", "enabled": True})
    begin, middle = 1, await moment()
    config, data = settings(tmp_path, realm), tmp_path / "data"

    async def reconcile(since: int, to: int, *words: str) -> tuple[int, dict[str, Any]]:
        span = ("--from", str(since), "--to", str(to), "--json")
        process = await start_command(
            "sources", "reconcile", "kc", *span, *words, "--config", config, "--data", str(data)
        )
        output, errors = await process.communicate()
        found = [json.loads(line) for line in output.decode().splitlines()]
        assert len(found) == 2, errors.decode()
        assert process.returncode is not None
        return process.returncode, {one["kind"]: one for one in found}

    async with serving(data, arguments=("--config", config)) as adapter:
        await polled(adapter)
        code, found = await reconcile(begin, middle)
        assert code == 0, found
        for kind, one in found.items():
            server = await stored(realm, kind, begin, middle)
            assert (one["result"], one["on_server"], one["in_log"]) == ("complete", len(server), len(server))
            assert one["on_server"] >= 1

        # It polls no more; of what happens now, the login and the user are pushed, and the rest is lost on its way.
        await realm.login("alice", "alice-pw")
        await realm.login("zoe", "wrong")
        for name in ("second", "third"):
            await realm.admin("POST", "/users", {"username": name, "enabled": True})
        end = await moment()
        rows = [one for kind in ("events", "admin-events") for one in (await stored(realm, kind, middle, end)).values()]
        pushed = [one for one in rows if one.get("type") == "LOGIN" or "second" in one.get("representation", "")]
        assert len(pushed) == 2
        await adapter.post(pushed, "kc")
        known = {event["id"] for event in await adapter.events()}
        code, found = await reconcile(middle, end)
        assert code == 1
        for kind, one in found.items():
            lacking = {id: row for id, row in (await stored(realm, kind, middle, end)).items() if id not in known}
            assert one["result"] == "missing"
            assert {missing["id"]: missing["time"] for missing in one["missing"]} == {
                id: row["time"] for id, row in lacking.items()
            }
        assert "LOGIN_ERROR" in {missing["type"] for missing in found["events"]["missing"]}
        assert "CREATE USER" in {missing["type"] for missing in found["admin-events"]["missing"]}
        code, found = await reconcile(middle, end, "--repair")
        assert code == 0
        assert {one["result"] for one in found.values()} == {"repaired"}
        code, found = await reconcile(begin, end)
        assert code == 0
        assert {one["result"] for one in found.values()} == {"complete"}
        assert {one["only_in_log"] for one in found.values()} == {0}


async def polled(adapter: Process) -> None:
    """Wait until both kinds have been polled."""

    async def both() -> bool:
        times = [
            await adapter.metric("pull_last_timestamp_seconds", kind=kind, realm=REALM, source="kc")
            for kind in ("events", "admin-events")
        ]
        return all(times)

    await until(both)
