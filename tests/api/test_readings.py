"""How an event was read, over HTTP: its sentence, its corrections, and which rows made it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.mapping.acme import MAPPING, TYPES, write_example, write_table
from tests.opened import Opened, login, opened

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "raw", "token": "raw-token", "permissions": ["read", "raw"]},
    {"name": "elsewhere", "token": "elsewhere-token", "permissions": ["read", "raw"], "realms": ["realm-2"]},
    {"name": "later", "token": "later-token", "permissions": ["read", "raw"], "realms": ["tenant-1"]},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    write_table(folder)
    write_example(folder)
    return folder


def service_in(folder: Path) -> Any:
    return opened(
        folder.parent / "data",
        mappings={"path": [folder], "look_every": 0, "trial_timeout": 60},
        sources=[{"name": "acme", "provider": "acme"}, {"name": "keycloak", "provider": "keycloak"}],
        keys=KEYS,
    )


async def read_again(service: Opened) -> None:
    async with service.session.post("/renormalization", json={"provider": "acme"}) as response:
        job = await response.json()
        assert response.status == 202, job
    async with asyncio.timeout(20):
        while job["state"] == "running":
            await asyncio.sleep(0.01)
            _, job = await service.get("/renormalization")
    assert job["state"] == "done", job


async def test_events_come_with_their_sentences(folder: Path) -> None:
    async with service_in(folder) as service:
        [uid] = (await service.post(login(1)))["uids"]
        _, page = await service.get("/events", sentence=1)
        told = page["events"][0]["sentence"]
        assert told["text"] == "anna logged in to account from 203.0.113.7"
        assert "".join(part["text"] for part in told["parts"]) == told["text"]
        assert told["parts"][0] == {"text": "anna", "filter": "user", "value": "anna"}
        assert (await service.get(f"/events/{uid}", sentence=1))[1]["sentence"] == told
        assert "sentence" not in (await service.get(f"/events/{uid}"))[1]
        for part in told["parts"]:
            if "filter" in part:
                assert (await service.get("/events", **{part["filter"]: part["value"]}))[1]["events"], part
        status, problem = await service.get("/events", sentence=1, format="csv")
        assert (status, problem["parameter"]) == (400, "sentence")


async def test_a_correction_stands_beside_what_it_corrected(folder: Path) -> None:
    async with service_in(folder) as service:
        [uid] = (await service.post({"id": "1", "kind": "in", "user": "anna", "tenant": "tenant-1"}, "acme"))["uids"]
        (folder / "types.yaml").write_text(TYPES)
        write_table(folder, MAPPING.replace("fields: {", "fields: {realmName: tenant, "))
        await service.service.tables.reload(["acme"], force=True)
        await read_again(service)
        status, found = await service.get(f"/events/{uid}/revisions")
        assert (status, found["uid"], found["isWhole"]) == (200, uid, True)
        latest, first = found["events"]
        assert (latest["realmName"], latest["source"]["revision"]) == ("tenant-1", 1)
        assert "realmName" not in first and "revision" not in first["source"]
        assert latest["source"]["mapping"] != first["source"]["mapping"]
        # Who may see a realm alone does not see the reading that was not of it.
        _, seen = await service.get(f"/events/{uid}/revisions", token="later-token")
        assert seen["events"] == [latest]
        assert (await service.get(f"/events/{uid}/revisions", token="elsewhere-token"))[0] == 404


async def test_each_field_of_a_stored_event_is_explained(folder: Path) -> None:
    async with service_in(folder) as service:
        [uid] = (await service.post(login(1)))["uids"]
        status, found = await service.get(f"/events/{uid}/explain", token="raw-token")
        assert status == 200, found
        _, event = await service.get(f"/events/{uid}")
        assert (found["uid"], found["madeBy"], found["explainedBy"]) == (uid, *[event["source"]["mapping"]] * 2)
        [one] = found["explanations"]
        assert one["fields"]["authDetails.userId"] == {"value": "user-1", "by": "userId"}
        assert [row["name"] for row in one["rows"] if row["taken"]] == ["types.LOGIN"]
        # It is the event that is stored, by all that a table says of it.
        assert one["event"] == {name: value for name, value in event.items() if name not in ("uid", "source")}


async def test_explaining_takes_the_permission_for_what_was_sent(folder: Path) -> None:
    async with service_in(folder) as service:
        [uid] = (await service.post(login(1)))["uids"]
        status, problem = await service.get(f"/events/{uid}/explain", token="reader-token")
        assert (status, problem["permission"]) == (403, "raw")
        assert (await service.get(f"/events/{uid}/explain", token="elsewhere-token"))[0] == 404
        assert (await service.get("/events/nothing/explain", token="raw-token"))[0] == 404


async def test_an_event_of_a_table_that_is_gone_says_so(folder: Path) -> None:
    async with service_in(folder) as service:
        _, page = await service.get("/events", type="system.*", limit=1)
        for event in page["events"]:
            assert (await service.get(f"/events/{event['uid']}/explain"))[0] == 404
        [uid] = (await service.post({"id": "2", "kind": "in", "user": "anna"}, "acme"))["uids"]
        assert (await service.get(f"/events/{uid}/explain"))[1]["explanations"][0]["known_by"] == "2"
