"""The log in memory: for tests and trials that need no disk. It lasts as long as the `Memory` that it is opened on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from adapter.counts import Commits
from adapter.errors import ClaimLost, NoteChanged, StoreError
from adapter.log.identity import Former, Identities, Keys, Known, find_known, keys_of, keys_read
from adapter.log.protocol import (
    CLAIM_SECONDS,
    READ_SIZE,
    TOLD_LENGTH,
    Arrivals,
    Attempt,
    BlockedKey,
    Claim,
    Held,
    NewEntry,
    Note,
    Quarantine,
    QuarantineGroup,
    Raw,
    ReaderState,
    Receipt,
    Removal,
    Removed,
    Replacement,
    Revision,
    Settlement,
    Share,
    Stored,
    Usage,
)
from adapter.log.removal import Limits
from adapter.model import Entry, renamed, uid_text


@dataclass(slots=True)
class _Reader:
    progress: ReaderState
    held: dict[int, Held] = field(default_factory=dict)
    attempts: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    blocked: dict[str, BlockedKey] = field(default_factory=dict)


@dataclass(slots=True)
class _Claimed:
    token: int
    owner: str
    #: When it ends, seconds of the clock.
    until: float


@dataclass(slots=True)
class Memory:
    """What a log in memory holds."""

    #: By position, from 1; ``None`` in the place of one that was removed.
    entries: list[Entry | None] = field(default_factory=list)
    #: What the provider sent, by the position of an event's first entry.
    raws: dict[int, Raw] = field(default_factory=dict)
    #: Positions of later entries, by that of the first one.
    revisions: dict[int, list[int]] = field(default_factory=dict)
    known: dict[bytes, Known] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)
    claims: dict[str, _Claimed] = field(default_factory=dict)
    readers: dict[str, _Reader] = field(default_factory=dict)
    #: Sources of which something was quarantined.
    watched: set[str] = field(default_factory=set)
    _arrivals: list[int] = field(default_factory=list)
    #: Set, and replaced, when entries are added.
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def arrivals(self) -> Iterator[int]:
        """Of all entries, those that were removed included, epoch milliseconds."""
        return iter(self._arrivals)

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self.entries.append(entry)
        self._arrivals.append(entry.received_at)

    def left(self, after: int = 0, until: int | None = None) -> Iterator[Entry]:
        """The entries of a stretch that were not removed."""
        return (entry for entry in islice(self.entries, after, until) if entry is not None)

    def show(self) -> None:
        """Let readers see what was appended."""
        self.moved.set()
        self.moved = asyncio.Event()


class _Contents:
    """What entries hold, those of the request included that is being resolved."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.new: list[NewEntry] = []

    def event(self, position: int) -> bytes | None:
        new = position - len(self._memory.entries) - 1
        if new >= 0:
            return self.new[new].event
        latest = self._memory.entries[self._memory.revisions.get(position, [position])[-1] - 1]
        return None if latest is None else latest.event

    def raw(self, position: int) -> bytes | None:
        new = position - len(self._memory.entries) - 1
        return self.new[new].raw if new >= 0 else self._memory.raws.get(position, _NOT_KEPT)[0]


class MemoryLog:
    """`adapter.log.protocol.Store` in memory; made by `open_memory_log`."""

    #: Nothing damages it.
    damaged: str | None = None

    def __init__(self, memory: Memory, claim_seconds: float, clock: Callable[[], float]) -> None:
        self.commits = Commits()
        self._memory = memory
        self._claim_seconds = claim_seconds
        self._clock = clock

    @property
    def head(self) -> int:
        return len(self._memory.entries)

    async def append(self, entries: Sequence[NewEntry], note: Note | None = None) -> list[Receipt]:
        memory = self._memory
        self._check_note(note)
        contents = _Contents(memory)
        for entry in entries:
            _check_texts(entry.source, entry.type, entry.native_type, entry.problem)
        identities = Identities(dict(memory.known), lambda key: None, contents)
        receipts: list[Receipt] = []
        keys: Keys
        for entry, keys in zip(entries, keys_of(entries, Former(0), memory.watched), strict=True):
            position = self.head + len(contents.new) + 1
            contents.new.append(entry)
            found = identities.resolve(entry, keys, position)
            if found.position == position:
                receipts.append(Receipt(found.uid, position))
                if found.uid != entry.uid:
                    event = None if entry.event is None else renamed(entry.event, uid_text(found.uid).encode())
                    contents.new[-1] = entry._replace(uid=found.uid, event=event)
            else:
                quarantined = found.position if entry.event is not None and self._lacks_event(found, contents) else None
                receipts.append(Receipt(found.uid, None, quarantined))
                contents.new.pop()
        memory.known |= identities.changed
        for new in contents.new:
            position = self.head + 1
            memory.raws[position] = Raw(new.raw, new.media, new.envelope)
            memory.add(
                Entry(
                    position,
                    new.uid,
                    0,
                    new.received_at,
                    _text(new.source) or "",
                    _text(new.type),
                    new.event,
                    _text(new.problem),
                    _text(new.native_type),
                )
            )
        self._keep_note(note)
        memory.show()
        await _turn()
        return receipts

    async def revise(self, revisions: Sequence[Revision], note: Note | None = None) -> list[int | None] | None:
        memory = self._memory
        self._check_note(note)
        for one in revisions:
            if not 0 < one.first <= self.head:
                raise StoreError("a revision speaks of an entry that is not in the log")
        if len({one.first for one in revisions}) < len(revisions):
            return None
        if any(self._latest(one.first) != one.latest for one in revisions):
            return None
        if any(memory.entries[one.first - 1] is None for one in revisions):
            return None
        positions: list[int | None] = []
        identities = Identities(memory.known, lambda key: None, _Contents(memory))
        for one in revisions:
            if one.keys is not None:
                uid = self._entry(one.first).uid
                found = identities.read_again(uid, keys_read(one.keys), one.first, one.event)
                if found.position != one.first:
                    positions.append(None)
                    continue
            first, before = self._entry(one.first), self._entry(one.latest)
            position = self.head + 1
            number = 0 if before.event is None else before.revision + 1
            memory.add(
                Entry(
                    position,
                    first.uid,
                    number,
                    first.received_at,
                    first.source,
                    one.type,
                    one.event,
                    None,
                    one.native_type,
                )
            )
            memory.revisions.setdefault(one.first, []).append(position)
            positions.append(position)
        self._keep_note(note)
        memory.show()
        await _turn()
        return positions

    async def read(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Entry]:
        await _turn()
        last = self.head if until is None else min(until, self.head)
        left = (entry for entry in islice(self._memory.entries, after, max(last, after)) if entry is not None)
        return _fitting(list(islice(left, max(limit, 0))), READ_SIZE)

    async def fetch(self, positions: Sequence[int], *, size: int = READ_SIZE) -> list[Entry]:
        await _turn()
        there = [self._memory.entries[position - 1] for position in positions if 0 < position <= self.head]
        return _fitting([entry for entry in there if entry is not None], size)

    async def read_stored(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Stored]:
        found: list[Stored] = []
        room = READ_SIZE
        for entry in await self.read(after, until=until, limit=limit):
            raw, media, envelope = self._memory.raws.get(entry.position, _NOT_KEPT)
            room -= len(raw or b"")
            if room < 0 and found:
                break
            found.append(Stored(entry, raw, media, self._latest(entry.position), envelope))
        return found

    async def raw(self, position: int, *, size: int | None = None) -> Raw | None:
        if not 0 < position <= self.head:
            return None
        entry = self._memory.entries[position - 1]
        await _turn()
        first = None if entry is None else self._first(entry.uid)
        if first is None or first not in self._memory.raws:
            return None
        raw = self._memory.raws[first]
        return raw._replace(content=raw.content[:size])

    async def latest(self, uid: bytes) -> int | None:
        await _turn()
        first = self._first(uid)
        return None if first is None else self._latest(first)

    async def before(self, uid: bytes, position: int) -> int | None:
        await _turn()
        first = self._first(uid)
        if first is None:
            return None
        return max([one for one in (first, *self._memory.revisions.get(first, ())) if one < position], default=None)

    async def quarantine(
        self,
        *,
        sources: list[str] | None = None,
        native_types: list[str] | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> Quarantine:
        await _turn()
        groups: dict[tuple[str, str | None, str], list[Entry]] = {}
        for entry in self._memory.left():
            if entry.event is not None or entry.position in self._memory.revisions:
                continue
            if (sources is None or entry.source in sources) and (
                native_types is None or entry.native_type in native_types
            ):
                problem = (entry.problem or "").partition(": line ")[0][:TOLD_LENGTH]
                told = None if entry.native_type is None else entry.native_type[:TOLD_LENGTH]
                groups.setdefault((entry.source, told, problem), []).append(entry)
        found = [
            QuarantineGroup(
                *key,
                len(some),
                min(one.received_at for one in some),
                max(one.received_at for one in some),
                some[0].position,
                some[-1].position,
            )
            for key, some in groups.items()
        ]
        found.sort(key=lambda one: (-one.entries, -one.last))
        return Quarantine(sum(one.entries for one in found), len(found), found[:limit])

    async def arrivals(self, *, after: int = 0) -> list[Arrivals]:
        await _turn()
        found: dict[tuple[str, str | None], Arrivals] = {}
        for entry in self._memory.left(after):
            if entry.revision or (entry.event is None and entry.position in self._memory.revisions):
                continue
            key = entry.source, entry.native_type
            before = found.get(key, Arrivals(*key, 0, 0, 0))
            found[key] = Arrivals(
                *key,
                before.entries + 1,
                before.quarantined + (entry.event is None),
                max(before.last_at, entry.received_at),
            )
        return sorted(found.values(), key=lambda one: (one.source, -one.entries, one.native_type or ""))

    async def position_at(self, received_at: int) -> int:
        await _turn()
        return next(
            (number for number, arrival in enumerate(self._memory.arrivals) if arrival >= received_at), self.head
        )

    async def known(self, entries: Sequence[NewEntry]) -> list[bytes | None]:
        await _turn()
        contents = _Contents(self._memory)
        keys = keys_of(entries, Former(0), set(self._memory.watched))
        identities = Identities(dict(self._memory.known), lambda key: None, contents)
        return find_known(identities, entries, keys, contents.new, self.head + 1)

    async def removed(self, after: int, until: int) -> int:
        await _turn()
        return sum(1 for entry in islice(self._memory.entries, after, max(until, after)) if entry is None)

    async def remove(self, removal: Removal) -> Removed:
        memory, limits = self._memory, Limits(removal)
        later = {position for positions in memory.revisions.values() for position in positions}
        gone = 0
        reached = min(removal.until, max(self.head, removal.after))
        for first in range(removal.after + 1, reached + 1):
            if memory.entries[first - 1] is None or first in later:
                continue
            positions = [first, *memory.revisions.get(first, ())]
            if first > limits.of(self._entry(positions[-1]).type):
                continue
            if positions[-1] > removal.had and len(positions) > 1:
                return Removed(first - 1, gone)
            for position in positions:
                memory.entries[position - 1] = None
            memory.raws.pop(first, None)
            memory.revisions.pop(first, None)
            for reader in memory.readers.values():
                missed = sum(1 for position in positions if position > reader.progress.cursor)
                reader.progress = replace(reader.progress, removed=reader.progress.removed + missed)
            gone += len(positions)
        await _turn()
        return Removed(removal.until, gone)

    async def remove_raw(self, after: int, until: int) -> Removed:
        await _turn()
        gone = [position for position in self._memory.raws if after < position <= until]
        for position in gone:
            del self._memory.raws[position]
        return Removed(until, len(gone))

    async def forget(self, until: int, seconds: int) -> bool:
        await _turn()
        known, entries = self._memory.known, self._memory.entries
        gone = [key for key, one in known.items() if one.position <= until and entries[one.position - 1] is None]
        for key in gone:
            if int.from_bytes(key[:4], "big") <= seconds:
                del known[key]
        return False

    async def replace(self, replacements: Sequence[Replacement], note: Note | None = None) -> list[int]:
        memory = self._memory
        self._check_note(note)
        positions = []
        for one in sorted(replacements):
            before = memory.entries[one.position - 1]
            if before is None:
                continue
            changed = before._replace(
                type=one.type, native_type=one.native_type, problem=one.problem, event=one.event
            )  # fmt: skip
            memory.entries[one.position - 1] = changed
            if one.raw is not None and (raw := memory.raws.get(one.position)) is not None:
                memory.raws[one.position] = Raw(one.raw, raw.media, one.envelope)
            positions.append(one.position)
        self._keep_note(note)
        await _turn()
        return positions

    async def wipe(self) -> bool:
        await _turn()
        return True

    async def shares(self, after: int, until: int) -> list[Share]:
        await _turn()
        found: dict[tuple[str, str | None], tuple[int, int]] = {}
        for entry in self._memory.left(after, until):
            entries, size = found.get((entry.source, entry.type), (0, 0))
            found[entry.source, entry.type] = entries + 1, size + len(entry.event or b"")
        return [Share(*key, *counts) for key, counts in found.items()]

    async def usage(self) -> Usage:
        await _turn()
        left = list(self._memory.left())
        size = sum(len(entry.event or b"") for entry in left)
        size += sum(len(raw.content) + len(raw.envelope) for raw in self._memory.raws.values())
        return Usage(left[0].position if left else self.head + 1, len(left), size, 0)

    async def wait(self, after: int, timeout: float | None = None) -> int:
        try:
            async with asyncio.timeout(timeout):
                while self.head <= after:
                    await self._memory.moved.wait()
        except TimeoutError:
            pass
        return self.head

    async def writable(self) -> str | None:
        return None

    async def progress(self, reader: str) -> ReaderState | None:
        await _turn()
        return self._progress(reader)

    def _progress(self, reader: str) -> ReaderState | None:
        known = self._memory.readers.get(reader)
        if known is None:
            return None
        dead = sum(one.due_at is None for one in known.held.values())
        to_send = [position for position, one in known.held.items() if one.due_at is not None]
        waiting = min([*to_send, *(one.position + 1 for one in known.blocked.values())], default=None)
        return replace(known.progress, held=len(known.held) - dead, dead=dead, waiting=waiting)

    async def begin(self, reader: str, cursor: int, filter: str, token: int = 0) -> ReaderState:
        self._check_token(reader, token)
        progress = self._progress(reader)
        if progress is None:
            self._memory.readers[reader] = _Reader(ReaderState(cursor, 1, filter, since=cursor))
        elif progress.filter != filter:
            matched = progress.held + progress.dead
            begun = ReaderState(
                progress.cursor, progress.epoch + 1, filter, matched, since=progress.cursor, carried=matched
            )
            self._memory.readers[reader].progress = begun
        progress = self._progress(reader)
        assert progress is not None
        await _turn()
        return progress

    async def settle(self, settlement: Settlement) -> None:
        self._check_token(settlement.reader, settlement.token)
        known = self._memory.readers.get(settlement.reader)
        if known is None:
            raise StoreError(f"reader {settlement.reader!r} is not known to the log; begin it first")
        before = known.progress
        is_present = settlement.epoch == before.epoch
        counted = settlement if is_present else Settlement("", 0, 0)
        known.progress = replace(
            before,
            cursor=max(before.cursor, settlement.cursor),
            matched=max(before.matched, counted.matched),
            delivered=max(before.delivered, counted.delivered),
            skipped=max(before.skipped, counted.skipped),
            behind=settlement.behind if is_present else before.behind,
            carried=settlement.carried if is_present else before.carried,
        )
        known.held |= {one.position: one for one in settlement.hold}
        for position in settlement.release:
            known.held.pop(position, None)
        for attempt in settlement.attempts:
            known.attempts.setdefault((attempt.began_at, attempt.position), attempt)
        known.blocked |= {one.key: one for one in settlement.block}
        for key in settlement.unblock:
            known.blocked.pop(key, None)
        await _turn()

    async def advance(self, cursor: int, tokens: Mapping[str, int]) -> None:
        for name, token in tokens.items():
            with suppress(ClaimLost):
                self._check_token(name, token)
                if (known := self._memory.readers.get(name)) is not None:
                    known.progress = replace(known.progress, cursor=max(known.progress.cursor, cursor))
        await _turn()

    async def held(self, reader: str, *, due_at: int | None = None, limit: int = 1000) -> list[Held]:
        await _turn()
        known = self._memory.readers.get(reader, _Reader(ReaderState(0, 0, "")))
        found = [
            one for one in known.held.values() if due_at is None or (one.due_at is not None and one.due_at <= due_at)
        ]
        return sorted(found, key=lambda one: (one.due_at is None, one.due_at or 0, one.position))[:limit]

    async def held_at(self, reader: str, positions: Sequence[int]) -> list[Held]:
        await _turn()
        held = self._memory.readers.get(reader, _Reader(ReaderState(0, 0, ""))).held
        return [held[position] for position in sorted(set(positions)) if position in held]

    async def rows(
        self, reader: str, *, dead: bool | None = None, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Held]:
        await _turn()
        held = self._memory.readers.get(reader, _Reader(ReaderState(0, 0, ""))).held
        found = [held[one] for one in sorted(held) if after < one and (until is None or one <= until)]
        return [one for one in found if dead is None or (one.due_at is None) is dead][:limit]

    async def attempts(
        self,
        reader: str,
        *,
        position: int | None = None,
        outcomes: Sequence[str] | None = None,
        statuses: Sequence[int] | None = None,
        began_from: int | None = None,
        began_to: int | None = None,
        before: tuple[int, int] | None = None,
        limit: int = 100,
    ) -> list[Attempt]:
        await _turn()
        attempts = self._memory.readers.get(reader, _Reader(ReaderState(0, 0, ""))).attempts
        found = [
            one
            for key, one in sorted(attempts.items(), reverse=True)
            if (position is None or one.position <= position <= one.last)
            and (outcomes is None or one.outcome in outcomes)
            and (statuses is None or one.status in statuses)
            and (began_from is None or one.began_at >= began_from)
            and (began_to is None or one.began_at < began_to)
            and (before is None or key < before)
        ]
        return found[:limit]

    async def remove_attempts(self, *, before: int, most: int, limit: int = 500) -> int:
        await _turn()
        gone = 0
        for reader in self._memory.readers.values():
            keys = sorted(reader.attempts, reverse=True)
            over = [key for number, key in enumerate(keys) if number >= most or key[0] < before]
            for key in over[::-1][: limit - gone]:
                del reader.attempts[key]
                gone += 1
        return gone

    async def dead_removed(self, reader: str, *, limit: int = 1000) -> list[int]:
        await _turn()
        held = self._memory.readers.get(reader, _Reader(ReaderState(0, 0, ""))).held
        dead = sorted(position for position, one in held.items() if one.due_at is None)
        return [position for position in dead if self._memory.entries[position - 1] is None][:limit]

    async def blocked(self, reader: str) -> list[BlockedKey]:
        await _turn()
        known = self._memory.readers.get(reader, _Reader(ReaderState(0, 0, "")))
        found = []
        for one in known.blocked.values():
            row = known.held.get(one.position) if one.is_held else None
            found.append(one._replace(waits=None if row is None else row.due_at is not None))
        return sorted(found, key=lambda one: (one.position, one.key))

    async def next_due(self, reader: str) -> int | None:
        return min((one.due_at for one in await self.held(reader) if one.due_at is not None), default=None)

    async def forget_reader(self, reader: str, token: int = 0) -> None:
        self._check_token(reader, token)
        self._memory.readers.pop(reader, None)
        await _turn()

    async def noted(self, name: str) -> Note | None:
        await _turn()
        return self._memory.notes.get(name)

    async def notes(self, prefix: str) -> list[Note]:
        await _turn()
        return sorted(note for name, note in self._memory.notes.items() if name.startswith(prefix))

    async def keep(self, note: Note) -> None:
        self._check_note(note)
        self._keep_note(note)
        await _turn()

    async def drop(self, name: str, version: int) -> None:
        note = self._memory.notes.get(name)
        if note is None or note.version != version:
            raise NoteChanged(f"note {name!r} is not of version {version} now")
        del self._memory.notes[name]
        await _turn()

    async def claim(self, name: str, owner: str) -> Claim | None:
        await _turn()
        now, claimed = self._clock(), self._memory.claims.get(name)
        if claimed is None or claimed.owner != owner:
            if claimed is not None and claimed.until > now:
                return None
            token = 1 if claimed is None else claimed.token + 1
            claimed = self._memory.claims[name] = _Claimed(token, owner, now)
        claimed.until = now + self._claim_seconds
        return Claim(name, claimed.token, self._claim_seconds)

    async def release(self, claim: Claim) -> None:
        await _turn()
        claimed = self._memory.claims.get(claim.name)
        if claimed is not None and claimed.token == claim.token:
            claimed.owner, claimed.until = "", self._clock()

    def _first(self, uid: bytes) -> int | None:
        """Position of the first entry of an event."""
        known = self._memory.known.get(uid)
        if known is None or known.uid != uid or self._memory.entries[known.position - 1] is None:
            return None
        return known.position

    def _entry(self, position: int) -> Entry:
        entry = self._memory.entries[position - 1]
        assert entry is not None
        return entry

    def _lacks_event(self, known: Known, contents: _Contents) -> bool:
        position = known.position
        if position > self.head:
            return contents.event(position) is None
        return self._memory.entries[position - 1] is not None and contents.event(position) is None

    def _latest(self, first: int) -> int:
        return self._memory.revisions.get(first, [first])[-1]

    def _check_note(self, note: Note | None) -> None:
        """
        Raises:
            NoteChanged: it does not follow the one that is kept.
        """
        if note is not None:
            before = self._memory.notes.get(note.name)
            if note.version != (1 if before is None else before.version + 1):
                raise NoteChanged(f"note {note.name!r} has changed")

    def _keep_note(self, note: Note | None) -> None:
        if note is not None:
            self._memory.notes[note.name] = note

    def _check_token(self, reader: str, token: int) -> None:
        """
        Raises:
            ClaimLost: it is not that of the latest claim.
        """
        claimed = self._memory.claims.get(reader)
        if token != (0 if claimed is None else claimed.token):
            raise ClaimLost(f"somebody else has claimed {reader!r}")


@asynccontextmanager
async def open_memory_log(
    memory: Memory | None = None, *, claim_seconds: float = CLAIM_SECONDS, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[MemoryLog]:
    """A log in memory: a new one, or the one that lies in ``memory``, which may be opened several times at once. Claims
    last ``claim_seconds`` of the ``clock``."""
    yield MemoryLog(Memory() if memory is None else memory, claim_seconds, clock)


_NOT_KEPT = (None, "", b"")


async def _turn() -> None:
    """Others get their turn, as while a disk is waited for."""
    await asyncio.sleep(0)


def _fitting(entries: Sequence[Entry], size: int) -> list[Entry]:
    """Those that come first, up to so many bytes of events, and at least one."""
    found: list[Entry] = []
    for entry in entries:
        found.append(entry)
        size -= len(entry.event or b"")
        if size <= 0:
            break
    return found


def _check_texts(*texts: str | None) -> None:
    """
    Raises:
        StoreError: one of them is no text.
    """
    for text in texts:
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:
            raise StoreError(f"cannot be stored: {error}") from None


def _text(text: str | None) -> str | None:
    """A text as any engine keeps it: what follows a NUL would be lost in others."""
    return None if text is None else text.replace("\0", "\ufffd")
