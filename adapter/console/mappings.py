"""The page Mappings: which tables there are and what they cover, each table row by row, and its examples."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from adapter.api.operation import Limited
from adapter.console import playground
from adapter.console.frame import Route, Section
from adapter.console.visit import Visit
from adapter.errors import RequestError
from adapter.settings import Permission

#: What becomes of native types, in the order of the picture, with words for people.
BECOMES = {
    "success": "success",
    "failure": "failure",
    "unknown": "outcome unknown",
    "several": "by condition",
    "ignored": "ignored",
    "unmapped": "no row on purpose",
    "passed": "passed through",
    "none": "no row",
}
#: Rows, and examples, on one page.
ROWS, EXAMPLES = 200, 50
#: Words that are looked for at once.
WORDS = 10
#: Width of the picture, in units of its own.
WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the picture: native types with one fate."""

    becomes: str
    label: str
    seen: bool
    count: int
    x: float
    width: float


async def tables(visit: Visit) -> web.StreamResponse:
    """All tables, with what they cover."""
    found = await visit.get("/mappings")
    types = await asyncio.gather(*(_types(visit, one["provider"]) for one in found["mappings"]))
    for one, known in zip(found["mappings"], types, strict=True):
        one["segments"] = [] if known is None else segments(known["types"])
        # A type whose rows differ by shape comes several times.
        counts = {} if known is None else {kind["name"]: kind["quarantined"] or 0 for kind in known["types"]}
        one["quarantined"], one["count"] = sum(counts.values()), len(counts)
    visit.command("idp-adapter mapping coverage")
    return visit.page("mappings.html", found=found, becomes=BECOMES)


async def table(visit: Visit) -> web.StreamResponse:
    """One table, row by row."""
    provider, query = visit.request.match_info["provider"], visit.request.query
    found = await visit.get("/mappings")
    state = next((one for one in found["mappings"] if one["provider"] == provider), None)
    # Without a state the API says what there is.
    known = await _types(visit, provider)
    if known is None:
        # No table of it could ever be used: its file says why.
        return visit.redirect(f"/ui/mappings/{quote(provider, safe='')}/file")
    asked = {name: query.get(name, "").strip() for name in ("q", "becomes", "seen", "own")}
    rows = [one for one in known["types"] if _fits(one, asked)]
    begin = _number(query.get("from", ""))
    visit.command(f"idp-adapter mapping coverage {provider} --arrived")
    return visit.page(
        "mappings_table.html",
        state=state,
        provider=provider,
        known=known,
        segments=segments(known["types"]),
        rows=rows[begin : begin + ROWS],
        count=len(rows),
        next=begin + ROWS if len(rows) > begin + ROWS else None,
        asked=asked,
        becomes=BECOMES,
    )


async def file(visit: Visit) -> web.StreamResponse:
    """The table's file, and what a check finds in it; a check takes a moment, so the table does not wait for it."""
    provider = visit.request.match_info["provider"]
    found = await visit.get(_path(provider))
    try:
        coverage = await visit.get(_path(provider, "coverage"), {"arrived": "1"})
    except RequestError as error:
        if error.status != 422:
            raise
        coverage = {"untranslated": []}  # no table of it could ever be used
    visit.command(f"idp-adapter mapping check {provider}")
    return visit.page("mappings_file.html", provider=provider, found=found, coverage=coverage)


async def examples(visit: Visit) -> web.StreamResponse:
    """The table's examples."""
    provider, query = visit.request.match_info["provider"], visit.request.query
    words, begin = query.get("q", "").strip(), _number(query.get("from", ""))
    found = await visit.get(_path(provider, "examples"))
    some = [
        (number, one)
        for number, one in enumerate(found["examples"])
        if words.lower() in f"{one['name']} {one['expect']} {one['raw']}".lower()
    ]
    return visit.page(
        "mappings_examples.html",
        provider=provider,
        examples=some[begin : begin + EXAMPLES],
        count=len(some),
        next=begin + EXAMPLES if len(some) > begin + EXAMPLES else None,
        q=words,
    )


def segments(types: list[dict[str, Any]]) -> list[Segment]:
    """The picture of what becomes of native types: by fate, those that arrived before those that did not."""
    return list(_placed(Counter((_fate(one), bool(one["entries"])) for one in types)))


def _placed(counts: Counter[tuple[str, bool]]) -> Iterator[Segment]:
    x, total = 0.0, counts.total()
    for becomes, label in BECOMES.items():
        for seen in (True, False):
            if count := counts[becomes, seen]:
                width = WIDTH * count / total
                yield Segment(becomes, label, seen, count, round(x, 2), round(width, 2))
                x += width


def _fate(one: dict[str, Any]) -> str:
    """What becomes of a native type; of one without a row, whether that is on purpose, and whether it became an event
    under its own name all the same."""
    if one["becomes"] != "none":
        return str(one["becomes"])
    if one["entries"] and not one["quarantined"]:
        return "passed"
    return "unmapped" if one["unmapped"] is not None else "none"


def _fits(one: dict[str, Any], asked: dict[str, str]) -> bool:
    """Whether a native type is among those that are asked for."""
    if asked["becomes"] and _fate(one) != asked["becomes"]:
        return False
    if asked["seen"] and bool(one["entries"]) != (asked["seen"] == "1"):
        return False
    if asked["own"] and not (one["own"] and one["rows"]):
        return False
    words = asked["q"].lower().split()[:WORDS]
    texts = [one["name"], one["by"], one["unmapped"]]
    texts += [row[part] for row in one["rows"] for part in ("type", "reason", "note", "when", "error", "also")]
    return all(any(word in (text or "").lower() for text in texts) for word in words)


async def _types(visit: Visit, provider: str) -> dict[str, Any] | None:
    """A table's native types; ``None``: no table of it could ever be used."""
    try:
        found: dict[str, Any] = await visit.get(_path(provider, "types"), {"arrived": "1"})
    except RequestError as error:
        if error.status != 422:
            raise
        return None
    return found


def _path(provider: str, *parts: str) -> str:
    return "/".join(["/mappings", quote(provider, safe=""), *parts])


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


SECTION = Section(
    "/ui/mappings",
    "Mappings",
    Permission.READ,
    "g m",
    [
        Route("GET", "/ui/mappings", tables),
        Route("GET", "/ui/mappings/{provider}", table),
        Route("GET", "/ui/mappings/{provider}/file", file),
        Route("GET", "/ui/mappings/{provider}/examples", examples),
        *playground.ROUTES,
    ],
    styles=["mappings.css"],
    scripts=["playground.js"],
    form_limit=16 * 1024 * 1024,
    limited=Limited.BY_SOURCE,
)
