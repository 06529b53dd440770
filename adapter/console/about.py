"""About this service: its version, its store, what needs a look, and where to read on."""

from __future__ import annotations

from aiohttp import web

from adapter import __version__
from adapter.console.frame import Route, Section
from adapter.console.vendored import vendored
from adapter.console.visit import Visit
from adapter.settings import Permission

#: Pages of the documentation, which come with the sources: name, and what they are about.
_DOCS = (
    ("docs/quick-start.md", "from nothing to the first event"),
    ("docs/console.md", "these pages: signing in, keys, what protects them"),
    ("docs/read-the-feed.md", "searching, counting and exporting events"),
    ("docs/sinks.md", "sending events on"),
    ("docs/write-a-mapping.md", "teaching it another provider"),
    ("docs/operate.md", "running it: metrics, upgrades, backups"),
    ("docs/secure.md", "keys, tokens and permissions"),
    ("docs/settings.md", "every setting"),
    ("docs/command-line.md", "every command"),
)


async def _about(visit: Visit) -> web.Response:
    status = await visit.get("/status") if visit.may(Permission.READ) and visit.principal.scope.realms is None else None
    if status is not None:
        visit.command("idp-adapter status")
    return visit.page("about.html", version=__version__, status=status, docs=_DOCS, vendored=vendored())


SECTION = Section("/ui/about", "About", None, "g a", (Route("GET", "/ui/about", _about),))
