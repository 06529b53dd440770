"""What a changed table would do to stored raw events, before it is put in place."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import islice

from pydantic import BaseModel, Field

from adapter.formats.text import shortened
from adapter.log.protocol import Log, Stored
from adapter.mapping.compile import Result
from adapter.mapping.table import Table
from adapter.model import uid_text
from adapter.sources.intake import Source
from adapter.sources.record import is_known_by, read_raw
from adapter.workbench.compare import Change, compare

#: Entries that are read together.
STRETCH = 500
#: Places in events that are told apart; names of details may be anybody's.
PLACES = 200
#: What changes in all others are counted under.
OTHERS = "(others)"
#: Of each kind of change, so many events are shown, and so many differences of each.
SAMPLES, LINES = 5, 20


class ChangedEvent(BaseModel):
    """One stored event that the changed table reads differently."""

    uid: str
    received_at: int = Field(description="Arrival, epoch milliseconds")
    native_type: str | None
    change: Change
    lines: list[str] = Field(description="Where, what it was, what it would be")


class StoredChanges(BaseModel):
    """What a changed table would do to stored raw events; both tables read what the provider sent."""

    looked_at: int = Field(0, description="Stored raw events of the provider")
    unchanged: int = Field(0, description="Those that both tables read alike")
    changed: int = Field(0, description="Events that would read differently")
    gained: int = Field(0, description="Quarantined or passed over, would be events")
    lost: int = Field(0, description="Events, would be none")
    other_keys: int = Field(0, description="Those that would be known by other keys")
    fields: Counter[str] = Field(default_factory=Counter, description="Place in the event: how many changes of it")
    samples: list[ChangedEvent] = Field(default_factory=list, description="Some of each kind")


class StoredComparison:
    """One way through a stretch of the log with two tables of one provider."""

    def __init__(
        self,
        log: Log,
        sources: Mapping[str, Source],
        old: Table,
        new: Table,
        *,
        since: int | None = None,
        until: int | None = None,
    ) -> None:
        """``sources``: those of the provider, by name. Only what arrived at or after ``since`` and before ``until``
        counts; epoch milliseconds."""
        self._since = 0 if since is None else since
        self._until = 2**62 if until is None else until
        self.changes = StoredChanges()
        self._log = log
        self._sources = sources
        self._old = old
        self._new = new
        self._shown: Counter[Change] = Counter()

    async def run(self, begin: int, end: int) -> AsyncGenerator[int, None]:
        """Go through ``begin < position <= end``, and say after each stretch up to where it is done. The work is done
        in a thread, and rests as long as it takes, so that events which arrive meanwhile have half of the time."""
        position = begin
        while stored := await self._log.read_stored(position, until=end, limit=STRETCH):
            position = stored[-1].entry.position
            began = time.monotonic()
            await asyncio.to_thread(self.look_at, stored)
            yield position
            if position < end:
                await asyncio.sleep(time.monotonic() - began)

    def look_at(self, stored: Sequence[Stored]) -> None:
        """Compare what both tables make of some entries, whatever was stored for them."""
        changes = self.changes
        for one in stored:
            source = self._sources.get(one.entry.source)
            # What was read again has its raw event with the first entry.
            if source is None or one.raw is None or not self._since <= one.entry.received_at < self._until:
                continue
            old, new = _both(one, source, self._old, self._new)
            found = compare(old, new)
            changes.looked_at += 1
            changes.other_keys += found.keys
            match found.change:
                case Change.UNCHANGED:
                    changes.unchanged += 1
                case Change.CHANGED:
                    changes.changed += 1
                case Change.GAINED:
                    changes.gained += 1
                case Change.LOST:
                    changes.lost += 1
            if not found.lines:
                continue
            for place in map(shortened, found.lines):
                known = place in changes.fields or len(changes.fields) < PLACES
                changes.fields[place if known else OTHERS] += 1
            self._shown[found.change] += 1
            if self._shown[found.change] <= SAMPLES:
                changes.samples.append(
                    ChangedEvent(
                        uid=uid_text(one.entry.uid),
                        received_at=one.entry.received_at,
                        native_type=None if one.entry.native_type is None else shortened(one.entry.native_type),
                        change=found.change,
                        lines=[
                            f"{shortened(place)}: {shortened(told)}"
                            for place, told in islice(found.lines.items(), LINES)
                        ],
                    )
                )


def _both(stored: Stored, source: Source, old: Table, new: Table) -> tuple[Result, Result]:
    """What both tables make of an entry."""
    before, after = _readings(stored, old), _readings(stored, new)
    if len(before) == 1 == len(after):
        return before[0], after[0]
    chosen = next((n for n, one in enumerate(before) if is_known_by(stored.entry.uid, source.key, one)), 0)
    if len(before) == len(after):
        return before[chosen], after[chosen]
    problem = f"it reads as {len(after)} events, and none of them is this one"
    none = Result(None, stored.entry.native_type, None, None, problem)
    return before[chosen], next((one for one in after if is_known_by(stored.entry.uid, source.key, one)), none)


def _readings(stored: Stored, table: Table) -> list[Result]:
    assert stored.raw is not None
    return [Result(*one) for one in read_raw(table, stored.raw, stored.media, stored.entry.received_at)]
