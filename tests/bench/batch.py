"""Bodies of a hundred: until the last is answered (on disk), and until all events can be searched.

Floor: one loop that parses the same bytes and inserts the columns people search by into one SQLite table.
"""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

import orjson

from tests.bench.events import write_bodies
from tests.bench.load import post_bodies
from tests.bench.processes import Run, Stopwatch, run_apart
from tests.bench.product import open_product
from tests.bench.result import CannotMeasure, Result, Target

EVENTS = 300_000
SIZE = 100
CONNECTIONS = 8
PAIRS = 3
#: Events in one commit of the floor.
COMMIT = 1000


def measure(folder: Path) -> list[Result]:
    """The rows ``batch``: durable, and searchable."""
    bodies = folder / "bodies.ndjson"
    write_bodies(bodies, EVENTS, SIZE)
    floors, durable, searchable = [], [], []
    for pair in range(PAIRS):
        floors.append(run_apart(insert, bodies, folder / f"floor-{pair}.sqlite").rate)
        posted, found = _product(bodies, folder / f"product-{pair}")
        durable.append(posted)
        searchable.append(found)
    what = f"{EVENTS:,} events in bodies of {SIZE}, {CONNECTIONS} connections"
    cpu = [run.cpu_per_100_000 for run in searchable]
    return [
        Result(f"{what}: durable", "events/s", [run.rate for run in durable], floors, Target(1.5, at_least=True), cpu),
        Result(
            f"{what}: all searchable",
            "events/s",
            [run.rate for run in searchable],
            floors,
            Target(1.2, at_least=True),
            cpu,
        ),
    ]


def _product(bodies: Path, home: Path) -> tuple[Run, Run]:
    """The run until all was durable, and until all was searchable."""
    with open_product(home) as product:
        cpu = product.cpu()
        load = post_bodies(product.ingest_url, product.token, bodies, connections=CONNECTIONS)
        posted = product.cpu() - cpu
        watch = Stopwatch()
        product.wait_searchable()
        seconds = load.seconds + watch.stop(1).seconds
        stored = product.metrics()["idp_adapter_events_accepted_total"]
        if stored != EVENTS:
            raise CannotMeasure(f"{EVENTS} events were answered with 202, but {stored:.0f} are stored")
        return Run(EVENTS, load.seconds, posted), Run(EVENTS, seconds, product.cpu() - cpu)


def insert(bodies: Path, database: Path) -> Run:
    """The floor: parse each body, and insert its events, ``COMMIT`` of them in a transaction."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript(
        """
        pragma journal_mode = wal;
        pragma synchronous = full;
        create table event (
            uid text unique, time integer, type text, user text, client text, address text, raw blob, event blob
        );
        create index event_time on event (time);
        create index event_type on event (type, time);
        create index event_user on event (user, time);
        """
    )
    with bodies.open("rb") as lines:
        given = list(lines)
    watch = Stopwatch()
    connection.execute("begin")
    count = 0
    for body in given:
        for value in orjson.loads(body):
            text = orjson.dumps(value)
            row = (
                str(uuid.uuid4()),
                value["time"],
                value["type"],
                value["userId"],
                value["clientId"],
                value["ipAddress"],
                text,
                text,
            )
            connection.execute("insert into event values (?, ?, ?, ?, ?, ?, ?, ?)", row)
            count += 1
            if count % COMMIT == 0:
                connection.execute("commit")
                connection.execute("begin")
    connection.execute("commit")
    run = watch.stop(count)
    connection.close()
    return run
