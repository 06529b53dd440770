"""One thing that can be done over HTTP, declared once: the route, the access check, the parameters that are accepted
and the page about it in ``/openapi.json`` all come from this declaration."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Literal

import structlog
from aiohttp import web
from pydantic import BaseModel

from adapter.access import Access, Principal, bearer_token
from adapter.browser import SITE
from adapter.callers import address_of
from adapter.errors import RequestError, public_text
from adapter.problem import SECURITY_HEADERS, Handler, guarded
from adapter.scope import Scope
from adapter.settings import Permission
from adapter.sources.budget import Budget, Share
from adapter.sources.request_body import read_body

_log = structlog.get_logger("adapter.api")

ACCESS = web.AppKey("access", Access)
_CALLER = web.RequestKey("caller", Principal)
#: Whether the operation is one that a browser's `EventSource` asks, which cannot send headers of ours.
_EVENT_SOURCE = web.RequestKey("event_source", bool)


@dataclass(frozen=True, slots=True)
class BodyReading:
    """How the bodies of requests are read."""

    budget: Budget
    #: Bytes of a body as it is sent.
    limit: int
    #: Seconds until it is complete.
    timeout: float


BODY_READING = web.AppKey("body_reading", BodyReading)

#: What the request that is handled holds of the budget; each request is handled in a task of its own.
_share: ContextVar[Share] = ContextVar("share")

TEXT: Mapping[str, Any] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the query, or of the path where the path names it, or of the header."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    repeatable: bool = False
    place: Literal["query", "header"] = "query"
    #: A value of it, for people who try the operation. Without one the description takes one by its name.
    example: str | int | None = None
    #: Whether there is no answer without it; those of the path are.
    required: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back: its media types, and the model of its body if it has one."""

    description: str
    media: Sequence[str] = ("application/json",)
    model: type[BaseModel] | None = None
    #: Further media types, in which it has another form.
    others: Sequence[str] = ()
    #: Headers of its own, and what each says.
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brings: its media types, and the model of it where it is JSON."""

    media: Sequence[str] = ("application/json",)
    model: type[BaseModel] | None = None
    #: Whether JSON of any other form is taken, too: as raw events.
    raw: bool = False
    required: bool = True
    #: Of media types that have no model: what is sent.
    examples: Mapping[str, Any] = field(default_factory=dict)


class Proof(StrEnum):
    """By which token a caller proves who he is."""

    TOKEN = "token"
    SOURCE = "source"
    LINK = "link"


class Limited(Enum):
    """What callers get whose key is limited (`adapter.scope.Scope`)."""

    #: 403: it is about all there is.
    REFUSED = "refused"
    #: What is in their scope: the handler shows nothing but events that it has let through.
    BY_EVENT = "by event"
    #: What is of their sources: the handler shows nothing but what is of those, or of the provider that the path names.
    #: Who is limited to realms gets 403, and so does who asks for another provider.
    BY_SOURCE = "by source"


@dataclass(frozen=True, slots=True)
class Operation:
    """A handler and all that is said about it."""

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, Answer]
    #: What the caller must be allowed; ``None``: whoever has a known token may.
    permission: Permission | None = None
    parameters: Sequence[Parameter] = ()
    #: The request's body, if it has one.
    body: Body | None = None
    #: The handler stands on its route as it is: it checks its callers and answers for its errors itself.
    bare: bool = False
    #: Everybody may, without a token; or the handler checks its callers itself.
    public: bool = False
    #: Of one that is public or bare: by what its handler asks its callers to prove who they are.
    proves: Proof | None = None
    #: What callers get who are limited; says nothing of one that is public, bare, or for any known token.
    limited: Limited = Limited.REFUSED
    #: Parameters that are not declared are ignored.
    other_parameters: bool = False
    #: A browser's `EventSource` asks it: of a session's cookie no header is wanted beside it, which that cannot send.
    event_source: bool = False
    #: Statuses of refusals that only some operations have, each as `adapter.api.openapi` describes it.
    errors: Sequence[int] = ()
    #: Answers are pages for whoever does not ask for JSON, refusals too.
    for_browsers: bool = False

    @property
    def proof(self) -> Proof | None:
        """By what a caller proves who he is; ``None``: everybody may."""
        return self.proves if self.public or self.bare else Proof.TOKEN


_PART = re.compile(r"\{([a-z_]+)\}")


def add_operations(app: web.Application, operations: Iterable[Operation]) -> None:
    """Add the routes. The application must hold `ACCESS` and `BODY_READING`."""
    for operation in operations:
        handler = operation.handler if operation.bare else guarded(_checked(operation))
        path = any_text(operation.path)
        app.router.add_route(operation.method, path, handler, expect_handler=expect_later)
        if operation.method == "GET":
            app.router.add_route("HEAD", path, handler, expect_handler=expect_later)


def any_text(path: str) -> str:
    """A path whose parts in braces take any text without a slash: names and ids are foreign, and aiohttp's own parts
    take no braces."""
    return _PART.sub(r"{\1:[^/]+}", path)


async def expect_later(request: web.Request) -> None:
    """``Expect: 100-continue`` is answered when the body is wanted (`read_body`): the caller is judged before."""


async def request_body(request: web.Request, limit: int | None = None) -> bytes:
    """The body of a request to an operation that is not bare; ``limit``: bytes, where it is less than for all bodies.

    Raises:
        RequestError: it is broken off, too slow, too large, or there is no room for it now.
    """
    reading = request.app[BODY_READING]
    limit = reading.limit if limit is None else min(limit, reading.limit)
    return await read_body(request, _share.get(), limit=limit, timeout=reading.timeout)


def _presented(request: web.Request) -> str | None:
    """The token that a request brings: its bearer token; or the one of a session, where a script of our pages asks."""
    presented = request.headers.getall("Authorization", ())
    if presented:
        return bearer_token(presented[0]) if len(presented) == 1 else None
    site = request.app.get(SITE)
    return None if site is None else site.session_of_script(request, with_header=_EVENT_SOURCE not in request)


async def learn_caller(request: web.Request) -> None:
    """Find out who calls, where somebody else has made his token: before `authorize`.

    Raises:
        RequestError: 503, that cannot be told now.
        StoreError: likewise.
    """
    token = _presented(request)
    if token is not None:
        why = await request.app[ACCESS].learn(token)
        if why is not None:
            _log.warning("token_refused", why=why)


def authorize(request: web.Request, permission: Permission | None) -> Principal:
    """The caller, who has a permission; ``None``: any known token.

    Raises:
        RequestError: 401 without a known bearer token, 403 without the permission.
    """
    token = _presented(request)
    principal = request.app[ACCESS].principal(token) if token else None
    if principal is None:
        _refused(request, 401, "no known bearer token")
        raise RequestError(
            401,
            "Unauthorized",
            "A known bearer token is needed: Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": 'Bearer realm="idp-adapter"'},
        )
    if permission is not None and permission not in principal.permissions:
        _refused(request, 403, f"{principal.name} may not {permission}")
        raise RequestError(
            403,
            "Forbidden",
            f"This token lacks the permission {permission.value!r}.",
            headers={
                "WWW-Authenticate": f'Bearer realm="idp-adapter", error="insufficient_scope", scope="{permission}"'
            },
            permission=permission,
        )
    return principal


def token_of_caller(request: web.Request) -> str:
    """The token that the request carries; the operation has checked it."""
    return _presented(request) or ""


def caller(request: web.Request) -> str:
    """The name of the principal whose token the request carries; the operation has checked it."""
    return request[_CALLER].name


def details_of_caller(request: web.Request, *, is_behind_proxy: bool) -> dict[str, str]:
    """Who calls, and from where, as ``authDetails`` of an event. ``is_behind_proxy``: like that of `address_of`."""
    principal: Principal = request[_CALLER]
    person = principal.person
    said = {
        "realmId": None if person is None else person.realm,
        "clientId": None if person is None else person.client,
        "userId": None if person is None else person.id,
        "ipAddress": address_of(request, is_behind_proxy=is_behind_proxy),
        "username": principal.name if person is None else person.name,
        "sessionId": None if person is None else person.session,
    }
    return {name: one for name, one in said.items() if one}


def principal_of_caller(request: web.Request) -> Principal:
    """Who calls, and what he may; the operation has checked it."""
    principal: Principal = request[_CALLER]
    return principal


def is_revoked(request: web.Request) -> bool:
    """Whether the caller's key was revoked, or has expired, since he asked."""
    principal: Principal | None = request.get(_CALLER)
    return principal is not None and request.app[ACCESS].is_revoked(principal)


def is_administrator(request: web.Request) -> bool:
    """Whether the caller may do everything, and so is told what only those may know who can change the settings."""
    principal: Principal = request[_CALLER]
    return not principal.scope.is_limited and principal.permissions >= frozenset(Permission)


def told_to_caller(request: web.Request) -> Callable[[str], str]:
    """What the caller may be told of a text about a receiver or a server."""
    return str if is_administrator(request) else public_text


def scope_of_caller(request: web.Request) -> Scope:
    """What the caller may see."""
    return request[_CALLER].scope


def sees_source(request: web.Request) -> Callable[[str], bool]:
    """Whether the caller may see all that is of a source."""
    scope, providers = request[_CALLER].scope, request.app[ACCESS].sources
    return lambda source: scope.has_source(source, providers)


def sees_provider(request: web.Request) -> Callable[[str], bool]:
    """Whether the caller may see what is of a provider, so far as it is of his sources."""
    scope, providers = request[_CALLER].scope, request.app[ACCESS].sources
    return lambda provider: scope.has_provider(provider, providers)


def refuse_limited(request: web.Request, principal: Principal) -> None:
    """
    Raises:
        RequestError: 403, the caller is limited to some events, and this is about more.
    """
    if principal.scope.is_limited:
        _refused(request, 403, f"{principal.name} is limited to {principal.scope}")
        raise RequestError(
            403,
            "Forbidden",
            f"This token is limited to {principal.scope}, and this is about more; its key says so, or its issuer in "
            "the settings.",
            headers=None,
            **principal.scope.told(),
        )


def refuse_beyond(request: web.Request, is_within: bool) -> None:
    """
    Raises:
        RequestError: 403, what is asked for is not within the caller's scope, whether or not there is such a thing.
    """
    if not is_within:
        refuse_limited(request, request[_CALLER])


def _keep_within(request: web.Request, operation: Operation, principal: Principal) -> None:
    """
    Raises:
        RequestError: 403, the caller is limited, and this is about more.
    """
    if operation.limited is Limited.BY_EVENT:
        return
    if operation.limited is Limited.REFUSED or principal.scope.realms is not None:
        refuse_limited(request, principal)
    provider = request.match_info.get("provider")
    if principal.scope.is_limited and provider is not None:
        refuse_beyond(request, sees_provider(request)(provider))


def _refused(request: web.Request, status: int, why: str) -> None:
    resource = request.match_info.route.resource
    path = request.path if resource is None else resource.canonical
    _log.warning("request_refused", operation=f"{request.method} {path}", status=status, why=why)


def json_answer(body: bytes, *, status: int = 200) -> web.Response:
    """An answer of JSON that is text already."""
    return web.Response(status=status, body=body, content_type="application/json", headers=SECURITY_HEADERS)


def _checked(operation: Operation) -> Handler:
    """The handler, behind the checks that its declaration asks for."""
    handler, permission = operation.handler, operation.permission
    in_query = {
        one.name: one
        for one in operation.parameters
        if one.place == "query" and f"{{{one.name}}}" not in operation.path
    }

    @functools.wraps(handler)
    async def checking(request: web.Request) -> web.StreamResponse:
        principal = None
        if not operation.public:
            if operation.event_source:
                request[_EVENT_SOURCE] = True
            await learn_caller(request)
            principal = authorize(request, permission)
            request[_CALLER] = principal
            if permission is not None:
                _keep_within(request, operation, principal)
        for name in request.query:
            parameter = in_query.get(name)
            if parameter is None and operation.other_parameters:
                continue
            if parameter is None:
                known = sorted(in_query)
                raise RequestError(
                    400,
                    "Unknown parameter",
                    f"{name} is not known; known are {', '.join(known)}"
                    if known
                    else f"{name}: there are no parameters",
                    parameter=name,
                    allowed=known,
                )
            if not parameter.repeatable and len(request.query.getall(name)) > 1:
                raise RequestError(
                    400, "Bad parameter", f"{name} is given several times; once is right", parameter=name
                )
        if operation.method == "GET":
            return await handler(request)
        # A source may have the same name as a key; no name of either holds a space.
        with request.app[BODY_READING].budget.share(None if principal is None else f"key {principal.name}") as share:
            _share.set(share)
            return await handler(request)

    return checking
