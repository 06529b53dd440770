"""Questions to the search in PostgreSQL: the page of events that meet a filter's conditions.

It goes through the parts in the order of the page, a few at a time, until the page is full and those left hold nothing
that comes before its end. All statements of one question see one state of the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from math import inf
from time import monotonic
from typing import NamedTuple

import asyncpg

from adapter.errors import StoreUnavailable
from adapter.filter import Filter, Term
from adapter.log.postgresql.connecting import Connection
from adapter.search.cursor import LogCursor, TimeCursor
from adapter.search.index import LATEST, Behind, ByLog, ByTime, Found, Hit, Question, broken_off
from adapter.search.keys import QuestionKeys
from adapter.search.learning import EMAILS, USERS
from adapter.search.linking import (
    LIMIT,
    ROWS_LIMIT,
    Asked,
    Known,
    KnownName,
    Name,
    Origins,
    Scoped,
    asked,
    is_linked,
    known_name,
    names_of,
    scoped_keys,
)
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount
from adapter.search.postgresql.conditions import Links, compile_count, compile_question
from adapter.search.postgresql.people import count_active
from adapter.search.postgresql.people import find as find_people
from adapter.search.postgresql.schema import VERSION, events_of
from adapter.search.symbols import KnownSymbols, Wanted

#: Parts that one statement asks, at most; the first one asks one, and each after it twice as many.
_TOGETHER = 16
#: Rows of a part that are tested here at a time, at least.
_TESTED = 1_000


class _Part(NamedTuple):
    id: int
    earliest: int
    latest: int


class Searched:
    """What is known of one search, from one question to the next."""

    def __init__(self, secret: bytes) -> None:
        self.keys = QuestionKeys(secret)
        self.kinds, self.origins = KnownSymbols("kind"), KnownSymbols("origin")


class Memory:
    """Has what is known of the search that was asked last. Another one may take its place while a question is answered;
    that goes on with what is known of its own."""

    def __init__(self) -> None:
        self._known = Searched(b"")

    def of(self, secret: bytes) -> Searched:
        """What is known of the search with this secret."""
        if secret != self._known.keys.secret:
            self._known = Searched(secret)
        return self._known


async def answer(
    connection: Connection, memory: Memory, question: Question, head: int, *, seconds: float = inf
) -> Found:
    """What is found of the entries up to ``head`` at least; or what of it was found when so many ``seconds`` had
    passed.

    Raises:
        Behind: it is not filled so far.
        StoreUnavailable: it is of a newer version.
        FAILURES: it cannot be asked.
    """
    async with open_question(connection, memory, question, head) as (_, asking):
        return Found() if asking is None else await asking.run(monotonic() + seconds)


@asynccontextmanager
async def open_question(
    connection: Connection, memory: Memory, question: Question, head: int
) -> AsyncIterator[tuple[Searched, Asking | None]]:
    """One state of the database, in which to ask a question; ``None`` if nothing can match. Raises: as `answer`."""
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            known, part_size = await _searched(connection, memory, head)
            kinds = await _wanted(connection, known.kinds, question.filter)
            origins = await _wanted(connection, known.origins, question.filter)
            if kinds is None or origins is None:
                yield known, None
                return
            links = {
                term: await _linked(connection, known, question.filter, term)
                for term in question.filter.terms
                if is_linked(term)
            }
            yield known, Asking(connection, known.keys, question, kinds, origins, links, part_size)
    except asyncpg.UndefinedTableError:
        raise Behind from None  # it is being built; or a part was dropped in between


async def names(connection: Connection, memory: Memory, wanted: Sequence[Asked], filter: Filter) -> list[str | None]:
    """The name that each id had at its time, so far as a filter's reader may know it. Raises: as `answer`."""
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            known, _ = await _searched(connection, memory, 0)
            await _wanted(connection, known.origins, filter)
            origins = known.origins.origins(filter)
            ids = sorted({(one.kind, one.id) for one in wanted if "\0" not in one.id})
            kinds, texts = [one[0] for one in ids], [one[1] for one in ids]
            rows = await connection.fetch(_NAMES, kinds, texts, ROWS_LIMIT, origins.only)
            return names_of(wanted, [Name(*row) for row in rows if origins.has(row["origin"])], origins)
    except asyncpg.UndefinedTableError:
        raise Behind from None  # it is being built


async def known_names(
    connection: Connection, memory: Memory, ids: Sequence[str], names: Sequence[str], filter: Filter
) -> list[KnownName]:
    """What is known of some ids of users, and of some names, so far as a filter's reader may know it. Raises: as
    `answer`."""
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            known, _ = await _searched(connection, memory, 0)
            await _wanted(connection, known.origins, filter)
            origins = known.origins.origins(filter)
            found: list[KnownName] = []
            for column, texts in (("id", ids), ("name", names)):
                wanted = [text for text in texts if "\0" not in text]
                for kind in (USERS, EMAILS):
                    rows = await connection.fetch(_KNOWN_NAMES.format(column), kind, wanted, LIMIT, origins.only)
                    found += [
                        known_name(kind == EMAILS, id, shown, last, known.origins.symbol(origin))
                        for id, origin, shown, last in rows
                        if origins.has(origin)
                    ]
            return found
    except asyncpg.UndefinedTableError:
        raise Behind from None  # it is being built


async def people(connection: Connection, memory: Memory, question: ByAccount, head: int) -> Accounts:
    """Accounts in order, of the entries up to ``head`` at least. Raises: as `answer`."""
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            known, _ = await _searched(connection, memory, head)
            origins = await _wanted(connection, known.origins, question.filter)
            return await find_people(connection, known.keys, known.origins, origins, question)
    except asyncpg.UndefinedTableError:
        raise Behind from None


async def active(connection: Connection, memory: Memory, question: ActiveIn, head: int) -> list[Active | None]:
    """How many accounts were active in each stretch of time. Raises: as `answer`."""
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            known, _ = await _searched(connection, memory, head)
            origins = await _wanted(connection, known.origins, question.filter)
            return await count_active(connection, known.origins, origins, question)
    except asyncpg.UndefinedTableError:
        raise Behind from None


_KNOWN_NAMES = """
SELECT id, origin, shown, last FROM search_name
WHERE kind = $1 AND {} = ANY ($2::text[]) AND ($4::integer[] IS NULL OR origin = ANY ($4)) ORDER BY last DESC LIMIT $3
"""
_NAMES = """
SELECT kind, id, origin, shown, first, last FROM search_name
JOIN unnest($1::integer[], $2::text[]) AS wanted (kind, id) USING (kind, id)
WHERE $4::integer[] IS NULL OR origin = ANY ($4) LIMIT $3
"""


async def _searched(connection: Connection, memory: Memory, head: int) -> tuple[Searched, int]:
    """What is known of the search, if it is filled up to ``head``, and how many entries a part is.

    Raises: as `answer`.
    """
    state = await connection.fetchrow("SELECT version, position, secret, part_size FROM search")
    if state is not None and state["version"] > VERSION:
        raise StoreUnavailable(
            f"the search is of version {state['version']}, made by a newer program; this one knows {VERSION}"
        )
    if state is None or state["version"] < VERSION or state["position"] < head:
        raise Behind
    return memory.of(state["secret"]), state["part_size"]


async def _wanted(connection: Connection, symbols: KnownSymbols, filter: Filter) -> Wanted | None:
    """What the filter asks for of those there are now."""
    sql = f"SELECT * FROM search_{symbols.table} WHERE id > $1 OR id < $2"
    rows = await connection.fetch(sql, symbols.last, symbols.least)
    symbols.learn((id, tuple(symbol)) for id, *symbol in rows)
    return symbols.wanted(filter)


async def _linked(connection: Connection, known: Searched, filter: Filter, term: Term) -> Sequence[Scoped]:
    """What else a term means, by what is known of ids and names."""
    origins, wanted = known.origins.origins(filter), asked(term)
    named = await _known(connection, "name", wanted.kind, wanted.names, origins)
    of_ids = await _known(connection, "id", wanted.kind, sorted({*wanted.ids, *(row.id for row in named)}), origins)
    return scoped_keys(term, named, of_ids, origins, known.keys)


async def _known(
    connection: Connection, column: str, kind: int, values: Sequence[str], origins: Origins
) -> list[Known]:
    texts = [value for value in values if "\0" not in value]
    sql = (
        f"SELECT id, name, origin FROM search_name WHERE kind = $1 AND {column} = ANY ($2) "
        "AND ($4::integer[] IS NULL OR origin = ANY ($4)) ORDER BY last DESC LIMIT $3"
    )
    rows = await connection.fetch(sql, kind, texts, LIMIT, origins.only)
    return [Known(*row) for row in rows if origins.has(row["origin"])]


class Asking:
    """One question."""

    def __init__(
        self,
        connection: Connection,
        keys: QuestionKeys,
        question: Question,
        kinds: Wanted,
        origins: Wanted,
        links: Links,
        part_size: int,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._question = question
        self.kinds = kinds
        self.origins = origins
        self._links = links
        self._part_size = part_size
        self._by_time = not isinstance(question, ByLog)
        self._ascending = isinstance(question, ByTime) and question.ascending

    def of(self, question: ByTime) -> Asking:
        """Another question with the same terms, of the same state."""
        keys, kinds, origins, links = self._keys, self.kinds, self.origins, self._links
        return Asking(self._connection, keys, question, kinds, origins, links, self._part_size)

    async def run(self, end: float) -> Found:
        """The page, or what of it is found until the clock says ``end``."""
        by_time, ascending = self._by_time, self._ascending
        limit, rows = self._question.limit, Found()
        first = True
        for parts in self._together(await self._parts()):
            if len(rows) == limit and (not by_time or self._is_behind(parts[0], rows[-1].time)):
                break
            if not first and monotonic() >= end and (reached := self._reached(parts[0])) is not None:
                return broken_off(rows, reached, by_time=by_time, ascending=ascending)
            found = await self._in_parts(parts)
            reverse = by_time and not ascending
            rows = Found(sorted([*rows, *found], key=None if by_time else _position, reverse=reverse)[:limit])
            first = False
        return rows

    def _is_behind(self, part: _Part, time: int) -> bool:
        """By time: whether all of a part comes behind a row of this time."""
        return part.earliest > time if self._ascending else part.latest < time

    def _reached(self, part: _Part) -> Hit | None:
        """Where the next page begins if this one ends before a part; ``None``: where this one began."""
        cursor = self._question.cursor
        if not isinstance(cursor, TimeCursor):
            return Hit(0, part.id * self._part_size - 1)
        if not self._is_behind(part, cursor.time):
            return None
        return Hit(part.earliest, 0) if self._ascending else Hit(part.latest, LATEST)

    async def groups(self, column: str, bucket: str) -> list[asyncpg.Record]:
        """The question's rows in groups by a column and a bucket: as `compile_count` has them, each part's one after
        the other, and of each one group more than the question's limit at most."""
        question = self._question
        assert isinstance(question, ByTime)
        statement = compile_count(question, column, bucket, self._keys, self.kinds, self.origins, self._links)
        found: list[asyncpg.Record] = []
        for parts in self._together(await self._parts()):
            sql = " UNION ALL ".join(statement.text.format(events_of(part.id)) for part in parts)
            found += await self._connection.fetch(sql, *statement.values)
        return found

    async def _parts(self) -> list[_Part]:
        """The parts that may hold rows of the page, in its order."""
        question, filter = self._question, self._question.filter
        first, last, time_from, time_to = 0, LATEST, -LATEST, LATEST
        if isinstance(question, ByLog):
            first, last = (question.cursor.position + 1) // self._part_size, question.until // self._part_size
        else:
            last = question.cursor.snapshot // self._part_size
            if question.ascending:
                time_from = question.cursor.time
            else:
                time_to = question.cursor.time
        if filter.time_from is not None:
            time_from = max(time_from, filter.time_from)
        if filter.time_to is not None:
            time_to = min(time_to, filter.time_to - 1)
        sql = (
            "SELECT id, earliest, latest FROM search_part "
            "WHERE id BETWEEN $1 AND $2 AND latest >= $3 AND earliest <= $4 "
            "AND kinds && $5::integer[] AND origins && $6::integer[] "
            f"ORDER BY {'id' if not self._by_time else 'earliest, id' if self._ascending else 'latest DESC, id DESC'}"
        )
        symbols = ([*wanted.sure, *wanted.general] for wanted in (self.kinds, self.origins))
        rows = await self._connection.fetch(sql, first, last, time_from, time_to, *symbols)
        return [_Part(*row) for row in rows]

    def _together(self, parts: Sequence[_Part]) -> Iterator[list[_Part]]:
        rest, count = iter(parts), 1
        while together := list(islice(rest, count)):
            yield together
            if not self.kinds.general:
                count = min(count * 2, _TOGETHER)

    async def _in_parts(self, parts: Sequence[_Part]) -> list[Hit]:
        """The first rows of some parts, in the order of the page."""
        question = self._question
        if not self.kinds.general:
            return [row for row, _, _ in await self._select(question, parts)]
        # Of general kinds the types are tested here.
        wanted, limit = question.filter.may_match_type, question.limit
        question = question._replace(limit=max(limit, _TESTED))
        rows: list[Hit] = []
        while len(rows) < limit:
            found = await self._select(question, parts)
            rows += [row for row, kind, type in found if kind > 0 or wanted(type or "")]
            if len(found) < question.limit:
                break
            question = _after(question, found[-1][0])
        return rows[:limit]

    async def _select(self, question: Question, parts: Sequence[_Part]) -> list[tuple[Hit, int, str | None]]:
        statement = compile_question(question, self._keys, self.kinds, self.origins, self._links)
        sql = " UNION ALL ".join(statement.text.format(events_of(part.id)) for part in parts)
        rows = await self._connection.fetch(sql, *statement.values)
        return [(Hit(time, position), kind, type) for time, position, kind, type in rows]


def _position(row: Hit) -> int:
    return row.position


def _after(question: Question, row: Hit) -> Question:
    if isinstance(question, ByLog):
        return question._replace(cursor=LogCursor(row.position))
    return question._replace(cursor=question.cursor._replace(time=row.time, position=row.position))
