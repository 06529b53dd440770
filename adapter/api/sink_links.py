"""Links for a receiver's own people, over HTTP: made, listed and revoked by whoever manages the sinks."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.attempts import SINK
from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import Answer, Body, Operation, Parameter, caller, json_answer, request_body
from adapter.api.sinks import read_period
from adapter.settings import Permission
from adapter.sink_management.links import LASTS, LONGEST, Link, SinkLinks, read_label

#: The shortest time of a link, seconds.
_SHORTEST = 60.0


class LinkQuestion(BaseModel):
    """What link is to be made; nothing of it need be said."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"expires_in": "7d", "label": "SOC of Acme"}]}
    )

    expires_in: float | str = Field(LASTS, description="For how long it lasts: seconds, or 12h, 7d; at most 90 days")
    label: str = Field("", description="For whom it is: shown in lists and events")


class SinkLinkShown(BaseModel):
    """A link, without its token."""

    id: str
    label: str
    createdAt: int = Field(description="Epoch milliseconds, like all times here")
    createdBy: str
    expiresAt: int


class MadeSinkLink(SinkLinkShown):
    """A link that was made: its token is shown this once."""

    url: str = Field(description="What the receiver's people open; the token is in it")
    token: str = Field(description="What their scripts send: Authorization: Bearer TOKEN, to /links/{name}/")


class SinkLinkList(BaseModel):
    """The links of a sink that are valid."""

    links: list[SinkLinkShown]


class SinkLinkPages:
    """Makes, lists and revokes links."""

    def __init__(self, links: SinkLinks, public_url: str | None) -> None:
        """``public_url``: the address of the service for others, if it is set."""
        self._links = links
        self._public_url = None if public_url is None else public_url.rstrip("/")

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/sinks/{name}/links", self.show, "The links of a sink for its receiver's people",
                {200: Answer("Those that are valid.", model=SinkLinkList)}, Permission.SINKS, [SINK],
            ),
            Operation(
                "POST", "/sinks/{name}/links", self.make,
                "Make a link, by which a receiver's people see and mend their sink for a time",
                {201: Answer("It is made; its token is shown this once.", model=MadeSinkLink)}, Permission.SINKS,
                [SINK], Body(model=LinkQuestion, required=False), errors=(409,),
            ),
            Operation(
                "DELETE", "/sinks/{name}/links/{id}", self.revoke, "Revoke a link",
                {200: Answer("It is valid no more.", model=SinkLinkShown)}, Permission.SINKS,
                [SINK, Parameter("id", "The link's id")],
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        found = await self._links.of(request.match_info["name"])
        return json_answer(SinkLinkList(links=[_shown(one) for one in found]).model_dump_json().encode())

    async def make(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        asked = read_asked(LinkQuestion, read_object(await request_body(request)))
        seconds = read_period("expires_in", asked.expires_in, _SHORTEST, LONGEST)
        link, token = await self._links.make(
            name, caller(request), seconds=seconds, label=read_label(asked.label)
        )  # fmt: skip
        url = f"{self._public_url or _asked_by(request)}/links/{quote(name)}/{token}"
        made = MadeSinkLink(**_shown(link).model_dump(), url=url, token=token)
        return json_answer(made.model_dump_json().encode(), status=201)

    async def revoke(self, request: web.Request) -> web.Response:
        link = await self._links.revoke(request.match_info["name"], request.match_info["id"], caller(request))
        return json_answer(_shown(link).model_dump_json().encode())


def _asked_by(request: web.Request) -> str:
    """The address by which the service is asked."""
    forwarded = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower()
    return f"{'https' if forwarded == 'https' else request.scheme}://{request.host}"


def _shown(link: Link) -> SinkLinkShown:
    return SinkLinkShown(
        id=link.id, label=link.label, createdAt=link.created_at, createdBy=link.created_by, expiresAt=link.until
    )
