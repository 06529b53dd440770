"""The page Quarantine: what has no event yet, the row that would read it, and reading it again."""

from __future__ import annotations

import json
import shlex
from typing import Any
from urllib.parse import quote

from aiohttp import web

from adapter.api.operation import Limited
from adapter.console.frame import Route, Section
from adapter.console.table_text import row_text
from adapter.console.visit import Refused, Visit
from adapter.errors import RequestError
from adapter.mapping.compile import NO_ROW
from adapter.settings import Permission

#: Groups that are shown; the largest come first.
GROUPS = 100
#: Characters of an entry that are shown.
RAW = 200_000

_FILTERS = ("provider", "source", "native_type")


async def groups(visit: Visit) -> web.StreamResponse:
    """What is quarantined, in groups, and how far it is read again."""
    asked = _asked(visit)
    raw = {"raw": "1"} if visit.may(Permission.RAW) else {}
    found = await visit.get("/quarantine", {**asked, **raw, "limit": GROUPS})
    for group in found["groups"]:
        group["lacks"] = _lacks(group)
        group["row"] = None if group["likely"] is None else row_text(group["nativeType"], group["likely"])
    words = [f"--{name.replace('_', '-')} {shlex.quote(one)}" for name, some in asked.items() for one in some]
    visit.command(" ".join(["idp-adapter events quarantine", *words]))
    return visit.page("quarantine.html", found=found, asked=asked, job=None if visit.is_partial else await _job(visit))


async def entry(visit: Visit) -> web.StreamResponse:
    """One quarantined entry, whole."""
    uid = visit.request.match_info["uid"]
    raw = {"raw": "1"} if visit.may(Permission.RAW) else {}
    found = await visit.get(f"/quarantine/{quote(uid, safe='')}", raw)
    found["lacks"] = _lacks(found)
    group = await visit.get("/quarantine", {"source": found["source"], "native_type": found["nativeType"]})
    provider = next((one["provider"] for one in group["groups"]), None)
    given = found.get("raw")
    text = (
        given if isinstance(given, str) else None if given is None else json.dumps(given, ensure_ascii=False, indent=2)
    )
    return visit.page(
        "quarantine_entry.html",
        found=found,
        provider=provider,
        raw=None if text is None else text[:RAW],
        cut=text is not None and len(text) > RAW,
    )


async def job(visit: Visit) -> web.StreamResponse:
    """How far the reading is, asked again and again while it is under way."""
    return await _shown(visit)


async def start(visit: Visit) -> web.StreamResponse:
    """Read quarantined entries again."""
    question: dict[str, Any] = {"type": "quarantined", "dry_run": "dry_run" in visit.form}
    if provider := visit.form.get("provider"):
        question["provider"] = provider
    if native := visit.form.getall("native_type", []):
        question["native_type"] = native
    await visit.post("/renormalization", question)
    return await _shown(visit)


async def cancel(visit: Visit) -> web.StreamResponse:
    """Cancel it."""
    await visit.delete("/renormalization")
    return await _shown(visit)


async def _shown(visit: Visit) -> web.StreamResponse:
    if not visit.is_partial:
        return visit.redirect("/ui/quarantine")
    found = await _job(visit)
    response = visit.fragment("quarantine_job.html", job=found)
    if found is not None and found["state"] not in ("running", "waiting"):
        # The groups are others now.
        response.headers["HX-Trigger"] = "renormalized"
    return response


async def _job(visit: Visit) -> dict[str, Any] | None:
    """The last reading; ``None``: there was none, or it is not the visitor's to see. What became events is linked by
    the types that their native types have now."""
    try:
        found: dict[str, Any] = await visit.get("/renormalization")
    except Refused as error:
        if error.status in (403, 404):
            return None
        raise
    question = found["question"]
    found["types"] = []
    if question["provider"] and question["native_type"]:
        try:
            table = await visit.get(f"/mappings/{quote(question['provider'], safe='')}/types")
        except RequestError:
            return found
        rows = [row for one in table["types"] if one["name"] in question["native_type"] for row in one["rows"]]
        found["types"] = list(dict.fromkeys(row["type"] for row in rows if row["type"]))
    return found


def _lacks(entry: dict[str, Any]) -> str | None:
    """The native type that lacks a row, if that is the problem."""
    return entry["nativeType"] if entry["problem"].startswith(NO_ROW) else None


def _asked(visit: Visit) -> dict[str, list[str]]:
    query = visit.request.query
    return {name: some for name in _FILTERS if (some := [one for one in query.getall(name, []) if one])}


SECTION = Section(
    "/ui/quarantine",
    "Quarantine",
    Permission.READ,
    "g q",
    [
        Route("GET", "/ui/quarantine", groups),
        Route("GET", "/ui/quarantine/job", job),
        Route("POST", "/ui/quarantine/job", start),
        Route("POST", "/ui/quarantine/job/cancel", cancel),
        Route("GET", "/ui/quarantine/{uid}", entry),
    ],
    styles=["mappings.css"],
    limited=Limited.BY_SOURCE,
)
