"""What has arrived of a provider, beside its table: which native types, and how many of them are quarantined."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

from pydantic import BaseModel, Field

from adapter.counts import ValueCounts
from adapter.log.protocol import Arrivals, Summaries
from adapter.mapping.table import Table
from adapter.workbench.coverage import families_of, rows_of

#: A count of the whole log answers for so long, seconds: who asks for one provider asks for the next one.
LIFETIME = 10.0


class Arrived(BaseModel):
    """What has arrived of one native type."""

    nativeType: str | None = Field(description="null if it could not be read")
    entries: int = Field(description="Events and quarantined entries; an event counts once")
    quarantined: int = Field(description="How many of them have no event")
    lastAt: int = Field(description="Latest arrival, epoch milliseconds")
    row: bool = Field(description="Whether the table in use has a row for it, or for its family")


class UntranslatedValue(BaseModel):
    """A value of raw events that a table has no word for."""

    path: str = Field(description="Where it stands; other: of all further ones")
    value: str = Field(description="Its first characters")
    count: int = Field(description="How often an event got a default for it, or no reason for its failure")


class ArrivalCounts:
    """Counts the log, and remembers the last count for a moment."""

    def __init__(
        self,
        log: Summaries,
        providers: Mapping[str, str],
        untranslated: ValueCounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``providers``: of each configured source, by name; ``untranslated``: values that tables have no word for."""
        self._untranslated = untranslated
        self._log = log
        self._providers = providers
        self._clock = clock
        self._counted: list[Arrivals] = []
        self._counted_at: float | None = None
        self._turn = asyncio.Lock()

    async def of(self, table: Table, is_seen: Callable[[str], bool]) -> list[Arrived]:
        """What has arrived from the sources of a table's provider that may be seen, the most frequent types first."""
        rows, families = rows_of(table), families_of(table)
        found: dict[str | None, Arrived] = {}
        for one in await self._all():
            if self._providers.get(one.source) != table.provider or not is_seen(one.source):
                continue
            native = one.native_type
            row = native is not None and (native in rows or families.of(native) is not None)
            sum = found.setdefault(native, Arrived(nativeType=native, entries=0, quarantined=0, lastAt=0, row=row))
            sum.entries += one.entries
            sum.quarantined += one.quarantined
            sum.lastAt = max(sum.lastAt, one.last_at)
        return sorted(found.values(), key=lambda one: (-one.entries, one.nativeType or ""))

    def untranslated_of(self, table: Table, is_seen: Callable[[str], bool]) -> list[UntranslatedValue]:
        """Values from the same sources that it has no word for, the most frequent ones first."""
        found: Counter[tuple[str, str]] = Counter()
        for one, count in self._untranslated.counted().items():
            if self._providers.get(one.source) == table.provider and is_seen(one.source):
                found[one.path, one.value] += count
        return [UntranslatedValue(path=path, value=value, count=count) for (path, value), count in found.most_common()]

    async def _all(self) -> list[Arrivals]:
        async with self._turn:
            if self._counted_at is None or self._clock() - self._counted_at > LIFETIME:
                self._counted = await self._log.arrivals()
                self._counted_at = self._clock()
            return self._counted
