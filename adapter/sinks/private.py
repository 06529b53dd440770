"""A sink whose receiver is not to know all: its events are stripped of it before the sink has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapter.model import Entry
from adapter.privacy import Privacy
from adapter.sinks.protocol import Answer, Batch, Promise, Sink

#: Others get their turn after so many entries, some milliseconds.
STRETCH = 100


class PrivateSink:
    """A sink that gets events as its privacy settings let them."""

    def __init__(self, sink: Sink, privacy: Privacy) -> None:
        self._sink = sink
        self._privacy = privacy

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
        stripped = []
        for number, entry in enumerate(entries, 1):
            stripped.append(entry if entry.event is None else entry._replace(event=self._privacy.apply(entry.event)))
            if number % STRETCH == 0:
                await asyncio.sleep(0)
        return await self._sink.send(stripped)
