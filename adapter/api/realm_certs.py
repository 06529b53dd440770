"""The keys with which a Keycloak's realms sign, as it publishes them, kept for as long as it does not answer."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import structlog
from yarl import URL

from adapter.errors import NoReply
from adapter.outgoing.client import Client, open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.sources.public_keys import LINES, SIZE, TIMEOUT, read_keys

#: Seconds until keys are asked for again: those of a realm, and where there was no answer.
FRESH, PAUSE = 60.0, 10.0
#: Realms that are remembered, with keys and without, and those that are asked for at the same time. Everybody may name
#: any realm; one that is not there never takes the place of one that is.
REALMS, ASKED = 1_000, 32
#: Characters of a realm's name.
_LONGEST = 255

_log = structlog.get_logger("adapter.api")


class _Keys(NamedTuple):
    keys: list[dict[str, Any]]
    asked_at: float


class RealmCerts:
    """The keys of realms of one Keycloak. Made by `open_realm_certs`."""

    def __init__(self, client: Client, url: URL, clock: Callable[[], float]) -> None:
        """``clock``: seconds, and only goes forward."""
        self._client = client
        self._url = url
        self._clock = clock
        self._known: OrderedDict[str, _Keys] = OrderedDict()
        #: When a realm was asked for last without an answer that holds keys.
        self._missed: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Task[None]] = {}
        #: Whether the last answer failed: told once, and not for each request.
        self._told = False

    async def of(self, realm: str) -> list[dict[str, Any]]:
        """The public keys of a realm that verify signatures, as JWKs; the last ones that came where none come now."""
        asking = self._asking.get(realm)
        if asking is None and len(self._asking) < ASKED and self._is_due(realm):
            asking = self._asking[realm] = asyncio.create_task(self._ask(realm))
            asking.add_done_callback(lambda _: self._asking.pop(realm, None))
        if asking is not None:
            # Who hangs up ends it for nobody else.
            await asyncio.shield(asking)
        known = self._known.get(realm)
        return [] if known is None else known.keys

    async def close(self) -> None:
        """Ask for nothing more."""
        asking = list(self._asking.values())
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _is_due(self, realm: str) -> bool:
        if realm in (".", "..") or len(realm) > _LONGEST:
            return False
        now = self._clock()
        known, missed = self._known.get(realm), self._missed.get(realm)
        return (known is None or now - known.asked_at >= FRESH) and (missed is None or now - missed >= PAUSE)

    async def _ask(self, realm: str) -> None:
        now = self._clock()
        path = f"realms/{quote(realm, safe='')}/protocol/openid-connect/certs"
        try:
            address = URL(f"{str(self._url).rstrip('/')}/{path}", encoded=True)
            reply = await self._client.request("GET", address, headers={"Accept": "application/json"})
            if reply.status == 404:
                _put(self._missed, realm, now)
                return
            if reply.status != 200:
                raise ValueError(f"the answer has status {reply.status}")
            keys = [key.as_dict(private=False) for key in read_keys(reply.body)]
        except (NoReply, ValueError) as error:
            _put(self._missed, realm, now)
            if not self._told:
                self._told = True
                _log.warning("realm_keys_not_fetched", url=str(self._url), problem=str(error))
            return
        self._told = False
        self._missed.pop(realm, None)
        _put(self._known, realm, _Keys(keys, now))


def _put(into: OrderedDict[str, Any], realm: str, value: Any) -> None:
    into[realm] = value
    into.move_to_end(realm)
    if len(into) > REALMS:
        into.popitem(last=False)


@asynccontextmanager
async def open_realm_certs(
    url: str | None, outgoing: OutgoingSettings, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[RealmCerts | None]:
    """The keys of the realms of the Keycloak at ``url``, while the context lasts; ``None``: there is none.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    if url is None:
        yield None
        return
    async with open_client(outgoing, connections=4, timeout=TIMEOUT, answer_size=SIZE, answer_lines=LINES) as client:
        certs = RealmCerts(client, URL(url), clock)
        try:
            yield certs
        finally:
            await certs.close()
