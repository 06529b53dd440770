"""Keys and sessions: who may do what, and who is signed in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from adapter.api.operation import Limited
from adapter.console.frame import Route, Section
from adapter.console.visit import Refused, Visit
from adapter.settings import Permission

_PATH = "/ui/keys"
#: What a key may, in words.
_MEANINGS = {
    Permission.READ: "search and read events",
    Permission.EXPORT: "write all that match into a file",
    Permission.SEARCHES: "save searches",
    Permission.RAW: "see what the provider sent",
    Permission.INGEST: "post native events",
    Permission.PUBLISH: "post events of one's own",
    Permission.METRICS: "read the metrics",
    Permission.MAPPINGS: "try mapping tables",
    Permission.WRITE_MAPPINGS: "save mapping tables",
    Permission.RENORMALIZE: "have stored events read again",
    Permission.RECONCILE: "hold a server against the log",
    Permission.SCRUB: "take secrets out of what is stored",
    Permission.SINKS: "make, change and repair sinks",
    Permission.KEYS: "make and revoke keys",
    Permission.PEOPLE: "look at people",
}


async def _list(visit: Visit) -> web.Response:
    keys = await visit.get("/keys")
    sessions = await visit.get("/sessions")
    visit.command("idp-adapter keys list --sessions")
    return visit.page("keys.html", **keys, **sessions)


async def _ask(visit: Visit) -> web.Response:
    return _new(visit, {}, [Permission.READ], None)


async def _create(visit: Visit) -> web.Response:
    form = visit.form
    can = form.getall("can", [])
    given: dict[str, object] = {"name": form.get("name", "").strip(), "permissions": can}
    for name in ("realms", "sources", "providers"):
        if values := [one.strip() for one in form.get(name, "").split(",") if one.strip()]:
            given[name] = values
    if expires := form.get("expires", "").strip():
        given["expires"] = expires
    try:
        made = await visit.post("/keys", given)
    except Refused as error:
        if error.status not in (400, 403, 409):
            raise
        return _new(visit, form, can, error)
    return visit.page("keys_made.html", made=made)


async def _revoke(visit: Visit) -> web.Response:
    await visit.delete(f"/keys/{quote(visit.form.get('name', ''), safe='')}")
    return visit.redirect(_PATH)


async def _end(visit: Visit) -> web.Response:
    await visit.delete(f"/sessions/{quote(visit.form.get('id', ''), safe='')}")
    return visit.redirect(_PATH)


def _new(visit: Visit, given: Mapping[str, str], can: list[str], error: Refused | None) -> web.Response:
    """The form for a new key, with what was given, and why that was refused."""
    may = [(one.value, _MEANINGS.get(one, "")) for one in Permission if visit.may(one)]
    status, wrong = (200, None) if error is None else (error.status, error.detail)
    return visit.page("keys_new.html", http_status=status, given=given, can=can, may=may, wrong=wrong)


SECTION = Section(
    _PATH,
    "Keys",
    Permission.KEYS,
    "g k",
    (
        Route("GET", _PATH, _list),
        Route("GET", f"{_PATH}/new", _ask),
        Route("POST", f"{_PATH}/new", _create),
        Route("POST", f"{_PATH}/revoke", _revoke),
        Route("POST", f"{_PATH}/sessions/end", _end),
    ),
    limited=Limited.REFUSED,
)
