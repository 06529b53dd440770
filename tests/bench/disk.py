"""Disk: all that the data folder holds for each login, after a stop. Floor: the bytes that were posted."""

from __future__ import annotations

from pathlib import Path

from tests.bench.events import write_bodies
from tests.bench.load import post_bodies
from tests.bench.product import open_product
from tests.bench.result import Result, Target

EVENTS = 100_000
SIZE = 100
CONNECTIONS = 8


def measure(folder: Path) -> list[Result]:
    """The row ``disk``, and the files it is made of."""
    file = folder / "bodies.ndjson"
    write_bodies(file, EVENTS, SIZE)
    with open_product(folder / "product") as product:
        post_bodies(product.ingest_url, product.token, file, connections=CONNECTIONS)
        product.wait_searchable()
        data = product.folder
    # The brackets and commas of the lists are not of the events.
    raw = (file.stat().st_size - EVENTS // SIZE * (len(b"[]\n") + SIZE - 1)) / EVENTS
    sizes = {one.name: one.stat().st_size / EVENTS for one in sorted(data.iterdir())}
    whole = Result(
        "disk for a Keycloak LOGIN, everything included",
        "bytes",
        [sum(sizes.values())],
        [raw],
        Target(2.5, at_least=False),
    )
    return [whole, *(Result(f"of it {name}", "bytes", [size], [raw]) for name, size in sizes.items() if size >= 1)]
