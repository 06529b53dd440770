"""Exports: the same bytes again by their cursor, the rest of one that broke off, and manifests of them."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientError

import adapter.service
from tests.mapping.acme import MAPPING, write_table
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "=cmd|' /C calc'!A0;\t\"\u202e\r\n<script>\x1b[2J"
COUNT = 2_500


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    keys = [
        {"name": "reader", "token": "reader-token"},
        {"name": "auditor", "token": "auditor-token", "permissions": ["read", "export"]},
        {"name": "limited", "token": "limited-token", "permissions": ["export"], "realms": ["many"]},
    ]
    async with opened(tmp_path_factory.mktemp("data"), keys=keys, auth={"read_exports": False}) as service:
        await service.post([login(2_000, realmId="hostile", details={"username": HOSTILE})])
        for start in range(10_000, 10_000 + COUNT, 500):
            await service.post([login(number, realmId="many") for number in range(start, start + 500)])
        yield service


async def exported(service: Opened, *, token: str | None = None, **query: str) -> tuple[str, bytes]:
    """The cursor of an export, and its bytes."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with service.session.get("/events/export", params=query, headers=headers) as response:
        assert response.status == 200, await response.text()
        return response.headers["X-Cursor"], await response.read()


async def manifest(service: Opened, **query: str) -> dict[str, Any]:
    status, found = await service.get("/events/export", manifest="1", **query)
    assert status == 200, found
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("order", ["time", "log"])
@pytest.mark.parametrize("form", ["unified", "csv", "phasetwo", "cloudevents", "keycloak"])
async def test_by_its_cursor_an_export_is_the_same_whatever_came_since(service: Opened, form: str, order: str) -> None:
    query = {"realm": "many", "format": form, "order": order}
    cursor, before = await exported(service, **query)
    came = login(hash((form, order)) % 10**9 + 10**6, realmId="many")
    await service.post([came])
    _, again = await exported(service, **query, cursor=cursor)
    _, now = await exported(service, **query)
    assert again == before
    assert len(now) > len(before)


@pytest.mark.parametrize("order", ["time", "log"])
@pytest.mark.parametrize("form", ["unified", "csv", "phasetwo", "cloudevents"])
@pytest.mark.parametrize("had", [1, 1_000, 2_400])
async def test_what_follows_an_event_is_the_rest_of_the_file(service: Opened, form: str, order: str, had: int) -> None:
    query = {"realm": "many", "format": form, "order": order}
    cursor, whole = await exported(service, **query)
    heading = int(form == "csv")
    part = b"".join(whole.splitlines(keepends=True)[: had + heading])
    last = part.splitlines()[-1]
    if form == "csv":
        [[uid, *_]] = csv.reader([last.decode()])
    else:
        event = json.loads(last)
        uid = event["data"]["uid"] if form == "cloudevents" else event["uid"]
    _, rest = await exported(service, **query, cursor=cursor, after=uid)
    assert part + rest == whole


@pytest.mark.parametrize("form", ["unified", "csv", "keycloak"])
async def test_a_manifest_says_what_the_file_is(service: Opened, form: str) -> None:
    query = {"realm": "many", "format": form, "from": "2023-11-15T00:00:00Z"}
    cursor, data = await exported(service, **query)
    said = await manifest(service, **query, cursor=cursor)
    assert (said["sha256"], said["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert said["count"] == len(data.splitlines()) - (form == "csv") > 0
    assert (said["format"], said["cursor"], said["order"]) == (form, cursor, "time")
    assert said["filter"] == {"realm": ["many"], "from": ["1700006400000"]}
    assert (said["generatedBy"], said["limits"]) == ("admin", {})
    events = (await service.get("/events", realm="many", limit="1"))[1]["events"]
    assert said["first"] is not None and said["first"]["time"] == events[0]["time"]
    assert said["first"]["time"] > said["last"]["time"]


async def test_a_manifest_of_nothing_is_one(service: Opened) -> None:
    said = await manifest(service, realm="nowhere")
    assert (said["count"], said["bytes"], said["first"], said["last"]) == (0, 0, None, None)
    assert said["sha256"] == hashlib.sha256(b"").hexdigest()


async def test_times_ago_are_counted_from_when_the_export_was_asked_for(service: Opened) -> None:
    cursor, _ = await exported(service, **{"from": "1h"})
    first = await manifest(service, **{"from": "1h"}, cursor=cursor)
    second = await manifest(service, **{"from": "1h"}, cursor=cursor)
    assert first == second


async def test_a_limited_key_exports_what_is_within_and_its_manifest_says_so(service: Opened) -> None:
    _, data = await exported(service, token="limited-token")
    assert {json.loads(line)["realmId"] for line in data.splitlines()} == {"many"}
    status, said = await service.get("/events/export", token="limited-token", manifest="1")
    assert (status, said["limits"]) == (200, {"realms": ["many"]})
    assert said["count"] == len(data.splitlines())


async def test_an_event_beyond_the_limits_of_a_key_is_no_place_to_go_on_from(service: Opened) -> None:
    _, hostile = await exported(service, realm="hostile")
    uid = json.loads(hostile)["uid"]
    cursor, _ = await exported(service, token="limited-token")
    answers = [
        await service.get("/events/export", token="limited-token", cursor=cursor, after=one)
        for one in (uid, "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11")
    ]
    assert [status for status, _ in answers] == [400, 400]
    told = {problem["detail"].partition(" is not right")[2] for _, problem in answers}
    assert len(told) == 1


async def test_a_cursor_is_none_unless_a_service_over_this_log_gave_it(service: Opened) -> None:
    cursor, _ = await exported(service, realm="hostile")
    changed = ("A" if cursor[12] != "A" else "B").join((cursor[:12], cursor[13:]))
    for wrong in (changed, cursor[:-2], cursor + "AAAA", "", "x", "é", "end"):
        status, problem = await service.get("/events/export", cursor=wrong)
        assert (status, problem["parameter"]) == (400, "cursor"), wrong


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"after": "1"}, "after"),
        ({"delimiter": "semicolon"}, "delimiter"),
        ({"delimiter": "pipe", "format": "csv"}, "delimiter"),
        ({"format": "xml"}, "format"),
        ({"manifest": "yes"}, "manifest"),
    ],
)
async def test_what_is_wrong_is_said_before_it_begins(service: Opened, query: dict[str, str], parameter: str) -> None:
    status, problem = await service.get("/events/export", **query)
    assert (status, problem["parameter"]) == (400, parameter)


async def test_with_revisions_there_is_no_going_on_behind_an_event(service: Opened) -> None:
    cursor, data = await exported(service, order="log", revisions="1")
    uid = json.loads(data.splitlines()[0])["uid"]
    status, problem = await service.get("/events/export", order="log", revisions="1", cursor=cursor, after=uid)
    assert (status, problem["parameter"]) == (400, "after")


@pytest.mark.parametrize(("name", "delimiter"), [("comma", ","), ("semicolon", ";"), ("tab", "\t")])
async def test_cells_are_delimited_as_it_is_asked_for_and_none_runs(service: Opened, name: str, delimiter: str) -> None:
    _, data = await exported(service, realm="hostile", format="csv", delimiter=name)
    [row] = csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter=delimiter)
    assert row["realmId"] == "hostile"
    assert row["authDetails.username"] == "" or row["authDetails.username"].startswith("'=cmd")
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


async def test_the_head_of_an_export_has_its_cursor_and_no_body(service: Opened) -> None:
    async with service.session.head("/events/export", params={"realm": "many"}) as response:
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["X-Cursor"]


async def test_who_may_not_export_gets_no_manifest_either(service: Opened) -> None:
    assert (await service.get("/events/export", token="reader-token", manifest="1"))[0] == 403


async def test_what_follows_a_correction_is_the_rest_of_the_file(tmp_path: Path) -> None:
    """In Phase Two's form its uid is that of a message: the event's, and the number of the correction."""
    folder = tmp_path / "own"
    write_table(folder)
    settings: dict[str, Any] = {
        "mappings": {"path": [folder], "look_every": 0}, "sources": [{"name": "acme", "provider": "acme"}],
    }  # fmt: skip
    async with opened(tmp_path / "data", **settings) as service:
        await service.post([{"id": str(n), "kind": "in", "user": "anna", "tenant": "t"} for n in range(5)], "acme")
        write_table(folder, MAPPING.replace("fields: {", "fields: {realmName: tenant, "))
        await service.service.tables.reload(["acme"], force=True)
        async with service.session.post("/renormalization", json={"provider": "acme"}) as response:
            job = await response.json()
        async with asyncio.timeout(60):
            while job["state"] == "running":
                await asyncio.sleep(0.01)
                _, job = await service.get("/renormalization")
        query = {"format": "phasetwo", "type": "access.*"}
        cursor, whole = await exported(service, **query)
        lines = whole.splitlines(keepends=True)
        assert len(lines) == 5
        for number, line in enumerate(lines, 1):
            uid = json.loads(line)["uid"]
            assert uid.endswith("-1") and len(uid) == 38
            _, rest = await exported(service, **query, cursor=cursor, after=uid)
            assert rest == b"".join(lines[number:])
        status, problem = await service.get("/events/export", **query, cursor=cursor, after=f"{uid}0000000000")
        assert (status, problem["parameter"]) == (400, "after")


async def test_who_has_as_many_exports_as_he_may_is_refused_before_anything_is_looked_for(tmp_path: Path) -> None:
    async with opened(tmp_path, feed={"key_exports_limit": 1}) as service:
        for start in range(1000, 13_000, 1000):
            await service.post([login(number) for number in range(start, start + 1000)])
        async with service.session.head("/events/export") as response:
            cursor = response.headers["X-Cursor"]
        assert (await service.get("/events/export", cursor=cursor, after="nothing"))[0] == 400
        # Of an answer this long most is not written when its head is there, since nobody reads it.
        async with service.session.get("/events/export") as response:
            assert response.status == 200
            assert (await service.get("/events/export", cursor=cursor, after="nothing"))[0] == 429
            response.close()


async def test_an_export_ends_when_its_key_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later, now = [0], adapter.service._now
    monkeypatch.setattr(adapter.service, "_now", lambda: now() + later[0])
    async with opened(tmp_path) as service:
        for start in range(1000, 13_000, 1000):
            await service.post([login(number) for number in range(start, start + 1000)])
        made = {"name": "short", "permissions": ["export"], "expires": "1h"}
        async with service.session.post("/keys", json=made) as response:
            token = (await response.json())["token"]
        headers = {"Authorization": f"Bearer {token}"}
        # Of an answer this long most is not written when its head is there, since nobody reads it.
        async with service.session.get("/events/export", headers=headers) as response:
            assert response.status == 200
            later[0] = 2 * 3_600_000
            with pytest.raises(ClientError):
                async with asyncio.timeout(60):
                    await response.read()
