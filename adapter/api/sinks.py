"""Sinks over HTTP: list them, make, change and delete those of the log, pause, resume, test and rotate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.bodies import read_asked, read_object
from adapter.api.feed import read_switch
from adapter.api.operation import (
    Answer,
    Body,
    Operation,
    Parameter,
    caller,
    is_administrator,
    json_answer,
    request_body,
    told_to_caller,
)
from adapter.api.slots import Slots
from adapter.delivery.loop import Snapshot, reader_name
from adapter.delivery.standing import Decided, Standing, read
from adapter.errors import RequestError, unknown_sink
from adapter.log.protocol import Store
from adapter.quantities import interval_of, seconds_of
from adapter.settings import Permission
from adapter.sink_management.live import LiveSinks
from adapter.sink_management.managing import LONGEST_OVERLAP, OVERLAP, Made, SinkManagement, settings_shown, tag
from adapter.sink_management.stored import StoredSink, given_of, shown
from adapter.sink_management.trying import Tested

#: Bytes of the settings of a sink.
SIZE = 65536
#: Test events of one caller under way.
TESTS = 4
#: Sinks whose progress is asked for at the same time.
_ASKED = 32

_TAGGED = {"ETag": "Stands for its settings; missing where those are of adapter.toml, or were not changed"}
_SWITCH = {"type": "string", "enum": ["0", "1"]}
_NAME = Parameter("name", "Name of the sink", {"type": "string", "examples": ["soc"]})
_MATCH = Parameter("If-Match", "The ETag with which the sink was read", place="header")
_NONE_MATCH = Parameter("If-None-Match", "*: there is no such sink yet", place="header")
_DRY_RUN = Parameter("dry_run", "1: change nothing, and say what it would change", _SWITCH)
_PAUSED = Parameter("paused", "1: a new one sends nothing until it is resumed", _SWITCH)
_FORCE = Parameter("force", "1: also if it has events that are not sent", _SWITCH)
_SEND = Parameter("send", "0: without a test event", _SWITCH)


class GivenSink(BaseModel):
    """Settings of a sink, as in `[[sinks]]` of adapter.toml; those of its kind, too."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"kind": "webhook", "url": "https://soc.example/events", "filter": {"type": "access.*"}}]
        },
    )

    name: str | None = Field(None, description="Its name; where the path has it, nothing else")
    kind: str | None = Field(None, description="What kind of receiver it is: `webhook`")


class SinkCountsShown(BaseModel):
    """What became of the events that its filter took, in this epoch."""

    matched: int
    delivered: int
    inFlight: int | None = Field(description="Null: another service delivers to it")
    held: int
    dead: int
    skipped: int


class RetiringShown(BaseModel):
    """A secret that was replaced, and still signs."""

    until: int = Field(description="Epoch milliseconds, like all times here")


class SinkShown(BaseModel):
    """One sink."""

    name: str
    kind: str
    managed: str = Field(
        description="`api`: kept in the log; `settings`: it stands in adapter.toml, and is changed there"
    )
    id: str | None = Field(description="Its own, of one that is kept in the log")
    version: int | None
    createdAt: int | None
    createdBy: str | None
    changedAt: int | None
    changedBy: str | None
    settings: dict[str, Any] = Field(
        description="Those that were given; `<kept>` stands for each secret, and may be sent back for it"
    )
    retiring: list[RetiringShown] = Field(description="Secrets that were replaced and are valid for a while")
    certificates: dict[str, int] = Field(
        description="When those end that it shows (`certificate`) and trusts (`ca`), and those for its OAuth2 "
        "server (`auth.…`), epoch milliseconds"
    )
    state: str = Field(
        description="`running`; `down`: the receiver does not take anything; `stopped`: it wants nothing more; "
        "`paused`; `elsewhere`: another service over the log delivers to it; `off`: nobody does, `problem` may say why"
    )
    since: int | None = Field(description="Since when it is in this state")
    reason: str | None = Field(description="Why it was paused, stopped or resumed the last time")
    by: str | None = Field(description="Who decided that: a person, or the receiver")
    answer: str | None = Field(description="The last answer")
    lag: int = Field(description="Entries between its place and the end of the log")
    eventsPerSecond: float | None = Field(
        description="Delivered in the last minutes; null: another service delivers, or it has just begun"
    )
    epoch: int | None = Field(
        description="Number of the epoch of its filter, over which is counted; null: not begun yet"
    )
    counts: SinkCountsShown
    counted: str = Field(
        description="Of when lag and counts are: `now`; `stored`: those that were stored last, as another service "
        "delivers, or none does"
    )
    problem: str | None


class SinkList(BaseModel):
    """All sinks."""

    sinks: list[SinkShown]
    warnings: list[str]


class ChangedSink(SinkShown):
    """A sink after a change."""

    changed: list[str] = Field(
        description="Names of the settings that are others than before; none: nothing was changed"
    )
    secret: str | None = Field(description="A secret that was made for it: it is shown this once")
    warnings: list[str] = Field(description="What looks like a slip")


class CheckedSink(BaseModel):
    """What would come of settings that are not saved."""

    settings: dict[str, Any] = Field(description="As they would be kept, without secrets")
    warnings: list[str]
    test: Tested | None = Field(description="What came of a test event")


class StandingShown(BaseModel):
    """Whether a sink is to run."""

    name: str
    state: str
    since: int
    by: str | None


class DeletedSink(BaseModel):
    """What a deleted sink had not sent."""

    name: str
    held: int
    dead: int
    undelivered: int = Field(description="Entries of the log that it had not come to")


class Rotation(BaseModel):
    """How a secret is replaced; nothing of it need be said."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": "24h"}]})

    overlap: float | str = Field(
        OVERLAP, description="For how long the old one signs, too: seconds, or 10min, 24h, 7d; 0: not at all"
    )
    secret: str | None = Field(None, description="The new one; default: one is made")


class SinkPages:
    """Shows and changes the sinks."""

    def __init__(
        self,
        log: Store,
        live: LiveSinks,
        management: SinkManagement,
        *,
        now: Callable[[], int],
        deleted: Callable[[str], Awaitable[object]],
        speed: Callable[[str], float | None],
    ) -> None:
        """``now`` gives epoch milliseconds; ``deleted`` ends what is under way for a sink that is gone; ``speed`` gives
        the events a second that one delivers."""
        self._speed = speed
        self._deleted = deleted
        self._log = log
        self._live = live
        self._management = management
        self._now = now
        self._tests = Slots("tests", each=TESTS)

    def operations(self) -> list[Operation]:
        may, given = Permission.SINKS, Body(model=GivenSink)
        shown = Answer("The sink.", model=SinkShown, headers=_TAGGED)
        changed = Answer("The sink as it is now.", model=ChangedSink, headers=_TAGGED)
        made = Answer("It is made.", model=ChangedSink, headers={**_TAGGED, "Location": "The sink's path"})
        stands = {200: Answer("How it stands now.", model=StandingShown)}
        return [
            Operation("GET", "/sinks", self.show_all, "All sinks", {200: Answer("The sinks.", model=SinkList)}, may),
            Operation(
                "POST", "/sinks", self.create, "Make a sink; one without a secret gets one, which is shown this once",
                {201: made}, may, [_PAUSED], given, errors=(409,),
            ),
            Operation(
                "POST", "/sinks/check", self.check,
                "Try settings that are not saved: check them, and send a test event",
                {200: Answer("What would come of them.", model=CheckedSink)}, may, [_SEND], given,
            ),
            Operation(
                "GET", "/sinks/{name}", self.show, "One sink", {200: shown}, may, [_NAME]
            ),
            Operation(
                "PUT", "/sinks/{name}", self.put,
                "Have a sink be as is said, whether there was one or not; its `secret` stays if nothing is said of it",
                {200: changed, 201: made}, may,
                [_NAME, _MATCH, _NONE_MATCH, _PAUSED, _DRY_RUN], given, errors=(409, 412),
            ),
            Operation(
                "PATCH", "/sinks/{name}", self.patch, "Change some settings of a sink; null takes one out",
                {200: changed}, may, [_NAME, _MATCH],
                Body(("application/json", "application/merge-patch+json"), GivenSink), errors=(409, 412),
            ),
            Operation(
                "DELETE", "/sinks/{name}", self.delete, "Delete a sink, with its place and what is held for it",
                {200: Answer("It is gone.", model=DeletedSink)}, may, [_NAME, _MATCH, _FORCE], errors=(409, 412),
            ),
            Operation(
                "POST", "/sinks/{name}/pause", self.pause, "Send nothing for now", stands, may, [_NAME], errors=(409,)
            ),
            Operation(
                "POST", "/sinks/{name}/resume", self.resume, "Go on where a sink was paused, or stopped", stands, may,
                [_NAME], errors=(409,),
            ),
            Operation(
                "POST", "/sinks/{name}/test", self.test, "Send a test event now, which is in no log",
                {200: Answer("What was answered.", model=Tested)}, may, [_NAME], errors=(409,),
            ),
            Operation(
                "POST", "/sinks/{name}/rotate", self.rotate,
                "Give a sink a new secret, which is shown this once; the old one stays valid for a while",
                {200: changed}, may, [_NAME, _MATCH], Body(model=Rotation, required=False), errors=(409, 412),
            ),
        ]  # fmt: skip

    async def show_all(self, request: web.Request) -> web.Response:
        asked = asyncio.Semaphore(_ASKED)

        async def show(name: str) -> SinkShown | None:
            async with asked:
                return await self._shown(request, name)

        found = await asyncio.gather(*map(show, self._live.names()))
        sinks = [one for one in found if one is not None]
        return json_answer(SinkList(sinks=sinks, warnings=self._live.warnings()).model_dump_json().encode())

    async def show(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._live.configured:
            await self._live.take(name)
        found = await self._shown(request, name)
        if found is None:
            raise unknown_sink(name, self._live.names())
        answer = json_answer(found.model_dump_json().encode())
        if (stored := self._live.stored.get(name)) is not None and found.managed == "api":
            answer.headers[hdrs.ETAG] = f'"{tag(stored)}"'
        return answer

    async def create(self, request: web.Request) -> web.Response:
        given = read_object(await request_body(request, SIZE))
        made = await self._management.put(
            given.get("name", ""), given, caller(request), may_know=is_administrator(request), only_new=True,
            is_paused=read_switch(request, "paused"),
        )  # fmt: skip
        return await self._told(request, made)

    async def put(self, request: web.Request) -> web.Response:
        name, given = request.match_info["name"], read_object(await request_body(request, SIZE))
        _check_named(given, name)
        only_new = request.headers.get(hdrs.IF_NONE_MATCH)
        if only_new not in (None, "*"):
            raise RequestError(400, "Bad parameter", "If-None-Match may be * alone: there is no such sink yet")
        made = await self._management.put(
            name, given, caller(request), may_know=is_administrator(request), match=_match(request),
            only_new=only_new is not None, is_paused=read_switch(request, "paused"),
            dry_run=(dry_run := read_switch(request, "dry_run")),
        )  # fmt: skip
        return await self._told(request, made, dry_run=dry_run)

    async def patch(self, request: web.Request) -> web.Response:
        name, given = request.match_info["name"], read_object(await request_body(request, SIZE))
        _check_named(given, name)
        made = await self._management.patch(
            name, given, caller(request), may_know=is_administrator(request), match=_match(request)
        )
        return await self._told(request, made)

    async def delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        left = await self._management.delete(
            name, caller(request), force=read_switch(request, "force"), match=_match(request)
        )  # fmt: skip
        await self._deleted(name)
        return json_answer(DeletedSink(name=name, **left).model_dump_json().encode())

    async def pause(self, request: web.Request) -> web.Response:
        return await self._stand(request, is_paused=True)

    async def resume(self, request: web.Request) -> web.Response:
        return await self._stand(request, is_paused=False)

    async def test(self, request: web.Request) -> web.Response:
        with self._tests.taken(caller(request)):
            found = await self._management.test(request.match_info["name"], caller(request))
        found = found.model_copy(update={"answer": told_to_caller(request)(found.answer)})
        return json_answer(found.model_dump_json().encode())

    async def check(self, request: web.Request) -> web.Response:
        given = read_object(await request_body(request, SIZE))
        send = "send" not in request.query or read_switch(request, "send")
        with self._tests.taken(caller(request)):
            made, tested = await self._management.check(
                given, caller(request), may_know=is_administrator(request), send=send
            )
        if tested is not None:
            tested = tested.model_copy(update={"answer": told_to_caller(request)(tested.answer)})
        found = CheckedSink(settings=settings_shown(made.sink), warnings=[*made.warnings], test=tested)
        return json_answer(found.model_dump_json().encode())

    async def rotate(self, request: web.Request) -> web.Response:
        asked = read_asked(Rotation, read_object(await request_body(request, SIZE)))
        made = await self._management.rotate(
            request.match_info["name"], caller(request), overlap=read_overlap(asked.overlap), secret=asked.secret,
            may_know=is_administrator(request), match=_match(request),
        )  # fmt: skip
        return await self._told(request, made)

    async def _stand(self, request: web.Request, *, is_paused: bool) -> web.Response:
        name = request.match_info["name"]
        found: Standing = await self._management.stand(name, caller(request), is_paused=is_paused)
        told = StandingShown(name=name, state=found.state, since=found.since, by=found.by)
        return json_answer(told.model_dump_json().encode())

    async def _told(self, request: web.Request, made: Made, *, dry_run: bool = False) -> web.Response:
        name = made.sink.name
        found = await self._shown(request, name, made.sink)
        assert found is not None
        told = {"changed": [*made.changed], "secret": made.secret, "warnings": [*made.warnings]}
        changed = ChangedSink(**found.model_dump(), **told)
        answer = json_answer(changed.model_dump_json().encode(), status=201 if made.is_new and not dry_run else 200)
        if dry_run:
            return answer
        answer.headers[hdrs.ETAG] = f'"{tag(made.sink)}"'
        if made.is_new:
            answer.headers[hdrs.LOCATION] = f"/sinks/{name}"
        return answer

    async def _shown(self, request: web.Request, name: str, stored: StoredSink | None = None) -> SinkShown | None:
        """How it is with a sink, with the settings of ``stored`` if that is given; ``None`` if there is none."""
        live, configured = self._live, self._live.configured.get(name)
        stored = stored or live.stored.get(name)
        if configured is None and stored is None:
            return None
        owned = live.deliveries.get(name)
        delivery = None if owned is None else owned.present
        shot = None if delivery is None else delivery.snapshot()
        problem, epoch, lag, counts = live.problem(name), *await self._progress(name, shot)
        decided = shot.standing if shot is not None else await read(self._log, name)
        if shot is not None:
            state = str(shot.state)
        elif decided.state is not Decided.RUNNING:
            state = str(decided.state)
        else:
            state = "off" if owned is None else "elsewhere"
        may_tell = told_to_caller(request)
        how: dict[str, Any] = {
            "name": name,
            "state": state,
            "since": shot.since if shot is not None else decided.since or None,
            "reason": may_tell(decided.reason) or None,
            "by": decided.by or None,
            "answer": None if shot is None else may_tell(shot.answer),
            "lag": lag,
            "eventsPerSecond": self._speed(name),
            "epoch": epoch,
            "counts": counts,
            "certificates": live.certificates(name),
            "counted": "stored" if shot is None else "now",
            "problem": None if problem is None else may_tell(problem),
        }
        if configured is not None:
            return SinkShown(
                kind=configured.kind, managed="settings", id=None, version=None, createdAt=None, createdBy=None,
                changedAt=None, changedBy=None, settings=shown(given_of(configured)), retiring=[], **how,
            )  # fmt: skip
        assert stored is not None
        return SinkShown(
            kind=stored.kind, managed="api", id=stored.id, version=stored.version, createdAt=stored.created_at,
            createdBy=stored.created_by, changedAt=stored.changed_at, changedBy=stored.changed_by,
            settings=settings_shown(stored),
            retiring=[RetiringShown(until=one.until) for one in stored.valid(self._now())], **how,
        )  # fmt: skip

    async def _progress(self, name: str, shot: Snapshot | None) -> tuple[int | None, int, SinkCountsShown]:
        """Epoch, lag and counters: of this moment where this service delivers, else as they were stored last."""
        if shot is not None:
            seen = shot.counts
            counts = SinkCountsShown(
                matched=seen.matched, delivered=seen.delivered, inFlight=seen.in_flight, held=seen.held, dead=seen.dead,
                skipped=seen.skipped,
            )  # fmt: skip
            return shot.epoch, max(0, shot.lag), counts
        stored = await self._log.progress(reader_name(name))
        if stored is None:
            return None, 0, SinkCountsShown(matched=0, delivered=0, inFlight=None, held=0, dead=0, skipped=0)
        counts = SinkCountsShown(
            matched=stored.matched, delivered=stored.delivered, inFlight=None, held=stored.held, dead=stored.dead,
            skipped=stored.skipped,
        )  # fmt: skip
        return stored.epoch, max(0, self._log.head - stored.cursor), counts


def _check_named(given: dict[str, Any], name: str) -> None:
    """
    Raises:
        RequestError: 400, the body names another sink than the path.
    """
    if given.get("name", name) != name:
        raise RequestError(400, "Bad sink", f"name: the path says {name!r}; a sink keeps its name", parameter="name")


def _match(request: web.Request) -> str | None:
    """The version of If-Match, if there is one.

    Raises:
        RequestError: 400, it is none.
    """
    text = request.headers.get(hdrs.IF_MATCH)
    if text is None or text.strip() == "*":
        return text if text is None else "*"
    found = re.fullmatch(r'\s*"([^"]*)"\s*', text)
    if found is None:
        raise RequestError(400, "Bad parameter", 'If-Match takes one ETag as it was answered, such as "snk_….3", or *')
    return found[1]


def read_overlap(given: float | str) -> float:
    """The seconds for which a replaced secret signs, too.

    Raises:
        RequestError: 400, it is no time, or too long.
    """
    return read_period("overlap", given, 0, LONGEST_OVERLAP)


def read_period(name: str, given: float | str, least: float, most: float) -> float:
    """The seconds that a parameter says: a number of them, or a time as people write it.

    Raises:
        RequestError: 400, it is no time, or not from ``least`` to ``most``.
    """
    try:
        seconds = given if isinstance(given, float) else _seconds(given)
    except ValueError as error:
        raise RequestError(400, "Bad parameter", f"{name}: {error}", parameter=name) from None
    if not least <= seconds <= most:
        detail = f"{name}: must be from {least:g} seconds to {most / 86_400:g} days ({most / 86_400:g}d)"
        raise RequestError(400, "Bad parameter", detail, parameter=name)
    return seconds


def _seconds(text: str) -> float:
    if text.isascii() and text.isdigit():
        return float(text)
    return float(seconds_of(text)) if text[-1:] in "dwy" else interval_of(text)
