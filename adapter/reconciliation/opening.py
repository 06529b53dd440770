"""Reconciliation of the configured sources: what compares each, and the hourly statements in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import Claim, Store
from adapter.mapping.catalogue import Catalogue
from adapter.ownership import open_ownership
from adapter.search.search import Search
from adapter.settings import Settings
from adapter.sources.intake import Intake, Source
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.settings import SourceSettings

if TYPE_CHECKING:
    from adapter.reconciliation.comparing import Comparer
    from adapter.reconciliation.hourly import Hourly


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What can be compared."""

    #: Of each source that pulls what opens a connection to its server, and compares.
    comparers: dict[str, Callable[[], AbstractAsyncContextManager[Comparer]]] = field(default_factory=dict)
    #: The public key of who signs statements, as a JWK; ``None``: none are made.
    public_key: dict[str, Any] | None = None


@asynccontextmanager
async def open_reconciliation(
    settings: Settings,
    configured: Sequence[SourceSettings],
    sources: Mapping[str, Source],
    log: Store,
    search: Search,
    intake: Intake,
    catalogue: Callable[[], Catalogue],
    secrets: KnownSecrets,
    *,
    owner: str,
    now: Callable[[], int],
    states: bool,
) -> AsyncIterator[Reconciliation]:
    """What can be compared; with ``states`` the hourly statements are made while the context lasts.

    ``sources`` are the configured ones by name. ``owner`` tells this adapter from others over the same log. ``secrets``
    gets the private key. ``now`` gives epoch milliseconds.

    Raises:
        ConfigError: the key that signs cannot be used.
    """
    pulled = [(one, pull) for one in configured if isinstance(pull := getattr(one, "pull", None), PullSettings)]
    if not pulled:
        yield Reconciliation()
        return
    # A second HTTP client, and signatures: only who pulls has them.
    from adapter.reconciliation.comparing import Compared, ServiceParts, open_comparer
    from adapter.reconciliation.hourly import Hourly, open_hourly
    from adapter.reconciliation.keys import open_key

    def work(hourly: Hourly, claim: Claim) -> AbstractAsyncContextManager[Hourly]:
        # What an earlier owner makes late is refused by the note, whose version has moved on.
        return open_hourly(hourly)

    key = None
    if any(pull.statements for _, pull in pulled):
        given = settings.statements.key
        key = open_key(None if given is None else given.get_secret_value(), settings.data.folder)
        secrets.add(key.private["d"])
    parts = ServiceParts(log, search, intake, settings.outgoing, catalogue, now)
    found = Reconciliation(public_key=None if key is None else key.public)
    async with AsyncExitStack() as stack:
        for one, pull in pulled:
            compared = Compared(sources[one.name], pull)
            found.comparers[one.name] = partial(open_comparer, compared, parts)
            if key is not None and pull.statements and states:
                # By its first name, as its place is.
                name = f"reconciliation:{one.key}"
                hourly = Hourly(compared, parts, key, name)
                await stack.enter_async_context(open_ownership(log, name, owner, partial(work, hourly)))
        yield found
