"""What events say about names: which name an id has.

The filler learns it from the events that it takes in, and keeps it beside them. Learned are

    user     authDetails.userId with authDetails.username; of admin events also the user in resourcePath, or
             details.userId, with details.username
    client   of admin events the client in resourcePath with clientId of the representation
    realm    realmId with realmName
    email    authDetails.userId with details.email, or details.updated_email, of what somebody does to the own account

Not details.client_name, which may be of another client than authDetails.clientId. A name that was only tried says
nothing: of a failure the user is learned only where its reason says that the provider knew whose name it was.
"""

from __future__ import annotations

from typing import NamedTuple

from adapter.search_fields import SYSTEM, SearchFields, folded

#: Kinds of things that have names.
USERS, CLIENTS, REALMS, EMAILS = 0, 1, 2, 3

#: Reasons of failures in which id and name are those of one user.
_OF_ONE_USER = frozenset({"bad_credentials", "locked", "disabled", "action_required", "password_rejected"})
#: Longer ids and names are not learned, characters.
_LONGEST = 200
#: Of how many ids the name is remembered.
_REMEMBERED = 65_536


def is_own_name(found: SearchFields) -> bool:
    """Whether the name that an event says is that of the id beside it, and not only one that was tried."""
    return found.outcome != "failure" or found.reason in _OF_ONE_USER


class Named(NamedTuple):
    """That something of a kind had a name, in events of an origin."""

    kind: int
    id: str
    #: As it is compared.
    name: str
    origin: int


class Seen(NamedTuple):
    """When it was said: times of the first and the last event, epoch milliseconds, and the part of the log that has the
    last entry."""

    shown: str
    first: int
    last: int
    part: int

    def joined(self, other: Seen) -> Seen:
        """Both; the other one came later."""
        return Seen(other.shown, min(self.first, other.first), max(self.last, other.last), max(self.part, other.part))


class Learning:
    """What was learned and is not stored yet. Of what is said again and again only the first time in each part of the
    log is, so that most events cost a look at what is remembered."""

    def __init__(self) -> None:
        self.new: dict[Named, Seen] = {}
        #: Of an id: its name last, since when, and in which part.
        self._known: dict[tuple[int, str, int], tuple[str, int, int]] = {}

    def take(self, found: SearchFields, origin: int, part: int) -> None:
        """Learn from an event of an origin, in a part of the log."""
        type, actor, target = found.type, found.actor, found.target
        if type.startswith(SYSTEM):
            return
        if found.realm_id is not None and found.realm_name is not None:
            self._say(REALMS, found.realm_id, found.realm_name, found.time, origin, part)
        is_sure = found.outcome != "failure"
        if actor is not None and (is_sure or found.reason in _OF_ONE_USER) and (name := found.own_name) is not None:
            self._say(USERS, actor, name, found.time, origin, part)
        if actor is not None and is_sure and target is None and (email := found.own_email) is not None:
            self._say(EMAILS, actor, email, found.time, origin, part)
        is_admin = type.startswith("admin.")
        if target is not None and found.target_names and (is_admin or is_sure):
            self._say(USERS, target, found.target_names[0], found.time, origin, part)
        if is_admin and is_sure and (client := found.changed_client) is not None:
            self._say(CLIENTS, *client, found.time, origin, part)

    def _say(self, kind: int, id: str, name: str, time: int, origin: int, part: int) -> None:
        key = (kind, id, origin)
        known = self._known.get(key)
        if known is not None and known[0] == name and known[2] == part and known[1] <= time:
            return
        if not _is_usable(id) or not _is_usable(name):
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = (name, time, part)
        named = Named(kind, id, folded(name) if kind in (USERS, EMAILS) else name, origin)
        seen, before = Seen(name, time, time, part), self.new.get(named)
        self.new[named] = seen if before is None else before.joined(seen)

    def forget(self) -> None:
        """Some of what is stored was removed: learn it again when it is said."""
        self._known.clear()


def _is_usable(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and "\0" not in text
