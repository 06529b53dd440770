"""Saved searches over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import (
    Answer,
    Body,
    Limited,
    Operation,
    Parameter,
    caller,
    json_answer,
    request_body,
    scope_of_caller,
)
from adapter.errors import RequestError
from adapter.mapping.catalogue import Catalogue
from adapter.search.saved import LENGTH, NAME, SavedSearch, SavedSearches, checked_name, read_query
from adapter.settings import Permission

#: Bytes of a request's body.
_BODY = 64 * 1024
_NAME = Parameter(
    "name", "The search's name", {"type": "string", "pattern": f"^{NAME}$", "examples": ["failed-logins"]}
)


class SearchQuery(BaseModel):
    """What is saved under a name."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"query": "outcome=failure&from=24h"}]})

    query: str = Field(
        max_length=LENGTH,
        description="Filters as in the address of GET /events, without what says where a page begins: "
        "type=LOGIN_ERROR&from=7d. Times ago are counted from when it is used",
    )


class SavedSearchShown(BaseModel):
    """A saved search."""

    name: str
    query: str
    savedAt: int = Field(description="Epoch milliseconds")
    savedBy: str = Field(description="Name of the key that saved it last")


class SavedSearchList(BaseModel):
    """All saved searches of the caller's limits, by name."""

    searches: list[SavedSearchShown]


class DeletedSearch(BaseModel):
    """What was deleted."""

    deleted: str


class SearchPages:
    """Saves searches for all who have the same limits."""

    def __init__(self, searches: SavedSearches, catalogue: Callable[[], Catalogue]) -> None:
        """``catalogue`` gives the present one."""
        self._searches = searches
        self._catalogue = catalogue

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/searches", self.list, "Saved searches of all who have the same limits",
                {200: Answer("All of them.", model=SavedSearchList)}, Permission.READ, limited=Limited.BY_EVENT,
            ),
            Operation(
                "GET", "/searches/{name}", self.show, "A saved search",
                {200: Answer("It.", model=SavedSearchShown)}, Permission.READ, [_NAME], limited=Limited.BY_EVENT,
            ),
            Operation(
                "PUT", "/searches/{name}", self.save, "Save a search, in the place of one of the same name",
                {200: Answer("It is saved.", model=SavedSearchShown)}, Permission.SEARCHES, [_NAME],
                Body(model=SearchQuery), limited=Limited.BY_EVENT, errors=(409,),
            ),
            Operation(
                "DELETE", "/searches/{name}", self.delete, "Delete a saved search",
                {200: Answer("It is gone.", model=DeletedSearch)}, Permission.SEARCHES, [_NAME],
                limited=Limited.BY_EVENT, errors=(409,),
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.StreamResponse:
        found = await self._searches.all(scope_of_caller(request))
        return json_answer(orjson.dumps({"searches": [_shown(one) for one in found]}))

    async def show(self, request: web.Request) -> web.StreamResponse:
        name = checked_name(request.match_info["name"])
        found = await self._searches.get(scope_of_caller(request), name)
        if found is None:
            raise _not_found(name)
        return json_answer(orjson.dumps(_shown(found)))

    async def save(self, request: web.Request) -> web.StreamResponse:
        name = checked_name(request.match_info["name"])
        asked = read_asked(SearchQuery, read_object(await request_body(request, _BODY)))
        query = asked.query.removeprefix("?")
        read_query(query, self._catalogue())
        saved = SavedSearch(name, query, time.time_ns() // 1_000_000, caller(request))
        await self._searches.save(scope_of_caller(request), saved)
        return json_answer(orjson.dumps(_shown(saved)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        name = checked_name(request.match_info["name"])
        if not await self._searches.delete(scope_of_caller(request), name):
            raise _not_found(name)
        return json_answer(orjson.dumps({"deleted": name}))


def _shown(one: SavedSearch) -> dict[str, object]:
    return {"name": one.name, "query": one.query, "savedAt": one.saved_at, "savedBy": one.saved_by}


def _not_found(name: str) -> RequestError:
    return RequestError(404, "Not found", f"There is no saved search {name!r} within the limits of this key.")
