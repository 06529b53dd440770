"""The console's files for browsers, under addresses that change with what is in them, so that they are kept long."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp import hdrs, web

from adapter.problem import SECURITY_HEADERS, problem

_HERE = Path(__file__).parent
#: Where they are looked for by their names.
_FOLDERS = (_HERE / "static", _HERE / "vendor")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
#: Where they are served.
PATH = "/ui/static"


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    body: bytes
    packed: bytes
    digest: str

    @property
    def path(self) -> str:
        return f"{PATH}/{self.digest}/{self.name}"


@cache
def _file(name: str) -> _File | None:
    for folder in _FOLDERS:
        file = folder / name
        # Names are of the pages' own, or of an address: no folder, and nothing hidden.
        if "/" not in name and not name.startswith(".") and file.suffix in _TYPES and file.is_file():
            body = file.read_bytes()
            return _File(name, body, gzip.compress(body, 9, mtime=0), hashlib.sha256(body).hexdigest()[:16])
    return None


@cache
def _names() -> frozenset[str]:
    return frozenset(file.name for folder in _FOLDERS for file in folder.iterdir() if file.suffix in _TYPES)


def path_of(name: str) -> str:
    """The path of a file, without what a proxy puts before it.

    Raises:
        LookupError: there is no such file.
    """
    found = _file(name)
    if found is None:
        raise LookupError(f"there is no static file {name!r}")
    return found.path


async def serve(request: web.Request) -> web.Response:
    """Answer ``/ui/static/{digest}/{name}``."""
    name = request.match_info["name"]
    found = _file(name) if name in _names() else None
    if found is None or found.digest != request.match_info["digest"]:
        return problem(404, "Not found", "There is no such file, or not any more; load the page again.")
    headers = {
        **SECURITY_HEADERS,
        hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable",
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    body = found.body
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        body, headers[hdrs.CONTENT_ENCODING] = found.packed, "gzip"
    kind = _TYPES[Path(name).suffix]
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)
