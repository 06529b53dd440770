"""How many events have each value, in SQL: by the hourly counts where these tell it, or else the same rows that
questions are answered with, in groups instead of an order. What is counted of an event stands in its row, so nothing
but the search is read."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from time import monotonic
from typing import NamedTuple

import orjson

from adapter.filter import Filter
from adapter.search.cursor import newest
from adapter.search.hours import LATE, Hours, back_from
from adapter.search.index import COMPLETED, ByPrefix, ByTime, ByValue, Completed, Count, Tally, Uncounted
from adapter.search.keys import HOUR
from adapter.search.sqlite.conditions import Condition, Part, Sql, Symbolic, any_of, joined
from adapter.search.sqlite.query import COUNTED, Asker, Bounds, rows_of
from adapter.search.sqlite.schema import Address
from adapter.search.symbols import ORIGIN, Wanted, tells, value_of
from adapter.search.values import FIELDS

_BY_TIME = "event AS e INDEXED BY event_time"
_BY_POSITION = "event AS e NOT INDEXED"

#: Of a general kind, the type stands beside it.
_TYPE = "CASE WHEN e.kind < 0 THEN (SELECT type FROM any_type WHERE any_type.position = e.position) END"
#: What is counted by something else than the kind.
_COLUMNS = dict.fromkeys(ORIGIN, "origin") | {"ip": "address", "user": "actor", "client": "client"}
#: Rows of the hourly counts that a completion looks at, at most.
_LOOKED_AT = 20_000
_HOURS = "SELECT min(hour), max(hour) FROM hourly"


class _Group(NamedTuple):
    value: Address | None
    type: str | None
    bucket: int
    events: int
    position: int


def count(asker: Asker, question: ByValue) -> Tally | Uncounted:
    """The answer to a question, of one state of the database."""
    run = asker.connection.execute
    run("BEGIN")
    try:
        span = run("SELECT min(earliest), max(latest) FROM part").fetchone()
        if question.hours is None:
            counts = _by_event(asker, question)
        else:
            (position,) = run("SELECT position FROM state").fetchone()
            counts = _by_hour(asker, question._replace(snapshot=position), question.hours)
        return counts if isinstance(counts, Uncounted) else Tally(counts, *span)
    finally:
        run("COMMIT")


# By hour


def _by_hour(asker: Asker, question: ByValue, hours: Hours) -> list[Count] | Uncounted:
    kinds, origins = asker.compiler.wanted(question.filter)
    if kinds is None or origins is None:
        return []
    whole = _hourly(hours, kinds, origins)
    if not tells(question.by, kinds, origins):
        untold = _untold(question.by, kinds, origins)
        where = joined(" AND ", [whole, untold])
        if asker.connection.execute(f"SELECT 1 FROM hourly WHERE {where.text} LIMIT 1", where.values).fetchone():
            return Uncounted.UNTOLD
    column = "origin" if question.by in ORIGIN else "kind"
    bucket = "0" if question.buckets is None else question.buckets.sql(f"(hour * {HOUR})")
    sql = f"SELECT {column}, {bucket}, sum(events) FROM hourly WHERE {whole.text} GROUP BY 1, 2"
    counts = [
        Count(value_of(asker.compiler.symbol(question.by, number), question.by), bucket, events)
        for number, bucket, events in asker.connection.execute(sql, whole.values)
    ]
    for low, high in hours.rest:
        found = _by_event(asker, question._replace(filter=replace(question.filter, time_from=low, time_to=high)))
        if isinstance(found, Uncounted):
            return found
        counts += found
    return Uncounted.TOO_MANY if len({one.value for one in counts}) > question.values else counts


def _hourly(hours: Hours, kinds: Wanted, origins: Wanted) -> Sql:
    """The rows of whole hours that are meant."""
    tests = [_of("kind", kinds), _of("origin", origins)]
    if hours.first is not None:
        tests.append(Sql("hour >= ?", (hours.first,)))
    if hours.end is not None:
        tests.append(Sql("hour < ?", (hours.end,)))
    if hours.left_out:
        tests.append(Sql("hour NOT IN (SELECT value FROM json_each(?))", (orjson.dumps(hours.left_out).decode(),)))
    return joined(" AND ", tests)


def _of(column: str, wanted: Wanted) -> Sql:
    if not wanted.left_out:
        return Sql("1")
    if len(wanted.left_out) < len(wanted.sure) + len(wanted.general):
        left_out = any_of(f"+{column}", wanted.left_out)
        return Sql(f"NOT {left_out.text}", left_out.values)
    return any_of(f"+{column}", (*wanted.sure, *wanted.general))


def _untold(by: str, kinds: Wanted, origins: Wanted) -> Sql:
    """Rows of which the hourly counts do not tell whether they are meant, or what they are counted under."""
    tests = [any_of("+kind", kinds.general), any_of("+origin", origins.general)]
    if by == "type":
        tests.append(Sql("kind < 0"))
    if by == "realm":
        tests.append(Sql("origin < 0"))
    whole = joined(" OR ", tests)
    return Sql(f"({whole.text})", whole.values)


# By event


def _by_event(asker: Asker, question: ByValue) -> list[Count] | Uncounted:
    conditions = asker.compiler.conditions(question.filter)
    if conditions is None:
        return []
    column = f"e.{_COLUMNS.get(question.by, 'kind')}"
    type = _TYPE if question.by == "type" else "NULL"
    bucket = "0" if question.buckets is None else question.buckets.sql("e.time")
    groups = f"{column}, {type}, {bucket}"
    counts: list[Count] = []
    for rows, is_over in _rows(asker, question, conditions, groups):
        if is_over:
            return Uncounted.TOO_MANY
        for value, type_of, number, events, position in rows:
            match question.by:
                case "ip":
                    counts.append(Count(_address(value), number, events))
                case "user" | "client":
                    assert not isinstance(value, bytes)
                    counts.append(Count(value, number, events, position))
                case by:
                    assert isinstance(value, int)
                    if by == "realm" and value < 0:
                        return Uncounted.UNTOLD
                    counts.append(Count(type_of or value_of(asker.compiler.symbol(by, value), by), number, events))
    return counts


def _rows(
    asker: Asker, question: ByValue, conditions: Sequence[Condition], groups: str
) -> Iterator[tuple[list[_Group], bool]]:
    """Groups, and whether there are more values than are allowed: of all, or of one part after the other."""
    visible, bounds = asker.bounds(ByTime(question.filter, question.values + 1, newest(question.snapshot)))
    conditions = [*conditions, visible]
    if not any(one.by_part for one in conditions):
        source, where = _along(asker, question.filter, conditions, bounds)
        rows = _grouped(asker.connection, groups, source, where, conditions, bounds, question.groups, None, 0)
        yield rows, _is_over(rows, question)
        return
    indexed = [one for one in conditions if one.indexed]
    for part in asker.with_keys(asker.parts(indexed, bounds), indexed):
        best, least = asker.narrowest(part, indexed)
        if least == 0:
            continue
        where, others = rows_of(part, conditions, best)
        tested = asker.part_size if best is None else least
        rows = _grouped(asker.connection, groups, _BY_POSITION, where, others, bounds, question.groups, part, tested)
        yield rows, _is_over(rows, question)


def _is_over(rows: Sequence[_Group], question: ByValue) -> bool:
    if len(rows) <= question.values:
        return False
    return len(rows) > question.groups or len({(row.value, row.type) for row in rows}) > question.values


def _along(asker: Asker, filter: Filter, conditions: Sequence[Condition], bounds: Bounds) -> tuple[str, Sql]:
    """The index that has the fewest rows to look at."""
    best, least = None, COUNTED
    for one in conditions:
        if isinstance(one, Symbolic) and one.indexed and (found := asker.count_all(one, bounds, least)) < least:
            best, least = one, found
    if best is not None:
        return best.source, best.rows()
    bounded = filter.time_from is not None or filter.time_to is not None
    return (_BY_TIME if bounded else _BY_POSITION), Sql("1")


def _grouped(
    connection: sqlite3.Connection,
    groups: str,
    source: str,
    where: Sql,
    conditions: Sequence[Condition],
    bounds: Bounds,
    most: int,
    part: Part | None,
    tested: int,
) -> list[_Group]:
    tests = (one.test(part, tested) for one in conditions)
    whole = joined(" AND ", [where, *bounds.of("e.time", "e.position"), *tests])
    sql = f"SELECT {groups}, count(*), max(e.position) FROM {source} WHERE {whole.text} GROUP BY 1, 2, 3 LIMIT ?"
    return [_Group(*row) for row in connection.execute(sql, (*whole.values, most + 1))]


def _address(stored: Address | None) -> str | None:
    if stored is None:
        return None
    return str(IPv4Address(stored) if isinstance(stored, int) else IPv6Address(stored))


# Completion


def complete(asker: Asker, question: ByPrefix) -> Completed:
    """The answer to a question, of one state of the database."""
    asker.connection.execute("BEGIN")
    try:
        _, origins = asker.compiler.wanted(question.filter)
        if origins is None:
            return Completed({}, True)
        # Of general origins nobody knows the realm.
        sure = origins._replace(general=(), left_out=(*origins.left_out, *origins.general))
        if question.field in FIELDS:
            return _said(asker, question, sure)
        return _symbols(asker, question, sure)
    finally:
        asker.connection.execute("COMMIT")


def _said(asker: Asker, question: ByPrefix, origins: Wanted) -> Completed:
    end = monotonic() + question.seconds
    of_origin = _of("origin", origins)
    sql = (
        "SELECT value, sum(events) FROM said WHERE part = ? AND field = ? AND value >= ? AND value < ? "
        f"AND {of_origin.text} GROUP BY value ORDER BY 2 DESC LIMIT {COMPLETED}"
    )
    values: Counter[str] = Counter()
    is_whole = True
    parts = [part for (part,) in asker.connection.execute("SELECT id FROM part ORDER BY id DESC")]
    for done, part in enumerate(parts):
        if done and monotonic() >= end:
            return Completed(values, False)
        ends = (part, FIELDS[question.field], question.prefix, question.prefix + "\U0010ffff")
        rows = asker.connection.execute(sql, (*ends, *of_origin.values)).fetchall()
        for value, events in rows:
            values[value] += events
        is_whole = is_whole and len(rows) < COMPLETED
    return Completed(values, is_whole)


def _symbols(asker: Asker, question: ByPrefix, origins: Wanted) -> Completed:
    of_origin = _of("origin", origins)
    column = "origin" if question.field in ORIGIN else "kind"
    sql = (
        f"SELECT {column}, sum(events), count(*) FROM (SELECT {column}, events FROM hourly WHERE hour > ? "
        f"AND hour <= ? AND {of_origin.text} ORDER BY hour DESC LIMIT ?) GROUP BY 1"
    )
    values: Counter[str] = Counter()
    rows, is_whole = 0, True
    begun = monotonic()
    for after, until in back_from(question.hour, *asker.connection.execute(_HOURS).fetchone()):
        if rows >= _LOOKED_AT or monotonic() - begun >= question.seconds * (1 if rows else LATE):
            is_whole = False
            break
        numbers = (after, until, *of_origin.values, _LOOKED_AT - rows)
        for number, events, looked_at in asker.connection.execute(sql, numbers).fetchall():
            rows += looked_at
            if number < 0 and question.field == "type":
                continue  # a general kind has no type
            value = value_of(asker.compiler.symbol(question.field, number), question.field)
            if value and value.startswith(question.prefix):
                values[value] += events
    if column == "origin":
        for number in origins.sure:
            value = value_of(asker.compiler.symbol(question.field, number), question.field)
            if value and value.startswith(question.prefix):
                values[value] += 0
    return Completed(values, is_whole and rows < _LOOKED_AT)
