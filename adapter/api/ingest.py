"""How receiving is described and routed; what it does is in `adapter.sources.ingest`."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.operation import Answer, Body, Operation, Parameter, Proof
from adapter.problem import Handler, guarded
from adapter.sources.ingest import Receive


class Received(BaseModel):
    """What became of the records of a body; the counts are disjoint, and a record of several events counts once."""

    accepted: int = Field(description="Records that are new")
    duplicates: int = Field(description="Records that were known already")
    quarantined: int = Field(description="Records that could not be made an event; they are kept")
    ignored: int = Field(description="Records that the provider's table leaves out")
    uids: list[str | None] = Field(
        description="One for each record in the order sent: of its first event, or null if it was ignored"
    )
    oversize: int = Field(
        0, description="Only if there are any: quarantined records larger than one event may be; a head of each is kept"
    )


#: As a Keycloak's sender posts it.
_LOGIN = {"id": "1", "time": 1_790_000_000_000, "type": "LOGIN", "realmId": "acme", "userId": "1f6a2c"}
#: Before the name of a source.
PATH = "/ingest/"


def ingest_operation(receive: Receive) -> Operation:
    """``POST /ingest/{source}``. The handler stands on its route as it is, for speed: it answers for its own errors,
    and each source proves itself in its own way."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return await receive(request, request.match_info["source"])

    return Operation(
        "POST",
        PATH + "{source}",
        handler,
        "Native events, one or many; answered once they are on disk",
        {
            202: Answer("All records are stored.", model=Received),
            200: Answer("The same, told as the provider's table says that it wants to hear it."),
        },
        parameters=[Parameter("source", "Name of the source")],
        body=Body(
            ("application/json", "application/x-ndjson", "text/plain", "application/x-www-form-urlencoded"),
            examples={"application/json": [_LOGIN]},
        ),
        bare=True,
        proves=Proof.SOURCE,
        errors=(415,),
    )


def ingest_shortcuts(receive: Receive, sources: Iterable[str]) -> dict[str, Handler]:
    """The same by the path to each source, past the router."""

    def to(name: str) -> Handler:
        return lambda request: receive(request, name)

    return {PATH + name: to(name) for name in sources}


def challenge_operation(handler: Handler) -> Operation:
    """``GET /ingest/{source}``: the question that some providers ask when a hook is registered."""
    return Operation(
        "GET",
        PATH + "{source}",
        guarded(handler),
        "Tell a provider back what it asks when a hook is registered",
        {200: Answer("What was asked.")},
        parameters=[Parameter("source", "Name of the source")],
        bare=True,
        proves=Proof.SOURCE,
    )
