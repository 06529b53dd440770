"""Search in a file does what every search must."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

import pytest

from adapter.filter import Filter
from adapter.search.index import ByPrefix, ByValue, Completed, Found, Question, Tally, Uncounted
from adapter.search.linking import Asked, KnownName
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.sqlite.counting import complete, count
from adapter.search.sqlite.query import Asker
from adapter.search.sqlite.schema import create, remove
from adapter.search.sqlite.store import SqliteStore
from tests.search.conformance import Database, SearchConformance
from tests.search.people import ALL, PeopleConformance, numbered, seen


class SqlitePlace:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: Asker | None = None

    def open(self, *, part_size: int, with_people: bool = True) -> SqliteStore:
        if not self._path.exists():
            create(self._path, part_size=part_size, people=with_people)
        return SqliteStore(self._path, with_people=with_people)

    def ask(self, question: Question, seconds: float) -> Found:
        return self._asker().answer(question, seconds=seconds)

    def count(self, question: ByValue) -> Tally | Uncounted:
        return count(self._asker(), question)

    def complete(self, question: ByPrefix) -> Completed:
        return complete(self._asker(), question)

    def names(self, wanted: Sequence[Asked], filter: Filter) -> list[str | None]:
        return self._asker().names(wanted, filter)

    def known_names(self, ids: Sequence[str], names: Sequence[str], filter: Filter) -> list[KnownName]:
        return self._asker().known_names(ids, names, filter)

    def people(self, question: ByAccount) -> Accounts:
        return self._asker().people(question)

    def active(self, question: ActiveIn) -> list[Active | None]:
        return self._asker().active(question)

    def _asker(self) -> Asker:
        if self._reader is None:
            path = f"{self._path.as_uri()}?mode=ro"
            self._reader = Asker(sqlite3.connect(path, uri=True, isolation_level=None, check_same_thread=False))
        return self._reader

    def close(self) -> None:
        if self._reader is not None:
            self._reader.connection.close()
            self._reader = None

    def clear(self) -> None:
        self.close()
        remove(self._path)


class TestSqliteSearch(SearchConformance, PeopleConformance):
    @pytest.fixture
    def search_place(self, tmp_path: Path) -> Iterator[SqlitePlace]:
        place = SqlitePlace(tmp_path / "search.sqlite")
        yield place
        place.close()

    def test_counting_who_was_active_is_broken_off_within_a_stretch(
        self, search_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database = Database(search_place).fill(numbered([seen(f"u{n}", 60) for n in range(5_000)]), part_size=8_192)
        # The time is over when the first stretch has begun.
        moments = chain([0.0, 0.0], repeat(100.0))
        with monkeypatch.context() as patch:
            patch.setattr("adapter.search.sqlite.people.monotonic", lambda: next(moments))
            assert search_place.active(ActiveIn(ALL, [(0, 50), (50, 100)], 10)) == [None, None]
        assert search_place.active(ActiveIn(ALL, [(0, 50), (50, 100)], 60)) == [(0, 0), (5_000, 5_000)]
        database.close()
