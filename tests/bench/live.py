"""The live tail: how soon an event reaches all who listen, and what receiving costs while they do.

Floor of the second row: receiving while nobody listens.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, StreamReader

from tests.bench.load import Load, post_singles
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target

LISTENERS = 50
#: Events of the first row; pairs of runs of the second one, and seconds of each.
EVENTS, PAIRS, SECONDS = 200, 3, 5
CONNECTIONS = 64
_SETTINGS = f"[feed]\nkey_live_limit = {LISTENERS}\n"
#: Seconds that nothing takes.
_PATIENCE = 60.0


def measure(folder: Path) -> list[Result]:
    """The rows ``live``."""
    with open_product(folder / "soon", _SETTINGS) as product:
        times = asyncio.run(_reach(product))
    alone, beside = [], []
    for pair in range(PAIRS):
        with open_product(folder / f"alone-{pair}", _SETTINGS) as product:
            alone.append(_received(product, folder, 10 * pair))
        with open_product(folder / f"beside-{pair}", _SETTINGS) as product, _listening(product):
            beside.append(_received(product, folder, 10 * pair + 5))
    times.sort()
    last = times[int(len(times) * 0.99)]
    return [
        Result(f"an event has reached {LISTENERS} live tails, median", "ms", [times[len(times) // 2]]),
        Result(f"the same, 99th percentile of {EVENTS}", "ms", [last], target=Target(150, at_least=False)),
        Result(
            f"single-event POST while {LISTENERS} live tails want all of it", "requests/s", beside, alone,
            Target(0.6, at_least=True),
        ),
    ]  # fmt: skip


def _received(product: Product, folder: Path, seed: int) -> float:
    load: Load = post_singles(
        product.ingest_url, product.token, folder, connections=CONNECTIONS, seconds=SECONDS, seed=seed
    )
    return load.accepted / load.seconds


async def _reach(product: Product) -> list[float]:
    """Milliseconds from the beginning of each post until the last listener has its event."""
    headers = {"Authorization": f"Bearer {product.admin_token}"}
    async with ClientSession(headers=headers, timeout=ClientTimeout(total=None)) as session:
        streams = [await session.get(f"{product.url}/events/live") for _ in range(LISTENERS)]
        for stream in streams:
            await stream.content.readuntil(b"\n\n")
        times = []
        for number in range(EVENTS):
            event = {"id": f"live-{number}", "time": time.time_ns() // 1_000_000, "type": "LOGIN", "realmId": "bench"}
            begin = time.perf_counter()
            async with session.post(product.ingest_url, data=json.dumps(event)) as response:
                if response.status != 202:
                    raise CannotMeasure(f"an event was answered with {response.status}")
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(*(_next_event(stream.content) for stream in streams))
            times.append((time.perf_counter() - begin) * 1000)
        for stream in streams:
            stream.close()
    return times


async def _next_event(content: StreamReader) -> None:
    while b"\ndata: " not in b"\n" + await content.readuntil(b"\n\n"):
        pass


@contextmanager
def _listening(product: Product) -> Iterator[None]:
    """Clients that read as fast as they can."""
    ending = threading.Event()

    async def read() -> None:
        headers = {"Authorization": f"Bearer {product.admin_token}"}
        async with ClientSession(headers=headers, timeout=ClientTimeout(total=None)) as session:
            streams = [await session.get(f"{product.url}/events/live") for _ in range(LISTENERS)]
            begun.set()
            readers = [asyncio.create_task(_drop(stream.content)) for stream in streams]
            await asyncio.to_thread(ending.wait)
            for reader in readers:
                reader.cancel()
            for stream in streams:
                stream.close()

    begun = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(read()), daemon=True)
    thread.start()
    if not begun.wait(_PATIENCE):
        raise CannotMeasure("nobody could listen")
    try:
        yield
    finally:
        ending.set()
        thread.join(_PATIENCE)


async def _drop(content: StreamReader) -> None:
    while await content.read(1 << 20):
        pass
