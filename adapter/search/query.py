"""Questions in SQL: a `Filter` over the tables of `adapter.search.store`.

Each condition of a filter becomes a test of one event row, and, where an index holds its events, one or more *ways*:
stretches of an index that together hold them all. A question walks the ways of its narrowest condition, found by
counting a little into each, and tests the other conditions on the way. A way that comes in time order is read from
its newest end and left when the page is full; the ways of one condition are merged. Ways by key lie in parts, one for
each stretch of the log: the parts are walked one after the other, until those left hold nothing that is new enough.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from adapter.facets import Facets, facets
from adapter.filter import Filter, Term, address_range, query_words, term_test
from adapter.search.cursor import LogCursor, Order, TimeCursor
from adapter.search.store import ACTOR, CLIENT, SESSION, TARGET, Address, Keys, stored_ranges

#: How far ways in order are counted: any longer one is left when the page is full.
_COUNTED = 5_000
#: How long a way out of order may be, since all of it is walked and sorted for each page.
_SORTED: dict[Order, int] = {"time": 200_000, "log": 20_000}
#: Up to how many rows are looked up in the full text one by one; that costs as much as reading 300 rows of a word.
_FEW = 500
#: A condition with more ways than this is tested, not walked.
_WAYS = 64

Value = int | bytes | str


class Row(NamedTuple):
    """The sort key of one result."""

    time: int
    position: int


class _Sql(NamedTuple):
    """A piece of SQL and the values of its question marks."""

    text: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """A stretch of an index, joined to the row ``e`` of event."""

    index: str
    where: _Sql
    join: str = ""
    #: The columns of the index, or else of the row, that hold time and position.
    time: str = "e.time"
    position: str = "e.position"
    #: The order in which its rows come, if it is of use.
    order: Order | None = None
    #: Whether it lies in parts; its order is that within a part.
    parted: bool = False


@dataclass(frozen=True, slots=True)
class _Condition:
    """A test of the row ``e``, and the ways that together meet all rows that pass; no ways where no index helps."""

    test: _Sql
    ways: tuple[_Way, ...] = ()
    #: The same test, where it is made of more than a few rows.
    test_of_many: _Sql | None = None


_BY_TIME = _Condition(_Sql("1"), (_Way("event AS e INDEXED BY event_time", _Sql("1"), order="time"),))
_BY_LOG = _Condition(_Sql("1"), (_Way("event AS e NOT INDEXED", _Sql("1"), order="log"),))
_ROW = "CROSS JOIN event AS e ON e.position = "
_ALL_PARTS = _Sql("f.part IN (SELECT id FROM part)")


class Reader:
    """Asks one search database, through a connection that may be read only. Not for several threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        secret: bytes
        secret, self._part_size = connection.execute("SELECT secret, part_size FROM state").fetchone()
        self._keys = {role: Keys(secret, role) for role in (ACTOR, TARGET, CLIENT, SESSION)}
        self._kinds: list[tuple[int, str, str, str | None]] = []
        self._origins: list[tuple[int, str, str, str | None, str | None]] = []

    def by_time(self, filter: Filter, limit: int, cursor: TimeCursor) -> list[Row]:
        """The newest ``limit`` events before the cursor, newest first, each in its latest revision up to the
        cursor's snapshot."""
        visible = _Sql(
            "e.position <= ? AND (e.superseded_by IS NULL OR e.superseded_by > ?)", (cursor.snapshot, cursor.snapshot)
        )
        place = _Sql("({time}, {position}) < (?, ?)", (cursor.time, cursor.position))
        return self._ask("time", filter, _Condition(visible), place, limit)

    def by_log(self, filter: Filter, limit: int, cursor: LogCursor, until: int, revisions: bool) -> list[int]:
        """The first ``limit`` positions after the cursor, ascending, up to ``until``; each event in its first entry,
        with ``revisions`` in the later ones too."""
        visible = _Sql("1" if revisions else "e.later IS NULL")
        place = _Sql("{position} > ? AND {position} <= ?", (cursor.position, until))
        return [row.position for row in self._ask("log", filter, _Condition(visible), place, limit)]

    def _ask(self, order: Order, filter: Filter, visible: _Condition, place: _Sql, limit: int) -> list[Row]:
        """One page of sort keys. ``place`` bounds it; ``{time}`` and ``{position}`` stand for a way's columns."""
        # One transaction: the kinds and origins are those of the rows.
        self._connection.execute("BEGIN")
        try:
            conditions = self._conditions(filter)
            if conditions is None:
                return []
            bounds = _time_bounds(filter)
            best, few = self._narrowest([*conditions, _BY_TIME if order == "time" else _BY_LOG], order, bounds, place)
            others = [one for one in conditions if one is not best]
            tests = [visible.test, *(one.test if few else one.test_of_many or one.test for one in others)]
            if order == "log" or not all(way.parted and way.order == "time" for way in best.ways):
                return self._walk(order, best, [bounds, place], tests, limit)
            rows: list[Row] = []
            for part, latest in self._parts(filter, place):
                if len(rows) == limit and latest < rows[-1].time:
                    break
                more = self._walk(order, best, [bounds, place], tests, limit, _Sql("f.part = ?", (part,)))
                rows = sorted(rows + more, reverse=True)[:limit]
            return rows
        finally:
            self._connection.execute("COMMIT")

    def _walk(
        self,
        order: Order,
        condition: _Condition,
        bounds: Sequence[_Sql],
        tests: Sequence[_Sql],
        limit: int,
        part: _Sql = _ALL_PARTS,
    ) -> list[Row]:
        """The first rows on the ways of a condition that are within the bounds and pass the tests."""
        key, direction = ("{time}, {position}", "DESC") if order == "time" else ("{position}", "ASC")
        parts: list[str] = []
        values: list[Value] = []
        for way in condition.ways:
            columns = key.format(time=way.time, position=way.position)
            where = [*([part] if way.parted else []), way.where, *(_of(bound, way) for bound in bounds), *tests]
            parts.append(
                f"SELECT * FROM (SELECT {way.time}, {way.position} FROM {way.index} {way.join} "
                f"WHERE {' AND '.join(one.text for one in where)} "
                f"ORDER BY {columns.replace(',', f' {direction},')} {direction} LIMIT {limit:d})"
            )
            for one in where:
                values += one.values
        # UNION leaves out an event that two ways meet.
        last = "1 DESC, 2 DESC" if order == "time" else "2"
        sql = f"{' UNION '.join(parts)} ORDER BY {last} LIMIT {limit:d}"
        return [Row(*row) for row in self._connection.execute(sql, values)]

    def _parts(self, filter: Filter, place: _Sql) -> list[tuple[int, int]]:
        """The parts that may hold events of these times, and the latest time of each; the latest first."""
        low = -1 if filter.time_from is None else filter.time_from
        high, _ = place.values
        if filter.time_to is not None:
            high = min(high, filter.time_to)
        sql = "SELECT id, latest FROM part WHERE latest >= ? AND earliest <= ? ORDER BY latest DESC"
        return self._connection.execute(sql, (low, high)).fetchall()

    def _narrowest(
        self, conditions: Sequence[_Condition], order: Order, bounds: _Sql, place: _Sql
    ) -> tuple[_Condition, bool]:
        """The condition whose ways are walked: the one that meets the fewest rows, as far as was counted, or else
        the first whose ways come in the order of the page and can be left early; and whether few rows are met."""
        best: tuple[int, _Condition] | None = None
        ordered: _Condition | None = None
        for one in conditions:
            if not one.ways:
                continue
            in_order = all(way.order == order for way in one.ways)
            most = _COUNTED if in_order else _SORTED[order]
            if best is not None:
                most = min(most, best[0])
            count = 0
            for way in one.ways:
                count += self._count(way, order, bounds, place, most - count)
                if count >= most:
                    break
            if count < most:
                best = (count, one)
            elif in_order and ordered is None:
                ordered = one
        if best is not None:
            return best[1], best[0] <= _FEW
        assert ordered is not None  # the last condition's way is the page's own order
        return ordered, True

    def _count(self, way: _Way, order: Order, bounds: _Sql, place: _Sql, most: int) -> int:
        """How many rows a way has, counted up to ``most``; only by what its index can skip to."""
        where = [_ALL_PARTS, way.where] if way.parted else [way.where]
        if way.order == "time":
            where.append(_of(bounds, way))
        if way.order == order:
            where.append(_of(place, way))
        values = [value for one in where for value in one.values]
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {way.index} WHERE {' AND '.join(one.text for one in where)} LIMIT ?)"
        )
        count: int = self._connection.execute(sql, (*values, most)).fetchone()[0]
        return count

    def _conditions(self, filter: Filter) -> list[_Condition] | None:
        """The filter's conditions, times aside, those most likely narrow first; ``None`` if nothing can match."""
        conditions: list[_Condition] = []
        for name in ("session", "target", "actor", "user", "client"):
            for term in filter.terms:
                if term.name == name:
                    conditions.append(self._by_key(term))
        for term in filter.terms:
            if term.name == "ip":
                conditions.append(_by_address(term))
            elif term.name == "q":
                conditions.append(_by_words(term))
        self._learn()
        for column, known, wanted in (
            ("kind", [kind[0] for kind in self._kinds], self._wanted_kinds(filter)),
            ("origin", [origin[0] for origin in self._origins], self._wanted_origins(filter)),
        ):
            if not wanted:
                return None
            if len(wanted) < len(known):
                conditions.append(_by_symbol(column, wanted))
        received = _received_bounds(filter)
        if received.values:
            way = _Way("event AS e INDEXED BY event_received", received)
            conditions.append(_Condition(received, (way,)))
        return conditions

    def _by_key(self, term: Term) -> _Condition:
        roles = {"user": (ACTOR, TARGET), "actor": (ACTOR,), "target": (TARGET,), "client": (CLIENT,)}
        keys = [self._keys[role][value] for value in term.values for role in roles.get(term.name, (SESSION,))]
        test = (
            f"EXISTS (SELECT 1 FROM found_by AS t WHERE t.part = e.position / {self._part_size:d} "
            f"AND t.key IN ({_marks(keys)}) "
            f"AND t.time = e.time AND t.position = e.position)"
        )
        if term.negated:
            return _Condition(_Sql(f"NOT {test}", tuple(keys)))
        return _Condition(_Sql(test, tuple(keys)), _ways(_key_way(_Sql("f.key = ?", (key,))) for key in keys))

    def _learn(self) -> None:
        """Read the kinds and origins that came since the last question."""
        for table, known in (("kind", self._kinds), ("origin", self._origins)):
            last = known[-1][0] if known else 0
            known.extend(self._connection.execute(f"SELECT * FROM {table} WHERE id > ? ORDER BY id", (last,)))

    def _wanted_kinds(self, filter: Filter) -> list[int]:
        tests = _tests_of(filter, "outcome", "reason", "reason_class")
        wanted: list[int] = []
        for id, type, outcome, reason in self._kinds:
            kind = replace(_NOTHING, type=type, outcome=outcome, reason=reason)
            if filter.may_match_type(type) and all(test(kind) is not negated for negated, test in tests):
                wanted.append(id)
        return wanted

    def _wanted_origins(self, filter: Filter) -> list[int]:
        tests = _tests_of(filter, "source", "provider", "realm")
        wanted: list[int] = []
        for id, source, provider, realm_id, realm_name in self._origins:
            origin = replace(_NOTHING, source=source, provider=provider, realm_id=realm_id, realm_name=realm_name)
            if all(test(origin) is not negated for negated, test in tests):
                wanted.append(id)
        return wanted


_NOTHING = facets(
    b'{"time":0,"type":"","outcome":"","source":{"name":"","provider":"","nativeType":"","receivedAt":0}}'
)


def _tests_of(filter: Filter, *names: str) -> list[tuple[bool, Callable[[Facets], bool]]]:
    return [(term.negated, term_test(term, filter.catalogue)) for term in filter.terms if term.name in names]


def _key_way(where: _Sql, order: Order | None = "time") -> _Way:
    return _Way("found_by AS f", where, f"{_ROW} f.position", "f.time", "f.position", order, parted=True)


def _by_address(term: Term) -> _Condition:
    ranges: list[tuple[Address, Address]] = []
    for value in term.values:
        ranges += stored_ranges(*address_range(value))
    ends = tuple(end for pair in ranges for end in pair)
    test = f"({' OR '.join(['e.address BETWEEN ? AND ?'] * len(ranges))})"
    if term.negated:
        return _Condition(_Sql(f"{test} IS NOT TRUE", ends))
    return _Condition(
        _Sql(test, ends),
        _ways(
            _key_way(_Sql("f.key = ?", (low,)))
            if low == high
            else _key_way(_Sql("f.key BETWEEN ? AND ?", (low, high)), None)
            for low, high in ranges
        ),
    )


def _by_words(term: Term) -> _Condition:
    any_of = [
        " AND ".join(f'"{word.text}"*' if word.prefix else f'"{word.text}"' for word in query_words(value))
        for value in term.values
    ]
    question = " OR ".join(f"({all_of})" for all_of in any_of)
    one = _Sql("EXISTS (SELECT 1 FROM words WHERE words MATCH ? AND words.rowid = e.position)", (question,))
    many = _Sql("e.position IN (SELECT words.rowid FROM words WHERE words MATCH ?)", (question,))
    if "*" in question:
        one = many  # a beginning is looked up among all words that have it, however few rows are asked for
    if term.negated:
        return _Condition(_Sql(f"NOT {one.text}", one.values), (), _Sql(f"NOT {many.text}", many.values))
    where = _Sql("words MATCH ?", (question,))
    way = _Way("words", where, f"{_ROW} words.rowid", position="words.rowid", order="log")
    return _Condition(one, (way,), many)


def _by_symbol(column: str, wanted: Sequence[int]) -> _Condition:
    return _Condition(
        _Sql(f"+e.{column} IN ({','.join(map(str, wanted))})"),
        _ways(
            _Way(f"event AS e INDEXED BY event_{column}", _Sql(f"e.{column} = ?", (id,)), order="time") for id in wanted
        ),
    )


def _ways(ways: Iterable[_Way]) -> tuple[_Way, ...]:
    found = tuple(ways)
    return found if len(found) <= _WAYS else ()


def _time_bounds(filter: Filter) -> _Sql:
    return _range("{time}", filter.time_from, filter.time_to)


def _received_bounds(filter: Filter) -> _Sql:
    return _range("e.received_at", filter.received_from, filter.received_to)


def _range(column: str, low: int | None, high: int | None) -> _Sql:
    """``low`` included, ``high`` not."""
    parts = [(f"{column} >= ?", low), (f"{column} < ?", high)]
    given = [(text, value) for text, value in parts if value is not None]
    return _Sql(" AND ".join(text for text, _ in given) or "1", tuple(value for _, value in given))


def _of(bounds: _Sql, way: _Way) -> _Sql:
    return _Sql(bounds.text.format(time=way.time, position=way.position), bounds.values)


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
