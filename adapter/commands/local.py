"""What commands open themselves where no service runs on the data folder.

Apart from the client, and imported when it is needed: that takes longer than most questions to a service.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from adapter.log.opening import open_store
from adapter.log.protocol import Store
from adapter.mapping.table import load_tables
from adapter.resources import mappings_path
from adapter.service import Service, open_service
from adapter.settings import Settings
from adapter.workbench.dictionary import make_dictionary


def open_local_service(settings: Settings) -> AbstractAsyncContextManager[Service]:
    """A service on a free port that sends nothing out. Raises: as `adapter.service.open_service`."""
    return open_service(settings, port=0, sinks=False)


def open_log(log_url: str, settings: Settings) -> AbstractAsyncContextManager[Store]:
    """The log of these settings. Raises: as `adapter.log.opening.open_store`."""
    folders = [*settings.mappings.path, mappings_path()]

    def dictionary() -> bytes:
        return make_dictionary(load_tables(folders).values())

    return open_store(log_url, dictionary=dictionary, commit_timeout=settings.data.commit_timeout)
