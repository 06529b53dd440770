"""What a stored raw event becomes when the present table reads it again, beside what it became before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from typing import NamedTuple

import orjson
import structlog

from adapter.log.protocol import Revision, Stored
from adapter.mapping.body import LONG
from adapter.mapping.compile import Result
from adapter.mapping.forwarders import AUTO
from adapter.mapping.table import Table
from adapter.memory import uncollected
from adapter.model import Entry, EventDict, source_key, uid_text
from adapter.normalize import is_known_by, origin, read_raw, unread
from adapter.renormalization.step import Step
from adapter.sources.intake import Source
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


class Rereader:
    """Reads stored entries by the tables that are in use at that moment; a `StretchReader`."""

    stretch = 1_000

    def __init__(self, sources: Mapping[str, Source], tables: Mapping[str, Table]) -> None:
        """``sources``: those that are configured, by name."""
        self._sources = sources
        self._tables = tables

    async def read(self, chosen: AsyncIterable[tuple[Stored, Entry]], now: int, *, show: bool) -> Step:
        step = Step()
        async for stored, latest in chosen:
            again = await self.read_again(stored, latest, now)
            step.add(again.verdict, again.problem)
            if show:
                _show(step, latest, again)
            elif again.revision is not None:
                step.revisions.append(again.revision)
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
            return Rereading(none, None, f"there is no table for the source {first.source!r} now")
        event, native, _, _, _, problem = self._result(table, stored, latest)
        made = b""
        verdict = Verdict.RECOVERED
        if event is not None:
            event["uid"] = uid_text(first.uid)
            event["source"] = origin(first.source, table, native, first.received_at)
            made = orjson.dumps(event)
        if latest.event is not None:
            verdict = none if event is None else _compare(latest.event, made, table)
            if verdict is Verdict.UNCHANGED:
                return Rereading(verdict)
            before = _provider(latest)
            if before != provider:
                # The source is another provider's now.
                return self._read(stored, latest, now, before)
        if event is None:
            return Rereading(none, None, problem or "the table ignores it now")
        # As the log will count it: the first event is no revision of another.
        number = b"" if latest.event is None else b',"revision":%d' % (latest.revision + 1)
        marked = b'%b,"normalizedAt":%d%b}}' % (made[:-2], now, number)
        return Rereading(verdict, Revision(first.position, latest.position, native, event["type"], marked))

    def _result(self, table: Table, stored: Stored, latest: Entry) -> Result:
        assert stored.raw is not None
        first = stored.entry
        source = self._sources.get(first.source)
        unwrap = AUTO if source is None else source.unwrap
        results = read_raw(table, stored.raw, stored.media, first.received_at, unwrap)
        if len(results) == 1:
            return results[0]
        key = source_key(first.source) if source is None else source.key
        several = f"it reads as {len(results)} events now, and none of them is this one"
        if latest.event is None:
            several += "; posted again, they are new events"
        return next((one for one in results if is_known_by(first.uid, key, one)), unread(several))


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
