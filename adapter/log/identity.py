"""Which native events are known already: strong and weak keys, resolved in the transaction that appends.

Several events may share a weak key: one millisecond, one user, two sessions. They are told apart by what they hold,
so far as two copies both have it, and those that are equal in this, too, by their number. So the events of one weak
key fall into groups of equal ones; the first group is known by the weak key itself, others by a key derived from it.
Of the events of a group, the first ones (``taken`` of them) are known by a strong key, too, and the rest are not: a
strong newcomer takes the first of the rest, or else is one more. So two numbers, kept with the group's key, stand for
a walk along all of its events.

What is quarantined is known by its bytes, too, since a table that cannot read an event may read other keys of it than
one that can. An event that none of its own keys knows is what was quarantined of the same bytes: it gets the uid of
that entry, and its keys lead there from then on. Quarantined entries of the same bytes are numbered as a group is:
``taken`` of them became known by the keys of an event. This costs something only where the log has something
quarantined of the event's source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from adapter.log.protocol import NewEntry, ReadKeys
from adapter.model import identity_digest, identity_key, numbered_key

#: Groups of one weak key that a newcomer is held against; beyond, only an exact copy is known. One sender can make as
#: many as there are events.
GROUPS = 8
#: Events whose contents are remembered within a commit: large ones are 1 MiB each.
_REMEMBERED = 100
#: Equal entries among which one that is read again is looked for.
_EQUAL = 64
#: Stands for the position of what is read again, until it has one.
_AGAIN = -1
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
    #: Whether it has no event, as far as is known. An engine may leave it out while nothing is quarantined.
    quarantined: bool = False


#: A `Known` of its values, in a third of the time.
_known: Callable[[tuple[int, bytes, int, int, bool]], Known] = partial(tuple.__new__, Known)


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
    #: The key of its bytes; ``None`` where it is not asked for.
    content: bytes | None = None


class Former:
    """Which keys of an older version a log may have. They are a digest alone, without the time in front."""

    def __init__(self, until: int) -> None:
        """``until``: arrival of the last entry of an older version, epoch seconds; 0: there is none."""
        self._until = until + FORMER_SLACK if until else 0

    def may_have(self, entry: NewEntry) -> bool:
        """Whether a newcomer may be known by such keys: if it happened before, or at a time that tells nothing."""
        seconds = entry.seconds
        return bool(self._until) and (seconds <= self._until or seconds > entry.received_at // 1000 + FORMER_SLACK)


def keys_of(entries: Iterable[NewEntry], former: Former, watched: set[str]) -> list[Keys]:
    """The keys of newcomers, in order. ``watched``: names of the sources of which the log has, or may have, something
    quarantined; those of newcomers that are quarantined themselves are added."""
    found = []
    for entry in entries:
        strong, weak, seconds = entry.strong, entry.weak, entry.seconds
        keys = (
            None if strong is None else identity_key(seconds, strong),
            None if weak is None else identity_key(seconds, weak),
        )
        found.append(Keys(*keys, strong, weak) if former.may_have(entry) else Keys(*keys))
        if entry.event is None:
            watched.add(entry.source)
        if watched and entry.namespace is not None and entry.source in watched:
            found[-1] = found[-1]._replace(content=identity_key(0, content_digest(entry.namespace, entry.raw)))
    return found


def keys_read(read: ReadKeys) -> Keys:
    """The keys of what is read again."""
    return Keys(
        None if read.strong is None else identity_key(read.seconds, read.strong),
        None if read.weak is None else identity_key(read.seconds, read.weak),
        content=identity_key(0, read.content),
    )


def content_digest(namespace: bytes, raw: bytes) -> bytes:
    """What a native event is known by as bytes that nobody could read, 16 bytes. ``namespace``: the source's key."""
    return identity_digest(namespace, ["bytes", hashlib.sha256(raw).hexdigest()])


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
        #: Of what is read again: the event, and the position of what it is made of.
        self._again: tuple[bytes, int] = (b"", 0)
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
        content = keys.content
        itself = _known((position, entry.uid, 0, 0, entry.event is None))
        if content is None or content == keys.weak or keys.strong in self._known:
            return self._resolve(keys, position, itself, False)
        number = self._seen.get(content, 0) if entry.event is None else None
        same = self._get(content)
        twin = None if same is None else self._twin(content, same, number)
        found = self._resolve(keys, position, twin or itself, twin is not None)
        # Nothing is asked for from here on.
        if number is None:
            if same is not None and twin is not None and found.position == twin.position:
                self._put(content, same._replace(taken=same.taken + 1))
            return found
        self._seen[content] = number + 1
        if found.position != position:
            return found
        if same is None:
            self._put(content, found._replace(taken=0, equal=1))
        else:
            self._put(numbered_key(content, same.equal), found._replace(taken=0, equal=0))
            self._put(content, same._replace(equal=same.equal + 1))
        return found

    def _twin(self, content: bytes, same: Known, number: int | None) -> Known | None:
        """The quarantined entry of the same bytes that a newcomer is: the one that comes with that number in its
        request, or, where there is none, since it is an event, the first that no event's keys have led to."""
        if number is None:
            number = same.taken
        twin = self._get(numbered_key(content, number)) if number < same.equal else None
        return None if twin is None else twin._replace(taken=0, equal=0)

    def read_again(self, uid: bytes, keys: Keys, position: int, event: bytes) -> Known:
        """What a quarantined entry (its uid and position) is by the keys that are read of it now, with the event: the
        entry itself, to which they lead from now on, or another one that it is a copy of. So it is judged as if its
        bytes came again, in one request with all that are read again together."""
        self._again = event, position
        self._told.pop(_AGAIN, None)
        strong, weak, content = keys.strong, keys.weak, keys.content
        if strong is not None and (known := self._get(strong)) is not None:
            return known
        itself = _known((position, uid, 0, 0, True))
        same = None if content is None else self._get(content)
        number = 0
        if content is not None and same is not None:
            number = self._number_of(position, content, same) or 0
        if weak is not None and self._get(weak) is not None:
            group = self._group(weak, _AGAIN)
            first = self._get(group)
            if first is not None and self._number_of(position, group, first) is not None:
                if strong is not None:
                    self._put(group, first._replace(taken=min(first.taken + 1, first.equal)))
                    self._put(strong, itself)
                return itself
            self._seen[group] = max(self._seen.get(group, 0), number)
        found = self._resolve(keys, _AGAIN, itself, True)
        if found.position == position and content is not None and same is not None:
            same = self._known[content]
            self._put(content, same._replace(taken=min(same.taken + 1, same.equal)))
        return found

    def _number_of(self, position: int, key: bytes, first: Known) -> int | None:
        """Which of the equal ones under a key the entry at a position is, of the first of them."""
        for number in range(min(first.equal, _EQUAL)):
            known = self._get(numbered_key(key, number))
            if known is not None and known.position == position:
                return number
        return None

    def _resolve(self, keys: Keys, at: int, itself: Known, is_named: bool) -> Known:
        """By its own keys: the event that the one at a position is a copy of; or ``itself``, to which these keys lead
        from now on. ``is_named``: it keeps its uid, whatever its number among equal ones is."""
        strong, weak, former_strong, former_weak, _ = keys
        # The newcomer before may have been a copy, and has left its position to this one.
        self._told.pop(at, None)
        self._hashes.pop(at, None)
        if strong is not None:
            known = self._known.get(strong)
            if known is None and former_strong is not None:
                known = self._known.get(former_strong)
            if known is not None:
                return known
        if weak is None:
            if strong is None and is_named:
                return itself
            return self._put(itself.uid if strong is None else strong, itself)
        if former_weak is not None:
            self._take_over(weak, former_weak)
        if weak not in self._known:  # as nearly all
            if strong is None:
                self._seen[weak] = 1
            return self._begin_group(weak, strong, itself)
        group = self._group(weak, at)
        first = self._get(group)
        if strong is None:
            number = self._seen.get(group, 0)
            if first is None:
                self._seen[group] = number + 1
                return self._begin_group(group, None, itself if is_named else itself._replace(uid=group))
            member = numbered_key(group, number)
            # There is none beyond their number: of ten thousand copies in a request each would be looked up alone.
            known = self._get(member) if number < first.equal else None
            self._seen[group] = number + 1
            if known is not None:
                return known
            if not is_named:
                itself = itself._replace(uid=member)
        elif first is None:
            return self._begin_group(group, strong, itself)
        elif first.taken < first.equal:
            known = self._get(numbered_key(group, first.taken))
            if known is not None:
                self._put(group, self._known[group]._replace(taken=first.taken + 1))
                return self._put(strong, known._replace(taken=0, equal=0))
        return self._join_group(group, strong, itself)

    def _begin_group(self, group: bytes, strong: bytes | None, itself: Known) -> Known:
        position, uid, _, _, quarantined = itself
        if strong is None:
            return self._put(group, _known((position, uid, 0, 1, quarantined)))
        self._put(group, _known((position, uid, 1, 1, quarantined)))
        return self._put(strong, itself)

    def _join_group(self, group: bytes, strong: bytes | None, itself: Known) -> Known:
        first = self._known[group]
        made = self._put(numbered_key(group, first.equal), itself)
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
            event = self._again[0] if position == _AGAIN else self._contents.event(position)
            self._told[position] = None if event is None else told(event)
        return self._told[position]

    def _hash_at(self, position: int) -> bytes | None:
        if position == _AGAIN:
            return self._hash_at(self._again[1])
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
                self._put(group, known._replace(taken=taken, equal=1))
            else:
                self._put(numbered_key(group, held.equal), known._replace(taken=0, equal=0))
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


def find_known(
    identities: Identities, entries: Sequence[NewEntry], keys: Sequence[Keys], new: list[NewEntry], first: int
) -> list[bytes | None]:
    """What is known of the entries of one request that nobody stores: of each the uid of the stored event that it is a
    copy of, or ``None``. ``new`` gets those that would be stored, the first of them at the position ``first``; stored
    ones have smaller positions."""
    found: list[bytes | None] = []
    for entry, its_keys in zip(entries, keys, strict=True):
        position = first + len(new)
        new.append(entry)
        known = identities.resolve(entry, its_keys, position)
        if known.position != position:
            new.pop()
        found.append(known.uid if known.position < first else None)
    return found


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
