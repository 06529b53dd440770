"""The way in, behind every door: a body's records are normalized and handed to the log, and answered for."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from adapter.counts import Counts
from adapter.log.protocol import Log, NewEntry, new_entry
from adapter.mapping.apply import Ordinals, origin
from adapter.mapping.body import EVENT_LIMIT, OVERSIZE, Record
from adapter.mapping.table import Table
from adapter.model import Outcome, identity_key, ordinal_key, source_key, uid_text
from adapter.sources.record import read_record

_UNKNOWN = Outcome.UNKNOWN.value


#: After so many records of one body, or so many bytes of them, other requests get a turn.
_TURN, _TURN_BYTES = 250, 32 * 1024
#: Larger bodies are normalized one at a time: what is made of them takes several times their size in memory.
_LARGE = 1024 * 1024
#: Characters of a native type that are kept beside its raw event.
_NATIVE_TYPE = 400


class TooManyEvents(ValueError):
    """A body holds more events than one request may bring."""


class Receipts(NamedTuple):
    """What became of a body's records; the counts are disjoint."""

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


class Source:
    """One configured instance of a provider. Its table is looked up for each body, so that a reload takes effect."""

    def __init__(self, name: str, provider: str, key: str, tables: Mapping[str, Table]) -> None:
        self.name = name
        self.provider = provider
        self.key = source_key(key)
        self._tables = tables

    @property
    def table(self) -> Table:
        """The provider's present table."""
        return self._tables[self.provider]


class Intake:
    """Normalizes bodies and appends them to the log."""

    def __init__(
        self,
        log: Log,
        counts: Counts,
        *,
        events_limit: int = 10_000,
        event_limit: int = EVENT_LIMIT,
        random_uid: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        """``events_limit``: events in a body; ``event_limit``: bytes of one event."""
        self._events_limit = events_limit
        self._event_limit = event_limit
        self._large = asyncio.Lock()
        self._append = log.append
        self._counts = counts
        self._random_uid = random_uid

    def take(self, source: Source, body: bytes, media: str, received_at: int) -> Awaitable[Receipts]:
        """Store every record of a body, and say what became of each once all are on disk.

        ``received_at`` is the arrival, epoch milliseconds.

        Raises:
            NotReadable: the body as a whole is not what ``media`` says; nothing was stored.
            UnknownMedia: the source's table does not take ``media``.
            TooManyEvents: it holds more than a request may bring.
            StoreUnavailable: nothing was stored; it may succeed later.
        """
        if len(body) <= _LARGE:
            return self._take(source, body, media, received_at)
        return self._take_large(source, body, media, received_at)

    async def _take_large(self, source: Source, body: bytes, media: str, received_at: int) -> Receipts:
        async with self._large:
            return await self._take(source, body, media, received_at)

    async def _take(self, source: Source, body: bytes, media: str, received_at: int) -> Receipts:
        table = source.table
        entries: list[NewEntry] = []
        uids: list[str | None] = []
        ordinals = Ordinals()
        number = size = oversize = 0
        for record in table.records(body, media, self._event_limit):
            if record is None:
                await asyncio.sleep(0)
                continue
            number += 1
            size += len(record.raw)
            if number > self._events_limit:
                raise TooManyEvents(f"the body holds more than {self._events_limit} events; send fewer at a time")
            if number % _TURN == 0 or size > _TURN_BYTES:
                size = 0
                await asyncio.sleep(0)
            oversize += record.media == OVERSIZE
            entry, uid = self._entry(source, table, record, received_at, ordinals)
            uids.append(uid)
            if entry is not None:
                entries.append(entry)
        return await self._keep(source, entries, uids, oversize)

    def _entry(
        self, source: Source, table: Table, record: Record, received_at: int, ordinals: Ordinals
    ) -> tuple[NewEntry, str] | tuple[None, None]:
        """The record as the log takes it, and its uid if it is new; nothing if the table passes over it."""
        event, native, strong_values, weak_values, problem = read_record(table, record, received_at)
        if event is None and problem is None:
            return None, None

        strong = weak = None
        ordinal = 0
        if strong_values is not None:
            strong = identity_key(source.key, strong_values)
        if weak_values is not None:
            weak = identity_key(source.key, weak_values)
        elif strong is None and event is None:
            weak = identity_key(source.key, ["bytes", hashlib.sha256(record.raw).hexdigest()])
        if strong is not None:
            uid = strong
        elif weak is not None:
            ordinal = ordinals.next(weak)
            uid = ordinal_key(weak, ordinal)
        else:
            uid = self._random_uid().bytes

        if native is not None and len(native) > _NATIVE_TYPE:
            native = native[:_NATIVE_TYPE]
        text = uid_text(uid)
        kind: str | None = None
        written: bytes | None = None
        if event is not None:
            event["uid"] = text
            event["source"] = origin(source.name, table, native, received_at)
            kind = event["type"]
            if event["outcome"] == _UNKNOWN and table.catalogue.outcome(kind) is not Outcome.UNKNOWN:
                self._counts.unanswered.add(source.name, kind)
            try:
                written = orjson.dumps(event)
            except TypeError as error:  # half of a surrogate pair
                kind, problem = None, f"cannot be written as JSON: {error}"
        return new_entry(
            (
                source.name,
                received_at,
                record.raw,
                record.media,
                uid,
                strong,
                weak,
                ordinal,
                native,
                kind,
                written,
                problem,
            )
        ), text

    async def _keep(self, source: Source, entries: list[NewEntry], uids: list[Any], oversize: int) -> Receipts:
        receipts = await self._append(entries) if entries else []
        accepted = duplicates = quarantined = 0
        at = 0
        for entry, receipt in zip(entries, receipts, strict=True):
            while uids[at] is None:
                at += 1
            if receipt.uid != entry.uid:
                uids[at] = uid_text(receipt.uid)
            at += 1
            if receipt.position is None:
                duplicates += 1
            elif entry.event is None:
                quarantined += 1
                self._counts.quarantined.add(source.name, entry.native_type or "(unreadable)")
            else:
                accepted += 1
        ignored = len(uids) - len(entries)
        counts, name = self._counts, source.name
        if accepted:
            counts.accepted[name] += accepted
        if duplicates:
            counts.duplicates[name] += duplicates
        if ignored:
            counts.ignored[name] += ignored
        return Receipts(accepted, duplicates, quarantined, ignored, uids, oversize)
