"""Renormalization: a log full of logins, each of which a fixed table reads differently.

Floor: a bare loop that reads the same rows, applies the same table, compares, and writes the same rows into tables of
the same shape, 1000 a commit.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import orjson

from adapter.log.sqlite.log import Reader, open_reader, open_sqlite_log
from adapter.mapping.table import Table, load_tables
from adapter.model import uid_text
from adapter.normalize import origin
from adapter.renormalization.job import Question, State
from adapter.renormalization.renormalizing import open_renormalization
from adapter.resources import mappings_path
from adapter.sources.intake import Source
from tests.bench.delivering import fill
from tests.bench.processes import Run, Stopwatch, run_apart, run_loop
from tests.bench.result import CannotMeasure, Result, Target

ENTRIES = 60_000
PAIRS = 3
#: Rows that the floor writes in one commit, and events that it compresses together, as the product does.
_COMMIT = 1024
_RUN = 32
#: Seconds between two looks at how far the job is.
_LOOK = 0.01

_ROW = """
provider: keycloak
extends: keycloak
title: Keycloak, read differently
fields: {details.read: {value: again}}
"""

_TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE entry (position INTEGER PRIMARY KEY, uid BLOB NOT NULL, revision INTEGER NOT NULL, source INTEGER NOT NULL,
  received_at INTEGER NOT NULL, type TEXT, native_type TEXT, problem TEXT, size INTEGER);
CREATE TABLE event (position INTEGER PRIMARY KEY, lengths TEXT NOT NULL, content BLOB NOT NULL);
CREATE TABLE revision (first INTEGER, position INTEGER, PRIMARY KEY (first, position)) WITHOUT ROWID;
"""


def measure(folder: Path) -> list[Result]:
    """The row ``renormalize``."""
    log = folder / "log.sqlite"
    run_apart(fill, log, ENTRIES)
    own = folder / "own" / "keycloak" / "mapping.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(_ROW)
    floors, products = [], []
    for pair in range(PAIRS):
        copy = folder / f"{pair}.sqlite"
        shutil.copy(log, copy)
        floors.append(run_apart(bare, log, folder / f"floor-{pair}.sqlite", own.parents[1]))
        products.append(run_apart(renormalize, copy, own.parents[1]))
        copy.unlink()
    return [
        Result(
            f"renormalizing {ENTRIES:,} entries, all of which read differently",
            "entries/s",
            [run.rate for run in products],
            [run.rate for run in floors],
            Target(0.5, at_least=True),
            [run.cpu_per_100_000 for run in products],
        )
    ]


def renormalize(log: Path, own: Path) -> Run:
    """The job of the service over a log, as fast as it goes."""
    return run_loop(_renormalize(log, own))


async def _renormalize(file: Path, own: Path) -> Run:
    tables = load_tables([own, mappings_path()])
    sources = {"keycloak": Source("keycloak", "keycloak", "keycloak", tables)}
    async with open_sqlite_log(file) as log:
        watch = Stopwatch()
        async with open_renormalization(log, sources, tables, lambda: tables["keycloak"].catalogue) as whole:
            job = await whole.start(Question(rate=0))
            while job.state is State.RUNNING:
                await asyncio.sleep(_LOOK)
                assert whole.job is not None
                job = whole.job
        run = watch.stop(ENTRIES)
        if job.counts.corrected != ENTRIES or log.head != 2 * ENTRIES:
            raise CannotMeasure(f"{job.counts.corrected} of {ENTRIES} entries were corrected; all should be")
        return run


def bare(log: Path, out: Path, own: Path) -> Run:
    """The floor."""
    table = load_tables([own, mappings_path()])["keycloak"]
    connection = sqlite3.connect(out, isolation_level=None)
    connection.executescript(_TABLES)
    with open_reader(log) as reader:
        watch = Stopwatch()
        position = ENTRIES
        entries: list[tuple[object, ...]] = []
        revisions: list[tuple[int, int]] = []
        events: list[bytes] = []
        for first, event in _differing(reader, table):
            position += 1
            entries.append((position, first[1], 1, first[2], first[3], first[4], first[5], None, len(event)))
            revisions.append((first[0], position))
            events.append(event)
            if len(entries) == _COMMIT:
                _write(connection, reader, entries, revisions, events)
        _write(connection, reader, entries, revisions, events)
        run = watch.stop(position - ENTRIES)
    connection.close()
    if run.count != ENTRIES:
        raise CannotMeasure(f"the floor found {run.count} of {ENTRIES} entries to differ; all should")
    return run


def _differing(reader: Reader, table: Table) -> Iterator[tuple[tuple[int, bytes, int, int, str, str], bytes]]:
    """The entries that read differently, with what they read as now."""
    rows = reader.execute("SELECT position, uid, source, received_at, type, native_type FROM entry ORDER BY position")
    for row, raw, event in zip(rows, _pieces(reader, "raw"), _pieces(reader, "event"), strict=True):
        read, native, *_ = table.read(orjson.loads(raw), row[3])
        read["uid"] = uid_text(row[1])
        read["source"] = origin("keycloak", table, native, row[3])
        made = orjson.dumps(read)
        if made != event:
            yield row, made


def _pieces(reader: Reader, name: str) -> Iterator[bytes]:
    """Native bytes, or events, one by one."""
    for lengths, content in reader.execute(f"SELECT lengths, content FROM {name} ORDER BY position"):
        (pieces,) = reader.compression.decompress(content, [len(content)])
        start = 0
        for length in orjson.loads(lengths):
            yield pieces[start : start + length]
            start += length


def _write(
    connection: sqlite3.Connection,
    reader: Reader,
    entries: list[tuple[object, ...]],
    revisions: list[tuple[int, int]],
    events: list[bytes],
) -> None:
    runs = [events[begin : begin + _RUN] for begin in range(0, len(events), _RUN)]
    frames = reader.compression.compress([b"".join(run) for run in runs])
    position = revisions[0][1] if revisions else 0
    packed = [
        (position + number * _RUN, orjson.dumps(list(map(len, run))).decode(), frame)
        for number, (run, frame) in enumerate(zip(runs, frames, strict=True))
    ]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", entries)
    connection.executemany("INSERT INTO revision VALUES (?, ?)", revisions)
    connection.executemany("INSERT INTO event VALUES (?, ?, ?)", packed)
    connection.execute("COMMIT")
    for rows in (entries, revisions, events):
        rows.clear()
