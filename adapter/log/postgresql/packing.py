"""Packing: the rows of a transaction, its contents compressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapter.log.compression import Compression
from adapter.log.protocol import NewEntry, Revision
from adapter.log.runs import Run, cut

#: Columns of the rows below.
ENTRY = (
    "batch", "place", "uid", "revision", "source", "received_at", "type", "native_type", "problem", "size", "run"
)  # fmt: skip
EVENT = ("batch", "place", "sizes", "content")
RAW = ("batch", "place", "sizes", "media", "content")

_EntryRow = tuple[int, int, bytes, int, str, int, str | None, str | None, str | None, int | None, int]


class Packed(NamedTuple):
    """The rows of some entries."""

    entries: list[_EntryRow]
    events: list[tuple[int, int, list[int], bytes]]
    raws: list[tuple[int, int, list[int], str, bytes]]


class Standing(NamedTuple):
    """An event as it stands in the log."""

    #: Of its first entry, which all others take over.
    uid: bytes
    source: str
    received_at: int
    #: Of its latest entry: position, revision, whether it has an event; and how many entries there are after the first.
    latest: int
    revision: int
    is_event: bool
    later: int
    #: Batch and place of its first entry.
    batch: int
    place: int


def pack_entries(packed: Packed, batch: int, place: int, entries: Sequence[NewEntry], runs: Sequence[Run]) -> None:
    """Add the rows of new entries, the first at ``place``, whose contents lie in these runs."""
    start = 0
    for event_sizes, raw_sizes, events, raws, media in runs:
        begin = place + start
        end = start + len(event_sizes)
        packed.events.append((batch, begin, event_sizes, events))
        packed.raws.append((batch, begin, raw_sizes, media, raws))
        packed.entries.extend(
            (
                batch,
                here,
                entry.uid,
                0,
                entry.source,
                entry.received_at,
                entry.type,
                entry.native_type,
                entry.problem,
                None if entry.event is None else size,
                begin,
            )
            for here, (entry, size) in enumerate(zip(entries[start:end], event_sizes, strict=True), begin)
        )
        start = end


def pack_revisions(
    packed: Packed,
    compression: Compression,
    batch: int,
    place: int,
    revisions: Sequence[Revision],
    standing: Sequence[Standing],
) -> None:
    """Add the rows of later entries, the first at ``place``."""
    sizes = [len(one.event) for one in revisions]
    for run in cut(sizes, [""] * len(sizes)):
        begin = place + run.start
        (content,) = compression.compress([b"".join([one.event for one in revisions[run]])])
        packed.events.append((batch, begin, sizes[run], content))
        packed.entries.extend(
            (
                batch,
                here,
                before.uid,
                # The first entry that has an event is no revision of another.
                before.revision + 1 if before.is_event else 0,
                before.source,
                before.received_at,
                one.type,
                one.native_type,
                None,
                len(one.event),
                begin,
            )
            for here, (one, before) in enumerate(zip(revisions[run], standing[run], strict=True), begin)
        )
