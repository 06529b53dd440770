"""What every engine of the search knows of people; held against what the events that are there say all at once."""

from __future__ import annotations

import uuid
from asyncio import to_thread
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.filter import Filter, Term
from adapter.log.protocol import EventRow, NewEntry, RetainingStore
from adapter.log.sqlite.log import open_sqlite_log
from adapter.search import people
from adapter.search.people import ActiveIn, ByAccount, Known
from adapter.search_fields import search_fields
from tests.search.conformance import Database, Place, fill_and_prune, remove_from
from tests.search.events import CATALOGUE, make_entry, make_event

ALL = Filter(CATALOGUE)
#: Fixtures begin anew with each example; and each engine runs them.
_SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow]

#: Few accounts, of whom many events are out of order.
EVENTS = st.builds(
    make_event,
    time=st.integers(1, 40),
    type=st.sampled_from(["access.LOGIN", "access.LOGIN", "access.LOGIN_ERROR", "access.LOGOUT", "system.STARTED"]),
    outcome=st.sampled_from(["success", "failure"]),
    reason=st.sampled_from([None, "bad_credentials", "unknown_user"]),
    realmId=st.sampled_from(["r1", "r2"]),
    authDetails=st.fixed_dictionaries(
        {"username": st.just("zoe")}, optional={"userId": st.sampled_from(["u1", "u2", "u3"])}
    ),
    source=st.fixed_dictionaries({"name": st.sampled_from(["prod", "test"])}),
)


class Expected(NamedTuple):
    source: str
    realm: str | None
    first: int
    last: int
    success: int | None
    failures: int
    failed: int | None


def expected(entries: Sequence[EventRow]) -> list[Expected]:
    """What the latest readings of all events say."""
    latest: dict[bytes, EventRow] = {}
    for entry in entries:
        latest[entry.uid] = entry
    of: dict[tuple[str, str | None, str], list[tuple[int, int | None]]] = {}
    for entry in latest.values():
        if entry.event is None:
            continue
        found = search_fields(entry.event)
        if found.actor is None or found.reason == "unknown_user" or found.type.startswith("system."):
            continue
        deed = None
        if found.type == "access.LOGIN_ERROR":
            deed = 2
        elif found.type == "access.LOGIN" and found.outcome == "success":
            deed = 1
        of.setdefault((found.source, found.realm_id, found.actor), []).append((found.time, deed))
    told = []
    for (source, realm, _), deeds in of.items():
        times = [time for time, _ in deeds]
        success = max((time for time, deed in deeds if deed == 1), default=None)
        failed = [time for time, deed in deeds if deed == 2 and (success is None or time > success)]
        told.append(Expected(source, realm, min(times), max(times), success, len(failed), max(failed, default=None)))
    return sorted(told, key=str)


def shown(found: Sequence[Known]) -> list[Expected]:
    told = [
        Expected(one.source, one.realm_id, one.first, one.row.last, one.row.success, one.row.failures, one.row.failed)
        for one in found
    ]
    return sorted(told, key=str)


def numbered(events: Sequence[dict[str, Any]]) -> list[EventRow]:
    return [make_entry(number, event) for number, event in enumerate(events, 1)]


def accounts(place: Place, filter: Filter = ALL, **asked: Any) -> list[Known]:
    return list(place.people(ByAccount(filter, **{"sort": "-last", "limit": 1_000, **asked})).found)


def seen(user: str, time: int, *, failed: bool = False, **changes: Any) -> dict[str, Any]:
    outcome = {"type": "access.LOGIN_ERROR", "outcome": "failure"} if failed else {}
    return make_event(time=time, authDetails={"userId": user, "username": user}, **outcome, **changes)


class PeopleConformance:
    """Runs on a place of each engine."""

    @settings(max_examples=20, deadline=None, suppress_health_check=_SUPPRESSED)
    @given(st.lists(EVENTS, max_size=30), st.lists(st.tuples(st.integers(1, 30), EVENTS), max_size=6), st.data())
    def test_accounts_are_as_their_events_say_in_whatever_batches_and_revisions_these_come(
        self,
        search_place: Place,
        monkeypatch: pytest.MonkeyPatch,
        events: list[Any],
        revised: list[tuple[int, Any]],
        data: st.DataObject,
    ) -> None:
        entries = numbered(events)
        for of, event in revised:
            if of <= len(events):
                uid = entries[of - 1].uid
                entries.append(make_entry(len(entries) + 1, event, uid=uid, revision=1))
        with monkeypatch.context() as patch:
            for module in ("sqlite", "postgresql"):
                patch.setattr(f"adapter.search.{module}.accounts.WAITING", data.draw(st.sampled_from([1, 5, 1_000])))
            database = Database(search_place).fill([])
            begin = 0
            while begin < len(entries):
                size = data.draw(st.integers(1, 10))
                database.add(entries[begin : begin + size])
                begin += size
                assert shown(accounts(search_place)) == expected(entries[:begin])
        database.close()

    def test_a_failure_that_is_read_anew_while_its_account_is_counted_again_counts_once(
        self, search_place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("sqlite", "postgresql"):
            monkeypatch.setattr(f"adapter.search.{module}.accounts.WAITING", 1)
        events = [seen("u1", 10, failed=True), seen("u1", 30, failed=True), seen("u2", 5)]
        entries = numbered(events)
        database = Database(search_place).fill(entries)
        # A success came in late between the two, in the batch that has the second of them once more.
        late = make_entry(4, seen("u1", 20))
        again = make_entry(5, events[1], uid=entries[1].uid, revision=1)
        database.add([late, again])
        assert shown(accounts(search_place)) == expected([*entries, late, again])
        assert [one.row.failures for one in accounts(search_place, failures_min=1)] == [1]
        database.close()

    def test_pages_in_every_order_give_each_account_once(self, search_place: Place) -> None:
        events = [seen(f"u{number % 23}", number * 7 % 50, failed=number % 3 == 0) for number in range(120)]
        database = Database(search_place).fill(numbered(events))
        for sort in ("last", "-last", "success", "-success", "failures", "-failures"):
            whole = accounts(search_place, sort=sort)
            assert len(whole) == 23
            values = [people.value_of(one.row, sort) for one in whole]
            assert values == sorted(values, reverse=sort.startswith("-"))
            paged: list[Known] = []
            after = None
            while page := accounts(search_place, sort=sort, limit=5, after=after):
                paged += page
                row = page[-1].row
                after = (people.value_of(row, sort), row.account, row.origin)
            assert paged == whole
        database.close()

    def test_dormant_and_failing_accounts_are_found(self, search_place: Place) -> None:
        events = [seen("u1", 10), seen("u2", 50), seen("u3", 60), *(seen("u3", 61 + n, failed=True) for n in range(3))]
        database = Database(search_place).fill(numbered(events))
        assert [one.row.last for one in accounts(search_place, dormant_since=50)] == [10]
        found = [one.row.failures for one in accounts(search_place, failures_min=3)]
        assert (found, [type(one) for one in found]) == ([3], [int])  # JSON has no other numbers
        assert accounts(search_place, failures_min=4) == []
        assert [one.row.last for one in accounts(search_place, ids=("u2",))] == [50]
        assert accounts(search_place, ids=("zoe",)) == []
        database.close()

    def test_who_is_limited_sees_what_is_his_and_counts_nothing_else(self, search_place: Place) -> None:
        events = [
            seen("u1", 10, realmId="r1"),
            seen("u1", 90, realmId="r2"),
            seen("u1", 80, failed=True, realmId="r2"),
            seen("u2", 70, realmId="r2", source={"name": "test"}),
        ]
        database = Database(search_place).fill(numbered(events))
        mine = Filter(CATALOGUE, (Term("origin", False, ("prod/r1",), exact=True),))
        assert [(one.row.last, one.row.failures, one.first) for one in accounts(search_place, mine)] == [(10, 0, 10)]
        assert search_place.active(ActiveIn(mine, [(0, 50), (50, 100)], 10)) == [(1, 1), (0, 0)]
        assert search_place.known_names(["u1", "u2"], [], mine) == search_place.known_names(["u1"], [], mine)
        nothing = Filter(CATALOGUE, (Term("source", False, ("gone",)),))
        assert accounts(search_place, nothing) == []
        assert search_place.active(ActiveIn(nothing, [(0, 100)], 10)) == [(0, 0)]
        database.close()

    def test_active_accounts_are_counted_once_in_each_stretch(self, search_place: Place) -> None:
        events = [seen("u1", 10), seen("u1", 20), seen("u2", 15, failed=True), seen("u2", 60), seen("u1", 70)]
        events += [seen("u1", 30, realmId="r9"), seen("u1", 12, source={"name": "test"})]
        database = Database(search_place).fill(numbered(events))
        assert search_place.active(ActiveIn(ALL, [(0, 50), (50, 100), (100, 150)], 10)) == [(3, 2), (2, 2), (0, 0)]
        assert search_place.active(ActiveIn(ALL, [(0, 50)], -1)) == [None]
        database.close()

    def test_ids_names_and_addresses_of_users_are_known(self, search_place: Place) -> None:
        address = {"email": "Zoe@acme.example"}
        event = make_event(time=5, authDetails={"userId": "u1", "username": "zoe"}, details=address, realmName=None)
        database = Database(search_place).fill(numbered([event]))
        by_id = search_place.known_names(["u1"], [], ALL)
        assert sorted((one.id, one.name, one.is_email, one.last) for one in by_id) == [
            ("u1", "Zoe@acme.example", True, 5),
            ("u1", "zoe", False, 5),
        ]
        (by_name,) = search_place.known_names([], ["zoe@acme.example"], ALL)
        assert (by_name.source, by_name.id, by_name.is_email) == ("prod", "u1", True)
        assert search_place.known_names(["zoe"], ["u1"], ALL) == []
        database.close()

    async def test_what_is_removed_from_the_log_counts_no_more(self, search_place: Place, tmp_path: Path) -> None:
        path = tmp_path / "log.sqlite"
        events = [seen(f"u{n % 7}", n, failed=n % 3 == 0) for n in range(1, 301)]
        async with open_sqlite_log(path, dictionary=b"") as log:
            await append(log, events)
            await to_thread(filled, search_place, path)
            assert shown(await to_thread(accounts, search_place)) == expected(numbered(events))
            # Whole parts, some of a part, and of a part one type alone.
            for until, types in ((150, ()), (230, ("access.LOGIN",)), (260, ("access.LOGIN_ERROR",)), (297, ())):
                await remove_from(log, until, types, 0 if types else None)
                await to_thread(filled, search_place, path)
                left = [await log.fetch([position]) for position in range(1, 301)]
                there = [
                    make_entry(position, orjson.loads(found[0].event or b""))
                    for position, found in enumerate(left, 1)
                    if found
                ]
                assert 0 < len(there) < 300
                assert shown(await to_thread(accounts, search_place)) == expected(there)

    def test_a_search_that_keeps_no_people_knows_none(self, search_place: Place) -> None:
        store = search_place.open(part_size=64, with_people=False)
        store.add([make_entry(1, seen("u1", 10))], lambda uid, position: None)
        store.close()
        assert accounts(search_place) == []
        assert search_place.active(ActiveIn(ALL, [(0, 50)], 10)) == [(0, 0)]


def filled(place: Place, log: Path) -> None:
    fill_and_prune(place.open(part_size=64), log, 300)


async def append(log: RetainingStore, events: Sequence[dict[str, Any]]) -> None:
    """Append events, each of its own."""
    await log.append(
        [
            NewEntry(
                "prod", 1_000, b"{}", "application/json", uuid.uuid4().bytes, None, None, event["time"], "LOGIN",
                event["type"], orjson.dumps(event), None,
            )
            for event in events
        ]
    )  # fmt: skip
