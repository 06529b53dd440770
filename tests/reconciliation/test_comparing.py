"""What a server has stored is held against the log: which events are missing, whatever their keys are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from adapter.reconciliation.comparison import Result
from adapter.sources.keycloak import stream
from adapter.sources.keycloak.server import Kind
from tests.reconciliation.place import HOUR, LATER, START, opened, row

ADMIN = {
    "id": "0f7b1a52-0002-4e0a-9a57-000000000001",
    "time": START + 5_000,
    "realmId": "id-of-acme",
    "authDetails": {"realmId": "id-of-acme", "clientId": "cli", "userId": "root", "ipAddress": "203.0.113.9"},
    "operationType": "CREATE",
    "resourceType": "USER",
    "resourcePath": "users/user-1",
}


@pytest.mark.parametrize("ids", [True, False], ids=["26.2", "26.1"])
async def test_what_the_log_has_is_complete_and_what_it_lacks_is_named_and_fetched(tmp_path: Path, ids: bool) -> None:
    async with opened(tmp_path, ids=ids) as place:
        rows = [row(number) for number in range(10)]
        place.store.commit(*rows)
        place.store.commit(ADMIN, kind="admin-events")
        await place.push(*rows, ADMIN)
        for kind, count in ((Kind.USER, 10), (Kind.ADMIN, 1)):
            found = await place.compare(kind=kind)
            assert (found.result, found.on_server, found.in_log) == (Result.COMPLETE, count, count)
            assert (found.only_in_log, found.missing_count, found.kept_from) == (0, 0, None)
        lost = row(100, type="LOGOUT")
        place.store.commit(lost)
        place.store.commit({**ADMIN, "id": "new", "operationType": "DELETE"}, kind="admin-events")
        found = await place.compare()
        assert (found.result, found.on_server, found.in_log) == (Result.MISSING, 11, 10)
        (missing,) = found.missing
        assert missing.type == "LOGOUT"
        assert missing.time == lost["time"]
        assert missing.id == (lost["id"] if ids else None)
        (missing,) = (await place.compare(kind=Kind.ADMIN)).missing
        assert missing.type == "DELETE USER"
        head = place.parts.log.head
        found = await place.compare(repair=True)
        assert (found.result, found.on_server, found.in_log, found.repaired) == (Result.REPAIRED, 11, 10, 1)
        assert place.parts.log.head == head + 1
        assert (await place.compare()).result is Result.COMPLETE


@pytest.mark.parametrize("ids", [True, False], ids=["26.2", "26.1"])
async def test_of_many_pages_exactly_what_is_missing_is_named(tmp_path: Path, ids: bool) -> None:
    """Several events in each millisecond, over the ends of pages, and equal ones among those without ids."""
    chosen = random.Random(7)
    async with opened(tmp_path, ids=ids) as place:
        rows = [row(number, time=START + 100 + number // 4, userId=f"user-{number % 4 // 2}") for number in range(1300)]
        place.store.commit(*rows)
        # Of a millisecond's equal events the log has one, both or none.
        kept = [one for one in rows if chosen.random() < 0.9]
        for start in range(0, len(kept), 300):
            await place.push(*kept[start : start + 300])
        found = await place.compare(START - HOUR)
        lacking = {one["id"] for one in rows} - {one["id"] for one in kept}
        assert (found.on_server, found.in_log) == (1300, len(kept))
        assert found.missing_count == len(found.missing) == len(lacking)
        assert found.only_in_log == 0
        if ids:
            assert {one.id for one in found.missing} == lacking
        found = await place.compare(repair=True)
        assert (found.repaired, found.missing_count) == (len(lacking), 0)
        assert place.parts.log.head == 1300
        assert (await place.compare(START - HOUR)).result is Result.COMPLETE


async def test_pushed_with_an_id_and_read_without_is_one_event(tmp_path: Path) -> None:
    async with opened(tmp_path, ids=False) as place:
        twins = [row(1, id="a"), row(1, id="b")]
        place.store.commit(*twins)
        await place.push(twins[0])
        found = await place.compare()
        assert (found.in_log, found.missing_count) == (1, 1)
        await place.push(twins[1])
        assert (await place.compare()).result is Result.COMPLETE


async def test_what_may_not_be_committed_yet_is_not_judged(tmp_path: Path) -> None:
    async with opened(tmp_path, overlap="330s") as place:
        place.now = START + 400_000
        place.store.commit(row(0), row(71))
        await place.push(row(0))
        found = await place.compare()
        assert (found.result, found.on_server) == (Result.COMPLETE, 1)
        assert found.to == START + 70_000
        place.now += 2_000
        assert (await place.compare()).missing_count == 1
        found = await place.compare(since=place.now - 330_000)
        assert (found.result, found.on_server) == (Result.FAILED, 0)
        assert "the last 330 s" in (found.problem or "")


async def test_what_only_the_log_has_is_counted(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        rows = [row(number) for number in range(4)]
        place.store.commit(*rows)
        others = row(20, realmId="another"), row(21, time=START + HOUR), row(22, time=START - 1)
        await place.push(*rows, row(10, type="REFRESH_TOKEN"), row(2, id="x", type="REFRESH_TOKEN"), *others)
        found = await place.compare()
        assert (found.result, found.on_server, found.only_in_log) == (Result.COMPLETE, 4, 2)


@pytest.mark.parametrize("ids", [True, False], ids=["26.2", "26.1"])
async def test_what_the_server_keeps_no_more_is_not_said_to_be_complete(tmp_path: Path, ids: bool) -> None:
    async with opened(tmp_path, ids=ids) as place:
        rows = [row(number) for number in range(0, 3000, 1000)]
        place.store.commit(*rows)
        await place.push(*rows)
        place.store.configs["acme"]["eventsExpiration"] = (LATER - START - 1_500_000) // 1000
        place.store.expire(START + 1_500_000)
        found = await place.compare()
        assert (found.result, found.on_server, found.only_in_log) == (Result.COMPLETE, 1, 2)
        assert found.kept_from is not None
        assert found.kept_from >= START + 1_500_000
        place.now += HOUR
        assert (await place.compare()).result is Result.EXPIRED


async def test_events_that_somebody_deleted_are_not_said_to_be_complete(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        rows = [row(0), row(1), row(2000)]
        place.store.commit(*rows)
        await place.push(*rows)
        place.store.expire(START + 2_000_000)
        found = await place.compare()
        assert (found.result, found.only_in_log, found.kept_from) == (Result.COMPLETE, 2, START + 2_000_000)
        place.store.expire(LATER)
        found = await place.compare()
        assert (found.result, found.only_in_log) == (Result.EXPIRED, 3)


async def test_a_realm_that_stores_nothing_is_not_said_to_be_complete(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        place.store.configs["acme"]["adminEventsEnabled"] = False
        found = await place.compare(kind=Kind.ADMIN)
        assert (found.result, found.on_server) == (Result.EXPIRED, 0)
        place.store.commit(ADMIN, kind="admin-events")
        await place.push(ADMIN)
        found = await place.compare(kind=Kind.ADMIN)
        assert (found.result, found.on_server, found.kept_from) == (Result.EXPIRED, 1, START + HOUR)
        assert (await place.compare()).result is Result.COMPLETE


async def test_a_server_that_refuses_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        place.keycloak.instead["events"] = 403, json.dumps({"error": "HTTP 403 Forbidden"})
        found = await place.compare()
        assert found.result is Result.FAILED
        assert "view-events" in (found.problem or "")
        place.keycloak.secret = "another"
        assert "or its secret, is refused" in ((await place.compare()).problem or "")


async def test_what_the_service_takes_at_a_time_does_not_bound_what_is_compared(tmp_path: Path) -> None:
    async with opened(tmp_path, events_limit=3) as place:
        place.store.commit(*(row(number, time=START + number // 5) for number in range(50)))
        assert (await place.compare()).missing_count == 50
        found = await place.compare(repair=True)
        assert (found.result, found.repaired) == (Result.REPAIRED, 50)


async def test_pages_that_are_too_long_to_be_answered_are_asked_for_in_smaller_ones(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        rows = [row(number) for number in range(60)]
        place.store.commit(*rows)
        await place.push(*rows)
        place.keycloak.longest = stream.PAGE // 4
        found = await place.compare()
        assert (found.result, found.on_server) == (Result.COMPLETE, 60)
