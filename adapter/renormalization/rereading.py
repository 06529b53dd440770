"""What a stored raw event becomes when the present table reads it again, beside what it became before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from typing import NamedTuple

import orjson
import structlog

from adapter.log.protocol import NewEntry, Revision, Stored
from adapter.mapping.body import LONG, Record
from adapter.mapping.compile import Result
from adapter.mapping.forwarders import AUTO
from adapter.mapping.table import Table
from adapter.memory import uncollected
from adapter.model import Entry, EventDict, source_key, uid_text
from adapter.normalize import further_name, is_known_by, normalize_further, origin, read_keys, read_stored, unread
from adapter.renormalization.step import Step
from adapter.sources.intake import Source
from adapter.system_events import SOURCE as SYSTEM
from adapter.workbench.compare import Verdict, compare

_log = structlog.get_logger("adapter.rereading")

#: Of ``source``: what tells nothing about the event itself.
_READING = ("mapping", "receivedAt", "normalizedAt", "revision")


class Rereading(NamedTuple):
    """What reading an entry again came to, and why."""

    verdict: Verdict
    #: To be appended, where something is new.
    revision: Revision | None = None
    #: Why there is no event now.
    problem: str | None = None
    #: Further events of the record of which it is the first one.
    further: tuple[NewEntry, ...] = ()


class Rereader:
    """Reads stored entries by the tables that are in use at that moment; a `StretchReader`."""

    stretch = 1_000

    def __init__(self, sources: Mapping[str, Source], tables: Mapping[str, Table]) -> None:
        """``sources``: those that are configured, by name."""
        self._sources = sources
        self._tables = tables

    async def read(self, chosen: AsyncIterable[tuple[Stored, Entry]], now: int, *, show: bool) -> Step:
        step, seen = Step(), set()
        async for stored, latest in chosen:
            seen.add(stored.entry.uid)
            again = await self.read_again(stored, latest, now)
            step.add(again.verdict, again.problem)
            step.further += again.further
            if show:
                _show(step, latest, again)
            elif again.revision is not None:
                step.revisions.append(again.revision)
        # Mostly they stand beside the first event of their record.
        step.further = [one for one in step.further if one.uid not in seen]
        return step

    async def read_again(self, stored: Stored, latest: Entry, now: int) -> Rereading:
        """As `read_one`; what is long is read in a thread."""
        if stored.raw is not None and len(stored.raw) > LONG:
            return await asyncio.to_thread(uncollected, self.read_one, stored, latest, now)
        return self.read_one(stored, latest, now)

    def read_one(self, stored: Stored, latest: Entry, now: int) -> Rereading:
        """Read what a first entry was made of again; ``latest`` is what stands for its event until now. ``now``: epoch
        milliseconds. Never raises."""
        source = self._sources.get(stored.entry.source)
        try:
            provider = _provider(latest) if source is None else source.provider
            return self._read(stored, latest, now, provider)
        except Exception:
            _log.exception("rereading_failed", position=stored.entry.position)
            none = Verdict.QUARANTINED if latest.event is None else Verdict.KEPT
            return Rereading(none, None, "reading it again failed; this is a fault of the adapter")

    def _read(self, stored: Stored, latest: Entry, now: int, provider: str | None) -> Rereading:
        first = stored.entry
        none = Verdict.QUARANTINED if latest.event is None else Verdict.KEPT
        table = None if provider is None else self._tables.get(provider)
        if table is None:
            if first.source == SYSTEM and latest.event is not None:
                return Rereading(Verdict.UNCHANGED)  # the service told it itself, and no table made it
            return Rereading(none, None, f"there is no table for the source {first.source!r} now")
        source = self._sources.get(first.source)
        key = source_key(first.source) if source is None else source.key
        result, record, name = _reading(table, stored, latest, key, source)
        event, native, problem = result.event, result.native_type, result.problem
        made = b""
        verdict = Verdict.RECOVERED
        if event is not None:
            event["uid"] = uid_text(first.uid)
            event["source"] = origin(first.source, table, native, first.received_at, name)
            made = orjson.dumps(event)
        if latest.event is not None:
            verdict = none if event is None else _compare(latest.event, made, table)
            before = _provider(latest) if verdict is not Verdict.UNCHANGED else provider
            if before != provider:
                # The source is another provider's now.
                return self._read(stored, latest, now, before)
        if event is None:
            return Rereading(none, None, problem or "the table ignores it now")
        further: tuple[NewEntry, ...] = ()
        if table.further is not None and record is not None and name is None:
            assert stored.raw is not None
            itself = NewEntry(
                source=first.source,
                received_at=first.received_at,
                raw=stored.raw,
                media=stored.media,
                uid=first.uid,
                strong=None,
                weak=None,
                seconds=0,
                native_type=native,
                type=event["type"],
                event=made,
                problem=None,
                envelope=stored.envelope,
            )
            further = tuple(_marked(one, now) for one, _ in normalize_further(table, record, itself, key))
        if verdict is Verdict.UNCHANGED:
            return Rereading(verdict, further=further)
        # As the log will count it: the first event is no revision of another.
        number = b"" if latest.event is None else b',"revision":%d' % (latest.revision + 1)
        marked = b'%b,"normalizedAt":%d%b}}' % (made[:-2], now, number)
        keys = read_keys(result, stored.raw or b"", key) if latest.event is None else None
        revision = Revision(first.position, latest.position, native, event["type"], marked, keys)
        return Rereading(verdict, revision, further=further)


def _reading(
    table: Table, stored: Stored, latest: Entry, key: bytes, source: Source | None
) -> tuple[Result, Record | None, str | None]:
    """What an entry's event is read as now, from which record, and its name if it is a further one of that."""
    assert stored.raw is not None
    first = stored.entry
    unwrap = AUTO if source is None else source.unwrap
    name = None if latest.event is None else further_name(latest.event)
    readings = read_stored(table, stored.raw, stored.media, first.received_at, unwrap, name, stored.envelope)
    if latest.event is None and table.further is not None:
        # A further event that was lost, of which what was sent is left.
        for _, record in readings:
            for other, one in {} if record is None else table.results(record, first.received_at).items():
                if other is not None and is_known_by(first.uid, key, one):
                    return one, record, other
    if len(readings) == 1:
        return *readings[0], name
    for one, record in readings:
        if is_known_by(first.uid, key, one):
            return one, record, name
    several = f"it reads as {len(readings)} events now, and none of them is this one"
    if latest.event is None:
        several += "; posted again, they are new events"
    return unread(several), None, name


def _marked(entry: NewEntry, now: int) -> NewEntry:
    """An event that a later table made of what had been stored."""
    assert entry.event is not None
    return entry._replace(event=b'%b,"normalizedAt":%d}}' % (entry.event[:-2], now))


def _show(step: Step, latest: Entry, again: Rereading) -> None:
    """Show what would be different, if anything would."""
    revision = again.revision
    if revision is None and again.verdict is not Verdict.KEPT:
        return
    before = Result(_facts_of(latest.event), latest.native_type, None, None, 0, latest.problem)
    native, type, event = (latest.native_type, None, None) if revision is None else revision[2:5]
    after = Result(_facts_of(event), native, None, None, 0, again.problem)
    step.show(latest, again.verdict, native, type, compare(before, after).lines)


def _provider(latest: Entry) -> str | None:
    """The provider that an entry names itself."""
    if latest.event is None:
        return None
    # It stands last, and quotes inside texts are escaped, so nothing else looks like it.
    source = latest.event[latest.event.rfind(_SOURCE) + len(_SOURCE) - 1 : -1]
    provider: str = orjson.loads(source)["provider"]
    return provider


def _compare(before: bytes, made: bytes, table: Table) -> Verdict:
    """Whether an event, as the table makes it now, tells the same as before: the reading itself aside."""
    # The table's name stands last: up to there the bytes are equal where nothing has changed.
    end = len(made) - len(table.name) - 3
    if before.startswith(made[:end]):
        return Verdict.UNCHANGED
    # The same facts in another order are as long.
    if before.rfind(_MAPPING) != end - len(_MAPPING):
        return Verdict.CORRECTED
    same = _facts(orjson.loads(before)) == _facts(orjson.loads(made))
    return Verdict.UNCHANGED if same else Verdict.CORRECTED


_SOURCE = b',"source":{'
_MAPPING = b',"mapping":"'


def _facts_of(event: bytes | None) -> EventDict | None:
    return None if event is None else _facts(orjson.loads(event))


def _facts(event: EventDict) -> EventDict:
    """All of an event that does not speak of its reading."""
    return {**event, "source": {name: one for name, one in event["source"].items() if name not in _READING}}
