"""Normalizing alone: what a table costs for one raw event. Floor: parsing the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from adapter.counts import IngestCounts
from adapter.log.memory import Memory, MemoryLog
from adapter.log.protocol import NewEntry, Note, Receipt
from adapter.mapping.body import NotReadable, UnknownMedia
from adapter.mapping.table import Table, load_tables
from adapter.resources import mappings_path
from adapter.sources.intake import Intake, Source
from adapter.workbench.examples import RECEIVED_AT, read_examples
from tests.bench.events import bodies, captured_login
from tests.bench.processes import run_apart
from tests.bench.result import Result, Target

PAIRS = 7
#: Calls in one measurement.
CALLS = 20_000
#: Calls for each of a table's examples.
EXAMPLE_CALLS = 100
#: Events in one body of the intake.
SIZE = 100


def measure(folder: Path) -> list[Result]:
    """The rows ``normalize``: the captured login, the examples of each table, and the intake's whole work."""
    return run_apart(measure_here)


def measure_here() -> list[Result]:
    """The rows, in this process."""
    tables = load_tables([mappings_path()])
    results = [_login(tables["keycloak"])]
    results += [_examples(table) for table in tables.values()]
    results.append(_intake(tables["keycloak"]))
    return results


def _login(table: Table) -> Result:
    raw = captured_login()
    value = orjson.loads(raw)
    floors, products = [], []
    for _ in range(PAIRS):
        floors.append(_microseconds(lambda: orjson.loads(raw), CALLS))
        products.append(_microseconds(lambda: table.read(value, RECEIVED_AT), CALLS))
    return Result("normalizing a Keycloak LOGIN, floor: parsing it", "µs", products, floors, Target(5, at_least=False))


def _examples(table: Table) -> Result:
    """The median of the table's examples, by what normalizing costs beside parsing."""
    pairs = []
    for raw, value in _records(table):
        floor = _microseconds(lambda raw=raw: orjson.loads(raw), EXAMPLE_CALLS)  # type: ignore[misc]
        product = _microseconds(lambda value=value: table.read(value, RECEIVED_AT), EXAMPLE_CALLS)  # type: ignore[misc]
        pairs.append((product / floor, product, floor))
    _, product, floor = sorted(pairs)[len(pairs) // 2]
    return Result(f"the median of {len(pairs)} examples of {table.provider}", "µs", [product], [floor])


def _records(table: Table) -> Sequence[tuple[bytes, dict[str, Any]]]:
    """What the table's examples hold, one by one."""
    found = []
    for placed in read_examples(table.folder):
        try:
            records = table.split(placed.example.body, placed.example.media)
        except (NotReadable, UnknownMedia):
            continue
        found += [(orjson.dumps(record.value), record.value) for record in records if record.value is not None]
    return found


def _intake(table: Table) -> Result:
    """All that the intake does with an event: split, read, keys, uid, dumps."""
    intake = Intake(_Nowhere(Memory(), 0, time.time), IngestCounts())
    source = Source("keycloak", "keycloak", "keycloak", {"keycloak": table})
    (body,) = bodies(SIZE, SIZE)
    floors, products = [], []

    def take() -> None:
        asyncio.run(_take(intake, source, body))

    for _ in range(PAIRS):
        floors.append(_microseconds(lambda: orjson.loads(body), CALLS // SIZE) / SIZE)
        products.append(_microseconds(take, 1) / SIZE / _REPEATS)
    return Result(f"the intake's work on a LOGIN in a body of {SIZE}, floor: parsing it", "µs", products, floors)


_REPEATS = 100


async def _take(intake: Intake, source: Source, body: bytes) -> None:
    for _ in range(_REPEATS):
        await intake.take(source, body, "application/json", RECEIVED_AT)


class _Nowhere(MemoryLog):
    """Takes entries as a log does, and keeps none."""

    async def append(self, entries: Sequence[NewEntry], note: Note | None = None) -> list[Receipt]:
        return [Receipt(entry.uid, None) for entry in entries]


def _microseconds(call: Callable[[], object], count: int) -> float:
    """Time of one call: the median of five rounds."""
    rounds = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append((time.perf_counter() - begin) / count)
    return median(rounds) * 1e6
