"""What stored bytes are compressed against: the text that raw and unified events have in common.

The tables' examples are such text before the first event has come, so a new log is small from its first entry on.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import orjson

from adapter.mapping.body import NotReadable, UnknownMedia
from adapter.mapping.table import Table
from adapter.workbench.apply import apply
from adapter.workbench.check import is_built_in
from adapter.workbench.examples import RECEIVED_AT, read_examples

#: Bytes of the whole dictionary. More of it costs time for each event and saves little.
SIZE = 48 * 1024
#: Files of examples that are read of each table. One fills its share; of four, the built-in tables' events get 2 %
#: smaller, and the first start takes half a second longer.
_FILES = 1


def make_dictionary(tables: Iterable[Table], size: int = SIZE) -> bytes:
    """Examples of every table, raw and as they are stored, at most ``size`` bytes; each table has the same share."""
    each = [*tables]
    share = size // max(1, len(each))
    return b"".join((_built_in if is_built_in(one.document.file) else _share)(one, share) for one in each)


def _share(table: Table, size: int) -> bytes:
    return _within(_texts(table), size)


@lru_cache(maxsize=32)
def _built_in(table: Table, size: int) -> bytes:
    """The share of a table that comes with the adapter, and so do its examples: to read these takes longer than all
    else that a new log takes."""
    return _share(table, size)


def _texts(table: Table) -> list[bytes]:
    texts: dict[bytes, None] = {}
    for placed in read_examples(table.folder, _FILES):
        example = placed.example
        try:
            records = table.split(example.body, example.media)
            results = list(apply(table, example.body, RECEIVED_AT, example.media))
        except (NotReadable, UnknownMedia):
            continue
        # As they are stored, without what the table redacts: the dictionary stands in the log as it is.
        texts.update((record.raw, None) for record in records if record.value is not None)
        for result in results:
            if "uid" in result:
                texts[orjson.dumps(result)] = None
    return list(texts)


def _within(texts: list[bytes], size: int) -> bytes:
    """As many of the texts as fit, taken from all over the list."""
    chosen: list[bytes] = []
    room = size
    step = max(1, sum(map(len, texts)) // max(1, size))
    for text in [*texts[::step], *texts]:
        if len(text) <= room and text not in chosen:
            chosen.append(text)
            room -= len(text)
    return b"".join(chosen)
