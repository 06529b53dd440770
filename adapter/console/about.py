"""About this service: version, store, and where to read on."""

from __future__ import annotations

from aiohttp import web

from adapter import __version__
from adapter.console.frame import Route, Section
from adapter.console.vendored import vendored
from adapter.console.visit import Visit


async def _about(visit: Visit) -> web.Response:
    status = await visit.get("/status")
    visit.command("idp-adapter status")
    return visit.page("about.html", version=__version__, status=status, vendored=vendored())


SECTION = Section("/ui/about", "About", None, "g a", (Route("GET", "/ui/about", _about),))
