"""Runs a source that fetches its events, and again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from adapter.errors import AdapterError
from adapter.log.protocol import Notes
from adapter.sources.intake import Intake, Source
from adapter.sources.protocol import Inlet, Pull
from adapter.tasks import in_background

#: Waits before a source is started again, seconds: the first one, and the longest. Each is twice the one before, until
#: something was taken.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def pulling(
    name: str,
    pull: Pull,
    source: Source,
    intake: Intake,
    notes: Notes,
    *,
    now: Callable[[], int],
    first_wait: float = FIRST_WAIT,
) -> AsyncIterator[None]:
    """Have a source fetch its events while the context lasts. ``name`` is that of the note with its place; ``now``
    gives epoch milliseconds."""

    async def keep_on() -> None:
        wait = first_wait
        while True:
            begun = inlet = None
            try:
                inlet = Inlet(source, intake, name, await notes.noted(name), now)
                begun = inlet.place
                await pull(inlet)
                _log.warning("source_pull_ended", source=source.name)
            except AdapterError as error:
                _log.warning("source_pull_failed", source=source.name, problem=str(error))
            except Exception:
                _log.exception("source_pull_failed", source=source.name)
            if inlet is not None and inlet.place != begun:
                wait = first_wait
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async with in_background(keep_on(), name):
        yield
