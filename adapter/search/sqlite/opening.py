"""Opens a search database by its address. The file may be removed at any time while this is closed; whatever is wrong
with it, it is built again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from adapter.log.opening import path_of
from adapter.log.protocol import Log
from adapter.search.filling import Filling, open_filling
from adapter.search.index import Index
from adapter.search.sqlite.index import SqliteIndex
from adapter.search.sqlite.schema import remove


@asynccontextmanager
async def open_index(
    url: str, log: Log, log_url: str, owner: str, readers: int, with_people: bool
) -> AsyncIterator[Index]:
    """As `adapter.search.opening.open_index`."""
    path = path_of(url)
    filling = Filling(url, log, log_url, with_people=with_people, remove=partial(remove, path))
    async with open_filling(filling):
        index = SqliteIndex(path, filling, readers)
        try:
            yield index
        finally:
            # Before the filler ends: whoever closes the database last puts its journal away, and readers cannot.
            index.close()
