"""A sink whose receiver is not to know all: its events are stripped of it before the sink has them."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.model import Entry
from adapter.privacy import Privacy
from adapter.sinks.protocol import Answer, Batch, Promise, Sink


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
        apply = self._privacy.apply
        return await self._sink.send(
            [entry if entry.event is None else entry._replace(event=apply(entry.event)) for entry in entries]
        )
