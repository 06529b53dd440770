"""Packing: the contents of a large request are compressed as they arrive, before its transaction.

Most of the time that a large request takes is compression. Done outside of the transaction, and a part at a time, it
holds up nobody else, and the bytes themselves need not be kept. Which entries are new is known in the transaction
alone: a run in which some are not is unpacked there, and the others are compressed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adapter.log.compression import Compression
from adapter.log.protocol import NewEntry, Note
from adapter.log.runs import Run, pack, pack_runs, split
from adapter.model import renamed


@dataclass(slots=True)
class Packed:
    """The entries of one request, without their contents, and the runs that hold these, in the same order."""

    #: ``raw`` is empty, and so is ``event`` where there is one.
    entries: list[NewEntry] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    #: To be kept with them.
    note: Note | None = None
    #: The last run that was looked into: its first entry, events and native bytes.
    _unpacked: tuple[int, list[tuple[bytes, bytes]]] = (0, [])

    def add(self, compression: Compression, entries: Sequence[NewEntry]) -> None:
        """Take some entries more."""
        self.runs += pack_runs(compression, entries)
        self.entries += [entry._replace(raw=b"", event=None if entry.event is None else b"") for entry in entries]

    def event(self, compression: Compression, place: int) -> bytes:
        """The event of one of the entries."""
        return self._contents(compression, place)[0]

    def raw(self, compression: Compression, place: int) -> bytes:
        """The native bytes of one of the entries."""
        return self._contents(compression, place)[1]

    def _contents(self, compression: Compression, place: int) -> tuple[bytes, bytes]:
        start, pieces = self._unpacked
        if not start <= place < start + len(pieces):
            start = 0
            for run in self.runs:
                if place < start + len(run.raw_sizes):
                    break
                start += len(run.raw_sizes)
            events, raws = (
                _pieces(compression, frame, sizes)
                for frame, sizes in ((run.events, run.event_sizes), (run.raws, run.raw_sizes))
            )
            pieces = list(zip(events, raws, strict=True))
            self._unpacked = start, pieces
        return pieces[place - start]


def repacked(compression: Compression, run: Run, kept: Sequence[bool], uids: Sequence[bytes | None]) -> list[Run]:
    """The run with those of its entries that are kept; ``uids``: of events that are called otherwise now, as text."""
    contents = zip(
        _pieces(compression, run.events, run.event_sizes),
        _pieces(compression, run.raws, run.raw_sizes),
        kept,
        uids,
        strict=True,
    )
    some = [(event if uid is None else renamed(event, uid), raw) for event, raw, is_kept, uid in contents if is_kept]
    if not some:
        return []
    return pack(compression, [event for event, _ in some], [raw for _, raw in some], [run.media] * len(some))


def _pieces(compression: Compression, frame: bytes, sizes: Sequence[int]) -> list[bytes]:
    return split(compression.decompress_one(frame), sizes)
