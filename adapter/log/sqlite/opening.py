"""Opens the embedded log by its address: ``sqlite:///`` and the path of its file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapter.log.opening import path_of, refuse_older
from adapter.log.protocol import Store
from adapter.log.sqlite.log import open_sqlite_log
from adapter.log.sqlite.schema import VERSION, read_version


@asynccontextmanager
async def open_store(url: str, *, dictionary: Callable[[], bytes], commit_timeout: float) -> AsyncIterator[Store]:
    """As `adapter.log.opening.open_store`."""
    path = path_of(url)
    made = b"" if path.exists() else dictionary()
    async with open_sqlite_log(path, dictionary=made, commit_timeout=commit_timeout) as log:
        yield log


async def check_store(url: str) -> None:
    """As `adapter.log.opening.check_store`."""
    path = path_of(url)
    if path.exists():
        refuse_older(str(path), read_version(path), VERSION)
