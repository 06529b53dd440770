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
from adapter.normalize import is_known_by, read_raw
from adapter.sources.intake import Source
from adapter.trials.pool import Trials
from adapter.workbench.compare import Change, compare
from adapter.workbench.trial import Folders, Texts, table_of

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
    gained: int = Field(0, description="Quarantined or ignored, would be events")
    lost: int = Field(0, description="Events, would be none")
    other_keys: int = Field(0, description="Those that would be known by other keys")
    fields: Counter[str] = Field(default_factory=Counter, description="Place in the event: how many changes of it")
    samples: list[ChangedEvent] = Field(default_factory=list, description="Some of each kind")

    def add(self, other: StoredChanges) -> None:
        """Those of other events, too."""
        for name in ("looked_at", *Change, "other_keys"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.add_places(other.fields, other.samples)

    def add_places(self, fields: Mapping[str, int], samples: Sequence[ChangedEvent]) -> None:
        """Where events changed, and some of them: as many as are told."""
        for place, count in fields.items():
            known = place in self.fields or len(self.fields) < PLACES
            self.fields[place if known else OTHERS] += count
        shown = Counter(sample.change for sample in self.samples)
        for sample in samples:
            shown[sample.change] += 1
            if shown[sample.change] <= SAMPLES:
                self.samples.append(sample)


class StoredComparison:
    """One way through a stretch of the log with two tables of one provider."""

    def __init__(
        self,
        log: Log,
        trials: Trials,
        sources: Mapping[str, Source],
        folders: Folders,
        old: Texts,
        new: Texts,
        *,
        since: int | None = None,
        until: int | None = None,
    ) -> None:
        """``sources``: those of the provider, by name; ``old``, ``new``: the texts of the tables. Only what arrived at
        or after ``since`` and before ``until`` counts; epoch milliseconds."""
        self._since = 0 if since is None else since
        self._until = 2**62 if until is None else until
        self.changes = StoredChanges()
        self._log = log
        self._trials = trials
        self._tables = folders, old, new
        self._keys = {name: source.key for name, source in sources.items()}

    async def run(self, begin: int, end: int) -> AsyncGenerator[int, None]:
        """Go through ``begin < position <= end``, and say after each stretch up to where it is done. The work is done
        in the process of trials, and rests as long as it takes, so that events which arrive meanwhile have half of the
        time.

        Raises:
            RequestError: the tables take too long or too much memory for a stretch; says so.
        """
        position = begin
        while stored := await self._log.read_stored(position, until=end, limit=STRETCH):
            position = stored[-1].entry.position
            began = time.monotonic()
            # What was read again has its raw event with the first entry.
            wanted = [
                one
                for one in stored
                if one.raw is not None
                and one.entry.source in self._keys
                and self._since <= one.entry.received_at < self._until
            ]
            if wanted:
                found = await self._trials.run(compare_stored, *self._tables, self._keys, wanted)
                self.changes.add(StoredChanges.model_validate_json(found))
            yield position
            if position < end:
                await asyncio.sleep(time.monotonic() - began)


def compare_stored(
    folders: Folders, old: Texts, new: Texts, keys: Mapping[str, bytes], stored: Sequence[Stored]
) -> bytes:
    """`StoredChanges` as JSON: what both tables make of some entries with their raw events, whatever was stored for
    them. ``keys``: of the sources, by name. A work for the process of trials."""
    return look_at(table_of(folders, old), table_of(folders, new), keys, stored).model_dump_json().encode()


def look_at(old: Table, new: Table, keys: Mapping[str, bytes], stored: Sequence[Stored]) -> StoredChanges:
    """The same with the tables themselves."""
    changes = StoredChanges()
    for one in stored:
        found = compare(*_both(one, keys[one.entry.source], old, new))
        changes.looked_at += 1
        changes.other_keys += found.keys
        setattr(changes, found.change, getattr(changes, found.change) + 1)
        if found.lines:
            sample = ChangedEvent(
                uid=uid_text(one.entry.uid),
                received_at=one.entry.received_at,
                native_type=None if one.entry.native_type is None else shortened(one.entry.native_type),
                change=found.change,
                lines=[f"{shortened(place)}: {shortened(told)}" for place, told in islice(found.lines.items(), LINES)],
            )
            changes.add_places(Counter(map(shortened, found.lines)), [sample])
    return changes


def _both(stored: Stored, key: bytes, old: Table, new: Table) -> tuple[Result, Result]:
    """What both tables make of an entry."""
    before, after = _readings(stored, old), _readings(stored, new)
    if len(before) == 1 == len(after):
        return before[0], after[0]
    chosen = next((n for n, one in enumerate(before) if is_known_by(stored.entry.uid, key, one)), 0)
    if len(before) == len(after):
        return before[chosen], after[chosen]
    problem = f"it reads as {len(after)} events, and none of them is this one"
    none = Result(None, stored.entry.native_type, None, None, 0, problem)
    return before[chosen], next((one for one in after if is_known_by(stored.entry.uid, key, one)), none)


def _readings(stored: Stored, table: Table) -> list[Result]:
    assert stored.raw is not None
    return read_raw(table, stored.raw, stored.media, stored.entry.received_at)
