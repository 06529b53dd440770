"""How many events have each value, in SQL: the same rows that questions are answered with, in groups instead of an
order. What is counted of an event stands in its row, so nothing but the search is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from adapter.filter import Filter
from adapter.search.cursor import newest
from adapter.search.index import ByTime, ByValue, Tally, Uncounted
from adapter.search.sqlite.conditions import Condition, Part, Sql, Symbolic, joined
from adapter.search.sqlite.query import COUNTED, Asker, Bounds, rows_of
from adapter.search.sqlite.schema import Address
from adapter.search.symbols import value_of

_BY_TIME = "event AS e INDEXED BY event_time"
_BY_POSITION = "event AS e NOT INDEXED"

#: Of a general kind, the type stands beside it.
_TYPE = "CASE WHEN e.kind < 0 THEN (SELECT type FROM any_type WHERE any_type.position = e.position) END"

Row = tuple[Address | None, str | None, int]


def count(asker: Asker, question: ByValue) -> Tally | Uncounted:
    """The answer to a question, of one state of the database."""
    asker.connection.execute("BEGIN")
    try:
        span = asker.connection.execute("SELECT min(earliest), max(latest) FROM part").fetchone()
        conditions = asker.compiler.conditions(question.filter)
        if conditions is None:
            return Tally((), *span)
        column = {"ip": "e.address", "source": "e.origin", "provider": "e.origin", "realm": "e.origin"}
        groups = f"{column.get(question.by, 'e.kind')}, {_TYPE if question.by == 'type' else 'NULL'}"
        counts: list[tuple[str | None, int]] = []
        for rows in _rows(asker, question, conditions, groups):
            if len(rows) > question.values:
                return Uncounted.TOO_MANY
            for number, type, events in rows:
                if question.by == "ip":
                    counts.append((_address(number), events))
                    continue
                assert isinstance(number, int)
                if question.by == "realm" and number < 0:
                    return Uncounted.UNTOLD
                counts.append((type or value_of(asker.compiler.symbol(question.by, number), question.by), events))
        return Tally(counts, *span)
    finally:
        asker.connection.execute("COMMIT")


def _rows(asker: Asker, question: ByValue, conditions: Sequence[Condition], groups: str) -> Iterator[list[Row]]:
    """Value, type of a general kind, and events: all, or those of one part after the other."""
    visible, bounds = asker.bounds(ByTime(question.filter, question.values + 1, newest(question.snapshot)))
    conditions = [*conditions, visible]
    if not any(one.by_part for one in conditions):
        source, where = _along(asker, question.filter, conditions, bounds)
        yield _grouped(asker.connection, groups, source, where, conditions, bounds, question.values, None, 0)
        return
    indexed = [one for one in conditions if one.indexed]
    for part in asker.with_keys(asker.parts(indexed, bounds), indexed):
        best, least = asker.narrowest(part, indexed)
        if least == 0:
            continue
        where, others = rows_of(part, conditions, best)
        tested = asker.part_size if best is None else least
        yield _grouped(asker.connection, groups, _BY_POSITION, where, others, bounds, question.values, part, tested)


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
    values: int,
    part: Part | None,
    tested: int,
) -> list[Row]:
    tests = (one.test(part, tested) for one in conditions)
    whole = joined(" AND ", [where, *bounds.of("e.time", "e.position"), *tests])
    sql = f"SELECT {groups}, count(*) FROM {source} WHERE {whole.text} GROUP BY 1, 2 LIMIT ?"
    return connection.execute(sql, (*whole.values, values + 1)).fetchall()


def _address(stored: Address | None) -> str | None:
    if stored is None:
        return None
    return str(IPv4Address(stored) if isinstance(stored, int) else IPv6Address(stored))
