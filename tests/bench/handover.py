"""What senders notice of a reload and of a take-over: the longest time that a post takes while one goes on, with a
million entries in the log.

There is no floor: what is told is the time itself. Each post has a connection of its own, as those of most senders.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.events import logins, write_bodies
from tests.bench.load import post_bodies
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target

ENTRIES, SIZE = 1_000_000, 100
TIMES = 3
SENDERS = 4
#: Seconds of posts before each one, and after it.
QUIET = 3.0
_PATIENCE = 60.0


def measure(folder: Path) -> list[Result]:
    """The rows ``handover``."""
    bodies = folder / "bodies.ndjson"
    write_bodies(bodies, ENTRIES, SIZE, seed=1)
    with ExitStack() as stack:
        product = stack.enter_context(open_product(folder / "product"))
        post_bodies(product.ingest_url, product.token, bodies, connections=8)
        product.wait_searchable()
        reloads = [_longest(product, lambda: os.kill(product.process, signal.SIGHUP)) for _ in range(TIMES)]
        takeovers = [_longest(product, lambda: stack.enter_context(_successor(product))) for _ in range(TIMES)]
    what = f"longest time that a post takes, {ENTRIES:,} entries, {SENDERS} senders, during"
    return [
        Result(f"{what} {name}", "s", times, target=Target(2, at_least=False))
        for name, times in (("a reload", reloads), ("a take-over", takeovers))
    ]


def _longest(product: Product, change: Callable[[], object]) -> float:
    """Seconds that the slowest post took while the service changed.

    Raises:
        CannotMeasure: a post was not taken, or nothing changed.
    """
    said = product.folder.parent / "serve.log"
    before = said.read_bytes().count(b"listening")
    taken: list[float] = []
    refused: list[str] = []
    ended = threading.Event()
    senders = [
        threading.Thread(target=_send, args=(product, seed, ended, taken, refused), daemon=True)
        for seed in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    try:
        time.sleep(QUIET)
        change()
        until = time.monotonic() + _PATIENCE
        while said.read_bytes().count(b"listening") == before:
            if time.monotonic() > until:
                raise CannotMeasure(f"no other service was there after {_PATIENCE:g} s")
            time.sleep(0.05)
        time.sleep(QUIET)
    finally:
        ended.set()
        for sender in senders:
            sender.join(_PATIENCE)
    if refused:
        raise CannotMeasure(f"{len(refused)} of {len(refused) + len(taken)} posts failed: {refused[0]}")
    return max(taken)


def _send(product: Product, seed: int, ended: threading.Event, taken: list[float], refused: list[str]) -> None:
    """Post login after login until the end."""
    split = urlsplit(product.ingest_url)
    assert split.hostname is not None
    headers = {"Authorization": f"Bearer {product.token}", "Content-Type": "application/json"}
    for body in logins(1_000_000, seed=int(time.time()) * SENDERS + seed):
        if ended.is_set():
            return
        begin = time.monotonic()
        connection = http.client.HTTPConnection(split.hostname, split.port, timeout=_PATIENCE)
        try:
            connection.request("POST", split.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 202:
                refused.append(f"status {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            refused.append(repr(error))
        finally:
            connection.close()
        taken.append(time.monotonic() - begin)


@contextmanager
def _successor(product: Product) -> Iterator[None]:
    """A service that takes the place of the one that runs."""
    config, port = product.folder.parent / "adapter.toml", urlsplit(product.url).port
    command = [sys.executable, "-m", "adapter", "serve", "--take-over", "--config", str(config)]
    with (product.folder.parent / "serve.log").open("ab") as out:
        process = subprocess.Popen(
            [*command, "--data", str(product.folder), "--port", str(port)], stdout=out, stderr=out, cwd=config.parent
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(_PATIENCE)
