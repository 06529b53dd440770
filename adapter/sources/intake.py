"""The way in, behind all authentication: a body's records are normalized and handed to the log, and answered for."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

from adapter.counts import EXCERPT, IngestCounts
from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import Log, NewEntry, Note, Receipt, Revision
from adapter.mapping.body import EVENT_LIMIT, JSON, LONG, OVERSIZE, Record
from adapter.mapping.exact import NotJson, parse_json, write_json
from adapter.mapping.forwarders import AUTO
from adapter.mapping.slices import Pause
from adapter.mapping.table import Table
from adapter.mapping.untranslated import Untranslated, noting
from adapter.memory import uncollected
from adapter.model import Outcome, renamed, source_key, uid_text
from adapter.normalize import normalize, normalize_further

_UNKNOWN = Outcome.UNKNOWN.value


#: After so many records of one body, or so many bytes of them, other requests get a turn.
_TURN, _TURN_BYTES = 250, 32 * 1024
#: Larger bodies are normalized one at a time: what is made of them takes several times their size in memory.
_LARGE = 1024 * 1024
#: Events that are appended together for quarantined entries.
_RECOVERED = 500


class TooManyEvents(ValueError):
    """A body holds more events than one request may bring."""


class IngestSummary(NamedTuple):
    """What became of a body's records; the counts are disjoint. A record of several events counts once, as what became
    of its first one, whose uid it has."""

    accepted: int
    duplicates: int
    quarantined: int
    ignored: int
    #: One for each record, in order; ``None`` where it was ignored.
    uids: list[str | None]
    #: How many of the quarantined ones were larger than one event may be.
    oversize: int = 0

    def as_answer(self) -> dict[str, Any]:
        """The members of the answer to the sender."""
        answer = {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "quarantined": self.quarantined,
            "ignored": self.ignored,
            "uids": self.uids,
        }
        if self.oversize:
            answer["oversize"] = self.oversize
        return answer


class LookedUp(NamedTuple):
    """What the log has of one record."""

    #: Uid of its event: the one in the log, or the one that it would get.
    uid: str
    is_known: bool


class Source:
    """One configured instance of a provider. Its table is looked up for each body, so that a reload takes effect."""

    def __init__(self, name: str, provider: str, key: str, tables: Mapping[str, Table], *, unwrap: str = AUTO) -> None:
        self.name = name
        self.provider = provider
        #: What is opened of what forwarders wrap events in.
        self.unwrap = unwrap
        self.key = source_key(key)
        #: Held while a long step of one of its bodies waits or is made.
        self.turn = asyncio.Lock()
        self._tables = tables

    @property
    def table(self) -> Table:
        """The provider's present table."""
        return self._tables[self.provider]


class _Reading:
    """What was read of one body so far."""

    def __init__(
        self,
        source: Source,
        received_at: int,
        events_limit: int,
        random_uid: Callable[[], uuid.UUID],
        secrets: KnownSecrets,
    ) -> None:
        self.source = source
        self.table = source.table
        self.entries: list[NewEntry] = []
        #: Which of them, by number, are further events of a record, behind its first one.
        self.further: set[int] = set()
        #: One for each record; ``None`` where it is ignored.
        self.uids: list[str | None] = []
        #: What is ignored: how often, and the bytes of the last one.
        self.ignored: dict[str, tuple[int, bytes]] = {}
        self.oversize = 0
        #: Types of events whose outcome is unknown although it should not be.
        self.unanswered: list[str] = []
        #: Values that the table has no word for, by path.
        self.untranslated: Untranslated = {}
        #: Bytes of records since the last pause.
        self.size = 0
        self.received_at = received_at
        self._events_limit = events_limit
        self._random_uid = random_uid
        self._secrets = secrets

    def step(self, records: Iterator[Record | Pause]) -> Record | Pause | None:
        """Read the next record, if none of the pauses comes first; ``None`` at the end."""
        found = next(records, None)
        if found.__class__ is Record:
            self.add(found)
        return found

    def add(self, record: Record) -> None:
        """Read a record: make of it what the log takes.

        Raises:
            TooManyEvents: there were as many as may be.
        """
        if len(self.uids) == self._events_limit:
            raise TooManyEvents(f"the body holds more than {self._events_limit} events; send fewer at a time")
        table, source = self.table, self.source
        self.size += len(record.raw)
        if self._secrets.may_be_in(record.raw) or (record.envelope and self._secrets.may_be_in(record.envelope)):
            without_secrets(record, self._secrets)
        made = normalize(table, record, source.name, source.key, self.received_at, self._random_uid)
        if isinstance(made, str):
            before, _ = self.ignored.get(made, (0, b""))
            self.ignored[made] = before + 1, record.raw
            self.uids.append(None)
            return
        entry, event = made
        if event is None:
            self.oversize += record.media == OVERSIZE
        elif event["outcome"] == _UNKNOWN and table.catalogue.outcome(event["type"]) is not Outcome.UNKNOWN:
            self.unanswered.append(event["type"])
        self.uids.append(uid_text(entry.uid))
        self.entries.append(entry)
        if table.further is not None:
            self._add_further(record, entry)

    def _add_further(self, record: Record, first: NewEntry) -> None:
        catalogue = self.table.catalogue
        for entry, event in normalize_further(self.table, record, first, self.source.key):
            if event["outcome"] == _UNKNOWN and catalogue.outcome(event["type"]) is not Outcome.UNKNOWN:
                self.unanswered.append(event["type"])
            self.size += len(entry.raw)
            self.further.add(len(self.entries))
            self.entries.append(entry)


def without_secrets(record: Record, secrets: KnownSecrets) -> None:
    """Take the service's own secrets out of a record, before it is read."""
    record.envelope = secrets.cleaned(record.envelope)
    raw = secrets.cleaned(record.raw)
    if raw is record.raw:
        return
    record.raw = raw
    if record.problem is not None:
        record.problem = secrets.cleaned_value(record.problem)
    if record.value is None:
        return
    record.value = secrets.cleaned_value(record.value)
    if record.media == JSON:
        try:
            parse_json(raw)
        except NotJson:
            # A number was one; of what the parser did not take before either, the bytes are right as they are.
            with suppress(TypeError, ValueError):
                record.raw = write_json(record.value)


class Intake:
    """Normalizes bodies and appends them to the log."""

    def __init__(
        self,
        log: Log,
        counts: IngestCounts,
        *,
        events_limit: int = 10_000,
        event_limit: int = EVENT_LIMIT,
        random_uid: Callable[[], uuid.UUID] = uuid.uuid4,
        secrets: KnownSecrets | None = None,
    ) -> None:
        """``events_limit``: events in a body; ``event_limit``: bytes of one event; ``secrets``: what no event may
        carry further."""
        self._events_limit = events_limit
        self._event_limit = event_limit
        self._large = asyncio.Lock()
        self._thread = asyncio.Lock()
        self._log = log
        self._append = log.append
        self._counts = counts
        self._random_uid = random_uid
        self._secrets = secrets or KnownSecrets()

    async def take(
        self, source: Source, body: bytes, media: str, received_at: int, note: Note | None = None
    ) -> IngestSummary:
        """Store every record of a body, and a note with them, and say what became of each once all are on disk.

        ``received_at`` is the arrival, epoch milliseconds.

        Raises:
            NoteChanged: the note does not follow the one that is kept; nothing was stored.
            NotReadable: the body as a whole is not what ``media`` says; nothing was stored.
            UnknownMedia: the source's table does not take ``media``.
            TooManyEvents: it holds more than a request may bring.
            StoreUnavailable: nothing was stored; it may succeed later.
        """
        reading = _Reading(source, received_at, self._events_limit, self._random_uid, self._secrets)
        if len(body) <= _LARGE:
            await self._read(reading, body, media)
            return await self._keep(reading, note)
        async with self._large:
            await self._read(reading, body, media)
            return await self._keep(reading, note)

    async def look_up(self, source: Source, body: bytes, media: str, received_at: int) -> list[LookedUp | None]:
        """What the log has of a body's records, as if it were taken, without storing or counting anything: one for each
        record, in order, however many there are; ``None`` where the table ignores it. Of a record of several events its
        first one tells.

        Raises:
            NotReadable, UnknownMedia: as `take`.
            StoreUnavailable: the log cannot be read now.
        """
        reading = _Reading(source, received_at, sys.maxsize, self._random_uid, self._secrets)
        async with self._large if len(body) > _LARGE else nullcontext():
            await self._read(reading, body, media)
            entries = [one for number, one in enumerate(reading.entries) if number not in reading.further]
            known = iter(zip(entries, await self._log.known(entries), strict=True))
        found: list[LookedUp | None] = []
        for uid in reading.uids:
            if uid is None:
                found.append(None)
                continue
            entry, stored = next(known)
            found.append(LookedUp(uid_text(stored or entry.uid), stored is not None))
        return found

    async def _read(self, reading: _Reading, body: bytes, media: str) -> None:
        """Read a body; others have their turns while it is a long one."""
        records = reading.table.records(body, media, self._event_limit, reading.source.unwrap)
        if len(body) > LONG:
            await self._read_long(reading, iter(records))
            return
        with noting(reading.untranslated):
            for record in records:
                if record.__class__ is Record:
                    reading.add(record)

    async def _read_long(self, reading: _Reading, records: Iterator[Record | Pause]) -> None:
        """Read a long body; others have their turns meanwhile."""
        with noting(reading.untranslated):
            found = reading.step(records)
            while found is not None:
                if found is Pause.LONG:
                    # In a thread, one at a time, and of each source one after the other: nobody waits for more than one
                    # step of each of the others.
                    async with reading.source.turn, self._thread:
                        found = await asyncio.to_thread(uncollected, reading.step, records)
                    continue
                if found is Pause.TURN or reading.size > _TURN_BYTES or len(reading.uids) % _TURN == 0:
                    reading.size = 0
                    await asyncio.sleep(0)
                found = reading.step(records)

    async def _keep(self, reading: _Reading, note: Note | None) -> IngestSummary:
        entries, uids, source, further = reading.entries, reading.uids, reading.source, reading.further
        receipts = await self._append(entries, note) if entries or note is not None else []
        if further:
            receipts = [one for number, one in enumerate(receipts) if number not in further]
            entries = [one for number, one in enumerate(entries) if number not in further]
        accepted = duplicates = quarantined = 0
        #: Events whose entries were quarantined, by the positions of these.
        late: dict[int, Revision] = {}
        at = 0
        for entry, receipt in zip(entries, receipts, strict=True):
            while uids[at] is None:
                at += 1
            if receipt.uid != entry.uid:
                uids[at] = uid_text(receipt.uid)
            at += 1
            if receipt.position is None:
                duplicates += 1
                if receipt.quarantined is not None and receipt.quarantined not in late:
                    late[receipt.quarantined] = _late(entry, receipt)
            elif entry.event is None:
                quarantined += 1
                self._counts.quarantined.add(source.name, entry.native_type or "(unreadable)")
            else:
                accepted += 1
        if late:
            recovered = await self._recover([*late.values()])
            accepted, duplicates = accepted + recovered, duplicates - recovered
        for kind in reading.unanswered:
            self._counts.unanswered.add(source.name, kind)
        for (path, value), count in reading.untranslated.items():
            self._counts.untranslated.add(source.name, path, value, count)
        for what, (count, raw) in reading.ignored.items():
            excerpt = reading.table.excerpt(raw, EXCERPT)
            self._counts.ignored.add(source.name, what, count, sample=(reading.received_at, excerpt))
        ignored = len(uids) - len(entries)
        counts, name = self._counts, source.name
        if uids:
            counts.heard[name] = reading.received_at, entries[-1].seconds if entries else 0
        if accepted:
            counts.accepted[name] += accepted
        if duplicates:
            counts.duplicates[name] += duplicates
        return IngestSummary(accepted, duplicates, quarantined, ignored, uids, reading.oversize)

    async def _recover(self, late: Sequence[Revision]) -> int:
        """Append events under the uids of their quarantined entries; how many nobody else had appended before. What a
        failure leaves out is appended when the sender tries again, as it has no answer yet."""
        recovered = 0
        for start in range(0, len(late), _RECOVERED):
            some = late[start : start + _RECOVERED]
            if await self._log.revise(some) is not None:
                recovered += len(some)
                continue
            # Somebody else has appended one of them, or it was removed.
            for one in some:
                recovered += await self._log.revise([one]) is not None
        return recovered


def _late(entry: NewEntry, receipt: Receipt) -> Revision:
    """The event of an entry, for the quarantined one that it is a copy of."""
    assert receipt.quarantined is not None
    assert entry.type is not None
    assert entry.event is not None
    event = renamed(entry.event, uid_text(receipt.uid).encode())
    return Revision(receipt.quarantined, receipt.quarantined, entry.native_type, entry.type, event)
