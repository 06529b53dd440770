"""What an admin event changed: `GET /events/{uid}/changes`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal, NamedTuple

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.feed import UID
from adapter.api.lookup import Lookup
from adapter.api.operation import Answer, Limited, Operation, caller, scope_of_caller
from adapter.api.slots import Slots
from adapter.api.stream import READING_TIMEOUT, sent_json
from adapter.changes import (
    NOTHING,
    Change,
    Comparison,
    Unread,
    compare,
    compare_details,
    read_representation,
)
from adapter.filter import Filter, Term
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.exact import parse_json, write_json
from adapter.model import Entry
from adapter.scope import Scope
from adapter.search.cursor import TimeCursor, write_cursor
from adapter.search.search import Search
from adapter.search.turns import Turns
from adapter.search_fields import RESOURCE_LENGTH, resource_text
from adapter.settings import Permission

#: Earlier events that are looked at, and characters of their representations together.
EARLIER, SIZE = 50, 4 << 20
#: Characters of a value that are shown, and of all that are.
VALUE, VALUES = 4_000, 1 << 20
#: Operations that make, change or end what a thing is.
_CHANGING = ("CREATE", "UPDATE", "DELETE")

NothingBefore = Literal["none_seen", "removed", "deleted", "without_representation"]


class EarlierEvent(BaseModel):
    """An earlier event about the same resource."""

    uid: str
    time: int = Field(description="When it happened, epoch milliseconds")
    type: str


class FieldChange(BaseModel):
    """What became of one field."""

    path: str = Field(
        description="Where it stands in the representation, as tables write paths: attributes.department, "
        "protocolMappers[id=1].name; an empty one is all of it. details.NAME is a detail of the event"
    )
    change: Change = Field(
        description="changed, added, removed; stated: the event says it, and what it was before no event says; hidden: "
        "a value was redacted; not_stated: an earlier event says it, and this one leaves it out"
    )
    old: Any = Field(None, description="Only where it is known: the value before; of a list's element the element")
    new: Any = Field(None, description="Only where there is one: the value that the event says")
    oldFrom: str | None = Field(None, description="The uid of the earlier event that says the old value")
    cut: bool | None = Field(
        None, description=f"true: a value is longer than {VALUE} characters; the beginning of its text is shown"
    )


class EventChanges(BaseModel):
    """What an event changed."""

    uid: str
    time: int = Field(description="When it happened, epoch milliseconds")
    type: str
    outcome: str = Field(description="What became of it. Of a failure these are the changes that were asked for")
    operation: str | None = Field(description="CREATE, UPDATE, DELETE, ACTION, READ; null: it is no admin event")
    resource: str | None = Field(
        description="Which thing it is about: its resourcePath; null: it says none, as of a realm"
    )
    before: list[EarlierEvent] = Field(
        description="The earlier events whose representations it is held against, the latest first: back to the one "
        "that created it, or so far as was looked"
    )
    nothingBefore: NothingBefore | None = Field(
        description="Why there is none, where one is needed: none_seen: the log has none; removed: it has none, and "
        "older entries were removed from it; deleted: the event before deleted it; without_representation: those "
        "before failed, or say none that can be compared"
    )
    changes: list[FieldChange] = Field(description="The differences; those that were not stated come last")
    counts: dict[Change, int] = Field(description="How many there are of each")
    unchanged: int = Field(description="Fields that are as they were")
    partial: bool = Field(description="Whether there are more differences than are listed")
    problem: str | None = Field(description="Why the representation could not be compared, or not field by field")


class _Earlier(NamedTuple):
    """What was found of the events before one."""

    events: list[EarlierEvent]
    #: What each says: the texts, since what is read of them takes ten times the memory.
    representations: list[str]
    #: Why there is none, if none of these can be read.
    nothing: NothingBefore | None


class ChangePages:
    """Holds admin events against what was said before them."""

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
        #: Large representations take long to read and compare: one at a time, or the event loop would have to share the
        #: interpreter with as many threads as there are callers.
        self._comparing = Turns(1)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/events/{uid}/changes", self.show,
                "What an admin event changed, held against what earlier events say of the same resource",
                {200: Answer("The differences, field by field.", model=EventChanges)}, Permission.READ, [UID],
                limited=Limited.BY_EVENT, errors=(409,),
            )
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.StreamResponse:
        who, scope = caller(request), scope_of_caller(request)
        with self._questions.taken(who):
            entry = await self._lookup.event(request.match_info["uid"], who, scope)
            event = parse_json(entry.event or b"{}")
            earlier = await self._earlier(entry, event, who, scope) if _needs_earlier(event) else _Earlier([], [], None)
            async with self._comparing.of(who):
                answer = await asyncio.to_thread(_answer, event, earlier)
            return await sent_json(request, answer, reading_timeout=self._reading_timeout)

    async def _earlier(self, entry: Entry, event: dict[str, Any], who: str, scope: Scope) -> _Earlier:
        """What events before this one say of the same thing, so far as the caller may see them."""
        events: list[EarlierEvent] = []
        said: list[str] = []
        looked_at = size = 0
        why: NothingBefore = "none_seen"
        async with aclosing(self._before(entry, event, who, scope)) as found:
            async for before in found:
                looked_at += 1
                if before.get("outcome") == "failure":
                    continue  # it changed nothing
                operation, text = before.get("operationType"), before.get("representation")
                if operation == "DELETE":
                    why = "deleted"
                    break
                size += len(text or "")
                if text is not None and size <= SIZE:
                    said.append(text)
                    events.append(EarlierEvent(uid=before["uid"], time=before["time"], type=before["type"]))
                if operation == "CREATE" or size > SIZE:
                    break
        if why == "none_seen":
            if looked_at:
                why = "without_representation"
            elif await self._log.removed(0, entry.position):
                why = "removed"
        return _Earlier(events, said, why)

    async def _before(
        self, entry: Entry, event: dict[str, Any], who: str, scope: Scope
    ) -> AsyncGenerator[dict[str, Any]]:
        """The events before one about the same thing, the latest first, of so many that are looked at."""
        path, kind = event.get("resourcePath"), "*"
        if path is None:
            # A realm has none. Of a thing without a path there is one of its type.
            about, kind = Term("resource", True, ("*",)), event.get("resourceType", "*")
        else:
            # A path that is longer than what filters compare is found by how it begins.
            asked = resource_text(path)[:RESOURCE_LENGTH] + ("*" if len(path) > RESOURCE_LENGTH else "")
            about = Term("resource", False, (asked,))
        terms = [
            about,
            Term("source", False, (event["source"]["name"],), exact=True),
            Term("type", False, tuple(f"admin.{kind}-{operation}" for operation in _CHANGING)),
        ]
        if realm := event.get("realmId") or event.get("realmName"):
            terms.append(Term("realm", False, (realm,)))
        filter = scope.bound(Filter(self._catalogue(), tuple(terms)))
        cursor: str | None = write_cursor(TimeCursor(event["time"], entry.position, self._search.head))
        left = EARLIER
        while cursor is not None and left:
            page = await self._search.find(filter, limit=left, cursor=cursor, caller=who)
            left -= len(page.positions)
            for position in page.positions:
                # One by one: each may be as large as a read may be.
                for one in await self._log.fetch([position]):
                    before = parse_json(one.event or b"{}")
                    if _is_of_same(before, event):
                        yield before
            cursor = page.next


def _needs_earlier(event: dict[str, Any]) -> bool:
    """Whether what an event changed depends on what was said before it."""
    return event.get("operationType") in ("UPDATE", "DELETE")


def _is_of_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two events of one source, whose realms are the same so far as is known, are about the same thing."""
    if one.get("resourcePath") != other.get("resourcePath"):
        return False
    if "resourcePath" not in one and one.get("resourceType") != other.get("resourceType"):
        return False
    said = [(event.get("realmId"), event.get("realmName")) for event in (one, other)]
    return (None, None) not in said or said[0] == said[1]


def _answer(event: dict[str, Any], earlier: _Earlier) -> bytes:
    is_admin = "operationType" in event
    # What is deleted, the event may say itself.
    tells_itself = event.get("operationType") == "DELETE" and "representation" in event
    events: list[EarlierEvent] = []
    said: list[Any] = []
    for one, representation in zip(earlier.events, earlier.representations, strict=True):
        with suppress(Unread):
            said.append(read_representation(representation).value)
            events.append(one)
    compared = [compare_details(event.get("details", {}))]
    problem: str | None = None
    if is_admin:
        text, new = event.get("representation"), NOTHING
        try:
            if text is not None:
                new, is_json = read_representation(text)
                problem = None if is_json else "the representation is no JSON: it is compared as one text"
            elif event["operationType"] == "UPDATE":
                problem = "the event says no representation"
            compared.append(compare(event["operationType"], new, said))
        except Unread as error:
            problem = f"the representation is not compared: {error}"
    changes, is_cut = _shown(compared, events)
    counts: Counter[Change] = Counter()
    for some in compared:
        counts.update(some.counts)
    answer = {
        "uid": event["uid"],
        "time": event["time"],
        "type": event["type"],
        "outcome": event["outcome"],
        "operation": event.get("operationType"),
        "resource": event.get("resourcePath"),
        "before": [one.model_dump() for one in events],
        "nothingBefore": None if tells_itself or events else earlier.nothing,
        "changes": changes,
        "counts": dict(counts),
        "unchanged": sum(one.unchanged for one in compared),
        "partial": is_cut or any(one.is_partial for one in compared),
        "problem": problem,
    }
    return write_json(answer)


def _shown(compared: Sequence[Comparison], events: Sequence[EarlierEvent]) -> tuple[list[dict[str, Any]], bool]:
    """The differences as they are answered, and whether some had no room."""
    shown: list[dict[str, Any]] = []
    room = VALUES
    for one in (one for some in compared for one in some.differences):
        row: dict[str, Any] = {"path": one.path, "change": one.change}
        room -= len(one.path)
        for name, value in (("old", one.old), ("new", one.new)):
            if value is not NOTHING:
                text = value if isinstance(value, str) else write_json(value).decode()
                is_long = len(text) > VALUE
                row[name] = text[:VALUE] if is_long else value
                room -= min(len(text), VALUE)
                if is_long:
                    row["cut"] = True
        if one.said_by is not None:
            row["oldFrom"] = events[one.said_by].uid
        if room < 0:
            return shown, True
        shown.append(row)
    return shown, False
