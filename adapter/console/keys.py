"""Keys: who may do what, made and revoked here."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from adapter.console.frame import Route, Section
from adapter.console.visit import Refused, Visit
from adapter.settings import Permission

_PATH = "/ui/keys"


async def _list(visit: Visit) -> web.Response:
    visit.command("idp-adapter keys list")
    return visit.page("keys.html", **await visit.get("/keys"))


async def _ask(visit: Visit) -> web.Response:
    return _new(visit, {"can": ["read"]}, None)


async def _create(visit: Visit) -> web.Response:
    form = visit.form
    given: dict[str, object] = {"name": form.get("name", "").strip(), "permissions": form.getall("can", [])}
    for name in ("realms", "sources", "providers"):
        if values := form.get(name, "").replace(",", " ").split():
            given[name] = values
    if expires := form.get("expires", "").strip():
        given["expires"] = expires
    try:
        made = await visit.post("/keys", given)
    except Refused as error:
        if error.status not in (400, 403, 409, 422):
            raise
        return _new(visit, {**form, "can": form.getall("can", [])}, error)
    return visit.page("keys_made.html", made=made)


async def _revoke(visit: Visit) -> web.Response:
    await visit.delete(f"/keys/{quote(visit.form.get('name', ''), safe='')}")
    return visit.redirect(_PATH)


def _new(visit: Visit, given: dict[str, object], error: Refused | None) -> web.Response:
    may = sorted(visit.permissions)
    status = 200 if error is None else error.status
    return visit.page(
        "keys_new.html", http_status=status, given=given, may=may, wrong=None if error is None else error.detail
    )


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
    ),
)
