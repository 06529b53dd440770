"""Which native events are known already: strong and weak keys, resolved in the transaction that appends.

Several events may share a weak key: one millisecond, one user, two sessions. They are told apart by what they hold,
so far as two copies both have it, and those that are equal in this, too, by their number. So the events of one weak
key fall into groups of equal ones; the first group is known by the weak key itself, others by a key derived from it.
Of the events of a group, the first ones (``taken`` of them) are known by a strong key, too, and the rest are not: a
strong newcomer takes the first of the rest, or else is one more. So two numbers, kept with the group's key, stand for
a walk along all of its events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from adapter.log.protocol import NewEntry
from adapter.model import identity_key, numbered_key

#: Groups of one weak key that a newcomer is held against; beyond, only an exact copy is known. One sender can make as
#: many as there are events.
GROUPS = 8
#: Events whose contents are remembered within a commit: large ones are 1 MiB each.
_REMEMBERED = 100
#: Events of one weak key in a log of an older version that are told apart.
_FORMER_EVENTS = 1_000
#: Seconds by which the time of an event may lie behind the arrival of the last entry of an older version.
FORMER_SLACK = 86_400


class Known(NamedTuple):
    """What the log has under one key."""

    #: Position and uid of the entry that was first. An engine that knows positions only once it commits puts another
    #: number in their place, by which it finds the entry.
    position: int
    uid: bytes
    #: On the key of a group: how many of its events have a strong key, and how many there are.
    taken: int = 0
    equal: int = 0


#: A `Known` of its values, in a third of the time.
_known: Callable[[tuple[int, bytes, int, int]], Known] = partial(tuple.__new__, Known)


class Contents(Protocol):
    """What entries hold, those included that are stored in the same transaction."""

    def event(self, position: int) -> bytes | None:
        """The event as it is read now; ``None`` while quarantined, or if it is not kept any more."""

    def raw(self, position: int) -> bytes | None:
        """What the provider sent for it; ``None`` if that is not kept."""


class Keys(NamedTuple):
    """The keys of one newcomer, and those that a log of an older version would have for it."""

    strong: bytes | None
    weak: bytes | None
    former_strong: bytes | None = None
    former_weak: bytes | None = None


class Former:
    """Which keys of an older version a log may have. They are a digest alone, without the time in front."""

    def __init__(self, until: int) -> None:
        """``until``: arrival of the last entry of an older version, epoch seconds; 0: there is none."""
        self._until = until + FORMER_SLACK if until else 0

    def may_have(self, entry: NewEntry) -> bool:
        """Whether a newcomer may be known by such keys: if it happened before, or at a time that tells nothing."""
        seconds = entry.seconds
        return bool(self._until) and (seconds <= self._until or seconds > entry.received_at // 1000 + FORMER_SLACK)


def keys_of(entries: Iterable[NewEntry], former: Former) -> list[Keys]:
    """The keys of newcomers, in order."""
    found = []
    for entry in entries:
        strong, weak, seconds = entry.strong, entry.weak, entry.seconds
        keys = (
            None if strong is None else identity_key(seconds, strong),
            None if weak is None else identity_key(seconds, weak),
        )
        found.append(Keys(*keys, strong, weak) if former.may_have(entry) else Keys(*keys))
    return found


class Identities:
    """The keys that one commit meets and makes."""

    def __init__(self, known: dict[bytes, Known], look_up: Callable[[bytes], Known | None], contents: Contents) -> None:
        """``known`` has what the log has under the keys of the newcomers; ``look_up`` asks it for one key more. It and
        ``contents`` may raise what they like, unless keys of an older version are met: nothing has changed then, and
        the newcomer can be resolved again."""
        self._known = known
        self._look_up = look_up
        self._contents = contents
        #: Of some events, by position: what tells them from others, and the hash of their native bytes.
        self._told: dict[int, dict[str, str] | None] = {}
        self._hashes: dict[int, bytes | None] = {}
        #: Of each group, how many of its copies without a strong key the request brought that is being resolved.
        self._seen: dict[bytes, int] = {}
        #: Keys to store, and what under them: new ones, and those whose numbers changed.
        self.changed: dict[bytes, Known] = {}

    def learn(self, known: Mapping[bytes, Known]) -> None:
        """What the log has under more keys of newcomers, none of which was met before."""
        self._known.update(known)

    def begin_request(self) -> None:
        """The next newcomers come with another request: equal ones in two requests are copies of each other."""
        self._seen = {}

    def resolve(self, entry: NewEntry, keys: Keys, position: int) -> Known:
        """The event that the newcomer is a copy of; or, if it is new, the newcomer itself, which has ``position`` from
        now on, and the uid by which it is known."""
        uid = entry.uid
        strong, weak, former_strong, former_weak = keys
        # The newcomer before may have been a copy, and has left its position to this one.
        self._told.pop(position, None)
        self._hashes.pop(position, None)
        if strong is not None:
            known = self._known.get(strong)
            if known is None and former_strong is not None:
                known = self._known.get(former_strong)
            if known is not None:
                return known
        if weak is None:
            return self._put(uid if strong is None else strong, _known((position, uid, 0, 0)))
        if former_weak is not None:
            self._take_over(weak, former_weak)
        if weak not in self._known:  # as nearly all
            if strong is None:
                self._seen[weak] = 1
            return self._begin_group(weak, strong, position, uid)
        group = self._group(weak, position)
        first = self._get(group)
        if strong is None:
            number = self._seen.get(group, 0)
            if first is None:
                self._seen[group] = number + 1
                return self._begin_group(group, None, position, group)
            member = numbered_key(group, number)
            # There is none beyond their number: of ten thousand copies in a request each would be looked up alone.
            known = self._get(member) if number < first.equal else None
            self._seen[group] = number + 1
            if known is not None:
                return known
            uid = member
        elif first is None:
            return self._begin_group(group, strong, position, uid)
        elif first.taken < first.equal:
            known = self._get(numbered_key(group, first.taken))
            if known is not None:
                self._put(group, self._known[group]._replace(taken=first.taken + 1))
                return self._put(strong, _known((known.position, known.uid, 0, 0)))
        return self._join_group(group, strong, position, uid)

    def _begin_group(self, group: bytes, strong: bytes | None, position: int, uid: bytes) -> Known:
        if strong is None:
            return self._put(group, _known((position, uid, 0, 1)))
        self._put(group, _known((position, uid, 1, 1)))
        return self._put(strong, _known((position, uid, 0, 0)))

    def _join_group(self, group: bytes, strong: bytes | None, position: int, uid: bytes) -> Known:
        first = self._known[group]
        made = self._put(numbered_key(group, first.equal), _known((position, uid, 0, 0)))
        self._put(group, first._replace(taken=first.taken + (strong is not None), equal=first.equal + 1))
        return made if strong is None else self._put(strong, made)

    def _group(self, weak: bytes, position: int) -> bytes:
        """The key of the group of a weak key that the event at a position belongs to, or begins."""
        best, most = None, -1
        for number in range(GROUPS):
            group = group_key(weak, number)
            known = self._get(group)
            if known is None:
                return best or group
            agreed = self._agreement(position, known.position)
            if agreed is not None and agreed > most:
                if agreed == _ALL:
                    return group
                best, most = group, agreed
        return best or numbered_key(weak, self._fingerprint(position))

    def _agreement(self, one: int, other: int) -> int | None:
        """In how much two events agree that may be one: `agreement`. What is quarantined tells no more than its
        bytes."""
        first, second = self._told_at(one), self._told_at(other)
        if first is not None and second is not None:
            return agreement(first, second)
        sent, stored = self._hash_at(one), self._hash_at(other)
        if sent is None or stored is None:
            return 0
        return _ALL if sent == stored else None

    def _fingerprint(self, position: int) -> bytes:
        """Bytes that are the same for events that agree in everything."""
        told = self._told_at(position)
        if told is None:
            return self._hash_at(position) or b"unknown"
        return hashlib.sha256(repr(sorted(told.items())).encode("utf-8", "surrogatepass")).digest()

    def _told_at(self, position: int) -> dict[str, str] | None:
        if position not in self._told:
            if len(self._told) >= _REMEMBERED:
                self._told.clear()
            event = self._contents.event(position)
            self._told[position] = None if event is None else told(event)
        return self._told[position]

    def _hash_at(self, position: int) -> bytes | None:
        if position not in self._hashes:
            if len(self._hashes) >= _REMEMBERED:
                self._hashes.clear()
            raw = self._contents.raw(position)
            self._hashes[position] = None if raw is None else hashlib.sha256(raw).digest()
        return self._hashes[position]

    def _take_over(self, weak: bytes, former: bytes) -> None:
        """The events that a log of an older version numbered under one weak key get the keys of this version."""
        first = self._known.get(former)
        if first is None or not first.equal:
            return
        for number in range(min(first.equal, _FORMER_EVENTS)):
            known = self._get(numbered_key(former, number))
            if known is None:
                continue
            taken = int(number < first.taken)
            group = self._group(weak, known.position) if weak in self._known else weak
            held = self._get(group)
            if held is None:
                self._put(group, _known((known.position, known.uid, taken, 1)))
            else:
                self._put(numbered_key(group, held.equal), _known((known.position, known.uid, 0, 0)))
                self._put(group, held._replace(taken=held.taken + taken, equal=held.equal + 1))
        self._put(former, first._replace(taken=0, equal=0))

    def _get(self, key: bytes) -> Known | None:
        known = self._known.get(key)
        if known is None:
            known = self._look_up(key)
            if known is not None:
                self._known[key] = known
        return known

    def _put(self, key: bytes, known: Known) -> Known:
        self._known[key] = self.changed[key] = known
        return known


@lru_cache(maxsize=256)
def group_key(weak: bytes, number: int) -> bytes:
    """The key of the ``number``-th group (from 0) of the events that share a weak key."""
    return weak if number == 0 else numbered_key(weak, b"group %d" % number)


class _Who(Struct, gc=False, rename="camel"):
    session_id: str | None = None


class _Told(Struct, gc=False, rename="camel"):
    """What of an event tells it from another one of the same weak key."""

    auth_details: _Who | None = None
    details: dict[str, str] | None = None


_read = Decoder(_Told).decode


def agreement(one: dict[str, str], other: dict[str, str]) -> int | None:
    """In how many things two copies agree that may be of one event; ``None`` if they are of two.

    The session and the details that both have are equal in copies of one event, whichever way they came.
    """
    if one == other:
        return _ALL
    agreed = 0
    for name in one.keys() & other.keys():
        if one[name] != other[name]:
            return None
        agreed += 1
    return agreed


#: Two copies agree in everything.
_ALL = 1 << 62


def told(event: bytes) -> dict[str, str]:
    """The session and the details of an event (JSON)."""
    try:
        read = _read(event)
    except MsgspecError:
        return {}
    found = read.details or {}
    if read.auth_details is not None and read.auth_details.session_id is not None:
        found[_SESSION] = read.auth_details.session_id
    return found


#: No detail is called so: a detail's name is not empty.
_SESSION = ""
