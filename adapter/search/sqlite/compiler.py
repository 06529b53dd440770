"""The conditions of a filter: which keys, words, kinds and origins of the search database its terms ask for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from adapter.filter import WORDED, Filter, Term, address_range, split_globs, wanted_words
from adapter.search.keys import ACTOR, REALM, ROLES, TYPE, QuestionKeys, Symbol
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
from adapter.search.sqlite.conditions import Condition, Keyed, OfRow, Sql, Symbolic, Worded, any_of, in_range
from adapter.search.sqlite.schema import Address, stored_ranges
from adapter.search.symbols import ORIGIN, KnownSymbols, Wanted, named_types

_NAMES = """
SELECT n.kind, n.id, n.origin, n.shown, n.first, n.last FROM json_each(?) AS wanted CROSS JOIN name AS n
ON n.kind = json_extract(wanted.value, '$[0]') AND n.id = json_extract(wanted.value, '$[1]') WHERE {} LIMIT ?
"""
_KNOWN = """
SELECT n.kind, n.id, n.origin, n.shown, n.last FROM json_each(?) AS wanted CROSS JOIN name AS n {}
ON n.kind = ? AND n.{} = wanted.value WHERE {} ORDER BY n.last DESC LIMIT ?
"""
_WANTED_TYPE = Sql("wants_type((SELECT type FROM any_type WHERE any_type.position = e.position))")


class Compiler:
    """Compiles filters for one search database. Not for several threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        secret: bytes
        secret, self._part_size = connection.execute("SELECT secret, part_size FROM state").fetchone()
        self._keys = QuestionKeys(secret)
        self._kinds, self._origins = KnownSymbols("kind"), KnownSymbols("origin")

    def wanted(self, filter: Filter) -> tuple[Wanted | None, Wanted | None]:
        """The kinds and the origins that a filter asks for, of those there are now; ``None``: none."""
        return self._wanted(self._kinds, filter), self._wanted(self._origins, filter)

    def conditions(self, filter: Filter) -> list[Condition] | None:
        """The filter's conditions, times aside; ``None`` if nothing can match."""
        kinds, origins = self.wanted(filter)
        if kinds is None or origins is None:
            return None
        conditions: list[Condition] = []
        for term in filter.terms:
            if term.name in ROLES:
                keys = tuple(self._keys.of_term(term.name, term.values))
                scoped = self._linked(filter, term) if is_linked(term) else ()
                conditions.append(Keyed(self._part_size, keys, negated=term.negated, scoped=scoped))
            elif term.name == "ip":
                conditions.append(self._addressed(term))
            elif term.name == "resource":
                paths, globs = split_globs(term.values)
                conditions.append(Keyed(self._part_size, paths, negated=term.negated, globs=globs))
            elif term.name in WORDED:
                conditions.append(Worded(tuple(wanted_words(term)), term.negated))
        if kinds.left_out or kinds.general:
            conditions.append(self._of_kind(filter, kinds))
        if origins.left_out or origins.general:
            conditions.append(self._of_origin(filter, origins))
        if filter.received_from is not None or filter.received_to is not None:
            within = in_range("e.received_at", filter.received_from, filter.received_to)
            conditions.append(OfRow(within, "event AS e INDEXED BY event_received", by_part=True))
        return conditions

    def symbol(self, name: str, number: int) -> Symbol:
        """What a number stands for: of an origin where the name is of a part of these, or else of a kind."""
        return (self._origins if name in ORIGIN else self._kinds).symbol(number)

    def _linked(self, filter: Filter, term: Term) -> tuple[Scoped, ...]:
        """What else a term means, by what is known of ids and names."""
        origins, wanted = self._origins.origins(filter), asked(term)
        named = self._known("name", "INDEXED BY name_name", wanted.kind, wanted.names, origins)
        ids = sorted({*wanted.ids, *(row.id for row in named)})
        of_ids = self._known("id", "NOT INDEXED", wanted.kind, ids, origins)
        return scoped_keys(term, named, of_ids, origins, self._keys)

    def _known(self, column: str, index: str, kind: int, values: Sequence[str], origins: Origins) -> list[Known]:
        # Left alone, the planner takes what a kind has for few.
        known = _may_know(origins)
        sql = (
            f"SELECT n.id, n.name, n.origin FROM json_each(?) AS wanted CROSS JOIN name AS n {index} "
            f"WHERE n.kind = ? AND n.{column} = wanted.value AND {known.text} ORDER BY n.last DESC LIMIT ?"
        )
        rows = self._connection.execute(sql, (orjson.dumps(values).decode(), kind, *known.values, LIMIT))
        return [row for row in map(Known._make, rows) if origins.has(row.origin)]

    def names(self, wanted: Sequence[Asked], filter: Filter) -> list[str | None]:
        """The name that each id had at its time, so far as a filter's reader may know it."""
        self._wanted(self._origins, filter)
        origins = self._origins.origins(filter)
        ids = sorted({(one.kind, one.id) for one in wanted})
        known = _may_know(origins)
        sql = _NAMES.format(known.text)
        rows = self._connection.execute(sql, (orjson.dumps(ids).decode(), *known.values, ROWS_LIMIT))
        return names_of(wanted, [row for row in map(Name._make, rows) if origins.has(row.origin)], origins)

    def accounts(self, ids: Sequence[str]) -> list[int]:
        """The fingerprints of the accounts that have these ids."""
        return self._keys.of((ACTOR,), ids)

    def known_names(self, ids: Sequence[str], names: Sequence[str], filter: Filter) -> list[KnownName]:
        """What is known of some ids of users, and of some names as they are compared, so far as a filter's reader may
        know it."""
        self._wanted(self._origins, filter)
        origins = self._origins.origins(filter)
        known = _may_know(origins)
        found: list[KnownName] = []
        for column, index, texts in (("id", "NOT INDEXED", ids), ("name", "INDEXED BY name_name", names)):
            if not texts:
                continue
            sql = _KNOWN.format(index, column, known.text)
            for kind in (USERS, EMAILS):
                rows = self._connection.execute(sql, (orjson.dumps(texts).decode(), kind, *known.values, LIMIT))
                found += [
                    known_name(kind == EMAILS, id, shown, last, self._origins.symbol(origin))
                    for _, id, origin, shown, last in rows
                    if origins.has(origin)
                ]
        return found

    def _keyed(self, roles: Sequence[str], values: Sequence[str], negated: bool) -> Keyed:
        return Keyed(self._part_size, tuple(self._keys.of(roles, values)), negated=negated)

    def _addressed(self, term: Term) -> Keyed:
        ranges: list[tuple[Address, Address]] = []
        for value in term.values:
            ranges += stored_ranges(*address_range(value))
        ranges = _merged(ranges)
        keys = tuple(low for low, high in ranges if low == high and isinstance(low, int))
        wide = tuple(one for one in ranges if one[0] != one[1] or not isinstance(one[0], int))
        ends = tuple(end for pair in ranges for end in pair)
        tests = " OR ".join(["e.address BETWEEN ? AND ?"] * len(ranges))
        return Keyed(self._part_size, keys, wide, term.negated, Sql(f"(({tests}) IS TRUE)", ends))

    def _wanted(self, symbols: KnownSymbols, filter: Filter) -> Wanted | None:
        """What the filter asks for of those there are now."""
        sql = f"SELECT * FROM {symbols.table} WHERE id > ? OR id < ?"
        rows = self._connection.execute(sql, (symbols.last, symbols.least))
        symbols.learn((id, tuple(symbol)) for id, *symbol in rows)
        return symbols.wanted(filter)

    def _of_kind(self, filter: Filter, wanted: Wanted) -> Symbolic:
        keyed = None
        if wanted.general:
            self._connection.create_function("wants_type", 1, filter.may_match_type, deterministic=True)
            if (names := named_types(filter)) is not None:
                keyed = self._keyed((TYPE,), names, negated=False)
        of_general = (OfRow(_WANTED_TYPE),) if wanted.general else ()
        return Symbolic("kind", wanted.sure, wanted.general, of_general, keyed, wanted.left_out)

    def _of_origin(self, filter: Filter, wanted: Wanted) -> Symbolic:
        realms = [self._keyed((REALM,), term.values, term.negated) for term in filter.terms if term.name == "realm"]
        if wanted.scoped:
            scoped = (Scoped(tuple(self._keys.of((REALM,), texts)), where) for texts, where in wanted.scoped)
            realms.append(Keyed(self._part_size, (), scoped=tuple(scoped)))
        keyed = next((one for one in realms if not one.negated), None) if wanted.general else None
        of_general = tuple(realms) if wanted.general else ()
        return Symbolic("origin", wanted.sure, wanted.general, of_general, keyed, wanted.left_out)


def _may_know(origins: Origins) -> Sql:
    """That a row of what was learned is of an origin of which the reader may know."""
    return Sql("1") if origins.only is None else any_of("+n.origin", origins.only)


def _merged(ranges: Iterable[tuple[Address, Address]]) -> list[tuple[Address, Address]]:
    """The same addresses in ranges that do not overlap."""
    found: list[tuple[Address, Address]] = []
    for low, high in sorted(ranges, key=lambda one: (isinstance(one[0], bytes), one)):
        if found and type(found[-1][1]) is type(low) and low <= found[-1][1]:  # type: ignore[operator]
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found
