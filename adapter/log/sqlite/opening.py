"""Opens the embedded log by its address: ``sqlite:///`` and the path of its file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapter.log.opening import path_of
from adapter.log.protocol import Store
from adapter.log.sqlite.log import open_sqlite_log


@asynccontextmanager
async def open_store(url: str, *, dictionary: Callable[[], bytes], commit_timeout: float) -> AsyncIterator[Store]:
    """As `adapter.log.opening.open_store`."""
    path = path_of(url)
    made = b"" if path.exists() else dictionary()
    async with open_sqlite_log(path, dictionary=made, commit_timeout=commit_timeout) as log:
        yield log
