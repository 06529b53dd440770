"""How many events there are of each type, user, address, …: of any filter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.feed import DEFAULT_LIMIT, LIMIT, filter_parameters, read_filter, read_limit, refused, stretches
from adapter.api.operation import Answer, Limited, Operation, Parameter, caller, json_answer
from adapter.api.slots import Slots
from adapter.hints import Hints
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.search.counting import Counting
from adapter.search.index import NAMES, By
from adapter.search.search import Search
from adapter.settings import Permission

#: The share of the time of a question that is spent on counting.
_SHARE = 0.5


class ValueCount(BaseModel):
    """How many events have a value."""

    value: str | None = Field(description="null: events that have none")
    count: int


class EventCounts(BaseModel):
    """How many events there are of each value, the most frequent one first."""

    by: str
    total: int = Field(description="All events that were counted")
    counts: list[ValueCount]
    different: int = Field(description="Different values of these, null among them")
    partial: bool = Field(description="Whether there was no time for all that match")
    since: int | None = Field(
        description="If so: all events from this time on (epoch milliseconds) are counted, and none before"
    )
    hints: list[str] = Field(default_factory=list, description="Only if there are any: as in a page of events")


class CountPages:
    """Counts what readers of the feed would find."""

    def __init__(
        self, log: Log, search: Search, catalogue: Callable[[], Catalogue], hints: Hints, questions: Slots
    ) -> None:
        """``catalogue`` gives the present one. ``questions`` bounds those that are under way."""
        self._search = search
        self._counting = Counting(search, partial(stretches, log))
        self._catalogue = catalogue
        self._hints = hints
        self._questions = questions

    def operations(self) -> list[Operation]:
        by = Parameter(
            "by",
            "Required: by what. user: who acted, the name, or the id where there is none; realm: likewise",
            {"type": "string", "enum": list(NAMES)},
        )
        limit = {"type": "integer", "minimum": 1, "maximum": LIMIT, "default": DEFAULT_LIMIT}
        return [
            Operation(
                "GET", "/events/counts", self.count, "How many events there are of each value, by filter",
                {200: Answer("Of all that match, or of the latest that there was time for.", model=EventCounts)},
                Permission.READ,
                [*filter_parameters(self._catalogue()), by, Parameter("limit", "Values that are told", limit)],
                limited=Limited.BY_EVENT,
            )
        ]  # fmt: skip

    async def count(self, request: web.Request) -> web.StreamResponse:
        by = _by(request.query.get("by", ""))
        limit = read_limit(request.query.get("limit"))
        catalogue = self._catalogue()
        filter = read_filter(request, catalogue)
        who = caller(request)
        with self._questions.taken(who):
            counted = await self._counting.count(
                filter, by, now=time.time_ns() // 1_000_000, seconds=self._search.timeout * _SHARE, caller=who
            )
        values = counted.values
        if by == "type":
            # Those that have another name by now go under that.
            values = Counter[str | None]()
            for name, number in counted.values.items():
                values[name and catalogue.canonical(name)] += number
        most = sorted(values.items(), key=lambda one: (-one[1], one[0] or ""))[:limit]
        said: dict[str, object] = {
            "by": by,
            "total": sum(values.values()),
            "counts": [{"value": value and _written(value), "count": number} for value, number in most],
            "different": len(values),
            "partial": counted.since is not None,
            "since": counted.since,
        }
        if hints := self._hints.of(filter.terms):
            said["hints"] = hints
        return json_answer(orjson.dumps(said))


def _by(text: str) -> By:
    for name in NAMES:
        if text == name:
            return name
    raise refused("by", text, "one of " + ", ".join(NAMES))


def _written(value: str) -> str:
    """A value that UTF-8 can hold."""
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
