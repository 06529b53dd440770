"""A webhook sink that is made in a running service and begins at the beginning of a long log: the time from its making
to its first request, and what all processes hold in memory while it goes on, and while the search is filled from the
same log. No floor: what is told is the figure itself.

``BEHIND_HOME`` names a folder where the log is kept from run to run: to make one of ten million entries takes most of
the time. ``GROWTH_ENTRIES`` says how many it has.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import growth
from tests.bench.memory import watched
from tests.bench.product import Product, open_product
from tests.bench.receiver import Receiver, open_receiver
from tests.bench.result import CannotMeasure, Result, Target
from tests.bench.webhook_sink import as_toml, webhook

ENTRIES = growth.ENTRIES
TIMES = 5
#: Seconds that the last one sends.
SECONDS = 20


def measure(folder: Path) -> list[Result]:
    """The rows ``behind``."""
    home = Path(os.environ.get("BEHIND_HOME", folder / "long"))
    if not (home / "data").exists():
        growth.make(home, ENTRIES)
    with open_receiver(folder) as receiver, open_product(home, as_toml([])) as product:
        head = product.metrics()["idp_adapter_log_position"]
        if head < ENTRIES:
            raise CannotMeasure(f"{home}: its log has {head:,.0f} entries; {ENTRIES:,} are wanted")
        seconds = [_seconds_to_first(product, receiver, f"behind-{turn}") for turn in range(TIMES)]
        receiver.forget()
        with watched(product) as peak:
            _ask(product, "POST", "/sinks", webhook("behind", receiver.url))
            time.sleep(SECONDS)
        sent = receiver.arrived().events / SECONDS
        _ask(product, "DELETE", "/sinks/behind?force=1")
    what = f"a webhook sink that is {ENTRIES:,} entries behind"
    return [
        Result(
            f"{what}: from its making to its first request",
            "ms",
            [one * 1000 for one in seconds],
            target=Target(100, at_least=False),
        ),
        Result(
            f"{what}: resident memory while it sends (RSS, all processes)",
            "MB",
            [peak["rss"]],
        ),
        Result(
            "the same, what processes share counted once (PSS)",
            "MB",
            [peak["pss"]],
            target=Target(200, at_least=False),
        ),
        Result("the events a second of that run", "events/s", [sent]),
    ]


def _seconds_to_first(product: Product, receiver: Receiver, name: str) -> float:
    """Seconds until a new sink sends its first request."""
    receiver.forget()
    began = time.monotonic()
    _ask(product, "POST", "/sinks", webhook(name, receiver.url))
    arrived = receiver.wait(lambda now: now.requests > 0)
    _ask(product, "DELETE", f"/sinks/{name}?force=1")
    return arrived.first - began


def _ask(product: Product, method: str, path: str, body: object = None) -> None:
    """What the administrator asks of the service."""
    split = urlsplit(product.url)
    assert split.hostname is not None
    connection = http.client.HTTPConnection(split.hostname, split.port, timeout=60)
    headers = {"Authorization": f"Bearer {product.admin_token}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status >= 300:
        raise CannotMeasure(f"{method} {path}: the service answered {answer.status}: {said[:300]!r}")
