"""What a sink writes into the log: rows that are really inserted, updated or deleted, for a receiver that takes all,
and for one that is down for an hour.

In SQLite they are counted by triggers, which the process that writes the log fires, and in PostgreSQL by its
statistics. The hour is one of the delivery's own clock, which goes sixty times as fast as ours.
"""

from __future__ import annotations

import asyncio
import selectors
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from adapter.delivery.loop import open_delivery
from adapter.delivery.select import Selection
from adapter.filter import Filter
from adapter.log.postgresql.log import open_postgresql_log
from adapter.log.sqlite.log import open_sqlite_log
from adapter.mapping.catalogue import load_catalogue
from adapter.outgoing.settings import OutgoingSettings
from adapter.resources import mappings_path
from adapter.sinks.settings import open_sink, read_sink_settings
from tests.bench.delivering import deliver, deliver_from, fill
from tests.bench.growth import made_entries
from tests.bench.processes import run_apart, run_loop
from tests.bench.receiver import Receiver, open_receiver
from tests.bench.result import CannotMeasure, Result, Target
from tests.bench.webhook_sink import ALLOW, webhook
from tests.postgresql import Server, find_programs, open_server

EVENTS = 40_000
#: Events that come in each second of the hour, seconds of it, and how many of them pass in one of ours.
RATE, HOUR, FASTER = 100, 3600, 60
_SIZE = 600
#: Requests that are under way at once.
_WINDOW = 64
#: What a sink writes; the events that it tells are entries like others.
_TABLES = ("reader", "held", "attempt", "blocked", "note")


def measure(folder: Path) -> list[Result]:
    """The rows ``writes``."""
    with open_receiver(folder) as receiver:
        few = Target(0.2, at_least=False)
        rows = _healthy(folder, receiver)
        results = [Result("rows that a webhook sink writes, SQLite", "rows an event", [rows], target=few)]
        if find_programs() is not None:
            with open_server(folder) as server:
                rows = _healthy_postgresql(server, receiver)
            results.append(Result("rows that a webhook sink writes, PostgreSQL", "rows an event", [rows], target=few))
        receiver.answer(503)
        receiver.forget()
        written, told = run_apart(_down, folder / "down.sqlite", receiver.url)
        # What was under way when it went down are no probes.
        probes = receiver.arrived().requests - _WINDOW
    what = f"a receiver that answers 503 for an hour, while {RATE * HOUR:,} events come"
    return [
        *results,
        Result(
            f"{what}: rows that are written, floor: probes and notices (events and notes)",
            "rows",
            [sum(written.values())],
            [probes + told + written["note"]],
            Target(1, at_least=False),
        ),
        *(Result(f"of it {table}", "rows", [count]) for table, count in written.items() if count),
    ]


def _healthy(folder: Path, receiver: Receiver) -> float:
    log = folder / "healthy.sqlite"
    run_apart(fill, log, EVENTS)
    with _counted(log) as rows:
        run_apart(deliver, log, webhook("healthy", receiver.url), ALLOW)
    return sum(rows.values()) / EVENTS


@contextmanager
def _counted(log: Path) -> Iterator[dict[str, int]]:
    """The rows that are written in each table while the context lasts, by whatever process."""
    found: dict[str, int] = {}
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE written (name TEXT PRIMARY KEY, rows INTEGER NOT NULL)")
        for table in _TABLES:
            connection.execute("INSERT INTO written VALUES (?, 0)", (table,))
            for event in ("INSERT", "UPDATE", "DELETE"):
                connection.execute(
                    f"CREATE TRIGGER written_{table}_{event} AFTER {event} ON {table} BEGIN"
                    f" UPDATE written SET rows = rows + 1 WHERE name = '{table}'; END"
                )
    yield found
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        found.update(connection.execute("SELECT name, rows FROM written"))


def _healthy_postgresql(server: Server, receiver: Receiver) -> float:
    async def make() -> None:
        connection = await asyncpg.connect(server.url("postgres"))
        await connection.execute("CREATE DATABASE writes")
        await connection.close()

    run_loop(make())
    url = server.url("writes")
    run_apart(_fill_postgresql, url)
    before = run_loop(_written(url))
    run_apart(_deliver_postgresql, url, webhook("healthy", receiver.url))
    return (run_loop(_written(url)) - before) / EVENTS


def _fill_postgresql(url: str) -> None:
    async def fill() -> None:
        made = list(made_entries(EVENTS))
        async with open_postgresql_log(url) as log:
            for start in range(0, EVENTS, _SIZE):
                await log.append(made[start : start + _SIZE])

    run_loop(fill())


def _deliver_postgresql(url: str, settings: dict[str, Any]) -> None:
    async def deliver() -> None:
        async with open_postgresql_log(url) as log:
            await deliver_from(log, settings, ALLOW)

    run_loop(deliver())


async def _written(url: str) -> int:
    """Rows that were written in the database so far."""
    connection = await asyncpg.connect(url)
    try:
        # What a process did counts at the latest when it has ended, which takes a moment.
        await asyncio.sleep(2)
        rows = "sum(n_tup_ins + n_tup_upd + n_tup_del)"
        written: int = await connection.fetchval(f"SELECT {rows} FROM pg_stat_user_tables")
        return written
    finally:
        await connection.close()


class _Selector(selectors.DefaultSelector):
    """Waits a part of the time that it is asked to wait."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return super().select(timeout if timeout is None else timeout / FASTER)


class _FastTime(asyncio.SelectorEventLoop):
    """A loop whose time passes faster."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return time.monotonic() * FASTER


def _down(log: Path, url: str) -> tuple[dict[str, int], int]:
    """Rows that are written in each table while a receiver is down, and how many events tell it."""
    run_loop(_empty(log))
    with _counted(log) as rows, asyncio.Runner(loop_factory=_FastTime) as runner:
        told = runner.run(_hour(log, url))
    return rows, told


async def _empty(log: Path) -> None:
    async with open_sqlite_log(log):
        pass


async def _hour(file: Path, url: str) -> int:
    """Deliver for an hour of this loop to a sink while events come; how many come that tell of it."""
    loop = asyncio.get_running_loop()
    given = read_sink_settings(webhook("down", url))
    selection = Selection(Filter.from_settings(given.filter, load_catalogue([mappings_path()]), "sinks"))
    outgoing = OutgoingSettings.model_validate({"allow": ALLOW})
    made = made_entries(RATE * HOUR)
    # What waits for the process that writes the log waits as long as always.
    async with open_sqlite_log(file, commit_timeout=60 * FASTER) as log, open_sink(given, outgoing) as sink:
        epoch = time.time() - loop.time()
        async with open_delivery(given, sink, log, selection, clock=lambda: epoch + loop.time()):
            begin, came = loop.time(), 0
            while came < RATE * HOUR:
                await asyncio.sleep(begin + came / RATE - loop.time())
                await log.append([next(made) for _ in range(_SIZE)])
                came += _SIZE
            if loop.time() - begin > 1.5 * HOUR:
                raise CannotMeasure(f"events could not be appended fast enough: {RATE} a second of the hour")
            await asyncio.sleep(begin + HOUR - loop.time())
        return log.head - came
