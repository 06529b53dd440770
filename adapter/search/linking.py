"""What is known of ids and names, as questions use it: which other texts stand for what a filter names, and which name
an id had at a time.

An id is known in its source, and unless it is a UUID, which nobody else has, in its realm alone; a name in its source
and realm. What was learned in a general origin (`adapter.search.keys.Symbols`) has no realm: of it UUIDs alone count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from adapter.filter import Term
from adapter.search.keys import ACTOR, ACTOR_ALONE, CLIENT, FOLDED, TARGET, TARGET_ALONE, QuestionKeys, Symbol
from adapter.search.learning import CLIENTS, REALMS, USERS
from adapter.search_fields import folded, with_folded

#: The kind of what a term names; and in which roles a linked id, and a linked name, stand.
_KINDS = {"user": USERS, "actor": USERS, "target": USERS, "client": CLIENTS}
_IDS = {"user": (ACTOR, TARGET), "actor": (ACTOR,), "target": (TARGET,), "client": (CLIENT,)}
_NAMES = {
    "user": (ACTOR_ALONE, TARGET_ALONE),
    "actor": (ACTOR_ALONE,),
    "target": (TARGET_ALONE,),
    "client": (CLIENT,),
}
#: Ids of a name, and names of ids, that one term is linked with at most: those that were seen last.
LIMIT = 1_000

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Known(NamedTuple):
    """A row of what was learned: see `adapter.search.learning`."""

    id: str
    name: str
    origin: int


class Scoped(NamedTuple):
    """Keys that count in events of some origins alone."""

    keys: tuple[int, ...]
    origins: tuple[int, ...]


class Linked(NamedTuple):
    """What a term asks for first: the ids of its names; and then: the names of these ids."""

    kind: int
    names: list[str]
    ids: list[str]


def is_linked(term: Term) -> bool:
    """Whether a term's ids and names are looked up."""
    return term.name in _KINDS and not term.exact


def asked(term: Term) -> Linked:
    """What is looked up of a term that `is_linked`."""
    is_folded = term.name in FOLDED
    names = {folded(value) for value in term.values} if is_folded else set(term.values)
    ids = with_folded(term.values) if is_folded else frozenset(term.values)
    return Linked(_KINDS[term.name], sorted(names), sorted(ids))


class Origins:
    """The sources and realms that events of one search come from."""

    def __init__(self, symbols: Mapping[int, Symbol], *, are_all: bool = True) -> None:
        """``are_all``: there are no others, of which the reader may not know."""
        self._symbols = symbols
        #: Those that rows of what was learned have to be of, so that others do not take their room; ``None``: any.
        self.only = None if are_all else sorted(symbols)
        #: By source and provider, and also by realm.
        self._sources: dict[object, list[int]] = {}
        #: Names and ids of realms that were said together, by source and provider and one of them.
        self._names: dict[object, set[str]] = {}
        self._ids: dict[object, set[str]] = {}
        for number, (source, provider, id, name) in symbols.items():
            self._sources.setdefault((source, provider), []).append(number)
            if id is not None and name is not None:
                self._names.setdefault((source, provider, id), set()).add(name)
                self._ids.setdefault((source, provider, name), set()).add(id)
        self._realms: dict[int, tuple[int, ...]] = {}

    def has(self, origin: int) -> bool:
        """Whether the reader may know of an origin."""
        return origin in self._symbols

    def of_id(self, id: str, origin: int) -> tuple[int, ...]:
        """The origins in whose events an id that was learned in one means the same."""
        return self.of_source(origin) if _UUID.fullmatch(id) else self.of_realm(origin)

    def of_source(self, origin: int) -> tuple[int, ...]:
        """The origins of the same source."""
        return tuple(self._sources.get(self._symbols[origin][:2], ())) if origin in self._symbols else ()

    def of_realm(self, origin: int) -> tuple[int, ...]:
        """The origins of the same source and realm; of a general one none."""
        if origin < 0 or origin not in self._symbols:
            return ()
        if origin not in self._realms:
            realm = self.realm(self._symbols[origin])
            same = (other for other in self.of_source(origin) if other > 0)
            self._realms[origin] = tuple(one for one in same if _is_same(realm, self.realm(self._symbols[one])))
        return self._realms[origin]

    def is_known_in(self, origin: int, asked: Asked) -> bool:
        """Whether what was learned in an origin is said of an id in an event, too."""
        symbol = self._symbols.get(origin)
        if symbol is None or symbol[:2] != asked.origin[:2]:
            return False
        if asked.kind == REALMS or _UUID.fullmatch(asked.id):
            return True
        return origin > 0 and _is_same(self.realm(symbol), self.realm(asked.origin))

    def realm(self, symbol: Symbol) -> tuple[frozenset[str], frozenset[str]]:
        """Ids and names of an origin's realm: if it has an id, the names of that; or else the ids of its name, with
        their names."""
        source, provider, id, name = symbol
        own = set() if name is None else {name}
        ids = {id} if id is not None else self._ids.get((source, provider, name), set())
        names = own.union(*(self._names.get((source, provider, one), ()) for one in ids))
        return frozenset(ids), frozenset(names)


def _is_same(one: tuple[frozenset[str], frozenset[str]], other: tuple[frozenset[str], frozenset[str]]) -> bool:
    if one[0] and other[0]:
        return not one[0].isdisjoint(other[0])
    return one == other or not one[1].isdisjoint(other[1])


def scoped_keys(
    term: Term,
    named: Iterable[Known],
    of_ids: Iterable[Known],
    origins: Origins,
    keys: QuestionKeys,
) -> tuple[Scoped, ...]:
    """The keys of what else a term means. ``named``: rows of its names; ``of_ids``: rows of these rows' ids, and of its
    values as ids."""
    found: dict[tuple[int, ...], set[int]] = {}

    def add(roles: Sequence[str], text: str, where: tuple[int, ...]) -> None:
        if where:
            found.setdefault(where, set()).update(keys.of(roles, (text,)))

    values = frozenset(asked(term).ids)
    #: Where each id is meant.
    meant: dict[str, set[int]] = {}
    for row in named:
        where = origins.of_id(row.id, row.origin)
        add(_IDS[term.name], row.id, where)
        meant.setdefault(row.id, set()).update(where)
    for row in of_ids:
        if row.id in values or row.origin in meant.get(row.id, ()):
            add(_NAMES[term.name], row.name, origins.of_realm(row.origin))
    return tuple(Scoped(tuple(sorted(some)), where) for where, some in sorted(found.items()))


class KnownName(NamedTuple):
    """That a user's id had a name, or an e-mail address, in events of a source and realm."""

    source: str
    realm_id: str | None
    realm_name: str | None
    id: str
    #: As it was written last.
    name: str
    is_email: bool
    #: When that was said last, epoch milliseconds.
    last: int


def known_name(is_email: bool, id: str, shown: str, last: int, origin: Symbol) -> KnownName:
    """A row of what was learned, with where that was."""
    source, _, realm_id, realm_name = origin
    return KnownName(source or "", realm_id, realm_name, id, shown, is_email, last)


# Which name an id had


class Asked(NamedTuple):
    """An id in an event, of which the name is asked for."""

    kind: int
    id: str
    origin: Symbol
    #: Of the event, epoch milliseconds.
    time: int


#: Rows of names that are read for one page of events: an id may have had any number of names.
ROWS_LIMIT = 20_000


class Name(NamedTuple):
    """A row of what was learned, with when it was said."""

    kind: int
    id: str
    origin: int
    shown: str
    first: int
    last: int


def names_of(wanted: Sequence[Asked], rows: Iterable[Name], origins: Origins) -> list[str | None]:
    """The name that each had at its time: that said last until then, or else that said first after it."""
    known: dict[tuple[int, str], list[Name]] = {}
    for row in rows:
        known.setdefault((row.kind, row.id), []).append(row)
    return [_name_of(one, known.get((one.kind, one.id), ()), origins) for one in wanted]


def _name_of(wanted: Asked, rows: Iterable[Name], origins: Origins) -> str | None:
    best: tuple[bool, int, str] | None = None
    for row in rows:
        if not origins.is_known_in(row.origin, wanted):
            continue
        said = row.last if row.last <= wanted.time else row.first
        is_before = said <= wanted.time
        one = (is_before, said if is_before else -said, row.shown)
        if best is None or one > best:
            best = one
    return None if best is None else best[2]
