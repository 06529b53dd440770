"""What a real Keycloak pushed by two listeners, and gave to be read, is the same event, with and without ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapter.log.memory import Memory, open_memory_log
from tests.sources.pull.stored import EventStore
from tests.sources.pull.test_pull import Clocks, Direct, Reading, pull

FOLDER = Path(__file__).parents[2] / "captures" / "keycloak-26.6.4"


def pushed(name: str) -> list[dict[str, Any]]:
    lines = (FOLDER / f"push-{name}.ndjson").read_text("utf-8").splitlines()
    return [json.loads(json.loads(line)["body"]) for line in lines]


def stored(ids: bool) -> EventStore:
    store = EventStore(ids=ids)
    for kind in ("events", "admin-events"):
        store.commit(*json.loads((FOLDER / f"{kind}.json").read_text("utf-8")), kind=kind)
    return store


def has_another_session(body: dict[str, Any]) -> bool:
    """Phase Two's webhook gives these a session that Keycloak does not store. Without an id nothing tells them from
    another one of that millisecond, user and client, so they stay two."""
    return body.get("type") in ("access.TOKEN_EXCHANGE", "access.IMPERSONATE")


@pytest.mark.parametrize("ids", [True, False], ids=["26.2", "26.1"])
@pytest.mark.parametrize("ways", [["http"], ["webhook"], ["http", "webhook"]], ids="+".join)
@pytest.mark.parametrize("order", ["push first", "pull first", "pull between"])
async def test_with_every_second_push_dropped_one_poll_completes_the_log(
    ids: bool, ways: list[str], order: str
) -> None:
    store = stored(ids)
    events = len(store.rows["acme", "events"]) + len(store.rows["acme", "admin-events"])
    clocks = Clocks()
    clocks.now = 1_000 + max(row["time"] for rows in store.rows.values() for row in rows)
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, Direct(store, clocks), clocks, pull())
        pushes = [body for way in ways for body in pushed(way)[::2]]
        known = len(pushes) // 2 if order == "pull between" else len(pushes) if order == "push first" else 0
        for body in pushes[:known]:
            await reading.push(body)
        await reading.poll()
        for body in pushes[known:]:
            await reading.push(body)
        assert events == 96
        assert log.head == events + (0 if ids else sum(map(has_another_session, pushes)))
