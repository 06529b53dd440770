"""Completion: names of filters, and the values that they may have."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.feed import read_limit, refused
from adapter.api.operation import Answer, Limited, Operation, Parameter, caller, json_answer, scope_of_caller
from adapter.api.slots import Slots
from adapter.filter import NAMES, PARAMETERS, Filter
from adapter.mapping.catalogue import ACCESS, Catalogue
from adapter.model import Outcome
from adapter.search.hours import HOURLY
from adapter.search.index import ByPrefix
from adapter.search.keys import HOUR
from adapter.search.search import Search
from adapter.search.values import CASED, FIELDS
from adapter.search_fields import folded
from adapter.settings import Permission

#: Filters whose values are known, and under which field.
COMPLETED: Mapping[str, str] = {
    name: "user" if name in ("actor", "target") else "reason" if name == "reason_class" else name
    for name in NAMES
    if name in (*HOURLY, *FIELDS, "reason_class", "actor", "target")
}
#: Values that are told if nobody says how many, and seconds that are spent on looking for them.
_LIMIT, _SECONDS = 20, 0.005


class ValueOf(BaseModel):
    """A value that a filter may have."""

    value: str
    count: int = Field(description="Events that have it, about: of those that were looked at")


class FilterValues(BaseModel):
    """Values of a filter, the most frequent one first; or names of filters."""

    field: str | None
    values: list[ValueOf]
    partial: bool = Field(description="Whether only the latest events were looked at")


class ValuePages:
    """Completes what people type into a filter."""

    def __init__(self, search: Search, catalogue: Callable[[], Catalogue], questions: Slots) -> None:
        """``catalogue`` gives the present one. ``questions`` bounds those that are under way."""
        self._search = search
        self._catalogue = catalogue
        self._questions = questions

    def operations(self) -> list[Operation]:
        fields = {"type": "string", "enum": [*COMPLETED, *(f"not_{name}" for name in COMPLETED)]}
        limit = {"type": "integer", "minimum": 1, "maximum": 1000, "default": _LIMIT}
        return [
            Operation(
                "GET", "/events/values", self.values, "Names of filters, and their values, by how they begin",
                {200: Answer("Those that begin so, the most frequent first.", model=FilterValues)},
                Permission.READ,
                [
                    Parameter("field", "The filter whose values are wanted; default: the names of filters", fields),
                    Parameter("prefix", "How they begin; the case matters for clients and resources alone"),
                    Parameter("limit", "Values that are told", limit),
                ],
                limited=Limited.BY_EVENT,
            )
        ]  # fmt: skip

    async def values(self, request: web.Request) -> web.StreamResponse:
        name, prefix = request.query.get("field"), request.query.get("prefix", "")
        limit = read_limit(request.query.get("limit"), _LIMIT)
        if name is None:
            found = [{"value": one, "count": 0} for one in PARAMETERS if one.startswith(prefix.lower())]
            return _answer(name, found[:limit], partial=False)
        plain = name.removeprefix("not_")
        if plain not in COMPLETED:
            raise refused("field", name, "one of " + ", ".join(COMPLETED))
        if "\0" in prefix or prefix != prefix.encode("utf-8", "replace").decode():
            return _answer(name, [], partial=False)  # no value that is kept has such a character
        who = caller(request)
        with self._questions.taken(who):
            values, is_whole = await self._find(plain, prefix, scope_of_caller(request).bound(self._all()), who)
        most = sorted(values.items(), key=lambda one: (-one[1], one[0]))[:limit]
        return _answer(name, [{"value": value, "count": count} for value, count in most], partial=not is_whole)

    def _all(self) -> Filter:
        return Filter(self._catalogue())

    async def _find(self, name: str, prefix: str, filter: Filter, who: str) -> tuple[Mapping[str, int], bool]:
        field = COMPLETED[name]
        hour = time.time_ns() // 1_000_000 // HOUR
        if field in FIELDS:
            begun = prefix if field in CASED else folded(prefix)
            found = await self._search.complete(ByPrefix(filter, field, begun, hour, _SECONDS), caller=who)
            # Codes of countries are written so.
            return {v.upper() if field == "country" else v: n for v, n in found.values.items()}, found.is_whole
        found = await self._search.complete(ByPrefix(filter, field, "", hour, _SECONDS), caller=who)
        values = self._known(name)
        for value, events in found.values.items():
            values[self._named(name, value)] += events
        begun = prefix.casefold()
        return {value: n for value, n in values.items() if _begins(name, value.casefold(), begun)}, found.is_whole

    def _named(self, name: str, value: str) -> str:
        match name:
            case "type":
                return self._catalogue().canonical(value)
            case "reason_class":
                return self._catalogue().reason_class(value) or value
        return value

    def _known(self, name: str) -> Counter[str]:
        """What there may be, whether or not any event has it."""
        catalogue = self._catalogue()
        match name:
            case "type":
                return Counter(dict.fromkeys(catalogue.names, 0))
            case "outcome":
                return Counter({str(one): 0 for one in Outcome})
            case "reason":
                return Counter(dict.fromkeys(catalogue.reasons, 0))
            case "reason_class":
                return Counter(dict.fromkeys(catalogue.reason_classes, 0))
        return Counter()


def _begins(name: str, value: str, prefix: str) -> bool:
    """Whether a value begins so; of types of access the first part may be left out."""
    return value.startswith(prefix) or (name == "type" and value.removeprefix(ACCESS).startswith(prefix))


def _answer(field: str | None, values: list[dict[str, Any]], *, partial: bool) -> web.StreamResponse:
    return json_answer(orjson.dumps({"field": field, "values": values, "partial": partial}))
