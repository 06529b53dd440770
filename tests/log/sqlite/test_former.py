"""A log of version 2, whose keys have no time in front: ``version-2.sqlite``, written by the program of that version.

It holds what a real Keycloak gave by REST (tests/captures), and some logins of the same second; half of the keys were
still on their way into the index. Every event is known as before, whichever way it comes again.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapter.counts import IngestCounts
from adapter.log.protocol import Log, Revision
from adapter.log.sqlite.log import open_sqlite_log
from adapter.log.sqlite.recovery import recover
from adapter.mapping.body import JSON
from adapter.model import uid_text
from adapter.sources.intake import IngestSummary, Intake, Source
from tests.mapping.built_in import table
from tests.mapping.test_captures import bodies

pytestmark = pytest.mark.asyncio

#: Later than all of it arrived, epoch milliseconds.
NOW = 1_770_000_000_000
TABLES = {"keycloak": table("keycloak"), "onewelcome": table("onewelcome")}
CUSTOMER = b'{"event_type_id":102,"timestamp":"2025-11-20T10:00:00Z","user":{"id":"u","segment":"s"}}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(Path(__file__).with_name("version-2.sqlite"), tmp_path / "log.sqlite"))


def login(number: int, **more: Any) -> dict[str, Any]:
    who = {"realmId": "r", "clientId": "c", "userId": "u", "ipAddress": "10.0.0.1"}
    return {"time": 1_763_000_000_000 + number, "type": "LOGIN", **who, **more}


class Sender:
    """Sends bodies to a log."""

    def __init__(self, log: Log) -> None:
        self._intake = Intake(log, IngestCounts())

    async def send(self, *events: dict[str, Any]) -> IngestSummary:
        return await self.send_body(json.dumps(events).encode())

    async def send_body(self, body: bytes, source: str = "prod", provider: str = "keycloak") -> IngestSummary:
        return await self._intake.take(Source(source, provider, source, TABLES), body, JSON, NOW)


def first_version(path: Path) -> None:
    """Make it one of version 1, which knew no revisions."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in (
            "DROP TABLE revision",
            "DROP TABLE note",
            "DROP INDEX quarantined",
            "PRAGMA user_version = 1",
        ):
            connection.execute(statement)


def second_version(path: Path) -> None:
    """It is."""


def recovered(path: Path) -> None:
    """Recover it, so that it is made anew."""
    new = path.with_name("new.sqlite")
    recover(path, new)
    new.replace(path)


@pytest.mark.parametrize("make", [first_version, second_version, recovered])
async def test_every_event_is_known_whichever_way_it_comes_again(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    for _ in range(2):
        async with open_sqlite_log(path) as log:
            entries = await log.read(0)
            assert len(entries) == 164
            uids = {uid_text(entry.uid) for entry in entries}
            assert [await log.latest(entry.uid) for entry in entries] == list(range(1, 165))
            sender = Sender(log)
            for way in ("rest", "http", "webhook"):
                for body in bodies(way):
                    receipts = await sender.send_body(body)
                    assert (receipts.accepted, receipts.quarantined) == (0, 0)
                    assert {*receipts.uids} <= uids
            for events in (
                [login(1, sessionId="B")],
                [login(2), login(2)],
                [login(3, sessionId="X", id="id-3")],
                [{"type": "no type", "time": 1_763_000_000_004, "id": "id-4"}],
                [{"what": "is this"}],
                [login(5, time=4_000_000_000_000)],
                [login(number) for number in range(100, 160)],
            ):
                receipts = await sender.send(*events)
                assert receipts.duplicates == len(events)
                assert {*receipts.uids} <= uids
            assert (await sender.send_body(CUSTOMER, "ow", "onewelcome")).duplicates == 1
            assert log.head == 164


async def test_equal_ones_are_told_apart_now(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        sender = Sender(log)
        assert (await sender.send(login(1, sessionId="A"), login(1, sessionId="B"))).accepted == 1
        assert (await sender.send(login(2), login(2), login(2))).accepted == 1
        assert (await sender.send(login(2), login(2), login(2))).accepted == 0
        with_ids = [login(100, id="a"), login(100, id="b")]
        assert (await sender.send(*with_ids)).accepted == 1
        assert (await sender.send(*reversed(with_ids))).accepted == 0


async def test_what_happens_now_gets_keys_of_now(path: Path) -> None:
    async with open_sqlite_log(path) as log:
        sender = Sender(log)
        new = await sender.send(*(login(0, time=NOW + number * 1000, id=f"{number}") for number in range(20)))
        assert new.accepted == 20
        assert all(uid is not None and uid[14] == "8" for uid in new.uids)
        # The time leads.
        assert new.uids == sorted(str(uid) for uid in new.uids)


async def test_what_was_quarantined_becomes_an_event(path: Path) -> None:
    first_version(path)
    for expected in ([165], None):
        async with open_sqlite_log(path) as log:
            assert (await log.quarantine()).entries == (2 if expected else 1)
            position = 101
            assert await log.revise([Revision(position, position, None, "access.LOGIN", b"{}")]) == expected
