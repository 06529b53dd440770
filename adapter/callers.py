"""From which address somebody calls."""

from __future__ import annotations

import ipaddress
import socket

from aiohttp import web

#: What a proxy says of the callers whose requests it passes on: each hop adds the one before it.
FORWARDED_FOR = "X-Forwarded-For"


def address_of(request: web.Request, *, is_behind_proxy: bool) -> str | None:
    """The caller's address; ``None``: it is not known. ``is_behind_proxy``: all callers come through a proxy, which
    says it in the last hop of ``X-Forwarded-For``; what stands before that is the caller's own word. So do the pages
    of the console, which ask the service for people, over a socket that has no address and nobody else can open."""
    if is_behind_proxy or _is_inside(request):
        hops = request.headers.getall(FORWARDED_FOR, ())
        said = hops[-1].rpartition(",")[2].strip() if hops else ""
    else:
        said = request.remote or ""
    try:
        address = ipaddress.ip_address(said)
    except ValueError:
        return None
    # So a socket of IPv6 writes who comes over IPv4.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_inside(request: web.Request) -> bool:
    found = request.get_extra_info("socket")
    return found is not None and found.family == socket.AF_UNIX
