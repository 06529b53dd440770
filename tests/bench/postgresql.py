"""The log in PostgreSQL: a server made for it, on the disk to be measured, with Debian's own settings.

Floors: COPY of the same rows into the same tables, a thousand events in a commit; and what anybody would write first,
one row inserted and committed for each call, over a pool of 64 connections. All collect cycles as seldom as the
service does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import asyncpg

from adapter.commands.serve import collect_seldom
from adapter.log.compression import Compression
from adapter.log.identity import Former, keys_of
from adapter.log.postgresql.address import read_address
from adapter.log.postgresql.connecting import connect
from adapter.log.postgresql.log import open_postgresql_log
from adapter.log.postgresql.packing import ENTRY, EVENT, RAW, Packed, pack_entries
from adapter.log.postgresql.schema import make_month, month_of, next_numbers
from adapter.log.protocol import NewEntry
from adapter.log.runs import pack_runs
from adapter.search.search import open_search
from tests.bench.growth import made_entries
from tests.bench.processes import Run, Stopwatch, run_apart, run_beside, run_loop
from tests.bench.result import CannotMeasure, Result, Target
from tests.postgresql import Server, find_programs, open_server

EVENTS, SIZE, CALLERS = 100_000, 100, 8
#: Events in one commit of the floor.
COMMIT = 1_000
SINGLES, SINGLE_CALLERS = 20_000, 64
PAIRS = 3
#: As the service would give: one event like those to come.
_DICTIONARY = next(made_entries(1)).event or b""


def measure(folder: Path) -> list[Result]:
    """The rows ``postgresql``."""
    if find_programs() is None:
        raise CannotMeasure("PostgreSQL's server is not installed; on Debian: apt-get install postgresql")
    copies, appends, inserts, singles, bytes_each, fillings, search_bytes = [], [], [], [], [], [], []
    alone, beside = [], []
    with open_server(folder) as server:
        for pair in range(PAIRS):
            copies.append(run_apart(_floor, _database(server, f"copy_{pair}")))
            appends.append(run_apart(_product, _database(server, f"append_{pair}"), EVENTS, SIZE, CALLERS))
            size = run_loop(_size(server.url(f"append_{pair}")))
            bytes_each.append(size / EVENTS)
            fillings.append(run_apart(_fill, server.url(f"append_{pair}")))
            search_bytes.append((run_loop(_size(server.url(f"append_{pair}"))) - size) / EVENTS)
            alone.append(_beside(_database(server, f"alone_{pair}"), 1))
            beside.append(_beside(_database(server, f"beside_{pair}"), 2))
            inserts.append(run_apart(_single_floor, _database(server, f"insert_{pair}")))
            singles.append(run_apart(_product, _database(server, f"single_{pair}"), SINGLES, 1, SINGLE_CALLERS))
    return [
        Result(
            f"PostgreSQL: {EVENTS:,} events in bodies of {SIZE}, {CALLERS} callers of the log: durable",
            "events/s",
            [run.rate for run in appends],
            [run.rate for run in copies],
            Target(0.5, at_least=True),
            [run.cpu_per_100_000 for run in appends],
        ),
        Result(
            f"PostgreSQL: CPU of {EVENTS:,} events by two services at once, floor: by one",
            "µs an event",
            beside,
            alone,
            Target(1.1, at_least=False),
        ),
        Result("PostgreSQL: the database they lie in", "bytes an event", bytes_each),
        Result(
            f"PostgreSQL: {EVENTS:,} events into the search",
            "events/s",
            [run.rate for run in fillings],
        ),
        Result("PostgreSQL: the search", "bytes an event", search_bytes),
        Result(
            f"PostgreSQL: single events, {SINGLE_CALLERS} callers of the log: durable",
            "events/s",
            [run.rate for run in singles],
            [run.rate for run in inserts],
            Target(1.0, at_least=True),
            [run.cpu_per_100_000 for run in singles],
        ),
    ]


def _database(server: Server, name: str) -> str:
    async def make() -> None:
        connection = await asyncpg.connect(server.url("postgres"))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.execute("CHECKPOINT")
        await connection.close()

    run_loop(make())
    return server.url(name)


async def _size(url: str) -> int:
    connection = await asyncpg.connect(url)
    size: int = await connection.fetchval("SELECT pg_database_size(current_database())")
    size -= await connection.fetchval("SELECT pg_database_size('template1')")
    await connection.close()
    return size


def _beside(url: str, services: int) -> float:
    """CPU of an event, µs, where so many services share the work."""
    run_loop(_make(url))
    runs = run_beside(partial(_share, url, EVENTS // services), services)
    return sum([run.cpu for run in runs]) / EVENTS * 1e6


def _share(url: str, count: int, number: int) -> Run:
    return _product(url, count, SIZE, CALLERS, seed=number)


def _product(url: str, count: int, size: int, callers: int, seed: int = 7) -> Run:
    entries = list(made_entries(count, seed))
    return run_loop(_append(url, [entries[start : start + size] for start in range(0, count, size)], callers))


async def _append(url: str, requests: Sequence[list[NewEntry]], callers: int) -> Run:
    async with open_postgresql_log(url, dictionary=lambda: _DICTIONARY) as log:
        waiting = iter(requests)

        async def call() -> None:
            for request in waiting:
                await log.append(request)

        collect_seldom()
        watch = Stopwatch()
        await asyncio.gather(*(call() for _ in range(callers)))
        run = watch.stop(sum(map(len, requests)))
        if log.head < run.count:
            raise CannotMeasure(f"{run.count} events were appended, but {log.head} are stored")
    return run


def _fill(url: str) -> Run:
    return run_loop(_fill_search(url))


async def _fill_search(url: str) -> Run:
    async with open_postgresql_log(url, dictionary=lambda: _DICTIONARY) as log:
        watch = Stopwatch()
        async with open_search(Path(), log, url, "bench", timeout=600.0) as search:
            await search.wait(log.head)
        return watch.stop(log.head)


def _floor(url: str) -> Run:
    return run_loop(_copy(url, list(made_entries(EVENTS))))


async def _make(url: str) -> None:
    """Make the tables."""
    async with open_postgresql_log(url, dictionary=lambda: _DICTIONARY):
        pass


async def _copy(url: str, entries: Sequence[NewEntry]) -> Run:
    await _make(url)
    connection = await connect(read_address(url))
    given = await next_numbers(connection)
    await make_month(connection, month_of(given[0]))
    numbers = iter(given)
    batches = []
    for start in range(0, len(entries), COMMIT):
        new = entries[start : start + COMMIT]
        number = next(numbers)
        keys = keys_of(new, Former(0), set())
        identities = sorted(
            (key, number, place, 0, 0, None if key == new[place].uid else new[place].uid)
            for place, its in enumerate(keys)
            for key in its[:2]
            if key is not None
        )
        packed = Packed([], [], [])
        pack_entries(packed, number, 0, new, pack_runs(Compression(_DICTIONARY), new))
        batches.append((number, start + 1, packed, identities))
    collect_seldom()
    watch = Stopwatch()
    for number, first, packed, identities in batches:
        await _copy_batch(connection, number, first, packed, identities)
    run = watch.stop(len(entries))
    await connection.close()
    return run


async def _copy_batch(
    connection: asyncpg.Connection[asyncpg.Record],
    number: int,
    first: int,
    packed: Packed,
    identities: Sequence[tuple[object, ...]],
) -> None:
    keys = ("key", "batch", "place", "taken", "equal", "uid")
    async with connection.transaction():
        await connection.copy_records_to_table("entry", records=packed.entries, columns=ENTRY)
        await connection.copy_records_to_table("event", records=packed.events, columns=EVENT)
        await connection.copy_records_to_table("raw", records=packed.raws, columns=RAW)
        await connection.copy_records_to_table("identity", records=identities, columns=keys)
        row = (number, first, len(packed.entries), 0)
        await connection.execute("INSERT INTO batch (number, first, entries, latest) VALUES ($1, $2, $3, $4)", *row)


def _single_floor(url: str) -> Run:
    return run_loop(_insert(url, list(made_entries(SINGLES))))


async def _insert(url: str, entries: Sequence[NewEntry]) -> Run:
    async with asyncpg.create_pool(url, min_size=SINGLE_CALLERS, max_size=SINGLE_CALLERS) as pool:
        await pool.execute(
            "CREATE TABLE event (position bigserial PRIMARY KEY, uid uuid UNIQUE, received_at bigint, source text,"
            " type text, native_type text, event bytea, raw bytea)"
        )
        waiting = iter(entries)

        async def call() -> None:
            for entry in waiting:
                await pool.execute(
                    "INSERT INTO event (uid, received_at, source, type, native_type, event, raw)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                    entry.uid.hex(),
                    entry.received_at,
                    entry.source,
                    entry.type,
                    entry.native_type,
                    entry.event,
                    entry.raw,
                )

        collect_seldom()
        watch = Stopwatch()
        await asyncio.gather(*(call() for _ in range(SINGLE_CALLERS)))
        return watch.stop(len(entries))
