"""A day of a realm (story.py), by every way in which its events come; what story.yaml says comes of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import yaml

from tests.e2e.process import Process, serving, until
from tests.keycloak import story
from tests.keycloak.distribution import NEWEST, PUSHING, WITHOUT_IDS, Distribution
from tests.keycloak.mailbox import Mailbox, mailbox
from tests.keycloak.server import Keycloak, Server, asked

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize(
        "server", [PUSHING, NEWEST, WITHOUT_IDS], indirect=True, scope="session", ids=lambda one: one.version
    ),
]

#: What each step gives: events by the names of steps.
TABLE: dict[str, list[dict[str, Any]]] = yaml.safe_load(Path(__file__).with_name("story.yaml").read_text("utf-8"))
REALM = "story"
#: The sources, by how their events come; `both` gets each event at least twice.
PUSHED, PLAIN, PULLED, BOTH = "pushed", "plain", "pulled", "both"


def secret_of(source: str) -> str:
    return f"QkstEpSEJCN9XGl-cnyBoVo7TTiiO6cC-{source}"


class Day(NamedTuple):
    """What came of it."""

    #: Begin and end of each step, epoch milliseconds.
    steps: dict[str, tuple[int, int]]
    #: The events of each way, without what the poller itself causes.
    ways: dict[str, list[dict[str, Any]]]
    #: What the server stored, as often as it did.
    stored: list[dict[str, Any]]
    #: Names of users and clients by their ids.
    names: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    pull = {
        "url": server.url, "realms": [REALM], "client_id": "poller", "client_secret": "poller-secret",
        "interval": "0.5s",
    }  # fmt: skip
    ways = [PUSHED, PLAIN, PULLED, BOTH] if server.distribution.listener else [PULLED, BOTH]
    sources = [
        {"name": way, "provider": "keycloak", "token": secret_of(way)}
        | ({"pull": pull} if way in (PULLED, BOTH) else {})
        for way in ways
    ]
    settings = {"SOURCES": sources, "OUTGOING": {"allow": ["127.0.0.0/8"]}}
    async with asked(server) as first, mailbox() as mails:
        smtp = {"host": "127.0.0.1", "port": str(mails.port), "from": "keycloak@story.test"}
        keycloak = await first.new_realm(REALM, smtpServer=smtp)
        await keycloak.keep_events()
        async with serving(folder / "data", settings=settings) as adapter:
            yield await _spend(keycloak, adapter, mails, ways)
        await keycloak.admin("DELETE", "")


async def _spend(keycloak: Keycloak, adapter: Process, mails: Mailbox, ways: Iterable[str]) -> Day:
    if PUSHED in ways:
        for way in (PUSHED, BOTH, PLAIN):
            url = f"http://127.0.0.1:{adapter.port}/ingest/{way}"
            await keycloak.send_events(url, secret_of(way), plainly=way == PLAIN)
    begun = _now()
    marks: list[tuple[str, int]] = []
    async for step in story.steps(keycloak, mails):
        # No two steps in one millisecond.
        await asyncio.sleep(0.002)
        marks.append((step, _now()))
    marks.append(("", _now() + 1))
    stored = _since(begun, await keycloak.stored())
    if PUSHED not in ways:
        # As a listener would send them, which has ids.
        ids = [{"id": f"00000000-0000-4000-8000-{at:012x}", **one} for at, one in enumerate(stored)]
        await adapter.post(ids, BOTH)
    found = {}
    for way in ways:

        async def complete(way: str = way) -> bool:
            found[way] = _since(begun, await adapter.events(source=way))
            return len(found[way]) >= len(stored)

        await until(complete)
    return Day(
        {step: (begin, end) for (step, begin), (_, end) in pairwise(marks)},
        found,
        stored,
        await _names(keycloak, stored),
    )


async def _names(keycloak: Keycloak, stored: Iterable[dict[str, Any]]) -> dict[str, str]:
    users = await keycloak.admin("GET", "/users?max=100") + await keycloak.admin("GET", "/users", realm="master")
    names = {one["id"]: one["username"] for one in users}
    for one in stored:
        if one.get("resourceType") == "USER" and one["operationType"] == "CREATE":
            names[one["resourcePath"].rpartition("/")[2]] = json.loads(one["representation"])["username"]
    clients = await keycloak.admin("GET", "/clients", realm="master")
    return names | {one["id"]: one["clientId"] for one in clients}


def _now() -> int:
    return time.time_ns() // 1_000_000


def _since(begun: int, events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened since a time, except the poller's own tokens."""
    return [
        one
        for one in events
        if _time(one) >= begun and "poller" not in (one.get("clientId"), one.get("authDetails", {}).get("clientId"))
    ]


def _time(event: Mapping[str, Any]) -> int:
    return int(event["time"])


def facts(event: Mapping[str, Any], names: Mapping[str, str], details: Iterable[str]) -> dict[str, Any]:
    """What a row of the table says of an event."""
    who, more = event["authDetails"], event.get("details", {})
    found = {
        "type": event["type"],
        "outcome": event["outcome"],
        "reason": event.get("reason"),
        "user": names.get(who.get("userId"), who.get("username")),
        "client": names.get(who.get("clientId"), who.get("clientId")),
        "whom": names.get(more.get("userId")) if event["type"].startswith("admin.") else None,
        **{name: more.get(name) for name in details},
    }
    return {name: value for name, value in found.items() if value is not None}


def rows(step: str, distribution: Distribution) -> list[dict[str, Any]]:
    """The table's events of a step."""
    version = _version(distribution.version)
    return [
        {name: value for name, value in row.items() if name not in ("times", "since", "before")}
        for row in TABLE[step]
        if _version(row.get("since", "0")) <= version < _version(row.get("before", "99"))
        for _ in range(row.get("times", 1))
    ]


def _version(text: Any) -> tuple[int, ...]:
    return tuple(map(int, str(text).split(".")))


def in_order(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda one: json.dumps(one, sort_keys=True))


async def test_the_table_has_every_step_and_no_other(day: Day) -> None:
    assert list(day.steps) == list(TABLE)


@pytest.mark.parametrize("step", TABLE)
async def test_a_step_gives_the_events_that_people_expect(day: Day, server: Server, step: str) -> None:
    begin, end = day.steps[step]
    expected = rows(step, server.distribution)
    wanted = {name for row in expected for name in row}
    details = wanted - {"type", "outcome", "reason", "user", "client", "whom"}
    for way, events in day.ways.items():
        found = [facts(one, day.names, details) for one in events if begin <= _time(one) < end]
        assert in_order(found) == in_order(expected), way


async def test_each_way_brings_each_event_once(day: Day) -> None:
    def told(events: Iterable[dict[str, Any]]) -> Counter[Any]:
        return Counter((one.get("id"), _time(one)) for one in events)

    stored = told(day.stored)
    for way, events in day.ways.items():
        if "id" in day.stored[0] or way != BOTH:
            assert told(events) == stored, way
        assert len(events) == len(day.stored), way


async def test_counting_logins_gives_logins(day: Day, server: Server) -> None:
    expected = sum(row["type"] == "access.LOGIN" for step in TABLE for row in rows(step, server.distribution))
    for way, events in day.ways.items():
        assert sum(one["type"] == "access.LOGIN" for one in events) == expected, way
