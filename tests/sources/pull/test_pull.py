"""A Keycloak's stored events are read into the log: each once, whatever is committed late, and whenever it stops."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.counts import IngestCounts, PullCounts
from adapter.errors import NoReply, StoreMismatch
from adapter.log.memory import Memory, open_memory_log
from adapter.log.protocol import Store
from adapter.outgoing.settings import OutgoingSettings
from adapter.source_state.watching import WatchedSource, Watching
from adapter.sources.intake import Intake, Source
from adapter.sources.keycloak import stream
from adapter.sources.keycloak.place import read_place
from adapter.sources.keycloak.polling import Polling
from adapter.sources.keycloak.server import Kind, NoEpoch, Page, Row, open_server
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.protocol import Inlet
from tests.e2e.process import until
from tests.mapping.built_in import table
from tests.opened import login, opened
from tests.outgoing.certificates import Authority
from tests.sources.pull.stored import SECRET, EventStore, Keycloak, serving

KEYCLOAK = {"keycloak": table("keycloak")}
START = 1_700_000_000_000
LOOPBACK = OutgoingSettings.model_validate({"allow": ["127.0.0.0/8", "::1/128"]})


def pull(url: str = "http://127.0.0.1:1", **more: Any) -> PullSettings:
    given = {"url": url, "realms": ["acme"], "client_id": "poller", "client_secret": SECRET, **more}
    return PullSettings.model_validate(given)


class Clocks:
    """One time for the server and the adapter, moved by the test."""

    def __init__(self) -> None:
        self.now = START

    def seconds(self) -> float:
        return self.now / 1000

    def milliseconds(self) -> int:
        return self.now


class Direct:
    """A store asked without HTTP, with the methods of `Server` that polling calls."""

    def __init__(self, store: EventStore, clocks: Clocks) -> None:
        self.store = store
        self.clocks = clocks
        #: By how much the store's clock is ahead of the adapter's, milliseconds.
        self.ahead = 0
        #: Committed one after the other, each before a page is read.
        self.between: list[list[dict[str, Any]]] = []

    async def events(self, realm: str, kind: Kind, **query: str | int) -> Page:
        if self.between:
            self.store.commit(*self.between.pop(0))
        found = self.store.read(realm, kind.value, dict(query))
        if found is None:
            raise NoEpoch
        return Page([Row(one["time"], json.dumps(one).encode()) for one in found], self.clocks.now + self.ahead)

    async def config(self, realm: str) -> dict[str, Any]:
        return self.store.configs[realm]

    async def realm(self, realm: str) -> dict[str, Any]:
        return {"realm": realm}

    async def realms(self) -> list[str]:
        return list(self.store.configs)


class Reading:
    """A source over a log, polled when the test says so; begun again from the place in the log."""

    def __init__(self, log: Store, server: Any, clocks: Clocks, settings: PullSettings) -> None:
        self.log = log
        self.counts = PullCounts()
        self.ingested = IngestCounts()
        self.source = Source("kc", "keycloak", "kc", KEYCLOAK)
        self.intake = Intake(log, self.ingested)
        self._server = server
        self._clocks = clocks
        self._settings = settings
        self._polling: Polling | None = None

    async def poll(self) -> None:
        if self._polling is None:
            note = await self.log.noted("source:kc")
            inlet = Inlet(self.source, self.intake, "source:kc", note, self._clocks.milliseconds)
            self._polling = Polling(self._settings, self._server, inlet, self.counts, self._clocks.seconds)
        await self._polling.round()

    def restart(self) -> None:
        self._polling = None

    async def push(self, *events: dict[str, Any]) -> None:
        await self.intake.take(self.source, json.dumps(events).encode(), "application/json", self._clocks.now)

    @property
    def problems(self) -> dict[tuple[str, str, str], str]:
        return self.counts.problems


async def natives(log: Store, *, without: str = "") -> Counter[str]:
    """The native events in the log, as often as they are there."""
    stored = await log.read_stored(0, limit=100_000)
    return counted((json.loads(one.raw or b"") for one in stored), without=without)


def counted(events: Any, *, without: str = "") -> Counter[str]:
    return Counter(
        json.dumps({key: value for key, value in event.items() if key != without}, sort_keys=True) for event in events
    )


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAGE", 4)
    monkeypatch.setattr(stream, "SMALLEST", 2)


# Whatever is committed, and whenever


def event(number: int, time: int, content: int) -> dict[str, Any]:
    """A login; those of one time and content differ by their id alone."""
    session = f"session-{content}"
    return login(number, time=time, sessionId=session)


STEPS = st.lists(
    st.one_of(
        # Committed late by so many seconds, one of two contents, several at once; pushed before, after, or never.
        st.tuples(
            st.just("commit"),
            st.sampled_from([0, 0, 1, 14, 16, 200, 300]),
            st.integers(0, 1),
            st.integers(1, 6),
            st.sampled_from(["", "", "before", "after", "between pages"]),
        ),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 1000, 5000, 59_000, 70_000, 1_000_000])),
        st.tuples(st.just("poll")),
        st.tuples(st.just("restart")),
    ),
    max_size=25,
)


@pytest.mark.parametrize("ids", [True, False])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 3))
def test_each_stored_event_is_in_the_log_exactly_once(ids: bool, steps: list[Any], seed: int) -> None:
    async def run() -> None:
        clocks, store, number = Clocks(), EventStore(ids=ids, seed=seed), 0
        async with open_memory_log(Memory()) as log:
            server = Direct(store, clocks)
            reading = Reading(log, server, clocks, pull())
            for step in steps:
                match step:
                    case ("commit", late, content, several, pushed):
                        events = [event(number + one, clocks.now - late * 1000, content) for one in range(several)]
                        number += several
                        if pushed == "before":
                            await reading.push(*events[::2])
                        if pushed == "between pages":
                            server.between.append(events)
                        else:
                            store.commit(*events)
                        if pushed == "after":
                            await reading.poll()
                            await reading.push(*events[::2])
                    case ("wait", milliseconds):
                        # A transaction does not take longer.
                        while milliseconds and server.between:
                            store.commit(*server.between.pop(0))
                        clocks.now += milliseconds
                    case ("poll",):
                        await reading.poll()
                    case ("restart",):
                        reading.restart()
            while server.between:
                store.commit(*server.between.pop(0))
            clocks.now += 61_000
            await reading.poll()
            stored = counted(store.rows.get(("acme", "events"), []), without="id")
            assert await natives(log, without="id") == stored
            assert not any(reading.counts.gaps.values())

    asyncio.run(run())


@pytest.mark.parametrize("ids", [True, False])
async def test_what_is_stored_is_read_in_full_and_what_is_read_is_not_asked_for_again(ids: bool) -> None:
    clocks, store = Clocks(), EventStore(ids=ids)
    store.commit(*(event(number, START - 90 * 86_400_000 + number * 3_600_000, 0) for number in range(100)))
    store.commit(*(event(100 + number, START - 5000, 0) for number in range(20)))
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, Direct(store, clocks), clocks, pull())
        await reading.poll()
        assert log.head == 120
        for _ in range(5):
            clocks.now += 61_000
            await reading.poll()
        assert reading.ingested.duplicates["kc"] == 0
        assert log.head == 120


async def test_every_second_push_is_dropped_and_one_poll_completes_the_log() -> None:
    for ids in (True, False):
        clocks, store = Clocks(), EventStore(ids=ids)
        events = [event(number, START + number // 3, number % 2) for number in range(90)]
        async with open_memory_log(Memory()) as log:
            reading = Reading(log, Direct(store, clocks), clocks, pull())
            await reading.poll()
            store.commit(*events)
            await reading.push(*events[::2])
            await reading.poll()
            assert log.head == 90
            # A push that comes late is known.
            await reading.push(*events[1::2])
            assert log.head == 90


async def test_a_restart_in_the_middle_of_a_long_pass_goes_on_there() -> None:
    clocks, store = Clocks(), EventStore()
    store.commit(*(event(number, START - (1000 - number) * 3_600_000, 0) for number in range(40)))
    async with open_memory_log(Memory()) as log:
        server = Direct(store, clocks)
        asked: list[int] = []

        class Failing(Direct):
            async def events(self, realm: str, kind: Kind, **query: str | int) -> Page:
                asked.append(int(query["dateFrom"]))
                if len(asked) == 6:
                    raise OSError("killed")
                return await super().events(realm, kind, **query)

        reading = Reading(log, Failing(store, clocks), clocks, pull())
        with pytest.raises(OSError, match="killed"):
            await reading.poll()
        before = log.head
        assert 0 < before < 40
        reading = Reading(log, server, clocks, pull())
        await reading.poll()
        assert log.head == 40
        assert reading.ingested.duplicates["kc"] <= 1
        assert not any(reading.counts.gaps.values())


async def test_a_millisecond_that_is_larger_than_a_request_is_taken_in_parts() -> None:
    for ids in (True, False):
        clocks, store = Clocks(), EventStore(ids=ids)
        store.commit(*(event(number, START, number) for number in range(50)))
        async with open_memory_log(Memory()) as log:
            reading = Reading(log, Direct(store, clocks), clocks, pull())
            reading.intake = Intake(log, reading.ingested, events_limit=7)
            await reading.poll()
            assert log.head == 50


@pytest.mark.parametrize(("begin", "expected"), [("now", 1), ("beginning", 3), ("2023-11-14T22:00:00Z", 2)])
async def test_a_realm_begins_where_the_settings_say(begin: str, expected: int) -> None:
    clocks, store = Clocks(), EventStore()
    store.commit(event(1, START - 86_400_000, 0), event(2, START - 60_000, 0))
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, Direct(store, clocks), clocks, pull(**{"from": begin}))
        await reading.poll()
        clocks.now += 70_000
        store.commit(event(3, START + 1, 0))
        await reading.poll()
        assert log.head == expected


@pytest.mark.parametrize("ahead", [300_000, -300_000])
async def test_now_is_by_the_clock_of_the_server(ahead: int) -> None:
    clocks, store = Clocks(), EventStore()
    server = Direct(store, clocks)
    server.ahead = ahead
    store.commit(event(1, START + ahead - 2000, 0))
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, server, clocks, pull(**{"from": "now"}))
        await reading.poll()
        store.commit(event(2, START + ahead + 1000, 0))
        clocks.now += 70_000
        await reading.poll()
        assert log.head == 1


async def test_of_a_realm_that_is_made_later_nothing_is_left_out() -> None:
    clocks, store = Clocks(), EventStore()
    store.commit(event(1, START - 60_000, 0))
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, Direct(store, clocks), clocks, pull(realms=[], **{"from": "now"}))
        await reading.poll()
        store.configs["new"] = store.configs["acme"]
        store.commit(event(2, START + 1, 0), realm="new")
        for _ in range(6):
            clocks.now += 60_000
            await reading.poll()
        assert log.head == 1
        del store.configs["new"]
        store.commit(event(3, clocks.now, 0))
        clocks.now += 301_000
        await reading.poll()
        assert {key[1] for key in reading.counts.last} == {"acme"}
        assert log.head == 2


# Gaps


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize(("away", "gaps"), [(3600, 0), (86_400 * 3, 1)])
async def test_events_that_expired_while_nobody_read_are_a_gap(ids: bool, away: int, gaps: int) -> None:
    clocks, store = Clocks(), EventStore(ids=ids)
    store.configs["acme"]["eventsExpiration"] = 86_400
    store.commit(*(event(number, START - 1000 + number, 0) for number in range(10)))
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, Direct(store, clocks), clocks, pull())
        await reading.poll()
        reading.restart()
        clocks.now += away * 1000
        store.commit(*(event(100 + number, clocks.now - 500_000 + number, 0) for number in range(10)))
        store.expire(clocks.now - 86_400_000)
        await reading.poll()
        assert reading.counts.gaps[("kc", "acme", "events")] == gaps
        assert log.head == 20
        clocks.now += 70_000
        await reading.poll()
        assert sum(reading.counts.gaps.values()) == gaps


async def test_what_expires_after_it_was_read_is_no_gap() -> None:
    clocks, store = Clocks(), EventStore()
    store.configs["acme"]["eventsExpiration"] = 3600
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, Direct(store, clocks), clocks, pull())
        for number in range(0, 200, 7):
            store.commit(event(number, clocks.now, 0))
            await reading.poll()
            clocks.now += 600_000
            store.expire(clocks.now - 3_600_000)
        for _ in range(20):
            clocks.now += 600_000
            store.expire(clocks.now - 3_600_000)
            await reading.poll()
        assert not any(reading.counts.gaps.values())


async def test_events_that_somebody_deletes_are_a_gap() -> None:
    clocks, store = Clocks(), EventStore()
    async with open_memory_log(Memory()) as log:
        reading = Reading(log, Direct(store, clocks), clocks, pull())
        store.commit(event(1, clocks.now, 0))
        await reading.poll()
        clocks.now += 70_000
        store.rows.clear()
        await reading.poll()
        assert sum(reading.counts.gaps.values()) == 1
        # An event tells of it once, whoever watches.
        reading.ingested.pulls = reading.counts
        for _ in range(2):
            await Watching(
                log, reading.ingested, [WatchedSource("kc", "keycloak", "kc", None)], now=lambda: START
            ).look()
        last = (await log.read(0))[-1]
        assert (last.source, last.type, log.head) == ("adapter", "system.SOURCE-GAP", 2)
        details = json.loads(last.event or b"")["details"]
        assert details == {
            "source": "kc", "realm": "acme", "kind": "events",
            "from": "2023-11-14T22:13:20Z", "to": "2023-11-14T22:14:30Z",
        }  # fmt: skip
        # It is a warning for some days, also after a restart.
        reading.restart()
        for days, told in ((0, True), (1, True), (4, False)):
            clocks.now = START + days * 86_400_000 + 200_000
            await reading.poll()
            assert any("may be missing" in problem for problem in reading.problems.values()) is told
        assert sum(reading.counts.gaps.values()) == 1


# A server that does not answer


async def test_a_server_that_does_not_answer_is_asked_less_often_and_for_less() -> None:
    clocks, store = Clocks(), EventStore()
    asked: list[int] = []

    class Silent(Direct):
        answers = False

        async def events(self, realm: str, kind: Kind, **query: str | int) -> Page:
            asked.append(int(query["max"]))
            if not self.answers:
                raise NoReply("no answer within 60 s")
            return await super().events(realm, kind, **query)

    server: Any = Silent(store, clocks)
    async with open_memory_log(Memory()) as log:
        inlet = Inlet(
            Source("kc", "keycloak", "kc", KEYCLOAK), Intake(log, IngestCounts()), "source:kc", None, lambda: 0
        )
        counts = PullCounts()
        pulled = Polling(pull(), server, inlet, counts, clocks.seconds)
        waits = [await pulled.round() for _ in range(8)]
        assert waits[0] < 12 < waits[1] < 25 < waits[2]
        assert 54 <= waits[7] <= 66
        assert asked == [4, 4, 2, 2, 2, 2, 2, 2]
        assert counts.problems == {("kc", "", ""): "no answer within 60 s"}
        assert counts.errors["kc", "", ""] == 8
        server.answers = True
        assert await pulled.round() < 6
        assert counts.problems == {}


@pytest.mark.parametrize("text", ["7", "{}x", '{"version": 2}', '{"streams": []}'])
def test_a_place_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(StoreMismatch, match="the place of the source"):
        read_place(text)


# Over HTTP, by python-keycloak


@pytest.fixture(params=[True, False], ids=["26.2", "26.1"])
def store(request: pytest.FixtureRequest) -> EventStore:
    return EventStore(ids=request.param)


def admin_event(number: int) -> dict[str, Any]:
    return {
        "id": f"0f7b1a52-0002-4e0a-9a57-{number:012x}",
        "time": START + number,
        "realmId": "realm-1",
        "authDetails": {"realmId": "m", "clientId": "c", "userId": "u", "ipAddress": "203.0.113.7"},
        "operationType": "CREATE",
        "resourceType": "USER",
        "resourcePath": f"users/{number}",
    }


async def polled(keycloak: Keycloak, log: Store, **more: Any) -> Reading:
    """A source that was polled once."""
    clocks, configured = Clocks(), pull(keycloak.url, **more)
    async with open_server(configured, LOOPBACK, now=clocks.milliseconds) as server:
        reading = Reading(log, server, clocks, configured)
        await reading.poll()
        return reading


async def test_user_and_admin_events_of_all_realms_are_read_with_one_token(store: EventStore) -> None:
    store.configs["other"] = store.configs["acme"]
    store.commit(*(event(number, START + number, 0) for number in range(10)))
    store.commit(admin_event(1), kind="admin-events")
    store.commit(event(20, START, 0) | {"realmId": "realm-2"}, realm="other")
    async with serving(store) as keycloak, open_memory_log(Memory()) as log:
        reading = await polled(keycloak, log, realms=[])
        assert log.head == 12
        assert reading.problems == {}
        assert {key[1:] for key in reading.counts.last} == {
            (realm, kind) for realm in ("acme", "other") for kind in ("events", "admin-events")
        }
        assert (keycloak.tokens, keycloak.at_once) == (1, 1)
        assert all("dateTo" not in query for _, query in keycloak.requests)
        assert await natives(log, without="id") == counted(
            (row for rows in store.rows.values() for row in rows), without="id"
        )


@pytest.mark.parametrize("refreshes", [False, True])
async def test_a_token_that_expired_is_made_anew(store: EventStore, refreshes: bool) -> None:
    clocks = Clocks()
    async with serving(store) as keycloak, open_memory_log(Memory()) as log:
        keycloak.refreshes = refreshes
        configured = pull(keycloak.url)
        async with open_server(configured, LOOPBACK, now=clocks.milliseconds) as server:
            reading = Reading(log, server, clocks, configured)
            await reading.poll()
            keycloak.valid.clear()
            store.commit(event(1, START, 0))
            await reading.poll()
            assert log.head == 1
            assert (keycloak.tokens, keycloak.at_once, reading.problems) == (2, 1, {})


async def test_a_wrong_secret_is_told_and_reading_goes_on_once_it_is_right(store: EventStore) -> None:
    clocks = Clocks()
    store.commit(event(1, START, 0))
    async with serving(store) as keycloak, open_memory_log(Memory()) as log:
        configured = pull(keycloak.url)
        keycloak.secret = "another"
        async with open_server(configured, LOOPBACK, now=clocks.milliseconds) as server:
            reading = Reading(log, server, clocks, configured)
            await reading.poll()
            (problem,) = reading.problems.values()
            assert "client poller of the realm acme: it, or its secret, is refused" in problem
            assert SECRET not in problem
            keycloak.secret = SECRET
            await reading.poll()
            assert (log.head, reading.problems) == (1, {})


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, '{"error":"HTTP 403 Forbidden"}', "the role view-events of the client realm-management"),
        (500, '{"error":"unknown_error"}', "KC_SPI_EVENTS_STORE_PROVIDER=jpa"),
        (502, "<html>", "the server answers 502"),
        (200, '{"a": 1}', "the answer is no list of events"),
    ],
)
async def test_what_a_server_refuses_is_told_with_what_to_change(status: int, body: str, expected: str) -> None:
    store = EventStore()
    store.commit(admin_event(1), kind="admin-events")
    async with serving(store) as keycloak, open_memory_log(Memory()) as log:
        keycloak.instead["events"] = (status, body)
        reading = await polled(keycloak, log)
        assert expected in reading.problems["kc", "acme", "events"]
        # The admin events do not wait for it.
        assert log.head == 1


async def test_a_realm_that_is_missing_or_keeps_nothing_is_told(store: EventStore) -> None:
    store.configs["acme"]["eventsEnabled"] = False
    async with serving(store) as keycloak, open_memory_log(Memory()) as log:
        reading = await polled(keycloak, log, realms=["acme", "gone"], client_realm="acme")
        assert "eventsEnabled is off" in reading.problems["kc", "acme", "events"]
        assert "realm gone: the server has none of that name" in reading.problems["kc", "gone", "events"]
        assert ("kc", "acme", "admin-events") not in reading.problems


async def test_a_private_address_has_to_be_allowed() -> None:
    clocks = Clocks()
    async with serving(EventStore()) as keycloak, open_memory_log(Memory()) as log:
        configured = pull(keycloak.url)
        async with open_server(configured, OutgoingSettings(), now=clocks.milliseconds) as server:
            reading = Reading(log, server, clocks, configured)
            await reading.poll()
            (problem,) = reading.problems.values()
            assert "list its network in [outgoing] allow" in problem


@pytest.mark.parametrize("skew", [-300_000, 300_000])
async def test_the_clock_is_the_servers(store: EventStore, skew: int) -> None:
    """A clock of ours that is five minutes off moves the place nowhere else."""
    clocks = Clocks()
    async with serving(store) as keycloak, open_memory_log(Memory()) as log:
        keycloak.clock = lambda: clocks.now + skew
        store.commit(event(1, clocks.now + skew + 1000, 0))
        configured = pull(keycloak.url)
        async with open_server(configured, LOOPBACK, now=clocks.milliseconds) as server:
            await Reading(log, server, clocks, configured).poll()
        note = await log.noted("source:kc")
        assert note is not None
        place = read_place(note.text).of("acme", "events")
        assert (place.until, place.polled, log.head) == (clocks.now + skew, clocks.now + skew, 1)


async def test_the_authority_is_the_one_of_the_settings(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.sign("localhost"))
    store = EventStore()
    store.commit(event(1, START, 0))
    async with serving(store, tls) as keycloak, open_memory_log(Memory()) as log:
        refused = await polled(keycloak, log)
        (problem,) = refused.problems.values()
        assert "its certificate is not accepted" in problem
        reading = await polled(keycloak, log, ca_file=str(authority.file))
        assert (reading.problems, log.head) == ({}, 1)


async def test_a_service_pulls_and_is_pushed_to_and_has_each_event_once(tmp_path: Path) -> None:
    store = EventStore()
    events = [event(number, START + number, 0) for number in range(10)]
    async with serving(store) as keycloak:
        source = {
            "name": "kc",
            "provider": "keycloak",
            "token": "token",
            "pull": {"url": keycloak.url, "realms": ["acme"], "client_id": "poller", "client_secret": SECRET}
            | {"interval": "0.05s"},
        }
        outgoing = {"allow": ["127.0.0.0/8"]}
        async with opened(tmp_path / "data", sources=[source], outgoing=outgoing) as service:
            await service.post(events[::2], "kc")
            store.commit(*events)

            async def complete() -> bool:
                return len((await service.get("/events"))[1]["events"]) >= 10

            await until(complete)
            assert len((await service.get("/events"))[1]["events"]) == 10
