"""The timeline of one person, session or address: its events, newest first, a stretch at a time, told as stories.

A page ends where nothing happened for so long that no story goes on over it, so its stories are whole, wherever the
pages begin; only where so much happens without a break that it would not fit into memory it ends in the middle. What is
read for one page is bounded in events, bytes and questions, however many events somebody has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from msgspec.structs import replace as changed

from adapter.filter import Filter, Term
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.model import uid_text
from adapter.people.accounts import LIMIT, Account, Person, begin, describe, join, of_account
from adapter.people.stories import AFTER, SILENCE, STEPS, Happening, Story, tell
from adapter.search.cursor import TimeCursor, newest, read_time_cursor, write_cursor
from adapter.search.people import ByAccount
from adapter.search.search import Search
from adapter.search_fields import SearchFields, folded, search_fields

By = Literal["user", "session", "ip"]

#: Events of one page, at most, and bytes of these; and how often the search is asked for them.
EVENTS, SIZE, ROUNDS = 2_000, 16 * 1024 * 1024, 12
#: Events that one question asks for, and bytes that are read at once.
_ASKED, _READ = 500, 512 * 1024
#: Sessions of a page that are looked for elsewhere, and events of these.
_SESSIONS, _OF_SESSIONS = 200, 1_000
#: Accounts of one id, which has one in each realm and source, and events in which others do something to one, that are
#: looked at.
_ROWS, _OF_ID = 500, 20
#: Longer values of details are not needed for a story, and a thing's name not looked for in a longer representation;
#: characters.
_LENGTH, _REPRESENTATION = 1_000, 4_000


class _Found(NamedTuple):
    time: int
    position: int
    uid: str
    event: SearchFields
    linked_by: str


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Stories, the newest first."""

    stories: Sequence[Story]
    #: Cursor of the page after this one, which goes on with what was before; ``None`` at the end.
    next: str | None
    #: Of a user.
    person: Person | None


class Timelines:
    """Reads timelines through the search."""

    def __init__(self, log: Log, search: Search, catalogue: Callable[[], Catalogue], *, link_emails: bool) -> None:
        """``catalogue`` gives the present one. ``link_emails``: whether an account's address links across sources."""
        self._log = log
        self._search = search
        self._catalogue = catalogue
        self.link_emails = link_emails

    async def read(
        self, by: By, value: str, base: Filter, *, limit: int, cursor: str | None = None, caller: str = ""
    ) -> TimelinePage:
        """One page. ``base``: between which times, and what its reader may see; ``limit``: events of a page, about.

        Raises:
            RequestError: 400, the cursor is bad; 503, the search cannot tell now.
            StoreUnavailable: log or search cannot be read now.
        """
        place = newest(self._search.head) if cursor is None else read_time_cursor(cursor)
        known = replace(base, time_from=None, time_to=None)
        person = await self.person(value, known, caller) if by == "user" else None
        began = place.time
        found, end, is_whole = await self._stretch(by, value, person, base, place, limit, caller)
        found.reverse()
        if person is not None and found:
            found = await self._with_sessions(found, base, end, began, is_whole, caller)
        sessions = await self._logged_in_before(found, known, caller)
        happenings = [Happening(one.uid, self._named(one.event, person), one.linked_by) for one in found]
        stories = tell(happenings, base.catalogue, sessions)
        stories.reverse()
        return TimelinePage(stories, None if end is None else write_cursor(end), person)

    async def person(self, asked: str, known: Filter, caller: str = "") -> Person:
        """Whose accounts are meant by an id, a name or an address, or by ``SOURCE:USERID``, as far as a filter's reader
        may know.

        Raises: as `read`.
        """
        await self._search.wait(self._search.head)
        if (account := await self._account(asked, known, caller)) is not None:
            return await self.joined(of_account(account), known, caller)
        person = begin(asked, await self._search.known_names([asked], [folded(asked)], known, caller=caller))
        return await self.joined(person, known, caller)

    async def _account(self, asked: str, known: Filter, caller: str) -> Account | None:
        """The account that is meant, if events of the source say that it has this id. Whoever calls himself like one
        does not take its place."""
        source, _, id = asked.partition(":")
        if not source or not id:
            return None
        accounts = await self._search.people(ByAccount(known, "-last", _ROWS, (id,)), caller=caller)
        if any(one.source == source for one in accounts.found):
            return Account(source, id)
        # Or one that others have done something to.
        terms = Term("source", False, (source,), exact=True), Term("target", False, (id,), exact=True)
        page = await self._search.find(replace(known, terms=(*known.terms, *terms)), limit=_OF_ID, caller=caller)
        events = [event for _, _, event, _ in await self._fetch(page.positions)]
        return Account(source, id) if any(id in (one.actor, one.target) for one in events) else None

    async def joined(self, person: Person, known: Filter, caller: str = "") -> Person:
        """The same person with the names of the accounts, and with those accounts that share an address with these.

        Raises: as `read`.
        """
        ids = sorted({account.id for account in person.accounts})[:LIMIT]
        if not ids:
            return person
        describe(person, await self._search.known_names(ids, [], known, caller=caller), emails=self.link_emails)
        if person.emails:
            rows = await self._search.known_names([], sorted(person.emails), known, caller=caller)
            came = sorted({account.id for account in join(person, rows)})
            if came:
                # Their names, but not their other addresses: one step, or whoever shares one would join all.
                rows = await self._search.known_names(came, [], known, caller=caller)
                describe(person, rows, emails=False)
        return person

    async def _stretch(
        self, by: By, value: str, person: Person | None, base: Filter, place: TimeCursor, limit: int, caller: str
    ) -> tuple[list[_Found], TimeCursor | None, bool]:
        """Events before a place, newest first; where the next page begins, if there is one; and whether no story goes
        on over that."""
        filters = _filters(by, value, person, base)

        def link(event: SearchFields) -> str | None:
            if person is not None:
                return person.link(event)
            return f"session {value} in source {event.source}" if by == "session" else f"address {value}"

        found: list[_Found] = []
        room = SIZE
        for _ in range(ROUNDS):
            some, bound, taken = await self._older(filters, place, link, caller)
            room -= taken
            last = len(found)
            found += some
            for number in range(max(limit, last, 1), len(found)):
                if found[number - 1].time - found[number].time > SILENCE:
                    return found[:number], _after(found[number - 1], place), True
            if bound is None:
                return found, None, True
            if found and len(found) >= limit and found[-1].time - bound.time > SILENCE:
                return found, bound, True
            place = bound
            if len(found) >= EVENTS or room <= 0:
                break
        found = found[:EVENTS]
        return found, _after(found[-1], place) if len(found) == EVENTS else place, False

    async def _older(
        self,
        filters: Sequence[Filter],
        place: TimeCursor,
        link: Callable[[SearchFields], str | None],
        caller: str,
    ) -> tuple[list[_Found], TimeCursor | None, int]:
        """The next events that one of the filters matches, down to a place, ``None``: all; and bytes that were read."""
        positions: set[int] = set()
        bound: TimeCursor | None = None
        for filter in filters:
            page = await self._search.find(filter, limit=_ASKED, cursor=write_cursor(place), caller=caller)
            positions.update(page.positions)
            if page.next is not None:
                reached = read_time_cursor(page.next)
                # Of one filter nothing is known beneath where it stopped.
                if bound is None or reached[:2] > bound[:2]:
                    bound = reached
        found: list[_Found] = []
        taken = 0
        for entry_position, uid, event, size in await self._fetch(sorted(positions, reverse=True)):
            taken += size
            why = link(event)
            if why is not None and (bound is None or (event.time, entry_position) >= bound[:2]):
                found.append(_Found(event.time, entry_position, uid, event, why))
        found.sort(key=lambda one: (one.time, one.position), reverse=True)
        return found, bound, taken

    async def _fetch(self, positions: Sequence[int]) -> list[tuple[int, str, SearchFields, int]]:
        """Position, uid, fields and size of some events, without what is long in them."""
        found: list[tuple[int, str, SearchFields, int]] = []
        done = 0
        while done < len(positions):
            entries = await self._log.fetch(positions[done:], size=_READ)
            if not entries:
                break
            done = positions.index(entries[-1].position, done) + 1
            for entry in entries:
                if entry.event is not None:
                    found.append((entry.position, uid_text(entry.uid), _short(entry.event), len(entry.event)))
        return found

    async def _with_sessions(
        self, found: list[_Found], base: Filter, end: TimeCursor | None, began: int, is_whole: bool, caller: str
    ) -> list[_Found]:
        """Also the events that name nobody, of the sessions of these: some providers say of the steps of a login only
        in which session they were."""
        whose: dict[tuple[str, str], _Found] = {}
        for one in found:
            if one.event.session is not None and one.event.actor is not None:
                whose.setdefault((one.event.source, one.event.session), one)
        if not whose:
            return found
        low = found[0].time - STEPS if is_whole else found[0].time
        high = min(found[-1].time + AFTER + 1, began)
        terms = _sessions(list(whose)[-_SESSIONS:])
        within = replace(
            base,
            terms=(*base.terms, *terms),
            time_from=max(low, base.time_from or low),
            time_to=min(high, base.time_to or high),
        )
        page = await self._search.find(within, limit=_OF_SESSIONS, caller=caller)
        there = {one.uid for one in found}
        more: list[_Found] = []
        for position, uid, event, _ in await self._fetch(page.positions):
            login = whose.get((event.source, event.session or ""))
            alone = event.actor is None and not event.actor_names and event.target is None
            if login is not None and alone and uid not in there:
                more.append(_Found(event.time, position, uid, event, f"session of {login.linked_by}"))
        return sorted([*found, *more], key=lambda one: (one.time, one.position))

    async def _logged_in_before(
        self, found: Sequence[_Found], known: Filter, caller: str
    ) -> frozenset[tuple[str, str]]:
        """Source and session of those of some events in whose sessions somebody had logged in before them."""
        sessions = list(
            dict.fromkeys(
                (one.event.source, one.event.session)
                for one in found
                if one.event.session is not None and one.event.type == "access.LOGIN"
            )
        )[:_SESSIONS]
        if not sessions:
            return frozenset()
        login = Term("type", False, ("access.LOGIN",))
        before = replace(known, terms=(*known.terms, *_sessions(sessions), login), time_to=found[0].time)
        page = await self._search.find(before, limit=_OF_SESSIONS, caller=caller)
        there = await self._fetch(page.positions)
        return frozenset((event.source, event.session) for _, _, event, _ in there if event.session is not None)

    def _named(self, event: SearchFields, person: Person | None) -> SearchFields:
        """With the name of an account that an event does not carry."""
        if person is None or event.actor is None or event.actor_names:
            return event
        name = person.shown.get(Account(event.source, event.actor))
        return event if name is None else changed(event, actor_names=(name,))


def _filters(by: By, value: str, person: Person | None, base: Filter) -> list[Filter]:
    """What is to be asked: together they match all that may be on the timeline."""

    def also(*terms: Term) -> Filter:
        return replace(base, terms=(*base.terms, *terms))

    if person is None:
        return [also(Term(by, False, (value,)))]
    ids = Term("user", False, tuple(person.ids), exact=True)
    if not person.all_names:
        return [also(ids)]
    # Apart, so that those who only try a name do not fill the pages.
    names = Term("user", False, tuple(person.all_names), exact=True)
    return [also(ids), also(names, Term("outcome", True, ("failure",)))]


def _sessions(of: Sequence[tuple[str, str]]) -> tuple[Term, Term]:
    sources, sessions = {one[0] for one in of}, {one[1] for one in of}
    return Term("session", False, tuple(sorted(sessions))), Term("source", False, tuple(sorted(sources)))


def _after(one: _Found, place: TimeCursor) -> TimeCursor:
    return TimeCursor(one.time, one.position, place.snapshot)


def _short(event: bytes) -> SearchFields:
    """The fields of an event, without what is long and no part of a story."""
    fields = search_fields(event)
    read = fields.event
    details = read.details
    if details is not None and any(len(value) > _LENGTH for value in details.values()):
        details = {name: value[:_LENGTH] for name, value in details.items()}
    representation = read.representation
    if representation is not None and len(representation) > _REPRESENTATION:
        representation = None
    if representation is read.representation and details is read.details:
        return fields
    return changed(fields, event=changed(read, representation=representation, details=details))
