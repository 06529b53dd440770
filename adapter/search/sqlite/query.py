"""Questions in SQL: the page of events that meet a filter's conditions. There are two ways through the events:

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
from collections.abc import Iterator, Sequence
from math import inf
from time import monotonic
from typing import NamedTuple

from adapter.filter import Filter
from adapter.search.cursor import Order
from adapter.search.index import LATEST, ByLog, Found, Hit, Question, broken_off
from adapter.search.linking import Asked, KnownName
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.sqlite.compiler import Compiler
from adapter.search.sqlite.conditions import (
    MERGED,
    Condition,
    Keyed,
    OfRow,
    Part,
    Sql,
    Symbolic,
    Value,
    Way,
    any_of,
    in_range,
    joined,
)
from adapter.search.sqlite.people import count_active
from adapter.search.sqlite.people import find as find_people

#: How far the rows of an index of all events are counted; with fewer, the index is not left before its end.
COUNTED = 5_000
#: How far the rows of a condition are counted in a part; with more of each, the whole part is gone through.
_NARROW = 2_000
#: Parts that are looked through for keys in one statement.
_AT_ONCE = 256

_ALL = Sql("1")


class Bounds(NamedTuple):
    """Between which times and positions; ``{time}`` and ``{position}`` stand for a way's columns."""

    order: Order
    within: tuple[Sql, ...]
    time_from: int
    #: The latest time, included.
    time_to: int
    after: int
    until: int
    #: By time, the oldest first.
    ascending: bool = False

    def has_before(self, part: Part) -> bool:
        """By time: whether there may be rows that come before all of a part."""
        return part.earliest > self.time_from if self.ascending else part.latest < self.time_to

    def also(self, bound: Sql) -> Bounds:
        return self._replace(within=(*self.within, bound))

    def of(self, time: str, position: str) -> list[Sql]:
        return [Sql(one.text.format(time=time, position=position), one.values) for one in self.within]


class Asker:
    """Asks one search database, through a connection that may be read only. Not for several threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.part_size: int = connection.execute("SELECT part_size FROM state").fetchone()[0]
        self.compiler = Compiler(connection)

    def people(self, question: ByAccount) -> Accounts:
        """Accounts in order."""
        return find_people(self.connection, self.compiler, question)

    def active(self, question: ActiveIn) -> list[Active | None]:
        """How many were active in each stretch of time."""
        return count_active(self.connection, self.compiler, question)

    def known_names(self, ids: Sequence[str], names: Sequence[str], filter: Filter) -> list[KnownName]:
        """What is known of ids of users, and of names."""
        return self.compiler.known_names(ids, names, filter)

    def answer(self, question: Question, *, seconds: float = inf) -> Found:
        """What is found; or what was found of it when so many ``seconds`` had passed."""
        visible, bounds = self.bounds(question)
        return self._ask(question.filter, visible, bounds, question.limit, seconds)

    def bounds(self, question: Question) -> tuple[Condition, Bounds]:
        """Which entries of an event are meant, and between which times and positions."""
        filter = question.filter
        low, high = filter.time_from, filter.time_to
        time_from, time_to = -1 if low is None else low, LATEST if high is None else high - 1
        in_time = in_range("{time}", low, high)
        if isinstance(question, ByLog):
            after, until = question.cursor.position, question.until
            visible = Sql("1" if question.revisions else "e.later IS NULL")
            within = (in_time, Sql("{position} > ? AND {position} <= ?", (after, until)))
            bounds = Bounds("log", within, time_from, time_to, after, until)
        else:
            time, position, snapshot = question.cursor
            visible = Sql("e.position <= ? AND (e.superseded_by IS NULL OR e.superseded_by > ?)", (snapshot, snapshot))
            behind = Sql(f"({{time}}, {{position}}) {'>' if question.ascending else '<'} (?, ?)", (time, position))
            if question.ascending:
                time_from = max(time, time_from)
            else:
                time_to = min(time, time_to)
            bounds = Bounds("time", (in_time, behind), time_from, time_to, 0, snapshot, question.ascending)
        return OfRow(visible), bounds

    def names(self, wanted: Sequence[Asked], filter: Filter) -> list[str | None]:
        """The name that each id had at its time, so far as a filter's reader may know it."""
        self.connection.execute("BEGIN")
        try:
            return self.compiler.names(wanted, filter)
        finally:
            self.connection.execute("COMMIT")

    def _ask(self, filter: Filter, visible: Condition, bounds: Bounds, limit: int, seconds: float) -> Found:
        """One page of sort keys."""
        # One transaction: the kinds and origins are those of the rows.
        self.connection.execute("BEGIN")
        try:
            conditions = self.compiler.conditions(filter)
            if conditions is None:
                return Found()
            if any(one.by_part for one in conditions):
                return self._through_parts([*conditions, visible], bounds, limit, seconds)
            return Found(self._along_an_index([*conditions, visible], bounds, limit))
        finally:
            self.connection.execute("COMMIT")

    # Along an index

    def _along_an_index(self, conditions: Sequence[Condition], bounds: Bounds, limit: int) -> list[Hit]:
        best, least = None, COUNTED
        for one in conditions:
            if isinstance(one, Symbolic) and one.indexed:
                count = self.count_all(one, bounds, least)
                if count < least:
                    best, least = one, count
        others = [one for one in conditions if one is not best]
        if best is not None:
            rows = best.rows()
            return self._select(bounds, limit, best.source, rows, others, None, least)
        if bounds.order == "time":
            for one in conditions:
                if isinstance(one, Symbolic) and (ways := one.ways(None)):
                    others = [other for other in conditions if other is not one]
                    return self._merge(ways, bounds, limit, others, None, limit)
            return self._select(bounds, limit, "event AS e INDEXED BY event_time", _ALL, others, None, limit)
        return self._select(bounds, limit, "event AS e NOT INDEXED", _ALL, others, None, limit)

    def count_all(self, condition: Symbolic, bounds: Bounds, most: int) -> int:
        """How many rows of all events are of these kinds or origins, counted up to ``most``."""
        rows = condition.rows()
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {condition.source} WHERE {rows.text} AND e.time BETWEEN ? AND ? "
            "LIMIT ?)"
        )
        return self._number(sql, (*rows.values, bounds.time_from, bounds.time_to, most))

    # Through the parts

    def _through_parts(self, conditions: Sequence[Condition], bounds: Bounds, limit: int, seconds: float) -> Found:
        end = monotonic() + seconds
        by_time, ascending = bounds.order == "time", bounds.ascending
        # Those first that are cheap to count.
        indexed = sorted((one for one in conditions if one.indexed), key=_cost)
        rows = Found()
        first = True
        for part in self.with_keys(self.parts(indexed, bounds), indexed):
            here = bounds
            if len(rows) == limit:
                last = rows[-1].time
                if not by_time or (part.earliest > last if ascending else part.latest < last):
                    break
                # Only what comes before the last row could still stand on the page.
                here = bounds.also(Sql(f"({{time}}, {{position}}) {'<' if ascending else '>'} (?, ?)", rows[-1]))
            elif not first and monotonic() >= end and (not by_time or bounds.has_before(part)):
                reached = Hit(0, part.first - 1)
                if by_time:
                    reached = Hit(part.earliest, 0) if ascending else Hit(part.latest, LATEST)
                return broken_off(rows, reached, by_time=by_time, ascending=ascending)
            found = self._in_part(part, conditions, indexed, here, limit if by_time else limit - len(rows))
            rows = Found(sorted([*rows, *found], reverse=not ascending)[:limit] if by_time else [*rows, *found])
            first = False
        return rows

    def _in_part(
        self,
        part: Part,
        conditions: Sequence[Condition],
        indexed: Sequence[Condition],
        bounds: Bounds,
        limit: int,
    ) -> list[Hit]:
        alone = len(indexed) == 1 and bounds.order == "time" and indexed[0].ways(part)
        best, least = (None, _NARROW) if alone else self.narrowest(part, indexed)
        if least == 0:
            return []
        if bounds.order == "time":
            for one in indexed if best is None else [best]:
                if ways := one.ways(part):
                    others = [other for other in conditions if other is not one]
                    return self._merge(ways, bounds, limit, others, part, least if best else self.part_size)
        where, to_test = rows_of(part, conditions, best)
        tested = self.part_size if best is None else least
        return self._select(bounds, limit, "event AS e NOT INDEXED", where, to_test, part, tested)

    def narrowest(self, part: Part, indexed: Sequence[Condition]) -> tuple[Condition | None, int]:
        """The condition that few rows in a part meet, and how many do; with 0, none in the part meets them all.
        ``None``: each is met by many."""
        best, least = None, _NARROW
        for one in indexed:
            found = one.positions(part)
            count = self._number(f"SELECT count(*) FROM (SELECT 1 FROM ({found.text}) LIMIT ?)", (*found.values, least))
            if count < least:
                best, least = one, count
            if count == 0:
                break
        return best, least

    def parts(self, indexed: Sequence[Condition], bounds: Bounds) -> list[Part]:
        """The parts that may hold rows of the page, in its order."""
        size = self.part_size
        order = "id" if bounds.order == "log" else "earliest, id" if bounds.ascending else "latest DESC, id DESC"
        sql = (
            "SELECT id, earliest, latest FROM part WHERE latest >= ? AND earliest <= ? AND id BETWEEN ? AND ? "
            f"ORDER BY {order}"
        )
        ends = ((bounds.after + 1) // size, bounds.until // size)
        found = self.connection.execute(sql, (bounds.time_from, bounds.time_to, *ends)).fetchall()
        for one in indexed:
            # Of what is rare among all events, the parts are known at once.
            if isinstance(one, Symbolic) and one.keyed is None and self.count_all(one, bounds, COUNTED) < COUNTED:
                rows = one.rows()
                where = f"{rows.text} AND e.time BETWEEN ? AND ?"
                sql = f"SELECT DISTINCT e.position / {size:d} FROM {one.source} WHERE {where}"
                values = (*rows.values, bounds.time_from, bounds.time_to)
                there = {id for (id,) in self.connection.execute(sql, values)}
                found = [part for part in found if part[0] in there]
        return [Part(id, earliest, latest, id * size, id * size + size - 1) for id, earliest, latest in found]

    def with_keys(self, parts: Sequence[Part], indexed: Sequence[Condition]) -> Iterator[Part]:
        """The parts without those in which no event has the keys that are asked for. More and more parts are looked
        through in one statement, since the page may be full after the first."""
        there = joined("", (_has_key(one) for one in indexed if isinstance(one, Keyed) and one.is_short))
        begin = 0
        while begin < len(parts):
            some = parts[begin : begin + min(begin + 1, _AT_ONCE)]
            if there.text and begin:
                of_some = any_of("p.id", [part.id for part in some])
                sql = f"SELECT p.id FROM part AS p WHERE {of_some.text}{there.text}"
                found = {id for (id,) in self.connection.execute(sql, (*of_some.values, *there.values))}
                yield from (part for part in some if part.id in found)
            else:
                yield from some
            begin += len(some)

    # Statements

    def _select(
        self,
        bounds: Bounds,
        limit: int,
        source: str,
        where: Sql,
        conditions: Sequence[Condition],
        part: Part | None,
        tested: int,
    ) -> list[Hit]:
        """The first rows of a source, in the order of the page, that are within the bounds and meet the conditions;
        about so many are ``tested``."""
        tests = (one.test(part, tested) for one in conditions)
        whole = joined(" AND ", [where, *bounds.of("e.time", "e.position"), *tests])
        way = "" if bounds.ascending else " DESC"
        order = f"e.time{way}, e.position{way}" if bounds.order == "time" else "e.position"
        sql = f"SELECT e.time, e.position FROM {source} WHERE {whole.text} ORDER BY {order} LIMIT ?"
        return [Hit(*row) for row in self.connection.execute(sql, (*whole.values, limit))]

    def _merge(
        self,
        ways: Sequence[Way],
        bounds: Bounds,
        limit: int,
        conditions: Sequence[Condition],
        part: Part | None,
        tested: int,
    ) -> list[Hit]:
        """The first rows on some ways by time, each of which is left as soon as the page could be full of its rows."""
        tests = [one.test(part, tested) for one in conditions]
        selects: list[Sql] = []
        order = "" if bounds.ascending else " DESC"
        for way in ways:
            whole = joined(" AND ", [way.where, *bounds.of(way.time, way.position), *tests])
            text = (
                f"SELECT * FROM (SELECT {way.time}, {way.position} FROM {way.source} WHERE {whole.text} "
                f"ORDER BY {way.time}{order}, {way.position}{order} LIMIT {limit:d})"
            )
            selects.append(Sql(text, whole.values))
        # UNION leaves out an event that two ways meet.
        whole = joined(" UNION ", selects)
        sql = f"{whole.text} ORDER BY 1{order}, 2{order} LIMIT ?"
        return [Hit(*row) for row in self.connection.execute(sql, (*whole.values, limit))]

    def _number(self, sql: str, values: Sequence[Value]) -> int:
        number: int = self.connection.execute(sql, values).fetchone()[0]
        return number


def rows_of(part: Part, conditions: Sequence[Condition], best: Condition | None) -> tuple[Sql, Sequence[Condition]]:
    """The rows of a part that meet the ``best`` condition, or all; and the conditions that they are to be tested on."""
    where = Sql("e.position BETWEEN ? AND ?", (part.first, part.last))
    if best is None:
        return where, conditions
    found = best.positions(part)
    where = Sql(f"e.position IN ({found.text}) AND +{where.text}", (*found.values, *where.values))
    return where, [one for one in conditions if one is not best or best.loose]


def _has_key(condition: Keyed) -> Sql:
    """That any event in the part ``p`` has one of the keys."""
    wanted = any_of("f.key", condition.any_keys)
    return Sql(f" AND EXISTS (SELECT 1 FROM found_by AS f WHERE f.part = p.id AND {wanted.text})", wanted.values)


def _cost(condition: Condition) -> int:
    """What it costs to count a little of its rows, about."""
    return condition.size if isinstance(condition, Keyed) else MERGED
