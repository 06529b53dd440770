"""What transactions are made of: works that callers hand over, each of which is done or refused as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from adapter.errors import StoreError
from adapter.log.compression import Compression
from adapter.log.identity import Former, Keys, keys_of
from adapter.log.protocol import NewEntry, Note, ReaderState, Receipt, Revision, Settlement
from adapter.log.runs import RUN_ENTRIES, RUN_SIZE, Run, pack_runs

Result = TypeVar("Result", covariant=True)

#: Each row weighs at least so much, bytes: 4,000 of them as much as 8 MiB of contents.
ROW_WEIGHT = 8 * 1024 * 1024 // 4000
#: A cursor that is moved on is a small row beside many others.
ADVANCE_WEIGHT = 128


#: Contents of one request that are compressed in a thread, bytes at least: so large ones hold nobody up.
_THREAD = 1024 * 1024


class Work(Generic[Result]):
    """One of those below. ``weight``: how much of a transaction, and of memory on the way there, it takes, bytes."""

    __slots__ = ()

    @property
    def weight(self) -> int:
        return ROW_WEIGHT


@dataclass(slots=True, frozen=True, eq=False)
class Append(Work[list[Receipt]]):
    """Store the entries of one request, and keep a note with them."""

    entries: Sequence[NewEntry]
    note: Note | None
    #: The keys of each entry; and, of a large request, its contents, compressed while others are committed.
    keys: Sequence[Keys]
    runs: Sequence[Run] = ()

    @property
    def weight(self) -> int:
        size = sum([len(entry.raw) + len(entry.envelope) + len(entry.event or b"") for entry in self.entries])
        return max(size, ROW_WEIGHT * len(self.entries))


@dataclass(slots=True, frozen=True, eq=False)
class Revise(Work[list[int | None] | None]):
    """Append later readings of events, and keep a note with them."""

    revisions: Sequence[Revision]
    note: Note | None = None

    @property
    def weight(self) -> int:
        return max(sum([len(one.event) for one in self.revisions]), ROW_WEIGHT * len(self.revisions))


@dataclass(slots=True, frozen=True, eq=False)
class Settle(Work[None]):
    """Store one step of a reader's progress."""

    settlement: Settlement

    @property
    def weight(self) -> int:
        return ROW_WEIGHT * (1 + len(self.settlement.hold) + len(self.settlement.attempts))


@dataclass(slots=True, frozen=True, eq=False)
class Advance(Work[None]):
    """Move the cursors of many readers on, by name with their tokens."""

    cursor: int
    tokens: Mapping[str, int]

    @property
    def weight(self) -> int:
        return max(ROW_WEIGHT, ADVANCE_WEIGHT * len(self.tokens))


@dataclass(slots=True, frozen=True, eq=False)
class Begin(Work[ReaderState]):
    """Make a reader known, or begin a new epoch."""

    reader: str
    cursor: int
    filter: str
    token: int


@dataclass(slots=True, frozen=True, eq=False)
class Keep(Work[None]):
    """Keep a note."""

    note: Note


@dataclass(slots=True, frozen=True, eq=False)
class Drop(Work[None]):
    """Keep a note no more."""

    name: str
    version: int


@dataclass(slots=True, frozen=True, eq=False)
class ForgetReader(Work[None]):
    """Know nothing more of a reader."""

    reader: str
    token: int


@dataclass(slots=True, frozen=True, eq=False)
class TryWrite(Work[None]):
    """Write something durably that changes nothing."""


async def prepare_append(
    compression: Compression, entries: Sequence[NewEntry], note: Note | None, watched: set[str]
) -> Append:
    """Do what can be done before its transaction. ``watched``: sources of which something is quarantined, as
    `keys_of` takes them.

    Raises:
        StoreError: one of the texts is none.
    """
    checked = check_entries(entries)
    keys = keys_of(checked, Former(0), watched)
    size = 0
    for entry in checked:
        size += len(entry.raw) + len(entry.envelope)
    if len(checked) < RUN_ENTRIES and size < RUN_SIZE:
        return Append(checked, note, keys)  # compressed with its neighbours
    if size < _THREAD:
        return Append(checked, note, keys, pack_runs(compression, checked))
    return Append(checked, note, keys, await asyncio.to_thread(pack_runs, Compression(compression.dictionary), checked))


def check_entries(entries: Sequence[NewEntry]) -> list[NewEntry]:
    """Entries whose texts PostgreSQL takes.

    Raises:
        StoreError: one of their texts is none.
    """
    texts = "".join(
        [
            f"{entry.source}{entry.type or ''}{entry.native_type or ''}{entry.problem or ''}"
            for entry in entries
        ]
    )  # fmt: skip
    _check(texts)
    if "\0" not in texts:
        return list(entries)
    return [
        entry._replace(
            source=text(entry.source),
            type=text_or_none(entry.type),
            native_type=text_or_none(entry.native_type),
            problem=text_or_none(entry.problem),
        )
        for entry in entries
    ]


def text(given: str) -> str:
    """A text as PostgreSQL takes it, which keeps no NUL.

    Raises:
        StoreError: it is none: half of a surrogate pair is in it.
    """
    _check(given)
    return given.replace("\0", "\ufffd")


def text_or_none(given: str | None) -> str | None:
    """The same for one that may be missing."""
    return None if given is None else text(given)


def _check(given: str) -> None:
    if not given.isascii():
        try:
            given.encode()
        except UnicodeEncodeError as error:
            raise StoreError(f"cannot be stored: {error.reason}") from None
