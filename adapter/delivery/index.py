"""Which of many sinks get an entry, found without asking each of them.

A sink is found by its type, or by one condition of its filter that names values (a realm, a client, a user): by that of
which the fewest others have the same values. Then its whole filter is asked. So an entry costs the same with one sink
and with a thousand that it is not for. Sinks whose filters have none of that are asked about each event of a type that
they may want.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from adapter.delivery.select import Selection
from adapter.filter import KEYS_OF, is_open, term_keys
from adapter.model import Entry
from adapter.search_fields import search_fields

#: Of how many types is remembered who may want them, and how many sinks in all: types are an open set.
TYPES, REMEMBERED = 1_000, 500_000
#: A condition with more values than this finds nobody: each of them takes memory, for each sink.
KEYS = 256
#: Of types of which length.
_SHORT = 200

Reader = TypeVar("Reader")


class _Place(NamedTuple):
    """By what a sink is found: by the name of a condition and the keys of it; by its types (``None``)."""

    selection: Selection
    name: str | None
    keys: Sequence[str]


class _Plan(Generic[Reader]):
    """Who may want events of one type."""

    __slots__ = ("asked", "names", "opens")

    def __init__(self) -> None:
        #: Those who are asked about each event.
        self.asked: dict[Reader, Selection] = {}
        #: How many of those have to see it.
        self.opens = 0
        #: How many may be found by the conditions of each name.
        self.names: Counter[str] = Counter()


class Index(Generic[Reader]):
    """Readers of the log by their filters. Iterated, it gives them in the order in which they came."""

    def __init__(self) -> None:
        self._places: dict[Reader, _Place] = {}
        #: By name and key: who is found there.
        self._found: dict[str, dict[str, dict[Reader, Selection]]] = {}
        #: By name of a condition and key of it, also ``type``: how many have it, found by it or not.
        self._crowds: Counter[tuple[str, str]] = Counter()
        self._plans: dict[str, _Plan[Reader]] = {}
        self._remembered = 0

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Reader]:
        return iter(self._places)

    def __contains__(self, reader: Reader) -> bool:
        return reader in self._places

    def add(self, reader: Reader, selection: Selection) -> None:
        """Find a reader from now on."""
        keyed = _keyed(selection)
        crowd, crowds = None, self._crowds
        name: str | None = None
        for one, keys in keyed.items():
            size = max([crowds[one, key] for key in keys])
            if crowd is None or size < crowd:
                name, crowd = one, size
        place = _Place(selection, None if name == "type" else name, () if name is None else keyed[name])
        crowds.update([(one, key) for one, keys in keyed.items() for key in keys])
        self._places[reader] = place
        if place.name is not None:
            found = self._found.setdefault(place.name, {})
            for key in place.keys:
                found.setdefault(key, {})[reader] = selection
        if self._remembered >= REMEMBERED:
            self._forget_plans()
        for type, plan in self._plans.items():
            if selection.filter.may_match_type(type):
                self._plan(plan, reader, place, 1)
                self._remembered += 1

    def remove(self, reader: Reader) -> None:
        """Find a reader no more."""
        place = self._places.pop(reader)
        selection = place.selection
        for type, plan in self._plans.items():
            if selection.filter.may_match_type(type):
                self._plan(plan, reader, place, -1)
        if place.name is not None:
            found = self._found[place.name]
            for key in place.keys:
                del found[key][reader]
                if not found[key]:
                    del found[key]
        for one, keys in _keyed(selection).items():
            for key in keys:
                self._crowds[one, key] -= 1
                if not self._crowds[one, key]:
                    del self._crowds[one, key]

    def takers(self, entry: Entry) -> list[Reader]:
        """Those who get an entry."""
        type = entry.type
        if type is None or entry.event is None:
            return []
        plan = self._plans.get(type) or self._make_plan(type)
        if not plan.asked and not plan.names:
            return []
        fields = search_fields(entry.event) if plan.opens or plan.names else None
        found = [reader for reader, selection in plan.asked.items() if selection.takes(entry, fields)]
        if fields is None:
            return found
        for name in plan.names:
            by_key = self._found[name]
            keys = [key for key in KEYS_OF[name](fields) if key in by_key]
            for place, key in enumerate(keys):
                for reader, selection in by_key[key].items():
                    if not selection.filter.may_match_type(type) or not selection.takes(entry, fields):
                        continue
                    if place and any(reader in by_key[other] for other in keys[:place]):
                        continue  # found before
                    found.append(reader)
        return found

    def _make_plan(self, type: str) -> _Plan[Reader]:
        plan: _Plan[Reader] = _Plan()
        for reader, place in self._places.items():
            if place.selection.filter.may_match_type(type):
                self._plan(plan, reader, place, 1)
        if len(type) <= _SHORT:
            if len(self._plans) >= TYPES or self._remembered >= REMEMBERED:
                self._forget_plans()
            self._plans[type] = plan
            self._remembered += len(plan.asked)
        return plan

    def _forget_plans(self) -> None:
        self._plans.clear()
        self._remembered = 0

    def _plan(self, plan: _Plan[Reader], reader: Reader, place: _Place, step: int) -> None:
        """Note that a reader may want events of a type, or (``step`` -1) not any more."""
        if place.name is not None:
            plan.names[place.name] += step
            if not plan.names[place.name]:
                del plan.names[place.name]
            return
        plan.opens += step * place.selection.filter.needs_event
        if step > 0:
            plan.asked[reader] = place.selection
        else:
            del plan.asked[reader]


def _keyed(selection: Selection) -> dict[str, Sequence[str]]:
    """The conditions of a filter by which it can be found, those first that tell readers apart most; types that are
    named in full, too."""
    terms = {term.name: term for term in selection.filter.terms if not term.negated}
    found: dict[str, Sequence[str]] = {}
    for name in KEYS_OF:
        if name in terms and (keys := term_keys(terms[name])):
            found[name] = sorted(keys)
    if "type" in terms and not any(map(is_open, terms["type"].values)):
        found["type"] = terms["type"].values
    return {name: keys for name, keys in found.items() if len(keys) <= KEYS}
