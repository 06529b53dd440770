"""What happened around an event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.commands.remote import Machine
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "acme", "token": "acme-token", "realms": ["acme"]},
    {"name": "scraper", "token": "scraper-token", "permissions": ["metrics"]},
]
#: Seconds between two logins.
EVERY = 30


def at(number: int, **changes: Any) -> dict[str, Any]:
    return login(number, time=1_700_000_000_000 + number * EVERY * 1000, **changes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder: Path = tmp_path_factory.mktemp("data")
    people = [{"userId": f"u{number % 3}", "details": {"username": f"name{number % 3}"}} for number in range(60)]
    async with opened(folder, keys=KEYS) as service:
        for number in range(0, 60, 2):
            address = f"203.0.113.{number % 4}"
            realm = "acme" if number % 4 == 0 else "globex"
            await service.post(at(number, realmId=realm, ipAddress=address, **people[number]))
        # What comes late stands where it happened.
        for number in range(1, 60, 2):
            await service.post(at(number, realmId="acme", sessionId=f"s{number % 5}", **people[number]))
        yield service


async def around(service: Opened, number: int, *, token: str | None = None, **query: Any) -> dict[str, Any]:
    status, found = await service.get(f"/events/{login(number)['id']}/around", token=token, **query)
    assert status == 200, found
    assert isinstance(found, dict)
    return found


def numbers(found: dict[str, Any]) -> list[int]:
    return [(event["time"] - 1_700_000_000_000) // (EVERY * 1000) for event in found["events"]]


async def test_it_is_five_minutes_before_and_after_in_order_of_time(service: Opened) -> None:
    found = await around(service, 30)
    assert numbers(found) == list(range(20, 41))
    assert found["events"][found["at"]]["uid"] == found["uid"]
    assert (found["at"], found["before"], found["after"]) == (10, None, None)
    assert numbers(await around(service, 30, minutes=1)) == [28, 29, 30, 31, 32]
    assert numbers(await around(service, 0, minutes=1)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("same", "expected"),
    [("user", [21, 24, 27, 30, 33, 36, 39]), ("ip", [22, 26, 30, 34, 38])],
)
async def test_others_have_the_same_user_or_address(service: Opened, same: str, expected: list[int]) -> None:
    found = await around(service, 30, same=same)
    assert numbers(found) == expected
    assert found["events"][found["at"]]["uid"] == found["uid"]


async def test_others_have_the_same_session(service: Opened) -> None:
    assert numbers(await around(service, 31, same="session")) == [21, 31, 41]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
async def test_pages_go_on_either_way_until_all_are_there(service: Opened, limit: int) -> None:
    first = await around(service, 30, limit=limit)
    assert len(first["events"]) == limit
    found = numbers(first)
    assert found[first["at"]] == 30
    before, after = first["before"], first["after"]
    while before is not None:
        page = await around(service, 30, limit=limit, cursor=before)
        assert (page["at"], page["after"]) == (None, None)
        found, before = numbers(page) + found, page["before"]
    while after is not None:
        page = await around(service, 30, limit=limit, cursor=after)
        assert (page["at"], page["before"]) == (None, None)
        found, after = found + numbers(page), page["after"]
    assert found == list(range(20, 41))


async def test_who_is_limited_sees_what_is_within(service: Opened) -> None:
    found = await around(service, 31, token="acme-token")
    assert numbers(found) == [number for number in range(21, 42) if number % 2 or number % 4 == 0]
    status, refused = await service.get(f"/events/{login(30)['id']}/around", token="acme-token")
    assert (status, refused["title"]) == (404, "Not found")
    assert (await service.get(f"/events/{login(30)['id']}/around", token="scraper-token"))[0] == 403


async def test_names_are_looked_up_where_they_are_wanted(service: Opened) -> None:
    await service.post(login(100, time=1_700_100_000_000, realmId="acme", userId="u1", details={}))
    found = await around(service, 100, names=1)
    assert [event.get("lookedUp", {}).get("actor") for event in found["events"]] == ["name1"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"minutes": "0"}, "minutes='0' is not right; it must be a whole number from 1 to 1440"),
        ({"minutes": "1441"}, "minutes='1441' is not right; it must be a whole number from 1 to 1440"),
        ({"same": "realm"}, "same='realm' is not right; it must be one of user, session, ip"),
        (
            {"cursor": "x"},
            "cursor='x' is not right; it must be the before or after of another page of the same question",
        ),
        ({"cursor": "bx"}, "cursor is not one that order=time gave"),
        ({"limit": "0"}, "limit='0' is not right"),
    ],
    ids=str,
)
async def test_a_question_that_is_wrong_is_refused(service: Opened, query: dict[str, str], detail: str) -> None:
    status, refused = await service.get(f"/events/{login(30)['id']}/around", **query)
    assert (status, refused["title"]) == (400, "Bad parameter")
    assert refused["detail"].startswith(detail)


async def test_what_an_event_does_not_say_no_other_has(service: Opened) -> None:
    await service.post(login(200, time=1_700_200_000_000, ipAddress=None, userId=None, sessionId=None, details={}))
    for same, what in (("ip", "address"), ("user", "user"), ("session", "session")):
        status, refused = await service.get(f"/events/{login(200)['id']}/around", same=same)
        assert (status, refused["detail"]) == (400, f"same={same}: the event says no {what}")


async def test_the_command_marks_the_event(service: Opened, tmp_path: Path) -> None:
    machine = Machine(tmp_path, {})
    asked = {"URL": service.service.url, "TOKEN": service.service.admin_token}
    said = await machine.run("events", "around", str(login(30)["id"]), "--same", "ip", "-n", "3", **asked)
    lines = said.output.splitlines()
    assert [line[:1] for line in lines[:4]] == [" ", " ", ">", " "]
    assert lines[4] == "There is more before and after; --limit shows more, --minutes less."
    said = await machine.run("events", "around", str(login(30)["id"]), "-m", "1", "--json", **asked)
    assert len(said.output.splitlines()) == 5
