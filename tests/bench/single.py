"""Single events: each POST is one event, on disk before its 202.

Floor: an endpoint on the same server library that reads and parses the same body and answers 202, storing nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
from aiohttp import web

from tests.bench.load import Load, post_singles
from tests.bench.processes import Run, run_loop
from tests.bench.product import open_product
from tests.bench.result import CannotMeasure, Result, Target

CONNECTIONS = 64
PAIRS = 5
#: Seconds of load before each measurement, and of the measurement.
WARM_UP = 1
SECONDS = 5


def measure(folder: Path) -> list[Result]:
    """The row ``single``."""
    floors, products = [], []
    for pair in range(PAIRS):
        floors.append(_floor(folder, seed=4 * pair).rate)
        products.append(_product(folder, folder / f"product-{pair}", seed=4 * pair + 2))
    return [
        Result(
            f"single-event POST, {CONNECTIONS} connections, durable before 202",
            "requests/s",
            [run.rate for run in products],
            floors,
            Target(0.45, at_least=True),
            [run.cpu_per_100_000 for run in products],
        )
    ]


def _floor(folder: Path, seed: int) -> Run:
    with _open_bare_endpoint() as url:
        _post(url, "none", folder, WARM_UP, seed)
        load = _post(url, "none", folder, SECONDS, seed + 1)
        return Run(load.accepted, load.seconds, 0)


def _product(folder: Path, home: Path, seed: int) -> Run:
    with open_product(home) as product:
        warm = _post(product.ingest_url, product.token, folder, WARM_UP, seed)
        product.wait_searchable()
        cpu = product.cpu()
        load = _post(product.ingest_url, product.token, folder, SECONDS, seed + 1)
        product.wait_searchable()
        cpu = product.cpu() - cpu
        stored = product.metrics()["idp_adapter_events_accepted_total"]
        posted = warm.accepted + load.accepted
        # Those that were on their way when wrk ended are stored, too.
        if not posted <= stored <= posted + 2 * CONNECTIONS:
            raise CannotMeasure(f"{posted} requests were answered with 202, but {stored:.0f} events are stored")
    return Run(load.accepted, load.seconds, cpu)


def _post(url: str, token: str, folder: Path, seconds: int, seed: int) -> Load:
    return post_singles(url, token, folder, connections=CONNECTIONS, seconds=seconds, seed=seed)


@contextmanager
def _open_bare_endpoint() -> Iterator[str]:
    """The floor, in a process of its own; its URL."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve_bare_endpoint, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/ingest/keycloak"
    except EOFError:
        raise CannotMeasure("the floor's endpoint did not start") from None
    finally:
        process.kill()
        process.join()


def _serve_bare_endpoint(started: Connection) -> None:
    run_loop(_serve(started))


async def _serve(started: Connection) -> None:
    app = web.Application()
    app.router.add_post("/ingest/{source}", _take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    started.send(runner.addresses[0][1])
    await asyncio.Event().wait()


async def _take(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(status=202)
