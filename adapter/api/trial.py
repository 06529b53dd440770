"""What somebody tries on a table: raw events or a text that may take a table's place, out of a request's body."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import orjson
from aiohttp import hdrs, web

from adapter.api.operation import Parameter, request_body
from adapter.errors import MappingError, RequestError
from adapter.mapping.body import JSON
from adapter.mapping.document import Document
from adapter.mapping.language import PROVIDER_NAME, check_name
from adapter.mapping.table import Table, read_table, table_file
from adapter.resources import mappings_path
from adapter.tables.in_use import Tables
from adapter.workbench.examples import body_of

#: Characters of a table's text that is tried: many times what the largest has.
TEXT_LIMIT = 1_000_000

PROVIDER = Parameter("provider", "Name of the provider")


#: What a table is tried with.
_WORDS = ("mapping", "raw", "media")


@dataclass(frozen=True)
class Trial:
    """What somebody wants to try: raw events, on the table in use or on a text that may take its place."""

    provider: str
    mapping: str | None
    #: ``None``: none were given.
    body: bytes | None
    #: ``None``: JSON or lines of JSON.
    media: str | None


async def read_trial(request: web.Request) -> Trial:
    """What a request wants to try. A JSON object with a text ``mapping``, and besides it ``raw`` and ``media``, brings
    a table of its own; every other body is raw events.

    Raises:
        RequestError: it cannot be tried; says why.
    """
    provider = request.match_info["provider"]
    body = await request_body(request)
    media = request.content_type if hdrs.CONTENT_TYPE in request.headers else None
    if media in (None, JSON):
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError:
            given = None
        if isinstance(given, dict) and isinstance(given.get("mapping"), str):
            unknown_words = [name for name in given if name not in _WORDS]
            if unknown_words:
                detail = (
                    f"beside mapping there may be raw and media, and no {unknown_words[0][:100]!r}; a raw event that "
                    "has a text `mapping` of its own goes in a list"
                )
                raise RequestError(400, "Bad request", detail)
            provider_name(request)
            if len(given["mapping"]) > TEXT_LIMIT:
                detail = f"the text of a table has at most {TEXT_LIMIT} characters here"
                raise RequestError(413, "Body too large", detail)
            raw = body_of(given["raw"]) if "raw" in given else None
            media = given.get("media")
            if not isinstance(media, str | None):
                raise RequestError(400, "Bad request", "media must be a text, such as text/plain")
            return Trial(provider, given["mapping"], raw, media)
    return Trial(provider, None, body, media)


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


def tried_document(tables: Tables, provider: str, text: str) -> Document:
    """A text as the provider's file, where it would be put.

    Raises:
        MappingError: it is not YAML.
    """
    file = table_file(provider, tables.folders)
    if file is None or file.parent.parent == mappings_path():
        # Built-in tables are not changed but hidden by the user's own.
        own = tables.folders[0]
        file = (Path("mappings") if own == mappings_path() else own) / provider / "mapping.yaml"
    return Document(file, text)


def tried_table(tables: Tables, provider: str, text: str) -> Table:
    """A text as the provider's table.

    Raises:
        RequestError: 422, it cannot be used; says why.
    """
    try:
        return read_table(tried_document(tables, provider, text), tables.catalogue, tables.folders)
    except MappingError as error:
        raise refused(str(error)) from None


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


def refused(problem: str) -> RequestError:
    """The answer about a table that cannot be used."""
    return RequestError(422, "Table refused", problem)


def unknown(tables: Tables) -> RequestError:
    """The answer where there is no table."""
    return RequestError(404, "Not found", f"There is no table for this provider; there are {', '.join(tables)}.")
