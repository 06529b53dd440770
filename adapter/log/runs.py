"""Runs: the contents of some entries that follow each other, compressed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: So many entries are compressed together, unless they are longer than this, bytes. Fewer save less, above all where a
#: run fills a page by half; more save nothing, and one event that is read alone takes as long as its run.
RUN_ENTRIES = 32
RUN_SIZE = 128 * 1024


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


def split(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The pieces of these sizes that follow each other."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(content[start : start + size])
        start += size
    return pieces
