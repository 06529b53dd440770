"""What a section of the console is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from adapter.api.operation import Limited
from adapter.console.visit import Visit
from adapter.principal import Principal
from adapter.settings import Permission

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One address. ``path`` as aiohttp takes it: `/ui/events/{uid}`. What is no GET brings the token of its forms."""

    method: str
    path: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the console with a place in the navigation."""

    #: Of its first page.
    path: str
    title: str
    #: What a visitor needs for all its pages; ``None``: nothing.
    permission: Permission | None
    #: The keys that lead there: `g e`.
    shortcut: str
    routes: Sequence[Route]
    #: Names of files in `static` that its pages load (scripts as modules), and in `vendor`. Scripts of `vendor` are
    #: modules that a page's script imports: their addresses stand in `link[data-vendor="NAME"]`.
    styles: Sequence[str] = ()
    scripts: Sequence[str] = ()
    vendor: Sequence[str] = ()
    #: Form fields of its routes may have so many bytes together.
    form_limit: int = 4 * 1024 * 1024
    #: What the operations that its first page asks give to callers whose key is limited.
    limited: Limited = Limited.BY_EVENT

    def is_open_to(self, principal: Principal) -> bool:
        """Whether somebody's permissions and limits let him see its first page."""
        if self.permission is not None and self.permission not in principal.permissions:
            return False
        match self.limited:
            case Limited.REFUSED:
                return not principal.scope.is_limited
            case Limited.BY_SOURCE:
                return principal.scope.realms is None
            case Limited.BY_EVENT:
                return True
