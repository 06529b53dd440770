"""Carrying a log as a whole from one engine to another: nothing in it differs there but how it lies.

Entries keep their positions and events their uids, what is known of events their keys, sinks their places; so feeds,
sinks and senders go on where they were. Pages of entries, and of keys, are written whole or not at all, so a transfer
that was broken off goes on where it was. Until it has ended, and both logs were compared, a note says that the new one
is not to be used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from adapter.errors import ConfigError, StoreError
from adapter.log.protocol import BlockedKey, Held, Note, Notes, ReaderState
from adapter.model import Entry

#: Name of the note that stands in a log until all of another one was carried there.
UNFINISHED = "migration"
#: Positions of one page, and keys.
PAGE, KEYS = 2_000, 5_000


class Carried(NamedTuple):
    """An entry, and what it was made of."""

    entry: Entry
    #: What the provider sent; ``None`` if that is not kept, or stands with the event's first entry.
    raw: bytes | None
    #: Media type of ``raw``.
    media: str
    #: Position of the event's first entry.
    first: int
    #: What ``raw`` came in.
    envelope: bytes = b""


class Page(NamedTuple):
    """The entries of a stretch (``after < position <= until``), without those that were removed."""

    after: int
    until: int
    entries: Sequence[Carried]
    #: The latest arrival of all up to ``until``, as far as it is known, epoch milliseconds; -1: of none.
    latest: int


class CarriedKey(NamedTuple):
    """A key by which an event is known: `adapter.log.identity.Known`."""

    key: bytes
    #: Position of the event's first entry, which may have been removed.
    position: int
    uid: bytes
    taken: int
    equal: int


class Rest(NamedTuple):
    """All of a log but entries and keys."""

    readers: Sequence[tuple[str, ReaderState]]
    #: What is held for readers, by the reader's name, in the order of positions.
    held: Sequence[tuple[str, Held]]
    notes: Sequence[Note]
    #: Of each name that was ever claimed the token of its latest claim.
    tokens: Sequence[tuple[str, int]]
    #: Blocked keys of readers, by the reader's name, in the order of keys.
    blocked: Sequence[tuple[str, BlockedKey]]


class Mark(NamedTuple):
    """How far a transfer is."""

    #: Position of the last entry that was carried, and the latest arrival up to there.
    head: int
    latest: int
    #: The last key that was.
    key: bytes


class Whole(Protocol):
    """A log that nobody uses meanwhile. Opened by `adapter.log.opening.open_whole`."""

    @property
    def dictionary(self) -> bytes:
        """By which its contents are compressed."""

    async def head(self) -> int:
        """Position of the last entry that was appended."""

    async def page(self, after: int, latest: int) -> Page:
        """The next stretch behind a position; ``latest`` is that of the page before."""

    async def keys(self, after: bytes) -> list[CarriedKey]:
        """The next keys, ascending; empty at the end. Those of whose event not even the uid is known are left out."""

    async def rest(self) -> Rest:
        """All else, in the order of names."""


class NewLog(Whole, Protocol):
    """The same of a log that another one is carried to."""

    async def mark(self) -> Mark:
        """How far it is."""

    async def put_page(self, page: Page) -> None:
        """Store the next page: all of it or nothing."""

    async def put_keys(self, keys: Sequence[CarriedKey]) -> None:
        """Store the next keys: all of them or none."""

    async def put_rest(self, rest: Rest) -> None:
        """Store all else, in the place of what is there."""

    async def finish(self) -> None:
        """Let it be used."""


#: Hears what is done, how much of it, and of how much (``None``: that is not known).
Progress = Callable[[str, int, int | None], None]


async def carry(
    source: Whole,
    target: NewLog,
    progress: Progress,
    *,
    leaving: Collection[str] = (),
    adding: Sequence[Note] = (),
) -> int:
    """Carry a log to another one, and compare them; the number of entries. ``leaving``: names of notes that are left
    behind; ``adding``: those that the new one gets in their place.

    Raises:
        StoreError: one of them cannot be read or written, or they differ in the end.
    """
    head = await source.head()
    mark = await target.mark()
    if mark.head > head:
        raise StoreError("the new log has entries that the other one has not; name an empty place")
    after, latest = mark.head, mark.latest
    while after < head:
        page = await source.page(after, latest)
        await target.put_page(page)
        after, latest = page.until, page.latest
        progress("entries", after, head)
    number, key = 0, mark.key
    while keys := await source.keys(key):
        await target.put_keys(keys)
        key, number = keys[-1].key, number + len(keys)
        progress("keys", number, None)
    leaving = {*leaving, *(note.name for note in adding)}
    rest = _without(await source.rest(), leaving)
    await target.put_rest(rest._replace(notes=[*rest.notes, *adding]))
    entries = await compare(source, target, progress, leaving=leaving)
    await target.finish()
    return entries


async def compare(one: Whole, other: Whole, progress: Progress, *, leaving: Collection[str] = ()) -> int:
    """See that two logs hold the same, apart from notes of the names in ``leaving``; the number of entries.

    Raises:
        StoreError: they do not; says where they differ first.
    """
    head = await one.head()
    if head != await other.head():
        raise StoreError(f"the logs differ: one ends at position {head}, the other at {await other.head()}")
    number = 0
    theirs = _entries(other, head)
    async for ours in _entries(one, head):
        found = await anext(theirs, None)
        if found != ours:
            raise StoreError(f"the logs differ at position {ours.entry.position}{_where(ours, found)}")
        number += 1
        if number % PAGE == 0:
            progress("comparing entries", ours.entry.position, head)
    if (found := await anext(theirs, None)) is not None:
        raise StoreError(f"the logs differ at position {found.entry.position}: only one of them has it")
    count, their_keys = 0, _keys(other)
    async for key in _keys(one):
        if await anext(their_keys, None) != key:
            raise StoreError(f"the logs differ in what the event at position {key.position} is known by")
        count += 1
        if count % KEYS == 0:
            progress("comparing keys", count, None)
    if await anext(their_keys, None) is not None:
        raise StoreError("the logs differ: one of them knows events by keys that the other has not")
    ours_rest, their_rest = _without(await one.rest(), leaving), _without(await other.rest(), leaving)
    for name in Rest._fields:
        if getattr(ours_rest, name) != getattr(their_rest, name):
            raise StoreError(f"the logs differ in their {name}")
    return number


async def refuse_unfinished(notes: Notes) -> None:
    """
    Raises:
        ConfigError: not all of another log was carried to this one yet.
    """
    if await notes.noted(UNFINISHED) is not None:
        raise ConfigError("another log is being carried to this one; run `idp-adapter store migrate` to its end")


def _without(rest: Rest, leaving: Collection[str]) -> Rest:
    return rest._replace(notes=[note for note in rest.notes if note.name not in leaving])


async def _entries(log: Whole, head: int) -> AsyncIterator[Carried]:
    after = 0
    while after < head:
        page = await log.page(after, -1)
        for one in page.entries:
            yield one if one.raw is not None else one._replace(media="")
        after = page.until


async def _keys(log: Whole) -> AsyncIterator[CarriedKey]:
    after = b""
    while keys := await log.keys(after):
        for key in keys:
            yield key
        after = keys[-1].key


def _where(ours: Carried, found: Carried | None) -> str:
    if found is None or found.entry.position != ours.entry.position:
        return ": only one of them has it"
    names = [name for name in Entry._fields if getattr(ours.entry, name) != getattr(found.entry, name)]
    names += [name for name in Carried._fields[1:] if getattr(ours, name) != getattr(found, name)]
    return f" in {', '.join(names)}"
