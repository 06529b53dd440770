"""The log, at the level of meaning, as small protocols by who needs them: append and read (`Log`), settle a reader's
progress (`Progress`), keep a text (`Notes`), be the only one who does something (`Claims`), remove what is old
(`Retention`).

An engine implements all of them but the last one (`Store`), and some that one, too (`RetainingStore`).
``tests/log/conformance.py`` defines what it must do; every engine runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

from adapter.counts import Commits
from adapter.model import Entry

#: Most bytes of events that one read gives back, one entry aside. Bytes.
READ_SIZE = 8 * 1024 * 1024


#: How long a claim lasts that is not renewed, seconds, where several programs may have the log open.
CLAIM_SECONDS = 6.0

#: Characters of a native type, and of a problem, by which what is quarantined is told apart: a sender may have made
#: them long.
TOLD_LENGTH = 1_000


class NewEntry(NamedTuple):
    """One native event on its way into the log."""

    #: Configured name of the source.
    source: str
    #: Arrival, epoch milliseconds.
    received_at: int
    #: The event exactly as the provider sent it: its slice of the body.
    raw: bytes
    #: Media type of ``raw``: ``application/json``, or what a text shape declares.
    media: str
    #: What the event is called if it is new: its first key (`adapter.model.identity_key`), or a random one where it has
    #: no identity. 16 bytes. One of several with equal weak keys gets a uid of its own from the log.
    uid: bytes
    #: Digest of the provider's own id, or ``None``. 16 bytes (`adapter.model.identity_digest`).
    strong: bytes | None
    #: Digest of named fields, ``None`` where the shape declares none. 16 bytes.
    weak: bytes | None
    #: What its keys begin with: its own time, epoch seconds; 0 where it has none.
    seconds: int
    native_type: str | None
    #: Unified type and event (JSON bytes, uid and source included); both ``None`` when quarantined.
    type: str | None
    event: bytes | None
    #: Why it is quarantined; ``None`` if there is an event.
    problem: str | None
    #: The namespace in which the identities of its source live (`adapter.model.source_key`), for the log to know it by
    #: its bytes, too, while it is quarantined; ``None``: it is known by the keys above alone.
    namespace: bytes | None = None
    #: What forwarders had wrapped it in (`adapter.mapping.wrapping`): JSON on one line, at most
    #: `adapter.model.ENVELOPE_SIZE` bytes; empty if nothing. Entries out of one body share it.
    envelope: bytes = b""


#: A `NewEntry` of its values, in a third of the time.
new_entry: Callable[[tuple[Any, ...]], NewEntry] = partial(tuple.__new__, NewEntry)


class Receipt(NamedTuple):
    """What became of one `NewEntry`."""

    #: The event's uid: of the new entry, or of the one that was there first. 16 bytes.
    uid: bytes
    #: The new entry's position; ``None`` for a duplicate.
    position: int | None
    #: Of a duplicate with an event: position of the entry that was there first, if that has none. Whoever appended it
    #: appends the event as a later reading (`Log.revise`).
    quarantined: int | None = None


#: The same for a `Receipt`.
receipt: Callable[[tuple[bytes, int | None, int | None]], Receipt] = partial(tuple.__new__, Receipt)


class ReadKeys(NamedTuple):
    """The digests by which something quarantined is known now that it was read (`adapter.model.identity_digest`)."""

    strong: bytes | None
    weak: bytes | None
    #: What its keys begin with, epoch seconds; 0 where it has no time of its own.
    seconds: int
    #: Digest of its bytes (`adapter.log.identity.content_digest`).
    content: bytes


class Revision(NamedTuple):
    """A later reading of what an event was made of, on its way into the log."""

    #: Position of the event's first entry, whose uid, source and arrival it takes over.
    first: int
    #: Position of the event's latest entry when the revision was made.
    latest: int
    native_type: str | None
    #: Unified type and event (JSON bytes).
    type: str
    event: bytes
    #: Of what was quarantined until now: the event is known by these, too, from then on. ``None``: it keeps its keys.
    keys: ReadKeys | None = None


class EventRow(NamedTuple):
    """What of an `Entry` those need who read nothing but events."""

    position: int
    uid: bytes
    revision: int
    received_at: int
    event: bytes | None


class Note(NamedTuple):
    """A text that somebody keeps in the log, in the place of the one before it."""

    name: str
    text: str
    #: One more than that of the note whose place it takes; 1 for the first one.
    version: int


class Claim(NamedTuple):
    """The right to be the only one who does something."""

    name: str
    #: Greater than that of every claim of this name before.
    token: int
    #: For how long it lasts from when it was asked for, seconds; ``None``: until the log is closed.
    seconds: float | None


class Raw(NamedTuple):
    """What the provider sent for an event."""

    #: Its bytes, unchanged, or the beginning of them; and their media type.
    content: bytes
    media: str
    #: What they came in, as in `NewEntry`.
    envelope: bytes = b""


class Stored(NamedTuple):
    """An entry, what it was made of, and what became of it."""

    entry: Entry
    #: What the provider sent for it; ``None`` if that is not kept, or stands with the event's first entry.
    raw: bytes | None
    #: Media type of ``raw``.
    media: str
    #: Of an event's first entry: position of the latest one. Of another: its own position.
    latest: int
    #: What ``raw`` came in, as in `NewEntry`.
    envelope: bytes = b""


class QuarantineGroup(NamedTuple):
    """Entries without an event that have source, native type and problem in common."""

    source: str
    native_type: str | None
    #: Without the place in the text where it was found.
    problem: str
    #: How many.
    entries: int
    #: Earliest and latest arrival, epoch milliseconds.
    first_at: int
    last_at: int
    #: Positions of the first and of the last one.
    first: int
    last: int


class Quarantine(NamedTuple):
    """What has no event."""

    #: How many entries, and in how many groups.
    entries: int
    kinds: int
    #: The largest of them.
    groups: list[QuarantineGroup]


class Arrivals(NamedTuple):
    """Events and quarantined entries of one source and one native type."""

    source: str
    #: ``None``: it could not be read.
    native_type: str | None
    #: How many, the quarantined ones included.
    entries: int
    quarantined: int
    #: Latest arrival, epoch milliseconds.
    last_at: int


class Removal(NamedTuple):
    """Which events of a stretch of the log are to go, by the position of their first entry and by their type as it is
    read now. With an event all of its entries go."""

    #: The stretch: ``after < position <= until`` of the first entry.
    after: int
    until: int
    #: Up to which position events of some types go: of each group its types, in which a ``*`` stands for any
    #: characters. The first group that fits decides.
    groups: Sequence[tuple[Sequence[str], int]]
    #: Up to which position all others go, and what is quarantined.
    others: int
    #: The stretch ends before the first event that is to go and has a later entry behind this position.
    had: int


class Removed(NamedTuple):
    """What one step of removing came to."""

    #: Up to here the stretch is done: its ``until``, or less.
    reached: int
    #: How many entries went.
    entries: int


class Replacement(NamedTuple):
    """What an entry holds from now on. Position, uid, source, arrival and keys stay."""

    position: int
    type: str | None
    native_type: str | None
    problem: str | None
    #: JSON bytes; ``None`` for an entry without an event, which stays one.
    event: bytes | None
    #: What the provider sent, and what that came in; ``None`` where it is not kept with this entry. Media types stay.
    raw: bytes | None
    envelope: bytes = b""


class Share(NamedTuple):
    """Entries of a stretch of the log that have source and type in common."""

    source: str
    #: ``None``: quarantined.
    type: str | None
    entries: int
    #: Of their events, bytes before compression.
    size: int


class Usage(NamedTuple):
    """What the log takes."""

    #: Position of the first entry that is left; one more than the head's if none is.
    first: int
    #: Entries that are left.
    entries: int
    #: Bytes on its disk that hold something, and bytes that are free in its files for what comes.
    size: int
    free: int


@dataclass(slots=True, frozen=True)
class Held:
    """An event behind a sink's cursor that is not delivered: waiting for its next try, or dead."""

    position: int
    #: Tries so far.
    tries: int
    #: When it is due, epoch milliseconds; ``None`` when dead (the sink gave up on it).
    due_at: int | None
    #: Last answer, for people; never holds a secret.
    answer: str


class Attempt(NamedTuple):
    """One request of a sink, remembered for people. A reader's attempts are known by ``began_at`` and ``position``."""

    #: When it began, epoch milliseconds.
    began_at: int
    #: Position of the first event in it, that of the last one, and how many there were.
    position: int
    last: int
    entries: int
    #: Which try of the (first) event it was, from 1; 0 where none was spent, since the receiver was down.
    tries: int
    #: `adapter.delivery.attempts.Outcome`
    outcome: str
    #: HTTP status, where the kind has one and an answer came.
    status: int | None
    #: How long it took, milliseconds: to look up the name, to connect (TLS included), from the beginning to the first
    #: byte of the answer, and altogether. ``None``: it did not come to that, as on a connection that was open.
    resolve: int | None
    connect: int | None
    first_byte: int | None
    total: int | None
    #: The beginning of the answer's body, as it came: to be shown harmless.
    excerpt: str
    #: For people.
    reason: str

    def has(self, position: int) -> bool:
        """Whether the entry at a position was in it for sure: of several, it says between which places they lie, and
        not which they are."""
        return position in (self.position, self.last) or self.last - self.position < self.entries


class BlockedKey(NamedTuple):
    """A key of a reader that keeps order within keys: not all of its events up to the cursor are done."""

    key: str
    #: Up to here its events are done, or have a held row; those between here and the cursor are not, and have no row.
    position: int
    #: The event at the position is one of its own, and has a held row.
    is_held: bool = False
    #: As the log tells it: whether that row waits for its next try (``False``: it is dead); ``None``: there is none.
    waits: bool | None = None


@dataclass(slots=True, frozen=True)
class ReaderState:
    """How far a reader is. ``matched = delivered + in flight + held + dead + skipped`` over its epoch, where ``held``
    are rows and those ``behind``."""

    #: Everything up to here is done, the held ones aside.
    cursor: int
    #: Number of the filter's epoch: raised when the reader's filter changes, counters start anew.
    epoch: int
    #: What the epoch's filter looked like, to notice a change.
    filter: str
    matched: int = 0
    delivered: int = 0
    skipped: int = 0
    held: int = 0
    dead: int = 0
    #: Entries that were removed from the log before the cursor came to them, in this epoch. They count as nothing of
    #: the above: nobody knows whether the filter would have taken them.
    removed: int = 0
    #: The first position of what is still to be sent up to the cursor: of a held row that waits for its next try, or
    #: behind that of a blocked key.
    waiting: int | None = None
    #: The cursor when the epoch began; ``None``: it began before this was kept.
    since: int | None = None
    #: Events of blocked keys that the cursor passed in this epoch, and that are not done.
    behind: int = 0
    #: How many of the matched ones the cursor had passed before the epoch began.
    carried: int = 0


@dataclass(slots=True, frozen=True)
class Settlement:
    """One step of a reader's progress; all of it happens, or nothing."""

    reader: str
    epoch: int
    #: New cursor; a smaller one than the log has changes nothing.
    cursor: int
    #: The reader's counters after this step, over the epoch; smaller ones than the log has change nothing. So a step
    #: that is stored a second time, since its answer was lost, counts once.
    matched: int = 0
    delivered: int = 0
    skipped: int = 0
    #: Held rows to insert or replace.
    hold: Sequence[Held] = field(default_factory=tuple)
    #: Positions whose held rows end (delivered at last, or skipped).
    release: Sequence[int] = field(default_factory=tuple)
    #: Token of the latest claim of the reader's name; 0 where there was none.
    token: int = 0
    #: Attempts to remember; those that are there already change nothing.
    attempts: Sequence[Attempt] = field(default_factory=tuple)
    #: `ReaderState.behind` and `ReaderState.carried` after this step.
    behind: int = 0
    carried: int = 0
    #: Blocked keys to insert or replace, and those that are blocked no more.
    block: Sequence[BlockedKey] = field(default_factory=tuple)
    unblock: Sequence[str] = field(default_factory=tuple)


class Log(Protocol):
    """A log that is appended to. All methods of it, and of the protocols below, may be called from many tasks at once.

    Positions are given out densely, and never twice. Entries that are too old are removed (`Retention`): their
    positions stay empty, and every read passes over them. So whoever reads on from ``after`` and gets an entry at
    ``position`` knows that all between them are gone.
    """

    @property
    def head(self) -> int:
        """Position of the last entry that was appended, durable and visible, removed or not; 0 for a new log."""

    async def append(self, entries: Sequence[NewEntry], note: Note | None = None) -> list[Receipt]:
        """Store the entries of one request, and keep a note with them: all or none. One receipt for each entry, in
        order.

        When this returns, the entries are on disk and every later read sees them. Calls made at the same time share
        one commit. Cancelling the caller cancels nothing that was handed over.

        A strong key decides whether an event is known; a weak key where no strong one came; a strong newcomer takes a
        weak match that has no strong one yet, and the other way round. Events of one weak key are told apart by the
        session and the details that both have; of those that are equal in these, too, each one of a request is an
        event of its own. The first entry wins: a duplicate changes nothing but the keys by which the event is known.
        What is quarantined is known by its bytes, too: an event that no key of its own knows is a duplicate of an entry
        that was quarantined with the same bytes. Of a duplicate whose entry has no event the receipt says so.

        Raises:
            NoteChanged: a note of that version, or of another, is there already; nothing was stored.
            StoreUnanswered: all of this request was stored, or nothing, and which is unknown. To append it again
                settles it for entries with keys; one without keys may then be stored twice.
            StoreDamaged: the log is damaged. The request that met it may be stored, all of it, or not.
            StoreUnavailable: nothing of this request was stored; it may succeed later.
            StoreError: nothing of this request was stored.
        """

    async def revise(self, revisions: Sequence[Revision], note: Note | None = None) -> list[int | None] | None:
        """Append later readings of events, and keep a note with them: all or none. Positions of the new entries, in
        order, and ``None`` in the place of one that is a copy of another event by the keys that it brings: it is left
        out. ``None`` alone if there is a later entry of one of the events than its revision was made for, or the event
        was removed: then nothing was stored.

        When this returns, they are on disk and every later read sees them. Shares commits with appends.

        Raises:
            NoteChanged: a note of that version, or of another, is there already; nothing was stored.
            StoreUnanswered: all of this was stored, or nothing. If it was, the same call finds later entries, or the
                note.
            StoreUnavailable: nothing of this was stored; it may succeed later.
            StoreError: nothing of this was stored.
        """

    async def read(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Entry]:
        """Entries with ``after < position <= until`` (``until`` defaults to the head), ascending, at most ``limit``
        of them and about 8 MiB of events; empty only when there are none."""

    async def fetch(self, positions: Sequence[int], *, size: int = READ_SIZE) -> list[Entry]:
        """The entries at these positions, in the order asked; unknown positions are left out. Those that come first,
        up to about ``size`` bytes of events and at least one: whoever wants the rest asks again for the positions
        after the last one that came. Empty only when there are none."""

    async def read_stored(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[Stored]:
        """The same with what the entries were made of, at most about 8 MiB of that, too."""

    async def raw(self, position: int, *, size: int | None = None) -> Raw | None:
        """What the provider sent for the event of this entry; ``None`` if not kept. With ``size`` no more than so many
        bytes of its beginning."""

    async def latest(self, uid: bytes) -> int | None:
        """Position of the latest entry of this event."""

    async def before(self, uid: bytes, position: int) -> int | None:
        """Position of the entry of an event that stood for it before the one at ``position``; ``None``: there is
        none."""

    async def position_at(self, received_at: int) -> int:
        """The largest position such that it and all before arrived before ``received_at`` (epoch ms); 0 if none. Of
        entries that were removed the arrival is known, to some thousand positions, as long as their identities."""

    async def known(self, entries: Sequence[NewEntry]) -> list[bytes | None]:
        """What `append` would say of the entries of one request, without storing anything: of each that is a copy of an
        event the uid of that, of one that is removed and not forgotten, too; ``None`` of one that is new. All of them
        are held in memory, and stored events that share a weak key with one are read: ask for some thousand at a
        time."""

    async def removed(self, after: int, until: int) -> int:
        """How many entries with ``after < position <= until`` were removed; cheap, whatever the stretch's length."""

    async def wait(self, after: int, timeout: float | None = None) -> int:
        """Return the head once it is greater than ``after``, or as it is when ``timeout`` seconds have passed."""


class Summaries(Protocol):
    """What lies in the log, in groups."""

    async def quarantine(
        self,
        *,
        sources: list[str] | None = None,
        native_types: list[str] | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> Quarantine:
        """What has no event, and did not become one later, in at most ``limit`` groups, the largest first; ``None``:
        of all sources, of every native type. Of a long native type the beginning.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds.
        """

    async def arrivals(self, *, after: int = 0) -> list[Arrivals]:
        """What has arrived behind a position, by source and native type, the most frequent ones of a source first.
        Each event counts once, as what it is now; beyond some thousand native types the others count together. All
        entries are looked at, in the background."""


class Retention(Protocol):
    """Removing what is old. Each step takes some tens of milliseconds at most and shares commits with appends: whoever
    removes much takes many of them, one after the other, and lets time pass in between."""

    async def remove(self, removal: Removal) -> Removed:
        """Remove some events of a stretch: their entries, and what the provider sent for them. What they were known by
        stays: a copy that comes again is a duplicate, until `forget`. Of readers whose cursor is before an entry it is
        counted in `ReaderState.removed`.

        Raises:
            StoreUnanswered: it was done, or not; to do it again is right.
            StoreUnavailable: nothing was removed.
        """

    async def remove_raw(self, after: int, until: int) -> Removed:
        """Remove what the provider sent for some entries of a stretch; the entries stay. ``entries`` counts those whose
        native bytes went. Some of the last ones may stay until others behind them go, too: then ``reached`` is
        ``until`` all the same.

        Raises: as `remove`.
        """

    async def forget(self, until: int, seconds: int) -> bool:
        """Forget some of what removed events up to a position were known by; whether there may be more. ``seconds``:
        arrival of the last of them, epoch seconds; an event that happened later may stay known.

        Raises: as `remove`.
        """

    async def shares(self, after: int, until: int) -> list[Share]:
        """The entries of a stretch by source and type. All of them are looked at, in the background."""

    async def usage(self) -> Usage:
        """What the log takes now."""


class Replacing(Protocol):
    """Taking a secret out of what is stored: the one exception to 'entries never change'."""

    async def replace(self, replacements: Sequence[Replacement], note: Note | None = None) -> list[int]:
        """Store what some entries hold from now on, and keep a note with it: all or none. Their positions, ascending;
        those that were removed meanwhile are left out. When this returns, it is on disk and every later read sees it.

        Raises:
            NoteChanged: a note of that version, or of another, is there already; nothing was stored.
            StoreUnanswered: all of it was stored, or nothing. To store the same again is right, the note aside.
            StoreUnavailable: nothing of it was stored; it may succeed later.
        """

    async def wipe(self) -> bool:
        """See that what was replaced lies nowhere in the log's own files any more, as far as the engine can; ``False``
        if somebody who reads is in the way now: then it is asked for again.

        Raises:
            StoreUnavailable: not now.
        """


class Progress(Protocol):
    """How far those are who read the log and are to remember it."""

    async def progress(self, reader: str) -> ReaderState | None:
        """How far a reader is; ``None`` if it was never seen."""

    async def begin(self, reader: str, cursor: int, filter: str, token: int = 0) -> ReaderState:
        """Make a reader known at ``cursor``, or begin a new epoch of one whose filter changed (its cursor, held rows
        and blocked keys stay, its counters start anew with the held ones as matched). A reader whose filter is
        unchanged is returned as it is.

        Raises:
            ClaimLost: ``token`` is not that of the latest claim of the reader's name.
            StoreUnanswered: it was stored, or not; to begin again settles it.
            StoreUnavailable: nothing of it was stored.
        """

    async def settle(self, settlement: Settlement) -> None:
        """Store one step of a reader's progress in one transaction; shares commits with appends. To store a step
        again changes nothing.

        Raises:
            ClaimLost: its token is not that of the latest claim of the reader's name; nothing was stored.
            StoreUnanswered: all of it was stored, or nothing.
            StoreUnavailable: nothing of it was stored.
        """

    async def advance(self, cursor: int, tokens: Mapping[str, int]) -> None:
        """Move the cursors of many readers on to one position, in one transaction: everything up to there is done for
        each of them, and nothing of theirs has changed but that. ``tokens``: of their claims, by reader. One that is
        not known, whose token is not that of the latest claim, or that is further already, stays where it is.

        Raises:
            StoreUnanswered: it was stored, or not; to do it again is right.
            StoreUnavailable: nothing of it was stored.
        """

    async def held(self, reader: str, *, due_at: int | None = None, limit: int = 1000) -> list[Held]:
        """Held rows of a reader, soonest due first (dead ones last, and only without ``due_at``); with ``due_at``
        (epoch ms) only those due by then."""

    async def held_at(self, reader: str, positions: Sequence[int]) -> list[Held]:
        """The held rows of a reader at these positions, ascending."""

    async def rows(
        self, reader: str, *, dead: bool | None = None, after: int = 0, until: int | None = None, limit: int = 1000
    ) -> list[Held]:
        """Held rows of a reader with ``after < position <= until`` (``None``: all behind ``after``), ascending, at most
        ``limit``; ``dead``: those alone, or only the others."""

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
        """Attempts of a reader that are remembered, the latest first: those that had the event at ``position`` in them,
        of some outcomes, of some statuses, that began in ``began_from <= t < began_to`` (epoch ms). ``before``: only
        those behind the one that began then, with that position, in this order."""

    async def remove_attempts(self, *, before: int, most: int, limit: int = 500) -> int:
        """Forget some attempts, of any reader: of those that began before then (epoch ms), or that are not among the
        latest ``most`` of their reader. How many; at most ``limit``, and 0 when there are none.

        Raises:
            StoreUnavailable: none was forgotten.
        """

    async def dead_removed(self, reader: str, *, limit: int = 1000) -> list[int]:
        """Positions of dead rows of a reader whose entries were removed from the log, ascending."""

    async def blocked(self, reader: str) -> list[BlockedKey]:
        """The blocked keys of a reader, in the order of their positions."""

    async def next_due(self, reader: str) -> int | None:
        """When the soonest held row of a reader is due, epoch milliseconds."""

    async def forget_reader(self, reader: str, token: int = 0) -> None:
        """Know nothing more of a reader: neither its cursor and counters nor what is held for it. Nothing happens if it
        is not known.

        Raises:
            ClaimLost: ``token`` is not that of the latest claim of the reader's name; nothing was changed.
            StoreUnanswered: it was done, or not; to do it again is right.
            StoreUnavailable: nothing was changed.
        """


class Notes(Protocol):
    """Texts that parts of the service keep for themselves."""

    async def noted(self, name: str) -> Note | None:
        """The note that is kept under this name."""

    async def notes(self, prefix: str) -> list[Note]:
        """The notes whose names begin with a text, by their names. All of them at once: for those that are few, and
        short."""

    async def keep(self, note: Note) -> None:
        """Keep a note in the place of the one before it.

        Raises:
            NoteChanged: a note of that version, or of another, is there already; nothing was stored.
            StoreUnanswered: it was stored, or not.
            StoreUnavailable: it was not stored; it may be later.
        """

    async def drop(self, name: str, version: int) -> None:
        """Keep a note no more; the next one of its name is a first one again.

        Raises:
            NoteChanged: there is none of this name and version; nothing was changed.
            StoreUnanswered: it was dropped, or not.
            StoreUnavailable: it was not dropped; it may be later.
        """


class Claims(Protocol):
    """Who does what only one may do at a time, of several programs that have the log open. A claim ends with its time.
    What somebody writes who has lost it is refused: all that is written under a claim carries its token."""

    async def claim(self, name: str, owner: str) -> Claim | None:
        """Become the only one who does something, or stay it: its present owner gets the same token for another while.
        ``None`` while somebody else's claim lasts. ``owner`` tells the programs apart that have the log open.

        Raises:
            StoreUnavailable: the store cannot answer now. Claims go on for as long as they last.
        """

    async def release(self, claim: Claim) -> None:
        """End a claim before its time; nothing happens if it is lost already.

        Raises:
            StoreUnavailable: it was not ended; its time will end it.
        """


class Condition(Protocol):
    """How it stands with the disk or the database below."""

    async def writable(self) -> str | None:
        """Try a durable write; ``None`` if it worked, else what is wrong, for people. Answers within some 2 s, whatever
        the disk does."""

    @property
    def damaged(self) -> str | None:
        """What is wrong with the log's files, with the name of the file, once anybody has met it: while reading, while
        writing, or in the background. Stays until the log is opened again; nothing is stored meanwhile."""


class Events(Protocol):
    """The events of a log, for a process beside the service: without an event loop, and for reading alone."""

    def each(self, after: int, until: int) -> Iterator[EventRow]:
        """Entries with ``after < position <= until``, ascending, up to about 8 MiB of events; few of them are in memory
        at a time.

        Raises:
            StoreError: they cannot be read now.
        """

    def before(self, uid: bytes, position: int) -> int | None:
        """Position of the entry of an event that stood for it before the one at ``position``."""

    def removed(self, after: int, until: int) -> int:
        """How many entries with ``after < position <= until``, at most the head, were removed; cheap."""

    def left(self, after: int, until: int) -> list[int]:
        """Positions of the entries with ``after < position <= until`` that were not, ascending."""

    def uid(self, position: int) -> bytes | None:
        """The uid of an entry, also of one that was removed, as long as it is known; otherwise ``None``."""


class Store(Log, Summaries, Replacing, Progress, Notes, Claims, Condition, Protocol):
    """What every engine does. Opened by `adapter.log.opening.open_store`."""

    @property
    def commits(self) -> Commits:
        """How the commits went, for metrics."""


@runtime_checkable
class RetainingStore(Store, Retention, Protocol):
    """An engine that removes what is old, too."""
