"""Which of the kinds and origins that a search has a filter asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from msgspec.structs import replace

from adapter.filter import OF_SCOPE, Filter, Term, is_open, term_test
from adapter.search.keys import Symbol
from adapter.search.linking import Origins
from adapter.search_fields import SYSTEM, SearchFields, search_fields

Table = Literal["kind", "origin"]

#: What an origin tells; a kind tells type, outcome and reason.
ORIGIN = ("source", "provider", "realm", OF_SCOPE)

#: Of so many filters it is remembered what they mean.
_REMEMBERED = 16

_NOTHING = search_fields(
    b'{"time":0,"type":"","outcome":"","source":{"name":"","provider":"","nativeType":"","receivedAt":0}}'
)


class Wanted(NamedTuple):
    """Numbers of kinds, or of origins."""

    #: All events of these are meant.
    sure: tuple[int, ...]
    #: Of these general ones, those whose type or realm is asked for.
    general: tuple[int, ...]
    #: No event of these is.
    left_out: tuple[int, ...]
    #: Of a scope with realms: realms of which an event must be, in the general origins beside them.
    scoped: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = ()


class KnownSymbols:
    """The kinds, or the origins, of one search."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._names: tuple[str, ...] = ("type", "outcome", "reason", "reason_class")
        self._find: Callable[[Filter], Wanted | None] = self._kinds
        if table == "origin":
            self._names, self._find = ORIGIN, self._origins
        self._known: dict[int, Symbol] = {}
        #: What some filters mean; depends on their terms of these names alone.
        self._meant: dict[tuple[object, ...], Wanted | None] = {}
        #: Of origins, those that a reader's exact terms let him know, by these terms.
        self._origins_of: dict[tuple[object, ...], Origins] = {}
        #: The greatest and the least number that is known.
        self.last, self.least = 0, 0

    def learn(self, rows: Iterable[tuple[int, Symbol]]) -> None:
        """Take in those that came since."""
        for number, symbol in rows:
            self._known[number] = symbol
            self.last, self.least = max(self.last, number), min(self.least, number)
            self._meant.clear()
            self._origins_of.clear()

    def origins(self, filter: Filter) -> Origins:
        """The origins of which a filter's reader may know: those that its exact terms do not leave out."""
        exact = tuple(term for term in filter.terms if term.exact and term.name in self._names)
        if exact not in self._origins_of:
            if len(self._origins_of) >= _REMEMBERED:
                self._origins_of.clear()
            known = self._known
            if exact:
                wanted = self._find(Filter(filter.catalogue, exact))
                sure = () if wanted is None else wanted.sure
                known = {id: self._known[id] for id in sure}
            self._origins_of[exact] = Origins(known, are_all=not exact)
        return self._origins_of[exact]

    def symbol(self, number: int) -> Symbol:
        """What a number stands for."""
        return self._known[number]

    def wanted(self, filter: Filter) -> Wanted | None:
        """What a filter asks for, found or remembered; ``None``: no event there is can be meant."""
        key = (filter.catalogue.digest, *(term for term in filter.terms if term.name in self._names))
        if key not in self._meant:
            if len(self._meant) >= _REMEMBERED:
                self._meant.clear()
            self._meant[key] = self._find(filter)
        return self._meant[key]

    def _kinds(self, filter: Filter) -> Wanted | None:
        tests = _tests_of(filter, "outcome", "reason", "reason_class")
        is_typed = any(term.name == "type" for term in filter.terms)
        sure, general, left_out = [], [], []
        for id, (type, outcome, reason) in self._known.items():
            kind = replace(_NOTHING, type=type or "", outcome=outcome or "", reason=reason)
            wanted = all(test(kind) is not negated for negated, test in tests)
            if wanted and id < 0 and is_typed:
                general.append(id)
            elif wanted and (filter.may_match_type(kind.type) if id > 0 else type != SYSTEM):
                sure.append(id)
            else:
                left_out.append(id)
        return Wanted(tuple(sure), tuple(general), tuple(left_out)) if sure or general else None

    def _origins(self, filter: Filter) -> Wanted | None:
        tests = _tests_of(filter, "source", "provider")
        of_realm = [term for term in filter.terms if term.name == "realm"]
        # A reader has one scope.
        scope = next((term for term in filter.terms if term.name == OF_SCOPE), None)
        in_scope = None if scope is None else term_test(scope, filter.catalogue)
        scoped: dict[tuple[str, ...], list[int]] = {}
        # Whoever asks for exact terms alone is not told what they are known by.
        known = self.origins(filter) if any(not term.exact for term in of_realm) else None
        sure, general, left_out = [], [], []
        for id, symbol in self._known.items():
            source, provider, realm_id, realm_name = symbol
            origin = replace(
                _NOTHING, source=source or "", provider=provider or "", realm_id=realm_id, realm_name=realm_name
            )
            wanted = all(test(origin) is not negated for negated, test in tests)
            if scope is not None and id < 0:
                realms = _realms_of(scope, source or "")
                wanted = wanted and bool(realms)
                if wanted:
                    scoped.setdefault(realms, []).append(id)
            elif in_scope is not None:
                wanted = wanted and in_scope(origin)
            if wanted and id < 0 and (of_realm or scope is not None):
                general.append(id)
            elif wanted and (id < 0 or all(_is_of(term, symbol, known) is not term.negated for term in of_realm)):
                sure.append(id)
            else:
                left_out.append(id)
        if not sure and not general:
            return None
        in_general = tuple((realms, tuple(ids)) for realms, ids in scoped.items())
        return Wanted(tuple(sure), tuple(general), tuple(left_out), in_general)


def tells(by: str, kinds: Wanted, origins: Wanted) -> bool:
    """Whether kinds and origins tell of each event whether it is meant, and what it is counted under."""
    if kinds.general or origins.general:
        return False
    numbers = kinds.sure if by == "type" else origins.sure if by == "realm" else ()
    return all(number > 0 for number in numbers)


def value_of(symbol: Symbol, name: str) -> str | None:
    """What a kind or an origin tells under a name: a realm by its name, or by its id where it has none."""
    match name:
        case "type" | "source":
            return symbol[0]
        case "outcome" | "provider":
            return symbol[1]
        case "reason":
            return symbol[2]
        case "realm":
            return symbol[3] or symbol[2]
    raise AssertionError(name)


def named_types(filter: Filter) -> list[str] | None:
    """All names of the types of which a filter's events have to be one; ``None`` if it names none exactly."""
    for term in filter.terms:
        if term.name == "type" and not term.negated and not any(map(is_open, term.values)):
            canonical = {filter.catalogue.canonical(value) for value in term.values}
            return sorted({name for one in canonical for name in (one, *filter.catalogue.aliases(one))})
    return None


def _is_of(term: Term, origin: Symbol, known: Origins | None) -> bool:
    """Whether a realm is one of a term's: by what events say, or also by what is known of it."""
    _, _, id, name = origin
    texts = {id, name}
    if known is not None and not term.exact:
        texts = texts.union(*known.realm(origin))
    return not texts.isdisjoint(term.values)


def _realms_of(scope: Term, source: str) -> tuple[str, ...]:
    """The realms that a scope has of a source."""
    said = (value.partition("/") for value in scope.values)
    return tuple(sorted({realm for of_source, _, realm in said if of_source in ("", source)}))


def _tests_of(filter: Filter, *names: str) -> list[tuple[bool, Callable[[SearchFields], bool]]]:
    return [(term.negated, term_test(term, filter.catalogue)) for term in filter.terms if term.name in names]
