"""What a reader chooses for one browser: the zone of times, and light or dark."""

from __future__ import annotations

from aiohttp import web

from adapter.browser import local_path
from adapter.console.frame import Route
from adapter.console.visit import Visit
from adapter.console.zones import zone_called
from adapter.errors import RequestError

_YEAR = 365 * 86_400


async def _choose(visit: Visit) -> web.Response:
    """Keep what was chosen in cookies, and go back to the page."""
    response = visit.redirect(local_path(visit.form.get("next", "")) or "/ui/")
    for name, allowed in (("theme", ("system", "light", "dark")), ("zone", None)):
        value = visit.form.get(name)
        if value is None:
            continue
        if value not in allowed if allowed else zone_called(value) is None:
            raise RequestError(400, "Bad parameter", f"{name}: {value[:64]!r} is not known here", parameter=name)
        response.set_cookie(
            name, value, max_age=_YEAR, path=f"{visit.site.prefix}/", samesite="Lax", httponly=True,
            secure=visit.site.is_secure(visit.request),
        )  # fmt: skip
    return response


ROUTES = (Route("POST", "/ui/preferences", _choose),)
