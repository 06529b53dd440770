"""Quarantine and renormalization over HTTP, on a real service: from an unknown type to a delivered event."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import until
from tests.e2e.receiver import Receiver, receiver
from tests.opened import Opened, login, opened

UNKNOWN = {
    "event_type_id": 999,
    "timestamp": "2026-01-02T03:04:05Z",
    "user": {"id": "u-1", "segment": "acme"},
}
#: When it happened, epoch milliseconds.
AT = 1_767_323_045_000
ROW = "provider: onewelcome\nextends: onewelcome\ntitle: OneWelcome, with our rows\ntypes:\n"
KEYS = [
    {"name": "reader", "token": "reader-token"},
    {"name": "operator", "token": "operator-token", "permissions": ["renormalize"]},
]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The user's folder of tables."""
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


@pytest.fixture
async def service(tmp_path: Path, own: Path) -> AsyncIterator[Opened]:
    async with opened(tmp_path / "data", mappings={"path": [own], "look_every": 0}, keys=KEYS) as one:
        yield one


async def ask(service: Opened, method: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
    """Status and JSON of an answer of /renormalization."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with service.session.request(method, "/renormalization", json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def run(service: Opened, **question: Any) -> Any:
    """The job at its end."""
    status, job = await ask(service, "POST", question)
    assert status == 202, job
    async with asyncio.timeout(20):
        while job["state"] == "running":
            await asyncio.sleep(0.01)
            _, job = await ask(service, "GET")
    return job


async def fix(service: Opened, own: Path, rows: str) -> None:
    """Put rows of the user's own in place, and have them taken up."""
    (own / "onewelcome").mkdir(exist_ok=True)
    (own / "onewelcome" / "mapping.yaml").write_text(ROW + rows)
    async with service.session.post("/mappings/onewelcome/reload") as response:
        assert response.status == 200, await response.text()


async def found(service: Opened, **query: Any) -> list[Any]:
    status, page = await service.get("/events", **query)
    assert status == 200, page
    return list(page["events"])


async def test_an_unknown_type_becomes_an_event_when_a_row_is_added(service: Opened, own: Path) -> None:
    [uid] = (await service.post(UNKNOWN, "onewelcome"))["uids"]
    assert (await service.get(f"/events/{uid}"))[0] == 404
    await fix(service, own, "  999: {type: LOGIN}\n")
    assert (await run(service, type="quarantined"))["counts"]["recovered"] == 1
    [event] = await found(service, type="access.LOGIN", source="onewelcome")
    assert (event["uid"], event["time"]) == (uid, AT)
    assert event["source"]["normalizedAt"] >= event["source"]["receivedAt"]
    assert await found(service, **{"from": AT, "to": AT + 1}) == [event]
    status, shown = await service.get(f"/events/{uid}", raw="1")
    assert (status, shown.pop("raw"), shown) == (200, UNKNOWN, event)
    assert (await service.get("/quarantine"))[1]["count"] == 0
    # It is known as before.
    assert (await service.post(UNKNOWN, "onewelcome"))["duplicates"] == 1


async def test_pollers_come_to_it_where_it_was_appended(service: Opened, own: Path) -> None:
    [uid] = (await service.post(UNKNOWN, "onewelcome"))["uids"]
    await service.post([login(1), login(2)])
    _, before = await service.get("/events", order="log")
    assert len(before["events"]) == 2
    await fix(service, own, "  999: {type: LOGIN}\n")
    await run(service)
    _, after = await service.get("/events", order="log", cursor=before["next"])
    assert [event["uid"] for event in after["events"]] == [uid]


async def test_a_correction_is_shown_by_time_and_the_former_event_is_kept_for_audit(service: Opened, own: Path) -> None:
    [uid] = (await service.post({**UNKNOWN, "event_type_id": 101}, "onewelcome"))["uids"]
    for row in ("LOGOUT", "REGISTER"):
        await fix(service, own, f"  101: {{type: {row}}}\n")
        assert (await run(service, provider="onewelcome"))["counts"]["corrected"] == 1
    assert [event["type"] for event in await found(service)] == ["access.REGISTER"]
    assert [event["type"] for event in await found(service, order="log")] == ["access.LOGIN"]
    every = await found(service, order="log", revisions="1")
    assert [event["type"] for event in every] == ["access.LOGIN", "access.LOGOUT", "access.REGISTER"]
    assert {event["uid"] for event in every} == {uid}
    _, shown = await service.get(f"/events/{uid}", raw="1")
    assert (shown["type"], shown["raw"]["event_type_id"]) == ("access.REGISTER", 101)
    async with service.session.get("/events/export", params={"order": "log", "revisions": "1"}) as response:
        assert len((await response.text()).splitlines()) == 3


async def test_an_export_from_before_a_correction_goes_on_as_it_was(service: Opened, own: Path) -> None:
    uids = (await service.post([{**UNKNOWN, "event_type_id": 101, "id": str(n)} for n in range(3)], "onewelcome"))[
        "uids"
    ]
    for order in ("time", "log"):
        async with service.session.get("/events/export", params={"order": order}) as response:
            cursor, whole = response.headers["X-Cursor"], await response.read()
        await fix(service, own, f"  101: {{type: {'LOGOUT' if order == 'time' else 'REGISTER'}}}\n")
        assert (await run(service, provider="onewelcome"))["counts"]["corrected"] == len(set(uids))
        lines = whole.splitlines(keepends=True)
        query = {"order": order, "cursor": cursor}
        for number, line in enumerate(lines, 1):
            async with service.session.get(
                "/events/export", params={**query, "after": json.loads(line)["uid"]}
            ) as response:
                assert await response.read() == b"".join(lines[number:])
        async with service.session.get("/events/export", params=query) as response:
            assert await response.read() == whole


async def test_an_event_that_was_quarantined_can_be_corrected(service: Opened, own: Path) -> None:
    await service.post(UNKNOWN, "onewelcome")
    for row in ("LOGIN", "LOGOUT"):
        await fix(service, own, f"  999: {{type: {row}}}\n")
        await run(service)
    assert [event["type"] for event in await found(service)] == ["access.LOGOUT"]
    assert [event["type"] for event in await found(service, order="log")] == ["access.LOGIN"]


async def test_receivers_get_it_once_and_corrections_only_where_they_asked(tmp_path: Path, own: Path) -> None:
    async with receiver() as plain, receiver() as asking:
        sinks = [
            {**sink, "name": name, **more}
            for one, name, more in ((plain, "plain", {}), (asking, "asking", {"revisions": "send"}))
            for sink in one.settings["SINKS"]
        ]
        async with opened(
            tmp_path / "data",
            mappings={"path": [own], "look_every": 0},
            sinks=sinks,
            outgoing={"allow": ["127.0.0.0/8"]},
        ) as service:
            [uid] = (await service.post(UNKNOWN, "onewelcome"))["uids"]
            for row in ("LOGIN", "LOGOUT"):
                await fix(service, own, f"  999: {{type: {row}}}\n")
                await run(service)
            [last] = (await service.post(login(1)))["uids"]
            await until(lambda: last in plain.uids and last in asking.uids and len(asking.taken) == 3)
    assert ids(plain, uid) == {uid: 1}
    assert ids(asking, uid) == {uid: 1, f"{uid}-1": 1}


def ids(receiver: Receiver, uid: str) -> dict[str, int]:
    """The message ids that an event came with, and how often."""
    return {id: count for (taken, id), count in receiver.taken.items() if taken == uid}


async def test_a_dry_run_shows_differences_and_appends_nothing(service: Opened, own: Path) -> None:
    await service.post([UNKNOWN, {**UNKNOWN, "event_type_id": 101}], "onewelcome")
    await fix(service, own, "  999: {type: LOGIN}\n  101: {type: LOGOUT}\n")
    job = await run(service, dry_run=True)
    assert (job["counts"]["recovered"], job["counts"]["corrected"]) == (1, 1)
    assert [(one["verdict"], one["type"]) for one in job["samples"]] == [
        ("recovered", "access.LOGIN"),
        ("corrected", "access.LOGOUT"),
    ]
    assert len(await found(service, order="log", revisions="1")) == 1


async def test_what_is_quarantined_is_shown_in_groups_with_samples(service: Opened) -> None:
    lines = [{**UNKNOWN, "user": {"id": f"u-{n}", "segment": "acme"}} for n in range(3)]
    uids = (await service.post([*lines, {**UNKNOWN, "event_type_id": 998}, 7], "onewelcome"))["uids"]
    await service.post([{"what": "is this"}])
    status, page = await service.get("/quarantine", token="reader-token")
    assert (status, page["count"], page["kinds"]) == (200, 6, 4)
    first = page["groups"][0]
    assert [sample["uid"] for sample in first.pop("samples")] == [uids[0], uids[2]]
    assert first.pop("firstAt") == first.pop("lastAt") > 0
    assert "999" in first.pop("problem")
    assert first == {"source": "onewelcome", "provider": "onewelcome", "nativeType": "999", "count": 3, "likely": None}
    _, page = await service.get("/quarantine", provider="keycloak")
    assert [group["source"] for group in page["groups"]] == ["keycloak"]
    _, page = await service.get("/quarantine", native_type="998", raw="1")
    [sample] = page["groups"][0]["samples"]
    assert json.loads(sample["raw"])["event_type_id"] == 998
    assert [group["count"] for group in (await service.get("/quarantine", limit=1))[1]["groups"]] == [3]


async def test_one_quarantined_entry_is_shown_with_what_was_sent(service: Opened) -> None:
    [uid, read] = (await service.post([UNKNOWN, {**UNKNOWN, "event_type_id": 101}], "onewelcome"))["uids"]
    status, shown = await service.get(f"/quarantine/{uid}", raw="1")
    assert (status, shown["raw"], shown["nativeType"], shown["position"]) == (200, UNKNOWN, "999", 1)
    for other in (read, "0" * 32, "nonsense"):
        assert (await service.get(f"/quarantine/{other}"))[0] == 404


async def test_each_has_its_permission(service: Opened) -> None:
    assert (await ask(service, "GET", token="reader-token"))[0] == 404
    for method in ("POST", "DELETE"):
        assert (await ask(service, method, token="reader-token"))[0] == 403
    assert (await ask(service, "POST", {}, token="operator-token"))[0] == 202
    assert (await service.get("/quarantine", token="operator-token"))[0] == 403
    for path in ("/quarantine", f"/quarantine/{'0' * 32}"):
        assert (await service.get(path, token="reader-token", raw="1"))[0] == 403


async def test_what_is_wrong_is_named(service: Opened) -> None:
    for body, said in (
        ({"providers": "keycloak"}, "providers is not known; known are provider, type"),
        ({"provider": "nobody"}, "'nobody' has no table"),
        ({"received_from": "tomorrow"}, "received_from='tomorrow'"),
        ({"rate": -1}, "rate: "),
        ({"dry_run": "perhaps"}, "dry_run: "),
        ({"type": [""]}, "type is empty"),
        ([], "a JSON object"),
    ):
        status, problem = await ask(service, "POST", body)
        assert (status, said in problem["detail"]) == (400, True), body
    assert (await ask(service, "GET"))[0] == 404


async def test_a_type_that_nobody_knows_is_told_when_it_begins(service: Opened) -> None:
    for type, hints in (
        ("quarantine", ["type=quarantine: the catalogue has no such type; did you mean quarantined?"]),
        ("quarantined", []),
        ("LOGIN", []),
    ):
        status, job = await ask(service, "POST", {"type": type, "rate": 0})
        assert (status, job["hints"]) == (202, hints)
        await ask(service, "DELETE")


async def test_the_job_is_cancelled_and_another_may_begin(service: Opened) -> None:
    for number in range(4):
        await service.post([login(500 * number + one) for one in range(500)])
    assert (await ask(service, "POST", {"rate": 1}))[0] == 202
    status, refused = await ask(service, "POST", {})
    assert (status, refused["title"]) == (409, "Renormalization under way")
    assert re.match(r"one that began at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ is running", refused["detail"])
    status, job = await ask(service, "DELETE")
    assert (status, job["state"]) == (200, "cancelled")
    job = await run(service, rate=0, received_from="2026-01-01T00:00:00Z")
    assert job["counts"]["unchanged"] == 2000


async def test_metrics_count_what_it_came_to(service: Opened, own: Path) -> None:
    await service.post([UNKNOWN, {**UNKNOWN, "event_type_id": 101}], "onewelcome")
    await fix(service, own, "  999: {type: LOGIN}\n")
    await run(service)
    async with service.session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    for line in (
        'idp_adapter_renormalized_total{verdict="recovered"} 1.0',
        'idp_adapter_renormalized_total{verdict="unchanged"} 1.0',
        "idp_adapter_renormalization_running 0.0",
        "idp_adapter_renormalization_lag 0.0",
    ):
        assert line in lines
