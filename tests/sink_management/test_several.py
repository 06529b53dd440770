"""Sinks of a log that several services share, and changes in the middle of which a service dies."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

from tests.e2e.process import Process, serving, until
from tests.e2e.receiver import Receiver, receiver
from tests.opened import login

pytestmark = pytest.mark.crash

KEY = base64.b64encode(b"k" * 32).decode()
OUTGOING = {"OUTGOING__ALLOW": ["127.0.0.0/8"]}


def given(hook: Receiver, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "url": f"http://127.0.0.1:{hook.port}/", **more}


async def ask(process: Process, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    async with process.session.request(method, path, json=body) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text)


async def state(process: Process, name: str = "soc") -> str:
    async with process.session.get(f"/sinks/{name}") as response:
        return str((await response.json())["state"]) if response.status == 200 else "none"


async def in_state(process: Process, *wanted: str) -> None:
    async def holds() -> bool:
        return await state(process) in wanted

    await until(holds)


async def uids_of(process: Process, *numbers: int) -> set[str]:
    return set((await process.post([login(number) for number in numbers]))["uids"])


async def test_what_one_service_says_of_a_sink_holds_for_all(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hook, other_hook = [await stack.enter_async_context(receiver()) for _ in range(2)]
        settings = {"STORE__URL": database_url, "DATA__SECRET_KEY": KEY, **OUTGOING}
        one, other = [
            await stack.enter_async_context(serving(tmp_path / name, settings=settings)) for name in ("one", "other")
        ]
        await ask(one, "PUT", "/sinks/soc", given(hook), status=201)
        uids = await uids_of(other, 1, 2)
        await hook.has(uids)
        await in_state(other, "elsewhere")
        # Changed at the one that does not deliver.
        changed = await ask(other, "PATCH", "/sinks/soc", given(other_hook))
        assert changed["changed"] == ["url"]
        uids = set()

        async def moved() -> bool:
            uids.update(await uids_of(one, random.randrange(10, 10**9)))
            return bool(other_hook.uids)

        await until(moved)
        await until(lambda: uids <= hook.uids | other_hook.uids)
        await ask(other, "POST", "/sinks/soc/pause")
        for process in (one, other):
            await in_state(process, "paused")
        asked = other_hook.asked
        late = await uids_of(one, 3, 4)
        await asyncio.sleep(1.0)
        assert other_hook.asked == asked
        await ask(one, "POST", "/sinks/soc/resume")
        await other_hook.has(late)
        await ask(other, "DELETE", "/sinks/soc?force=1")
        await in_state(one, "none")
        # One of its name begins anew at once, wherever it is made.
        made = await ask(one, "PUT", "/sinks/soc", given(hook), status=201)
        assert made["version"] == 1
        anew = await uids_of(other, 5)
        await hook.has(anew)
        # When the one that delivers dies, the other one goes on.
        await in_state(other, "elsewhere", "running")
        (owner,) = [process for process in (one, other) if await state(process) == "running"]
        (heir,) = [process for process in (one, other) if process is not owner]
        owner.kill()
        await hook.has(await uids_of(heir, 6))


async def test_of_changes_at_two_services_none_is_lost(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(receiver())
        settings = {"STORE__URL": database_url, "DATA__SECRET_KEY": KEY, **OUTGOING}
        processes = [
            await stack.enter_async_context(serving(tmp_path / name, settings=settings)) for name in ("one", "other")
        ]
        await ask(processes[0], "PUT", "/sinks/soc", given(hook), status=201)
        changes: list[dict[str, Any]] = [
            {"window": 7},
            {"timeout": 3.5},
            {"filter": {"type": ["access.LOGIN"]}},
            {"names": True},
        ]
        works = [ask(processes[number % 2], "PATCH", "/sinks/soc", change) for number, change in enumerate(changes)]
        await asyncio.gather(*works)
        for process in processes:
            settings = (await ask(process, "GET", "/sinks/soc"))["settings"]
            assert {key: settings[key] for change in changes for key in change} == {
                key: value for change in changes for key, value in change.items()
            }


async def test_a_service_without_the_key_says_so_and_sends_with_no_other(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(receiver())
        settings = {"STORE__URL": database_url, **OUTGOING}
        keyed = {**settings, "DATA__SECRET_KEY": KEY}
        one = await stack.enter_async_context(serving(tmp_path / "one", settings=keyed))
        other = await stack.enter_async_context(serving(tmp_path / "other", settings=settings))
        refused = await ask(other, "PUT", "/sinks/soc", given(hook), status=409)
        assert "set [data] secret_key, the same for every adapter" in refused["detail"]
        await ask(one, "PUT", "/sinks/soc", given(hook), status=201)

        async def knows() -> bool:
            return await state(other) == "off"

        await until(knows)
        assert "sealed with a key that is not here" in (await ask(other, "GET", "/sinks/soc"))["problem"]
        await hook.has(await uids_of(other, 1))


async def test_a_service_that_is_killed_in_the_middle_of_changes_keeps_each_as_a_whole(tmp_path: Path) -> None:
    folder, dice = tmp_path / "data", random.Random(7)
    names = [f"sink-{number}" for number in range(8)]
    #: What was answered last, and all that was asked since, by name; ``None``: deleted.
    answered: dict[str, Any] = dict.fromkeys(names)
    open_questions: dict[str, list[Any]] = {name: [] for name in names}

    async def change(process: Process, name: str) -> None:
        with suppress(ClientError, AssertionError, TimeoutError):
            while True:
                window = dice.randrange(1, 1000)
                if answered[name] is not None and dice.random() < 0.3:
                    open_questions[name].append(None)
                    await ask(process, "DELETE", f"/sinks/{name}?force=1")
                    answered[name] = None
                elif answered[name] is not None and dice.random() < 0.3:
                    await ask(process, "POST", f"/sinks/{name}/rotate")
                else:
                    open_questions[name].append(window)
                    body = {"kind": "webhook", "url": "http://127.0.0.1:1/", "window": window}
                    async with process.session.put(f"/sinks/{name}", json=body) as response:
                        assert response.status in (200, 201), await response.text()
                    answered[name] = window
                open_questions[name].clear()

    for _ in range(6):
        async with serving(folder, settings=OUTGOING) as process:
            works = [asyncio.create_task(change(process, name)) for name in names]
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            process.kill()
            await asyncio.gather(*works)
        async with serving(folder, settings=OUTGOING) as process:
            sinks = {one["name"]: one for one in (await ask(process, "GET", "/sinks"))["sinks"]}
            assert not [one["problem"] for one in sinks.values() if one["problem"]]
            events = await process.events(type="system.CONFIG-SINK-*", order="log")
            versions: Counter[str] = Counter()
            for one in events:
                name = one["details"]["sink"]
                versions[name] += 1
                if one["type"].endswith("-DELETED"):
                    del versions[name]
            # Each change is there with its event, or neither is.
            assert {name: one["version"] for name, one in sinks.items()} == dict(versions)
            for name in names:
                present = sinks[name]["settings"]["window"] if name in sinks else None
                assert present in [answered[name], *open_questions[name]]
                answered[name] = present
                open_questions[name].clear()
