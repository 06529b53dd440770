"""Memory: the most that all processes of the service hold while a million events go in, with a sink as far behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.events import write_bodies
from tests.bench.load import post_bodies
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target

EVENTS = 1_000_000
SIZE = 100
CONNECTIONS = 8
#: Seconds between two looks.
_INTERVAL = 0.1
_MB = 1e6

_SINK = """
[[sinks]]
name = "down"
kind = "webhook"
url = "http://127.0.0.1:{port}/"
secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
from = "beginning"

[outgoing]
allow = ["127.0.0.0/8"]
"""


def measure(folder: Path) -> list[Result]:
    """The row ``memory``."""
    file = folder / "bodies.ndjson"
    write_bodies(file, EVENTS, SIZE)
    with closed_port() as port, open_product(folder / "product", _SINK.format(port=port)) as product:
        with watched(product) as peak:
            load = post_bodies(product.ingest_url, product.token, file, connections=CONNECTIONS)
            product.wait_searchable()
        behind = product.metrics()["idp_adapter_sink_lag"]
    if behind < EVENTS:
        raise CannotMeasure(f"the sink should be {EVENTS} entries behind, but is only {behind:.0f}")
    what = f"memory while {EVENTS:,} events go in and a webhook stands as far behind"
    return [
        Result(f"{what}, resident (RSS, all processes)", "MB", [peak["rss"]], target=Target(200, at_least=False)),
        Result("the same, what processes share counted once (PSS)", "MB", [peak["pss"]]),
        Result("the events a second of that run", "events/s", [EVENTS / load.seconds]),
    ]


@contextmanager
def watched(product: Product) -> Iterator[dict[str, float]]:
    """The most that the product held while the context lasted, in MB."""
    peak = {"rss": 0.0, "pss": 0.0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_INTERVAL):
            now = product.memory()
            peak["rss"] = max(peak["rss"], now.rss / _MB)
            peak["pss"] = max(peak["pss"], now.pss / _MB)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, kept from others."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
