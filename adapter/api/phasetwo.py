"""What all operations of Phase Two's API have in common: both bases, the realm in the path, parameters and errors as
its clients know them."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from adapter.api.operation import (
    Answer,
    Body,
    Limited,
    Operation,
    Parameter,
    json_answer,
    refuse_beyond,
    scope_of_caller,
)
from adapter.errors import RequestError
from adapter.filter import Filter, Term
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry
from adapter.phasetwo.webhooks import scope_in
from adapter.scope import Scope
from adapter.search_fields import search_fields
from adapter.settings import Permission

#: Objects of one page, and how far into a list a page may lie.
PAGE, DEEPEST = 100, 100_000
_NUMBER = re.compile(r"-?\d{1,19}", re.ASCII)
REALM = Parameter("realm", "Name of the realm")
_INTEGER: Mapping[str, Any] = {"type": "integer"}
BOUNDS = [
    Parameter("first", "How many to leave out", _INTEGER),
    Parameter("max", f"How many at most; {PAGE}, also where more are asked for", _INTEGER),
]

Handler = Callable[[web.Request, Scope], Awaitable[web.Response]]


def phasetwo_operations(
    method: str,
    path: str,
    handler: Handler,
    summary: str,
    answers: Mapping[int, Answer],
    permission: Permission,
    parameters: Sequence[Parameter] = (),
    body: Body | None = None,
    errors: Sequence[int] = (),
) -> list[Operation]:
    """One operation under both bases. ``handler`` gets the request and what its caller may see of the realm."""
    return [
        Operation(
            method, f"{top}/realms/{{realm}}{path}", _within_realm(handler), summary, answers, permission,
            [REALM, *parameters], body, limited=Limited.BY_EVENT, other_parameters=True, errors=errors,
        )
        for top in ("", "/auth")
    ]  # fmt: skip


def _within_realm(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    @functools.wraps(handler)
    async def within(request: web.Request) -> web.StreamResponse:
        try:
            scope = scope_in(request.match_info["realm"], scope_of_caller(request))
            refuse_beyond(request, scope is not None)
            assert scope is not None
            return await handler(request, scope)
        except RequestError as error:
            # Keycloak's clients look for this member.
            error.extra.setdefault("error", error.detail)
            raise

    return within


def sees(scope: Scope, catalogue: Catalogue) -> Callable[[Entry], bool]:
    """Whether an entry has an event that is in a scope, by what it says itself."""
    filter = scope.bound(Filter(catalogue, (Term("type", False, ("*",)),)))
    return lambda entry: entry.event is not None and filter.matches(search_fields(entry.event))


def read_bounds(request: web.Request) -> tuple[int, int]:
    """``first`` and ``max`` of a page.

    Raises:
        RequestError: 400, one of them is no number.
    """
    first, most = _number(request, "first", 0), _number(request, "max", PAGE)
    return min(max(0, first), DEEPEST), most if 0 <= most <= PAGE else PAGE


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if not text:
        return default
    if _NUMBER.fullmatch(text) is None:
        raise RequestError(400, "Bad parameter", f"{name}={text[:100]!r} is not a whole number", parameter=name)
    return int(text)


def listed(values: Sequence[Any]) -> web.Response:
    """A JSON list of models, without what is null in them."""
    return json_answer(orjson.dumps([one.model_dump(exclude_none=True) for one in values]))


def one(value: Any) -> web.Response:
    """One model, without what is null in it."""
    return json_answer(orjson.dumps(value.model_dump(exclude_none=True)))


def not_found(what: str) -> RequestError:
    """What to raise where there is none: also where the caller may not know of it."""
    return RequestError(404, "Not found", f"There is no {what} of this id in this realm.")
