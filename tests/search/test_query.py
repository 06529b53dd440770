"""Questions asked of a filled search database, without the process that fills it."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.filter import Filter
from adapter.log.protocol import EventRow
from adapter.model import EventDict
from adapter.search import store
from adapter.search.cursor import BEGINNING, LogCursor, TimeCursor, newest
from adapter.search.query import Reader
from adapter.search.store import Store, create
from adapter.search_fields import search_fields
from tests.search.events import CATALOGUE, make_entry, make_event

#: Few enough that most tests have several parts, and batches that lie in two.
PART_SIZE = 4
#: Values that nothing has, so many that a condition is no longer looked for one by one.
NOBODY = [f"nobody-{number}" for number in range(40)]

Fill = Callable[[Sequence[EventRow]], Reader]


class Database:
    """A search database of its own for each use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        #: Position of the latest entry of each event.
        self._latest: dict[bytes, int] = {}

    def fill(self, entries: Sequence[EventRow], *, part_size: int = PART_SIZE) -> Reader:
        self._number += 1
        path = self._folder / f"{self._number}.sqlite"
        create(path, part_size=part_size)
        self.store = Store(path)
        self.add(entries)
        return Reader(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None))

    def add(self, entries: Sequence[EventRow]) -> None:
        before: dict[int, int | None] = {}
        for entry in entries:
            before[entry.position] = self._latest.get(entry.uid)
            self._latest[entry.uid] = entry.position
        if entries:
            self.store.add(entries, lambda uid, position: before[position])

    def forget(self) -> None:
        self._latest = {}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    yield Database(tmp_path)


def parse(**parameters: str | list[str]) -> Filter:
    listed = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
    return Filter.parse({name.removesuffix("_"): values for name, values in listed.items()}, CATALOGUE)


def newest_first(reader: Reader, filter: Filter, *, snapshot: int, size: int, seconds: float = inf) -> list[int]:
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


def in_log_order(
    reader: Reader, filter: Filter, *, until: int, size: int, revisions: bool = False, seconds: float = inf
) -> list[int]:
    found: list[int] = []
    cursor = BEGINNING
    while (rows := reader.by_log(filter, size, cursor, until, revisions, seconds=seconds)) or rows.reached:
        found += [row.position for row in rows]
        end = LogCursor((rows.reached or rows[-1]).position)
        assert end > cursor
        cursor = end
    return found


EVENTS = st.builds(
    make_event,
    time=st.integers(1, 6),
    type=st.sampled_from(
        ["access.LOGIN", "access.LOGIN_ERROR", "access.SOCIAL_LINK", "admin.USER-CREATE", "system.STARTED", "x.custom"]
    ),
    outcome=st.sampled_from(["success", "failure", "unknown"]),
    reason=st.sampled_from([None, "bad_credentials", "unknown_user", "delivery_failed", "gone_from_the_list"]),
    id=st.sampled_from([None, "e1", "u1"]),
    realmId=st.sampled_from([None, "r1", "acme"]),
    realmName=st.sampled_from([None, "acme", "other"]),
    authDetails=st.fixed_dictionaries(
        {},
        optional={
            "userId": st.sampled_from(["u1", "u2"]),
            "username": st.sampled_from(["alice", "bob", "u1"]),
            "clientId": st.sampled_from(["app", "admin"]),
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
        },
    ),
    resourcePath=st.sampled_from([None, "users/u2", "groups/g1"]),
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
        ["access.*", "*", "*_ERROR", "access.FEDERATED_IDENTITY_LINK", "access.EV*", "system.*", "nothing", "*.c*m"]
    ),
    "outcome": st.sampled_from(["success", "failure", "unknown"]),
    "reason": st.sampled_from(["bad_credentials", "unknown_user"]),
    "reason_class": st.sampled_from(["credential", "system"]),
    "provider": st.sampled_from(["keycloak", "other"]),
    "source": st.sampled_from(["prod", "test"]),
    "realm": st.sampled_from(["acme", "r1", "nowhere"]),
    "user": st.sampled_from(["u1", "u2", "alice", "Bob@Acme.test"]),
    "actor": st.sampled_from(["u1", "alice", "u9"]),
    "target": st.sampled_from(["u1", "u2", "u3", "alice"]),
    "client": st.sampled_from(["app", "nothing"]),
    "ip": st.sampled_from(["10.0.0.1", "10.0.0.0/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "::ffff:10.0.0.1", "::1"]),
    "session": st.sampled_from(["s1", "s2"]),
    "id": st.sampled_from(["e1", "u1"]),
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


#: Of a filter: so many values more that nothing has.
_MORE: dict[str, list[str]] = {
    **dict.fromkeys(("realm", "user", "actor", "target", "client", "session", "id", "source"), NOBODY),
    "type": [f"access.{name}" for name in NOBODY],
    "ip": [f"198.51.100.{number}" for number in range(1, 40, 2)] + [f"198.{number}.0.0/16" for number in range(60, 80)],
    "q": [f"word{number}" for number in range(30)],
}


def _words(parameters: dict[str, list[str]]) -> int:
    return len(parameters.get("q", [])) + len(parameters.get("not_q", []))


def with_more(parameters: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: values + _MORE.get(name.removeprefix("not_"), []) for name, values in parameters.items()}


@pytest.mark.parametrize("symbols", [4_096, 2, 0], ids=["all_kinds_told_apart", "two_kinds_told_apart", "none"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.none() | EVENTS, min_size=1, max_size=25),
    filters=st.lists(SMALL_FILTERS, min_size=6, max_size=6),
    size=st.sampled_from([1, 3, 7, 100]),
    many=st.booleans(),
)
def test_the_database_and_the_filter_agree_on_every_event(
    database: Database,
    symbols: int,
    events: list[EventDict | None],
    filters: list[dict[str, list[str]]],
    size: int,
    many: bool,
) -> None:
    database.forget()
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(store, "SYMBOLS_LIMIT", symbols)
        reader = database.fill([make_entry(position, event) for position, event in enumerate(events, 1)])
    for parameters in filters:
        parameters = with_more(parameters) if many and _words(parameters) <= 2 else parameters
        filter = Filter.parse(parameters, CATALOGUE)
        wanted = [
            (event["time"], position)
            for position, event in enumerate(events, 1)
            if event is not None and filter.matches(search_fields(orjson.dumps(event)))
        ]
        for seconds in (inf, 0):  # without time, each page ends where a part does
            by_time = newest_first(reader, filter, snapshot=len(events), size=size, seconds=seconds)
            assert by_time == [position for _, position in sorted(wanted, reverse=True)]
            by_log = in_log_order(reader, filter, until=len(events), size=size, seconds=seconds)
            assert by_log == [position for _, position in wanted]
    database.store.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(st.integers(1, 3), min_size=1, max_size=40),
    more=st.lists(st.lists(st.integers(1, 4), max_size=4), max_size=10),
    size=st.integers(1, 20),
    filtered=st.booleans(),
)
def test_pages_give_each_event_once_while_new_ones_arrive(
    database: Database, times: list[int], more: list[list[int]], size: int, filtered: bool
) -> None:
    database.forget()
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
    assert found == sorted(range(1, snapshot + 1), key=lambda position: (times[position - 1], position), reverse=True)
    database.store.close()


def test_by_time_an_event_shows_its_latest_revision_alone(database: Database) -> None:
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


def test_a_revision_that_comes_between_two_pages_hides_nothing(database: Database) -> None:
    event = uuid.UUID(int=77).bytes
    reader = database.fill([make_entry(1, make_event(time=10), uid=event), make_entry(2, make_event(time=20))])
    first = reader.by_time(parse(), 1, newest(2))
    database.add([make_entry(3, make_event(time=10, outcome="failure"), uid=event, revision=1)])
    second = reader.by_time(parse(), 1, TimeCursor(*first[0], 2))
    assert [row.position for row in first + second] == [2, 1]


def test_by_log_an_event_shows_its_first_entry_and_its_corrections_when_asked(database: Database) -> None:
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


def test_the_first_event_of_a_mended_quarantined_entry_is_a_first_entry(database: Database) -> None:
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
def test_a_page_of_many_is_read_from_its_newest_end(database: Database, parameters: dict[str, Any]) -> None:
    entries = [make_entry(position, make_event(time=position)) for position in range(1, 6_001)]
    reader = database.fill(entries)
    assert [row.position for row in reader.by_time(parse(**parameters), 3, newest(6_000))] == [6_000, 5_999, 5_998]
    by_log = reader.by_log(parse(**parameters), 3, LogCursor(5_500), 6_000, False)
    assert [row.position for row in by_log] == [5_501, 5_502, 5_503]


def test_an_event_that_comes_late_stands_in_its_place_although_it_lies_in_another_part(database: Database) -> None:
    times = [10, 20, 30, 40, 50, 60, 35, 70, 5]
    reader = database.fill([make_entry(position, make_event(time=time)) for position, time in enumerate(times, 1)])
    assert newest_first(reader, parse(user="alice"), snapshot=9, size=2) == [8, 6, 5, 4, 7, 3, 2, 1, 9]
    assert newest_first(reader, parse(user="alice", **{"from": "35", "to": "60"}), snapshot=9, size=2) == [5, 4, 7]
    assert in_log_order(reader, parse(user="alice"), until=9, size=2) == list(range(1, 10))


def test_a_type_that_comes_later_is_found_by_a_reader_that_is_open(database: Database) -> None:
    reader = database.fill([make_entry(1, make_event())])
    assert reader.by_time(parse(type="access.REGISTER"), 5, newest(1)) == []
    database.add([make_entry(2, make_event(type="access.REGISTER"))])
    assert [row.position for row in reader.by_time(parse(type="access.REGISTER"), 5, newest(2))] == [2]


def test_many_types_are_found_though_they_are_too_many_to_walk_one_by_one(database: Database) -> None:
    reader = database.fill([make_entry(n, make_event(type=f"custom.TYPE_{n}", time=n)) for n in range(1, 200)])
    filter = parse(type="custom.*", not_type="custom.TYPE_199")
    assert [row.position for row in reader.by_time(filter, 2, newest(199))] == [198, 197]


def test_an_event_that_is_found_in_two_ways_is_found_once(database: Database) -> None:
    others = [make_entry(n, make_event(authDetails={"userId": f"u{n}"})) for n in range(2, 9)]
    reader = database.fill([make_entry(1, make_event(authDetails={"userId": "u1", "username": "alice"})), *others])
    filter = parse(user=["u1", "alice"])
    assert [row.position for row in reader.by_time(filter, 10, newest(8))] == [1]
    assert [row.position for row in reader.by_log(filter, 10, BEGINNING, 8, False)] == [1]


def test_with_many_values_a_page_of_each_order_is_that_of_few(database: Database) -> None:
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


def test_words_of_one_part_are_not_found_in_another(database: Database) -> None:
    reader = database.fill([make_entry(n, make_event(details={"w": f"0000 word{n} a{n:04d}"})) for n in range(1, 41)])
    for word, found in [
        ("word7", [7]),
        ("0000", list(range(1, 41))),
        ("a001*", list(range(10, 20))),
        ("000*", list(range(1, 41))),
    ]:
        assert in_log_order(reader, parse(q=word), until=40, size=100) == found


def test_what_a_question_does_before_its_page_is_full_grows_with_no_number_of_values(database: Database) -> None:
    entries = [make_entry(n, make_event(time=n, authDetails={"userId": f"u{n}"})) for n in range(1, 20_001)]
    reader = database.fill(entries, part_size=5_000)
    steps: list[int] = []

    def count(filter: Filter) -> int:
        steps.clear()
        reader.connection.set_progress_handler(lambda: steps.append(1), 1_000)
        reader.by_time(filter, 10, newest(20_000))
        reader.connection.set_progress_handler(None, 0)
        return len(steps)

    one_by_one = 20_000 * 64 * 2 / 1_000  # what 64 users cost when each was looked for on each row
    assert count(parse(user=[f"nobody-{n}" for n in range(1_000)])) < one_by_one / 4
    assert count(parse(not_user=[f"u{n}" for n in range(1, 1_000)])) < one_by_one / 4


def test_types_and_realms_that_are_invented_without_end_are_found_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SYMBOLS_LIMIT", 20)
    entries = [
        make_entry(n, make_event(type=f"access.X{n}", realmId=f"r{n}", realmName=None, time=n)) for n in range(1, 101)
    ]
    long = make_entry(101, make_event(type="access." + "L" * 1_000, realmId="R" * 1_000, time=101))
    system = make_entry(102, make_event(type="system.STARTED", time=102))
    reader = database.fill([*entries, long, system])
    kinds, origins = (
        reader.connection.execute(f"SELECT count(*) FROM {one}").fetchone()[0] for one in ("kind", "origin")
    )
    assert (kinds, origins) == (22, 21)  # general ones: of system's types and of all others
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
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SYMBOLS_LIMIT", 0)
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
