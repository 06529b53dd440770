"""Requests to try something on a table: what they bring goes to a process of its own, unread."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from adapter.api.operation import Parameter, request_body
from adapter.errors import RequestError
from adapter.mapping.language import PROVIDER_NAME, check_name
from adapter.mapping.table import Table, table_file
from adapter.tables.in_use import Tables
from adapter.workbench.trial import Texts, Trial, refused

#: Bytes of a body with what is tried.
BODY_LIMIT = 4 * 1024 * 1024

PROVIDER = Parameter("provider", "Name of the provider", {"type": "string", "examples": ["acme"]})


async def read_body(request: web.Request) -> bytes:
    """The body of a request.

    Raises:
        RequestError: 413, it is larger than what may be tried.
    """
    return await request_body(request, BODY_LIMIT)


async def read_trial(request: web.Request, tables: Tables) -> Trial:
    """What a request brings to be tried.

    Raises:
        RequestError: 413, too much.
    """
    provider = request.match_info["provider"]
    media = request.content_type if hdrs.CONTENT_TYPE in request.headers else None
    in_use: Texts | RequestError
    try:
        in_use = table_in_use(tables, provider).texts
    except RequestError as error:
        in_use = error
    return Trial(provider, await read_body(request), media, in_use)


def provider_name(request: web.Request) -> str:
    """The provider of a request's path, which need not have a table yet.

    Raises:
        RequestError: 404, it is no name for one.
    """
    provider: str = request.match_info["provider"]
    try:
        check_name(provider)
    except ValueError as error:
        raise RequestError(404, "Not found", str(error)) from None
    return provider


def table_in_use(tables: Tables, provider: str) -> Table:
    """A provider's table.

    Raises:
        RequestError: 404, there is none; 422, there is none that could be used.
    """
    table = tables.get(provider)
    if table is None:
        refusal = tables.refused.get(provider)
        raise unknown(tables) if refusal is None else refused(refusal.problem)
    return table


def is_there(provider: str, tables: Tables) -> bool:
    """Whether the folders have a table of this name."""
    return re.fullmatch(PROVIDER_NAME, provider) is not None and table_file(provider, tables.folders) is not None


def unknown(tables: Tables) -> RequestError:
    """The answer where there is no table."""
    return RequestError(404, "Not found", f"There is no table for this provider; there are {', '.join(tables)}.")
