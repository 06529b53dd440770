"""The conditions of a filter: which keys, words, kinds and origins of the search database its terms ask for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from adapter.filter import Filter, Term, address_range, term_test
from adapter.search.conditions import Condition, Keyed, OfRow, Sql, Symbolic, Worded, in_range
from adapter.search.store import (
    ACTOR,
    CLIENT,
    ID,
    REALM,
    SESSION,
    TARGET,
    TYPE,
    Address,
    Keys,
    Symbol,
    stored_ranges,
)
from adapter.search_fields import SYSTEM, SearchFields, search_fields

#: Of so many filters it is remembered what they mean among the kinds and origins.
_REMEMBERED = 16

_ROLES = {
    "session": (SESSION,),
    "id": (ID,),
    "target": (TARGET,),
    "actor": (ACTOR,),
    "user": (ACTOR, TARGET),
    "client": (CLIENT,),
}
_WANTED_TYPE = Sql("wants_type((SELECT type FROM any_type WHERE any_type.position = e.position))")
_NOTHING = search_fields(
    b'{"time":0,"type":"","outcome":"","source":{"name":"","provider":"","nativeType":"","receivedAt":0}}'
)


class Compiler:
    """Compiles filters for one search database. Not for several threads at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        secret: bytes
        secret, self._part_size = connection.execute("SELECT secret, part_size FROM state").fetchone()
        self._keys = {role: Keys(secret, role) for role in (ACTOR, TARGET, CLIENT, SESSION, ID, TYPE, REALM)}
        self._symbols: dict[str, dict[int, Symbol]] = {"kind": {}, "origin": {}}
        #: What some filters mean among the kinds and origins there are.
        self._meant: dict[tuple[object, ...], Symbolic | None] = {}

    def conditions(self, filter: Filter) -> list[Condition] | None:
        """The filter's conditions, times aside; ``None`` if nothing can match."""
        self._learn()
        kinds = self._remembered(self._of_kind, filter, "type", "outcome", "reason", "reason_class")
        origins = self._remembered(self._of_origin, filter, "source", "provider", "realm")
        if kinds is None or origins is None:
            return None
        conditions: list[Condition] = []
        for term in filter.terms:
            if term.name in _ROLES:
                conditions.append(self._keyed(_ROLES[term.name], term.values, term.negated))
            elif term.name == "ip":
                conditions.append(self._addressed(term))
            elif term.name == "q":
                conditions.append(Worded(term.values, term.negated))
        conditions += [one for one in (kinds, origins) if one.left_out or one.general]
        if filter.received_from is not None or filter.received_to is not None:
            within = in_range("e.received_at", filter.received_from, filter.received_to)
            conditions.append(OfRow(within, "event AS e INDEXED BY event_received", by_part=True))
        return conditions

    def _keyed(self, roles: Sequence[str], values: Sequence[str], negated: bool) -> Keyed:
        keys = {self._keys[role].fingerprint(value) for value in values for role in roles}
        return Keyed(self._part_size, tuple(sorted(keys)), negated=negated)

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

    def _learn(self) -> None:
        """Read the kinds and origins that came since the last question."""
        for table, known in self._symbols.items():
            last, lowest = max(known, default=0), min(known, default=0)
            sql = f"SELECT * FROM {table} WHERE id > ? OR id < ?"
            for id, *symbol in self._connection.execute(sql, (max(last, 0), min(lowest, 0))):
                known[id] = tuple(symbol)
                self._meant.clear()

    def _remembered(self, find: Callable[[Filter], Symbolic | None], filter: Filter, *names: str) -> Symbolic | None:
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

    def _of_kind(self, filter: Filter) -> Symbolic | None:
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
            self._connection.create_function("wants_type", 1, filter.may_match_type, deterministic=True)
            for term in typed:
                if not term.negated and not any("*" in value for value in term.values):
                    canonical = {filter.catalogue.canonical(value) for value in term.values}
                    names = {name for one in canonical for name in (one, *filter.catalogue.aliases(one))}
                    keyed = self._keyed((TYPE,), sorted(names), negated=False)
                    break
        of_general = (OfRow(_WANTED_TYPE),) if general else ()
        return Symbolic("kind", tuple(sure), tuple(general), of_general, keyed, tuple(left_out))

    def _of_origin(self, filter: Filter) -> Symbolic | None:
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
        return Symbolic("origin", tuple(sure), tuple(general), of_general, keyed, tuple(left_out))


def _tests_of(filter: Filter, *names: str) -> list[tuple[bool, Callable[[SearchFields], bool]]]:
    return [(term.negated, term_test(term, filter.catalogue)) for term in filter.terms if term.name in names]


def _merged(ranges: Iterable[tuple[Address, Address]]) -> list[tuple[Address, Address]]:
    """The same addresses in ranges that do not overlap."""
    found: list[tuple[Address, Address]] = []
    for low, high in sorted(ranges, key=lambda one: (isinstance(one[0], bytes), one)):
        if found and type(found[-1][1]) is type(low) and low <= found[-1][1]:  # type: ignore[operator]
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found
