"""Tables that are saved into a log which several services share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import NoteChanged
from adapter.log.memory import open_memory_log
from adapter.log.protocol import Note, Store
from adapter.tables import shared
from adapter.tables.saved import Change
from adapter.tables.shared import SharedFiles
from tests.mapping.acme import MAPPING, RAW, write_table
from tests.opened import Opened, opened

SHOP = MAPPING.replace("acme", "shop")
LOGOUT = SHOP.replace("LOGIN", "LOGOUT")
NEW = {"If-None-Match": "*"}


async def put(service: Opened, text: str, headers: dict[str, str], **query: str) -> tuple[int, Any]:
    body = {"mapping": text}
    async with service.session.put("/mappings/shop", json=body, headers=headers, params=query) as response:
        return response.status, await response.json()


async def tag(service: Opened) -> dict[str, str]:
    async with service.session.get("/mappings/shop") as response:
        return {"If-Match": response.headers["ETag"]}


async def until(service: Opened, version: str | None) -> None:
    """Wait until a service reads by this version of the table."""
    async with asyncio.timeout(30):
        while (table := service.service.tables.get("shop")) is None or table.version != version:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
async def two(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Opened, Opened]]:
    """Two services over one log, of which one may not save, and has a table of its own in a folder."""
    monkeypatch.setattr(shared, "EVERY", 0.05)
    write_table(tmp_path / "own", SHOP.replace("Acme", "Of this machine"), "shop")
    async with AsyncExitStack() as stack:
        store = {"url": database_url}
        mappings = {"writable": True, "look_every": 0}
        one = await stack.enter_async_context(opened(tmp_path / "one", store=store, mappings=mappings))
        own = {"path": [tmp_path / "own"], "look_every": 0}
        other = await stack.enter_async_context(opened(tmp_path / "other", store=store, mappings=own))
        yield one, other


@pytest.mark.heavy
async def test_a_saved_table_is_read_by_all_services_and_by_those_that_start_later(
    two: tuple[Opened, Opened], database_url: str, tmp_path: Path
) -> None:
    one, other = two
    _, page = await other.get("/mappings/shop")
    assert (page["origin"], page["title"], page["hides"]) == ("folder", "Of this machine", [])
    of_this_machine = page["version"]
    status, found = await put(one, SHOP, NEW)
    assert (status, found["mapping"]["origin"]) == (201, "saved"), found
    await until(other, found["mapping"]["version"])
    # What all services have hides what one machine has, and says so.
    _, page = await other.get("/mappings/shop")
    assert (page["origin"], page["title"]) == ("saved", "Acme")
    assert page["hides"] == [str(tmp_path / "own" / "shop" / "mapping.yaml")]
    assert (await other.post([RAW], "shop"))["accepted"] == 1

    before = await tag(one)
    status, found = await put(one, LOGOUT, before)
    assert status == 200, found
    await until(other, found["mapping"]["version"])
    receipts = await other.post([{**RAW, "id": "2"}], "shop")
    assert (await other.get(f"/events/{receipts['uids'][0]}"))[1]["type"] == "access.LOGOUT"
    assert (await put(one, SHOP, before))[0] == 412

    async with opened(tmp_path / "third", store={"url": database_url}) as third:
        assert third.service.tables["shop"].version == found["mapping"]["version"]
        assert (await put(third, SHOP, await tag(third)))[0] == 403

    # What it hid is in use again, where there is something.
    async with one.session.delete("/mappings/shop", headers=await tag(one)) as response:
        assert response.status == 200
    await until(other, of_this_machine)
    assert (await other.get("/mappings/shop"))[1]["title"] == "Of this machine"
    assert "shop" not in one.service.tables


@pytest.fixture
async def log() -> AsyncIterator[Store]:
    async with open_memory_log() as opened:
        yield opened


async def test_a_change_is_all_there_or_not_at_all(log: Store, tmp_path: Path) -> None:
    files = SharedFiles(log, tmp_path / "one")
    await files.refresh()
    table, types = files.into / "shop" / "mapping.yaml", files.into / "types.yaml"
    await files.save(Change("shop", "somebody", {table: "one", types: "types"}))
    other = SharedFiles(log, tmp_path / "other")
    assert await other.refresh() == ["shop", "types.yaml"]
    assert (other.into / "shop" / "mapping.yaml").read_text() == "one"
    # Texts without an index have not happened.
    await log.keep(Note(shared.TEXT + "of a crash", "two", 1))
    assert await other.refresh() == ()
    await other.save(Change("shop", "somebody", {other.into / "shop" / "mapping.yaml": "two"}))
    with pytest.raises(NoteChanged):
        await files.save(Change("shop", "somebody", {table: "three"}))
    assert table.read_text() == "one"
    assert await files.refresh() == ["shop"]
    assert table.read_text() == "two"
    await files.save(Change("shop", "somebody", {table: None}))
    assert await other.refresh() == ["shop"]
    assert not (other.into / "shop").exists()
    assert (other.into / "types.yaml").read_text() == "types"


async def test_what_lies_in_the_folder_besides_goes(log: Store, tmp_path: Path) -> None:
    files = SharedFiles(log, tmp_path)
    write_table(tmp_path, "left behind", "shop")
    assert await files.refresh() == ["shop"]
    assert not (tmp_path / "shop").exists()
