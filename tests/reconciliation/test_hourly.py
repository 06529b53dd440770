"""Each hour has one signed statement, whatever happens to the service and the server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from adapter.errors import NoteChanged
from adapter.log.protocol import Note, Store
from adapter.reconciliation.comparison import Result
from adapter.reconciliation.hourly import SETTLING, Hourly
from adapter.reconciliation.statement import Statement, digest_of, make_key, read_statement, verified
from tests.reconciliation.place import HOUR, START, Place, opened, reopened, row
from tests.sources.pull.stored import EventStore, serving

KEY = make_key()
NAME = "reconciliation:kc"
#: When the hour that begins at START may be compared.
DUE = START + HOUR + 330_000 + SETTLING


def hourly(place: Place) -> Hourly:
    return Hourly(place.compared, place.parts, KEY, NAME)


async def begin(place: Place) -> Hourly:
    """Statements that begin with the hour of START."""
    place.now = START - 60_000
    made = hourly(place)
    assert await made.round()
    return made


async def statements(place: Place, kind: str = "events") -> list[Statement]:
    """Those in the log, all of them verified."""
    found = []
    for entry in await place.parts.log.read(0):
        if entry.type == "system.SOURCE-RECONCILED":
            event: dict[str, Any] = orjson.loads(entry.event or b"")
            text, signature, statement = read_statement(event)
            assert verified(text, signature, {KEY.thumbprint})
            assert event["outcome"] == ("success" if statement.result is not Result.MISSING else "failure")
            found.append(statement)
    return [one for one in found if one.kind == kind]


async def test_an_hour_has_a_statement_when_its_events_are_committed(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        made = await begin(place)
        rows = [row(number) for number in (5, 1, 3600)]
        place.store.commit(*rows)
        await place.push(*rows)
        place.now = DUE - 1
        assert await made.round()
        assert await statements(place) == []
        place.now = DUE
        assert await made.round()
        (statement,) = await statements(place)
        assert (statement.since, statement.to, statement.result) == (START, START + HOUR, Result.COMPLETE)
        assert (statement.on_server, statement.in_log, statement.only_in_log) == (2, 2, 0)
        assert (statement.ids, statement.digest) == ("id", digest_of([rows[0]["id"], rows[1]["id"]]))
        assert statement.server == place.keycloak.url
        assert len(await statements(place, "admin-events")) == 1
        asked = len(place.keycloak.requests)
        assert await made.round()
        assert len(place.keycloak.requests) == asked
        assert len(await statements(place)) == 1


async def test_what_is_missing_is_fetched_and_stated(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        made = await begin(place)
        place.store.commit(row(1), row(2))
        await place.push(row(1))
        place.now = DUE
        await made.round()
        (statement,) = await statements(place)
        assert (statement.result, statement.in_log, statement.repaired) == (Result.REPAIRED, 1, 1)
        assert (await place.compare()).result is Result.COMPLETE


async def test_a_restart_doubles_no_statement_and_hours_of_an_outage_are_made_up_for(tmp_path: Path) -> None:
    async with serving(EventStore()) as keycloak:
        async with reopened(tmp_path, keycloak) as place:
            await begin(place)
            place.now = DUE
            await hourly(place).round()
            place.store.commit(row(1), row(2 * 3600))
        async with reopened(tmp_path, keycloak) as place:
            place.now = DUE + 3 * HOUR
            await hourly(place).round()
            await hourly(place).round()
            found = await statements(place)
            assert [one.since for one in found] == [START + number * HOUR for number in range(4)]
            assert [one.repaired for one in found] == [0, 0, 1, 0]


async def test_an_hour_waits_for_a_server_that_does_not_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        made = await begin(place)
        place.keycloak.instead["events"] = 500, json.dumps({"error": "unknown_error"})
        place.now = DUE
        assert not await made.round()
        assert await statements(place) == []
        assert len(await statements(place, "admin-events")) == 1
        place.keycloak.instead.clear()
        place.now += HOUR
        assert await made.round()
        for kind in ("events", "admin-events"):
            assert [one.since for one in await statements(place, kind)] == [START, START + HOUR]


async def test_an_hour_waits_for_the_clock_of_the_server(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        made = await begin(place)
        place.now = DUE
        place.keycloak.clock = lambda: place.now - HOUR
        assert not await made.round()
        assert await statements(place) == []


class Stale:
    """A log that tells the note that another service has replaced meanwhile."""

    def __init__(self, log: Store, note: Note) -> None:
        self._log = log
        self._note = note

    async def noted(self, name: str) -> Note:
        return self._note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


async def test_of_two_services_one_states_an_hour(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        await begin(place)
        place.now = DUE
        one, other = hourly(place), hourly(place)
        stale = await place.parts.log.noted(NAME)
        await one.round()
        assert stale is not None

        other._service = replace(place.parts, log=cast(Store, Stale(place.parts.log, stale)))
        with pytest.raises(NoteChanged):
            await other.round()
        assert len(await statements(place)) == 1


async def test_a_realm_that_is_new_begins_with_its_first_whole_hour(tmp_path: Path) -> None:
    async with opened(tmp_path, realms=[]) as place:
        made = await begin(place)
        place.store.configs["shop"] = dict(place.store.configs["acme"])
        place.now = DUE
        await made.round()
        place.now = DUE + 2 * HOUR
        await made.round()
        found = [(one.realm, one.since) for one in await statements(place)]
        assert found == [
            ("acme", START),
            ("acme", START + HOUR),
            ("acme", START + 2 * HOUR),
            ("shop", START + 2 * HOUR),
        ]


async def test_a_realm_that_is_gone_is_asked_for_no_more(tmp_path: Path) -> None:
    async with opened(tmp_path, realms=[]) as place:
        place.store.configs["shop"] = dict(place.store.configs["acme"])
        made = await begin(place)
        del place.store.configs["shop"]
        place.now = DUE
        assert await made.round()
        asked = len(place.keycloak.requests)
        assert await made.round()
        assert len(place.keycloak.requests) == asked
        assert [one.realm for one in await statements(place)] == ["acme"]
