"""Sending again, over HTTP: what a sink holds and has given up on, one event at once, and all that a question means."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.attempts import SINK, known_sink
from adapter.api.bodies import read_asked, read_object
from adapter.api.feed import read_limit, refused
from adapter.api.lookup import Lookup, first_entry
from adapter.api.operation import (
    Answer,
    Body,
    Operation,
    Parameter,
    caller,
    json_answer,
    request_body,
    scope_of_caller,
    told_to_caller,
)
from adapter.delivery.attempts import Outcome
from adapter.delivery.fault import Fault, fault_of
from adapter.delivery.loop import Delivery, reader_name
from adapter.errors import RequestError
from adapter.filter import TIMES, Filter
from adapter.hints import Hints
from adapter.log.protocol import Held, Store
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry, uid_text
from adapter.ownership import Ownership
from adapter.replay.job import Job, Question
from adapter.replay.replaying import Replays
from adapter.settings import Permission
from adapter.sinks.protocol import Delivered
from adapter.timestamps import FORMS, read_timestamp


class DeadEvent(BaseModel):
    """An event that a sink gave up on."""

    position: int
    uid: str | None = Field(description="null: it was removed from the log")
    type: str | None
    receivedAt: int | None = Field(description="Arrival, epoch milliseconds")
    tries: int
    reason: str = Field(description="The last answer")
    fault: Fault | None = Field(description="Who has to mend it: receiver, network, ours; null: not known")
    gaveUpAt: int | None = Field(description="Epoch milliseconds; null: the last try is not remembered any more")


class DeadPage(BaseModel):
    """What a sink gave up on, in the order of the log."""

    count: int = Field(description="All there are")
    dead: list[DeadEvent]
    next: str | None = Field(description="The cursor of the next page; null at the end")


class HeldEvent(BaseModel):
    """An event that failed, and waits for its next try."""

    position: int
    uid: str | None = Field(description="null: it was removed from the log")
    type: str | None
    receivedAt: int | None = Field(description="Arrival, epoch milliseconds")
    tries: int
    reason: str = Field(description="The last answer")
    fault: Fault | None = Field(description="Who has to mend it: receiver, network, ours; null: not known")
    dueAt: int = Field(description="When it is tried again, epoch milliseconds")


class HeldPage(BaseModel):
    """What waits for its next try, in the order of the log."""

    count: int = Field(description="All there are; with `order_by`, what waits behind them counts, and is not listed")
    held: list[HeldEvent]
    next: str | None = Field(description="The cursor of the next page; null at the end")


class ResendQuestion(BaseModel):
    """Which event is to be sent."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"uid": "6ab16d80-8a3f-8d51-9c4e-3f6f2b41a0c7"}]}
    )

    uid: str = Field(description="The event's uid, or the id that its provider gave it")


class Resent(BaseModel):
    """What came of it."""

    uid: str
    position: int
    queued: bool = Field(
        description="true: it was held or dead, and takes its turn now with all its tries; false: it was sent at once"
    )
    outcome: Outcome | None = Field(description="What that came to; null where it was queued")
    status: int | None = Field(description="Status of the answer")
    reason: str
    fault: Fault | None


class StartedReplay(Job):
    """A replay that was just begun."""

    hints: list[str] = Field(
        description="What in its filter looks like a slip: types, sources and providers that nobody knows"
    )


class ReplayPages:
    """Lists what is held and dead; starts, shows and cancels replays; sends one event."""

    def __init__(
        self,
        log: Store,
        replays: Replays,
        deliveries: Mapping[str, Ownership[Delivery]],
        names: Callable[[], Sequence[str]],
        lookup: Lookup,
        catalogue: Callable[[], Catalogue],
        hints: Hints,
        now: Callable[[], int],
    ) -> None:
        """``names``: of the sinks there are; ``catalogue`` gives the present one; ``now`` gives epoch milliseconds."""
        self._log = log
        self._replays = replays
        self._deliveries = deliveries
        self._names = names
        self._lookup = lookup
        self._catalogue = catalogue
        self._hints = hints
        self._now = now

    def operations(self) -> list[Operation]:
        limit = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
        return [
            Operation(
                "GET", "/sinks/{name}/dead", self.dead, "What a sink gave up on",
                {200: Answer("A page, in the order of the log.", model=DeadPage)}, Permission.SINKS,
                [
                    SINK,
                    Parameter("limit", "Events in a page", limit),
                    Parameter("cursor", "The place after the page before: its next"),
                ],
            ),
            Operation(
                "GET", "/sinks/{name}/held", self.held, "What waits for its next try at a sink",
                {200: Answer("A page, in the order of the log.", model=HeldPage)}, Permission.SINKS,
                [
                    SINK,
                    Parameter("limit", "Events in a page", limit),
                    Parameter("cursor", "The place after the page before: its next"),
                ],
            ),
            Operation(
                "POST", "/sinks/{name}/resend", self.resend, "Send one event again, now",
                {200: Answer("What came of it.", model=Resent)}, Permission.SINKS, [SINK],
                body=Body(model=ResendQuestion), errors=(409,),
            ),
            Operation(
                "POST", "/sinks/{name}/replay", self.start, "Send events again; dry_run counts them",
                {202: Answer("It is under way.", model=StartedReplay)}, Permission.SINKS,
                [
                    SINK,
                    Parameter(
                        "If-Match", "The id of a replay, in quotes: only while that is the last one", place="header",
                        example='"3"',
                    ),
                ],
                body=Body(model=Question, required=False), errors=(409, 412),
            ),
            Operation(
                "GET", "/sinks/{name}/replay", self.show, "How far a replay is, or how the last one ended",
                {200: Answer("The replay.", model=Job)}, Permission.SINKS, [SINK],
            ),
            Operation(
                "DELETE", "/sinks/{name}/replay", self.cancel, "Cancel the replay; what it sent is sent",
                {200: Answer("The replay, cancelled.", model=Job)}, Permission.SINKS, [SINK], errors=(409,),
            ),
        ]  # fmt: skip

    async def dead(self, request: web.Request) -> web.Response:
        reader, page, entries, following = await self._rows(request, dead=True)
        given_up = {
            one.position: one.began_at for one in await self._log.attempts(reader, outcomes=[Outcome.DEAD], limit=1000)
        }
        progress = await self._log.progress(reader)
        answer = DeadPage(
            count=0 if progress is None else progress.dead,
            dead=[
                DeadEvent(**_shown(request, row, entries.get(row.position)), gaveUpAt=given_up.get(row.position))
                for row in page
            ],
            next=following,
        )
        return json_answer(answer.model_dump_json().encode())

    async def held(self, request: web.Request) -> web.Response:
        reader, page, entries, following = await self._rows(request, dead=False)
        progress = await self._log.progress(reader)
        answer = HeldPage(
            count=0 if progress is None else progress.held,
            held=[
                HeldEvent(**_shown(request, row, entries.get(row.position)), dueAt=row.due_at)
                for row in page
                if row.due_at is not None
            ],
            next=following,
        )
        return json_answer(answer.model_dump_json().encode())

    async def _rows(self, request: web.Request, *, dead: bool) -> tuple[str, list[Held], dict[int, Entry], str | None]:
        """The reader of the sink that is asked for, a page of its rows with the entries of those that are still in the
        log, and the cursor of the next page."""
        reader = reader_name(known_sink(request, self._names()))
        limit, cursor = read_limit(request.query.get("limit")), request.query.get("cursor", "0")
        if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
            raise refused("cursor", cursor, "the next of the page before")
        rows = await self._log.rows(reader, dead=dead, after=int(cursor), limit=limit + 1)
        page, more = rows[:limit], rows[limit:]
        entries: dict[int, Entry] = {}
        left = [row.position for row in page]
        while left and (found := await self._log.fetch(left)):
            entries |= {entry.position: entry for entry in found}
            left = left[left.index(found[-1].position) + 1 :]
        return reader, page, entries, str(page[-1].position) if more else None

    async def resend(self, request: web.Request) -> web.Response:
        name = known_sink(request, self._names())
        asked = read_asked(ResendQuestion, read_object(await request_body(request)))
        entry = await self._lookup.find(asked.uid, caller(request), scope_of_caller(request))
        if entry is None or entry.event is None:
            raise RequestError(404, "Not found", "There is no event with this uid, or it was removed from the log.")
        owned = self._deliveries.get(name)
        delivery = None if owned is None else owned.present
        if delivery is None:
            detail = "Another service delivers to this sink now, or none does; ask that one."
            raise RequestError(409, "Elsewhere", detail)
        first = await first_entry(self._log, entry)
        try:
            said = await delivery.resend(first)
        except ValueError as error:
            raise RequestError(409, "Not now", f"{error}.") from None
        if said is None:
            outcome, reason, status = None, "it is tried anew", None
        else:
            outcome = Outcome.DELIVERED if isinstance(said, Delivered) else Outcome.HELD
            reason = "the receiver took it" if isinstance(said, Delivered) else said.reason
            status = None if said.tried is None else said.tried.status
        answer = Resent(
            uid=uid_text(first.uid),
            position=first.position,
            queued=said is None,
            outcome=outcome,
            status=status,
            reason=told_to_caller(request)(reason),
            fault=fault_of(reason) if outcome is Outcome.HELD else None,
        )
        return json_answer(answer.model_dump_json().encode())

    async def start(self, request: web.Request) -> web.Response:
        name = known_sink(request, self._names())
        asked = read_asked(Question, read_object(await request_body(request)))
        fixed = {one: self._fixed(one, values) for one, values in asked.filter.items()}
        question, after = asked.model_copy(update={"filter": fixed}), _after(request)
        job = await self._replays.start(name, question, caller(request), after=after)
        hints = self._hints.of(Filter.from_settings(fixed, self._catalogue()).terms)
        return json_answer(StartedReplay(**job.model_dump(), hints=hints).model_dump_json().encode(), status=202)

    async def show(self, request: web.Request) -> web.Response:
        name = known_sink(request, self._names())
        return _told(name, await self._replays.look(name), told_to_caller(request))

    async def cancel(self, request: web.Request) -> web.Response:
        name = known_sink(request, self._names())
        return _told(name, await self._replays.cancel(name), told_to_caller(request))

    def _fixed(self, name: str, values: list[str]) -> list[str]:
        """Timestamps that are some time ago are counted from now, not from when the replay goes on."""
        if name not in TIMES:
            return values
        try:
            return [str(read_timestamp(value, self._now())) for value in values]
        except ValueError:
            raise RequestError(400, "Bad parameter", f"filter.{name} is not {FORMS}", parameter="filter") from None


def _after(request: web.Request) -> int | None:
    """
    Raises:
        RequestError: 400, If-Match names no replay.
    """
    text = request.headers.get(hdrs.IF_MATCH)
    if text is None:
        return None
    found = re.fullmatch(r'\s*"(\d{1,18})"\s*', text, re.ASCII)
    if found is None:
        raise RequestError(400, "Bad parameter", 'If-Match takes the id of one replay in quotes, such as "3"')
    return int(found[1])


def _shown(request: web.Request, row: Held, entry: Entry | None) -> dict[str, Any]:
    """What is shown of an event that is held or dead; ``entry``: ``None`` if it is no more in the log."""
    return {
        "position": row.position,
        "uid": None if entry is None else uid_text(entry.uid),
        "type": None if entry is None else entry.type,
        "receivedAt": None if entry is None else entry.received_at,
        "tries": row.tries,
        "reason": told_to_caller(request)(row.answer),
        "fault": fault_of(row.answer),
    }


def _told(sink: str, job: Job | None, may_tell: Callable[[str], str]) -> web.Response:
    if job is None:
        how = f"POST /sinks/{sink}/replay, or idp-adapter sinks replay {sink}"
        raise RequestError(404, "Not found", f"There was no replay of {sink} yet; {how}, starts one.")
    problem = None if job.problem is None else may_tell(job.problem)
    job = job.model_copy(update={"problem": problem, "answers": [may_tell(one) for one in job.answers]})
    return json_answer(job.model_dump_json().encode())
