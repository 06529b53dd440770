"""Counts: questions for a chart, and completion, over a log that is spread over ninety days.

The log is made as that of `growth`, with types and outcomes as they are mixed where people log in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import orjson

from adapter.log.protocol import NewEntry
from tests.bench.console import seen
from tests.bench.growth import fill, made_entries
from tests.bench.processes import run_apart
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target

ENTRIES = int(os.environ.get("COUNTS_ENTRIES", "10000000"))
DAYS = 90
#: Times that each question is asked.
ASKED = 20
_DAY = 86_400_000
#: One of so many events is of each of these types; all others are logins.
_TYPES = {
    b"LOGIN_ERROR": 10,
    b"LOGOUT": 4,
    b"CODE_TO_TOKEN": 2,
    b"REFRESH_TOKEN": 3,
    b"UPDATE_PASSWORD": 97,
    b"REGISTER": 101,
    b"UPDATE_PROFILE": 103,
    b"SEND_RESET_PASSWORD": 107,
    b"REMOVE_TOTP": 499,
    b"UPDATE_TOTP": 503,
    b"CLIENT_LOGIN": 7,
    b"TOKEN_EXCHANGE": 53,
}


def measure(folder: Path) -> list[Result]:
    """The rows ``counts``."""
    home = ninety_days(folder)
    with open_product(home) as product:
        product.wait_searchable(ENTRIES / 1_000)
        newest = orjson.loads(product.get("/events?limit=1"))["events"][0]
        to = newest["time"]
        month = f"from={to - 30 * _DAY}&to={to}"
        counted = {
            "by type": f"by=type&bucket=hour&{month}",
            "by outcome, failures alone": f"by=outcome&outcome=failure&bucket=hour&{month}",
            "by source, days of Berlin": f"by=source&bucket=day&tz=Europe%2FBerlin&{month}",
            "by realm, days of Kolkata": f"by=realm&bucket=day&tz=Asia%2FKolkata&{month}",
        }
        who = newest["authDetails"]
        completed = {
            "users, no letter": "field=user",
            "users, a letter": f"field=user&prefix={quote(who['username'][:1])}",
            "users, all but a letter": f"field=user&prefix={quote(who['username'][:-1])}",
            "addresses, no digit": "field=ip",
            "addresses, two digits": f"field=ip&prefix={who['ipAddress'][:2]}",
            "clients": "field=client",
            "types": "field=type&prefix=log",
        }
        rows = [(f"/events/counts?{query}", f"30 days counted {name}", 300) for name, query in counted.items()]
        rows += [(f"/events/values?{query}", f"completed: {name}", 20) for name, query in completed.items()]
        asked = [_asked(product, *row) for row in rows]
        # The page for people is made of five such questions, asked at the same time.
        shown = seen(product, f"/ui/?from={to - 30 * _DAY}&to={to}", ASKED)
        name = f"page Overview of 30 days, of {ENTRIES:,} entries"
        return [*asked, Result(name, "ms", shown, target=Target(200, at_least=False))]


def ninety_days(folder: Path) -> Path:
    """The home of a service with `ENTRIES` entries over ninety days: that which ``COUNTS_HOME`` names, if it is there,
    or one that is made."""
    home = Path(os.environ.get("COUNTS_HOME", folder / "log"))
    if not (home / "data").exists():
        with open_product(home) as product:
            log = product.folder / "log.sqlite"
        run_apart(_fill, log, ENTRIES)
    return home


def _asked(product: Product, path: str, name: str, most: float) -> Result:
    times = []
    product.get(path)  # what was not in memory is read
    for _ in range(ASKED):
        begin = time.perf_counter()
        answer = orjson.loads(product.get(path))
        times.append((time.perf_counter() - begin) * 1000)
        if path.startswith("/events/counts") and (answer["partial"] or not answer["total"]):
            raise CannotMeasure(f"{name}: not all was counted")
    return Result(f"{name}, of {ENTRIES:,} entries", "ms", times, target=Target(most, at_least=False))


def _fill(log: Path, entries: int) -> None:
    fill(log, entries, made=_made(entries))


def _made(entries: int) -> Iterator[NewEntry]:
    mixed = cycle([_type(number) for number in range(10_000)])
    for entry, type in zip(made_entries(entries, step=DAYS * _DAY // entries), mixed, strict=False):
        assert entry.event is not None
        event = entry.event.replace(b'"access.LOGIN"', b'"access.%b"' % type)
        if type.endswith(b"_ERROR"):
            event = event.replace(b'"outcome":"success"', b'"outcome":"failure","reason":"bad_credentials"')
        yield entry._replace(event=event, type=f"access.{type.decode()}")


def _type(number: int) -> bytes:
    return next(
        (type for type, each in sorted(_TYPES.items(), key=lambda one: -one[1]) if number % each == 0), b"LOGIN"
    )
