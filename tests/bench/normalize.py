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
from adapter.mapping.body import EVENT_LIMIT, JSON, TEXT, NotReadable, Record, UnknownMedia
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.table import Table, load_tables, read_table
from adapter.resources import mappings_path
from adapter.sources.intake import Intake, Source
from adapter.workbench.examples import RECEIVED_AT, read_examples
from tests.bench.events import bodies, captured_login
from tests.bench.processes import run_apart
from tests.bench.result import Result, Target
from tests.mapping.forwarded import WRAPPED

PAIRS = 7
#: Calls in one measurement.
CALLS = 20_000
#: Calls for each of a table's examples.
EXAMPLE_CALLS = 100
#: In whose envelope examples are forwarded.
FORWARDER = "elastic agent"
#: Events in one body of the intake.
SIZE = 100


def measure(folder: Path) -> list[Result]:
    """The rows ``normalize``: the captured login, the examples of each table as they are read, as they are sent and as
    they are forwarded, tables of many rows, lines of logs, and the intake's whole work."""
    return run_apart(measure_here)


def measure_here() -> list[Result]:
    """The rows, in this process."""
    tables = load_tables([mappings_path()])
    results = [_login(tables["keycloak"])]
    for table in tables.values():
        results += [_examples(table), *_sent(table)]
    results += [_many_rows(), _many_families(), *_lines()]
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
    what = f"the median of {len(pairs)} examples of {table.provider}"
    return Result(what, "µs", [product], [floor], Target(5, at_least=False))


def _sent(table: Table) -> list[Result]:
    """The median of the table's examples from bytes to event: alone in a body, and in the envelope of a forwarder.
    Floor: parsing the body, and the text in it."""
    events = [raw for raw, _ in _records(table)]
    wrap = WRAPPED[FORWARDER]
    results = []
    for how, bodies_of in (
        ("from its bytes", lambda raw: (raw, (raw,))),
        (f"from an envelope ({FORWARDER})", lambda raw: ((body := wrap(raw.decode())[0].encode()), (body, raw))),
    ):
        pairs = []
        for raw in events:
            body, parsed = bodies_of(raw)
            floor = _microseconds(lambda parsed=parsed: [orjson.loads(one) for one in parsed], EXAMPLE_CALLS)  # type: ignore[misc]
            product = _microseconds(lambda body=body: _events(table, body), EXAMPLE_CALLS)  # type: ignore[misc]
            pairs.append((product / floor, product, floor))
        _, product, floor = sorted(pairs)[len(pairs) // 2]
        what = f"the median of {len(pairs)} examples of {table.provider}, {how}"
        results.append(Result(what, "µs", [product], [floor], Target(5, at_least=False)))
    return results


def _events(table: Table, body: bytes, media: str = JSON) -> None:
    """All that a table does with a body."""
    for record in table.records(body, media, EVENT_LIMIT):
        if isinstance(record, Record):
            table.read_record(record, RECEIVED_AT)


def _made(text: str) -> Table:
    return read_table(Document(Path("bench.yaml"), text), load_catalogue([mappings_path()]))


def _of_rows(count: int, row: str) -> Table:
    """A table of so many rows, each under a name made of its number."""
    rows = "".join(f"  {row.format(number)}: {{type: LOGIN, details: {{row: {number}}}}}\n" for number in range(count))
    return _made(f"{_HEAD}types:\n{rows}")


_HEAD = """\
provider: bench
title: Bench
type: kind
identity: {strong: id}
fields:
  id: id
  time: {path: at, as: rfc3339}
  authDetails.userId: user.id
  authDetails.ipAddress: {path: ip, as: ip}
  details.user_agent: agent
"""
_FEW, _MANY = 15, 1_200


def _event(kind: str) -> dict[str, Any]:
    return {
        "id": "e-4711",
        "at": "2026-05-04T08:00:12.345Z",
        "kind": kind,
        "user": {"id": "u-17"},
        "ip": "203.0.113.9",
        "agent": "curl/8",
    }


def _many_rows() -> Result:
    """Reading an event of the last row of many. Floor: of the last row of few."""
    return _compared(f"an event of a table of {_MANY} rows, floor: of {_FEW} rows", "kind.{}", "kind.{}")


def _many_families() -> Result:
    """The same of a type without a row of its own, among families of beginnings."""
    what = f"an event of a table of {_MANY} families, floor: of {_FEW} families"
    return _compared(what, "kind.{}.*", "kind.{}.changed")


def _compared(what: str, row: str, kind: str) -> Result:
    few, many = _of_rows(_FEW, row), _of_rows(_MANY, row)
    one, other = _event(kind.format(_FEW - 1)), _event(kind.format(_MANY - 1))
    floors, products = [], []
    for _ in range(PAIRS):
        floors.append(_microseconds(lambda: few.read(one, RECEIVED_AT), CALLS))
        products.append(_microseconds(lambda: many.read(other, RECEIVED_AT), CALLS))
    return Result(what, "µs", products, floors, Target(1.2, at_least=False))


def _lines() -> list[Result]:
    """A line of a log, from bytes to event. Floor: parsing the same event as JSON."""
    event = {"at": "2026-05-04T08:00:12.345Z", "kind": "login", "result": "ok", "user": "anna", "ip": "203.0.113.9"}
    head = (
        f"{_HEAD.replace('{strong: id}', 'none')}types: {{login: {{type: LOGIN}}}}\nbody: [{{media: text/plain, lines: "
    )
    pattern = "{pattern: '^(?P<at>\\S+) (?P<kind>\\S+) (?P<result>\\S+) for (?P<user>\\S+) from (?P<ip>\\S+)$'}"
    logfmt = " ".join(f"{key}={value}" for key, value in event.items())
    written = "{at} {kind} {result} for {user} from {ip}".format(**event)
    results = []
    for form, lines, line in (("logfmt", "logfmt", logfmt), ("a pattern of five groups", pattern, written)):
        table, text, raw = _made(f"{head}{lines}}}]\n"), line.encode(), orjson.dumps(event)
        floors, products = [], []
        for _ in range(PAIRS):
            floors.append(_microseconds(lambda raw=raw: orjson.loads(raw), CALLS))  # type: ignore[misc]
            products.append(
                _microseconds(lambda table=table, text=text: _events(table, text, TEXT), CALLS)  # type: ignore[misc]
            )
        results.append(Result(f"a line read by {form}, floor: parsing it as JSON", "µs", products, floors))
    return results


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
    """CPU time of one call, which others on the machine do not take: the median of five rounds."""
    rounds = []
    for _ in range(5):
        begin = time.process_time()
        for _ in range(count):
            call()
        rounds.append((time.process_time() - begin) / count)
    return median(rounds) * 1e6
