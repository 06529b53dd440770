"""What sinks have tried, over HTTP: requests one by one, with how long each part took and what came back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.feed import UID, read_limit, read_moment, refused
from adapter.api.lookup import Lookup
from adapter.api.operation import Answer, Operation, Parameter, caller, json_answer, scope_of_caller, told_to_caller
from adapter.delivery.attempts import Outcome
from adapter.delivery.fault import Fault, fault_of
from adapter.delivery.loop import reader_name, replay_reader
from adapter.errors import RequestError, unknown_sink
from adapter.log.protocol import Attempt, Store
from adapter.model import uid_text
from adapter.settings import Permission
from adapter.timestamps import SCHEMA

SINK = Parameter("name", "Name of the sink", {"type": "string", "examples": ["soc"]})


class Durations(BaseModel):
    """How long the parts of a request took, milliseconds; null: it did not come to that, as on an open connection."""

    resolve: int | None = Field(description="To look up the name")
    connect: int | None = Field(description="To connect, TLS included")
    firstByte: int | None = Field(description="From the beginning to the head of the answer")
    total: int | None = Field(description="Altogether")


class AttemptShown(BaseModel):
    """One request of a sink."""

    at: int = Field(description="When it began, epoch milliseconds")
    uid: str | None = Field(description="Of the first event in it; null: that was removed from the log")
    position: int = Field(description="Position of the first event in it")
    last: int = Field(description="Position of the last one")
    events: int = Field(description="How many events it was for")
    number: int = Field(description="Which try of the event it was, from 1; 0: it spent none, as the receiver was down")
    outcome: Outcome
    status: int | None = Field(description="Status of the answer; null: none came, or the kind of sink has none")
    durations: Durations
    excerpt: str = Field(description="The beginning of the answer's body, as it came")
    reason: str
    fault: Fault | None = Field(description="Who has to mend it: receiver, network, ours; null: nobody, or not known")


class AttemptPage(BaseModel):
    """Attempts, the latest first."""

    attempts: list[AttemptShown]
    next: str | None = Field(description="The cursor of the next page; null at the end")


def shown(one: Attempt, uid: str | None, told: Callable[[str], str]) -> AttemptShown:
    """An attempt, as it is answered. ``told``: what the caller may be told of a text about a receiver."""
    return AttemptShown(
        at=one.began_at,
        uid=uid,
        position=one.position,
        last=one.last,
        events=one.entries,
        number=one.tries,
        outcome=Outcome(one.outcome),
        status=one.status,
        durations=Durations(
            resolve=one.resolve, connect=one.connect, firstByte=one.first_byte, total=one.total
        ),
        excerpt=one.excerpt,
        reason=told(one.reason),
        fault=None if one.outcome in (Outcome.DELIVERED, Outcome.SKIPPED) else fault_of(one.reason),
    )  # fmt: skip


async def uids_of(log: Store, positions: Iterable[int]) -> dict[int, str]:
    """The uids of the entries that are there, by position."""
    found: dict[int, str] = {}
    left = sorted(set(positions))
    while left and (entries := await log.fetch(left)):
        found |= {entry.position: uid_text(entry.uid) for entry in entries}
        left = left[left.index(entries[-1].position) + 1 :]
    return found


def known_sink(request: web.Request, names: Sequence[str]) -> str:
    """The sink that the path names.

    Raises:
        RequestError: 404, there is none of this name.
    """
    name = request.match_info["name"]
    if name not in names:
        raise unknown_sink(name, names)
    return name


class AttemptPages:
    """Shows what sinks have tried."""

    def __init__(self, log: Store, names: Callable[[], Sequence[str]], lookup: Lookup, now: Callable[[], int]) -> None:
        """``names``: of the sinks there are; ``now`` gives epoch milliseconds."""
        self._log = log
        self._names = names
        self._lookup = lookup
        self._now = now

    def operations(self) -> list[Operation]:
        limit = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
        return [
            Operation(
                "GET", "/sinks/{name}/attempts", self.show, "What a sink has tried, the latest first",
                {200: Answer("A page.", model=AttemptPage)}, Permission.SINKS,
                [
                    SINK,
                    Parameter("outcome", "What it came to",
                              {"type": "string", "enum": [str(one) for one in Outcome]}, repeatable=True),
                    Parameter("status", "Status of the answer", {"type": "integer"}, repeatable=True),
                    Parameter("position", "Those with the event at this position in them", {"type": "integer"}),
                    Parameter("uid", f"Those of this event: {UID.description.lower()}"),
                    Parameter("replay", "Those of a replay, by its number, in the place of the sink's own",
                              {"type": "integer"}),
                    Parameter("from", "Began at or after this timestamp", SCHEMA),
                    Parameter("to", "Began before this timestamp", SCHEMA),
                    Parameter("limit", "Attempts in a page", limit),
                    Parameter("cursor", "The place after the page before: its next"),
                ], errors=(409,),
            )
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        name = known_sink(request, self._names())
        limit = read_limit(request.query.get("limit"))
        outcomes = request.query.getall("outcome", None)
        for one in outcomes or ():
            if one not in tuple(Outcome):
                raise refused("outcome", one, f"one of {', '.join(Outcome)}")
        statuses = [_number("status", one) for one in request.query.getall("status", ())] or None
        reader, replay = reader_name(name), request.query.get("replay")
        found = await self._log.attempts(
            reader if replay is None else replay_reader(name, _number("replay", replay)),
            position=await self._position(request),
            outcomes=outcomes,
            statuses=statuses,
            began_from=read_moment(request, "from", self._now()),
            began_to=read_moment(request, "to", self._now()),
            before=_place(request.query.get("cursor")),
            limit=limit + 1,
        )
        page, more = found[:limit], found[limit:]
        uids = await uids_of(self._log, [one.position for one in page])
        following = f"{page[-1].began_at}-{page[-1].position}" if more else None
        may_tell = told_to_caller(request)
        attempts = [shown(one, uids.get(one.position), may_tell) for one in page]
        answer = AttemptPage(attempts=attempts, next=following)
        return json_answer(answer.model_dump_json().encode())

    async def _position(self, request: web.Request) -> int | None:
        given, uid = request.query.get("position"), request.query.get("uid")
        if uid is None:
            return None if given is None else _number("position", given)
        entry = await self._lookup.find(uid, caller(request), scope_of_caller(request))
        if entry is None:
            raise RequestError(404, "Not found", "There is no event with this uid; ask for it by its position.")
        return entry.position


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise refused(name, text, "a whole number")
    return int(text)


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    began_at, _, position = cursor.partition("-")
    if not all(one.isascii() and one.isdecimal() and len(one) <= 18 for one in (began_at, position)):
        raise refused("cursor", cursor, "the next of the page before")
    return int(began_at), int(position)
