"""Where a search lies, and the engine that opens it there to ask it: a folder beside this file, with an ``opening.py``
that holds ``open_index`` as here, and a ``store.py`` that holds ``open_store`` (`adapter.search.store`). A search lies
beside its log: in a file, or in the log's database.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path

from adapter.log.opening import file_of, file_url
from adapter.log.protocol import Store as Log
from adapter.search.index import Index
from adapter.search.store import engine_of


def search_url(log_url: str, file: Path) -> str:
    """The address of a log's search; ``file``: where it lies if the log is a file."""
    return log_url if file_of(log_url) is None else file_url(file)


def open_index(
    url: str, log: Log, log_url: str, owner: str, readers: int, with_people: bool = True
) -> AbstractAsyncContextManager[Index]:
    """Open a search to ask it, and have it filled by a process of its own. ``owner`` tells the services apart, of which
    one fills a search that they share; ``readers`` questions are asked at the same time;
    ``with_people``: whether it keeps accounts.

    Raises:
        AdapterError: it cannot be opened.
    """
    engine = import_module(f"adapter.search.{engine_of(url)}.opening")
    index: AbstractAsyncContextManager[Index] = engine.open_index(url, log, log_url, owner, readers, with_people)
    return index
