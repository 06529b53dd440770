"""Packing: the rows of a transaction, its contents compressed."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import NamedTuple

from adapter.log.compression import Compression
from adapter.log.protocol import NewEntry, Revision
from adapter.log.runs import cut

#: Columns of the rows below.
ENTRY = (
    "batch", "place", "uid", "revision", "source", "received_at", "type", "native_type", "problem", "size", "run"
)  # fmt: skip
EVENT = ("batch", "place", "sizes", "content")
RAW = ("batch", "place", "sizes", "media", "content")

_EntryRow = tuple[int, int, bytes, int, str, int, str | None, str | None, str | None, int | None, int]


class Run(NamedTuple):
    """The contents of some entries that follow each other."""

    #: Of each event and of each raw event, bytes; as long as there are entries.
    event_sizes: list[int]
    raw_sizes: list[int]
    #: Events and raw events, one after the other, compressed; empty where there are none.
    events: bytes
    raws: bytes
    media: str


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


def pack_runs(compression: Compression, entries: Sequence[NewEntry]) -> list[Run]:
    """The contents of entries that follow each other."""
    events = [entry.event or b"" for entry in entries]
    event_sizes = list(map(len, events))
    raws = [entry.raw for entry in entries]
    raw_sizes = list(map(len, raws))
    runs = []
    for run in cut(list(map(add, event_sizes, raw_sizes)), [entry.media for entry in entries]):
        event_frame, raw_frame = compression.compress([b"".join(events[run]), b"".join(raws[run])])
        runs.append(Run(event_sizes[run], raw_sizes[run], event_frame, raw_frame, entries[run.start].media))
    return runs


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
