"""Live: events as they come, by `GET /events/live`; without scripts, the newest ones."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from multidict import MultiDict
from yarl import URL

from adapter.console.frame import Route, Section
from adapter.console.visit import Question, Refused, Visit
from adapter.filter import PARAMETERS
from adapter.settings import Permission

_PATH = "/ui/live"
#: Rows that the page begins with, and that it keeps.
_SHOWN, _KEPT = 50, 200
#: Filters that have a field; all others of an address are kept as they are.
FIELDS = ("q", "type", "outcome", "provider", "realm", "user", "ip")
#: What events are told with: names that they do not carry, and a sentence.
_WITH = (("names", "1"), ("sentence", "1"))


async def show(visit: Visit) -> web.Response:
    """The page."""
    query = visit.request.query
    filters = [(name, value) for name, value in query.items() if name in PARAMETERS and value.strip()]
    found: dict[str, Any] = {"events": []}
    stream, wrong = None, None
    try:
        # The place first: what comes while the newest are asked for is in both, and known by its uid.
        end = await visit.get("/events", {"order": "log", "cursor": "end", "limit": 1})
        visit.asked.clear()
        found = await visit.get("/events", _params([*filters, *_WITH, ("limit", str(_SHOWN))]))
        stream = str(URL(f"{visit.site.prefix}/events/live").extend_query([*filters, *_WITH, ("cursor", end["next"])]))
        visit.asked.append(Question("/events/live", filters, visit.site.address(visit.request)))
    except Refused as error:
        if error.status != 400:
            raise
        wrong = error.detail
    visit.command(" ".join(["idp-adapter events list --follow", *map(_option, filters)]))
    return visit.page(
        "live.html",
        http_status=200 if wrong is None else 400,
        wrong=wrong,
        events=found["events"],
        hints=found.get("hints", []),
        stream=stream,
        kept=_KEPT,
        now=time.time_ns() // 1_000_000,
        given={name: query.get(name, "") for name in FIELDS},
        others=[
            (number, name, value) for number, (name, value) in enumerate(filters) if not _has_field(filters, number)
        ],
        without=lambda number: str(
            URL(f"{visit.site.prefix}{_PATH}").extend_query([*filters[:number], *filters[number + 1 :]])
        ),
        here=str(URL(f"{visit.site.prefix}{_PATH}").extend_query(filters)),
        all=str(URL(f"{visit.site.prefix}/ui/events").extend_query(filters)),
    )


def _has_field(filters: Sequence[tuple[str, str]], number: int) -> bool:
    """Whether a filter stands in a field: the first value of one that has some."""
    name, _ = filters[number]
    return name in FIELDS and all(other != name for other, _ in filters[:number])


def _params(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    given = MultiDict(pairs)
    return {name: given.getall(name) for name in given}


def _option(pair: tuple[str, str]) -> str:
    name, value = pair
    return f"--where {shlex.quote(f'{name}={value}')}"


SECTION = Section(
    _PATH,
    "Live",
    Permission.READ,
    "g l",
    (Route("GET", _PATH, show),),
    styles=("live.css",),
    scripts=("live.js",),
)
