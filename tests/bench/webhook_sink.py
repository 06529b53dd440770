"""The webhook sink, 64 requests in flight, to nginx on this machine.

Floor: a bare client loop that signs and posts the same bytes to the same receiver.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from adapter.model import uid_text
from tests.bench.delivering import deliver, entries, fill
from tests.bench.processes import Run, Stopwatch, program, run_apart, run_loop
from tests.bench.result import CannotMeasure, Result, Target

EVENTS = 40_000
WINDOW = 64
PAIRS = 3

_KEY = bytes(range(32))
_SECRET = "whsec_" + base64.b64encode(_KEY).decode()

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200; }}
    }}
}}
"""


def measure(folder: Path) -> list[Result]:
    """The row ``webhook``."""
    log = folder / "log.sqlite"
    run_apart(fill, log, EVENTS)
    floors, products = [], []
    with open_nginx(folder) as url:
        for pair in range(PAIRS):
            floors.append(run_apart(post, log, url))
            settings = {
                "name": f"webhook-{pair}",
                "kind": "webhook",
                "url": url,
                "secret": _SECRET,
                "signature": "standard",
                "window": WINDOW,
                "from": "beginning",
            }
            products.append(run_apart(deliver, log, settings, ["127.0.0.0/8"]))
    return [
        Result(
            f"webhook sink, {WINDOW} in flight, to nginx",
            "events/s",
            [run.rate for run in products],
            [run.rate for run in floors],
            Target(0.75, at_least=True),
            [run.cpu_per_100_000 for run in products],
        )
    ]


def post(log: Path, url: str) -> Run:
    """The floor: the log's events, read beforehand, to the receiver."""
    messages = [(uid_text(entry.uid), entry.event) for entry in entries(log) if entry.event is not None]
    return run_loop(_post(messages, url))


async def _post(messages: list[tuple[str, bytes]], url: str) -> Run:
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
        return watch.stop(len(messages))


@contextmanager
def open_nginx(folder: Path) -> Iterator[str]:
    """A receiver that answers 200 to everything; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port))
    command = [program("nginx", "nginx-light"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
        try:
            _wait_until_open(port, folder)
            yield f"http://127.0.0.1:{port}/"
        finally:
            nginx.terminate()


def _wait_until_open(port: int, folder: Path) -> None:
    for _ in range(500):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    said = (folder / "error.log").read_text() if (folder / "error.log").exists() else "nothing"
    raise CannotMeasure(f"nginx did not start; it said: {said}")
