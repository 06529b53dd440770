"""The audit of a sink over HTTP: start it, see how far it is, cancel it."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.attempts import SINK
from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import Answer, Body, Operation, json_answer, request_body
from adapter.delivery.audit import RATE, Audit, Audits
from adapter.settings import Permission


class AuditQuestion(BaseModel):
    """How a sink is to be audited; nothing of it need be said."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rate": 1000}]})

    rate: int = Field(RATE, ge=0, description="Entries a second; 0: as fast as it goes")


class AuditPages:
    """Starts, shows and cancels audits, one of each sink at a time."""

    def __init__(self, audits: Audits) -> None:
        self._audits = audits

    def operations(self) -> list[Operation]:
        path, name = "/sinks/{name}/audit", (SINK,)
        return [
            Operation(
                "POST", path, self.start, "Evaluate the log again, and hold the counters of a sink against it",
                {202: Answer("It is under way.", model=Audit)}, Permission.SINKS, name,
                body=Body(model=AuditQuestion, required=False), errors=(409,),
            ),
            Operation(
                "GET", path, self.show, "How far the audit of a sink is, or what the last one found",
                {200: Answer("The audit.", model=Audit)}, Permission.SINKS, name,
            ),
            Operation(
                "DELETE", path, self.cancel, "Cancel the audit of a sink",
                {200: Answer("The audit, cancelled.", model=Audit)}, Permission.SINKS, name,
            ),
        ]  # fmt: skip

    async def start(self, request: web.Request) -> web.Response:
        asked = read_asked(AuditQuestion, read_object(await request_body(request)))
        audit = await self._audits.start(request.match_info["name"], rate=asked.rate)
        return json_answer(audit.model_dump_json().encode(), status=202)

    async def show(self, request: web.Request) -> web.Response:
        return json_answer(self._audits.look(request.match_info["name"]).model_dump_json().encode())

    async def cancel(self, request: web.Request) -> web.Response:
        audit = await self._audits.stop(request.match_info["name"])
        return json_answer(audit.model_dump_json().encode())
