"""What stands for the texts of an event in a search: fingerprints for what is looked up one by one, small numbers for
what there are few of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from adapter.search_fields import SYSTEM, SearchFields, folded, with_folded

#: Roles of a text, before its fingerprint is made. Type and realm have keys only where kind and origin are general.
ACTOR, TARGET, CLIENT, SESSION, ID, TYPE, REALM = "a", "t", "c", "s", "i", "y", "r"
#: Of who acted, as it is counted.
USER = "u"
#: Of a name without an id beside it: what is known of an id elsewhere counts for such a one alone.
ACTOR_ALONE, TARGET_ALONE = "A", "T"
#: Of a name beside an id: one that reads as the id of somebody else does not stand for him.
ACTOR_NAME, TARGET_NAME = "n", "m"

#: In which roles what a filter's term names may stand.
ROLES = {
    "session": (SESSION,),
    "id": (ID,),
    "target": (TARGET, TARGET_ALONE, TARGET_NAME),
    "actor": (ACTOR, ACTOR_ALONE, ACTOR_NAME),
    "user": (ACTOR, TARGET, ACTOR_ALONE, TARGET_ALONE, ACTOR_NAME, TARGET_NAME),
    "client": (CLIENT,),
}
#: Of these the case of names does not matter.
FOLDED = ("user", "actor", "target")

#: Milliseconds of the stretches of time that are counted.
HOUR = 3_600_000

#: Kinds, and origins, that are told apart, and how long their texts may be together, characters: whoever sends may
#: invent types and realms, and all of these are held in memory.
SYMBOLS_LIMIT, SYMBOL_LENGTH = 4_096, 400

_NEGATIVE = -(1 << 63)
#: How many fingerprints of a role are remembered, and of texts of which length.
_REMEMBERED, _SHORT = 16_384, 200


class Keys(dict[str, int]):
    """Fingerprints of texts in one role: negative integers, made with the secret of one search so that nobody can make
    two texts meet. Remembers those that it was asked for as a dict."""

    def __init__(self, secret: bytes, role: str) -> None:
        super().__init__()
        self._begun = hashlib.blake2b(role.encode(), digest_size=8, key=secret)

    def fingerprint(self, text: str) -> int:
        """The fingerprint of a text that is not worth remembering."""
        digest = self._begun.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest(), "little", signed=True) | _NEGATIVE

    def __missing__(self, text: str) -> int:
        made = self.fingerprint(text)
        if len(text) <= _SHORT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[text] = made
        return made


class NameKeys(Keys):
    """The same of users' names, whose case does not matter."""

    def fingerprint(self, text: str) -> int:
        return super().fingerprint(folded(text))


class QuestionKeys:
    """The keys that questions ask for, of one search."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        roles = (*ROLES["user"], CLIENT, SESSION, ID, TYPE, REALM)
        self._keys = {role: Keys(secret, role) for role in roles}

    def of(self, roles: Iterable[str], values: Iterable[str]) -> list[int]:
        """Fingerprints of texts, each in all of these roles; in order."""
        return sorted({self._keys[role].fingerprint(value) for value in values for role in roles})

    def of_term(self, name: str, values: Iterable[str]) -> list[int]:
        """Fingerprints of what a filter's term of `ROLES` asks for."""
        return self.of(ROLES[name], with_folded(values) if name in FOLDED else values)


class EventKeys:
    """The keys of events: who, client, session and id, and of general kinds and origins type and realm."""

    def __init__(self, secret: bytes) -> None:
        self._actors, self._targets, self._clients, self._sessions, self._ids, self._types, self._realms = (
            Keys(secret, role) for role in (ACTOR, TARGET, CLIENT, SESSION, ID, TYPE, REALM)
        )
        #: Of who acted and of the client, by which an event is counted.
        self.users, self.clients = Keys(secret, USER), self._clients
        #: Of the id of who acted, by which an account is known.
        self.actors = self._actors
        self._actor_names, self._target_names, self._actors_alone, self._targets_alone = (
            NameKeys(secret, role) for role in (ACTOR_NAME, TARGET_NAME, ACTOR_ALONE, TARGET_ALONE)
        )

    def of(self, found: SearchFields, *, general_kind: bool, general_origin: bool) -> list[int]:
        """One event's keys, each once."""
        actor, target = found.actor, found.target
        names = self._actors_alone if actor is None and not found.is_by_other_realm else self._actor_names
        keys = [names[name] for name in found.actor_names]
        if len(keys) == 2 and keys[0] == keys[1]:
            del keys[1]
        if actor is not None:
            keys.append(self._actors[actor])
        names = self._targets_alone if target is None else self._target_names
        keys += [names[name] for name in found.target_names]
        if target is not None:
            keys.append(self._targets[target])
        if found.client is not None:
            keys.append(self._clients[found.client])
        if found.session is not None:
            keys.append(self._sessions.fingerprint(found.session))
        if found.id is not None:
            keys.append(self._ids.fingerprint(found.id))
        if general_kind:
            keys.append(self._types.fingerprint(found.type))
        if general_origin:
            realms = {found.realm_id, found.realm_name}
            keys += [self._realms.fingerprint(realm) for realm in realms if realm is not None]
        return keys


Symbol = tuple[str | None, ...]


class Symbols(dict[Symbol, int]):
    """Tuples known by small numbers. There are so many at most: all others are known by a general one, which has a
    negative number and is less exact."""

    def __init__(self, known: Iterable[tuple[int, Symbol]], general: Callable[[Symbol], Symbol]) -> None:
        known = list(known)
        super().__init__({symbol: number for number, symbol in known if number > 0})
        self._general = general
        self._generals: dict[Symbol, int] = {symbol: number for number, symbol in known if number < 0}
        #: Those that are not stored yet: each batch brings them until one is.
        self.new: list[tuple[int, Symbol]] = []

    def __missing__(self, symbol: Symbol) -> int:
        if len(self) < SYMBOLS_LIMIT and sum([len(text) for text in symbol if text is not None]) <= SYMBOL_LENGTH:
            number = self[symbol] = len(self) + 1
        else:
            symbol = self._general(symbol)
            if symbol in self._generals:
                return self._generals[symbol]
            number = self._generals[symbol] = -len(self._generals) - 1
        self.new.append((number, symbol))
        return number


def general_kind(kind: Symbol) -> Symbol:
    """Type (that of the adapter's own events, or none), outcome and reason."""
    type, outcome, reason = kind
    return (SYSTEM if type is not None and type.startswith(SYSTEM) else ""), outcome, reason


def general_origin(origin: Symbol) -> Symbol:
    """Source and provider."""
    source, provider, _, _ = origin
    return source, provider, None, None
