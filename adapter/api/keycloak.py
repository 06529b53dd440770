"""Reads as Keycloak's Admin REST API has them: ``/admin/realms/{realm}/events`` and ``…/admin-events``, with its
parameters, forms and errors (Keycloak 26), answered from the log, whatever provider the events came from."""

from __future__ import annotations

import re
from array import array
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from pydantic import BaseModel, Field, RootModel

from adapter.api.feed import stretches
from adapter.api.keycloak_callers import KeycloakCallers, Reader, Token, TokenRefusal
from adapter.api.operation import TEXT, Answer, Body, Operation, Parameter, Proof
from adapter.api.slots import Slots
from adapter.api.stream import streamed
from adapter.errors import RequestError
from adapter.filter import GLOBS_LIMIT, Filter
from adapter.formats.keycloak import ACCESS, ADMIN, write_representation
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry
from adapter.problem import Handler
from adapter.search.search import Search

#: What Keycloak gives where nobody says how many.
DEFAULT_MAX = 100
#: Oldest first, all places up to the end of the answer are held in memory; no more than these.
ASCENDING_LIMIT = 1_000_000
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,15}", re.ASCII)

_MOMENT: Mapping[str, Any] = {"type": "string", "description": "yyyy-MM-dd (UTC), or epoch milliseconds"}
_INTEGER: Mapping[str, Any] = {"type": "integer"}
_REALM = Parameter("realm", "Name or id of the realm")
_BOUNDS = [
    Parameter("dateFrom", "Happened then or later", _MOMENT),
    Parameter("dateTo", "Happened then or earlier; a day with all of it", _MOMENT),
    Parameter("direction", "By time", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}),
    Parameter("first", "How many to leave out", _INTEGER),
    Parameter("max", f"How many at most; default {DEFAULT_MAX}, below 0: all", _INTEGER),
]
_USER_EVENTS = [
    Parameter("type", "Type, by Keycloak's name", TEXT, repeatable=True),
    Parameter("client", "Client"),
    Parameter("user", "Id of the user"),
    Parameter("ipAddress", "Address"),
    *_BOUNDS,
]
_ADMIN_EVENTS = [
    Parameter("operationTypes", "CREATE, UPDATE, DELETE, ACTION", TEXT, repeatable=True),
    Parameter("resourceTypes", "Resource types", TEXT, repeatable=True),
    Parameter("authRealm", "Id of the administrator's realm"),
    Parameter("authClient", "Id of the administrator's client"),
    Parameter("authUser", "Id of the administrator"),
    Parameter("authIpAddress", "The administrator's address"),
    Parameter("resourcePath", "Path of the resource, a * for any part of it"),
    *_BOUNDS,
]


_FORM = "application/x-www-form-urlencoded"
_CLIENT = {"grant_type": "client_credentials", "client_id": "siem", "client_secret": "idpa_0123456789abcdef"}
_TOKENS = {200: Answer("The token.", model=Token), 401: Answer("It is not known.", model=TokenRefusal)}


class UserEvent(BaseModel):
    """EventRepresentation."""

    id: str = Field(description="The provider's own id, or else the event's uid")
    time: int = Field(description="Epoch milliseconds")
    type: str = Field(description="By Keycloak's name, where it has one")
    realmId: str | None = None
    clientId: str | None = None
    userId: str | None = None
    sessionId: str | None = None
    ipAddress: str | None = None
    error: str | None = None
    details: dict[str, str] | None = None


class Administrator(BaseModel):
    """AuthDetailsRepresentation."""

    realmId: str | None = None
    clientId: str | None = None
    userId: str | None = None
    ipAddress: str | None = None


class AdminEvent(BaseModel):
    """AdminEventRepresentation."""

    id: str = Field(description="The provider's own id, or else the event's uid")
    time: int = Field(description="Epoch milliseconds")
    realmId: str | None = None
    authDetails: Administrator
    operationType: str
    resourceType: str
    resourcePath: str | None = None
    representation: str | None = None
    error: str | None = None
    details: dict[str, str] | None = None


class UserEvents(RootModel[list[UserEvent]]):
    """What ``events`` answers."""


class AdminEvents(RootModel[list[AdminEvent]]):
    """What ``admin-events`` answers."""


class _Stretch(NamedTuple):
    """Which of the matching events are asked for."""

    first: int
    #: ``None``: all.
    max: int | None
    ascending: bool


class KeycloakReads:
    """Answers Keycloak's clients."""

    def __init__(
        self,
        log: Log,
        search: Search,
        catalogue: Callable[[], Catalogue],
        callers: KeycloakCallers,
        realms: Mapping[str, Sequence[str]],
        *,
        questions_limit: int,
        reading_timeout: float,
    ) -> None:
        """``realms``: names of the sources whose events a realm shows; one that is not among them shows the events
        that name it."""
        self._log = log
        self._search = search
        self._catalogue = catalogue
        self._callers = callers
        self._realms = realms
        self._slots = Slots("questions", each=questions_limit)
        self._reading_timeout = reading_timeout

    def operations(self) -> list[Operation]:
        found = []
        for top in ("", "/auth"):
            path = f"{top}/admin/realms/{{realm}}"
            found += [
                self._reading(f"{path}/events", self.events, "User events, as Keycloak gives them", _USER_EVENTS,
                              UserEvents),
                self._reading(f"{path}/admin-events", self.admin_events, "Admin events, as Keycloak gives them",
                              _ADMIN_EVENTS, AdminEvents),
                *(
                    Operation("DELETE", f"{path}/{what}", self.refuse, "Refused: events are not deleted this way",
                              {403: Answer("Always.", ("application/problem+json",))}, parameters=[_REALM],
                              public=True, other_parameters=True)
                    for what in ("events", "admin-events")
                ),
                Operation("POST", f"{top}/realms/{{realm}}/protocol/openid-connect/token", self._callers.make_token,
                          "A token for Keycloak's clients: the configured Keycloak's, or the one they bring as the "
                          "secret of their client",
                          _TOKENS, parameters=[_REALM],
                          body=Body((_FORM,), examples={_FORM: _CLIENT}), public=True),
            ]  # fmt: skip
        return found

    def _reading(
        self, path: str, handler: Handler, summary: str, parameters: Sequence[Parameter], model: type[BaseModel]
    ) -> Operation:
        return Operation(
            "GET",
            path,
            handler,
            summary,
            {200: Answer("The events.", model=model)},
            parameters=[_REALM, *parameters],
            public=True,
            proves=Proof.TOKEN,
            other_parameters=True,
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        who = await self._callers.check(request, request.match_info["realm"], "events")
        types = [one if one.startswith(ACCESS) else ACCESS + one for one in query.getall("type", [])]
        wanted = self._wanted(request, types or [f"{ACCESS}*"])
        wanted |= _given(query, client="client", user="user", ip="ipAddress")
        return await self._answer(request, wanted, who, None)

    async def admin_events(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        who = await self._callers.check(request, request.match_info["realm"], "admin-events")
        resources = query.getall("resourceTypes", ["*"])
        # A question has only so many types with a *, and Keycloak's console offers more resource types to choose from.
        every = ["*"] if len(resources) <= GLOBS_LIMIT else [*self._catalogue().admin.operations]
        operations = query.getall("operationTypes", every)
        types = [f"{ADMIN}{resource}-{operation}" for resource in resources for operation in operations]
        wanted = self._wanted(request, [f"{ADMIN}*"] if types == [f"{ADMIN}*-*"] else types)
        wanted |= _given(query, client="authClient", actor="authUser", ip="authIpAddress")
        if path := query.get("resourcePath"):
            wanted["resource"] = [path.replace("%", "*")]
        realm = query.get("authRealm")
        if realm is None:
            return await self._answer(request, wanted, who, None)

        def fits(entry: Entry) -> bool:
            event = orjson.loads(entry.event or b"{}")
            return bool(event.get("details", {}).get("auth_realm_id") == realm)

        return await self._answer(request, wanted, who, fits)

    async def refuse(self, request: web.Request) -> web.StreamResponse:
        """
        Raises:
            RequestError: 403, always.
        """
        detail = "Events of this log are not deleted on request; how long they are kept is a setting of the adapter."
        raise RequestError(403, "Forbidden", detail, error="HTTP 403 Forbidden")

    def _wanted(self, request: web.Request, types: list[str]) -> dict[str, list[str]]:
        """The filters that all reads have in common."""
        query, realm = request.query, request.match_info["realm"]
        sources = self._realms.get(realm)
        wanted = {"type": types, **({"realm": [realm]} if sources is None else {"source": list(sources)})}
        if (begin := _moment(query, "dateFrom", timedelta())) is not None:
            wanted["from"] = [str(begin)]
        if (end := _moment(query, "dateTo", timedelta(days=1, milliseconds=-1))) is not None:
            wanted["to"] = [str(end + 1)]
        return wanted

    async def _answer(
        self,
        request: web.Request,
        wanted: Mapping[str, Sequence[str]],
        who: Reader,
        fits: Callable[[Entry], bool] | None,
    ) -> web.StreamResponse:
        stretch = _stretch(request.query)
        # The sources of a realm may have events of others, too.
        filter = who.scope.bound(Filter.parse(wanted, self._catalogue()).scoped())
        with self._slots.taken(who.name):
            async with aclosing(self._places(filter, who.name, fits, stretch)) as pages:
                # The first page is asked for before the answer begins, so that what is wrong can still be said.
                positions = await anext(pages, None)
                sending = streamed(request, "application/json", reading_timeout=self._reading_timeout)
                async with sending as stream:
                    await stream.write(b"[")
                    comma = b""
                    while positions is not None:
                        async for entries, _ in stretches(self._log, positions):
                            events = [write_representation(one.event) for one in entries if one.event is not None]
                            if events:
                                await stream.write(comma + b",".join(events))
                                comma = b","
                        positions = await anext(pages, None)
                    await stream.write(b"]")
                return stream.response

    async def _places(
        self, filter: Filter, who: str, fits: Callable[[Entry], bool] | None, stretch: _Stretch
    ) -> AsyncGenerator[Sequence[int], None]:
        """The places of what is asked for, in its order, some at a time."""
        pages = self._matching(filter, who, fits)
        if stretch.ascending:
            end = None if stretch.max is None else stretch.first + stretch.max
            if end is None or end > ASCENDING_LIMIT:
                end = ASCENDING_LIMIT
            last: deque[int] = deque(maxlen=end)
            found = 0
            async for positions in pages:
                found += len(positions)
                last.extend(positions)
            if found > ASCENDING_LIMIT and (stretch.max is None or stretch.first + stretch.max > ASCENDING_LIMIT):
                detail = f"oldest first, at most {ASCENDING_LIMIT} events can be gone through; narrow it with dateFrom "
                raise RequestError(400, "Too many events", f"{detail}and dateTo", error="Too many events")
            chosen = array("Q", reversed(last))[stretch.first :]
            for at in range(0, len(chosen), 1000):
                yield chosen[at : at + 1000].tolist()
            return
        skip, left = stretch.first, stretch.max
        async for positions in pages:
            some = positions[skip:]
            skip = max(0, skip - len(positions))
            if left is not None:
                some = some[:left]
                left -= len(some)
            if some:
                yield some
            if left == 0:
                return

    async def _matching(
        self, filter: Filter, who: str, fits: Callable[[Entry], bool] | None
    ) -> AsyncIterator[Sequence[int]]:
        """The places of all events that match, newest first."""
        async for positions in self._search.pages(filter, caller=who):
            if fits is None:
                yield positions
                continue
            async for entries, _ in stretches(self._log, positions):
                yield [entry.position for entry in entries if fits(entry)]


def _given(query: Mapping[str, str], **names: str) -> dict[str, list[str]]:
    """Filters by the parameters that stand for them, so far as they are given; an empty one is none, as in Keycloak."""
    return {ours: [query[theirs]] for ours, theirs in names.items() if query.get(theirs)}


def _stretch(query: Mapping[str, str]) -> _Stretch:
    """
    Raises:
        RequestError: 400, one of the parameters is wrong.
    """
    first, most = _number(query, "first", 0), _number(query, "max", DEFAULT_MAX)
    direction = query.get("direction") or "desc"
    if direction.lower() not in ("asc", "desc"):
        raise _wrong("direction", direction, "asc or desc")
    return _Stretch(max(0, first), None if most < 0 else most, direction.lower() == "asc")


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if _NUMBER.fullmatch(text) is None:
        raise _wrong(name, text, "a whole number")
    return int(text)


def _moment(query: Mapping[str, str], name: str, of_day: timedelta) -> int | None:
    """A day, of which ``of_day`` is meant, or epoch milliseconds.

    Raises:
        RequestError: 400, it is neither.
    """
    text = query.get(name)
    if not text:
        return None
    if _DATE.fullmatch(text) is not None:
        try:
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return round((day + of_day).timestamp() * 1000)
        except (ValueError, OverflowError):
            pass
    elif _NUMBER.fullmatch(text) is not None:
        return max(0, int(text))
    raise _wrong(name, text, "a day as yyyy-MM-dd, or epoch milliseconds")


def _wrong(name: str, text: str, right: str) -> RequestError:
    detail = f"{name}={text[:100]!r} is not right; it must be {right}"
    return RequestError(400, "Bad parameter", detail, parameter=name, error=detail)
