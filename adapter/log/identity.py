"""Which native events are known already: strong and weak keys, resolved in the transaction that appends.

Of the events that share a weak key, the first ones (``taken`` of them) are known by a strong key, too, and the rest
are not: a strong newcomer takes the first of the rest, or else is one more. So two numbers, kept with the weak key
itself, stand for a walk along all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from adapter.log.protocol import NewEntry
from adapter.model import ordinal_key


class Known(NamedTuple):
    """What the log has under one key."""

    #: Position and uid of the entry that was first.
    position: int
    uid: bytes
    #: On a weak key itself: how many of the events that share it have a strong key, and how many there are.
    taken: int = 0
    equal: int = 0


#: A `Known` of its values, in a third of the time.
_known: Callable[[tuple[int, bytes, int, int]], Known] = partial(tuple.__new__, Known)


def keys_of(entries: Iterable[NewEntry]) -> set[bytes]:
    """The keys to look up before these entries are resolved."""
    keys = set()
    for entry in entries:
        if entry.strong is not None:
            keys.add(entry.strong)
        if entry.weak is not None:
            keys.add(entry.weak)
            if entry.strong is None and entry.ordinal:
                keys.add(ordinal_key(entry.weak, entry.ordinal))
    return keys


class Identities:
    """The keys that one commit meets and makes."""

    def __init__(self, known: dict[bytes, Known], look_up: Callable[[bytes], Known | None]) -> None:
        """``known`` has what the log has under `keys_of` the entries; ``look_up`` asks it for one key more."""
        self._known = known
        self._look_up = look_up
        #: Keys to store, and what under them: new ones, and those whose numbers changed.
        self.changed: dict[bytes, Known] = {}

    def resolve(self, entry: NewEntry, position: int) -> Known | None:
        """The event that the newcomer is a copy of; or ``None`` if it is new, and has ``position`` from now on."""
        strong, weak, uid = entry.strong, entry.weak, entry.uid
        if strong is not None:
            known = self._known.get(strong)
            if known is not None:
                return known
        if weak is None:
            self._put(uid if strong is None else strong, Known(position, uid))
            return None
        first = self._known.get(weak)
        if first is None and strong is not None:  # as nearly all are
            self._known[strong] = self.changed[strong] = _known((position, uid, 0, 0))
            self._known[weak] = self.changed[weak] = _known((position, uid, 1, 1))
            return None
        if strong is None:
            number = entry.ordinal if first is not None else 0
            known = self._get(ordinal_key(weak, number))
            if known is not None:
                return known
        else:
            if first is not None and first.taken < first.equal:
                known = self._get(ordinal_key(weak, first.taken))
                if known is not None:
                    self._put(weak, first._replace(taken=first.taken + 1))
                    self._put(strong, Known(known.position, known.uid))
                    return known
            self._put(strong, Known(position, uid))
        taken = strong is not None
        if first is None:
            self._put(weak, Known(position, uid, taken, 1))
        else:
            number = entry.ordinal if strong is None else first.equal
            self._put(ordinal_key(weak, number), Known(position, uid))
            self._put(weak, first._replace(taken=first.taken + taken, equal=first.equal + 1))
        return None

    def _get(self, key: bytes) -> Known | None:
        if key in self._known:
            return self._known[key]
        known = self._look_up(key)
        if known is not None:
            self._known[key] = known
        return known

    def _put(self, key: bytes, known: Known) -> None:
        self._known[key] = self.changed[key] = known
