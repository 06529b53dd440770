"""The pages of sources: where events are posted and how, what came of it, and what is fetched."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from adapter.api.operation import Limited
from adapter.console.frame import Route, Section
from adapter.console.named import source_name
from adapter.console.visit import Visit
from adapter.settings import Permission

#: What each state is, and how it is coloured.
STATES = {
    "ok": ("events come in", "good"),
    "silent": ("silent: nothing comes any more", "bad"),
    "refused": ("its requests are refused", "bad"),
    "new": ("nothing ever came", "plain"),
}
#: Characters of an example that stands in a command; a longer one is named as a file.
_EXAMPLE = 4000


async def show_all(visit: Visit) -> web.Response:
    found, status = await visit.get("/sources"), await visit.get("/status")
    stands = {one["name"]: one for one in status["sources"]}
    rows = [(one, stands.get(one["name"])) for one in found["sources"]]
    visit.command("idp-adapter status")
    return visit.page("sources_list.html", rows=rows, todo=_todo(status), states=STATES)


async def show(visit: Visit) -> web.Response:
    name = source_name(visit)
    source, status = await visit.get(f"/sources/{name}"), await visit.get("/status")
    stands = next((one for one in status["sources"] if one["name"] == name), None)
    example = None if source["example"] is None else json.dumps(source["example"], ensure_ascii=False)
    example = None if example is None or len(example) > _EXAMPLE else example
    visit.command("idp-adapter status")
    return visit.page(
        "sources_one.html", source=source, status=stands, todo=_todo(status).get(name, ()), states=STATES,
        post=_curl(visit, source, example), example=example is not None, key=_key(source),
    )  # fmt: skip


def _todo(status: Mapping[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in status["todo"]:
        if one["kind"] != "source":
            continue
        found.setdefault(one["about"], []).append(one)
    return found


def _curl(visit: Visit, source: Mapping[str, Any], example: str | None) -> str | None:
    """The command that posts one event; ``None``: nothing is posted to it."""
    if source["path"] is None:
        return None
    to = visit.site.address(visit.request) + source["path"]
    headers = "-H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json'"
    body = "@event.json" if example is None else shlex.quote(example)
    return f"curl {headers} \\\n  --data-binary {body} \\\n  {shlex.quote(to)}"


def _key(source: Mapping[str, Any]) -> str:
    name = source["name"]
    return f"idp-adapter keys create --name post-to-{name} --can ingest --source {name} --expires 90d"


SECTION = Section(
    path="/ui/sources",
    title="Sources",
    permission=Permission.READ,
    shortcut="g r",
    styles=["sinks.css"],
    routes=[Route("GET", "/ui/sources", show_all), Route("GET", "/ui/sources/{name}", show)],
    limited=Limited.BY_SOURCE,
)
