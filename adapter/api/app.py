"""The HTTP application: the operations of all parts on one router.

There is no middleware: receiving runs at tens of thousands of requests a second, and each handler carries the checks
that it needs itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiohttp import web

from adapter.access import Access
from adapter.api.openapi import openapi_operation
from adapter.api.operation import ACCESS, BODY_READING, BodyReading, Operation, add_operations, expect_later
from adapter.browser import SITE, Site
from adapter.problem import guarded, nothing_here, problem


def make_app(
    access: Access,
    operations: Sequence[Operation],
    bodies: BodyReading,
    *,
    site: Site | None = None,
    pages: Iterable[web.AbstractRouteDef] = (),
) -> web.Application:
    """The application of these operations; ``bodies`` says how they read theirs. ``site`` is where browsers find it,
    and ``pages`` are those of the console."""
    app = web.Application(client_max_size=bodies.limit)
    app[ACCESS] = access
    app[BODY_READING] = bodies
    if site is not None:
        app[SITE] = site
    add_operations(app, [*operations, openapi_operation(operations)])
    app.router.add_routes(pages)
    # The last route takes what no other took.
    app.router.add_route("*", "/{path:(?s:.*)}", guarded(_refuse), expect_handler=expect_later)
    return app


async def _refuse(request: web.Request) -> web.Response:
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        allowed |= methods
    allowed.discard("*")
    if allowed:
        methods_text = ", ".join(sorted(allowed))
        return problem(
            405,
            "Method not allowed",
            f"This resource knows {methods_text}.",
            headers={"Allow": methods_text},
            allowed=sorted(allowed),
        )
    return nothing_here()
