"""The dictionary of a search: which values there are of some fields, for completion.

The filler keeps, for each part of the log, the values of users, clients, addresses, resources and of the agreed details
that filters compare, with the origin (source, provider, realm) that says so and in how many events. There are so many
of a field in a part at most: whoever invents names without end fills the list of a part, and not the disk. Nothing is
counted by it: what is told by ``GET /events/counts`` is exact, and this is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from adapter.search_fields import FOUND_DETAILS, SearchFields, folded

#: Fields that have values here, by number.
_OTHERS = (*FOUND_DETAILS, "resource")
FIELDS = {"user": 0, "client": 1, "ip": 2, **{name: number for number, name in enumerate(_OTHERS, 3)}}
#: Those whose case matters.
CASED = ("client", "resource")
#: Values of a field in a part, each of an origin, at most; and characters of one.
LIMIT, LENGTH = 16_384, 128

_USER, _CLIENT, _IP, _RESOURCE = (FIELDS[name] for name in ("user", "client", "ip", "resource"))
_CASED = frozenset(FIELDS[name] for name in CASED)
_OF_DETAIL = {detail: FIELDS[name] for name, details in FOUND_DETAILS.items() for detail in details}

#: Ways to write a value that are remembered: one address may come with many ports.
_REMEMBERED = 65_536
#: Values that are added up before their events are stored, at least; and so many times as many as came before.
_ADDED_UP, _GROWTH = 64, 7

#: Field, value, origin.
Said = tuple[int, str, int]


class Values:
    """What was said and is not stored yet.

    A value is stored when it is said first in a part. Of those that are there already the events are added up here, and
    stored when several times as many have come as before: so each row is written a few times, and what is lost with the
    process is missing in numbers that are not exact anyway.
    """

    def __init__(self, stored: Callable[[int], Iterable[Said]]) -> None:
        """``stored`` gives all that a part has."""
        self._stored = stored
        #: By part, as it was said.
        self._said: dict[int, list[Said]] = {}
        #: The part that is remembered, what it has, and how many values of each field.
        self._part = -1
        self._there: set[Said] = set()
        self._numbers: Counter[int] = Counter()
        #: What stands for values as they are written, of those that are there.
        self._written: dict[Said, Said] = {}
        #: Events of values that are there, not stored; in how many events these were said, and in how many before.
        self._more: Counter[Said] = Counter()
        self._pending = self._before = 0

    def take(self, found: SearchFields, user: str | None, origin: int, part: int, *, has_address: bool) -> None:
        """Take in an event of an origin, in a part of the log. ``user``: its `SearchFields.user`."""
        said = self._said.get(part)
        if said is None:
            said = self._said[part] = []
        target = found.target_names[0] if found.target_names else found.target
        if user is not None:
            said.append((_USER, user, origin))
        if target is not None and target != user:
            said.append((_USER, target, origin))
        if found.client is not None:
            said.append((_CLIENT, found.client, origin))
        if has_address and found.address is not None:
            said.append((_IP, found.address, origin))
        if (resource := found.resource) is not None:
            said.append((_RESOURCE, resource, origin))
        details = found.event.details
        if details:
            for name in details:
                if name in _OF_DETAIL:
                    said.append((_OF_DETAIL[name], details[name], origin))

    def new(self) -> list[tuple[int, int, str, int, int]]:
        """The rows that are to be stored, or added to, in order: part, field, value, origin, events; no value comes
        twice. They are given once."""
        rows: Counter[tuple[int, int, str, int]] = Counter()
        for part, said in sorted(self._said.items()):
            if part != self._part:
                self._store_more(rows)
                self._begin(part)
            for one, events in Counter(said).items():
                known = self._written.get(one)
                if known is not None:
                    self._more[known] += events
                elif (made := self._take_up(one)) is not None:
                    rows[part, *made] += events
            self._pending += len(said)
            if self._pending >= max(self._before * _GROWTH, _ADDED_UP):
                self._store_more(rows)
        self._said.clear()
        return sorted((*row, events) for row, events in rows.items())

    def _begin(self, part: int) -> None:
        """Remember another part."""
        self._there = set(self._stored(part))
        self._numbers = Counter(field for field, _, _ in self._there)
        self._written.clear()
        self._part, self._before = part, 0

    def _store_more(self, rows: Counter[tuple[int, int, str, int]]) -> None:
        """Add the events that are not stored to the rows that are to be."""
        for one, events in self._more.items():
            rows[self._part, *one] += events
        self._more.clear()
        self._before += self._pending
        self._pending = 0

    def _take_up(self, said: Said) -> Said | None:
        """What stands for a value from now on; ``None``: it is not taken, or there are too many."""
        field, value, origin = said
        if field == _IP:
            value = _address(value)
        elif field not in _CASED:
            value = folded(value)
        if not 0 < len(value) <= LENGTH or "\0" in value:
            return None
        made = (field, value, origin)
        if made not in self._there:
            if self._numbers[field] >= LIMIT:
                return None
            self._numbers[field] += 1
            self._there.add(made)
        if len(self._written) >= _REMEMBERED:
            self._written.clear()
        self._written[said] = made
        return made

    def forget(self) -> None:
        """Some of what is stored was removed."""
        self._part = -1
        self._more.clear()


def _address(text: str) -> str:
    """An address without the port, the brackets or the zone that a provider may write with it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return text.partition("%")[0].lower()
