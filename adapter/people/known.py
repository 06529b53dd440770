"""Who is known: accounts with when they were seen, when somebody got in last and how, and what failed since.

The search keeps a row for each account (`adapter.search.accounts`); what that does not hold (names, how somebody got
in, devices, addresses) is read from the events that it names, for those who are on a page.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from adapter.errors import RequestError
from adapter.filter import Filter, Term
from adapter.formats.text import harmless
from adapter.log.protocol import Log
from adapter.model import uid_text
from adapter.people.accounts import Account, Person, is_one
from adapter.people.stories import Happening, Story
from adapter.people.timeline import Timelines
from adapter.search.index import ByPrefix
from adapter.search.keys import HOUR
from adapter.search.learning import is_own_name
from adapter.search.people import Active, ActiveIn, ByAccount, Known, Sort, value_of
from adapter.search.search import Search
from adapter.search_fields import SearchFields, folded, search_fields

#: Bytes of events that are read at once.
_READ = 512 * 1024
#: Logins of a person that devices and addresses are taken from, and how many of each are told.
LOGINS, TOLD = 500, 20
#: Rows of one person's accounts: an account has one for each realm that its events name.
_ROWS = 500
#: Seconds that are spent on completing a name.
_SECONDS = 0.5
_CURSOR = struct.Struct(">cqqi")
_SORTS: tuple[Sort, ...] = ("last", "-last", "success", "-success", "failures", "-failures")


class Login(NamedTuple):
    """How somebody got in."""

    uid: str
    event: SearchFields

    @property
    def story(self) -> Story:
        """It alone."""
        one = Happening(self.uid, self.event, "")
        return Story("login", one, [one])


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account in a source and realm."""

    account: Account
    known: Known
    username: str | None
    #: The last one, if it is still there.
    login: Login | None

    @property
    def id(self) -> str:
        """By what it is asked for."""
        return id_of(self.account)


@dataclass(frozen=True, slots=True)
class KnownPage:
    accounts: Sequence[KnownAccount]
    #: Cursor of the next page; ``None`` at the end.
    next: str | None
    #: When the oldest event was that is there, epoch milliseconds.
    since: int | None


class Used(NamedTuple):
    """A device, or an address, from which somebody got in."""

    name: str
    place: str | None
    #: Of those logins that were looked at, epoch milliseconds.
    first: int
    last: int
    logins: int


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """All that is known of one person."""

    accounts: Sequence[KnownAccount]
    person: Person
    since: int | None
    devices: Sequence[Used]
    addresses: Sequence[Used]
    #: From how many logins these are.
    logins: int


class People:
    """Reads the index of people."""

    def __init__(self, log: Log, search: Search, timelines: Timelines, *, now: Callable[[], int]) -> None:
        """``now`` gives epoch milliseconds."""
        self._log = log
        self._search = search
        self._timelines = timelines
        self._now = now

    async def page(
        self,
        base: Filter,
        *,
        q: str | None,
        dormant_since: int | None,
        failures_min: int,
        sort: Sort,
        limit: int,
        cursor: str | None,
        caller: str = "",
    ) -> KnownPage:
        """A page of accounts. ``q``: an id, or how a name begins; ``dormant_since``: not seen since, epoch
        milliseconds.

        Raises:
            RequestError: 400, the cursor is bad; 503, the search cannot tell now.
            StoreUnavailable: log or search cannot be read now.
        """
        after = None if cursor is None else _read_cursor(cursor, sort)
        ids = None if q is None else await self._ids(q, base, caller)
        question = ByAccount(base, sort, limit + 1, ids, dormant_since, failures_min, after)
        found = await self._search.people(question, caller=caller)
        rows = found.found[:limit]
        more = len(found.found) > limit
        last = rows[-1].row if rows and more else None
        place = None if last is None else _write_cursor(sort, value_of(last, sort), last.account, last.origin)
        return KnownPage(await self._accounts(rows, base, caller), place, found.since)

    async def show(self, id: str, base: Filter, caller: str = "") -> KnownPerson:
        """One person, by the id of an account (`id_of`), or by a user id, a name or an address that one person has.

        Raises:
            RequestError: 404, nobody is known by it; 409, several are. Otherwise as `page`.
            StoreUnavailable: log or search cannot be read now.
        """
        person = await self._person(id, base, caller)
        question = ByAccount(base, "-last", _ROWS, tuple(sorted({one.id for one in person.accounts})))
        found = await self._search.people(question, caller=caller)
        known = await self._accounts(found.found, base, caller)
        accounts = [one for one in known if one.account in person.accounts]
        if not accounts:
            raise RequestError(
                404, "Not found", "Nobody is known by this id or name; GET /people lists who is, and since when."
            )
        logins = await self._logins(person, base, caller)
        return KnownPerson(
            accounts,
            person,
            found.since,
            _used(logins, lambda story: story.device, with_place=False),
            _used(logins, lambda story: story.told_by.event.address, with_place=True),
            len(logins),
        )

    async def active(
        self, base: Filter, stretches: Sequence[tuple[int, int]], seconds: float, caller: str = ""
    ) -> list[Active | None]:
        """How many accounts were active in each stretch of time; ``None``: there was no time for it. Raises: as
        `page`."""
        return await self._search.active(ActiveIn(base, stretches, seconds), caller=caller)

    async def _ids(self, q: str, base: Filter, caller: str) -> tuple[str, ...]:
        known = await self._search.known_names([q], [folded(q)], base, caller=caller)
        hour = self._now() // HOUR
        begun = await self._search.complete(ByPrefix(base, "user", folded(q), hour, _SECONDS), caller=caller)
        names = sorted(begun.values)
        if names:
            known = [*known, *await self._search.known_names([], names, base, caller=caller)]
        return tuple(sorted({q, *names, *(row.id for row in known)}))

    async def _person(self, id: str, base: Filter, caller: str) -> Person:
        person = await self._timelines.person(id, base, caller)
        if not person.accounts:
            # An id whose name nobody said.
            found = await self._search.people(ByAccount(base, "-last", _ROWS, (id,)), caller=caller)
            for known in found.found:
                person.accounts.setdefault(Account(known.source, id), f"userId {harmless(id)} in source {known.source}")
            person.direct = list(person.accounts)
        direct = person.direct
        if not is_one(person, emails=self._timelines.link_emails):
            told = ", ".join(harmless(id_of(one)) for one in direct[:TOLD])
            raise RequestError(
                409,
                "Several people",
                f"Several accounts have this id or name; ask for one of them: {told}.",
                allowed=[id_of(one) for one in direct],
            )
        return person

    async def _accounts(self, found: Sequence[Known], base: Filter, caller: str) -> list[KnownAccount]:
        events = await self._events(
            {one.row.at for one in found} | {one.row.success_at for one in found if one.row.success_at is not None}
        )
        told: list[KnownAccount] = []
        for one in found:
            last = events.get(one.row.at)
            if last is None or last.event.actor is None:
                continue  # it is removed at this moment
            login = None if one.row.success_at is None else events.get(one.row.success_at)
            username = last.event.own_name if is_own_name(last.event) else None
            username = username or (None if login is None else login.event.own_name)
            told.append(KnownAccount(Account(one.source, last.event.actor), one, username, login))
        unnamed = sorted({one.account.id for one in told if one.username is None})
        if unnamed:
            rows = await self._search.known_names(unnamed, [], base, caller=caller)
            names: dict[Account, str] = {}
            for row in sorted(rows, key=lambda row: (row.is_email, -row.last)):
                names.setdefault(Account(row.source, row.id), row.name)
            told = [one if one.username is not None else replace(one, username=names.get(one.account)) for one in told]
        return told

    async def _logins(self, person: Person, base: Filter, caller: str) -> list[Login]:
        """The last logins, newest first."""
        ids = tuple(sorted({one.id for one in person.accounts}))
        terms = (
            Term("actor", False, ids, exact=True),
            Term("type", False, ("access.LOGIN",)),
            Term("outcome", False, ("success",)),
        )
        page = await self._search.find(replace(base, terms=(*base.terms, *terms)), limit=LOGINS, caller=caller)
        events = await self._events(set(page.positions))
        found = [events[position] for position in page.positions if position in events]
        return [
            one
            for one in found
            if one.event.actor is not None and Account(one.event.source, one.event.actor) in person.accounts
        ]

    async def _events(self, positions: set[int]) -> dict[int, Login]:
        rest = sorted(positions)
        found: dict[int, Login] = {}
        while rest:
            entries = await self._log.fetch(rest, size=_READ)
            if not entries:
                break
            rest = rest[rest.index(entries[-1].position) + 1 :]
            for entry in entries:
                if entry.event is not None:
                    found[entry.position] = Login(uid_text(entry.uid), search_fields(entry.event))
        return found


def id_of(account: Account) -> str:
    """By what an account is asked for: ``SOURCE:USERID``."""
    return f"{account.source}:{account.id}"


def _used(logins: Sequence[Login], read: Callable[[Story], str | None], *, with_place: bool) -> list[Used]:
    """What was used, the last first; ``logins``: newest first."""
    found: dict[str, Used] = {}
    for login in logins:
        story = login.story
        name = read(story)
        if name is None:
            continue
        name, time = harmless(name), login.event.time
        before = found.get(name)
        if before is None:
            found[name] = Used(name, story.place if with_place else None, time, time, 1)
        else:
            found[name] = before._replace(
                first=min(time, before.first), last=max(time, before.last), logins=before.logins + 1
            )
    return sorted(found.values(), key=lambda one: -one.last)[:TOLD]


def _write_cursor(sort: Sort, value: int, account: int, origin: int) -> str:
    packed = _CURSOR.pack(bytes([97 + _SORTS.index(sort)]), value, account, origin)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _read_cursor(text: str, sort: Sort) -> tuple[int, int, int]:
    try:
        packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        mark, *place = _CURSOR.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        mark, place = b"", []
    if mark != bytes([97 + _SORTS.index(sort)]):
        raise RequestError(
            400,
            "Bad parameter",
            "cursor is not one that this order gave; leave it out to begin, or pass the 'next' of a page on",
            parameter="cursor",
        )
    value, account, origin = place
    return value, account, origin
