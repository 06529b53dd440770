"""An auditor's commands, against a service that runs: what is missing, and what the statements say."""

from __future__ import annotations

import json
import time
from pathlib import Path

from adapter.reconciliation.hourly import SETTLING, Hourly
from adapter.reconciliation.keys import open_key
from tests.e2e.process import Process, serving, start_command, until
from tests.reconciliation.place import HOUR, START, reopened, row
from tests.sources.pull.stored import SECRET, EventStore, Keycloak
from tests.sources.pull.stored import serving as storing

FROM = ("--from", str(START), "--to", str(START + HOUR))


async def run(*words: str) -> tuple[int, str, str]:
    """Exit code, output, and errors of a command."""
    process = await start_command("sources", *words)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def settings(folder: Path, keycloak: Keycloak) -> tuple[str, ...]:
    """The options of commands."""
    file = folder / "adapter.toml"
    file.write_text(
        f'[outgoing]\nallow = ["127.0.0.0/8"]\n[[sources]]\nname = "kc"\nprovider = "keycloak"\n[sources.pull]\n'
        f'url = "{keycloak.url}"\nrealms = ["acme"]\nclient_id = "poller"\nclient_secret = "{SECRET}"\n'
        f'interval = "1h"\n'
        '[[sources]]\nname = "posted"\nprovider = "okta"\n'
    )
    return "--config", str(file), "--data", str(folder / "data")


async def has(adapter: Process, count: int) -> None:
    async def is_there() -> bool:
        return len(await adapter.events()) == count

    await until(is_there)


async def has_read(adapter: Process) -> None:
    """Wait until a whole pass is over: what is committed from then on comes with the next one."""

    async def is_over() -> bool:
        async with adapter.session.get("/status") as response:
            [source] = [one for one in (await response.json())["sources"] if one["name"] == "kc"]
        return {one["kind"] for one in source["pulls"] if one["readAt"] is not None} >= {"events", "admin-events"}

    await until(is_over)


async def test_what_is_missing_is_named_and_repaired_and_statements_are_verified(tmp_path: Path) -> None:
    store, data = EventStore(), tmp_path / "data"
    data.mkdir(mode=0o700)
    store.commit(row(1), row(2))
    async with storing(store) as keycloak:
        options = settings(tmp_path, keycloak)
        key = open_key(None, data)
        async with reopened(data, keycloak) as place:
            # Under another name: or the service would make up for all hours since then.
            hourly = Hourly(place.compared, place.parts, key, "of a test")
            place.now = START - 1
            await hourly.round()
            place.now = START + 2 * HOUR + 330_000 + SETTLING
            await hourly.round()
        keycloak.clock = lambda: time.time_ns() // 1_000_000
        async with serving(data, arguments=options[:2]) as adapter:
            await has(adapter, 2)
            await has_read(adapter)
            lost = row(3)
            store.commit(lost)
            code, output, errors = await run("reconcile", "kc", *FROM, *options)
            assert (code, errors) == (1, "")
            assert "realm acme: events: MISSING 1" in output
            assert lost["id"] in output
            assert "realm acme: admin-events: complete" in output
            code, output, _ = await run("reconcile", "kc", *FROM, "--repair", *options)
            assert code == 0
            assert "1 fetched now" in output
            await has(adapter, 3)
            code, output, _ = await run("reconcile", "kc", *FROM, "--json", *options)
            found = [json.loads(line) for line in output.splitlines()]
            assert [(one["kind"], one["result"], one["on_server"]) for one in found] == [
                ("events", "complete", 3),
                ("admin-events", "complete", 0),
            ]
            code, _, errors = await run("reconcile", "posted", *FROM, *options)
            assert code == 1
            assert "pulls nothing" in errors
            assert (await run("statement-key", *options))[1] == f"{key.thumbprint}\n"
            code, output, _ = await run("verify", *FROM[:2], "--to", str(START + 3 * HOUR), *options)
            assert code == 1
            assert output.count("signed ") == 4
            # An hour that is asked for and has none.
            assert output.count("no statement") == 2
            async with adapter.session.get("/events/export", params={"type": "system.SOURCE-RECONCILED"}) as response:
                exported = await response.read()
            assert key.private["d"] not in exported.decode() + adapter.errors
        file = tmp_path / "statements.ndjson"
        file.write_bytes(exported)
        code, output, _ = await run("verify", str(file), "--key", key.thumbprint)
        assert code == 0, output
        file.write_bytes(exported.replace(b'\\"on_server\\":2', b'\\"on_server\\":3'))
        code, output, _ = await run("verify", str(file), "--key", key.thumbprint)
        assert code == 1
        assert output.count("WRONG") == 1
