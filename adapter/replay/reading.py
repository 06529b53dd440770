"""A stretch of the log, read once more for a sink: without what is held for it or dead, and no faster than is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from adapter.delivery.keys import kind_of, make_key_of
from adapter.delivery.select import Selection
from adapter.filter import Filter
from adapter.log.protocol import Store
from adapter.model import Entry
from adapter.search_fields import search_fields
from adapter.sinks.protocol import Answer, Batch, Promise, Sink


class Chosen(Selection):
    """What a sink gets, of what a filter of the replay takes, too."""

    def __init__(self, selection: Selection, filter: Filter) -> None:
        self.text = f"{selection.text} replay {filter.canonical()}"
        self.takes_revisions = selection.takes_revisions
        self.stretch = 250
        self._own = selection
        self._asked = filter

    def select(self, entries: Sequence[Entry]) -> list[Entry]:
        return [entry for entry in self._own.select(entries) if self.wants(entry)]

    def refusal(self, entry: Entry) -> str | None:
        assert entry.event is not None
        return self._own.refusal(entry) or self._asked.refusal(search_fields(entry.event))

    def wants(self, entry: Entry) -> bool:
        """Whether the replay's own filter takes an entry, the sink's aside."""
        return entry.event is not None and self._asked.matches(search_fields(entry.event))


class Stretch:
    """A log that ends at a position, without the entries for which a reader has rows."""

    def __init__(self, log: Store, reader: str, end: int) -> None:
        self._log = log
        self._reader = reader
        self._end = end

    @property
    def head(self) -> int:
        return min(self._end, self._log.head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def read(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Entry]:
        """As `adapter.log.protocol.Log.read`; entries without rows, and one with a row at the end of a stretch stands
        without its event: nothing is sent of it, and the reading goes on behind it."""
        last = self.head if until is None else min(until, self.head)
        entries = await self._log.read(after, until=last, limit=limit)
        rows = await self._log.held_at(self._reader, [entry.position for entry in entries])
        held = {row.position for row in rows}
        blocked = {one.key: one.position for one in await self._log.blocked(self._reader)}
        if blocked:  # what waits behind one of its key has no row, and is the sink's own all the same
            key_of = make_key_of(kind_of(next(iter(blocked))))
            for entry in entries:
                if entry.event is not None and entry.position > blocked.get(key_of(entry.event) or "", entry.position):
                    held.add(entry.position)
        return [entry._replace(event=None, type=None) if entry.position in held else entry for entry in entries]

    async def wait(self, after: int, timeout: float | None = None) -> int:
        """Nothing comes behind its end."""
        if after < self.head:
            return self.head
        if timeout is None:
            await asyncio.get_running_loop().create_future()
        else:
            await asyncio.sleep(timeout)
        return self.head

    def as_store(self) -> Store:
        """The same as what it stands for."""
        return cast(Store, self)


class Paced:
    """A sink that is sent so many events a second at most, in steady steps."""

    def __init__(self, sink: Sink, rate: int) -> None:
        """``rate``: 0 for any number."""
        self._sink = sink
        self._step = 1 / rate if rate else 0.0
        self._next = 0.0

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
        if self._step:
            now = asyncio.get_running_loop().time()
            at = max(self._next, now)
            self._next = at + self._step * len(entries)
            if at > now:
                await asyncio.sleep(at - now)
        return await self._sink.send(entries)
