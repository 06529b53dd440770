"""A log full of logins, and the real delivery loop that takes it to a sink."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapter.commands.serve import collect_seldom
from adapter.counts import IngestCounts
from adapter.delivery.loop import open_delivery
from adapter.delivery.select import Selection
from adapter.filter import Filter
from adapter.log.protocol import Store
from adapter.log.sqlite.log import open_reader, open_sqlite_log, read_entries
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.table import load_tables
from adapter.model import Entry
from adapter.outgoing.settings import OutgoingSettings
from adapter.resources import mappings_path
from adapter.sinks.settings import open_sink, read_sink_settings
from adapter.sources.intake import Intake, Source
from adapter.workbench.dictionary import make_dictionary
from tests.bench.events import bodies
from tests.bench.processes import Run, Stopwatch, run_loop

#: Events in one append, and appends at a time.
_SIZE = 2000
_APPENDS = 4
#: Seconds between two looks at how far a sink is.
_LOOK = 0.01


def fill(file: Path, count: int) -> None:
    """Make a log of so many logins, as the service would."""
    run_loop(_fill(file, count))


async def _fill(file: Path, count: int) -> None:
    folders = [mappings_path()]
    tables = load_tables(folders)
    async with open_sqlite_log(file, dictionary=make_dictionary(tables.values())) as log:
        intake = Intake(log, IngestCounts())
        source = Source("keycloak", "keycloak", "keycloak", tables)
        under_way = asyncio.Semaphore(_APPENDS)

        async def take(body: bytes, received_at: int) -> None:
            async with under_way:
                await intake.take(source, body, "application/json", received_at)

        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(bodies(count, _SIZE)):
                async with under_way:
                    group.create_task(take(body, 1_780_000_000_000 + number))
                await asyncio.sleep(0)


def deliver(file: Path, settings: dict[str, Any], allow: list[str]) -> Run:
    """Take the whole log to a sink that sees it for the first time."""
    return run_loop(_deliver(file, settings, allow))


async def _deliver(file: Path, settings: dict[str, Any], allow: list[str]) -> Run:
    async with open_sqlite_log(file) as log:
        return await deliver_from(log, settings, allow)


async def deliver_from(log: Store, settings: dict[str, Any], allow: list[str]) -> Run:
    """The same out of a log that is open."""
    given = read_sink_settings(settings)
    outgoing = OutgoingSettings.model_validate({"allow": allow})
    selection = Selection(Filter.from_settings(given.filter, load_catalogue([mappings_path()]), "sinks"))
    async with open_sink(given, outgoing) as sink:
        collect_seldom()  # as the service does when it has started
        watch = Stopwatch()
        async with open_delivery(given, sink, log, selection) as delivery:
            while delivery.snapshot().counts.delivered < log.head:  # noqa: ASYNC110 (there is nothing to wait for)
                await asyncio.sleep(_LOOK)
            return watch.stop(log.head)


def entries(file: Path) -> Iterator[Entry]:
    """All entries of a log, read as plainly as it can be."""
    with open_reader(file) as connection:
        after = 0
        while stretch := read_entries(connection, after):
            yield from stretch
            after = stretch[-1].position
