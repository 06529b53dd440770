"""What the service and the process that writes the log say to each other.

The service first says how to open the log. Then it sends works, as many as it likes; the writer answers with one
message for each transaction, and in it with one answer for each work, in the order in which the works came. Each
message is a frame: its length in four bytes, and msgpack, which takes events as the bytes they are.
"""

from __future__ import annotations

import socket
from typing import Generic, TypeVar

import msgspec

from adapter.errors import StoreError, StoreMismatch, StoreUnavailable
from adapter.log.protocol import NewEntry, Note, Progress, Receipt, Revision, Settlement


class Options(msgspec.Struct, array_like=True):
    """How the log is to be opened."""

    path: str
    #: For a log that is made.
    dictionary: bytes
    #: How long to wait for another process that writes, seconds.
    busy_timeout: float
    #: Pages of the WAL after which it is copied into the file.
    checkpoint_pages: int


# Works


class Append(msgspec.Struct, array_like=True, tag=True):
    """Store the entries of one request; answered with `Receipts`."""

    entries: list[NewEntry]


class Revise(msgspec.Struct, array_like=True, tag=True):
    """Append later readings of events, and keep a note with them; answered with `Revised`."""

    revisions: list[Revision]
    note: Note | None


class Settle(msgspec.Struct, array_like=True, tag=True):
    """Store one step of a reader's progress; answered with `Done`."""

    settlement: Settlement


class Begin(msgspec.Struct, array_like=True, tag=True):
    """Make a reader known, as `adapter.log.protocol.Log.begin`; answered with `Begun`."""

    reader: str
    cursor: int
    filter: str


class TryWrite(msgspec.Struct, array_like=True, tag=True):
    """Write something durably that changes nothing; answered with `Done`."""


Work = Append | Revise | Settle | Begin | TryWrite

# Answers


class Receipts(msgspec.Struct, array_like=True, tag=True):
    """What became of the entries of an `Append`."""

    receipts: list[Receipt]


class Revised(msgspec.Struct, array_like=True, tag=True):
    """Positions of the new entries; ``None`` if the revisions came too late."""

    positions: list[int] | None


class Begun(msgspec.Struct, array_like=True, tag=True):
    """How far the reader is."""

    progress: Progress


class Done(msgspec.Struct, array_like=True, tag=True):
    """It is on disk."""


class Refused(msgspec.Struct, array_like=True, tag=True):
    """Nothing of this work was stored."""

    kind: str
    problem: str

    @classmethod
    def of(cls, error: StoreError) -> Refused:
        return cls(type(error).__name__, str(error))

    def error(self) -> StoreError:
        """What to raise."""
        return _ERRORS.get(self.kind, StoreError)(self.problem)


_ERRORS = {error.__name__: error for error in (StoreError, StoreUnavailable, StoreMismatch)}

Answer = Receipts | Revised | Begun | Done | Refused


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


class Packer:
    """Makes frames of messages."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()

    def add(self, message: Options | Work | Committed, frames: bytearray) -> None:
        """Append the frame of a message.

        Raises:
            StoreError: it holds a text that is none (half of a surrogate pair); nothing was appended.
        """
        start = len(frames)
        try:
            self._encoder.encode_into(message, frames, start + _LENGTH)
        except ValueError as error:
            del frames[start:]
            raise StoreError(f"cannot be stored: {error}") from None
        frames[start : start + _LENGTH] = (len(frames) - start - _LENGTH).to_bytes(_LENGTH, "big")


def receive_options(connection: socket.socket) -> Options | None:
    """The first message of the service; ``None`` if it ended before."""
    length = connection.recv(_LENGTH, socket.MSG_WAITALL)
    told = connection.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
    try:
        return msgspec.msgpack.decode(told, type=Options)
    except msgspec.DecodeError:
        return None


class Unpacker(Generic[Message]):
    """Takes messages out of bytes as they arrive."""

    def __init__(self, kind: type[Message]) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._arrived = bytearray()

    def take(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        arrived = self._arrived
        arrived += data
        messages = []
        start = 0
        with memoryview(arrived) as view:
            while len(view) - start >= _LENGTH:
                end = start + _LENGTH + int.from_bytes(view[start : start + _LENGTH], "big")
                if end > len(view):
                    break
                messages.append(self._decode(view[start + _LENGTH : end]))
                start = end
        del arrived[:start]
        return messages
