"""A thousand webhook sinks, each of which gets one event in 10,000: what an event costs the service, by what it costs
with one of them. Each event is a POST of its own, at a rate that leaves the machine time; a receiver in C gets them.

They ask for types that are rare, or each is a tenant's and asks for its realm. The service is as people run it, and all
its processes count.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import aiohttp
import orjson

from adapter.counts import IngestCounts
from adapter.delivery.loop import open_delivery
from adapter.delivery.select import Selection
from adapter.delivery.standing import open_standings
from adapter.delivery.tail import Tail
from adapter.filter import Filter
from adapter.log.protocol import Settlement, Store
from adapter.log.sqlite.log import open_sqlite_log
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.table import load_tables
from adapter.model import Entry
from adapter.resources import mappings_path
from adapter.sinks.protocol import DELIVERED, Answer, Batch, Promise
from adapter.sinks.settings import SinkSettings
from adapter.sources.intake import Intake, Source
from tests.bench.events import captured_login
from tests.bench.processes import run_apart, run_loop
from tests.bench.product import Product, open_product
from tests.bench.receiver import open_receiver
from tests.bench.result import CannotMeasure, Result, Target

SINKS = 1_000
#: A sink gets one event in so many.
ONE_IN = 10_000
#: Events a second, and for how long.
RATE, SECONDS = 300, 20
PAIRS = 3
#: Seconds before, and while, nothing comes.
REST, IDLE = 3.0, 10.0
#: Posts that are under way at a time.
_CONNECTIONS = 8
_BEGIN = 1_780_000_000_000
#: Keycloak's types that are rare here; each sink asks for one of them.
_RARE = ("UPDATE_PROFILE", "UPDATE_EMAIL", "VERIFY_EMAIL", "REMOVE_TOTP", "UPDATE_TOTP", "DELETE_ACCOUNT",
         "GRANT_CONSENT", "REVOKE_GRANT", "RESET_PASSWORD", "INVITE_ORG")  # fmt: skip


@dataclass(slots=True, frozen=True)
class Case:
    """Which sinks there are, which events, and who gets them."""

    name: str
    #: The filter of a sink, by its number.
    filter: Callable[[int], Mapping[str, Any]]
    #: What the event of a number has in the place of what the login has.
    event: Callable[[int], Mapping[str, Any]]
    #: How many get it, of so many sinks.
    takers: Callable[[int, int], int]


def _type(number: int) -> str | None:
    """One event in ``ONE_IN`` of each type."""
    turn, place = divmod(number, ONE_IN // len(_RARE))
    return None if place else _RARE[turn % len(_RARE)]


def _realm(number: int) -> int:
    """Each realm once in ``ONE_IN``; neighbours are far from each other."""
    return number * 7_919 % ONE_IN


CASES = (
    Case(
        "a rare type each",
        lambda sink: {"type": [f"access.{_RARE[sink % len(_RARE)]}"]},
        lambda number: {} if _type(number) is None else {"type": _type(number)},
        lambda number, sinks: sum(_RARE[sink % len(_RARE)] == _type(number) for sink in range(sinks)),
    ),
    Case(
        "a realm each",
        lambda sink: {"realm": [f"realm-{sink}"], "type": ["access.*"]},
        lambda number: {"realmId": f"realm-{_realm(number)}"},
        lambda number, sinks: _realm(number) < sinks,
    ),
)


@dataclass(slots=True, frozen=True)
class _Run:
    """One service: CPU of an event and of an idle second, milliseconds; of its start, seconds; memory, bytes."""

    event: float
    idle: float
    start: float
    start_cpu: float
    memory: int


def measure(folder: Path) -> list[Result]:
    """The row ``many_sinks``."""
    found: list[Result] = []
    few: list[_Run] = []
    many: list[_Run] = []
    with open_receiver(folder) as receiver:
        for place, case in enumerate(CASES):
            runs: dict[int, list[_Run]] = {1: [], SINKS: []}
            for pair in range(PAIRS):
                for count, done in runs.items():
                    done.append(_run(folder / f"{place}-{count}-{pair}", receiver.url, case, count))
            few, many = runs[1], runs[SINKS]
            what = f"CPU of an event with {SINKS:,} webhook sinks, {case.name}, by that with one"
            found.append(
                Result(what, "ms", [run.event for run in many], [run.event for run in few], Target(1.5, at_least=False))
            )
            rows = run_apart(rows_of, folder / f"{place}.sqlite", place)
            found.append(Result(f"rows that {SINKS:,} sinks write for an event, {case.name}", "rows", [rows]))
    return [
        *found,
        _beside("CPU of a second without events", "ms", [run.idle for run in many], [run.idle for run in few]),
        _beside("start", "s", [run.start for run in many], [run.start for run in few]),
        _beside("CPU of a start", "s", [run.start_cpu for run in many], [run.start_cpu for run in few]),
        _beside("memory", "MB", [run.memory / 1e6 for run in many], [run.memory / 1e6 for run in few]),
    ]


def _beside(what: str, unit: str, many: Sequence[float], few: Sequence[float]) -> Result:
    return Result(f"{what}, {SINKS:,} webhook sinks, by that with one", unit, many, few)


def _run(home: Path, url: str, case: Case, count: int) -> _Run:
    """A service with so many of the sinks."""
    sinks = "".join(
        f'\n[[sinks]]\nname = "s-{sink}"\nkind = "webhook"\nurl = "{url}"\n'
        f"filter = {{ {', '.join(f'{name} = {json.dumps(value)}' for name, value in case.filter(sink).items())} }}\n"
        for sink in range(count)
    )
    begin = time.perf_counter()
    # It serves when all of its sinks are open.
    with open_product(home, '[outgoing]\nallow = ["127.0.0.0/8"]\n' + sinks) as product:
        start, start_cpu = time.perf_counter() - begin, product.cpu()
        time.sleep(REST)
        cpu = product.cpu()
        time.sleep(IDLE)
        idle = (product.cpu() - cpu) / IDLE * 1000
        bodies = _bodies(case)
        run_loop(_post(product, islice(bodies, RATE)))
        cpu = product.cpu()
        run_loop(_post(product, islice(bodies, RATE * SECONDS)))
        event = (product.cpu() - cpu) / (RATE * SECONDS) * 1000
        _check(product, sum(case.takers(number, count) for number in range(RATE * (SECONDS + 1))))
        return _Run(event, idle, start, start_cpu, product.memory().pss)


def _check(product: Product, wanted: int) -> None:
    """
    Raises:
        CannotMeasure: the sinks do not get what is theirs.
    """
    delivered = 0.0
    for _ in range(50):
        if (delivered := product.metrics()["idp_adapter_sink_delivered_total"]) == wanted:
            return
        time.sleep(0.2)
    raise CannotMeasure(f"{delivered:g} events were delivered; {wanted} are right")


def _bodies(case: Case) -> Iterator[bytes]:
    """Logins as Keycloak posts them, with what the case wants of them."""
    login = orjson.loads(captured_login())
    number = 0
    while True:
        own = {"id": str(UUID(int=number + 1)), "time": _BEGIN + number}
        yield orjson.dumps({**login, **own, **case.event(number)})
        number += 1


async def _at_rate(bodies: Iterable[bytes], give: Callable[[bytes], Any]) -> None:
    """Give ``RATE`` of them a second away, some at a time."""
    loop, under_way = asyncio.get_running_loop(), asyncio.Semaphore(_CONNECTIONS)
    begin = loop.time()

    async def one(body: bytes) -> None:
        async with under_way:
            await give(body)

    async with asyncio.TaskGroup() as group:
        for number, body in enumerate(bodies):
            await asyncio.sleep(max(0.0, begin + number / RATE - loop.time()))
            group.create_task(one(body))


async def _post(product: Product, bodies: Iterable[bytes]) -> None:
    headers = {"Authorization": f"Bearer {product.token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def give(body: bytes) -> None:
            async with session.post(product.ingest_url, data=body) as answer:
                if answer.status != 202:
                    raise CannotMeasure(f"{answer.status}: {(await answer.text())[:500]}")

        await _at_rate(bodies, give)


class _Rows:
    """A log that counts which rows its readers have written."""

    def __init__(self, log: Store) -> None:
        self._log = log
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def settle(self, settlement: Settlement) -> None:
        self.rows += 1 + len(settlement.hold) + len(settlement.release) + len(settlement.attempts)
        await self._log.settle(settlement)

    async def advance(self, cursor: int, tokens: Mapping[str, int]) -> None:
        self.rows += len(tokens)
        await self._log.advance(cursor, tokens)


class _Taking:
    """A sink whose receiver takes everything."""

    window, batch, promise = 64, Batch(1), Promise.ACKNOWLEDGED

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        return [DELIVERED] * len(entries)


def rows_of(file: Path, place: int) -> float:
    """Rows that the sinks of a case write for an event."""
    return run_loop(_rows_of(file, CASES[place]))


async def _rows_of(file: Path, case: Case) -> float:
    catalogue = load_catalogue([mappings_path()])
    async with AsyncExitStack() as stack:
        counting = _Rows(await stack.enter_async_context(open_sqlite_log(file, dictionary=b"")))
        log = cast(Store, counting)
        tail, standings = Tail(log), await stack.enter_async_context(open_standings(log))
        for number in range(SINKS):
            settings = SinkSettings.model_validate({"name": f"s-{number}", "kind": "taking"})
            selection = Selection(Filter.from_settings(case.filter(number), catalogue))
            opened = open_delivery(settings, _Taking(), log, selection, tail=tail, standings=standings)
            await stack.enter_async_context(opened)
        source = Source("keycloak", "keycloak", "keycloak", load_tables([mappings_path()]))
        intake = Intake(log, IngestCounts())

        async def give(body: bytes) -> None:
            await intake.take(source, body, "application/json", _BEGIN)

        await _at_rate(islice(_bodies(case), RATE * SECONDS), give)
        return counting.rows / (RATE * SECONDS)
