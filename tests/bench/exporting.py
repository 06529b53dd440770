"""An export of a million events over HTTP, into a file.

Floor: reading the same rows from the same database and writing the same bytes, one sync at the end: no service, no
search, no HTTP. The forms that are made of each event are told without a floor.
"""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.file_sink import copy
from tests.bench.growth import fill
from tests.bench.processes import Stopwatch, run_apart
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target

ENTRIES = int(os.environ.get("EXPORT_ENTRIES", "1000000"))
PAIRS = 3
_PIECE = 1024 * 1024


def measure(folder: Path) -> list[Result]:
    """The rows ``export``."""
    home = folder / "log"
    with open_product(home) as product:
        log = product.folder / "log.sqlite"
    run_apart(fill, log, ENTRIES)
    with open_product(home) as product:
        product.wait_searchable(ENTRIES / 2_000)
        floors: list[float] = []
        rates: dict[str, list[float]] = {"order=log": [], "order=time": []}
        for pair in range(PAIRS):
            floor, file = folder / f"floor-{pair}.ndjson", folder / f"export-{pair}.ndjson"
            floors.append(run_apart(copy, log, floor).rate)
            for order, found in rates.items():
                found.append(_exported(product, order, file))
                if floor.stat().st_size != file.stat().st_size:
                    raise CannotMeasure(f"{file} should be as large as {floor}, but is not: something was left out")
                file.unlink()
            floor.unlink()
        others = {
            form: [_exported(product, f"order=log&format={form}", folder / f"export.{form}") for _ in range(PAIRS)]
            for form in ("csv", "parquet")
        }
    target = Target(0.5, at_least=True)
    what = f"export of {ENTRIES:,} events"
    return [
        *(Result(f"{what}, {order}", "events/s", found, floors, target) for order, found in rates.items()),
        *(Result(f"{what} as {form}", "events/s", found) for form, found in others.items()),
    ]


def _exported(product: Product, query: str, file: Path) -> float:
    """Events a second of one export, to the sync of its file."""
    split = urlsplit(product.url)
    assert split.hostname is not None
    watch = Stopwatch()
    connection = http.client.HTTPConnection(split.hostname, split.port, timeout=600)
    try:
        headers = {"Authorization": f"Bearer {product.admin_token}"}
        connection.request("GET", f"/events/export?{query}", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise CannotMeasure(f"{query}: the service answered {answer.status}: {answer.read(500)!r}")
        with file.open("wb") as out:
            while piece := answer.read(_PIECE):
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
    finally:
        connection.close()
    return watch.stop(ENTRIES).rate
