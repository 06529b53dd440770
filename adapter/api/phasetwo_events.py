"""Events that applications publish through Phase Two's API."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import Answer, Body, Operation, details_of_caller, refuse_beyond, request_body
from adapter.api.phasetwo import phasetwo_operations
from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import Log
from adapter.mapping.catalogue import Catalogue
from adapter.phasetwo.published import SOURCE, GivenEvent, published_event
from adapter.problem import SECURITY_HEADERS
from adapter.scope import Scope
from adapter.settings import Permission

#: Bytes of an event.
SIZE = 256 * 1024


class PublishedEvents:
    """Takes them."""

    def __init__(
        self,
        log: Log,
        catalogue: Callable[[], Catalogue],
        known_secrets: KnownSecrets,
        *,
        check_room: Callable[[], None],
        is_behind_proxy: bool,
        now: Callable[[], int],
    ) -> None:
        """``check_room`` refuses when the disk is full; ``is_behind_proxy``: like that of `address_of`; ``now``
        gives epoch milliseconds."""
        self._log = log
        self._catalogue = catalogue
        self._known_secrets = known_secrets
        self._check_room = check_room
        self._is_behind_proxy = is_behind_proxy
        self._now = now

    def operations(self) -> list[Operation]:
        return phasetwo_operations(
            "POST", "/events", self.publish, "Publish an event of an application, as with Phase Two's API",
            {202: Answer("It is stored.", ())}, Permission.PUBLISH, body=Body(model=GivenEvent),
            errors=(409,),
        )  # fmt: skip

    async def publish(self, request: web.Request, scope: Scope) -> web.Response:
        refuse_beyond(
            request,
            (scope.sources is None or SOURCE in scope.sources)
            and (scope.providers is None or SOURCE in scope.providers),
        )
        self._check_room()
        raw = self._known_secrets.cleaned(await request_body(request, SIZE))
        given = read_asked(GivenEvent, read_object(raw), strict=False)
        realm = request.match_info["realm"]
        who = details_of_caller(request, is_behind_proxy=self._is_behind_proxy)
        event = published_event(given, realm, who, raw, self._catalogue(), self._now())
        await self._log.append([event])
        return web.Response(status=202, headers=SECURITY_HEADERS)
