"""All configured sources, each opened by its kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from adapter.counts import PullCounts
from adapter.errors import ConfigError
from adapter.log.protocol import Claim, Store
from adapter.mapping.table import Table
from adapter.outgoing.settings import OutgoingSettings
from adapter.ownership import open_ownership
from adapter.sources.authenticated import AuthenticatedSources
from adapter.sources.intake import Intake, Source
from adapter.sources.protocol import Opened, Pull, SourceContext
from adapter.sources.pulling import pulling
from adapter.sources.settings import KINDS, SourceSettings, read_source_settings


@dataclass(slots=True, frozen=True)
class OpenSource:
    """A source, and what whoever sets it up has to know."""

    name: str
    provider: str
    #: Empty where nothing is posted to it.
    tokens: tuple[str, ...]
    #: Whether its token was generated, and may be shown.
    generated: bool


def configured_sources(configured: Sequence[SourceSettings], tables: Mapping[str, Table]) -> Sequence[SourceSettings]:
    """The sources that there are: those of the settings or, without any, one for each provider, named like it.

    Raises:
        ConfigError: there is no table for a source.
    """
    if not configured:
        return [read_source_settings({"name": name, "provider": name}) for name in tables]
    for source in configured:
        if source.provider not in tables:
            raise ConfigError(
                f"sources: {source.name}: no table for the provider {source.provider!r}; there are {', '.join(tables)}"
            )
    return configured


@asynccontextmanager
async def open_sources(
    configured: Sequence[SourceSettings],
    sources: Mapping[str, Source],
    receiving: AuthenticatedSources,
    intake: Intake,
    store: Store,
    outgoing: OutgoingSettings,
    *,
    owner: str,
    make_token: Callable[[str], Awaitable[str]],
    now: Callable[[], int],
    pulls: bool = True,
    pull_counts: PullCounts | None = None,
) -> AsyncIterator[list[OpenSource]]:
    """The sources, while the context lasts; those that fetch their events do so, unless ``pulls`` says otherwise.

    ``sources`` are the same ones by name. ``owner`` tells this adapter from others over the same log. ``make_token``
    gives the generated token of the source with a key. ``now`` gives epoch milliseconds. ``pull_counts`` hears how it
    stands with those that fetch.

    Raises:
        ConfigError: a source cannot be opened as it is set; the text begins with its name.
    """
    opened: list[OpenSource] = []
    counted = pull_counts or PullCounts()
    async with AsyncExitStack() as stack:
        for settings in configured:
            source = sources[settings.name]
            token = partial(make_token, settings.key)
            one = await _open(stack, settings, SourceContext(source, receiving, outgoing, token, counted))
            opened.append(OpenSource(settings.name, settings.provider, one.tokens, one.generated))
            if one.pull is not None and pulls:
                # By its first name, as its identities are: its place stays when it is renamed.
                name = f"source:{settings.key}"
                work = partial(_pull, name, one.pull, source, intake, store, now)
                await stack.enter_async_context(open_ownership(store, name, owner, work))
        yield opened


def _pull(
    name: str, pull: Pull, source: Source, intake: Intake, store: Store, now: Callable[[], int], claim: Claim
) -> AbstractAsyncContextManager[None]:
    # What an earlier owner takes late is refused by the note, whose version has moved on.
    return pulling(name, pull, source, intake, store, now=now)


async def _open(stack: AsyncExitStack, settings: SourceSettings, context: SourceContext) -> Opened:
    opening: AbstractAsyncContextManager[Opened] = KINDS.load(settings.kind).open_source(settings, context)
    try:
        return await stack.enter_async_context(opening)
    except ConfigError as error:
        raise ConfigError(f"sources: {settings.name}: {error}") from None
