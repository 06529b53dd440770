"""Opens the log in PostgreSQL by its address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapter.log.postgresql.log import open_postgresql_log
from adapter.log.protocol import Store


@asynccontextmanager
async def open_store(url: str, *, dictionary: Callable[[], bytes], commit_timeout: float) -> AsyncIterator[Store]:
    """As `adapter.log.opening.open_store`."""
    async with open_postgresql_log(url, dictionary=dictionary, commit_timeout=commit_timeout) as log:
        yield log
