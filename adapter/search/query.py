"""Questions in SQL: a `Filter` over the tables of `adapter.search.store`.

Each condition of a filter is a test of one event row ``e`` and, where an index holds its events, a set of positions.
There are two ways through the events:

- **Along an index** of all events: by time, position, kind or origin. It is read in order and left when the page is
  full. For questions whose conditions are tests of the row, or few keys that an event must not have.
- **Through the parts** of the log, one after the other in the order of the page, until it is full and those left hold
  nothing that comes before its end. Within a part the condition that meets the fewest rows, counted a little into
  each, gives the rows, and the others are tested on them: row by row where these are few, or else by the set of
  positions in the part that meet them. A part has a fixed number of entries. So what a question does before it looks
  whether its page is full, and what it holds meanwhile, is bounded, however many values it has and however many
  events meet each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import NamedTuple, Protocol

import orjson
from msgspec.structs import replace

from adapter.facets import SYSTEM, Facets, facets
from adapter.filter import Filter, Term, address_range, query_words, term_test
from adapter.search.cursor import LogCursor, Order, TimeCursor
from adapter.search.store import (
    ACTOR,
    CLIENT,
    REALM,
    SESSION,
    TARGET,
    TYPE,
    Address,
    Keys,
    Symbol,
    part_code,
    stored_ranges,
)

#: How far the rows of an index of all events are counted; with fewer, the index is not left before its end.
_COUNTED = 5_000
#: How far the rows of a condition are counted in a part; with more of each, the whole part is gone through.
_NARROW = 2_000
#: Up to so many rows are looked up in the full text one by one; that costs as much as reading 300 rows of a word.
_FEW = 500
#: So many keys, times the rows, are looked for one by one.
_LOOKED_FOR = 10_000
#: Keys, kinds or origins whose rows are merged lazily, each from its newest end.
_MERGED = 16
#: Keys that are looked for on every row of an index of all events.
_TESTED = 8

#: Of so many filters it is remembered what they mean among the kinds and origins.
_REMEMBERED = 16

Value = int | bytes | str


class Row(NamedTuple):
    """The sort key of one result."""

    time: int
    position: int


class Found(list[Row]):
    """Results in the order of the page. Where the time ran out before the page was full, ``reached`` is where the next
    one begins: nothing before it is left out."""

    reached: Row | None = None


class _Sql(NamedTuple):
    """A piece of SQL and the values of its question marks."""

    text: str
    values: tuple[Value, ...] = ()


class _Part(NamedTuple):
    """A stretch of the log, and between which times its events lie."""

    id: int
    earliest: int
    latest: int
    first: int
    last: int


class _Way(NamedTuple):
    """Rows of an index in the order of their times, joined to ``e``."""

    source: str
    where: _Sql
    time: str = "e.time"
    position: str = "e.position"


class _Condition(Protocol):
    """What an event must meet."""

    @property
    def indexed(self) -> bool:
        """Whether an index has the rows in a part that meet it."""

    @property
    def by_part(self) -> bool:
        """Whether it is met, or tested, part by part alone."""

    @property
    def loose(self) -> bool:
        """Whether some of its positions do not meet it, and are to be tested."""

    def positions(self, part: _Part) -> _Sql:
        """A subquery of the positions in a part, if it is indexed; one may come twice."""

    def ways(self, part: _Part) -> list[_Way]:
        """The same rows as ways, where they are few."""

    def test(self, part: _Part | None, rows: int) -> _Sql:
        """A test of so many rows of a part; ``None``: of any part."""


@dataclass(frozen=True, slots=True)
class _Keyed:
    """Events with, or ``negated`` without, one of some keys, or a key in one of some ranges."""

    part_size: int
    keys: tuple[int, ...]
    ranges: tuple[tuple[Address, Address], ...] = ()
    negated: bool = False
    #: Says the same of the row alone; for ranges.
    of_row: _Sql | None = None
    loose: bool = False

    @property
    def size(self) -> int:
        return len(self.keys) + len(self.ranges)

    @property
    def indexed(self) -> bool:
        return not self.negated

    @property
    def by_part(self) -> bool:
        return not self.negated or self.size > _TESTED

    def positions(self, part: _Part) -> _Sql:
        found: list[_Sql] = []
        if self.keys:
            wanted = _in("key", self.keys)
            found.append(
                _Sql(f"SELECT position FROM found_by WHERE part = ? AND {wanted.text}", (part.id, *wanted.values))
            )
        if self.ranges:
            text = (
                f"SELECT f.position FROM (VALUES {','.join(['(?,?)'] * len(self.ranges))}) AS wanted "
                "CROSS JOIN found_by AS f WHERE f.part = ? AND f.key BETWEEN wanted.column1 AND wanted.column2"
            )
            found.append(_Sql(text, (*(end for pair in self.ranges for end in pair), part.id)))
        return _joined(" UNION ALL ", found)

    def ways(self, part: _Part) -> list[_Way]:
        if self.ranges or len(self.keys) > _MERGED:
            return []
        source = "found_by AS f CROSS JOIN event AS e ON e.position = f.position"
        return [
            _Way(source, _Sql("f.part = ? AND f.key = ?", (part.id, key)), "f.time", "f.position") for key in self.keys
        ]

    def test(self, part: _Part | None, rows: int) -> _Sql:
        if self.of_row is not None and self.size <= _TESTED:
            found = self.of_row
        elif part is None or (not self.ranges and rows * self.size <= _LOOKED_FOR):
            wanted = _in("t.key", self.keys)
            found = _Sql(
                f"EXISTS (SELECT 1 FROM found_by AS t WHERE t.part = e.position / {self.part_size:d} "
                f"AND {wanted.text} AND t.time = e.time AND t.position = e.position)",
                wanted.values,
            )
        else:
            found = _within(self.positions(part))
        return _Sql(f"NOT {found.text}", found.values) if self.negated else found


@dataclass(frozen=True, slots=True)
class _Worded:
    """Events that have, or ``negated`` have not, all words of one of some lists."""

    values: tuple[str, ...]
    negated: bool
    by_part: bool = True
    loose: bool = False

    @property
    def indexed(self) -> bool:
        return not self.negated

    def positions(self, part: _Part) -> _Sql:
        return _Sql("SELECT rowid FROM words WHERE words MATCH ?", (self._question(part),))

    def ways(self, part: _Part) -> list[_Way]:
        return []

    def test(self, part: _Part | None, rows: int) -> _Sql:
        assert part is not None
        question = self._question(part)
        # A beginning is looked up among all words that have it, however few rows are asked for.
        if rows <= _FEW and "*" not in question:
            found = _Sql("EXISTS (SELECT 1 FROM words WHERE words MATCH ? AND words.rowid = e.position)", (question,))
        else:
            found = _within(self.positions(part))
        return _Sql(f"NOT {found.text}", found.values) if self.negated else found

    def _question(self, part: _Part) -> str:
        code = part_code(part.id)
        any_of = [
            " AND ".join(f'"{code}{word.text}"{"*" if word.prefix else ""}' for word in query_words(value))
            for value in self.values
        ]
        return " OR ".join(f"({all_of})" for all_of in any_of)


@dataclass(frozen=True, slots=True)
class _Symbolic:
    """Events of some kinds, or origins; of the general ones among them those that pass a test of their own."""

    column: str
    sure: tuple[int, ...]
    #: General ones, and what their events must meet besides.
    general: tuple[int, ...] = ()
    of_general: tuple[_Condition, ...] = ()
    #: Has all events of the general ones, if an index does.
    keyed: _Keyed | None = None
    #: All others: where these are fewer, they are named.
    left_out: tuple[int, ...] = ()

    @property
    def indexed(self) -> bool:
        return not self.general or self.keyed is not None

    @property
    def by_part(self) -> bool:
        return bool(self.general) and (self.keyed is not None or any(one.by_part for one in self.of_general))

    @property
    def loose(self) -> bool:
        # What the index of keys has may be of a kind, or an origin, that is not wanted.
        return self.keyed is not None

    @property
    def source(self) -> str:
        return f"event AS e INDEXED BY event_{self.column}"

    def rows(self) -> _Sql:
        """Of the index of all events."""
        return _in(f"e.{self.column}", self.sure)

    def positions(self, part: _Part) -> _Sql:
        rows = self.rows()
        found = _Sql(
            f"SELECT e.position FROM {self.source} WHERE {rows.text} AND e.time BETWEEN ? AND ?",
            (*rows.values, part.earliest, part.latest),
        )
        return found if self.keyed is None else _joined(" UNION ALL ", [found, self.keyed.positions(part)])

    def ways(self, part: _Part | None) -> list[_Way]:
        if part is not None or self.general or len(self.sure) > _MERGED:
            return []
        return [_Way(self.source, _Sql(f"e.{self.column} = ?", (id,))) for id in self.sure]

    def test(self, part: _Part | None, rows: int) -> _Sql:
        column = f"+e.{self.column}"
        if not self.general and len(self.left_out) < len(self.sure):
            left_out = _in(column, self.left_out)
            return _Sql(f"NOT {left_out.text}", left_out.values)
        sure = _in(column, self.sure)
        if not self.general:
            return sure
        tests = _joined(" AND ", [_in(column, self.general), *(one.test(part, rows) for one in self.of_general)])
        return _Sql(f"({sure.text} OR ({tests.text}))", (*sure.values, *tests.values))


@dataclass(frozen=True, slots=True)
class _OfRow:
    """A test of the row; with ``where`` there is an index for it."""

    tested: _Sql
    source: str = ""
    by_part: bool = False
    loose: bool = False

    @property
    def indexed(self) -> bool:
        return bool(self.source)

    def positions(self, part: _Part) -> _Sql:
        return _Sql(f"SELECT e.position FROM {self.source} WHERE {self.tested.text}", self.tested.values)

    def ways(self, part: _Part) -> list[_Way]:
        return []

    def test(self, part: _Part | None, rows: int) -> _Sql:
        return self.tested


class _Bounds(NamedTuple):
    """Between which times and positions; ``{time}`` and ``{position}`` stand for a way's columns."""

    order: Order
    within: tuple[_Sql, ...]
    time_from: int
    #: The latest time, included.
    time_to: int
    after: int
    until: int

    def also(self, bound: _Sql) -> _Bounds:
        return self._replace(within=(*self.within, bound))

    def of(self, time: str, position: str) -> list[_Sql]:
        return [_Sql(one.text.format(time=time, position=position), one.values) for one in self.within]


class Reader:
    """Asks one search database, through a connection that may be read only. Not for several threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        secret: bytes
        secret, self._part_size = connection.execute("SELECT secret, part_size FROM state").fetchone()
        self._keys = {role: Keys(secret, role) for role in (ACTOR, TARGET, CLIENT, SESSION, TYPE, REALM)}
        self._symbols: dict[str, dict[int, Symbol]] = {"kind": {}, "origin": {}}
        #: What some filters mean among the kinds and origins there are.
        self._meant: dict[tuple[object, ...], _Symbolic | None] = {}

    def by_time(self, filter: Filter, limit: int, cursor: TimeCursor, *, seconds: float = inf) -> Found:
        """The newest ``limit`` events before the cursor, newest first, each in its latest revision up to the
        cursor's snapshot; or those of them that were found when so many ``seconds`` had passed."""
        visible = _Sql(
            "e.position <= ? AND (e.superseded_by IS NULL OR e.superseded_by > ?)", (cursor.snapshot, cursor.snapshot)
        )
        low, high = filter.time_from, filter.time_to
        within = [_range("{time}", low, high), _Sql("({time}, {position}) < (?, ?)", (cursor.time, cursor.position))]
        latest = cursor.time if high is None else min(cursor.time, high - 1)
        bounds = _Bounds("time", tuple(within), -1 if low is None else low, latest, 0, cursor.snapshot)
        return self._ask(filter, _OfRow(visible), bounds, limit, seconds)

    def by_log(
        self, filter: Filter, limit: int, cursor: LogCursor, until: int, revisions: bool, *, seconds: float = inf
    ) -> Found:
        """The first ``limit`` events after the cursor, by position, up to ``until``; each in its first entry, with
        ``revisions`` in the later ones too; or those of them that were found when so many ``seconds`` had passed."""
        visible = _Sql("1" if revisions else "e.later IS NULL")
        low, high = filter.time_from, filter.time_to
        within = [_range("{time}", low, high), _Sql("{position} > ? AND {position} <= ?", (cursor.position, until))]
        latest = _LATEST if high is None else high - 1
        bounds = _Bounds("log", tuple(within), -1 if low is None else low, latest, cursor.position, until)
        return self._ask(filter, _OfRow(visible), bounds, limit, seconds)

    def _ask(self, filter: Filter, visible: _Condition, bounds: _Bounds, limit: int, seconds: float) -> Found:
        """One page of sort keys."""
        # One transaction: the kinds and origins are those of the rows.
        self.connection.execute("BEGIN")
        try:
            conditions = self._conditions(filter)
            if conditions is None:
                return Found()
            if any(one.by_part for one in conditions):
                return self._through_parts([*conditions, visible], bounds, limit, seconds)
            return Found(self._along_an_index([*conditions, visible], bounds, limit))
        finally:
            self.connection.execute("COMMIT")

    # Along an index

    def _along_an_index(self, conditions: Sequence[_Condition], bounds: _Bounds, limit: int) -> list[Row]:
        best, least = None, _COUNTED
        for one in conditions:
            if isinstance(one, _Symbolic) and one.indexed:
                count = self._count_all(one, bounds, least)
                if count < least:
                    best, least = one, count
        others = [one for one in conditions if one is not best]
        if best is not None:
            rows = best.rows()
            return self._select(bounds, limit, best.source, rows, others, None, least)
        if bounds.order == "time":
            for one in conditions:
                if isinstance(one, _Symbolic) and (ways := one.ways(None)):
                    others = [other for other in conditions if other is not one]
                    return self._merge(ways, bounds, limit, others, None, limit)
            return self._select(bounds, limit, "event AS e INDEXED BY event_time", _ALL, others, None, limit)
        return self._select(bounds, limit, "event AS e NOT INDEXED", _ALL, others, None, limit)

    def _count_all(self, condition: _Symbolic, bounds: _Bounds, most: int) -> int:
        """How many rows of all events are of these kinds or origins, counted up to ``most``."""
        rows = condition.rows()
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {condition.source} WHERE {rows.text} AND e.time BETWEEN ? AND ? "
            "LIMIT ?)"
        )
        return self._number(sql, (*rows.values, bounds.time_from, bounds.time_to, most))

    # Through the parts

    def _through_parts(self, conditions: Sequence[_Condition], bounds: _Bounds, limit: int, seconds: float) -> Found:
        end = monotonic() + seconds
        by_time = bounds.order == "time"
        # Those first that are cheap to count.
        indexed = sorted((one for one in conditions if one.indexed), key=_cost)
        rows = Found()
        first = True
        for part in self._parts(indexed, bounds):
            here = bounds
            if len(rows) == limit:
                if not by_time or part.latest < rows[-1].time:
                    break
                # Only what is newer than the last row could still stand on the page.
                here = bounds.also(_Sql("({time}, {position}) > (?, ?)", rows[-1]))
            elif not first and monotonic() >= end and (not by_time or part.latest < bounds.time_to):
                return _broken_off(rows, Row(part.latest, _LATEST) if by_time else Row(0, part.first - 1), by_time)
            found = self._in_part(part, conditions, indexed, here, limit if by_time else limit - len(rows))
            rows = Found(sorted([*rows, *found], reverse=True)[:limit] if by_time else [*rows, *found])
            first = False
        return rows

    def _in_part(
        self,
        part: _Part,
        conditions: Sequence[_Condition],
        indexed: Sequence[_Condition],
        bounds: _Bounds,
        limit: int,
    ) -> list[Row]:
        best, least = None, _NARROW
        alone = len(indexed) == 1 and bounds.order == "time" and indexed[0].ways(part)
        for one in () if alone else indexed:
            found = one.positions(part)
            count = self._number(f"SELECT count(*) FROM (SELECT 1 FROM ({found.text}) LIMIT ?)", (*found.values, least))
            if count == 0:
                return []
            if count < least:
                best, least = one, count
        if bounds.order == "time":
            for one in indexed if best is None else [best]:
                if ways := one.ways(part):
                    others = [other for other in conditions if other is not one]
                    return self._merge(ways, bounds, limit, others, part, least if best else self._part_size)
        where = _Sql("e.position BETWEEN ? AND ?", (part.first, part.last))
        if best is None:
            return self._select(bounds, limit, "event AS e NOT INDEXED", where, conditions, part, self._part_size)
        found = best.positions(part)
        where = _Sql(f"e.position IN ({found.text}) AND +{where.text}", (*found.values, *where.values))
        others = [one for one in conditions if one is not best or best.loose]
        return self._select(bounds, limit, "event AS e NOT INDEXED", where, others, part, least)

    def _parts(self, indexed: Sequence[_Condition], bounds: _Bounds) -> list[_Part]:
        """The parts that may hold rows of the page, in its order."""
        size = self._part_size
        order = "latest DESC, id DESC" if bounds.order == "time" else "id"
        sql = (
            "SELECT id, earliest, latest FROM part WHERE latest >= ? AND earliest <= ? AND id BETWEEN ? AND ? "
            f"ORDER BY {order}"
        )
        ends = ((bounds.after + 1) // size, bounds.until // size)
        found = self.connection.execute(sql, (bounds.time_from, bounds.time_to, *ends)).fetchall()
        for one in indexed:
            # Of what is rare among all events, the parts are known at once.
            if isinstance(one, _Symbolic) and one.keyed is None and self._count_all(one, bounds, _COUNTED) < _COUNTED:
                rows = one.rows()
                where = f"{rows.text} AND e.time BETWEEN ? AND ?"
                sql = f"SELECT DISTINCT e.position / {size:d} FROM {one.source} WHERE {where}"
                values = (*rows.values, bounds.time_from, bounds.time_to)
                there = {id for (id,) in self.connection.execute(sql, values)}
                found = [part for part in found if part[0] in there]
        return [_Part(id, earliest, latest, id * size, id * size + size - 1) for id, earliest, latest in found]

    # Statements

    def _select(
        self,
        bounds: _Bounds,
        limit: int,
        source: str,
        where: _Sql,
        conditions: Sequence[_Condition],
        part: _Part | None,
        tested: int,
    ) -> list[Row]:
        """The first rows of a source, in the order of the page, that are within the bounds and meet the conditions;
        about so many are ``tested``."""
        tests = (one.test(part, tested) for one in conditions)
        whole = _joined(" AND ", [where, *bounds.of("e.time", "e.position"), *tests])
        order = "e.time DESC, e.position DESC" if bounds.order == "time" else "e.position"
        sql = f"SELECT e.time, e.position FROM {source} WHERE {whole.text} ORDER BY {order} LIMIT ?"
        return [Row(*row) for row in self.connection.execute(sql, (*whole.values, limit))]

    def _merge(
        self,
        ways: Sequence[_Way],
        bounds: _Bounds,
        limit: int,
        conditions: Sequence[_Condition],
        part: _Part | None,
        tested: int,
    ) -> list[Row]:
        """The newest rows on some ways, each of which is left as soon as the page could be full of its rows."""
        tests = [one.test(part, tested) for one in conditions]
        selects: list[_Sql] = []
        for way in ways:
            whole = _joined(" AND ", [way.where, *bounds.of(way.time, way.position), *tests])
            text = (
                f"SELECT * FROM (SELECT {way.time}, {way.position} FROM {way.source} WHERE {whole.text} "
                f"ORDER BY {way.time} DESC, {way.position} DESC LIMIT {limit:d})"
            )
            selects.append(_Sql(text, whole.values))
        # UNION leaves out an event that two ways meet.
        whole = _joined(" UNION ", selects)
        sql = f"{whole.text} ORDER BY 1 DESC, 2 DESC LIMIT ?"
        return [Row(*row) for row in self.connection.execute(sql, (*whole.values, limit))]

    def _number(self, sql: str, values: Sequence[Value]) -> int:
        number: int = self.connection.execute(sql, values).fetchone()[0]
        return number

    # The filter's conditions

    def _conditions(self, filter: Filter) -> list[_Condition] | None:
        """The filter's conditions, times aside; ``None`` if nothing can match."""
        self._learn()
        kinds = self._remembered(self._of_kind, filter, "type", "outcome", "reason", "reason_class")
        origins = self._remembered(self._of_origin, filter, "source", "provider", "realm")
        if kinds is None or origins is None:
            return None
        conditions: list[_Condition] = []
        for term in filter.terms:
            if term.name in _ROLES:
                conditions.append(self._keyed(_ROLES[term.name], term.values, term.negated))
            elif term.name == "ip":
                conditions.append(self._addressed(term))
            elif term.name == "q":
                conditions.append(_Worded(term.values, term.negated))
        conditions += [one for one in (kinds, origins) if one.left_out or one.general]
        if filter.received_from is not None or filter.received_to is not None:
            within = _range("e.received_at", filter.received_from, filter.received_to)
            conditions.append(_OfRow(within, "event AS e INDEXED BY event_received", by_part=True))
        return conditions

    def _keyed(self, roles: Sequence[str], values: Sequence[str], negated: bool) -> _Keyed:
        keys = {self._keys[role].fingerprint(value) for value in values for role in roles}
        return _Keyed(self._part_size, tuple(sorted(keys)), negated=negated)

    def _addressed(self, term: Term) -> _Keyed:
        ranges: list[tuple[Address, Address]] = []
        for value in term.values:
            ranges += stored_ranges(*address_range(value))
        ranges = _merged(ranges)
        keys = tuple(low for low, high in ranges if low == high and isinstance(low, int))
        wide = tuple(one for one in ranges if one[0] != one[1] or not isinstance(one[0], int))
        ends = tuple(end for pair in ranges for end in pair)
        tests = " OR ".join(["e.address BETWEEN ? AND ?"] * len(ranges))
        return _Keyed(self._part_size, keys, wide, term.negated, _Sql(f"(({tests}) IS TRUE)", ends))

    def _learn(self) -> None:
        """Read the kinds and origins that came since the last question."""
        for table, known in self._symbols.items():
            last, lowest = max(known, default=0), min(known, default=0)
            sql = f"SELECT * FROM {table} WHERE id > ? OR id < ?"
            for id, *symbol in self.connection.execute(sql, (max(last, 0), min(lowest, 0))):
                known[id] = tuple(symbol)
                self._meant.clear()

    def _remembered(self, find: Callable[[Filter], _Symbolic | None], filter: Filter, *names: str) -> _Symbolic | None:
        """What a filter means, found or remembered; it depends on the terms of these names alone."""
        key = (find, filter.catalogue.digest, *(term for term in filter.terms if term.name in names))
        if key not in self._meant:
            found = find(filter)
            if found is not None and found.general:
                return found  # it tests types by a function of this filter
            if len(self._meant) >= _REMEMBERED:
                self._meant.clear()
            self._meant[key] = found
        return self._meant[key]

    def _of_kind(self, filter: Filter) -> _Symbolic | None:
        """``None``: no event there is can be of a kind that is wanted."""
        tests = _tests_of(filter, "outcome", "reason", "reason_class")
        typed = [term for term in filter.terms if term.name == "type"]
        sure, general, left_out = [], [], []
        for id, (type, outcome, reason) in self._symbols["kind"].items():
            kind = replace(_NOTHING, type=type or "", outcome=outcome or "", reason=reason)
            wanted = all(test(kind) is not negated for negated, test in tests)
            if wanted and id < 0 and typed:
                general.append(id)
            elif wanted and (filter.may_match_type(kind.type) if id > 0 else type != SYSTEM):
                sure.append(id)
            else:
                left_out.append(id)
        if not sure and not general:
            return None
        keyed = None
        if general:
            self.connection.create_function("wants_type", 1, filter.may_match_type, deterministic=True)
            for term in typed:
                if not term.negated and not any("*" in value for value in term.values):
                    canonical = {filter.catalogue.canonical(value) for value in term.values}
                    names = {name for one in canonical for name in (one, *filter.catalogue.aliases(one))}
                    keyed = self._keyed((TYPE,), sorted(names), negated=False)
                    break
        of_general = (_OfRow(_WANTED_TYPE),) if general else ()
        return _Symbolic("kind", tuple(sure), tuple(general), of_general, keyed, tuple(left_out))

    def _of_origin(self, filter: Filter) -> _Symbolic | None:
        """``None``: no event there is can be of an origin that is wanted."""
        tests, of_realm = _tests_of(filter, "source", "provider"), _tests_of(filter, "realm")
        realms = [self._keyed((REALM,), term.values, term.negated) for term in filter.terms if term.name == "realm"]
        sure, general, left_out = [], [], []
        for id, (source, provider, realm_id, realm_name) in self._symbols["origin"].items():
            origin = replace(
                _NOTHING, source=source or "", provider=provider or "", realm_id=realm_id, realm_name=realm_name
            )
            wanted = all(test(origin) is not negated for negated, test in tests)
            if wanted and id < 0 and realms:
                general.append(id)
            elif wanted and (id < 0 or all(test(origin) is not negated for negated, test in of_realm)):
                sure.append(id)
            else:
                left_out.append(id)
        if not sure and not general:
            return None
        keyed = next((one for one in realms if not one.negated), None) if general else None
        of_general = tuple(realms) if general else ()
        return _Symbolic("origin", tuple(sure), tuple(general), of_general, keyed, tuple(left_out))


_ROLES = {
    "session": (SESSION,),
    "target": (TARGET,),
    "actor": (ACTOR,),
    "user": (ACTOR, TARGET),
    "client": (CLIENT,),
}
_ALL = _Sql("1")
_LATEST = (1 << 63) - 1
_WANTED_TYPE = _Sql("wants_type((SELECT type FROM any_type WHERE any_type.position = e.position))")
_NOTHING = facets(
    b'{"time":0,"type":"","outcome":"","source":{"name":"","provider":"","nativeType":"","receivedAt":0}}'
)


def _tests_of(filter: Filter, *names: str) -> list[tuple[bool, Callable[[Facets], bool]]]:
    return [(term.negated, term_test(term, filter.catalogue)) for term in filter.terms if term.name in names]


def _broken_off(rows: Iterable[Row], reached: Row, by_time: bool) -> Found:
    """Those rows that come before the place that was reached: others may come between the rest."""
    found = Found(row for row in rows if not by_time or row > reached)
    found.reached = reached
    return found


def _cost(condition: _Condition) -> int:
    """What it costs to count a little of its rows, about."""
    return condition.size if isinstance(condition, _Keyed) else _MERGED


def _in(column: str, numbers: Sequence[int]) -> _Sql:
    """A test whether a column has one of some numbers; one text for any number of many."""
    if len(numbers) <= _MERGED:
        return _Sql(f"{column} IN ({','.join('?' * len(numbers))})", tuple(numbers))
    return _Sql(f"{column} IN (SELECT value FROM json_each(?))", (orjson.dumps(numbers).decode(),))


def _within(positions: _Sql) -> _Sql:
    return _Sql(f"+e.position IN ({positions.text})", positions.values)


def _joined(between: str, pieces: Iterable[_Sql]) -> _Sql:
    pieces = list(pieces)
    return _Sql(between.join(one.text for one in pieces), tuple(value for one in pieces for value in one.values))


def _range(column: str, low: int | None, high: int | None) -> _Sql:
    """``low`` included, ``high`` not."""
    parts = [(f"{column} >= ?", low), (f"{column} < ?", high)]
    given = [(text, value) for text, value in parts if value is not None]
    return _Sql(" AND ".join(text for text, _ in given) or "1", tuple(value for _, value in given))


def _merged(ranges: Iterable[tuple[Address, Address]]) -> list[tuple[Address, Address]]:
    """The same addresses in ranges that do not overlap."""
    found: list[tuple[Address, Address]] = []
    for low, high in sorted(ranges, key=lambda one: (isinstance(one[0], bytes), one)):
        if found and type(found[-1][1]) is type(low) and low <= found[-1][1]:  # type: ignore[operator]
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found
