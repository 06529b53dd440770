"""A secret is taken out of what is stored, by a running service: out of the log, the search, and their files."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.opened import Opened, login, opened

SECRET = "p4Ss-w0rd/of+zoe"
ADMIN_EVENT = {
    "id": "0f7b1a52-0002-4e0a-9a57-000000000001",
    "time": 1_700_000_500_000,
    "operationType": "UPDATE",
    "resourceType": "USER",
    "resourcePath": "users/user-1",
    "realmId": "realm-1",
    "authDetails": {"realmId": "realm-1", "clientId": "account", "userId": "admin-1", "ipAddress": "203.0.113.7"},
}


def with_text(number: int, text: str) -> dict[str, Any]:
    """An event in which a text stands, JSON in JSON."""
    inner = json.dumps({"attributes": {"note": json.dumps([f"set to {text}"])}})
    return login(number, details={"username": "anna", "reason": "asked", "note": inner})


async def scrub(service: Opened, **question: Any) -> Any:
    """The job at its end."""
    async with service.session.post("/scrub", json={"rate": 0, **question}) as response:
        job = await response.json()
        assert response.status == 202, job
    async with asyncio.timeout(60):
        while job["state"] == "running":
            await asyncio.sleep(0.01)
            _, job = await service.get("/scrub")
    assert job["state"] == "done", job
    return job


async def found(service: Opened, **query: Any) -> list[Any]:
    async with asyncio.timeout(60):
        while True:
            status, page = await service.get("/events", **query)
            if status != 503:  # the search is being built again
                break
            await asyncio.sleep(0.1)
    assert status == 200, page
    return list(page["events"])


async def everything(service: Opened) -> str:
    """All that readers are shown."""
    pages = [await found(service, order="log", revisions="1"), await found(service, type="system.*")]
    uids = [event["uid"] for event in pages[0]]
    raws = [(await service.get(f"/events/{uid}", raw="1"))[1] for uid in uids]
    return json.dumps([pages, raws, await service.get("/quarantine", raw="1"), await service.get("/ignored", raw="1")])


async def test_a_secret_goes_and_the_event_stays_what_it_was(tmp_path: Path) -> None:
    sinks = [{"name": "archive", "kind": "file", "path": str(tmp_path / "archive.jsonl")}]
    async with opened(tmp_path / "data", sinks=sinks) as service:
        events = [login(1), with_text(2, SECRET), with_text(3, "nothing"), with_text(4, SECRET)]
        uids = (await service.post(events))["uids"]
        await service.post({"type": "odd", "note": SECRET})
        before = await found(service, order="log")
        async with asyncio.timeout(20):
            # What is written is settled a moment later, and only that is known to have been sent.
            while (await service.get("/status"))[1]["sinks"][0]["lag"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        shown = await scrub(service, texts=[SECRET])
        assert (shown["entries"], shown["positions"]) == (3, [[2, 2], [4, 5]])
        assert (shown["sources"], shown["question"]["dry_run"]) == ({"keycloak": 3}, True)
        assert SECRET not in json.dumps(shown)
        assert await found(service, order="log") == before  # it was only shown

        job = await scrub(service, texts=[SECRET], dry_run=False)
        assert (job["entries"], job["positions"], job["untold"]) == (3, [[2, 2], [4, 5]], [])
        after = await found(service, order="log")
        assert [one["uid"] for one in after] == uids
        assert [after[0], after[2]] == [before[0], before[2]]
        for number in (1, 3):
            assert "set to [redacted]" in after[number]["details"].pop("note")
            before[number]["details"].pop("note")
        assert after == before
        assert SECRET not in await everything(service)
        assert json.dumps(SECRET)[1:-1].replace("/", "\\/") not in await everything(service)
        # It is known as before, and not found by the secret any more.
        assert (await service.post(events))["duplicates"] == 4
        assert await found(service, q="w0rd") == []
        assert len(await found(service, q="redacted")) == 2
        [told] = await found(service, type="system.EVENTS-SCRUBBED")
        assert told["details"] == {"entries": "3", "positions": "2, 4-5", "sinks": "archive 3"}
        assert (told["authDetails"]["username"], told["outcome"]) == ("admin", "success")
        assert (await scrub(service, texts=[SECRET], dry_run=False))["entries"] == 0


async def test_nothing_of_it_is_left_in_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())

    def frames() -> list[bytes]:
        """Some bytes out of the middle of what is compressed with the secret in it."""
        with closing(sqlite3.connect(folder / "log.sqlite")) as connection:
            rows = [connection.execute(f"SELECT content FROM {table}").fetchall() for table in ("event", "raw")]
        return [content[len(content) // 2 :][:24] for some in rows for (content,) in some if content]

    async with opened(folder) as service:
        # Where problems and native types stand, it is not compressed.
        await service.post([with_text(number, f"{SECRET} {number}") for number in range(200)])
        await service.post({"time": 1, "note": 1, "type": f"no such {SECRET} type"})
        await found(service, q="w0rd")
        secret = SECRET.encode()
        held = frames()
        assert len(held) > 10
        before = files()
        assert secret in before
        assert all(frame in before for frame in held)
        assert b"w0rd" in before
        job = await scrub(service, texts=[SECRET], dry_run=False)
        assert (job["entries"], job["problem"]) == (201, None)
        await found(service)
        after = files()
        assert secret not in after
        assert [frame for frame in held if frame in after] == []
        assert b"w0rd" not in after
        _, ready = await service.get("/readyz")
        assert ready["status"] == "ready"
        # The log's files are as they should be: what comes now is stored.
        await service.post(login(1_000))
    async with opened(folder) as service:
        assert len(await found(service, order="log", limit=1000)) >= 201


async def test_a_secret_that_the_service_learned_later_goes_without_being_given(tmp_path: Path) -> None:
    token = "the-readers-token-of-today"
    async with opened(tmp_path) as service:
        await service.post([with_text(1, token), login(2)])
    async with opened(tmp_path, keys=[{"name": "reader", "token": token}]) as service:
        assert (await scrub(service, dry_run=False))["positions"] == [[1, 1]]
        assert token not in await everything(service)


async def test_what_a_table_redacts_now_goes_out_of_what_was_stored_before(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "keycloak").mkdir(parents=True)
    file = own / "keycloak" / "mapping.yaml"
    plain = "provider: keycloak\nextends: keycloak\ntitle: Ours\n"
    file.write_text(plain + "redact: [{in: representation, keys: null}]\n")
    inner = {"config": {"pin": "0815", "seed": "c0ffee-c0ffee-01"}, "name": "anna", "seed": "0"}
    event = {**ADMIN_EVENT, "representation": json.dumps(inner)}
    async with opened(tmp_path / "data", mappings={"path": [own], "look_every": 0}) as service:
        [uid] = (await service.post(event))["uids"]
        assert (await scrub(service, redact=True, dry_run=False))["entries"] == 0
        file.write_text(plain + "redact: [{in: representation, keys: [pin, config.seed]}]\n")
        async with service.session.post("/mappings/keycloak/reload") as response:
            assert response.status == 200
        assert (await scrub(service, dry_run=False))["entries"] == 0
        job = await scrub(service, redact=True, dry_run=False)
        assert (job["positions"], job["problems"]) == ([[1, 1]], {})
        _, shown = await service.get(f"/events/{uid}", raw="1")
        for representation in (shown["representation"], shown["raw"]["representation"]):
            assert json.loads(representation) == {
                "config": {"pin": "[redacted]", "seed": "[redacted]"}, "name": "anna", "seed": "0",
            }  # fmt: skip
        assert (await service.post(event))["duplicates"] == 1


async def test_only_who_may_scrubs_and_a_wrong_question_is_refused_without_repeating_it(tmp_path: Path) -> None:
    keys = [
        {"name": "reader", "token": "reader-token", "permissions": ["read", "raw", "renormalize"]},
        {"name": "officer", "token": "officer-token", "permissions": ["scrub"]},
    ]
    async with opened(tmp_path, keys=keys) as service:

        async def ask(token: str, body: Any, method: str = "POST") -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {token}"}
            async with service.session.request(method, "/scrub", json=body, headers=headers) as response:
                return response.status, await response.json()

        for method in ("POST", "GET", "DELETE"):
            assert (await ask("reader-token", {}, method))[0] == 403
        assert (await ask("officer-token", {}, "GET"))[0] == 404
        for wrong in ({"texts": ["s3cret!"]}, {"texts": "s3cret!!"}, {"texts": [["s3cret!!"]]}, {"text": "s3cret!!"}):
            status, problem = await ask("officer-token", wrong)
            assert status == 400
            assert "s3cret" not in json.dumps(problem)
        status, job = await ask("officer-token", {"texts": ["s3cret!!"]})
        assert (status, job["by"], job["texts"]) == (202, "officer", 1)


@pytest.mark.parametrize("count", [3_000])
async def test_one_at_a_time_and_events_come_in_meanwhile(tmp_path: Path, count: int) -> None:
    async with opened(tmp_path) as service:
        await service.post([with_text(number, SECRET) for number in range(count)])
        async with service.session.post("/scrub", json={"texts": [SECRET], "dry_run": False, "rate": 200}) as response:
            assert response.status == 202
        async with service.session.post("/scrub", json={}) as response:
            assert response.status == 409
        began = time.monotonic()
        assert (await service.post(login(10_000)))["accepted"] == 1
        assert time.monotonic() - began < 10
        async with service.session.delete("/scrub") as response:
            job = await response.json()
        assert job["state"] == "cancelled"
        assert job["entries"] == job["position"] < count
        rest = await scrub(service, texts=[SECRET], dry_run=False, after=job["position"])
        assert job["entries"] + rest["entries"] == count
        told = await found(service, type="system.EVENTS-SCRUBBED")
        assert sum(int(event["details"]["entries"]) for event in told) == count
        assert await found(service, q="w0rd") == []
