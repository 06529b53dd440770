"""Runs: the contents of some entries that follow each other, compressed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from adapter.log.compression import Compression
from adapter.log.pieces import pieces_of
from adapter.log.protocol import NewEntry

#: So many entries are compressed together, unless they are longer than this, bytes. Fewer save less, above all where a
#: run fills a page by half; more save nothing, and one event that is read alone takes as long as its run.
RUN_ENTRIES = 32
RUN_SIZE = 128 * 1024


class Run(NamedTuple):
    """The contents of some entries that follow each other."""

    #: Of each event and of each raw event, bytes; as long as there are entries.
    event_sizes: list[int]
    raw_sizes: list[int]
    #: Events and raw events, one after the other, compressed; empty where there are none.
    events: bytes
    raws: bytes
    #: Under which the raw events lie (`adapter.log.pieces`).
    media: str


def cut(sizes: Sequence[int], kinds: Sequence[str]) -> Iterator[slice]:
    """Those of these neighbours together that are compressed together; never two of unlike kinds."""
    begin, room, first = 0, RUN_SIZE, None
    for number, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        if room < size or kind != first or number - begin == RUN_ENTRIES:
            if number > begin:
                yield slice(begin, number)
            begin, room, first = number, RUN_SIZE, kind
        room -= size
    if sizes:
        yield slice(begin, len(sizes))


def pack(compression: Compression, events: Sequence[bytes], raws: Sequence[bytes], media: Sequence[str]) -> list[Run]:
    """The runs of these contents; ``raws`` and ``media`` as `adapter.log.pieces` has them."""
    places = list(cut([len(event) + len(raw) for event, raw in zip(events, raws, strict=True)], media))
    frames = compression.compress([b"".join(contents[place]) for contents in (events, raws) for place in places])
    # Copied: a frame was made in as much room as its contents take, and what is left of that would lie between those
    # that are kept.
    frames = [bytes(memoryview(frame)) for frame in frames]
    return [
        Run(
            [len(event) for event in events[place]],
            [len(raw) for raw in raws[place]],
            frames[number],
            frames[len(places) + number],
            media[place.start],
        )
        for number, place in enumerate(places)
    ]


def pack_runs(compression: Compression, entries: Sequence[NewEntry]) -> list[Run]:
    """The contents of entries that follow each other."""
    return pack(compression, [entry.event or b"" for entry in entries], *pieces_of(entries))


def split(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The pieces of these sizes that follow each other."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(content[start : start + size])
        start += size
    return pieces
