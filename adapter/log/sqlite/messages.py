"""What the service and the process that writes the log say to each other.

The service first says how to open the log. Then it sends works, as many as it likes; the writer answers with one
message for each transaction, and in it with one answer for each work, in the order in which the works came. A request
too large for one frame comes in parts first. Each message is a frame: its length in four bytes, and msgpack, which
takes events as the bytes they are. A frame is at most `FRAME_LIMIT` long: whoever reads a longer length, or bytes that
are no message, closes the line, since nothing after it can be trusted.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from adapter.errors import (
    AdapterError,
    ClaimLost,
    NoteChanged,
    StoreDamaged,
    StoreError,
    StoreMismatch,
    StoreUnanswered,
    StoreUnavailable,
)
from adapter.log.protocol import (
    NewEntry,
    Note,
    ReaderState,
    Receipt,
    Removal,
    Removed,
    Replacement,
    Revision,
    Settlement,
)
from adapter.log.sqlite.files import Identity

#: Longest message, bytes.
FRAME_LIMIT = 64 * 1024 * 1024


class Options(msgspec.Struct, array_like=True):
    """How the log is to be opened."""

    path: str
    #: For a log that is made.
    dictionary: bytes
    #: How long to wait for another process that writes, seconds.
    busy_timeout: float
    #: Pages of the WAL after which it is copied into the file.
    checkpoint_pages: int
    #: Which files it must have, if it was open before: another one, or none, is damage.
    identity: Identity | None = None


# Works


class Append(msgspec.Struct, array_like=True, tag=True):
    """Store the entries of one request, and keep a note with them; answered with `Appended`."""

    entries: list[NewEntry]
    note: Note | None = None


class Part(msgspec.Struct, array_like=True, tag=True):
    """Some entries of a request that comes in parts, one such request at a time; not answered."""

    entries: list[NewEntry]


class AppendParts(msgspec.Struct, array_like=True, tag=True):
    """The parts that came are a whole request: as `Append`."""

    note: Note | None = None


class DropParts(msgspec.Struct, array_like=True, tag=True):
    """The parts that came are not to be stored; not answered."""


class Revise(msgspec.Struct, array_like=True, tag=True):
    """Append later readings of events, and keep a note with them; answered with `Revised`."""

    revisions: list[Revision]
    note: Note | None


class Settle(msgspec.Struct, array_like=True, tag=True):
    """Store one step of a reader's progress; answered with `Done`."""

    settlement: Settlement


class Advance(msgspec.Struct, array_like=True, tag=True):
    """Move the cursors of many readers on, by name with their tokens; answered with `Done`."""

    cursor: int
    tokens: dict[str, int]


class Begin(msgspec.Struct, array_like=True, tag=True):
    """Make a reader known, as `adapter.log.protocol.Log.begin`; answered with `Begun`."""

    reader: str
    cursor: int
    filter: str
    token: int


class Keep(msgspec.Struct, array_like=True, tag=True):
    """Keep a note; answered with `Done`."""

    note: Note


class Drop(msgspec.Struct, array_like=True, tag=True):
    """Keep a note no more; answered with `Done`."""

    name: str
    version: int


class ForgetReader(msgspec.Struct, array_like=True, tag=True):
    """Know nothing more of a reader; answered with `Done`."""

    reader: str
    token: int


class TakeClaim(msgspec.Struct, array_like=True, tag=True):
    """Count one more claim of this name; answered with `Claimed`."""

    name: str


class Remove(msgspec.Struct, array_like=True, tag=True):
    """Take one step of removing events; answered with `Gone`."""

    removal: Removal


class RemoveRaw(msgspec.Struct, array_like=True, tag=True):
    """Take one step of removing native bytes; answered with `Gone`."""

    after: int
    until: int


class Forget(msgspec.Struct, array_like=True, tag=True):
    """Take one step of forgetting what removed events were known by; answered with `Forgotten`."""

    until: int
    seconds: int


class Replace(msgspec.Struct, array_like=True, tag=True):
    """Store what some entries hold from now on, and keep a note with it; answered with `Replaced`."""

    replacements: list[Replacement]
    note: Note | None


class Wipe(msgspec.Struct, array_like=True, tag=True):
    """Leave nothing in the WAL; answered with `Wiped`."""


class ForgetAttempts(msgspec.Struct, array_like=True, tag=True):
    """Forget the earliest attempts of a reader, known by its row; answered with `Counted`."""

    reader: int
    #: Only those that began before then, epoch milliseconds; and at most so many.
    before: int
    limit: int


class TryWrite(msgspec.Struct, array_like=True, tag=True):
    """Write something durably that changes nothing; answered with `Done`."""


#: What a transaction is made of.
Work = (
    Append
    | Revise
    | Settle
    | Advance
    | Begin
    | Keep
    | Drop
    | ForgetReader
    | TakeClaim
    | Remove
    | RemoveRaw
    | Forget
    | ForgetAttempts
    | Replace
    | Wipe
    | TryWrite
)
#: What the service says.
Told = Work | Part | AppendParts | DropParts

#: Each row weighs at least so much, bytes: 4,000 of them as much as 8 MiB of contents.
ROW_WEIGHT = 8 * 1024 * 1024 // 4000
#: A cursor that is moved on is a small row beside many others.
ADVANCE_WEIGHT = 128


def weigh(work: Work) -> int:
    """How much of a transaction, and of memory on the way there, a work takes: about its contents, bytes."""
    if type(work) is Append:
        return weigh_entries(work.entries)
    if type(work) is Revise:
        return max(sum([len(one.event) for one in work.revisions]), ROW_WEIGHT * len(work.revisions))
    if type(work) is Replace:
        return max(sum([len(one.event or b"") + len(one.raw or b"") for one in work.replacements]), ROW_WEIGHT)
    if type(work) is Settle:
        return ROW_WEIGHT * (len(work.settlement.hold) + len(work.settlement.attempts))
    if type(work) is Advance:
        return ADVANCE_WEIGHT * len(work.tokens)
    return 0


def weigh_entries(entries: Sequence[NewEntry]) -> int:
    """The same for the entries of a request."""
    size = 0
    for entry in entries:
        size += len(entry.raw) + len(entry.envelope)
        if entry.event is not None:
            size += len(entry.event)
    least = ROW_WEIGHT * len(entries)
    return size if size > least else least


# Answers


class Appended(msgspec.Struct, array_like=True, tag=True):
    """What became of the entries of an `Append`."""

    receipts: list[Receipt]


class Revised(msgspec.Struct, array_like=True, tag=True):
    """Positions of the new entries, ``None`` for copies of other events; ``None`` alone if the revisions came too
    late."""

    positions: list[int | None] | None


class Begun(msgspec.Struct, array_like=True, tag=True):
    """How far the reader is."""

    progress: ReaderState


class Claimed(msgspec.Struct, array_like=True, tag=True):
    """Token of the claim."""

    token: int


class Gone(msgspec.Struct, array_like=True, tag=True):
    """What the step came to."""

    removed: Removed


class Forgotten(msgspec.Struct, array_like=True, tag=True):
    """Whether there may be more."""

    more: bool


class Counted(msgspec.Struct, array_like=True, tag=True):
    """How many rows it was."""

    rows: int


class Replaced(msgspec.Struct, array_like=True, tag=True):
    """Positions of the entries that were there."""

    positions: list[int]


class Wiped(msgspec.Struct, array_like=True, tag=True):
    """Whether nobody was in the way."""

    done: bool


class Done(msgspec.Struct, array_like=True, tag=True):
    """It is on disk."""


class Refused(msgspec.Struct, array_like=True, tag=True):
    """Nothing of this work was stored, unless the kind of the error says otherwise."""

    kind: str
    problem: str

    @classmethod
    def of(cls, error: StoreError) -> Refused:
        return cls(type(error).__name__, str(error))

    def error(self) -> StoreError:
        """What to raise."""
        return _ERRORS.get(self.kind, StoreError)(self.problem)


_ERRORS = {
    error.__name__: error
    for error in (
        StoreError,
        StoreUnavailable,
        StoreUnanswered,
        StoreDamaged,
        StoreMismatch,
        NoteChanged,
        ClaimLost,
    )
}

Answer = Appended | Revised | Begun | Claimed | Gone | Forgotten | Counted | Replaced | Wiped | Done | Refused


class Committed(msgspec.Struct, array_like=True):
    """One transaction; the first message of a writer is one that did nothing."""

    #: Position of the last entry, how many entries are new, how long it took, seconds.
    head: int
    entries: int
    seconds: float
    answers: list[Answer]


# Frames

Message = TypeVar("Message")

_LENGTH = 4
_NO_MESSAGE = (msgspec.MsgspecError, ValueError, RecursionError)


class BrokenLine(AdapterError):
    """What came over the line is no message: the line is to be closed."""


class Packer:
    """Makes frames of messages."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()

    def add(self, message: Options | Told | Committed, frames: bytearray) -> None:
        """Append the frame of a message, or, with an error, nothing.

        Raises:
            StoreError: it holds a text that is none (half of a surrogate pair), or is longer than a frame.
            StoreUnavailable: there is not enough memory for it.
        """
        start = len(frames)
        try:
            self._encoder.encode_into(message, frames, start + _LENGTH)
            length = len(frames) - start - _LENGTH
            if length > FRAME_LIMIT:
                raise StoreError(f"cannot be stored: {length} bytes at once, and at most {FRAME_LIMIT} are taken")
            frames[start : start + _LENGTH] = length.to_bytes(_LENGTH, "big")
        except BaseException as error:
            del frames[start:]
            if isinstance(error, ValueError):
                raise StoreError(f"cannot be stored: {error}") from None
            if isinstance(error, MemoryError):
                raise StoreUnavailable("not enough memory to hand it to the process that writes the log") from None
            raise


def receive_options(connection: socket.socket) -> Options | None:
    """The first message of the service; ``None`` if it ended before.

    Raises:
        BrokenLine: it is not a message.
    """
    length = _length(connection.recv(_LENGTH, socket.MSG_WAITALL))
    told = connection.recv(length, socket.MSG_WAITALL)
    if len(told) < length or not told:
        return None
    try:
        return msgspec.msgpack.decode(told, type=Options)
    except _NO_MESSAGE as error:
        raise BrokenLine(f"the first message cannot be read: {error}") from None


class Unpacker(Generic[Message]):
    """Takes messages out of bytes as they arrive."""

    def __init__(self, kind: type[Message]) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._arrived = bytearray()

    def take(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete.

        Raises:
            BrokenLine: what came is no message. Nothing that comes later is one.
        """
        arrived = self._arrived
        arrived += data
        messages = []
        start = 0
        with memoryview(arrived) as view:
            while len(view) - start >= _LENGTH:
                end = start + _LENGTH + _length(view[start : start + _LENGTH])
                if end > len(view):
                    break
                try:
                    messages.append(self._decode(view[start + _LENGTH : end]))
                except _NO_MESSAGE as error:
                    raise BrokenLine(f"a message cannot be read: {error}") from None
                start = end
        del arrived[:start]
        return messages


def _length(given: bytes | memoryview) -> int:
    length = int.from_bytes(given, "big")
    if length > FRAME_LIMIT:
        raise BrokenLine(f"a message of {length} bytes, and at most {FRAME_LIMIT} are taken")
    return length
