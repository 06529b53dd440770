"""A log with its search, a Keycloak's event store over HTTP, and a source that pulls from it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapter.counts import IngestCounts
from adapter.log.opening import file_url, open_store
from adapter.outgoing.settings import OutgoingSettings
from adapter.reconciliation.comparing import Compared, ServiceParts, open_comparer
from adapter.reconciliation.comparison import Comparison
from adapter.search.search import open_search
from adapter.sources.intake import Intake, Source
from adapter.sources.keycloak.server import Kind
from adapter.sources.keycloak.settings import PullSettings
from tests.mapping.built_in import catalogue, table
from tests.opened import login
from tests.sources.pull.stored import SECRET, EventStore, Keycloak, serving

#: A whole hour, epoch milliseconds; and when it is looked at.
START = 1_700_002_800_000
HOUR = 3_600_000
LATER = START + 2 * HOUR


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A stored login of its own, a second after the one before."""
    return login(number, **{"time": START + number * 1000, "realmId": "id-of-acme", **changes})


class Place:
    """All that comparing needs."""

    def __init__(self, parts: ServiceParts, store: EventStore, keycloak: Keycloak, pull: PullSettings) -> None:
        self.now = LATER
        self.parts = parts
        self.store = store
        self.keycloak = keycloak
        self.compared = Compared(Source("kc", "keycloak", "kc", {"keycloak": table("keycloak")}), pull)

    async def push(self, *events: dict[str, Any]) -> None:
        """Have events in the log."""
        body = json.dumps(events).encode()
        await self.parts.intake.take(self.compared.source, body, "application/json", self.now)

    async def compare(
        self, since: int = START, until: int = START + HOUR, *, kind: Kind = Kind.USER, repair: bool = False
    ) -> Comparison:
        """Compare the events of the realm."""
        async with open_comparer(self.compared, self.parts) as comparer:
            return await comparer.compare("acme", kind, since, until, repair=repair)


@asynccontextmanager
async def opened(folder: Path, *, ids: bool = True, events_limit: int = 10_000, **pull: Any) -> AsyncIterator[Place]:
    """A place with a new log in ``folder``, or the one that lies there."""
    store = EventStore(ids=ids)
    async with serving(store) as keycloak, reopened(folder, keycloak, events_limit=events_limit, **pull) as place:
        yield place


@asynccontextmanager
async def reopened(
    folder: Path, keycloak: Keycloak, *, events_limit: int = 10_000, **pull: Any
) -> AsyncIterator[Place]:
    """The same with a server that runs."""
    given = {"url": keycloak.url, "realms": ["acme"], "client_id": "poller", "client_secret": SECRET, **pull}
    outgoing = OutgoingSettings.model_validate({"allow": ["127.0.0.0/8"]})
    url = file_url(folder / "log.sqlite")
    async with (
        open_store(url, dictionary=bytes, commit_timeout=30.0) as log,
        open_search(folder / "search.sqlite", log, url, "test", timeout=30.0) as search,
    ):
        intake = Intake(log, IngestCounts(), events_limit=events_limit)
        parts = ServiceParts(log, search, intake, outgoing, catalogue, lambda: place.now)
        place = Place(parts, keycloak.store, keycloak, PullSettings.model_validate(given))
        keycloak.clock = lambda: place.now
        yield place
