"""Giving up one event of a sink by somebody's decision, over HTTP: a dead one, or one that keeps others back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.attempts import SINK, known_sink
from adapter.api.bodies import read_asked, read_object
from adapter.api.lookup import Lookup
from adapter.api.operation import (
    Answer,
    Body,
    Operation,
    caller,
    json_answer,
    request_body,
    scope_of_caller,
    told_to_caller,
)
from adapter.delivery.loop import Delivery, reader_name
from adapter.errors import RequestError
from adapter.formats.text import harmless
from adapter.log.protocol import Store
from adapter.model import Entry, uid_text
from adapter.ownership import Ownership
from adapter.settings import Permission
from adapter.system_events import system_event


class SkipQuestion(BaseModel):
    """Which event is to be given up, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"uid": "6ab16d80-8a3f-8d51-9c4e-3f6f2b41a0c7", "reason": "too large for the receiver"}]
        },
    )

    uid: str = Field(description="The event's uid, or the id that its provider gave it")
    reason: str = Field("", max_length=300, description="Why: kept with it, for people")


class Skipped(BaseModel):
    """An event that the sink does not send any more."""

    uid: str
    position: int
    wasDead: bool = Field(description="true: it was given up on before; false: it waited for its next try")
    tries: int
    reason: str = Field(description="The last answer")


class SkipPages:
    """Skips events."""

    def __init__(
        self,
        log: Store,
        deliveries: Mapping[str, Ownership[Delivery]],
        names: Callable[[], Sequence[str]],
        lookup: Lookup,
        now: Callable[[], int],
    ) -> None:
        """``names``: of the sinks there are; ``now`` gives epoch milliseconds."""
        self._log = log
        self._deliveries = deliveries
        self._names = names
        self._lookup = lookup
        self._now = now

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST", "/sinks/{name}/skip", self.skip,
                "Give up one event that is held or dead: it counts as skipped, and what waits for it goes on",
                {200: Answer("It is skipped.", model=Skipped)}, Permission.SINKS, [SINK], body=Body(model=SkipQuestion),
                errors=(409,),
            )
        ]  # fmt: skip

    async def skip(self, request: web.Request) -> web.Response:
        name, by = known_sink(request, self._names()), caller(request)
        asked = read_asked(SkipQuestion, read_object(await request_body(request)))
        entry = await self._lookup.find(asked.uid, by, scope_of_caller(request))
        if entry is None:
            raise RequestError(404, "Not found", "There is no event with this uid, or it was removed from the log.")
        owned = self._deliveries.get(name)
        delivery = None if owned is None else owned.present
        if delivery is None:
            detail = "Another service delivers to this sink now, or none does; ask that one."
            raise RequestError(409, "Elsewhere", detail)
        why, position = harmless(asked.reason.strip()), await self._position(name, entry)
        try:
            row = await delivery.skip(position, f"skipped by {by}{f': {why}' if why else ''}")
        except ValueError as error:
            raise RequestError(409, "Not now", f"{error}.") from None
        uid = uid_text(entry.uid)
        said = {"sink": name, "uid": uid, "reason": why, "by": by, "tries": str(row.tries)}
        await self._log.append([system_event("SINK-EVENT-SKIPPED", self._now(), said, username=by)])
        told = told_to_caller(request)(row.answer)
        answer = Skipped(uid=uid, position=position, wasDead=row.due_at is None, tries=row.tries, reason=told)
        return json_answer(answer.model_dump_json().encode())

    async def _position(self, name: str, entry: Entry) -> int:
        """Where the event has a row: sinks get the first entry of an event, and corrections where they ask."""
        position: int | None = entry.position
        while position is not None:
            if await self._log.held_at(reader_name(name), [position]):
                return position
            position = await self._log.before(entry.uid, position)
        return entry.position
