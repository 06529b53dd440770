"""From a login to a webhook: logins as a Keycloak posts them, 500 a second whatever the answers take, through the
service to a receiver; the time from sending each to its arrival there.

Floor: a relay of a few lines on the same libraries, which posts each body on as it is, and stores nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.bench.events import logins
from tests.bench.processes import run_apart, run_loop
from tests.bench.product import open_product
from tests.bench.result import CannotMeasure, Result, Target

RATE = 500
#: Seconds of load before what is measured, and of what is.
WARM_UP, SECONDS = 2, 20
PAIRS = 3
#: Seconds in which all that was posted arrives.
_PATIENCE = 60.0

_ID = re.compile(rb'"id":"([^"]+)"')


def measure(folder: Path) -> list[Result]:
    """The row ``relay``."""
    floors, products = [], []
    for pair in range(PAIRS):
        with _beside(_receive) as (receiver, arrivals), _beside(_relay, receiver) as (relay, _):
            floors.append(_latency(relay, "none", arrivals, seed=2 * pair))
        with _beside(_receive) as (receiver, arrivals):
            settings = f"""
[outgoing]
allow = ["127.0.0.0/8"]
[[sinks]]
name = "receiver"
kind = "webhook"
url = "{receiver}"
secret = "whsec_c2VjcmV0IG9mIHRoZSBtZWFzdXJlbWVudHMh"
from = "beginning"
"""
            with open_product(folder / f"product-{pair}", settings) as product:
                products.append(_latency(product.ingest_url, product.token, arrivals, seed=2 * pair + 1))
    return [
        Result(
            f"from a login that is posted to its webhook, {RATE} a second, {name}",
            "ms",
            [times[at] * 1000 for times in products],
            [times[at] * 1000 for times in floors],
            target,
        )
        for name, at, target in (("median", 0, None), ("99th percentile", 1, Target(3, at_least=False)))
    ]


def _latency(url: str, token: str, arrivals: Connection, seed: int) -> tuple[float, float]:
    """Median and 99th percentile, in seconds."""
    sent = run_apart(_send, url, token, seed)
    begin = time.monotonic()
    arrived: dict[str, float] = {}
    while not sent.keys() <= arrived.keys():
        if time.monotonic() - begin > _PATIENCE:
            raise CannotMeasure(f"{len(sent.keys() - arrived.keys())} of {len(sent)} events did not arrive")
        arrivals.send(None)
        arrived = arrivals.recv()
        time.sleep(0.05)
    times = sorted(arrived[id] - moment for id, moment in list(sent.items())[RATE * WARM_UP :])
    return times[len(times) // 2], times[len(times) * 99 // 100]


def _send(url: str, token: str, seed: int) -> dict[str, float]:
    return run_loop(_post(url, token, seed))


async def _post(url: str, token: str, seed: int) -> dict[str, float]:
    """Post, each at its time; when each was sent, by its id (CLOCK_MONOTONIC, which all processes share)."""
    sent: dict[str, float] = {}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def post(id: str, body: bytes) -> None:
            sent[id] = time.monotonic()
            async with session.post(url, data=body) as answer:
                if answer.status != 202:
                    raise CannotMeasure(f"{url}: {answer.status}: {await answer.text()}")

        made = [(_id(body), body) for body in logins(RATE * (WARM_UP + SECONDS), seed)]
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, (id, body) in enumerate(made):
                await asyncio.sleep(begin + number / RATE - time.monotonic())
                group.create_task(post(id, body))
    return sent


def _id(body: bytes) -> str:
    found = _ID.search(body)
    assert found is not None
    return found[1].decode()


@contextmanager
def _beside(serve: Callable[..., Coroutine[Any, Any, None]], *arguments: str) -> Iterator[tuple[str, Connection]]:
    """A server in a process of its own: its address, and a connection to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(serve, there, *arguments), daemon=True)
    process.start()
    try:
        yield here.recv(), here
    finally:
        process.terminate()
        process.join()


def _run(serve: Callable[..., Coroutine[Any, Any, None]], connection: Connection, *arguments: str) -> None:
    run_loop(serve(connection, *arguments))


async def _receive(connection: Connection) -> None:
    """A receiver that remembers when each event arrived."""
    arrived: dict[str, float] = {}

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        arrived.setdefault(_id(body), time.monotonic())
        return web.Response()

    await _serve(take, connection)
    while True:
        await asyncio.to_thread(connection.recv)
        connection.send(arrived)


async def _relay(connection: Connection, receiver: str) -> None:
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

        async def forward(body: bytes) -> None:
            async with session.post(receiver, data=body) as answer:
                await answer.read()

        tasks: set[asyncio.Task[None]] = set()

        async def take(request: web.Request) -> web.Response:
            task = asyncio.create_task(forward(await request.read()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return web.Response(status=202)

        await _serve(take, connection)
        await asyncio.Event().wait()


async def _serve(take: Callable[[web.Request], Awaitable[web.StreamResponse]], connection: Connection) -> None:
    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, port = runner.addresses[0]
    connection.send(f"http://127.0.0.1:{port}/")
