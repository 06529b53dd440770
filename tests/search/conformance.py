"""What every engine of the search does, asked without the process that fills it."""

from __future__ import annotations

import itertools
import uuid
from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Any, Protocol

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapter.filter import Filter, Term
from adapter.log.opening import file_url, open_events
from adapter.log.protocol import EventRow, NewEntry, Removal, RetainingStore
from adapter.log.sqlite.log import open_sqlite_log
from adapter.model import EventDict
from adapter.scope import RealmOf, Scope
from adapter.search import keys
from adapter.search import values as dictionary
from adapter.search.buckets import Buckets, Run
from adapter.search.cursor import BEGINNING, LogCursor, TimeCursor, newest, oldest
from adapter.search.filler import check_origin, fill
from adapter.search.hours import whole_hours
from adapter.search.index import (
    NAMES,
    By,
    ByLog,
    ByPrefix,
    ByTime,
    ByValue,
    Completed,
    Found,
    Question,
    Tally,
    Uncounted,
)
from adapter.search.learning import REALMS, USERS
from adapter.search.linking import Asked, KnownName
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.store import Overtaken, Store, Unusable
from adapter.search_fields import SearchFields, search_fields
from tests.log.entries import quarantined_entry
from tests.search.events import CATALOGUE, make_entry, make_event
from tests.search.links import Links

#: Few enough that most tests have several parts, and batches that lie in two.
PART_SIZE = 4
#: Values that nothing has, so many that a condition is no longer looked for one by one.
NOBODY = [f"nobody-{number}" for number in range(40)]


class Place(Protocol):
    """Where a search lies."""

    def open(self, *, part_size: int, with_people: bool = True) -> Store:
        """Open the search to fill it; if there is none, a new one with such parts is made, which keeps accounts or
        does not."""

    def ask(self, question: Question, seconds: float) -> Found:
        """What is found in it."""

    def count(self, question: ByValue) -> Tally | Uncounted:
        """How many there are of each value."""

    def complete(self, question: ByPrefix) -> Completed:
        """The values that begin so."""

    def names(self, wanted: Sequence[Asked], filter: Filter) -> list[str | None]:
        """The names that are known in it."""

    def known_names(self, ids: Sequence[str], names: Sequence[str], filter: Filter) -> list[KnownName]:
        """What is known in it of ids and names of users."""

    def people(self, question: ByAccount) -> Accounts:
        """The accounts that are known in it."""

    def active(self, question: ActiveIn) -> list[Active | None]:
        """How many of them were active."""

    def clear(self) -> None:
        """Leave nothing there."""


class Database:
    """A search, and what it was filled with."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.store: Store | None = None
        #: Position of the latest entry of each event.
        self._latest: dict[bytes, int] = {}

    def fill(self, entries: Sequence[EventRow], *, part_size: int = PART_SIZE) -> Database:
        """Begin a new one, with these entries."""
        self.close()
        self._place.clear()
        self._latest = {}
        self.store = self._place.open(part_size=part_size)
        self.add(entries)
        return self

    def add(self, entries: Sequence[EventRow]) -> None:
        before: dict[int, int | None] = {}
        for entry in entries:
            before[entry.position] = self._latest.get(entry.uid)
            self._latest[entry.uid] = entry.position
        if entries:
            assert self.store is not None
            self.store.add(entries, lambda uid, position: before[position])

    def names(
        self, *asked: tuple[str, int], kind: int = USERS, exact: Sequence[Term] = (), **origin: str
    ) -> list[str | None]:
        """The names of ids at times, in events of an origin."""
        where = {"source": "prod", "provider": "keycloak", "realm_id": "r1", "realm_name": None, **origin}
        wanted = [Asked(kind, id, tuple(where.values()), time) for id, time in asked]
        return self._place.names(wanted, Filter(CATALOGUE, tuple(exact)))

    def by_time(
        self, filter: Filter, limit: int, cursor: TimeCursor, *, seconds: float = inf, ascending: bool = False
    ) -> Found:
        return self._place.ask(ByTime(filter, limit, cursor, ascending), seconds)

    def by_log(
        self, filter: Filter, limit: int, cursor: LogCursor, until: int, revisions: bool, *, seconds: float = inf
    ) -> Found:
        return self._place.ask(ByLog(filter, limit, cursor, until, revisions), seconds)

    def count(
        self, filter: Filter, by: By, snapshot: int, *, values: int = 1_000, hourly: bool = False
    ) -> dict[str | None, int] | Uncounted:
        """Events by value; of users and clients by the position of one event each."""
        found = self.count_buckets(filter, by, snapshot, None, values=values, hourly=hourly)
        return found if isinstance(found, Uncounted) else {value: events for (value, _), events in found.items()}

    def count_buckets(
        self,
        filter: Filter,
        by: By,
        snapshot: int,
        buckets: Buckets | None,
        *,
        values: int = 1_000,
        hourly: bool = False,
    ) -> dict[tuple[str | None, int], int] | Uncounted:
        hours = whole_hours(filter, by, buckets) if hourly else None
        assert hours or not hourly
        found = self._place.count(ByValue(filter, by, snapshot, values, buckets, hours))
        if isinstance(found, Uncounted):
            return found
        last: dict[object, int] = {}
        for value, _, _, position in found.counts:
            last[value] = max(position, last.get(value, 0))
        counts: Counter[tuple[str | None, int]] = Counter()
        for value, bucket, events, _ in found.counts:
            text = f"of {last[value]}" if isinstance(value, int) else value
            counts[text, bucket] += events
        return dict(counts)

    def complete(
        self, field: str, prefix: str = "", filter: Filter | None = None, *, hour: int = 1 << 40
    ) -> dict[str, int]:
        found = self._place.complete(ByPrefix(filter or Filter(CATALOGUE), field, prefix, hour, inf))
        assert found.is_whole
        return dict(found.values)

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None


def parse(**parameters: str | list[str]) -> Filter:
    listed = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
    return Filter.parse({name.removesuffix("_"): values for name, values in listed.items()}, CATALOGUE)


def newest_first(reader: Database, filter: Filter, *, snapshot: int, size: int, seconds: float = inf) -> list[int]:
    """All pages of ``size``, joined."""
    found: list[int] = []
    cursor = newest(snapshot)
    while (rows := reader.by_time(filter, size, cursor, seconds=seconds)) or rows.reached:
        assert len(rows) <= size
        assert not rows or rows[0] < cursor[:2]
        found += [row.position for row in rows]
        end = rows.reached or rows[-1]
        assert end < cursor[:2]
        cursor = TimeCursor(*end, snapshot)
    return found


def oldest_first(reader: Database, filter: Filter, *, snapshot: int, size: int, seconds: float = inf) -> list[int]:
    """The same, ascending."""
    found: list[int] = []
    cursor = oldest(snapshot)
    while (rows := reader.by_time(filter, size, cursor, seconds=seconds, ascending=True)) or rows.reached:
        assert len(rows) <= size
        assert not rows or rows[0] > cursor[:2]
        found += [row.position for row in rows]
        end = rows.reached or rows[-1]
        assert end > cursor[:2]
        cursor = TimeCursor(*end, snapshot)
    return found


def in_log_order(
    reader: Database, filter: Filter, *, until: int, size: int, revisions: bool = False, seconds: float = inf
) -> list[int]:
    found: list[int] = []
    cursor = BEGINNING
    while (rows := reader.by_log(filter, size, cursor, until, revisions, seconds=seconds)) or rows.reached:
        found += [row.position for row in rows]
        end = LogCursor((rows.reached or rows[-1]).position)
        assert end > cursor
        cursor = end
    return found


#: An id that nobody else has, in whatever realm.
ALICE = "7f901230-8016-466d-9751-d4c680dd8dc4"

EVENTS = st.builds(
    make_event,
    time=st.integers(1, 6),
    type=st.sampled_from(
        [
            "access.LOGIN",
            "access.LOGIN_ERROR",
            "access.SOCIAL_LINK",
            "access.IMPERSONATE",
            "admin.USER-CREATE",
            "admin.CLIENT-UPDATE",
            "system.STARTED",
            "x.custom",
        ]
    ),
    outcome=st.sampled_from(["success", "failure", "unknown"]),
    reason=st.sampled_from([None, "bad_credentials", "unknown_user", "delivery_failed", "gone_from_the_list"]),
    id=st.sampled_from([None, "e1", "u1"]),
    realmId=st.sampled_from([None, "r1", "acme"]),
    realmName=st.sampled_from([None, "acme", "other"]),
    authDetails=st.fixed_dictionaries(
        {},
        optional={
            "userId": st.sampled_from(["u1", "u2", ALICE]),
            "username": st.sampled_from(["alice", "ALICE", "bob", "u1"]),
            "clientId": st.sampled_from(["app", "admin", "c1"]),
            "sessionId": st.sampled_from(["s1", "s2"]),
            "ipAddress": st.sampled_from(
                ["10.0.0.1", "10.0.0.255", "10.1.0.1", "2001:db8::1", "::ffff:10.0.0.1", "nowhere", "255.255.255.255"]
            ),
        },
    ),
    details=st.fixed_dictionaries(
        {},
        optional={
            "username": st.sampled_from(["alice", "Bob@Acme.test", "Zoë"]),
            "userId": st.sampled_from(["u1", "u3"]),
            "code_id": st.just("s2"),
            "factor": st.sampled_from(["otp", "webauthn"]),
            "identity_provider": st.sampled_from(["google", "Corporate 'SAML' \\"]),
            "device_name": st.sampled_from(["alice", "x" * 2000]),
            "country": st.sampled_from(["NL", "DE"]),
        },
    ),
    resourcePath=st.sampled_from(
        [None, "users/u2", f"users/{ALICE}", "groups/g1", "clients/c1", "users/u2/reset-password", "Users/[u]?_%\\'\0"]
    ),
    representation=st.sampled_from([None, '{"clientId":"app"}', "{"]),
    source=st.fixed_dictionaries(
        {
            "name": st.sampled_from(["prod", "test"]),
            "provider": st.sampled_from(["keycloak", "onewelcome"]),
            "receivedAt": st.integers(1, 6),
        }
    ),
)

_VALUES = {
    "type": st.sampled_from(
        [
            "access.*",
            "*",
            "*_ERROR",
            "access.FEDERATED_IDENTITY_LINK",
            "access.EV*",
            "system.*",
            "nothing",
            "*.c*m",
            "/.*N(_E.*)?/",
        ]
    ),
    "outcome": st.sampled_from(["success", "failure", "unknown"]),
    "reason": st.sampled_from(["bad_credentials", "unknown_user"]),
    "reason_class": st.sampled_from(["credential", "system"]),
    "provider": st.sampled_from(["keycloak", "other"]),
    "source": st.sampled_from(["prod", "test"]),
    "realm": st.sampled_from(["acme", "r1", "nowhere"]),
    "user": st.sampled_from(["u1", "u2", "alice", "Alice", "Bob@Acme.test", ALICE]),
    "actor": st.sampled_from(["u1", "alice", "u9", ALICE]),
    "target": st.sampled_from(["u1", "u2", "u3", "alice", ALICE]),
    "client": st.sampled_from(["app", "c1", "nothing"]),
    "ip": st.sampled_from(["10.0.0.1", "10.0.0.0/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "::ffff:10.0.0.1", "::1"]),
    "session": st.sampled_from(["s1", "s2"]),
    "id": st.sampled_from(["e1", "u1"]),
    "resource": st.sampled_from(
        [
            "users/u2",
            "users/*",
            "users/u2*",
            "*/u2/*",
            "*/reset-password",
            "*",
            "groups/g1",
            "USERS/u2",
            "users/u_",
            "Users/[u]?_%\\'\0",
            "Users/[u]?*",
            "Users/*%\\*",
            "nothing/*",
        ]
    ),
    "factor": st.sampled_from(["otp", "WEBAUTHN", "push"]),
    "idp": st.sampled_from(["google", "corporate 'saml' \\"]),
    "device": st.sampled_from(["alice", "x" * 1000]),
    "country": st.sampled_from(["nl", "Germany"]),
    "q": st.sampled_from(["alice", "ali*", "bob acme", "zoë", "ZOE*", "login error", "acme.test", "nothing", "users"]),
}
_MOMENTS = ("from", "to", "received_from", "received_to")

FILTERS = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.lists(values, min_size=1, max_size=2) for name, values in _VALUES.items()},
        **{f"not_{name}": st.lists(values, min_size=1, max_size=2) for name, values in _VALUES.items()},
        **{name: st.integers(1, 7).map(lambda moment: [str(moment)]) for name in _MOMENTS},
    },
)
#: Filters of few conditions, so that most find something.
SMALL_FILTERS = st.lists(
    st.sampled_from([*_VALUES, *(f"not_{name}" for name in _VALUES), *_MOMENTS]), max_size=3
).flatmap(
    lambda names: st.fixed_dictionaries(
        {
            name: st.integers(1, 7).map(lambda moment: [str(moment)])
            if name in _MOMENTS
            else st.lists(_VALUES[name.removeprefix("not_")], min_size=1, max_size=2)
            for name in names
        }
    )
)


#: Events of which many say ids, names, or both, and filters by these.
NAMING_EVENTS = st.builds(
    make_event,
    time=st.integers(1, 3),
    type=st.sampled_from(["access.LOGIN", "access.LOGIN_ERROR", "access.IMPERSONATE", "admin.CLIENT-UPDATE"]),
    outcome=st.sampled_from(["success", "failure"]),
    reason=st.sampled_from(["bad_credentials", "unknown_user"]),
    realmId=st.sampled_from([None, "r1", "r2"]),
    realmName=st.sampled_from([None, "acme"]),
    authDetails=st.fixed_dictionaries(
        {},
        optional={
            "userId": st.sampled_from(["u1", ALICE]),
            "username": st.sampled_from(["alice", "Alice", "bob"]),
            "clientId": st.sampled_from(["app", "c1"]),
        },
    ),
    details=st.fixed_dictionaries({}, optional={"username": st.just("alice"), "userId": st.just("u1")}),
    resourcePath=st.sampled_from([None, f"users/{ALICE}", "clients/c1"]),
    representation=st.sampled_from([None, '{"clientId":"app"}', "{"]),
    source=st.fixed_dictionaries({"name": st.sampled_from(["prod", "prod", "test"])}),
)
#: One user is called as another one's id reads.
NAMED_AS_ANOTHERS_ID: list[EventDict | None] = [
    make_event(type="access.LOGIN", authDetails={"userId": "u2", "username": "u1"}),
    make_event(type="admin.USER-CREATE", authDetails={}, details={"username": "alice", "userId": "u1"}),
]
NAMING_FILTERS = st.tuples(
    st.sampled_from(["", "not_"]), st.sampled_from(["user", "actor", "target", "client", "realm"])
)
NAMED_VALUES: dict[str, list[str]] = {
    **{name: ["alice", "ALICE", "bob", "u1", ALICE] for name in ("user", "actor", "target")},
    "client": ["app", "c1"],
    "realm": ["r1", "r2", "acme"],
}

SCOPES = st.builds(
    Scope,
    st.none()
    | st.frozensets(
        st.builds(RealmOf, st.sampled_from([None, "prod", "test", "gone"]), st.sampled_from(["acme", "r1", "other"])),
        min_size=1,
        max_size=3,
    ),
    st.none() | st.frozensets(st.sampled_from(["prod", "test", "gone"]), min_size=1),
    st.none() | st.frozensets(st.sampled_from(["keycloak", "onewelcome", "gone"]), min_size=1),
)


def is_within(scope: Scope, event: EventDict) -> bool:
    """Whether a scope has an event."""
    source, realms = event["source"], {event.get("realmId"), event.get("realmName")} - {None}
    return (
        (scope.sources is None or source["name"] in scope.sources)
        and (scope.providers is None or source["provider"] in scope.providers)
        and (
            scope.realms is None
            or any(one.name in realms and one.source in (None, source["name"]) for one in scope.realms)
        )
    )


#: Of a filter: so many values more that nothing has.
_MORE: dict[str, list[str]] = {
    **dict.fromkeys(("realm", "user", "actor", "target", "client", "session", "id", "source", "resource"), NOBODY),
    "type": [f"access.{name}" for name in NOBODY],
    "ip": [f"198.51.100.{number}" for number in range(1, 40, 2)] + [f"198.{number}.0.0/16" for number in range(60, 80)],
    "q": [f"word{number}" for number in range(30)],
}


def _words(parameters: dict[str, list[str]]) -> int:
    return len(parameters.get("q", [])) + len(parameters.get("not_q", []))


def with_more(parameters: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: values + _MORE.get(name.removeprefix("not_"), []) for name, values in parameters.items()}


#: The fixtures begin anew with each example; and each engine runs them.
_SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


def kept_value(by: By, fields: SearchFields) -> str | None:
    """What an event is counted under."""
    if by == "ip":
        address = None if fields.ip is None else ip_address(fields.ip)
        return None if address is None else str(getattr(address, "ipv4_mapped", None) or address)
    if by == "realm":
        return fields.realm_name or fields.realm_id
    value: str | None = getattr(fields, by)
    return value


class SearchConformance:
    """Every engine's tests derive from it, and bring a ``search_place``."""

    @pytest.fixture
    def database(self, search_place: Place) -> Iterator[Database]:
        one = Database(search_place)
        yield one
        one.close()

    @pytest.mark.parametrize("symbols", [4_096, 2, 0], ids=["all_kinds_told_apart", "two_kinds_told_apart", "none"])
    @settings(max_examples=30, deadline=None, suppress_health_check=_SUPPRESSED)
    @given(
        events=st.lists(st.none() | EVENTS, min_size=1, max_size=25),
        filters=st.lists(SMALL_FILTERS, min_size=6, max_size=6),
        size=st.sampled_from([1, 3, 7, 100]),
        many=st.booleans(),
    )
    @example(events=NAMED_AS_ANOTHERS_ID, filters=[{"user": ["alice"]}], size=1, many=False)
    def test_the_database_finds_what_the_filter_and_what_is_known_of_names_say(
        self,
        database: Database,
        symbols: int,
        events: list[EventDict | None],
        filters: list[dict[str, list[str]]],
        size: int,
        many: bool,
    ) -> None:
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(keys, "SYMBOLS_LIMIT", symbols)
            reader = database.fill([make_entry(position, event) for position, event in enumerate(events, 1)])
        links = Links(events, symbols)
        for parameters in filters:
            parameters = with_more(parameters) if many and _words(parameters) <= 2 else parameters
            filter = Filter.parse(parameters, CATALOGUE)
            wanted = [
                (fields.time, position)
                for position, fields in enumerate(links.fields, 1)
                if fields is not None and links.matches(filter, fields)
            ]
            for seconds in (inf, 0):  # without time, each page ends where a part does
                by_time = newest_first(reader, filter, snapshot=len(events), size=size, seconds=seconds)
                assert by_time == [position for _, position in sorted(wanted, reverse=True)]
                assert oldest_first(reader, filter, snapshot=len(events), size=size, seconds=seconds) == by_time[::-1]
                by_log = in_log_order(reader, filter, until=len(events), size=size, seconds=seconds)
                assert by_log == [position for _, position in wanted]
            matched = [search_fields(orjson.dumps(events[position - 1])) for _, position in wanted]
            for by in NAMES:
                values = [kept_value(by, one) for one in matched]
                if by == "user" or by == "client":  # known by the last event that has it
                    last = dict(zip(values, [position for _, position in wanted], strict=True))
                    values = [None if value is None else f"of {last[value]}" for value in values]
                counted = reader.count(filter, by, len(events))
                if counted is Uncounted.UNTOLD:  # realms that are not told apart
                    assert by == "realm" and symbols < 4_096
                else:
                    assert counted == Counter(values)
                if whole_hours(filter, by, None) is not None:
                    counted = reader.count(filter, by, len(events), hourly=True)
                    if counted is Uncounted.UNTOLD:
                        assert symbols < 4_096
                    else:
                        assert counted == Counter(values)

    @pytest.mark.parametrize("symbols", [4_096, 2, 0], ids=["all_kinds_told_apart", "two_kinds_told_apart", "none"])
    @settings(max_examples=30, deadline=None, suppress_health_check=_SUPPRESSED)
    @given(
        events=st.lists(NAMING_EVENTS, min_size=2, max_size=12),
        terms=st.lists(NAMING_FILTERS, min_size=1, max_size=2),
        many=st.booleans(),
    )
    def test_ids_and_names_that_were_said_together_are_found_by_each_other(
        self, database: Database, symbols: int, events: list[EventDict], terms: list[tuple[str, str]], many: bool
    ) -> None:
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(keys, "SYMBOLS_LIMIT", symbols)
            reader = database.fill([make_entry(position, event) for position, event in enumerate(events, 1)])
        links = Links(events, symbols)
        for values in itertools.product(*(NAMED_VALUES[name] for _, name in terms)):
            asked = [(negation + name, [value]) for (negation, name), value in zip(terms, values, strict=True)]
            parameters = with_more(dict(asked)) if many else dict(asked)
            filter = Filter.parse(parameters, CATALOGUE)
            wanted = [
                (fields.time, position)
                for position, fields in enumerate(links.fields, 1)
                if fields is not None and links.matches(filter, fields)
            ]
            by_time = newest_first(reader, filter, snapshot=len(events), size=5)
            assert by_time == [position for _, position in sorted(wanted, reverse=True)], parameters
            by_log = in_log_order(reader, filter, until=len(events), size=5)
            assert by_log == [position for _, position in wanted]

    def test_a_name_is_that_of_its_time_and_place(self, database: Database) -> None:
        said = [(20, "u1", "anna"), (40, "u1", "anna-2"), (60, "u1", "anna-2"), (30, ALICE, "alice")]
        database.fill(
            [
                make_entry(
                    number,
                    make_event(time=time, realmId="r1", realmName=None, authDetails={"userId": id, "username": name}),
                )
                for number, (time, id, name) in enumerate(said, 1)
            ]
        )
        assert database.names(("u1", 10), ("u1", 20), ("u1", 39), ("u1", 40), ("u1", 99)) == [
            *("anna", "anna", "anna", "anna-2", "anna-2")
        ]
        assert database.names(("u2", 10)) == [None]
        # An id that is no UUID may be another's in another realm, and any id another's at another source.
        assert database.names(("u1", 20), (ALICE, 20), realm_id="r2") == [None, "alice"]
        assert database.names(("u1", 20), (ALICE, 20), source="test") == [None, None]

    def test_a_reader_learns_nothing_from_what_he_may_not_see(self, database: Database) -> None:
        secret = make_event(
            realmId="r2", realmName="hidden", authDetails={"userId": ALICE, "username": "alice", "ipAddress": "::1"}
        )
        reader = database.fill(
            [
                make_entry(1, secret),
                make_entry(2, make_event(realmId="r1", realmName="acme", authDetails={"userId": ALICE})),
                make_entry(3, make_event(realmId="r1", realmName=None, authDetails={"userId": ALICE})),
            ]
        )
        mine = Term("realm", False, ("acme", "r1"), exact=True)
        assert database.names((ALICE, 1_000)) == ["alice"]
        assert database.names((ALICE, 1_000), exact=[mine]) == [None]
        by_name = Filter(CATALOGUE, (Term("user", False, ("alice",)),))
        assert newest_first(reader, by_name, snapshot=3, size=10) == [3, 2, 1]
        scoped = Filter(CATALOGUE, (*by_name.terms, mine))
        assert newest_first(reader, scoped, snapshot=3, size=10) == []
        # What is exact counts as it is said, without what is known of it.
        exact = Filter(CATALOGUE, (Term("realm", False, ("acme",), exact=True),))
        assert newest_first(reader, exact, snapshot=3, size=10) == [2]
        assert newest_first(reader, parse(realm="acme"), snapshot=3, size=10) == [3, 2]
        assert database.names(("r1", 1_000), kind=REALMS, exact=[mine]) == ["acme"]

    def test_what_a_reader_may_not_see_does_not_take_the_room_of_what_he_may(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for engine in ("sqlite.compiler", "postgresql.query"):
            monkeypatch.setattr(f"adapter.search.{engine}.LIMIT", 3)
            monkeypatch.setattr(f"adapter.search.{engine}.ROWS_LIMIT", 3)
        own = [
            make_event(time=n, authDetails=who)
            for n, who in enumerate([{"userId": "u9", "username": "zoe"}, {"userId": "u9"}])
        ]
        hidden = [
            make_event(realmName="hidden", realmId="r2", time=10 + n, authDetails={"userId": id, "username": name})
            for n, (id, name) in enumerate(
                [*((f"u{n}", "zoe") for n in range(5)), *(("u9", f"n{n}") for n in range(5))]
            )
        ]
        reader = database.fill([make_entry(n, event) for n, event in enumerate([*hidden, *own], 1)])
        mine = Term("realm", False, ("acme",), exact=True)
        scoped = Filter(CATALOGUE, (Term("user", False, ("zoe",)), mine))
        assert newest_first(reader, scoped, snapshot=12, size=10) == [12, 11]
        assert database.names(("u9", 1), exact=[mine], realm_id=own[0]["realmId"]) == ["zoe"]

    @pytest.mark.parametrize("symbols", [4_096, 2, 0], ids=["all_kinds_told_apart", "two_kinds_told_apart", "none"])
    @settings(max_examples=25, deadline=None, suppress_health_check=_SUPPRESSED)
    @given(
        events=st.lists(st.none() | EVENTS | NAMING_EVENTS, min_size=1, max_size=25),
        scopes=st.lists(SCOPES, min_size=3, max_size=3),
        filters=st.lists(SMALL_FILTERS, min_size=3, max_size=3),
    )
    def test_who_is_limited_finds_what_is_there_where_nothing_else_is(
        self,
        database: Database,
        symbols: int,
        events: list[EventDict | None],
        scopes: list[Scope],
        filters: list[dict[str, list[str]]],
    ) -> None:
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(keys, "SYMBOLS_LIMIT", symbols)
            reader = database.fill([make_entry(position, event) for position, event in enumerate(events, 1)])
        for scope, parameters in itertools.product(scopes, filters):
            if symbols < 4_096:
                # What is known of a realm's names depends on whether it is told apart, which others' may decide.
                linked = ("realm", "user", "actor", "target", "client")
                parameters = {name: one for name, one in parameters.items() if name.removeprefix("not_") not in linked}
            filter = Filter.parse(parameters, CATALOGUE)
            own = Links([one if one is not None and is_within(scope, one) else None for one in events], symbols)
            wanted = [
                (fields.time, position)
                for position, fields in enumerate(own.fields, 1)
                if fields is not None and own.matches(filter, fields)
            ]
            bound = scope.bound(filter)
            found = newest_first(reader, bound, snapshot=len(events), size=3)
            assert found == [position for _, position in sorted(wanted, reverse=True)]
            assert in_log_order(reader, bound, until=len(events), size=3) == [position for _, position in wanted]
            counts = reader.count(bound, "source", len(events))
            assert counts == Counter(kept_value("source", own.fields[position - 1]) for _, position in wanted)  # type: ignore[arg-type]

    @settings(max_examples=40, deadline=None, suppress_health_check=_SUPPRESSED)
    @given(
        times=st.lists(st.integers(1, 3), min_size=1, max_size=40),
        more=st.lists(st.lists(st.integers(1, 4), max_size=4), max_size=10),
        size=st.integers(1, 20),
        filtered=st.booleans(),
    )
    def test_pages_give_each_event_once_while_new_ones_arrive(
        self, database: Database, times: list[int], more: list[list[int]], size: int, filtered: bool
    ) -> None:
        reader = database.fill([make_entry(position, make_event(time=time)) for position, time in enumerate(times, 1)])
        filter = parse(client="app") if filtered else parse()
        head = snapshot = len(times)
        cursor = newest(snapshot)
        found: list[int] = []
        while rows := reader.by_time(filter, size, cursor):
            found += [row.position for row in rows]
            cursor = TimeCursor(*rows[-1], snapshot)
            arriving = more.pop() if more else []
            database.add([make_entry(head + n, make_event(time=time)) for n, time in enumerate(arriving, 1)])
            head += len(arriving)
        assert found == sorted(
            range(1, snapshot + 1), key=lambda position: (times[position - 1], position), reverse=True
        )

    def test_by_time_an_event_shows_its_latest_revision_alone(self, database: Database) -> None:
        event = uuid.UUID(int=77).bytes
        reader = database.fill(
            [
                make_entry(1, make_event(time=10), uid=event),
                make_entry(2, make_event(time=20)),
                make_entry(3, make_event(time=10, outcome="failure"), uid=event, revision=1),
                make_entry(4, make_event(time=10, outcome="unknown"), uid=event, revision=2),
            ]
        )
        assert newest_first(reader, parse(), snapshot=4, size=10) == [2, 4]
        assert newest_first(reader, parse(outcome="failure"), snapshot=4, size=10) == []
        assert reader.count(parse(), "outcome", 4) == {"unknown": 1, "success": 1}
        assert reader.count(parse(), "outcome", 3) == {"failure": 1, "success": 1}

    @pytest.mark.parametrize("hourly", [True, False])
    def test_events_are_counted_in_buckets(self, database: Database, hourly: bool) -> None:
        times = [0, 30, 59, 60, 61, 120, 179, 240, 300]
        kinds = ["access.LOGIN", "access.LOGIN_ERROR"]
        entries = [
            make_entry(position, make_event(time=minutes * 60_000, type=kinds[position % 2]))
            for position, minutes in enumerate(times, 1)
        ]
        reader = database.fill(entries)
        hour = 3_600_000
        for runs, filter in (
            ([Run(0, hour, 6)], parse(to="21600000")),
            ([Run(0, hour, 1), Run(hour, 2 * hour, 2)], parse(from_="0", to="18000000")),
            # Each begins at half an hour: hours that lie in two are counted from their events.
            ([Run(-hour // 2, 2 * hour, 4)], parse(from_="1800000", to="18000001")),
        ):
            buckets = Buckets(runs)
            expected = Counter(
                (kinds[position % 2], next(n for n, start in reversed([*enumerate(buckets.starts)]) if start <= time))
                for position, time in enumerate((minutes * 60_000 for minutes in times), 1)
                if (filter.time_from or 0) <= time < (filter.time_to or 0)
            )
            assert reader.count_buckets(filter, "type", len(times), buckets, hourly=hourly) == expected
            assert sum(expected.values()) > 5

    def test_hourly_counts_follow_revisions_and_what_comes_while_they_are_asked(self, database: Database) -> None:
        event, other = uuid.UUID(int=77).bytes, uuid.UUID(int=78).bytes
        reader = database.fill(
            [
                make_entry(1, make_event(time=10), uid=event),
                make_entry(2, make_event(time=20)),
                make_entry(3, make_event(time=7_200_000, outcome="failure"), uid=event, revision=1),
                make_entry(4, None, uid=other),
                make_entry(5, make_event(time=30), uid=other),
            ]
        )
        assert reader.count(parse(), "outcome", 5, hourly=True) == {"failure": 1, "success": 2}
        assert reader.count(parse(to="3600000"), "outcome", 5, hourly=True) == {"success": 2}
        database.add([make_entry(6, make_event(time=10, outcome="unknown"), uid=event, revision=2)])
        database.add([make_entry(7, make_event(time=10, outcome="unknown"), uid=event, revision=3)])
        assert reader.count(parse(), "outcome", 7, hourly=True) == {"unknown": 1, "success": 2}
        # Also what was filled after the question began, and in parts of hours the same.
        database.add([make_entry(8, make_event(time=3_600_005)), make_entry(9, make_event(time=40))])
        assert reader.count(parse(to="3600010"), "outcome", 7, hourly=True) == {"unknown": 1, "success": 4}

    def test_values_are_completed_within_a_scope(self, database: Database) -> None:
        def said(number: int, name: str, source: str, realm: str, **details: str) -> EventRow:
            who = {"username": name, "clientId": "App", "ipAddress": f"10.0.0.{number}:443"}
            event = make_event(
                source={"name": source}, realmId=None, realmName=realm, authDetails=who, details=details, time=number
            )
            return make_entry(number, event)

        reader = database.fill(
            [
                said(1, "Anna", "prod", "acme", country="DE"),
                said(2, "anna", "prod", "acme"),
                said(3, "andy", "prod", "other", login_method="Passkey"),
                said(4, "ben", "test", "acme"),
                said(5, "an%", "prod", "acme"),
                said(6, "x" * 500, "prod", "acme"),
                make_entry(7, None),
            ]
        )
        assert reader.complete("user", "an") == {"anna": 2, "andy": 1, "an%": 1}
        assert reader.complete("user", "an%") == {"an%": 1}
        assert reader.complete("user") == {"anna": 2, "andy": 1, "an%": 1, "ben": 1}
        assert reader.complete("client", "A") == {"App": 6}
        assert reader.complete("client", "a") == {}
        assert reader.complete("ip", "10.0.0.1") == {"10.0.0.1": 1}
        assert reader.complete("country") == {"de": 1}
        assert reader.complete("method", "pass") == {"passkey": 1}
        assert reader.complete("realm") == {"acme": 5, "other": 1}
        assert reader.complete("source", hour=-1) == {"prod": 0, "test": 0}
        bound = Scope(frozenset({RealmOf("prod", "acme")})).bound(parse())
        assert reader.complete("user", "an", bound) == {"anna": 2, "an%": 1}
        assert reader.complete("realm", "", bound) == {"acme": 4}
        assert reader.complete("source", "", bound) == {"prod": 4}
        assert reader.complete("method", "", bound) == {}
        assert reader.complete("user", "", Scope(sources=frozenset({"nobody"})).bound(parse())) == {}

    def test_who_invents_realms_is_in_no_completion_of_who_is_limited_to_one(self, database: Database) -> None:
        events = [
            make_event(realmId=None, realmName="r" * 500, type=f"x.{'y' * 500}", authDetails={"username": "mallory"}),
            make_event(realmId=None, realmName="acme", authDetails={"username": "alice"}),
        ]
        reader = database.fill([make_entry(number, event) for number, event in enumerate(events, 1)])
        assert reader.complete("user") == {"mallory": 1, "alice": 1}
        assert reader.complete("type") == {"access.LOGIN": 1}
        acme = Scope(frozenset({RealmOf(None, "acme")})).bound(parse())
        assert reader.complete("user", "", acme) == {"alice": 1}
        long = Scope(frozenset({RealmOf(None, "r" * 500)})).bound(parse())
        assert reader.complete("user", "", long) == {}
        # The hourly counts do not tell such events apart.
        assert reader.count(long, "type", 2, hourly=True) is Uncounted.UNTOLD
        assert reader.count(parse(), "realm", 2, hourly=True) is Uncounted.UNTOLD
        assert reader.count(parse(), "source", 2, hourly=True) == {"prod": 2}
        assert reader.count(long, "source", 2) == {"prod": 1}

    def test_a_value_may_be_written_in_several_ways(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dictionary, "_ADDED_UP", 1)
        ways = ["10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:2", "10.0.0.1", "10.0.0.1:3"]
        entries = [
            make_entry(number, make_event(authDetails={"ipAddress": way})) for number, way in enumerate(ways * 8, 1)
        ]
        reader = database.fill(entries[:1], part_size=100)
        for begin in range(1, len(entries), 3):
            database.add(entries[begin : begin + 3])
        assert list(reader.complete("ip")) == ["10.0.0.1"]

    def test_there_are_so_many_values_of_a_part_at_most(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dictionary, "LIMIT", 3)
        names = [f"user-{number}" for number in range(10)]
        entries = [
            make_entry(number, make_event(authDetails={"username": name})) for number, name in enumerate(names, 1)
        ]
        reader = database.fill(entries[:6], part_size=100)
        database.add(entries[6:])
        assert reader.complete("user") == {"user-0": 1, "user-1": 1, "user-2": 1}

    @pytest.mark.parametrize("filter", [parse(), parse(client="app")], ids=["all", "by a key"])
    def test_more_values_than_are_allowed_are_not_counted(self, database: Database, filter: Filter) -> None:
        addresses = [{"clientId": "app", "ipAddress": f"10.0.0.{number}"} for number in range(3)]
        events = [make_event(authDetails=one) for one in addresses]
        reader = database.fill([make_entry(position, event) for position, event in enumerate(events, 1)])
        assert reader.count(filter, "ip", 3, values=3) == {"10.0.0.0": 1, "10.0.0.1": 1, "10.0.0.2": 1}
        assert reader.count(filter, "ip", 3, values=2) is Uncounted.TOO_MANY

    def test_a_revision_that_comes_between_two_pages_hides_nothing(self, database: Database) -> None:
        event = uuid.UUID(int=77).bytes
        reader = database.fill([make_entry(1, make_event(time=10), uid=event), make_entry(2, make_event(time=20))])
        first = reader.by_time(parse(), 1, newest(2))
        database.add([make_entry(3, make_event(time=10, outcome="failure"), uid=event, revision=1)])
        second = reader.by_time(parse(), 1, TimeCursor(*first[0], 2))
        assert [row.position for row in first + second] == [2, 1]

    def test_by_log_an_event_shows_its_first_entry_and_its_corrections_when_asked(self, database: Database) -> None:
        event = uuid.UUID(int=77).bytes
        reader = database.fill(
            [
                make_entry(1, make_event(), uid=event),
                make_entry(2, make_event(outcome="failure"), uid=event, revision=1),
                make_entry(3, make_event()),
            ]
        )
        assert in_log_order(reader, parse(), until=3, size=2) == [1, 3]
        assert in_log_order(reader, parse(), until=3, size=2, revisions=True) == [1, 2, 3]

    def test_the_first_event_of_a_mended_quarantined_entry_is_a_first_entry(self, database: Database) -> None:
        event = uuid.UUID(int=77).bytes
        reader = database.fill(
            [
                make_entry(1, None, uid=event),
                make_entry(2, make_event(time=5), uid=event),
                make_entry(3, make_event(time=6), uid=event, revision=1),
            ]
        )
        assert in_log_order(reader, parse(), until=3, size=10) == [2]
        assert newest_first(reader, parse(), snapshot=3, size=10) == [3]

    @pytest.mark.parametrize(
        "parameters",
        [{}, {"client": "app"}, {"type": "access.*"}, {"realm": "acme"}, {"user": "alice"}, {"q": "alice"}],
        ids=str,
    )
    def test_a_page_of_many_is_read_from_its_newest_end(self, database: Database, parameters: dict[str, Any]) -> None:
        entries = [make_entry(position, make_event(time=position)) for position in range(1, 6_001)]
        reader = database.fill(entries, part_size=500)
        assert [row.position for row in reader.by_time(parse(**parameters), 3, newest(6_000))] == [6_000, 5_999, 5_998]
        ascending = reader.by_time(parse(**parameters), 3, TimeCursor(5_500, 5_500, 6_000), ascending=True)
        assert [row.position for row in ascending] == [5_501, 5_502, 5_503]
        by_log = reader.by_log(parse(**parameters), 3, LogCursor(5_500), 6_000, False)
        assert [row.position for row in by_log] == [5_501, 5_502, 5_503]

    def test_an_event_that_comes_late_stands_in_its_place_although_it_lies_in_another_part(
        self, database: Database
    ) -> None:
        times = [10, 20, 30, 40, 50, 60, 35, 70, 5]
        reader = database.fill([make_entry(position, make_event(time=time)) for position, time in enumerate(times, 1)])
        assert newest_first(reader, parse(user="alice"), snapshot=9, size=2) == [8, 6, 5, 4, 7, 3, 2, 1, 9]
        assert oldest_first(reader, parse(user="alice"), snapshot=9, size=2) == [9, 1, 2, 3, 7, 4, 5, 6, 8]
        assert newest_first(reader, parse(user="alice", **{"from": "35", "to": "60"}), snapshot=9, size=2) == [5, 4, 7]
        assert in_log_order(reader, parse(user="alice"), until=9, size=2) == list(range(1, 10))

    def test_a_type_that_comes_later_is_found_by_a_reader_that_is_open(self, database: Database) -> None:
        reader = database.fill([make_entry(1, make_event())])
        assert reader.by_time(parse(type="access.REGISTER"), 5, newest(1)) == []
        database.add([make_entry(2, make_event(type="access.REGISTER"))])
        assert [row.position for row in reader.by_time(parse(type="access.REGISTER"), 5, newest(2))] == [2]

    def test_many_types_are_found_though_they_are_too_many_to_walk_one_by_one(self, database: Database) -> None:
        reader = database.fill([make_entry(n, make_event(type=f"custom.TYPE_{n}", time=n)) for n in range(1, 200)])
        filter = parse(type="custom.*", not_type="custom.TYPE_199")
        assert [row.position for row in reader.by_time(filter, 2, newest(199))] == [198, 197]

    def test_an_event_that_is_found_in_two_ways_is_found_once(self, database: Database) -> None:
        others = [make_entry(n, make_event(authDetails={"userId": f"u{n}"})) for n in range(2, 9)]
        reader = database.fill([make_entry(1, make_event(authDetails={"userId": "u1", "username": "alice"})), *others])
        filter = parse(user=["u1", "alice"])
        assert [row.position for row in reader.by_time(filter, 10, newest(8))] == [1]
        assert [row.position for row in reader.by_log(filter, 10, BEGINNING, 8, False)] == [1]

    def test_with_many_values_a_page_of_each_order_is_that_of_few(self, database: Database) -> None:
        others = [f"nobody-{number}" for number in range(990)]
        entries = [
            make_entry(n, make_event(time=n, authDetails={"userId": f"u{n % 7}", "ipAddress": f"10.0.{n % 5}.1"}))
            for n in range(1, 300)
        ]
        reader = database.fill(entries)
        for few, many in [
            (parse(user=["u1", "u2"]), parse(user=["u1", "u2", *others])),
            (parse(not_user=["u1"]), parse(not_user=["u1", *others])),
            (parse(ip="10.0.1.1"), parse(ip=["10.0.1.1", *(f"10.9.{n}.0/30" for n in range(200))])),
        ]:
            assert newest_first(reader, many, snapshot=299, size=50) == newest_first(reader, few, snapshot=299, size=50)
            assert in_log_order(reader, many, until=299, size=50) == in_log_order(reader, few, until=299, size=50)

    def test_words_of_one_part_are_not_found_in_another(self, database: Database) -> None:
        reader = database.fill(
            [make_entry(n, make_event(details={"w": f"0000 word{n} a{n:04d}"})) for n in range(1, 41)]
        )
        for word, found in [
            ("word7", [7]),
            ("0000", list(range(1, 41))),
            ("a001*", list(range(10, 20))),
            ("000*", list(range(1, 41))),
        ]:
            assert in_log_order(reader, parse(q=word), until=40, size=100) == found

    def test_types_and_realms_that_are_invented_without_end_are_found_all_the_same(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keys, "SYMBOLS_LIMIT", 20)
        entries = [
            make_entry(n, make_event(type=f"access.X{n}", realmId=f"r{n}", realmName=None, time=n))
            for n in range(1, 101)
        ]
        long = make_entry(101, make_event(type="access." + "L" * 1_000, realmId="R" * 1_000, time=101))
        system = make_entry(102, make_event(type="system.STARTED", time=102))
        reader = database.fill([*entries, long, system])
        for filter, found in [
            (parse(type="access.X77"), [77]),
            (parse(type="access.X7"), [7]),
            (parse(type="access.X7*"), [79, 78, 77, 76, 75, 74, 73, 72, 71, 70, 7]),
            (parse(type="access.X9*", not_type=["access.X91", "*0"]), [99, 98, 97, 96, 95, 94, 93, 92, 9]),
            (parse(realm="r50"), [50]),
            (parse(realm=["r5", "r95"], not_realm="r5"), [95]),
            (parse(type="access.LLL*", realm="R" * 1_000), [101]),
            (parse(type=["access.X60", "access.X61"], not_type="access.X60"), [61]),
            (parse(type="access.X60", outcome="failure"), []),
            (parse(type="system.*"), [102]),
            (parse(**{"from": "99"}), [101, 100, 99]),
        ]:
            assert newest_first(reader, filter, snapshot=102, size=3) == found

    def test_what_keys_of_invented_types_and_realms_find_is_held_against_the_rest_of_the_question(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keys, "SYMBOLS_LIMIT", 0)
        reader = database.fill(
            [
                make_entry(1, make_event(realmId="r1", source={"name": "test"})),
                make_entry(2, make_event(realmId="r1", source={"name": "prod"})),
                make_entry(3, make_event(type="access.X", outcome="failure", source={"name": "prod"})),
                make_entry(4, make_event(type="access.X", outcome="unknown", source={"name": "prod"})),
            ]
        )
        for filter, found in [
            (parse(realm="r1", source="test"), [1]),
            (parse(realm="r1", not_source="test"), [2]),
            (parse(type="access.X", outcome="unknown"), [4]),
        ]:
            assert newest_first(reader, filter, snapshot=4, size=10) == found
            assert in_log_order(reader, filter, until=4, size=10) == found

    # What fills it

    def test_of_two_fillers_one_is_told_that_the_other_was_faster(self, search_place: Place) -> None:
        one, other = (search_place.open(part_size=PART_SIZE) for _ in range(2))
        one.add([make_entry(1, make_event())], lambda uid, position: None)
        with pytest.raises(Overtaken):
            other.add([make_entry(1, make_event())], lambda uid, position: None)
        assert [row.position for row in search_place.ask(ByTime(parse(), 10, newest(1)), inf)] == [1]
        one.close()
        other.close()

    def test_it_goes_on_where_it_was_closed(self, search_place: Place) -> None:
        for position, type in ((1, "custom.a"), (2, "custom.b"), (3, "custom.a")):
            store = search_place.open(part_size=PART_SIZE)
            assert store.position == position - 1
            store.add([make_entry(position, make_event(type=type, time=position))], lambda uid, position: None)
            store.close()
        assert [row.position for row in search_place.ask(ByTime(parse(type="custom.a"), 10, newest(3)), inf)] == [3, 1]

    def test_text_that_databases_do_not_like_is_found(self, database: Database) -> None:
        odd = "a'b\\c\td\ne{f},\u00a0\x01'; DROP"
        event = make_event(
            type=f"custom.{odd}",
            realmId="r1",
            realmName=odd,
            authDetails={"userId": odd, "username": odd, "clientId": odd, "sessionId": odd},
            details={"w": "Größe 'quoted' \\N NULL ﬁn"},
            error=odd,
        )
        reader = database.fill([make_entry(1, event), make_entry(2, make_event())])
        for name in ("user", "client", "session", "realm"):
            assert newest_first(reader, parse(**{name: odd}), snapshot=2, size=10) == [1], name
        for words in ("größe fin", "qu*", "b c d e f"):
            assert newest_first(reader, parse(q=words), snapshot=2, size=10) == [1], words

    @pytest.mark.parametrize("symbols", [4_096, 0])
    def test_a_type_with_anything_in_it_is_found(
        self, database: Database, symbols: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keys, "SYMBOLS_LIMIT", symbols)
        odd = "custom.a'b\\c\td\ne{f}"
        reader = database.fill([make_entry(1, make_event(type=odd)), make_entry(2, make_event())])
        assert newest_first(reader, parse(type=odd), snapshot=2, size=10) == [1]
        assert newest_first(reader, parse(type="custom.a'b*"), snapshot=2, size=10) == [1]

    def test_a_long_resource_path_is_found_by_how_it_begins_alone(self, database: Database) -> None:
        whole = "users/" + "\U0001f642" * 494
        paths = [whole, whole + "x", "users/" + "x" * 100_000]
        reader = database.fill([make_entry(n, make_event(resourcePath=path)) for n, path in enumerate(paths, 1)])
        assert newest_first(reader, parse(resource=whole), snapshot=3, size=10) == [1]
        assert newest_first(reader, parse(resource="users/\U0001f642*"), snapshot=3, size=10) == [2, 1]
        assert newest_first(reader, parse(resource="users/*"), snapshot=3, size=10) == [3, 2, 1]
        assert newest_first(reader, parse(resource="users/*", not_resource="*xx*"), snapshot=3, size=10) == [2, 1]

    def test_a_glob_of_many_stars_is_answered_at_once(self, database: Database) -> None:
        reader = database.fill([make_entry(n, make_event(resourcePath="a" * 500)) for n in range(1, 40)])
        assert newest_first(reader, parse(resource="*a" * 200 + "*b"), snapshot=39, size=10) == []

    def test_resources_are_completed_as_they_are_written(self, database: Database) -> None:
        paths = ["users/U1", "users/U1", "users/u2", None]
        reader = database.fill([make_entry(n, make_event(resourcePath=path)) for n, path in enumerate(paths, 1)])
        assert reader.complete("resource", "users/U") == {"users/U1": 2}
        assert reader.complete("resource") == {"users/U1": 2, "users/u2": 1}

    def test_an_event_of_a_million_characters_is_taken_in(self, database: Database) -> None:
        words = {f"k{n}": " ".join(f"w{n}x{m}" for m in range(140)) for n in range(1_100)}
        reader = database.fill([make_entry(1, make_event(details=words)), make_entry(2, make_event())])
        assert newest_first(reader, parse(user="alice"), snapshot=2, size=10) == [2, 1]

    # What was removed from the log

    @pytest.fixture
    async def log(self, tmp_path: Path) -> AsyncIterator[RetainingStore]:
        async with open_sqlite_log(tmp_path / "log.sqlite", dictionary=b"") as log:
            yield log

    @pytest.fixture
    def filled(self, search_place: Place, tmp_path: Path) -> Callable[[int], None]:
        """Fills the search from the log up to its head, and prunes it once."""

        def filled(head: int, log: Path = tmp_path / "log.sqlite") -> None:
            fill_and_prune(search_place.open(part_size=64), log, head)

        return filled

    @pytest.fixture
    def found(self, search_place: Place) -> Callable[..., list[int]]:
        """What a filter finds, in the order of the log."""

        def ask(head: int, **asked: Any) -> list[int]:
            filter = Filter.from_settings(asked, CATALOGUE)
            by_time = [row.position for row in search_place.ask(ByTime(filter, 1000, newest(head)), inf)]
            by_log = [row.position for row in search_place.ask(ByLog(filter, 1000, BEGINNING, head), inf)]
            assert by_log == sorted(by_time)
            if hours := whole_hours(filter, "type", None):
                counted = search_place.count(ByValue(filter, "type", head, 1000, None, hours))
                assert isinstance(counted, Tally)
                assert sum(one.events for one in counted.counts) == len(by_log)
            return by_log

        return ask

    async def test_what_was_removed_is_not_found(
        self, log: RetainingStore, filled: Callable[..., None], found: Callable[..., list[int]]
    ) -> None:
        await append_logins(log, 300, "access.LOGIN")
        await to_thread(filled, 300)
        assert await to_thread(found, 300, user="u-70") == [70]
        await remove_from(log, 255)
        await to_thread(filled, 300)
        assert await to_thread(found, 300) == list(range(256, 301))
        assert await to_thread(found, 300, q="name70") == []
        assert await to_thread(found, 300, user="u-70") == []

    async def test_a_name_goes_with_the_last_event_that_says_it(
        self, log: RetainingStore, filled: Callable[..., None], search_place: Place
    ) -> None:
        def known(*numbers: int) -> list[str | None]:
            acme = make_event()["realmId"]
            wanted = [Asked(USERS, f"u-{one}", ("prod", "keycloak", acme, "acme"), 1_000) for one in numbers]
            return search_place.names(wanted, Filter(CATALOGUE))

        await append_logins(log, 200, "access.LOGIN", "access.LOGOUT")
        await to_thread(filled, 200)
        assert await to_thread(known, 10, 11, 190) == ["name10", "name11", "name190"]
        await remove_from(log, 150, types=["access.LOGOUT"], others=0)
        for _ in range(2):  # once deleted, and then filled again with what is left
            await to_thread(filled, 200)
        assert await to_thread(known, 10, 11, 190) == ["name10", None, "name190"]
        await remove_from(log, 150)
        for _ in range(2):
            await to_thread(filled, 200)
        assert await to_thread(known, 10, 11, 190) == [None, None, "name190"]

    async def test_values_go_with_the_events_that_say_them(
        self, log: RetainingStore, filled: Callable[..., None], search_place: Place
    ) -> None:
        def completed(prefix: str) -> dict[str, int]:
            return dict(search_place.complete(ByPrefix(Filter(CATALOGUE), "user", prefix, 1, inf)).values)

        await append_logins(log, 200, "access.LOGIN", "access.LOGOUT")
        await to_thread(filled, 200)
        assert await to_thread(completed, "name1") == {f"name{n}": 1 for n in range(1, 201) if str(n)[0] == "1"}
        await remove_from(log, 150, types=["access.LOGOUT"], others=0)
        for _ in range(2):  # once deleted, and then filled again with what is left
            await to_thread(filled, 200)
        assert await to_thread(completed, "name10") == {f"name{n}": 1 for n in (10, 100, 102, 104, 106, 108)}
        await remove_from(log, 150)
        for _ in range(2):
            await to_thread(filled, 200)
        assert await to_thread(completed, "name10") == {}
        assert await to_thread(completed, "name19") == {f"name{n}": 1 for n in range(190, 200)}

    async def test_of_removed_types_nothing_is_found(
        self, log: RetainingStore, filled: Callable[..., None], found: Callable[..., list[int]]
    ) -> None:
        await append_logins(log, 200, "access.LOGIN", "access.LOGOUT")
        await to_thread(filled, 200)
        await remove_from(log, 150, types=["access.LOGOUT"], others=0)
        left = [number for number in range(1, 201) if number % 2 == 0 or number > 150]
        for _ in range(2):
            await to_thread(filled, 200)
            assert await to_thread(found, 200) == left
            assert await to_thread(found, 200, q="name70") == [70]
            assert await to_thread(found, 200, q="name71") == []
            assert await to_thread(found, 200, user=["u-71", "u-72", "u-161"]) == [72, 161]
            assert await to_thread(found, 200, type="access.LOGOUT") == [number for number in left if number % 2]

    async def test_it_goes_on_behind_what_was_removed(
        self, log: RetainingStore, filled: Callable[..., None], found: Callable[..., list[int]]
    ) -> None:
        await append_logins(log, 100, "access.LOGIN")
        await to_thread(filled, 60)
        await remove_from(log, 100)
        await to_thread(filled, 100)
        assert await to_thread(found, 100) == []
        await append_logins(log, 10, "access.LOGIN")
        await to_thread(filled, 110)
        assert await to_thread(found, 110) == list(range(101, 111))

    async def test_a_search_of_another_log_is_known_although_the_entry_was_removed(
        self, log: RetainingStore, filled: Callable[..., None], tmp_path: Path
    ) -> None:
        await append_logins(log, 10, "access.LOGIN")
        await to_thread(filled, 10)
        await remove_from(log, 10)
        await to_thread(filled, 10)
        other = tmp_path / "other.sqlite"
        async with open_sqlite_log(other, dictionary=b"") as second:
            await append_logins(second, 10, "access.LOGIN")
            await remove_from(second, 10)
            with pytest.raises(Unusable, match="another log"):
                await to_thread(filled, 10, other)

    async def test_a_part_of_which_what_is_quarantined_is_left_is_asked_on(
        self, log: RetainingStore, filled: Callable[..., None], found: Callable[..., list[int]]
    ) -> None:
        await append_logins(log, 60, "access.LOGIN")
        await log.append([quarantined_entry()])
        await append_logins(log, 60, "access.LOGIN")
        await to_thread(filled, 121)
        await remove_from(log, 63, types=["access.*"], others=0)
        for _ in range(2):
            await to_thread(filled, 121)
            assert await to_thread(found, 121, q="name70") == [70]


def fill_and_prune(store: Store, log: Path, head: int) -> None:
    """Fill from a log in a file up to its head, prune once, and close."""
    try:
        with open_events(file_url(log)) as events:
            check_origin(store, events)
            while fill(store, events, head, batch=50):
                pass
            for _ in store.prune(events):
                pass
    finally:
        store.close()


async def append_logins(log: RetainingStore, count: int, *types: str) -> None:
    """Logins, of these types in turn, each of a person of its own."""
    entries = []
    for number in range(log.head + 1, log.head + count + 1):
        who = {"userId": f"u-{number}", "username": f"name{number}"}
        event = make_event(time=number, type=types[number % len(types)], authDetails=who)
        made = make_entry(number, event, uid=uuid.uuid4().bytes)
        entries.append(
            NewEntry(
                "prod",
                1_000 + number,
                b"{}",
                "application/json",
                made.uid,
                None,
                None,
                number,
                "LOGIN",
                event["type"],
                made.event,
                None,
            )
        )
    await log.append(entries)


async def remove_from(log: RetainingStore, until: int, types: Sequence[str] = (), others: int | None = None) -> None:
    """Remove entries up to ``until``: those of these types, or all; of ``others`` those up to there."""
    after = 0
    while after < until:
        groups = [(types, until)] if types else []
        removal = Removal(after, until, groups, until if others is None else others, log.head)
        after = (await log.remove(removal)).reached
