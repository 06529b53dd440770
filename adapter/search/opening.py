"""Where a search lies, and the engine that opens it there: a folder beside this file, with an ``opening.py`` that holds
``open_store`` and ``open_index`` as here. A search lies beside its log: in a file, or in the log's database.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from adapter.log.opening import file_of, file_url
from adapter.log.protocol import Store as Log
from adapter.search.index import Index
from adapter.search.store import Store


def search_url(log_url: str, file: Path) -> str:
    """The address of a log's search; ``file``: where it lies if the log is a file."""
    return log_url if file_of(log_url) is None else file_url(file)


def open_store(url: str) -> Store:
    """Open a search to fill it; make it if there is none.

    Raises:
        Unusable: what is there is damaged, of another version, or not a search.
    """
    store: Store = _engine(url).open_store(url)
    return store


def open_index(url: str, log: Log, log_url: str, owner: str, readers: int) -> AbstractAsyncContextManager[Index]:
    """Open a search to ask it, and have it filled by a process of its own. ``owner`` tells the services apart, of which
    one fills a search that they share; ``readers`` questions are asked at the same time.

    Raises:
        AdapterError: it cannot be opened.
    """
    index: AbstractAsyncContextManager[Index] = _engine(url).open_index(url, log, log_url, owner, readers)
    return index


def _engine(url: str) -> ModuleType:
    return import_module(f"adapter.search.{'postgresql' if file_of(url) is None else 'sqlite'}.opening")
