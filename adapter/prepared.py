"""Settings that were checked before a service is opened with them, and what takes longest to make of them: the tables.

So a service that takes another one's place is opened within a moment, and most of what is wrong with its settings is
known while the other one still works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter.errors import ConfigError
from adapter.filter import Filter
from adapter.log.opening import check_store, file_of, file_url
from adapter.resources import mappings_path
from adapter.retention.policy import Policy
from adapter.search.sqlite.lost import refuse_lost_log
from adapter.settings import Settings
from adapter.sources.opening import configured_sources
from adapter.sources.settings import SourceSettings
from adapter.tables.in_use import Tables
from adapter.tables.watch import Mark, look

#: Folder of the data folder that holds the tables which are saved into a shared log.
SAVED = "saved-mappings"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Settings, checked; made by `prepare`."""

    settings: Settings
    tables: Tables
    #: The files of the tables, as they were when they were read.
    known: Mapping[str, frozenset[Mark]]
    sources: Sequence[SourceSettings]
    policy: Policy

    async def refresh(self, *, force: bool) -> Mapping[str, frozenset[Mark]]:
        """Take up tables whose files have changed since they were read; the files as they are now. One that is wrong
        now is refused as in a running service. ``force``: as `Tables.reload` has it."""
        now = look(self.tables.folders)
        changed = {name for name in {*self.known, *now} if self.known.get(name) != now.get(name)}
        if changed:
            await self.tables.reload(None if "" in changed else changed, force=force)
        return now


def log_url(settings: Settings) -> str:
    """Where the log lies."""
    stored_at = settings.store.url
    return file_url(settings.data.folder / "log.sqlite") if stored_at is None else stored_at.get_secret_value()


def prepare(settings: Settings, *, tables: Tables | None = None, new_log: bool = False) -> Prepared:
    """Check settings as far as can be without disturbing a service that runs with the same data, and read the tables;
    takes a second. ``tables`` are taken in their place if they lie in the same folders. ``new_log``: a log that was
    lost is begun anew.

    Raises:
        ConfigError: the settings, or a table, cannot be used; says which and why.
    """
    folder = settings.data.folder
    for place in settings.mappings.path:
        if not place.is_dir():
            raise ConfigError(f"mappings.path: {place}: there is no such folder")
    file = file_of(log_url(settings))
    if file is not None and not new_log:
        refuse_lost_log(file, folder / "search.sqlite")
    policy = Policy.of(settings.store)
    if file is None and policy.size is not None:
        raise ConfigError("store.keep: a size is for a log in a file; in PostgreSQL events are kept by time")
    folders = table_folders(settings)
    known = look(folders)
    if tables is None or tables.folders != tuple(folders):
        tables = Tables(folders)
    for sink in settings.sinks:
        Filter.from_settings(sink.filter, tables.catalogue, f"sinks: {sink.name}: filter")
    return Prepared(settings, tables, known, configured_sources(settings.sources, tables), policy)


async def prepare_to_follow(settings: Settings, *, tables: Tables | None = None) -> Prepared:
    """The same for a service that is to take the place of one that runs, which may have to come back.

    Raises:
        ConfigError: as `prepare`.
        StoreError: the log cannot be opened, or would have to be changed so that the other service could not.
    """
    await check_store(log_url(settings))
    return prepare(settings, tables=tables)


def table_folders(settings: Settings) -> list[Path]:
    """Where tables lie; earlier folders hide equal names in later ones."""
    saved = [(settings.data.folder / SAVED).absolute()] if file_of(log_url(settings)) is None else []
    return [*saved, *settings.mappings.path, mappings_path()]
