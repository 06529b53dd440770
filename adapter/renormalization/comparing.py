"""What a changed table would do to stored raw events, before it is put in place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Mapping, Sequence

from pydantic import TypeAdapter

from adapter.log.protocol import Stored
from adapter.mapping.compile import Result
from adapter.mapping.table import Table
from adapter.model import Entry, source_key
from adapter.normalize import Reading, further_name, is_known_by, read_stored
from adapter.renormalization.step import Step
from adapter.sources.intake import Source
from adapter.trials.pool import Trials
from adapter.workbench.compare import Verdict, compare
from adapter.workbench.trial import Folders, Texts, table_of

_STEP = TypeAdapter(Step)


class Comparer:
    """Reads stored entries by two tables of one provider, in the process of trials, and holds the changed one against
    that in use, whatever was stored; a `StretchReader` that shows. It rests as long as it takes, so that events which
    arrive meanwhile have half of the time."""

    stretch = 500

    def __init__(self, trials: Trials, sources: Mapping[str, Source], folders: Folders, old: Texts, new: Texts) -> None:
        """``sources``: those that are configured, by name; ``old``, ``new``: the texts of the tables."""
        self._trials = trials
        self._tables = folders, old, new
        self._keys = {name: source.key for name, source in sources.items()}

    async def read(self, chosen: AsyncIterable[tuple[Stored, Entry]], now: int, *, show: bool) -> Step:
        """See `StretchReader`.

        Raises:
            RequestError: the tables take too long or too much memory for a stretch; says so.
        """
        wanted = [stored async for stored, _ in chosen]
        if not wanted:
            return Step()
        began = time.monotonic()
        step = _STEP.validate_json(await self._trials.run(compare_stored, *self._tables, self._keys, wanted))
        await asyncio.sleep(time.monotonic() - began)
        return step


def compare_stored(
    folders: Folders, old: Texts, new: Texts, keys: Mapping[str, bytes], stored: Sequence[Stored]
) -> bytes:
    """A `Step` as JSON: what both tables make of some entries with their raw events. ``keys``: of the sources that are
    configured, by name. A work for the process of trials."""
    return _STEP.dump_json(look_at(table_of(folders, old), table_of(folders, new), keys, stored))


def look_at(old: Table, new: Table, keys: Mapping[str, bytes], stored: Sequence[Stored]) -> Step:
    """The same with the tables themselves."""
    step = Step()
    for one in stored:
        entry = one.entry
        key = keys.get(entry.source) or source_key(entry.source)
        before, after, added = _both(one, key, old, new)
        step.counts[Verdict.ADDED] += added
        found = compare(before, after)
        step.add(found.verdict, after.problem)
        step.other_keys += found.keys
        type = None if after.event is None else str(after.event["type"])
        step.show(entry, found.verdict, entry.native_type, type, found.lines)
    return step


def _both(stored: Stored, key: bytes, old: Table, new: Table) -> tuple[Result, Result, int]:
    """What both tables make of an entry, and how many further events of its record the new one alone makes."""
    name = None if stored.entry.event is None else further_name(stored.entry.event)
    before, after = _readings(stored, old, name), _readings(stored, new, name)
    chosen = next((n for n, one in enumerate(before) if is_known_by(stored.entry.uid, key, one.result)), 0)
    if len(before) == len(after):
        one, other = before[chosen], after[chosen]
        if name is not None or one.record is None or other.record is None:
            return one.result, other.result, 0
        at = stored.entry.received_at
        added = new.results(other.record, at).keys() - old.results(one.record, at).keys()
        return one.result, other.result, len(added)
    problem = f"it reads as {len(after)} events, and none of them is this one"
    none = Result(None, stored.entry.native_type, None, None, 0, problem)
    found = (one.result for one in after if is_known_by(stored.entry.uid, key, one.result))
    return before[chosen].result, next(found, none), 0


def _readings(stored: Stored, table: Table, name: str | None) -> list[Reading]:
    assert stored.raw is not None
    return read_stored(table, stored.raw, stored.media, stored.entry.received_at, name=name, envelope=stored.envelope)
