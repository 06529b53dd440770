"""Receiving beside sinks: bodies of 100 posted while webhook sinks deliver what comes, each event to one of them.

Floor: the same without sinks. What sinks cost is told in CPU of all processes, until the receiver has every event.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.events import BEGIN, STEP, USERS, write_bodies
from tests.bench.load import post_bodies
from tests.bench.product import Product, open_product
from tests.bench.receiver import Receiver, open_receiver
from tests.bench.result import CannotMeasure, Result
from tests.bench.webhook_sink import as_toml, webhook

EVENTS, SIZE, CONNECTIONS = 50_000, 100, 8
#: Events to which the first sinks are opened and the tables compiled.
_BEFORE = 1_000
SINKS = (1, 100)
PAIRS = 3


def measure(folder: Path) -> list[Result]:
    """The rows ``beside``."""
    runs: dict[int, list[tuple[float, float]]] = {count: [] for count in (0, *SINKS)}
    with open_receiver(folder) as receiver:
        for pair in range(PAIRS):
            for count, found in runs.items():
                found.append(_run(folder / f"{count}-{pair}", receiver, count))
    (alone, alone_cpu), *others = (tuple(zip(*found, strict=True)) for found in runs.values())
    results = []
    for count, (rates, cpu) in zip(SINKS, others, strict=True):
        what = f"bodies of {SIZE} while {'a sink delivers' if count == 1 else f'{count} sinks deliver'} them"
        results += [
            Result(f"{what}, floor: without sinks: durable", "events/s", rates, alone),
            Result(f"{what}: CPU of receiving and delivering, floor: of receiving", "µs an event", cpu, alone_cpu),
        ]
    return results


def _run(home: Path, receiver: Receiver, sinks: int) -> tuple[float, float]:
    """Events a second until the last 202, and µs of CPU for each, until all are searchable and delivered."""
    home.mkdir()
    first, bodies = home / "first.ndjson", home / "bodies.ndjson"
    write_bodies(first, _BEFORE, SIZE, seed=1)
    write_bodies(bodies, EVENTS, SIZE, seed=2, begin=BEGIN + _BEFORE * STEP)
    receiver.forget()
    with open_product(home, as_toml([_sink(receiver, number, sinks) for number in range(sinks)])) as product:
        post_bodies(product.ingest_url, product.token, first, connections=CONNECTIONS)
        _finish(product, receiver, _BEFORE if sinks else 0)
        before = product.cpu()
        load = post_bodies(product.ingest_url, product.token, bodies, connections=CONNECTIONS)
        _finish(product, receiver, _BEFORE + EVENTS if sinks else 0)
        cpu = product.cpu() - before
    return EVENTS / load.seconds, cpu / EVENTS * 1e6


def _finish(product: Product, receiver: Receiver, events: int) -> None:
    product.wait_searchable()
    arrived = receiver.wait(lambda now: now.distinct >= events)
    if arrived.events != events:
        raise CannotMeasure(f"{events} events should have been delivered, each to one sink: {arrived}")


def _sink(receiver: Receiver, number: int, sinks: int) -> dict[str, Any]:
    """One of so many sinks, which gets the events of its share of the users."""
    settings = webhook(f"sink-{number}", receiver.url_of(number))
    return settings if sinks == 1 else settings | {"filter.user": [f"n{one:04}" for one in range(number, USERS, sinks)]}
