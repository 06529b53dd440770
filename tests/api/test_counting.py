"""Counts of events: by what, over which filter, and who may ask."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.opened import Opened, login, opened

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "scraper", "token": "scraper-token", "permissions": ["metrics"]},
]


def failure(number: int, error: str, **changes: Any) -> dict[str, Any]:
    return login(number, type="LOGIN_ERROR", error=error, sessionId=None, **changes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    events = [
        login(1),
        login(2),
        login(3, userId="user-2", details={"username": "ben"}, ipAddress="2001:db8::1"),
        failure(4, "invalid_user_credentials", clientId="shop"),
        failure(5, "user_not_found", userId=None, details={"username": "nobody"}),
        failure(6, "user_not_found", userId=None, details={"username": "a\u001b[31m\ud800"}),
        login(7, userId="user-3", details={}, ipAddress=None, clientId=None),
    ]
    folder: Path = tmp_path_factory.mktemp("counting")
    async with opened(folder / "data", keys=KEYS) as one:
        await one.post(events)
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def counts(service: Opened, by: str, **query: Any) -> dict[str | None, int]:
    status, found = await service.get("/events/counts", by=by, **query)
    assert status == 200, found
    assert (found["by"], found["partial"], found["since"]) == (by, False, None)
    told = {one["value"]: one["count"] for one in found["counts"]}
    assert found["total"] == sum(told.values())
    assert found["different"] == len(told)
    return told


@pytest.mark.parametrize(
    "by, expected",
    [
        ("type", {"access.LOGIN": 4, "access.LOGIN_ERROR": 3}),
        ("outcome", {"success": 4, "failure": 3}),
        ("reason", {None: 4, "unknown_user": 2, "bad_credentials": 1}),
        ("provider", {"keycloak": 7}),
        ("source", {"keycloak": 7}),
        ("realm", {"realm-1": 7}),
        ("ip", {"203.0.113.7": 5, "2001:db8::1": 1, None: 1}),
        ("client", {"account": 5, "shop": 1, None: 1}),
        ("user", {"anna": 3, "ben": 1, "nobody": 1, "a\u001b[31m\ufffd": 1, "user-3": 1}),
    ],
)
async def test_events_are_counted_by(service: Opened, by: str, expected: dict[str | None, int]) -> None:
    assert await counts(service, by) == expected


async def test_a_filter_counts_what_its_page_shows(service: Opened) -> None:
    assert await counts(service, "user", outcome="failure") == {"anna": 1, "nobody": 1, "a\u001b[31m\ufffd": 1}
    assert await counts(service, "reason", user="anna") == {None: 2, "bad_credentials": 1}
    assert await counts(service, "ip", q="ben") == {"2001:db8::1": 1}
    assert await counts(service, "type", **{"from": login(2)["time"], "to": login(4)["time"]}) == {"access.LOGIN": 2}
    assert await counts(service, "type", type="system.*") == {}


async def test_the_most_frequent_come_first_and_the_others_are_in_the_total(service: Opened) -> None:
    _, found = await service.get("/events/counts", by="user", limit=1)
    assert found["counts"] == [{"value": "anna", "count": 3}]
    assert (found["total"], found["different"]) == (7, 5)


async def series(service: Opened, **query: Any) -> tuple[dict[str | None, list[int | None]], dict[str, Any]]:
    status, found = await service.get("/events/counts", **query)
    assert status == 200, found
    return {one["value"]: one["series"] for one in found["counts"]}, found


async def test_events_are_counted_in_buckets_also_where_there_are_none(service: Opened) -> None:
    first = login(1)["time"]
    begin = first // 60_000 * 60_000
    query = {"from": begin, "to": begin + 4 * 60_000, "bucket": "minute"}
    found, whole = await series(service, by="outcome", **query)
    minutes = [(login(number)["time"] - begin) // 60_000 for number in range(1, 8)]
    assert found == {
        "success": [sum(minutes[number] == minute for number in (0, 1, 2, 6)) for minute in range(4)],
        "failure": [sum(minutes[number] == minute for number in (3, 4, 5)) for minute in range(4)],
    }
    assert whole["totals"] == [minutes.count(minute) for minute in range(4)]
    assert 0 in whole["totals"]
    assert (whole["starts"], whole["end"]) == ([begin + n * 60_000 for n in range(4)], begin + 4 * 60_000)
    assert (whole["bucket"], whole["tz"], whole["total"]) == ("minute", "UTC", 7)


@pytest.mark.parametrize("by", ["type", "realm", "user", "ip", "client"])
async def test_all_that_is_counted_is_in_some_bucket(service: Opened, by: str) -> None:
    at = login(1)["time"]
    query = {"from": at - 40 * 3_600_000, "to": at + 40 * 3_600_000, "bucket": "day", "tz": "Asia/Kolkata"}
    found, _ = await series(service, by=by, **query)
    assert {value: sum(n or 0 for n in numbers) for value, numbers in found.items()} == await counts(service, by)


async def test_without_an_end_the_last_bucket_has_the_present(service: Opened) -> None:
    found, whole = await series(service, by="type", bucket="hour", **{"from": "3h"})
    assert found == {}
    assert len(whole["starts"]) == 4
    assert whole["starts"][-1] <= time.time() * 1000 < whole["end"]


async def test_with_many_buckets_fewer_values_are_told_unless_the_caller_says_how_many(service: Opened) -> None:
    status, found = await service.get("/events/counts", by="type", bucket="hour", **{"from": "90d"})
    assert (status, len(found["starts"]) > 2000) == (200, True)


@pytest.mark.parametrize(
    "query, parameter, told",
    [
        ({"bucket": "day"}, "bucket", "given with from"),
        ({"bucket": "dayly", "from": "7d"}, "bucket", "minute, hour, day, week, or a duration such as 15m"),
        ({"bucket": "1s", "from": "7d"}, "bucket", "more than 5000"),
        ({"bucket": "hour", "from": "90d", "limit": 1000}, "limit", "at most with so many buckets"),
        ({"bucket": "hour", "from": "7d", "tz": "Mars/Olympus"}, "tz", "no time zone"),
        ({"tz": "UTC"}, "tz", "given with bucket"),
    ],
)
async def test_buckets_that_there_cannot_be_are_refused(
    service: Opened, query: dict[str, Any], parameter: str, told: str
) -> None:
    status, problem = await service.get("/events/counts", by="type", **query)
    assert (status, problem["parameter"]) == (400, parameter)
    assert told in problem["detail"]


async def test_a_slip_in_the_question_is_told(service: Opened) -> None:
    status, problem = await service.get("/events/counts", by="usr")
    assert (status, problem["parameter"]) == (400, "by")
    assert "one of type, outcome" in problem["detail"]
    assert (await service.get("/events/counts"))[1]["parameter"] == "by"
    _, found = await service.get("/events/counts", by="user", type="access.LOGN")
    assert "did you mean access.LOGIN" in found["hints"][0]


async def test_whoever_may_not_read_counts_nothing(service: Opened) -> None:
    assert (await service.get("/events/counts", by="user", token="scraper-token"))[0] == 403
    assert (await service.get("/events/counts", by="user", token="nobody"))[0] == 401
    assert (await service.get("/events/counts", by="user", token="reader-token"))[0] == 200


@pytest.mark.parametrize("seconds", ["0", "0.09", "-1", "nan", "soon", "1e", ""])
async def test_a_time_to_count_for_that_is_none_is_refused(service: Opened, seconds: str) -> None:
    status, problem = await service.get("/events/counts", by="type", seconds=seconds)
    assert (status, problem["parameter"]) == (400, "seconds")


@pytest.mark.parametrize("seconds", ["0.1", "1", "1e9", "inf"])
async def test_who_says_how_long_may_be_counted_gets_what_is_counted_till_then(service: Opened, seconds: str) -> None:
    assert await counts(service, "outcome", seconds=seconds) == {"success": 4, "failure": 3}
