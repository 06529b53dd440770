"""What happened around an event: `GET /events/{uid}/around`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from ipaddress import IPv6Address

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.feed import DEFAULT_LIMIT, LIMIT, NAMES_WANTED, UID, read_limit, read_switch, refused, stretches
from adapter.api.lookup import Lookup
from adapter.api.operation import Answer, Limited, Operation, Parameter, caller, scope_of_caller
from adapter.api.slots import Slots
from adapter.api.stream import READING_TIMEOUT, sent_json
from adapter.errors import RequestError
from adapter.event import Event
from adapter.filter import Filter, Term
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry, uid_text
from adapter.search.cursor import TimeCursor, read_time_cursor, write_cursor
from adapter.search.looked_up import with_names
from adapter.search.search import Search
from adapter.search_fields import SearchFields, search_fields
from adapter.settings import Permission

#: Minutes before and after, and at most.
MINUTES, MOST = 5, 24 * 60
#: What events may have in common with the one that is asked about.
SAME = ("user", "session", "ip")
#: In front of a cursor: which way it goes on.
_BEFORE, _AFTER = "b", "a"


class Around(BaseModel):
    """What happened around an event, in the order of time."""

    uid: str = Field(description="The event that was asked about")
    at: int | None = Field(description="Which of the events it is, from 0; null on the pages before and after")
    start: int = Field(alias="from", description="Events are of this time or later, epoch milliseconds")
    to: int = Field(description="And before this one")
    events: list[Event]
    before: str | None = Field(description="The cursor of the page before; null: there is none")
    after: str | None = Field(description="The cursor of the page after; null: there is none")


class AroundPages:
    """Shows what happened around an event."""

    def __init__(
        self,
        log: Log,
        search: Search,
        catalogue: Callable[[], Catalogue],
        lookup: Lookup,
        questions: Slots,
        *,
        reading_timeout: float = READING_TIMEOUT,
    ) -> None:
        """``catalogue`` gives the present one. ``questions`` bounds those that are under way."""
        self._log = log
        self._search = search
        self._catalogue = catalogue
        self._lookup = lookup
        self._questions = questions
        self._reading_timeout = reading_timeout

    def operations(self) -> list[Operation]:
        minutes = {"type": "integer", "minimum": 1, "maximum": MOST, "default": MINUTES}
        limit = {"type": "integer", "minimum": 1, "maximum": LIMIT, "default": DEFAULT_LIMIT}
        return [
            Operation(
                "GET", "/events/{uid}/around", self.show, "What happened before and after an event, in order of time",
                {200: Answer("The events, with the one that was asked about among them.", model=Around)},
                Permission.READ,
                [
                    UID, Parameter("minutes", "So long before and after it", minutes),
                    Parameter(
                        "same",
                        "Only events of the same user (who acted, or else was acted upon), session or address",
                        {"type": "string", "enum": list(SAME)},
                    ),
                    Parameter("limit", "Events in a page", limit),
                    Parameter("cursor", "The place before or after another page: its before or after"),
                    NAMES_WANTED,
                ],
                limited=Limited.BY_EVENT, errors=(409,),
            )
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.StreamResponse:
        minutes, limit = _read_minutes(request), read_limit(request.query.get("limit"))
        same, names, cursor = request.query.get("same"), read_switch(request, "names"), request.query.get("cursor")
        if same is not None and same not in SAME:
            raise refused("same", same, "one of " + ", ".join(SAME))
        if cursor is not None and cursor[:1] not in (_BEFORE, _AFTER):
            raise refused("cursor", cursor[:100], "the before or after of another page of the same question")
        who, scope = caller(request), scope_of_caller(request)
        with self._questions.taken(who):
            entry = await self._lookup.event(request.match_info["uid"], who, scope)
            fields = search_fields(entry.event or b"")
            terms = () if same is None else (_term_of(same, fields),)
            width = minutes * 60_000
            start, to = max(fields.time - width, 0), fields.time + width + 1
            filter = scope.bound(replace(Filter(self._catalogue(), terms), time_from=start, time_to=to))
            place = TimeCursor(fields.time, entry.position, max(self._search.head, entry.position))
            before = after = None
            earlier: list[Entry] = []
            later: list[Entry] = []
            if cursor is None:
                half = limit // 2
                earlier, before = await self._some(filter, place, half, who, names, ascending=False)
                later, after = await self._some(filter, place, limit - 1 - half, who, names, ascending=True)
                [middle] = await with_names(self._search, [entry], filter, caller=who) if names else [entry]
                entries = [*earlier[::-1], middle, *later]
            elif cursor.startswith(_BEFORE):
                earlier, before = await self._some(
                    filter, read_time_cursor(cursor[1:]), limit, who, names, ascending=False
                )
                entries = earlier[::-1]
            else:
                entries, after = await self._some(
                    filter, read_time_cursor(cursor[1:]), limit, who, names, ascending=True
                )
            answer = {
                "uid": uid_text(entry.uid),
                "at": len(earlier) if cursor is None else None,
                "from": start,
                "to": to,
                "events": [orjson.Fragment(one.event) for one in entries if one.event is not None],
                "before": before,
                "after": after,
            }
            return await sent_json(request, orjson.dumps(answer), reading_timeout=self._reading_timeout)

    async def _some(
        self, filter: Filter, place: TimeCursor, limit: int, who: str, names: bool, *, ascending: bool
    ) -> tuple[list[Entry], str | None]:
        """The events next to a place, as many as may be in memory at once, and the cursor of what comes then."""
        mark = _AFTER if ascending else _BEFORE
        cursor = write_cursor(place)
        if not limit:
            return [], mark + cursor
        page = await self._search.find(filter, limit=limit, cursor=cursor, caller=who, ascending=ascending)
        entries, done = await _first(self._log, page.positions)
        following = page.after(done)
        if names:
            entries = await with_names(self._search, entries, filter, caller=who)
        return entries, None if following is None else mark + following


async def _first(log: Log, positions: Sequence[int]) -> tuple[list[Entry], int]:
    """Entries at some positions, so many as may be in memory at once, and how many positions these are."""
    async with aclosing(stretches(log, positions)) as read:
        return await anext(read)


def _read_minutes(request: web.Request) -> int:
    """
    Raises:
        RequestError: 400, it is wrong.
    """
    text = request.query.get("minutes", str(MINUTES))
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= MOST):
        raise refused("minutes", text, f"a whole number from 1 to {MOST}")
    return int(text)


def _term_of(same: str, fields: SearchFields) -> Term:
    """What others must have that have the same.

    Raises:
        RequestError: 400, the event says none.
    """
    value: str | None
    if same == "user":
        known = (fields.actor, *fields.actor_names[:1], fields.target, *fields.target_names[:1])
        value = next((one for one in known if one is not None), None)
    elif same == "session":
        value = fields.session
    else:
        value = None if fields.ip is None else _address(fields.ip)
    if value is None:
        raise RequestError(
            400,
            "Bad parameter",
            f"same={same}: the event says no {'address' if same == 'ip' else same}",
            parameter="same",
        )
    return Term(same, False, (value,))


def _address(ip: bytes) -> str:
    address = IPv6Address(ip)
    return str(address.ipv4_mapped or address)
