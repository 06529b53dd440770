"""Sessions of the console over HTTP: list them, end one, and make a link by which one begins."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.access import Access
from adapter.api.operation import Answer, Operation, Parameter, json_answer, principal_of_caller, token_of_caller
from adapter.browser import Site
from adapter.errors import RequestError
from adapter.keys.sessions import Sessions
from adapter.keys.stored_sessions import Session
from adapter.settings import Permission


class SessionShown(BaseModel):
    """One session, without its token."""

    id: str
    name: str = Field(description="Who signed in, as the name of the key says, or the issuer's token")
    by: str = Field(description="`link`, `key`, or `oidc`")
    parent: str = Field(description="Whose rights it has: `settings`, `key` or `issuer`")
    createdAt: int = Field(description="Epoch milliseconds, like all times here")
    expiresAt: int
    current: bool = Field(description="Whether it is the one that asks")


class SessionList(BaseModel):
    """The sessions that are not over, the oldest first."""

    sessions: list[SessionShown]


class SignInLink(BaseModel):
    """A link that signs in once."""

    url: str
    expiresAt: int = Field(description="Epoch milliseconds")
    name: str = Field(description="Who is signed in by it")


class SessionPages:
    """Shows and ends sessions, and makes links."""

    def __init__(self, access: Access, sessions: Sessions, site: Site) -> None:
        self._access = access
        self._sessions = sessions
        self._site = site

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/sessions", self.show_all, "Who is signed in to the console",
                {200: Answer("The sessions.", model=SessionList)}, Permission.KEYS,
            ),
            Operation(
                "DELETE", "/sessions/{id}", self.end, "End a session: its browser is signed out at once",
                {200: Answer("The session as it was.", model=SessionShown)}, Permission.KEYS,
                [Parameter("id", "The session's id")], errors=(409,),
            ),
            Operation(
                "POST", "/console/links", self.make_link,
                "Make a link that signs in to the console once, within 15 minutes, with the rights of the caller's key",
                {201: Answer("It is made, and shown this once.", model=SignInLink)},
            ),
        ]  # fmt: skip

    async def show_all(self, request: web.Request) -> web.Response:
        await self._sessions.look()
        shown = [self._shown(request, one) for one in self._sessions.all]
        return json_answer(SessionList(sessions=shown).model_dump_json().encode())

    async def end(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        await self._sessions.look()
        if all(one.id != id for one in self._sessions.all):
            raise RequestError(404, "Not found", f"There is no session {id!r}; GET /sessions lists those there are.")
        ended = await self._sessions.end(id, principal_of_caller(request).name)
        if ended is None:
            raise RequestError(404, "Not found", f"There is no session {id!r} any more.")
        return json_answer(self._shown(request, ended).model_dump_json().encode())

    async def make_link(self, request: web.Request) -> web.Response:
        principal = principal_of_caller(request)
        parent = self._access.parent(token_of_caller(request))
        if parent is None:
            # Neither a session, which would never end, nor an issuer's token, whose holder signs in there.
            detail = "A link is made with the token of a key; this is the token of a session, or of an issuer."
            raise RequestError(403, "Forbidden", detail)
        link, token = await self._sessions.make_link(parent, principal.name)
        made = SignInLink(
            url=f"{self._site.address(request)}/ui/sign-in/{token}", expiresAt=link.expires_at, name=link.name
        )
        return json_answer(made.model_dump_json().encode(), status=201)

    def _shown(self, request: web.Request, one: Session) -> SessionShown:
        return SessionShown(
            id=one.id, name=one.name, by=one.by, parent=one.parent.kind,
            createdAt=one.created_at, expiresAt=one.expires_at,
            current=one.id == principal_of_caller(request).session_id,
        )  # fmt: skip
