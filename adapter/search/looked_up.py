"""Names beside events that carry ids alone: the member ``lookedUp``, which no stored event has.

    {…, "lookedUp": {"actor": "zoe", "client": "shop"}}

Its members are called as the filters are, and ``resource`` is the client that an admin event is about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson
import structlog

from adapter.errors import RequestError, StoreUnavailable
from adapter.filter import Filter
from adapter.model import Entry
from adapter.search.learning import CLIENTS, REALMS, USERS
from adapter.search.linking import Asked
from adapter.search.search import Search
from adapter.search_fields import SearchFields, search_fields
from adapter.sinks.protocol import Answer, Batch, Promise, Sink

#: How long a sink waits for names, seconds: then its events go without.
PATIENCE = 0.5

_CLIENT_IN_PATH = re.compile(r"clients/([^/]+)")

_log = structlog.get_logger(__name__)


async def with_names(
    search: Search,
    entries: Sequence[Entry],
    filter: Filter,
    *,
    caller: str = "",
    timeout: float | None = None,
    patient: bool = False,
) -> list[Entry]:
    """The entries, each event with the names that it does not carry itself, as they were at its time, so far as they
    are known now; in their order. Of ``filter`` the exact terms say what its reader may know. ``timeout`` and
    ``patient``: as `Search.names`.

    Raises:
        RequestError: 503, it takes longer.
        StoreUnavailable: the search cannot be read now.
    """
    asked: list[Asked] = []
    places: list[tuple[int, str]] = []
    for number, entry in enumerate(entries):
        if entry.event is not None:
            for member, one in _ids_alone(search_fields(entry.event)):
                asked.append(one)
                places.append((number, member))
    found_names: Sequence[str | None] = []
    if asked:
        found_names = await search.names(asked, filter, caller=caller, timeout=timeout, patient=patient)
    found: dict[int, dict[str, str]] = {}
    for (number, member), name in zip(places, found_names, strict=True):
        if name is not None:
            found.setdefault(number, {})[member] = name
    return [
        entry if number not in found else entry._replace(event=_told(entry.event or b"{}", found[number]))
        for number, entry in enumerate(entries)
    ]


def _ids_alone(event: SearchFields) -> list[tuple[str, Asked]]:
    origin, time = (event.source, event.provider, event.realm_id, event.realm_name), event.time
    found: list[tuple[str, Asked]] = []
    if event.actor is not None and not event.actor_names:
        found.append(("actor", Asked(USERS, event.actor, origin, time)))
    if event.target is not None and not event.target_names:
        found.append(("target", Asked(USERS, event.target, origin, time)))
    if event.client is not None:
        found.append(("client", Asked(CLIENTS, event.client, origin, time)))
    if event.realm_id is not None and event.realm_name is None:
        found.append(("realm", Asked(REALMS, event.realm_id, origin, time)))
    path = event.event.resource_path
    if path is not None and (client := _CLIENT_IN_PATH.match(path)) and event.changed_client is None:
        found.append(("resource", Asked(CLIENTS, client[1], origin, time)))
    return found


def _told(event: bytes, names: dict[str, str]) -> bytes:
    return b'%b,"lookedUp":%b}' % (event.rstrip()[:-1], orjson.dumps(names))


class NamingSink:
    """A sink whose events get the names that are known when they are sent: as many as the search knows within
    `PATIENCE`. One that is sent again may have others."""

    def __init__(self, sink: Sink, name: str, search: Search, filter: Filter) -> None:
        """Names are learned only from sources and realms whose events the ``filter`` lets through."""
        self._sink = sink
        self._name = name
        self._search = search
        self._filter = filter.scoped()

    @property
    def window(self) -> int:
        return self._sink.window

    @property
    def batch(self) -> Batch:
        return self._sink.batch

    @property
    def promise(self) -> Promise:
        return self._sink.promise

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        try:
            caller = f"sink {self._name}"
            entries = await with_names(self._search, entries, self._filter, caller=caller, timeout=PATIENCE)
        except (RequestError, StoreUnavailable) as error:
            _log.warning("sink_names_missing", sink=self._name, problem=str(error))
        return await self._sink.send(entries)
