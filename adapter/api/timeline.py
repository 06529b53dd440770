"""The timeline of one person, session or address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.feed import read_limit, refused
from adapter.api.operation import Answer, Limited, Operation, Parameter, caller, scope_of_caller
from adapter.api.people import answered, only_where
from adapter.api.slots import Slots
from adapter.errors import RequestError
from adapter.filter import LENGTH_LIMIT, Filter
from adapter.formats.text import harmless, shortened
from adapter.mapping.catalogue import Catalogue
from adapter.people.accounts import Person
from adapter.people.stories import Kind, Session, Story
from adapter.people.timeline import By, TimelinePage, Timelines
from adapter.settings import Permission
from adapter.timestamps import SCHEMA

#: Events of a page, about, if nobody says how many; and at most.
_LIMIT, _MOST = 100, 500
_BY: dict[By, str] = {
    "user": "Id, name or e-mail address of a user; or SOURCE:USERID, where several sources have such an id",
    "session": "The provider's session id",
    "ip": "Address, or network (CIDR)",
}


class TriesTold(BaseModel):
    """The failed tries before what a story tells."""

    count: int
    first: int = Field(description="Epoch milliseconds")
    last: int
    addresses: list[str] = Field(description="Where they came from, each once; ten at most")


class CodeTold(BaseModel):
    """A one-time code that was shown."""

    shown: str = Field(description="uid of the event")
    made: str | None = Field(description="uid of the event by which the code was made or sent; null: not among these")
    by: str = Field(description="How they belong together")
    outcome: str


class StoryTold(BaseModel):
    """What one event, or several, tell."""

    kind: Kind = Field(description="event: one that is part of no story")
    time: int = Field(description="When it happened, epoch milliseconds: of the event that it is told by")
    begin: int
    end: int
    sentence: str
    uid: str = Field(description="The event that it is told by")
    uids: list[str] = Field(description="All of its events, in the order of time")
    type: str
    outcome: str
    reason: str | None
    source: str
    provider: str
    userId: str | None
    username: str | None
    client: str | None
    ip: str | None
    sessionId: str | None
    linkedBy: list[str] = Field(description="Why its events are here")
    session: Session | None = Field(description="Of a login, where the provider names sessions")
    method: str | None = Field(description="Of a login, as details.login_method")
    factor: str | None = Field(description="Of a login, the further proof, as details.factor")
    device: str | None
    place: str | None = Field(description="Where the address lies, as the provider says")
    tries: TriesTold | None = Field(description="Failed tries before it, if there were any")
    codes: list[CodeTold]


class TimelineAccount(BaseModel):
    """An account whose events are here."""

    source: str
    userId: str
    username: str | None
    linkedBy: str


class TimelineTold(BaseModel):
    """A page of stories, the newest first."""

    items: list[StoryTold]
    next: str | None = Field(
        description="The cursor of the next page, with what was before; null at the end. A page may be short, or "
        "empty, before it"
    )
    accounts: list[TimelineAccount] = Field(description="With user: the accounts that are taken for one person's")


class TimelinePages:
    """Answers with timelines."""

    def __init__(
        self,
        timelines: Timelines,
        catalogue: Callable[[], Catalogue],
        questions: Slots,
        *,
        enabled: bool,
        reading_timeout: float,
    ) -> None:
        """``catalogue`` gives the present one. ``questions`` bounds those that are under way."""
        self._timelines = timelines
        self._catalogue = catalogue
        self._questions = questions
        self._enabled = enabled
        self._reading_timeout = reading_timeout

    def operations(self) -> list[Operation]:
        limit = {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _LIMIT}
        return [
            Operation(
                "GET", "/timeline", only_where(self._enabled, self.read), "What one person, session or address did",
                {200: Answer("A page of stories.", model=TimelineTold)}, Permission.PEOPLE,
                [
                    *(Parameter(name, f"{meaning}; one of user, session and ip") for name, meaning in _BY.items()),
                    Parameter("source", "Name of the source: only events and accounts of it", repeatable=True),
                    Parameter("from", "Happened at or after this timestamp", SCHEMA),
                    Parameter("to", "Happened before this timestamp", SCHEMA),
                    Parameter("limit", "Events of a page, about: it ends where no story goes on", limit),
                    Parameter("cursor", "The place after the page before: its next"),
                ],
                limited=Limited.BY_EVENT, errors=(404,),
            )
        ]  # fmt: skip

    async def read(self, request: web.Request) -> web.StreamResponse:
        given = [name for name in _BY if name in request.query]
        if len(given) != 1:
            raise RequestError(
                400, "Bad parameter", f"one of {', '.join(_BY)} is needed; {len(given)} are given", parameter="user"
            )
        [by] = given
        value = request.query[by]
        if not value.strip() or len(value) > LENGTH_LIMIT or "\0" in value:
            raise refused(by, value[:100], f"a text of {LENGTH_LIMIT} characters at most")
        limit = read_limit(request.query.get("limit"), _LIMIT)
        if limit > _MOST:
            raise refused("limit", str(limit), f"a number from 1 to {_MOST}")
        names = [name for name in ("source", "from", "to") if name in request.query]
        parameters = {name: request.query.getall(name) for name in names}
        if by == "ip":
            Filter.parse({"ip": [value]}, self._catalogue())  # refuses what is no address
        # What other sources know of a name or an address leads to nobody here.
        base = scope_of_caller(request).bound(Filter.parse(parameters, self._catalogue()).scoped())
        who = caller(request)
        with self._questions.taken(who):
            page = await self._timelines.read(
                by, value, base, limit=limit, cursor=request.query.get("cursor"), caller=who
            )
            return await answered(request, told(page), self._reading_timeout)


def told(page: TimelinePage) -> dict[str, Any]:
    """A page as it is answered."""
    return {
        "items": [_story(one) for one in page.stories],
        "next": page.next,
        "accounts": [] if page.person is None else _accounts(page.person),
    }


def _accounts(person: Person) -> list[dict[str, Any]]:
    return [
        {"source": account.source, "userId": account.id, "username": person.shown.get(account), "linkedBy": why}
        for account, why in person.accounts.items()
    ]


def _story(story: Story) -> dict[str, Any]:
    event = story.told_by.event
    is_login = story.kind == "login"
    tries = story.tries
    name = event.own_name or (event.actor_names[0] if event.actor_names else None)
    return {
        "kind": story.kind,
        "time": story.time,
        "begin": story.begin,
        "end": story.end,
        "sentence": story.sentence,
        "uid": story.told_by.uid,
        "uids": [one.uid for one in story.parts],
        "type": event.type,
        "outcome": event.outcome,
        "reason": event.reason,
        "source": event.source,
        "provider": event.provider,
        "userId": event.actor,
        "username": None if name is None else harmless(shortened(name)),
        "client": event.client,
        "ip": None if event.address is None else harmless(event.address),
        "sessionId": event.session,
        "linkedBy": story.linked_by,
        "session": story.session,
        "method": story.method if is_login else None,
        "factor": story.factor if is_login or story.kind == "code" else None,
        "device": story.device,
        "place": story.place,
        "tries": None
        if not tries
        else {
            "count": len(tries),
            "first": tries[0].event.time,
            "last": tries[-1].event.time,
            "addresses": story.addresses_of_tries,
        },
        "codes": [one._asdict() for one in story.ties],
    }
