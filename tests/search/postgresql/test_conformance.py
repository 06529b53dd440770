"""Search in PostgreSQL does what every search must."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from adapter.filter import Filter
from adapter.log.postgresql.address import read_address
from adapter.log.postgresql.connecting import Connection, connect
from adapter.search.index import ByPrefix, ByValue, Completed, Found, Question, Tally, Uncounted
from adapter.search.linking import Asked, KnownName
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.postgresql.counting import complete, count
from adapter.search.postgresql.query import Memory, active, answer, known_names, names, people
from adapter.search.postgresql.schema import drop_tables
from adapter.search.postgresql.store import PostgresqlStore
from adapter.search.store import Overtaken
from tests.search.conformance import Database, SearchConformance
from tests.search.events import make_entry, make_event
from tests.search.people import ALL, PeopleConformance, numbered, seen


class PostgresqlPlace:
    """A schema of a database; its loop runs while it is asked."""

    def __init__(self, url: str) -> None:
        self._address = read_address(url)
        self._runner = asyncio.Runner()
        self._connection: Connection = self._runner.run(connect(self._address))
        self._runner.run(self._connection.execute(f"CREATE SCHEMA {self._address.schema}"))
        self._memory = Memory()

    def open(self, *, part_size: int, with_people: bool = True) -> PostgresqlStore:
        return PostgresqlStore(self._address, part_size=part_size, with_people=with_people)

    def ask(self, question: Question, seconds: float) -> Found:
        return self._runner.run(answer(self._connection, self._memory, question, 0, seconds=seconds))

    def count(self, question: ByValue) -> Tally | Uncounted:
        return self._runner.run(count(self._connection, self._memory, question, 0))

    def complete(self, question: ByPrefix) -> Completed:
        return self._runner.run(complete(self._connection, self._memory, question))

    def names(self, wanted: Sequence[Asked], filter: Filter) -> list[str | None]:
        return self._runner.run(names(self._connection, self._memory, wanted, filter))

    def known_names(self, ids: Sequence[str], names: Sequence[str], filter: Filter) -> list[KnownName]:
        return self._runner.run(known_names(self._connection, self._memory, ids, names, filter))

    def people(self, question: ByAccount) -> Accounts:
        return self._runner.run(people(self._connection, self._memory, question, 0))

    def active(self, question: ActiveIn) -> list[Active | None]:
        return self._runner.run(active(self._connection, self._memory, question, 0))

    def clear(self) -> None:
        self._runner.run(drop_tables(self._connection))

    def close(self) -> None:
        self._connection.terminate()
        self._runner.close()


class TestPostgresqlSearch(SearchConformance, PeopleConformance):
    @pytest.fixture
    async def search_place(self, database_url: str) -> AsyncIterator[PostgresqlPlace]:
        place = await asyncio.to_thread(PostgresqlPlace, database_url)
        yield place
        await asyncio.to_thread(place.close)

    def test_counting_who_was_active_is_broken_off_within_a_stretch(
        self, search_place: PostgresqlPlace, database_url: str
    ) -> None:
        database = Database(search_place).fill(numbered([seen("u1", 60)]), part_size=64)
        with asyncio.Runner() as runner:
            other = runner.run(asyncpg.connect(database_url))
            # Nothing reads it as long as this lasts.
            runner.run(other.execute("BEGIN; LOCK TABLE idp_adapter.search_events_0"))
            assert search_place.active(ActiveIn(ALL, [(0, 50), (50, 100)], 0.2)) == [None, None]
            runner.run(other.execute("ROLLBACK"))
            runner.run(other.close())
        assert search_place.active(ActiveIn(ALL, [(0, 50), (50, 100)], 60)) == [(0, 0), (1, 1)]
        database.close()

    def test_what_was_thrown_away_begins_anew(self, search_place: PostgresqlPlace) -> None:
        store = search_place.open(part_size=64)
        store.add([make_entry(1, make_event())], lambda uid, position: None)
        store.throw_away()
        again = search_place.open(part_size=64)
        assert again.position == 0
        again.close()

    def test_a_filler_adds_nothing_to_another_search_of_the_same_length(self, search_place: PostgresqlPlace) -> None:
        store = search_place.open(part_size=64)
        store.add([make_entry(1, make_event())], lambda uid, position: None)
        search_place.clear()
        again = search_place.open(part_size=64)
        again.add([make_entry(1, make_event())], lambda uid, position: None)
        with pytest.raises(Overtaken):
            store.add([make_entry(2, make_event())], lambda uid, position: None)
        store.close()
        again.close()


def test_a_question_goes_on_with_what_is_known_of_its_own_search() -> None:
    memory = Memory()
    one = memory.of(b"one")
    assert memory.of(b"two").keys.secret == b"two"
    assert one.keys.secret == b"one"
