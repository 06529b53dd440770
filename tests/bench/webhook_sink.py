"""The webhook sink, 64 requests in flight, one event a post and in batches of 100, to a receiver in C on this machine.

Floor: a bare client loop that signs and posts the same bytes to the same receiver. How fast the receiver is by itself
is told beside it: wrk, in C as well, posts one of these bodies again and again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

from adapter.model import uid_text
from tests.bench.delivering import deliver, entries, fill
from tests.bench.processes import Run, Stopwatch, program, run_apart, run_loop
from tests.bench.receiver import Receiver, open_receiver
from tests.bench.result import CannotMeasure, Result, Target

#: Events in a post, and how many are posted.
ROWS = {1: 40_000, 100: 400_000}
#: Events a second, in batches, that are enough whatever the floor does.
ENOUGH = 40_000
WINDOW = 64
PAIRS = 3
#: Seconds that wrk posts.
_SECONDS = 2

_KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(_KEY).decode()

#: Where the receiver is.
ALLOW = ["127.0.0.0/8"]

_WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = assert(io.open("{body}", "rb")):read("*a")
"""


def measure(folder: Path) -> list[Result]:
    """The row ``webhook``."""
    with open_receiver(folder) as receiver:
        return [result for size, count in ROWS.items() for result in _measure(folder, receiver, size, count)]


def webhook(name: str, url: str, **more: Any) -> dict[str, Any]:
    """Settings of a webhook sink that begins at the beginning of the log and signs with `SECRET`."""
    return {"name": name, "kind": "webhook", "url": url, "secret": SECRET, "from": "beginning", **more}


def as_toml(sinks: Iterable[Mapping[str, Any]]) -> str:
    """Settings of a service with these sinks, which may send to this machine. What they say are texts, numbers and
    lists, which TOML writes as JSON does."""
    tables = ["\n".join(f"{key} = {json.dumps(value)}" for key, value in sink.items()) for sink in sinks]
    return "\n[[sinks]]\n".join([f"[outgoing]\nallow = {json.dumps(ALLOW)}\n", *tables])


def _measure(folder: Path, receiver: Receiver, size: int, count: int) -> list[Result]:
    log = folder / f"log-{size}.sqlite"
    run_apart(fill, log, count)
    _, body = next(_posts(log, size))
    alone, floors, products = [], [], []
    more: dict[str, Any] = {"window": WINDOW} | ({} if size == 1 else {"batch": {"entries": size}})
    for pair in range(PAIRS):
        alone.append(size * _rate_of(receiver, folder, body))
        floors.append(_checked(receiver, post, log, receiver.url, size))
        settings = webhook(f"webhook-{pair}", receiver.url, **more)
        products.append(_checked(receiver, deliver, log, settings, ALLOW))
    what = f"webhook sink, {WINDOW} in flight" + ("" if size == 1 else f", in batches of {size}")
    rates = [run.rate for run in products]
    return [
        Result(
            what,
            "events/s",
            rates,
            [run.rate for run in floors],
            Target(0.75, at_least=True, enough=None if size == 1 else ENOUGH),
            [run.cpu_per_100_000 for run in products],
        ),
        Result(
            f"{what}: CPU of the process, floor: of the bare loop",
            "µs an event",
            [10 * run.cpu_per_100_000 for run in products],
            [10 * run.cpu_per_100_000 for run in floors],
        ),
        Result(f"{what}: the receiver by itself, floor: what the sink sent it", "events/s", alone, rates),
    ]


def _checked(receiver: Receiver, run: Callable[..., Run], *arguments: Any) -> Run:
    """One run, in a process of its own; the receiver has each event once."""
    receiver.forget()
    done = run_apart(run, *arguments)
    arrived = receiver.arrived()
    if not arrived.events == arrived.distinct == done.count:
        raise CannotMeasure(f"{done.count} events should have come to the receiver, once each: {arrived}")
    return done


def _rate_of(receiver: Receiver, folder: Path, body: bytes) -> float:
    """The requests that wrk makes in a second, each with this body."""
    content, script = folder / "body", folder / "post.lua"
    content.write_bytes(body)
    script.write_text(_WRK.format(body=content))
    command = [program("wrk", "wrk"), "-t1", f"-c{WINDOW}", f"-d{_SECONDS}s", "-s", str(script), receiver.url]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Requests/sec: +([0-9.]+)", said)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise CannotMeasure(f"wrk: the receiver did not take all that was posted: {said}")
    return float(found[1])


def post(log: Path, url: str, size: int) -> Run:
    """The floor: the log's events, read and put together beforehand, to the receiver."""
    return run_loop(_post(list(_posts(log, size)), size, url))


def _posts(log: Path, size: int) -> Iterator[tuple[str, bytes]]:
    """Message id and body of each post."""
    events = ((uid_text(entry.uid), entry.event) for entry in entries(log) if entry.event is not None)
    while part := list(islice(events, size)):
        body = part[0][1] if size == 1 else b"[%b]" % b",".join([event for _, event in part])
        yield part[0][0], body


async def _post(messages: Sequence[tuple[str, bytes]], size: int, url: str) -> Run:
    connector = aiohttp.TCPConnector(limit=WINDOW)
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as session:
        rest = iter(messages)

        async def work() -> None:
            for id, body in rest:
                moment = str(int(time.time()))
                digest = hmac.digest(_KEY, f"{id}.{moment}.".encode() + body, hashlib.sha256)
                headers = {
                    "webhook-id": id,
                    "webhook-timestamp": moment,
                    "webhook-signature": "v1," + base64.b64encode(digest).decode(),
                }
                async with session.post(url, data=body, headers=headers) as answer:
                    assert answer.status == 200
                    await answer.read()

        watch = Stopwatch()
        async with asyncio.TaskGroup() as group:
            for _ in range(WINDOW):
                group.create_task(work())
        return watch.stop(len(messages) * size)
