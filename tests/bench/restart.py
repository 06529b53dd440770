"""After kill -9: from the start of the next process to the first request that a receiver gets, and to the first one of
the sink that comes last, in seconds, and in seconds of CPU of all its processes. There is no floor: what is told is the
time itself.

All processes of the service are killed at once while it delivers, and the next one is started in the same moment.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.bench import growth
from tests.bench.events import logins
from tests.bench.product import Product, open_product
from tests.bench.receiver import Receiver, open_receiver
from tests.bench.result import CannotMeasure, Result, Target
from tests.bench.webhook_sink import as_toml, webhook

TIMES = 5
#: Entries of the long log, and of the short one; sinks; events that are held.
LONG, SHORT, SINKS, HELD = 1_000_000, 20_000, 100, 5_000
_PATIENCE = 120.0


class _Restart(NamedTuple):
    """Seconds from a start to the first request, and to the first of the last sink; CPU seconds until then."""

    first: float
    last: float
    cpu: float


def measure(folder: Path) -> list[Result]:
    """The rows ``restart``."""
    with open_receiver(folder) as receiver:
        return [
            *_empty(folder / "empty", receiver),
            *_behind(folder / "long", receiver, LONG, 1),
            *_behind(folder / "sinks", receiver, SHORT, SINKS),
            *_held(folder / "held", receiver),
        ]


def _empty(home: Path, receiver: Receiver) -> list[Result]:
    times = [_restart(home, receiver, 1, posts=True) for _ in range(TIMES)]
    return _results("an empty log, and a login that is posted as soon as it listens", times)


def _behind(home: Path, receiver: Receiver, entries: int, sinks: int) -> list[Result]:
    _fill(home, entries)
    times = [_restart(home, receiver, sinks, ready=lambda _: receiver.arrived().sinks == sinks) for _ in range(TIMES)]
    return _results(f"{sinks} sink{'s' * (sinks > 1)}, {entries:,} entries behind", times)


def _held(home: Path, receiver: Receiver) -> list[Result]:
    _fill(home, HELD)
    receiver.answer(400)
    held = "idp_adapter_sink_held"
    times = [_restart(home, receiver, 1, ready=lambda product: product.metrics()[held] == HELD) for _ in range(TIMES)]
    receiver.answer(200)
    return _results(f"{HELD:,} events that are held, and tried again each second", times)


def _restart(
    home: Path, receiver: Receiver, sinks: int, *, ready: Callable[[Product], bool] | None = None, posts: bool = False
) -> _Restart:
    """Kill a service as soon as it is ``ready``, and start it again. ``posts``: a login is posted then."""
    settings = as_toml(webhook(f"sink-{number}", receiver.url_of(number), retry=[1] * 1000) for number in range(sinks))
    receiver.forget()
    with open_product(home, settings, killed=True) as product:
        until = time.monotonic() + _PATIENCE
        while ready is not None and not ready(product):
            if time.monotonic() > until:
                raise CannotMeasure(f"the service was not ready to be killed after {_PATIENCE:g} s")
            time.sleep(0.05)
    receiver.forget()
    began = time.monotonic()
    with open_product(home, settings, killed=True) as product:
        if posts:
            _post(product)
        arrived = receiver.wait(lambda now: now.sinks == sinks)
        cpu = product.cpu()
    return _Restart(arrived.first - began, arrived.first_of_last - began, cpu)


def _results(what: str, times: Sequence[_Restart]) -> list[Result]:
    target = Target(2, at_least=False)
    firsts = [one.first for one in times]
    results = [Result(f"from a start after kill -9 to the first request, {what}", "s", firsts, target=target)]
    if any(one.first != one.last for one in times):
        results.append(Result("until each sink has sent one", "s", [one.last for one in times], target=target))
    results.append(Result("CPU until then", "s", [one.cpu for one in times]))
    return results


def _fill(home: Path, entries: int) -> None:
    """A data folder with a log and a search of so many entries."""
    growth.make(home, entries)
    with open_product(home) as product:
        product.wait_searchable(entries / 1_000 + _PATIENCE)


def _post(product: Product) -> None:
    """Post a login that nobody posted before."""
    split = urlsplit(product.ingest_url)
    assert split.hostname is not None
    connection = http.client.HTTPConnection(split.hostname, split.port, timeout=_PATIENCE)
    (body,) = logins(1, seed=time.time_ns())
    headers = {"Authorization": f"Bearer {product.token}", "Content-Type": "application/json"}
    connection.request("POST", split.path, body, headers)
    status = connection.getresponse().status
    connection.close()
    if status != 202:
        raise CannotMeasure(f"the service answered {status} to a login")
