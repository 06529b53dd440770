"""Page Events: find events by any filter, and see one of them whole, with all that is known of it."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

import msgspec
import orjson
from aiohttp import web
from markupsafe import Markup

from adapter.api.headers import CURSOR as SNAPSHOT
from adapter.console.events_query import CURSOR, PATH, Query, choices, shown_time, shown_words
from adapter.console.events_shown import FIELDS, WHOLE, Links, changes, cut, fields_of, flat, laid_out_json, row_of
from adapter.console.frame import Route, Section
from adapter.console.people import PATH as PEOPLE
from adapter.console.people import person_address
from adapter.console.visit import HEADERS, Refused, Visit
from adapter.documents.kinds import KINDS
from adapter.errors import RequestError
from adapter.filter import TIMES
from adapter.formats.text import harmless
from adapter.settings import Permission

#: Events on a page.
LIMIT = 100
#: What events are counted by beside the table: those that are kept by the hour at once, others when they are asked for.
COUNTED, COUNTED_LATER = ("outcome", "type", "reason", "provider", "realm"), ("client", "user", "ip")
#: Values of each that are told, and seconds that each is counted for.
_VALUES, _SECONDS = 8, 1.0
#: What events are counted by in one answer, at most.
_BY_MOST = 8
#: Users are counted by who acted.
_FILTER_OF = {"user": "actor"}
#: Conditions that are tried one by one where nothing matches, and seconds after which no further one is.
_TRIED, _TRYING = 8, 2.0
#: Time ranges that are one click away.
_RANGES = (("15m", "15 min"), ("1h", "1 h"), ("24h", "24 h"), ("7d", "7 days"), ("30d", "30 days"), ("", "any time"))
#: Milliseconds before and after an event that are around it.
_AROUND = 5 * 60_000
#: How a hint of the API names what may have been meant.
_MEANT = re.compile(r"(?P<name>[a-z_]+)=(?P<value>.*): (?P<told>.*); did you mean (?P<near>[^?]+)\?", re.DOTALL)
#: What the events of a filter can be had as: by format, what it is called, how its file ends, and what it is for.
_FILES = {
    "csv": ("CSV", "csv", "a table for spreadsheets; of any size"),
    "unified": ("NDJSON", "ndjson", "JSON, one event a line, as it is stored; of any size"),
    "parquet": ("Parquet", "parquet", "columns for DuckDB, Spark or Power Query"),
    "pdf": ("PDF", "pdf", "a report to sign: counts, and up to 1,000 events"),
}
#: What the address of a file says beside filters.
_FILE = ("format", "manifest", "at", CURSOR)


class Hint(NamedTuple):
    """What may be a slip in the filters, and what may have been meant: text and address of each."""

    text: str
    near: Sequence[tuple[str, str]]


# Finding


async def _find(visit: Visit) -> web.Response:
    query, is_form = Query.read(visit.request.query.items(), visit.zone)
    if is_form:
        return visit.redirect(f"{PATH}?{query.text}" if query.text else PATH)
    links = Links(query, visit.site.prefix)
    params: dict[str, Any] = {**query.params, "limit": LIMIT, "names": 1, "sentence": 1, CURSOR: query.cursor}
    page: dict[str, Any] = {"events": [], "next": None}
    wrong: Refused | None = None
    try:
        page = await visit.get("/events", params)
    except Refused as error:
        if error.status not in (400, 429, 503):
            raise
        wrong = error
    visit.command(query.command(f"idp-adapter events list --limit {LIMIT}"))
    following = page["next"]
    next_page = None if following is None else links.to(query.fixed(_now()), cursor=following)
    is_empty = wrong is None and not page["events"] and following is None and query.cursor is None
    values: dict[str, Any] = {
        **_bar(query, links, visit, wrong),
        "rows": [row_of(event, links, visit.site.prefix) for event in page["events"]],
        "next": next_page,
        "is_short": following is not None and len(page["events"]) < LIMIT,
        "first_page": links.to(query) if query.cursor is not None else None,
        "hints": [_hint(one, query, links) for one in page.get("hints", ())],
        "is_empty": is_empty,
        "culprits": await _culprits(visit, query, links) if is_empty and query.pairs else None,
        "post_command": _post_command(visit) if is_empty else None,
        "query": query,
        "counts_url": _under("counts", query, visit),
        "searches_url": _under("searches", query, visit),
        "export_url": _under("export", query, visit) if visit.may(Permission.EXPORT) else None,
    }
    return visit.page("events.html", http_status=200 if wrong is None else wrong.status, **values)


def _bar(query: Query, links: Links, visit: Visit, wrong: Refused | None) -> dict[str, Any]:
    """What the filter bar shows, with what is wrong in it at its field."""
    parameter = None if wrong is None else wrong.extra.get("parameter")
    words = query.first("q")
    chips = [
        {
            "clause": one,
            "label": cut(shown_time(one.value, visit.zone) if one.name in TIMES else one.value, 60),
            "without": links.to(query.without(one)),
            "turned": None if one.name in TIMES else links.to(query.without(one).including(*one.opposite)),
            "is_wrong": parameter == one.name,
        }
        for one in query.clauses
        if (one.name, one.value) != ("q", words)
    ]
    at_field = parameter in ("q", "from", "to") or any(one["is_wrong"] for one in chips)
    unsaid = query.without_names("from", "to")
    return {
        "words": shown_words(words),
        "chips": chips,
        # What the form sends again as it is.
        "kept": Query(tuple(one for one in query.pairs if one[0] not in ("from", "to") and one != ("q", words))).text,
        "from_": shown_time(query.first("from"), visit.zone),
        "to": shown_time(query.first("to"), visit.zone),
        "ranges": [
            {
                "text": text,
                "url": links.to(unsaid.including("from", said) if said else unsaid),
                "is_chosen": query.first("from") == said and not query.first("to"),
            }
            for said, text in _RANGES
        ],
        "live_url": visit.site.prefix + "/ui/live" + (f"?{unsaid.text}" if unsaid.pairs else ""),
        "fields": choices(query.clauses),
        "wrong": wrong,
        "wrong_at": parameter if at_field else None,
        "clear_url": links.to(Query()) if query.pairs else None,
        "values_url": visit.site.prefix + f"{PATH}/values",
    }


async def _culprits(visit: Visit, query: Query, links: Links) -> list[dict[str, Any]]:
    """The conditions of a question without an answer: whether there are events without each."""
    found: list[dict[str, Any]] = []
    asked, end = len(visit.asked), time.monotonic() + _TRYING
    parts = query.parts()
    for text, without in parts[:_TRIED] if len(parts) > 1 else ():
        if time.monotonic() >= end:
            break
        try:
            page = await visit.get("/events", {**without.params, "limit": 1})
        except Refused:
            break
        if page["events"]:
            found.append({"text": text, "url": links.to(without)})
    del visit.asked[asked:]
    return found


def _hint(text: str, query: Query, links: Links) -> Hint:
    found = _MEANT.fullmatch(text)
    if found is None:
        return Hint(text, ())
    name, value = found["name"], found["value"]
    others = query.without((name, value))
    near = [(one, links.to(others.including(name, one))) for one in found["near"].split(" or ")]
    return Hint(f"{name}={value}: {found['told']}; did you mean", near)


def _post_command(visit: Visit) -> str:
    """How an event is sent."""
    said = {"id": "1", "time": _now(), "type": "LOGIN", "realmId": "demo", "details": {"username": "anna"}}
    event = orjson.dumps(said).decode()
    address = visit.site.address(visit.request)
    return (
        f"curl --header 'Authorization: Bearer TOKEN-OF-THE-SOURCE' --header 'Content-Type: application/json' \\\n"
        f"  --data {shlex.quote(event)} {address}/ingest/keycloak"
    )


# Beside the table


async def _count(visit: Visit) -> web.Response:
    """How many events of the filter have which value."""
    given = [(name, value) for name, value in visit.request.query.items() if name != "by"]
    query, _ = Query.read(given, visit.zone)
    links = Links(query, visit.site.prefix)
    by = [one for one in dict.fromkeys(visit.request.query.getall("by", [])) if one][:_BY_MOST]
    facets = []
    for one in by or COUNTED:
        asked: dict[str, Any] = {**query.params, "by": one, "limit": _VALUES, "seconds": str(_SECONDS)}
        try:
            counted = await visit.get("/events/counts", asked)
        except Refused as error:
            if error.status != 503:
                raise
            # Nothing was counted in time: others would not be, either.
            facets.append({"by": one, "problem": error.detail})
            break
        facets.append(_facet(one, counted, links))
    first = by[0] if by else COUNTED[0]
    visit.command(query.command(f"idp-adapter events count --by {first}"))
    later = [{"by": one, "url": _under("counts", query, visit, by=one)} for one in COUNTED_LATER]
    return visit.page(
        "events_counts.html", facets=facets, later=[] if by else later, list_url=links.to(query), is_whole=not by
    )


def _facet(by: str, counted: Mapping[str, Any], links: Links) -> dict[str, Any]:
    most = max([one["count"] for one in counted["counts"]], default=0)
    name = _FILTER_OF.get(by, by)
    return {
        "by": by,
        "total": counted["total"],
        "since": counted["since"],
        "different": counted["different"],
        "values": [
            {
                "shown": Markup('<span class="soft">none</span>')
                if one["value"] is None
                else links.value(name, one["value"]),
                "count": one["count"],
                "url": None if one["value"] is None else links.including(name, one["value"]),
                "width": max(1, round(100 * one["count"] / most)),
            }
            for one in counted["counts"]
        ],
    }


async def _complete(visit: Visit) -> web.Response:
    """Values of a filter that begin so, for the field in which one is typed."""
    field, prefix = visit.request.query.get("field", ""), visit.request.query.get("prefix", "")
    found: dict[str, Any] = {"values": []}
    try:
        found = await visit.get("/events/values", {"field": field, "prefix": prefix, "limit": 12})
    except Refused as error:
        # Not every filter has values that are known; and who types waits for nothing.
        if error.status not in (400, 429, 503):
            raise
    told = [{**one, "shown": harmless(cut(one["value"], 100))} for one in found["values"]]
    return web.Response(body=orjson.dumps({"values": told}), content_type="application/json", headers=HEADERS)


# As a file


async def _export(visit: Visit) -> web.StreamResponse:
    """The files that the events can be had as; with a format one of them, or its manifest."""
    asked = visit.request.query
    query, _ = Query.read([(name, value) for name, value in asked.items() if name not in _FILE], visit.zone)
    form = asked.get("format")
    if form is None:
        return await _files(visit, query)
    params = {**query.params, **{name: asked[name] for name in ("format", CURSOR) if name in asked}}
    name = _file_name(form, asked.get("at", ""))
    if asked.get("manifest") == "1":
        return await visit.download("/events/export", {**params, "manifest": "1"}, name=f"{name}.manifest.json")
    return await visit.download("/events/export", params, name=name)


async def _files(visit: Visit, query: Query) -> web.Response:
    """All of them are of one moment of the log, which their addresses carry: so a manifest is that of the file,
    whenever either is asked for."""
    try:
        cursor = await visit.header(SNAPSHOT, "/events/export", {**query.params, "format": "unified"})
    except Refused as error:
        # An answer without its body does not say what is wrong; these do.
        if error.status == 403:
            raise RequestError(403, "Forbidden", f"{visit.name} lacks the permission 'export'.") from None
        if error.status == 400:
            await visit.get("/events", {**query.params, "limit": 1})
        if error.status in (429, 503):
            detail = "Other exports are under way, or the search cannot answer now; try again when one has ended."
            raise RequestError(error.status, "Not now", detail) from None
        raise
    moment = {CURSOR: cursor or "", "at": str(_now())}
    files = [
        {
            "text": text,
            "about": about,
            "url": _under("export", query, visit, **moment, format=form),
            "manifest_url": _under("export", query, visit, **moment, format=form, manifest="1"),
        }
        for form, (text, _, about) in _FILES.items()
        if form not in KINDS or KINDS[form].missing is None
    ]
    name = _file_name("csv", moment["at"])
    visit.command(
        query.command(f"idp-adapter events export --format csv --output {name} --manifest")
        + f"\nidp-adapter events verify {name}"
    )
    list_url = Links(query, visit.site.prefix).to(query)
    return visit.page("events_export.html", files=files, is_filtered=bool(query.pairs), list_url=list_url)


def _file_name(form: str, at: str) -> str:
    """``at``: when it was asked for, epoch milliseconds."""
    ending = _FILES[form][1] if form in _FILES else form if form.isascii() and form.isalnum() else "txt"
    try:
        when = datetime.fromtimestamp(int(at) / 1000, UTC).strftime("-%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError, OSError):
        when = ""
    return f"events{when}.{ending}"


# Saved searches


async def _searches(visit: Visit) -> web.Response:
    query, _ = Query.read(visit.request.query.items(), visit.zone)
    return await _saved(visit, query, "", None)


async def _save_search(visit: Visit) -> web.Response:
    query, name = _sent(visit), visit.form.get("name", "").strip()
    try:
        await visit.put(f"/searches/{quote(name, safe='') or '-'}", {"query": query.text})
    except Refused as error:
        if error.status not in (400, 409):
            raise
        return await _saved(visit, query, name, error)
    return visit.redirect(f"{PATH}/searches?{query.text}")


async def _delete_search(visit: Visit) -> web.Response:
    query = _sent(visit)
    await visit.delete(f"/searches/{quote(visit.form.get('name', ''), safe='')}")
    return visit.redirect(f"{PATH}/searches?{query.text}")


async def _saved(visit: Visit, query: Query, name: str, wrong: Refused | None) -> web.Response:
    searches = (await visit.get("/searches"))["searches"]
    visit.command("idp-adapter searches list")
    prefix = visit.site.prefix + PATH
    told = [{**one, "url": f"{prefix}?{one['query']}", "shown": unquote(one["query"])} for one in searches]
    return visit.page(
        "events_searches.html",
        http_status=200 if wrong is None else wrong.status,
        searches=told,
        query=query,
        query_text=query.text,
        given=name,
        wrong=wrong,
        may_save=visit.may(Permission.SEARCHES),
        list_url=Links(query, visit.site.prefix).to(query),
    )


def _sent(visit: Visit) -> Query:
    """The filters that a form carries."""
    return Query.read(parse_qsl(visit.form.get("query", ""), keep_blank_values=True), visit.zone)[0]


# One event


async def _show(visit: Visit) -> web.Response:
    uid = _uid(visit)
    may_raw = visit.may(Permission.RAW)
    text = await visit.text(f"/events/{uid}", {"names": 1, "sentence": 1, "raw": 1 if may_raw else None})
    # What the provider sent stays as it came: its numbers may be of any size.
    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    event: dict[str, Any] = {
        name: orjson.loads(bytes(one)) for name, one in members.items() if name not in ("raw", "envelope")
    }
    visit.command(f"idp-adapter events show {'--raw ' if may_raw else ''}{_argument(unquote(uid))}")
    links = Links(Query(), visit.site.prefix)
    return visit.page(
        "events_event.html",
        event=event,
        row=row_of(event, links, visit.site.prefix),
        fields=fields_of(event, links),
        more_fields=max(0, sum(1 for _ in flat(event)) - FIELDS),
        raw=_shown_raw(members.get("raw")),
        envelope=_shown_raw(members.get("envelope")),
        may_raw=may_raw,
        around=_around(event, links),
        parts_of=_parts_of(event, uid, visit),
        json_url=f"{visit.site.prefix}{PATH}/{uid}/json",
        person_url=_person_url(event, visit),
    )


def _person_url(event: Mapping[str, Any], visit: Visit) -> str | None:
    """The page of who acted; ``None``: the visitor may not see it, or the event says no id. Whose id the provider does
    not know is nobody."""
    id = event.get("authDetails", {}).get("userId")
    # What the service tells of itself is in no account's history.
    is_ours = event["type"].startswith("system.")
    if id is None or is_ours or event.get("reason") == "unknown_user" or not visit.sees(PEOPLE):
        return None
    return person_address(event["source"]["name"], id, visit.site.prefix)


class Raw(NamedTuple):
    """What the provider sent, laid out, as far as it is shown."""

    text: str
    is_cut: bool


def _shown_raw(raw: msgspec.Raw | None) -> Raw | None:
    """``None``: it is not there."""
    told = "null" if raw is None else bytes(raw).decode("utf-8", "replace")
    if told == "null":
        return None
    text = orjson.loads(told) if told.startswith('"') else laid_out_json(told)
    return Raw(text[:WHOLE], len(text) > WHOLE)


def _around(event: Mapping[str, Any], links: Links) -> list[tuple[str, str]]:
    """What happened in the minutes before and after an event: text and address of each."""
    who, looked_up = event.get("authDetails", {}), event.get("lookedUp", {})
    time_of = event["time"]
    stretch = Query((("from", str(max(0, time_of - _AROUND))), ("to", str(time_of + _AROUND + 1))))
    user = who.get("userId") or who.get("username") or looked_up.get("actor")
    ip = next((one["value"] for one in event["sentence"]["parts"] if one.get("filter") == "ip"), None)
    told = [("everything", stretch)]
    for text, name, value in (
        ("the same user", "user", user),
        ("the same session", "session", who.get("sessionId")),
        ("the same address", "ip", ip or who.get("ipAddress")),
        ("the same client", "client", who.get("clientId")),
    ):
        if value:
            told.append((text, stretch.including(name, value)))
    return [(text, links.to(query)) for text, query in told]


#: Further parts of an event's page, asked for when they are opened, as the API calls them: title, template and
#: command.
_PARTS = {
    "changes": ("What changed", "events_changes.html", "idp-adapter events changes"),
    "deliveries": ("Deliveries", "events_deliveries.html", "idp-adapter sinks why"),
    "explain": ("Why it is so: rows and fields of the table", "events_explain.html", "idp-adapter events explain"),
    "revisions": ("Readings", "events_revisions.html", "idp-adapter events revisions"),
}


def _parts_of(event: Mapping[str, Any], uid: str, visit: Visit) -> list[dict[str, str]]:
    shown = {
        "changes": event["type"].startswith("admin."),
        "deliveries": visit.may(Permission.SINKS),
        "explain": visit.may(Permission.RAW),
        "revisions": "normalizedAt" in event["source"],
    }
    base = f"{visit.site.prefix}{PATH}/{uid}"
    told = [
        {"name": name, "title": title, "url": f"{base}/{name}"} for name, (title, *_) in _PARTS.items() if shown[name]
    ]
    if visit.sees(PEOPLE) and _user_of(event) is not None:
        told.append({"name": "timeline", "title": "Timeline of the user", "url": f"{base}/timeline"})
    return told


def _user_of(event: Mapping[str, Any]) -> str | None:
    """Who acted, by id, or else by name."""
    who: Mapping[str, str] = event.get("authDetails", {})
    return who.get("userId") or who.get("username")


async def _show_timeline(visit: Visit) -> web.Response:
    """What the user of an event did up to it."""
    uid = _uid(visit)
    event = await visit.get(f"/events/{uid}")
    del visit.asked[:]
    user = _user_of(event)
    if user is None:
        raise RequestError(404, "Not found", "This event says no user.")
    # Another source may have the same id, for somebody else.
    has_source = event["authDetails"].get("userId") and not event["type"].startswith("system.")
    who = f"{event['source']['name']}:{user}" if has_source else user
    told = await visit.get("/timeline", {"user": who, "to": event["time"] + 1, "limit": 50})
    visit.command(f"idp-adapter timeline {_argument(who)}")
    links = Links(Query(), visit.site.prefix)
    return visit.page(
        "events_timeline.html",
        told=told,
        event_url=f"{visit.site.prefix}{PATH}/{uid}",
        events_url=links.including("user", user),
        person_url=_person_url(event, visit),
    )


async def _show_part(visit: Visit) -> web.Response:
    name, uid = visit.request.match_info["part"], _uid(visit)
    title, template, command = _PARTS[name]
    told = await visit.get(f"/events/{uid}/{name}")
    visit.command(f"{command} {_argument(unquote(uid))}")
    if name == "revisions":
        readings = told["events"]
        told["readings"] = [
            {"event": new, "changes": None if old is None else changes(old, new)}
            for new, old in zip(readings, [*readings[1:], None], strict=True)
        ]
    return visit.page(template, title=title, told=told, event_url=f"{visit.site.prefix}{PATH}/{uid}")


async def _show_json(visit: Visit) -> web.StreamResponse:
    """One event as a file."""
    uid = _uid(visit)
    params = {"names": 1, "raw": 1 if visit.may(Permission.RAW) else None}
    name = re.sub(r"[^0-9A-Za-z-]", "_", unquote(uid))[:64]
    return await visit.download(f"/events/{uid}", params, name=f"event-{name}.json")


def _argument(text: str) -> str:
    """A foreign text as an argument of a command line: none is taken for an option, whoever calls himself `--url=…`."""
    return f"-- {shlex.quote(text)}" if text.startswith("-") else shlex.quote(text)


def _uid(visit: Visit) -> str:
    """As it stands in a path."""
    return quote(visit.request.match_info["uid"], safe="")


def _under(name: str, query: Query, visit: Visit, **more: str) -> str:
    """The address of something below the page, with the page's filters."""
    text = Links(query, visit.site.prefix).to(query, **more).partition("?")[2]
    path = f"{visit.site.prefix}{PATH}/{name}"
    return f"{path}?{text}" if text else path


def _now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


SECTION = Section(
    path=PATH,
    title="Events",
    permission=Permission.READ,
    shortcut="g e",
    routes=(
        Route("GET", PATH, _find),
        Route("GET", f"{PATH}/values", _complete),
        Route("GET", f"{PATH}/counts", _count),
        Route("GET", f"{PATH}/export", _export),
        Route("GET", f"{PATH}/searches", _searches),
        Route("POST", f"{PATH}/searches", _save_search),
        Route("POST", f"{PATH}/searches/delete", _delete_search),
        Route("GET", f"{PATH}/{{uid}}", _show),
        Route("GET", f"{PATH}/{{uid}}/json", _show_json),
        Route("GET", f"{PATH}/{{uid}}/timeline", _show_timeline),
        *(Route("GET", f"{PATH}/{{uid}}/{{part:{name}}}", _show_part) for name in _PARTS),
    ),
    styles=("events.css", "people.css"),
    scripts=("events.js",),
)
