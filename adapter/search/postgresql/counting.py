"""How many events have each value: by the hourly counts where these tell it, or else in groups of the rows that
questions are answered with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import IPv6Address
from time import monotonic

import asyncpg

from adapter.log.postgresql.connecting import Connection
from adapter.search.cursor import newest
from adapter.search.hours import LATE, Hours, back_from
from adapter.search.index import COMPLETED, ByPrefix, ByTime, ByValue, Completed, Count, Tally, Uncounted
from adapter.search.keys import HOUR
from adapter.search.postgresql.query import Asking, Memory, Searched, open_question
from adapter.search.symbols import ORIGIN, Wanted, tells, value_of
from adapter.search.values import FIELDS

#: What is counted by something else than the kind.
_COLUMNS = dict.fromkeys(ORIGIN, "origin") | {"ip": "address", "user": "actor", "client": "client"}
#: Rows of the hourly counts that a completion looks at, at most.
_LOOKED_AT = 20_000

Span = tuple[int | None, int | None]


async def count(connection: Connection, memory: Memory, question: ByValue, head: int) -> Tally | Uncounted:
    """The answer to a question about the entries up to ``head`` at least. Raises: as
    `adapter.search.postgresql.query.answer`."""
    if question.hours is None:
        return await _by_event(connection, memory, question, head)
    return await _by_hour(connection, memory, question, question.hours, head)


async def _by_hour(
    connection: Connection, memory: Memory, question: ByValue, hours: Hours, head: int
) -> Tally | Uncounted:
    async with open_question(connection, memory, _rows(question), head) as (known, asking):
        span = await _span(connection)
        if asking is None:
            return Tally((), *span)
        kinds, origins = asking.kinds, asking.origins
        where, values = _hourly(hours, kinds, origins)
        if not tells(question.by, kinds, origins):
            untold = "(kind = ANY ($6) OR origin = ANY ($7)"
            untold += " OR kind < 0)" if question.by == "type" else " OR origin < 0)" if question.by == "realm" else ")"
            sql = f"SELECT EXISTS (SELECT FROM search_hourly WHERE {where} AND {untold})"
            if await connection.fetchval(sql, *values, list(kinds.general), list(origins.general)):
                return Uncounted.UNTOLD
        column = "origin" if question.by in ORIGIN else "kind"
        bucket = "0" if question.buckets is None else question.buckets.sql(f"(hour * {HOUR})")
        sql = f"SELECT {column}, {bucket}, sum(events)::bigint FROM search_hourly WHERE {where} GROUP BY 1, 2"
        symbols = known.origins if column == "origin" else known.kinds
        counts = [
            Count(value_of(symbols.symbol(number), question.by), bucket, events)
            for number, bucket, events in await connection.fetch(sql, *values)
        ]
        position = await connection.fetchval("SELECT position FROM search")
        for low, high in hours.rest:
            rest = replace(question.filter, time_from=low, time_to=high)
            found = await _groups(known, asking.of(_rows(question._replace(filter=rest, snapshot=position))), question)
            if isinstance(found, Uncounted):
                return found
            counts += found
        if len({one.value for one in counts}) > question.values:
            return Uncounted.TOO_MANY
        return Tally(counts, *span)


def _hourly(hours: Hours, kinds: Wanted, origins: Wanted) -> tuple[str, list[object]]:
    """A test of the rows of whole hours that are meant, and its five values."""
    where = (
        "hour >= $1 AND hour < $2 AND hour <> ALL ($3::bigint[]) AND kind = ANY ($4::integer[]) "
        "AND origin = ANY ($5::integer[])"
    )
    first, end = hours.first or 0, _LAST_HOUR if hours.end is None else hours.end
    return where, [
        first, end, list(hours.left_out), [*kinds.sure, *kinds.general], [*origins.sure, *origins.general],
    ]  # fmt: skip


#: Later than any.
_LAST_HOUR = 1 << 62


async def _by_event(connection: Connection, memory: Memory, question: ByValue, head: int) -> Tally | Uncounted:
    async with open_question(connection, memory, _rows(question), head) as (known, asking):
        span = await _span(connection)
        found = [] if asking is None else await _groups(known, asking, question)
        return found if isinstance(found, Uncounted) else Tally(found, *span)


def _rows(question: ByValue) -> ByTime:
    """The question's rows."""
    return ByTime(question.filter, question.groups, newest(question.snapshot))


async def _span(connection: Connection) -> Span:
    span = await connection.fetchrow("SELECT min(earliest), max(latest) FROM search_part")
    assert span is not None
    return span[0], span[1]


async def _groups(known: Searched, asking: Asking, question: ByValue) -> list[Count] | Uncounted:
    by = question.by
    column = _COLUMNS.get(by, "kind")
    bucket = "0" if question.buckets is None else question.buckets.sql("e.time")
    symbols = known.origins if column == "origin" else known.kinds
    counts: list[Count] = []
    groups = await asking.groups(column, bucket)
    if len(groups) > question.groups:
        return Uncounted.TOO_MANY
    for value, kind, type, number, events, position in groups:
        if kind < 0 and kind in asking.kinds.general and not question.filter.may_match_type(type or ""):
            continue
        if by == "ip":
            counts.append(Count(_address(value), number, events))
        elif by == "user" or by == "client":
            counts.append(Count(value, number, events, position))
        elif by == "realm" and value < 0:
            return Uncounted.UNTOLD
        else:
            general = type if by == "type" and value < 0 else None
            counts.append(Count(general or value_of(symbols.symbol(value), by), number, events))
    return Uncounted.TOO_MANY if len({one.value for one in counts}) > question.values else counts


def _address(stored: bytes | None) -> str | None:
    if stored is None:
        return None
    address = IPv6Address(stored)
    return str(address.ipv4_mapped or address)


async def complete(connection: Connection, memory: Memory, question: ByPrefix) -> Completed:
    """The answer to a question. Raises: as `adapter.search.postgresql.query.answer`."""
    rows = ByTime(question.filter, 1, newest(0))
    async with open_question(connection, memory, rows, 0) as (known, asking):
        # Of general origins nobody knows the realm.
        origins = [] if asking is None else list(asking.origins.sure)
        if not origins:
            return Completed({}, True)
        if question.field in FIELDS:
            return await _said(connection, question, origins)
        return await _symbols(connection, known, question, origins)


async def _said(connection: Connection, question: ByPrefix, origins: list[int]) -> Completed:
    end = monotonic() + question.seconds
    values: Counter[str] = Counter()
    sql = (
        "SELECT value, sum(events)::bigint FROM search_said WHERE part = $1 AND field = $2 AND value >= $3 "
        f"AND value < $4 AND origin = ANY ($5::integer[]) GROUP BY value ORDER BY 2 DESC LIMIT {COMPLETED}"
    )
    is_whole = True
    ends = (FIELDS[question.field], question.prefix, question.prefix + "\U0010ffff", origins)
    for done, (part,) in enumerate(await connection.fetch("SELECT id FROM search_part ORDER BY id DESC")):
        if done and monotonic() >= end:
            return Completed(values, False)
        rows = await connection.fetch(sql, part, *ends)
        for value, events in rows:
            values[value] += events
        is_whole = is_whole and len(rows) < COMPLETED
    return Completed(values, is_whole)


async def _symbols(connection: Connection, known: Searched, question: ByPrefix, origins: list[int]) -> Completed:
    column, symbols = ("origin", known.origins) if question.field in ORIGIN else ("kind", known.kinds)
    sql = (
        f"SELECT {column}, sum(events)::bigint, count(*) FROM (SELECT {column}, events FROM search_hourly "
        "WHERE hour > $1 AND hour <= $2 AND origin = ANY ($3::integer[]) ORDER BY hour DESC LIMIT $4) AS latest "
        "GROUP BY 1"
    )
    found: list[asyncpg.Record] = []
    rows, is_whole, begun = 0, True, monotonic()
    [(first, last)] = await connection.fetch("SELECT min(hour), max(hour) FROM search_hourly")
    for after, until in back_from(question.hour, first, last):
        if rows >= _LOOKED_AT or monotonic() - begun >= question.seconds * (1 if rows else LATE):
            is_whole = False
            break
        found += await connection.fetch(sql, after, until, origins, _LOOKED_AT - rows)
        rows = sum(row[2] for row in found)
    values: Counter[str] = Counter()
    for number, events in [(number, events) for number, events, _ in found] + [
        (number, 0) for number in (origins if column == "origin" else ())
    ]:
        value = value_of(symbols.symbol(number), question.field)
        if value and value.startswith(question.prefix) and not (number < 0 and question.field == "type"):
            values[value] += events
    return Completed(values, is_whole and rows < _LOOKED_AT)
