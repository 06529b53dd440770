"""The pages of sinks: all of them, and of one its state, tries, what is held and dead, replays, settings and links."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from adapter.api.operation import Limited
from adapter.console.attempt_chart import HEIGHT, PARTS, WIDTH, bar_of, hours_of, longest_of
from adapter.console.frame import Route, Section
from adapter.console.named import sink_name
from adapter.console.sink_actions import LASTS, STATUSES
from adapter.console.sink_actions import ROUTES as ACTIONS
from adapter.console.sink_editing import ROUTES as EDITING
from adapter.console.sink_words import FAULTS, OUTCOMES, filter_of, format_of, law_of, state_of
from adapter.console.visit import Refused, Visit
from adapter.settings import Permission
from adapter.sink_management.written import as_toml

#: Attempts, held and dead events in a page.
PAGE = 50
#: Events about a sink that are looked at, and those that are shown.
_LOOKED, _SHOWN = 100, 10
#: Types of events that tell what became of a sink, and who changed it.
TOLD = ("system.CONFIG-SINK-*", "system.SINK-*")
#: What attempts may be asked for by, and the option of the command line for it; position has none.
_ASKED = {"outcome": "--outcome", "status": "--status", "uid": "--uid", "replay": "--replay", "from": "--since",
          "to": "--until", "position": ""}  # fmt: skip

_OUTCOMES = [("", "all"), *((name, word) for name, (word, _) in OUTCOMES.items())]


async def show_all(visit: Visit) -> web.Response:
    found = await visit.get("/sinks")
    status = await _status(visit)
    rows = [_row(one, status) for one in found["sinks"]]
    visit.command("idp-adapter sinks list")
    return visit.page("sinks_list.html", rows=rows, warnings=found["warnings"])


async def show(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    stats = await visit.get(f"/sinks/{name}/stats")
    status, told = await _status(visit), await _told(visit, name)
    visit.command(f"idp-adapter sinks show {name}")
    return visit.page(
        "sinks_state.html", sink=sink, row=_row(sink, status), stats=stats, told=told, width=WIDTH, height=HEIGHT,
        hours=hours_of(stats["hours"], stats["from"], stats["to"]), outcomes=OUTCOMES, types=TOLD,
        todo=status.get("todo", {}).get(name, ()), here="State",
    )  # fmt: skip


async def attempts(visit: Visit) -> web.Response:
    name, query = sink_name(visit), visit.request.query
    asked = {one: given for one in _ASKED if (given := [text for text in query.getall(one, ()) if text])}
    sink = await visit.get(f"/sinks/{name}")
    cursor = query.get("cursor")
    page = await visit.get(f"/sinks/{name}/attempts", {**asked, "limit": PAGE, "cursor": cursor})
    longest = longest_of([one["durations"] for one in page["attempts"]])
    rows = [(one, bar_of(one["durations"], longest)) for one in page["attempts"]]
    visit.command(_attempts_command(name, asked))
    return visit.page(
        "sinks_attempts.html", sink=sink, rows=rows, asked=asked, next=page["next"], outcomes=OUTCOMES, faults=FAULTS,
        width=WIDTH, longest=longest, phases=PARTS, choices=_OUTCOMES, here="Attempts",
    )  # fmt: skip


async def held(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    page = await visit.get(f"/sinks/{name}/held", {"limit": PAGE, "cursor": visit.request.query.get("cursor")})
    visit.command(f"idp-adapter sinks held {name}")
    return visit.page("sinks_held.html", sink=sink, page=page, faults=FAULTS, here="Held")


async def dead(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    page = await visit.get(f"/sinks/{name}/dead", {"limit": PAGE, "cursor": visit.request.query.get("cursor")})
    visit.command(f"idp-adapter sinks dead {name}")
    return visit.page("sinks_dead.html", sink=sink, page=page, faults=FAULTS, here="Dead letters")


async def replay(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    try:
        job = await visit.get(f"/sinks/{name}/replay")
    except Refused as refusal:
        if refusal.status != 404:
            raise
        job = None
    visit.command(f"idp-adapter sinks replay {name} --watch")
    page = visit.page("sinks_replay.html", sink=sink, job=job, share=_share(job), here="Send again", problem=None,
                      given={}, statuses=STATUSES)  # fmt: skip
    return _until_ended(visit, page, job)


async def settings(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    visit.command(f"idp-adapter sinks show {name}")
    written = "\n".join(as_toml(sink["settings"]))
    return visit.page("sinks_settings.html", sink=sink, written=written, here="Settings")


async def links(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    found = await visit.get(f"/sinks/{name}/links")
    visit.command(f"idp-adapter sinks link {name} --list")
    return visit.page("sinks_links.html", sink=sink, links=found["links"], problem=None, lasts=LASTS, here="Links")


async def audit(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    try:
        found = await visit.get(f"/sinks/{name}/audit")
    except Refused as refusal:
        if refusal.status != 404:
            raise
        found = None
    visit.command(f"idp-adapter sinks audit {name}")
    share = None if found is None else _done(found["begin"], found["position"], found["end"])
    return _until_ended(visit, visit.page("sinks_audit.html", sink=sink, audit=found, share=share, here="Audit"), found)


def _until_ended(visit: Visit, page: web.Response, job: Mapping[str, Any] | None) -> web.Response:
    """A part of a page that looks again and again how far a job is: the whole page is loaded when that has ended."""
    if visit.is_partial and (job is None or job["state"] != "running"):
        page.headers["HX-Refresh"] = "true"
    return page


def _attempts_command(name: str, asked: Mapping[str, Sequence[str]]) -> str:
    options = [
        f"{_ASKED[one]} {shlex.quote(value)}" for one, values in asked.items() for value in values if _ASKED[one]
    ]
    return " ".join([f"idp-adapter sinks attempts {name}", *options])


async def _told(visit: Visit, name: str) -> list[Any] | None:
    """The latest events that tell of a sink; ``None``: the log cannot be searched now, or not by the visitor."""
    if not visit.may(Permission.READ):
        return None
    try:
        # The words of such an event hold the sink's name, and so may those of others.
        page = await visit.get("/events", {"type": TOLD, "q": name, "limit": _LOOKED})
    except Refused:
        return None
    return [one for one in page["events"] if one.get("details", {}).get("sink") == name][:_SHOWN]


def _row(sink: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of a sink in a line; ``status``: what `_status` gives."""
    return {
        "sink": sink,
        "state": state_of(sink),
        "law": law_of(sink["counts"]),
        "format": format_of(sink["settings"]),
        "filter": filter_of(sink["settings"]),
        "status": status.get("sinks", {}).get(sink["name"]),
    }


async def _status(visit: Visit) -> dict[str, Any]:
    """What the service says of all sinks, by name, and what is to be done about each; nothing to who may not know."""
    if not visit.may(Permission.READ):
        return {}
    try:
        found = await visit.get("/status")
    except Refused as refusal:
        if refusal.status != 403:
            raise
        return {}
    todo: dict[str, list[Any]] = {}
    for one in found["todo"]:
        if one["kind"] != "sink":
            continue
        todo.setdefault(one["about"], []).append(one)
    return {"sinks": {one["name"]: one for one in found["sinks"]}, "todo": todo, "now": found["now"]}


def _share(job: Mapping[str, Any] | None) -> float | None:
    """How much of a replay is done, 0 to 1. The held and dead ones come in a second pass."""
    if job is None:
        return None
    both = {"held", "dead"} & {*job["question"]["status"]} and {"never", "delivered"} & {*job["question"]["status"]}
    done = _done(job["begin"], job["position"], job["end"])
    return done if not both else (done + job["others_done"]) / 2


def _done(begin: int, position: int, end: int) -> float:
    return 1.0 if end <= begin else max(0.0, min(1.0, (position - begin) / (end - begin)))


SECTION = Section(
    path="/ui/sinks",
    title="Sinks",
    permission=Permission.SINKS,
    shortcut="g s",
    styles=["sinks.css"],
    routes=[
        Route("GET", "/ui/sinks", show_all),
        *EDITING,
        Route("GET", "/ui/sinks/{name}", show),
        Route("GET", "/ui/sinks/{name}/attempts", attempts),
        Route("GET", "/ui/sinks/{name}/held", held),
        Route("GET", "/ui/sinks/{name}/dead", dead),
        Route("GET", "/ui/sinks/{name}/replay", replay),
        Route("GET", "/ui/sinks/{name}/settings", settings),
        Route("GET", "/ui/sinks/{name}/links", links),
        Route("GET", "/ui/sinks/{name}/audit", audit),
        *ACTIONS,
    ],
    limited=Limited.REFUSED,
)
