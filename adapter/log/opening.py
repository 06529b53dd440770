"""Where a log lies, and the engine that opens it there.

The address of a log is a URL. Its scheme names the engine: a folder beside this file, with an ``opening.py`` that holds
``open_store`` and ``check_store`` as here, an ``events.py`` that holds ``open_events``, and a ``whole.py`` that holds
``open_whole``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import quote, unquote

from adapter.errors import ConfigError, StoreMismatch
from adapter.log.protocol import Events, Store
from adapter.log.transfer import NewLog, Whole

#: The engine of each scheme.
_ENGINES = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}
#: What the address of a file begins with.
_FILE = "sqlite:///"


def file_url(path: Path) -> str:
    """The address of a log in a file."""
    return _FILE + quote(str(path.absolute()))


def file_of(url: str) -> Path | None:
    """The file of a log; ``None`` if it lies in no file."""
    return Path(unquote(url.removeprefix(_FILE))) if url.startswith(_FILE) else None


def path_of(url: str) -> Path:
    """The file of what lies in one."""
    path = file_of(url)
    assert path is not None
    return path


def check_url(url: str) -> None:
    """
    Raises:
        ConfigError: this is no address of a log. The text does not repeat it, since it may hold a password.
    """
    scheme = url.partition("://")[0]
    if "://" not in url or scheme not in _ENGINES:
        raise ConfigError("no address of a log; one begins with sqlite:/// or postgresql://")
    if _ENGINES[scheme] == "sqlite" and not (url.startswith(_FILE) and url.removeprefix(_FILE).strip("/")):
        raise ConfigError("no file; one is named as sqlite:///folder/log.sqlite, or sqlite:////srv/folder/log.sqlite")


def open_store(
    url: str, *, dictionary: Callable[[], bytes], commit_timeout: float
) -> AbstractAsyncContextManager[Store]:
    """Open a log; make it if there is none. ``dictionary`` gives text like that of the events to come (bytes of their
    JSON), by which they are compressed better; a log keeps the one it was made with. ``commit_timeout``: seconds after
    which a commit without an answer is given up on.

    Raises:
        ConfigError: this is no address of a log.
        StoreMismatch: what lies there is not a log, or of a newer version.
        StoreUnavailable: it cannot be opened now.
        StoreError: it is damaged.
    """
    opened: AbstractAsyncContextManager[Store] = _engine(url).open_store(
        url, dictionary=dictionary, commit_timeout=commit_timeout
    )
    return opened


async def check_store(url: str) -> None:
    """See that a log which a service has open now can be opened as it is by the service that follows; a log that is not
    there can be.

    Raises:
        ConfigError: this is no address of a log.
        StoreMismatch: what lies there is not a log, or of a newer version; or it is of an older one, and the service
            that has it open could not go on with it once it is taken to this one.
        StoreUnavailable: it cannot be read now.
        StoreError: it is damaged.
    """
    checking: Awaitable[None] = _engine(url).check_store(url)
    await checking


def refuse_older(where: str, version: int, latest: int) -> None:
    """
    Raises:
        StoreMismatch: a log of this version would have to be changed first.
    """
    if version < latest:
        raise StoreMismatch(
            f"{where}: version {version} of the log, and this program would have to change it to version {latest}, "
            "which the one that runs does not know: it could not go on if this one fails; stop it, then start this one"
        )


def open_whole(url: str) -> AbstractAsyncContextManager[Whole]:
    """Open a log that nobody uses, to read all of it.

    Raises:
        ConfigError, StoreMismatch, StoreUnavailable, StoreError: as `open_store`; or there is none.
    """
    opened: AbstractAsyncContextManager[Whole] = _engine(url, "whole").open_whole(url, None)
    return opened


def open_new_log(url: str, dictionary: bytes) -> AbstractAsyncContextManager[NewLog]:
    """Open a log that another one is to be carried to; make it if there is none. It gets the other one's dictionary.

    Raises:
        ConfigError, StoreUnavailable, StoreError: as `open_store`.
        StoreMismatch: there is a log already, and no other one was begun to be carried there.
    """
    opened: AbstractAsyncContextManager[NewLog] = _engine(url, "whole").open_whole(url, dictionary)
    return opened


def open_events(url: str) -> AbstractContextManager[Events]:
    """Open the log for a process without an event loop that reads its events.

    Raises:
        ConfigError, StoreMismatch, StoreUnavailable, StoreError: as `open_store`; or there is none.
    """
    opened: AbstractContextManager[Events] = _engine(url, "events").open_events(url)
    return opened


def _engine(url: str, module: str = "opening") -> ModuleType:
    check_url(url)
    return import_module(f"adapter.log.{_ENGINES[url.partition('://')[0]]}.{module}")
