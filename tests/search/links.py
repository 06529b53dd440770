"""What a filter finds where ids and names are known of each other, worked out from all events at once: what the engines
of the search are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from adapter.filter import Filter, Term
from adapter.model import EventDict
from adapter.search.learning import CLIENTS, USERS, Learning
from adapter.search_fields import SearchFields, search_fields


class Fact(NamedTuple):
    """That something had a name in some events."""

    kind: int
    id: str
    name: str
    origin: tuple[str | None, ...]


class Links:
    """What events say about names. ``told_apart``: how many origins are, in the order in which they come."""

    def __init__(self, events: Sequence[EventDict | None], told_apart: int) -> None:
        self.fields = [None if event is None else search_fields(orjson.dumps(event)) for event in events]
        self.origins: list[tuple[str | None, ...]] = []
        self.facts: set[Fact] = set()
        for found in self.fields:
            if found is None:
                continue
            origin = _origin(found)
            if origin not in self.origins and len(self.origins) < told_apart:
                self.origins.append(origin)
            learning = Learning()
            learning.take(found, 0, 0)
            self.facts |= {Fact(one.kind, one.id, one.name, origin) for one in learning.new}

    def matches(self, filter: Filter, fields: SearchFields) -> bool:
        plain = [term for term in filter.terms if term.name not in ("realm", "user", "actor", "target", "client")]
        rest = Filter(
            filter.catalogue, tuple(plain), filter.time_from, filter.time_to, filter.received_from, filter.received_to
        )
        return rest.matches(fields) and all(
            self._has(term, fields) is not term.negated for term in filter.terms if term not in plain
        )

    def _has(self, term: Term, fields: SearchFields) -> bool:
        wanted = set(term.values)
        if term.name == "realm":
            ids, names = self._realm(_origin(fields)) if _origin(fields) in self.origins else _said(_origin(fields))
            return bool((ids | names) & wanted)
        if term.name == "user":
            return any(self._has(Term(name, False, term.values), fields) for name in ("actor", "target"))
        if term.name == "client":
            return fields.client is not None and bool(self._meanings(CLIENTS, {fields.client}, fields) & wanted)
        is_actor = term.name == "actor"
        id, said = (fields.actor, fields.actor_names) if is_actor else (fields.target, fields.target_names)
        folded = {name.casefold() for name in said}
        wanted |= {value.casefold() for value in wanted}
        texts = folded | ({id} if id is not None else set())
        linked = self._meanings(USERS, {id} if id is not None else folded, fields, by_id=id is not None)
        return bool((texts | linked) & wanted)

    def _meanings(self, kind: int, texts: set[str], fields: SearchFields, by_id: bool | None = None) -> set[str]:
        """What else is meant by ids, or by names."""
        found = set(texts)
        for fact in self.facts:
            if fact.kind != kind:
                continue
            if by_id is not False and fact.id in texts and self._counts(fact, fields, of_id=True):
                found.add(fact.name)
            if by_id is not True and fact.name in texts and self._counts(fact, fields, of_id=False):
                found.add(fact.id)
                others = (one for one in self.facts if one.kind == kind and one.id == fact.id)
                found |= {one.name for one in others if self._are_linked(fact, one)}
        return found

    def _counts(self, fact: Fact, fields: SearchFields, *, of_id: bool) -> bool:
        origin = _origin(fields)
        if fact.origin[:2] != origin[:2]:
            return False
        if of_id and _is_uuid(fact.id):
            return True
        return self._is_same_realm(fact.origin, origin)

    def _are_linked(self, one: Fact, other: Fact) -> bool:
        if one.origin[:2] != other.origin[:2]:
            return False
        return _is_uuid(one.id) or self._is_same_realm(one.origin, other.origin)

    def _is_same_realm(self, one: tuple[str | None, ...], other: tuple[str | None, ...]) -> bool:
        if one not in self.origins or other not in self.origins:
            return False
        (ids, names), (other_ids, other_names) = self._realm(one), self._realm(other)
        if ids and other_ids:
            return bool(ids & other_ids)
        return bool(names & other_names) or (ids, names) == (other_ids, other_names)

    def _realm(self, origin: tuple[str | None, ...]) -> tuple[set[str], set[str]]:
        both = [one for one in self.origins if one[:2] == origin[:2] and None not in one[2:]]
        ids, names = _said(origin)
        if not ids:
            ids = {str(one[2]) for one in both if one[3] in names}
        return ids, names | {str(one[3]) for one in both if one[2] in ids}


def _origin(found: SearchFields) -> tuple[str | None, ...]:
    return found.source, found.provider, found.realm_id, found.realm_name


def _said(origin: tuple[str | None, ...]) -> tuple[set[str], set[str]]:
    return ({origin[2]} if origin[2] else set()), ({origin[3]} if origin[3] else set())


def _is_uuid(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4
