"""What events must meet, in SQL over the tables of `adapter.search.sqlite.schema`.

Each condition is a test of one event row ``e`` and, where an index holds its events, a set of positions in a part of
the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import orjson

from adapter.filter import Word, glob_range
from adapter.search.linking import Scoped
from adapter.search.sqlite.schema import Address, Key, words_of

#: Up to so many rows are looked up in the full text one by one; that costs as much as reading 300 rows of a word.
_FEW = 500
#: So many keys, times the rows, are looked for one by one.
_LOOKED_FOR = 10_000
#: Keys, kinds or origins whose rows are merged lazily, each from its newest end.
MERGED = 16
#: Keys that are looked for on every row of an index of all events.
_TESTED = 8

Value = int | bytes | str


class Sql(NamedTuple):
    """A piece of SQL and the values of its question marks."""

    text: str
    values: tuple[Value, ...] = ()


class Part(NamedTuple):
    """A stretch of the log, and between which times its events lie."""

    id: int
    earliest: int
    latest: int
    first: int
    last: int


class Way(NamedTuple):
    """Rows of an index in the order of their times, joined to ``e``."""

    source: str
    where: Sql
    time: str = "e.time"
    position: str = "e.position"


class Condition(Protocol):
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

    def positions(self, part: Part) -> Sql:
        """A subquery of the positions in a part, if it is indexed; one may come twice."""

    def ways(self, part: Part) -> list[Way]:
        """The same rows as ways, where they are few."""

    def test(self, part: Part | None, rows: int) -> Sql:
        """A test of so many rows of a part; ``None``: of any part."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """Events with, or ``negated`` without, one of some keys, or a key in one of some ranges or of the form of one of
    some globs, or one of those that count in some origins alone."""

    part_size: int
    keys: tuple[Key, ...]
    ranges: tuple[tuple[Address, Address], ...] = ()
    negated: bool = False
    #: Says the same of the row alone; for ranges.
    of_row: Sql | None = None
    scoped: tuple[Scoped, ...] = ()
    globs: tuple[str, ...] = ()
    loose: bool = False

    @property
    def any_keys(self) -> tuple[Key, ...]:
        """All keys, wherever they count."""
        return (*self.keys, *(key for one in self.scoped for key in one.keys))

    @property
    def size(self) -> int:
        return len(self.any_keys) + len(self.ranges) + len(self.globs)

    @property
    def indexed(self) -> bool:
        return not self.negated

    @property
    def by_part(self) -> bool:
        return not self.negated or self.size > _TESTED or bool(self.globs)

    def positions(self, part: Part) -> Sql:
        found: list[Sql] = []
        if self.keys:
            wanted = any_of("key", self.keys)
            found.append(
                Sql(f"SELECT position FROM found_by WHERE part = ? AND {wanted.text}", (part.id, *wanted.values))
            )
        if self.ranges:
            text = (
                f"SELECT f.position FROM (VALUES {','.join(['(?,?)'] * len(self.ranges))}) AS wanted "
                "CROSS JOIN found_by AS f WHERE f.part = ? AND f.key BETWEEN wanted.column1 AND wanted.column2"
            )
            found.append(Sql(text, (*(end for pair in self.ranges for end in pair), part.id)))
        for glob in self.globs:
            text = "SELECT position FROM found_by WHERE part = ? AND key BETWEEN ? AND ? AND key GLOB ?"
            found.append(Sql(text, (part.id, *glob_range(glob), _escaped(glob))))
        for one in self.scoped:
            wanted, origins = any_of("f.key", one.keys), any_of("+e.origin", one.origins)
            text = (
                "SELECT f.position FROM found_by AS f CROSS JOIN event AS e ON e.position = f.position "
                f"WHERE f.part = ? AND {wanted.text} AND {origins.text}"
            )
            found.append(Sql(text, (part.id, *wanted.values, *origins.values)))
        return joined(" UNION ALL ", found)

    @property
    def is_short(self) -> bool:
        """Whether it has a few keys, and neither ranges nor globs."""
        return not self.ranges and not self.globs and self.size <= MERGED

    def ways(self, part: Part) -> list[Way]:
        if not self.is_short:
            return []
        source = "found_by AS f CROSS JOIN event AS e ON e.position = f.position"
        wanted = [Sql("f.part = ? AND f.key = ?", (part.id, key)) for key in self.keys]
        for one in self.scoped:
            origins = any_of("+e.origin", one.origins)
            text = f"f.part = ? AND f.key = ? AND {origins.text}"
            wanted += [Sql(text, (part.id, key, *origins.values)) for key in one.keys]
        return [Way(source, where, "f.time", "f.position") for where in wanted]

    def test(self, part: Part | None, rows: int) -> Sql:
        if self.of_row is not None and self.size <= _TESTED:
            found = self.of_row
        elif part is None or (not self.ranges and not self.globs and rows * self.size <= _LOOKED_FOR):
            tests = [self._has_key(self.keys)] if self.keys else []
            for one in self.scoped:
                tests.append(joined(" AND ", [any_of("+e.origin", one.origins), self._has_key(one.keys)]))
            whole = joined(" OR ", tests)
            found = whole if len(tests) == 1 and not self.scoped else Sql(f"({whole.text})", whole.values)
        else:
            found = _within(self.positions(part))
        return Sql(f"NOT {found.text}", found.values) if self.negated else found

    def _has_key(self, keys: Sequence[Key]) -> Sql:
        wanted = any_of("t.key", keys)
        return Sql(
            f"EXISTS (SELECT 1 FROM found_by AS t WHERE t.part = e.position / {self.part_size:d} "
            f"AND {wanted.text} AND t.time = e.time AND t.position = e.position)",
            wanted.values,
        )


@dataclass(frozen=True, slots=True)
class Worded:
    """Events that have, or ``negated`` have not, all words of one of some lists."""

    lists: tuple[tuple[Word, ...], ...]
    negated: bool
    by_part: bool = True
    loose: bool = False

    @property
    def indexed(self) -> bool:
        return not self.negated

    def positions(self, part: Part) -> Sql:
        words = words_of(part.id)
        return Sql(f"SELECT rowid FROM {words} WHERE {words} MATCH ?", (self._question(),))

    def ways(self, part: Part) -> list[Way]:
        return []

    def test(self, part: Part | None, rows: int) -> Sql:
        assert part is not None
        question, words = self._question(), words_of(part.id)
        # A beginning is looked up among all words that have it, however few rows are asked for.
        if rows <= _FEW and "*" not in question:
            text = f"EXISTS (SELECT 1 FROM {words} WHERE {words} MATCH ? AND {words}.rowid = e.position)"
            found = Sql(text, (question,))
        else:
            found = _within(self.positions(part))
        return Sql(f"NOT {found.text}", found.values) if self.negated else found

    def _question(self) -> str:
        any_of = [" AND ".join(f'"{word.text}"{"*" if word.prefix else ""}' for word in words) for words in self.lists]
        return " OR ".join(f"({all_of})" for all_of in any_of)


@dataclass(frozen=True, slots=True)
class Symbolic:
    """Events of some kinds, or origins; of the general ones among them those that pass a test of their own."""

    column: str
    sure: tuple[int, ...]
    #: General ones, and what their events must meet besides.
    general: tuple[int, ...] = ()
    of_general: tuple[Condition, ...] = ()
    #: Has all events of the general ones, if an index does.
    keyed: Keyed | None = None
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

    def rows(self) -> Sql:
        """Of the index of all events."""
        return any_of(f"e.{self.column}", self.sure)

    def positions(self, part: Part) -> Sql:
        rows = self.rows()
        found = Sql(
            f"SELECT e.position FROM {self.source} WHERE {rows.text} AND e.time BETWEEN ? AND ?",
            (*rows.values, part.earliest, part.latest),
        )
        return found if self.keyed is None else joined(" UNION ALL ", [found, self.keyed.positions(part)])

    def ways(self, part: Part | None) -> list[Way]:
        if part is not None or self.general or len(self.sure) > MERGED:
            return []
        return [Way(self.source, Sql(f"e.{self.column} = ?", (id,))) for id in self.sure]

    def test(self, part: Part | None, rows: int) -> Sql:
        column = f"+e.{self.column}"
        if not self.general and len(self.left_out) < len(self.sure):
            left_out = any_of(column, self.left_out)
            return Sql(f"NOT {left_out.text}", left_out.values)
        sure = any_of(column, self.sure)
        if not self.general:
            return sure
        tests = joined(" AND ", [any_of(column, self.general), *(one.test(part, rows) for one in self.of_general)])
        return Sql(f"({sure.text} OR ({tests.text}))", (*sure.values, *tests.values))


@dataclass(frozen=True, slots=True)
class OfRow:
    """A test of the row; with ``where`` there is an index for it."""

    tested: Sql
    source: str = ""
    by_part: bool = False
    loose: bool = False

    @property
    def indexed(self) -> bool:
        return bool(self.source)

    def positions(self, part: Part) -> Sql:
        return Sql(f"SELECT e.position FROM {self.source} WHERE {self.tested.text}", self.tested.values)

    def ways(self, part: Part) -> list[Way]:
        return []

    def test(self, part: Part | None, rows: int) -> Sql:
        return self.tested


def any_of(column: str, keys: Sequence[Key]) -> Sql:
    """A test whether a column has one of some numbers or texts; one text for any number of many."""
    if len(keys) <= MERGED:
        return Sql(f"{column} IN ({','.join('?' * len(keys))})", tuple(keys))
    return Sql(f"{column} IN (SELECT value FROM json_each(?))", (orjson.dumps(keys).decode(),))


def _escaped(glob: str) -> str:
    """A glob as SQLite has it, where a ``*`` alone is special."""
    return glob.replace("[", "[[]").replace("?", "[?]")


def _within(positions: Sql) -> Sql:
    return Sql(f"+e.position IN ({positions.text})", positions.values)


def joined(between: str, pieces: Iterable[Sql]) -> Sql:
    pieces = list(pieces)
    return Sql(between.join(one.text for one in pieces), tuple(value for one in pieces for value in one.values))


def in_range(column: str, low: int | None, high: int | None) -> Sql:
    """``low`` included, ``high`` not."""
    parts = [(f"{column} >= ?", low), (f"{column} < ?", high)]
    given = [(text, value) for text, value in parts if value is not None]
    return Sql(" AND ".join(text for text, _ in given) or "1", tuple(value for _, value in given))
