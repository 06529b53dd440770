"""Questions of people to ten million entries over ninety days: the first page of each filter and of twenty together,
while nothing else happens and while events come in at half the speed that the service can take.

The log is that of `counts`. Each question is asked with values of its own: people, addresses and times of events that
lie all over the ninety days.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from tests.bench.counts import DAYS, ENTRIES, ninety_days
from tests.bench.events import BEGIN, STEP, bodies, write_bodies
from tests.bench.load import post_bodies
from tests.bench.processes import Stopwatch
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target

#: Events from all over the ninety days: each question is asked with the values of each of them, twice, so that what has
#: to be read from the disk is told apart from what is in memory.
ASKED = 30
_HOUR, _DAY = 3_600_000, 86_400_000
#: Events of a turn at full speed, in bodies of so many, over so many connections.
EVENTS, SIZE, CONNECTIONS = 100_000, 100, 8
#: Connections of the sender that keeps to half of it.
_SENDERS = 4

Question = Callable[[dict[str, Any]], Mapping[str, object]]


def _who(filter: str, field: str, made: Callable[[str], str] = str) -> Question:
    """A filter by what the event says of who acted."""
    return lambda event: {filter: made(event["authDetails"][field])}


def _said(field: str) -> Question:
    """A filter by a field of the event, of the same name."""
    return lambda event: {field: event[field]}


def _until(before: int) -> Question:
    """So many milliseconds before the event, and itself."""
    return lambda event: {"from": event["time"] - before, "to": event["time"] + 1}


def _always(**values: str) -> Question:
    return lambda event: values


def _all(*questions: Question) -> Question:
    return lambda event: {name: value for one in questions for name, value in one(event).items()}


_USER, _NAME, _CLIENT = _who("user", "userId"), _who("user", "username"), _who("client", "clientId")
_IP = _who("ip", "ipAddress")
_NETWORK = _who("ip", "ipAddress", lambda address: address.rpartition(".")[0] + ".0/24")
_HOUR_OF, _DAY_OF, _MONTH_OF = _until(_HOUR), _until(_DAY), _until(30 * _DAY)
#: Of a user, type and outcome go together in the log that is made, so they are the event's own.
_TYPE, _OUTCOME = _said("type"), _said("outcome")
_FAILED = _always(outcome="failure")

SINGLE: dict[str, Question] = {
    "nothing": _always(),
    "type": _TYPE,
    "type, a glob": _always(type="access.*_ERROR"),
    "outcome": _FAILED,
    "reason": _always(reason="bad_credentials"),
    "reason_class": _always(reason_class="credential"),
    "provider": _always(provider="keycloak"),
    "source": _always(source="keycloak"),
    "realm": lambda event: {"realm": event["realmId"]},
    "user": _USER,
    "user, a name": _NAME,
    "actor": _who("actor", "userId"),
    "target": _who("target", "userId"),
    "client": _CLIENT,
    "ip": _IP,
    "ip, a network": _NETWORK,
    "session": _who("session", "sessionId"),
    "id": lambda event: {"id": event["id"]},
    "method": _always(method="password"),
    "q": _who("q", "username"),
    "q, a beginning": _who("q", "username", lambda name: name[:3] + "*"),
    "from and to, an hour": _HOUR_OF,
    "user of nobody": _always(user="nobody"),
}

TWENTY: dict[str, Question] = {
    "user, outcome": _all(_USER, _OUTCOME),
    "user, type, a day": _all(_USER, _TYPE, _DAY_OF),
    "user, a month": _all(_USER, _MONTH_OF),
    "user, type": _all(_USER, _TYPE),
    "user, client": _all(_USER, _CLIENT),
    "user, ip": _all(_USER, _IP),
    "user, network, outcome": _all(_USER, _NETWORK, _OUTCOME),
    "ip, outcome": _all(_IP, _OUTCOME),
    "ip, a day": _all(_IP, _DAY_OF),
    "ip, client, type": _all(_IP, _CLIENT, _TYPE),
    "network, failures, a day": _all(_NETWORK, _FAILED, _DAY_OF),
    "client, failures": _all(_CLIENT, _FAILED),
    "client, reason, a day": _all(_CLIENT, _always(reason="bad_credentials"), _DAY_OF),
    "client, rare type": _all(_CLIENT, _always(type="UPDATE_TOTP")),
    "rare type, a month": _all(_always(type="REMOVE_TOTP"), _MONTH_OF),
    "realm, failures, an hour": _all(SINGLE["realm"], _FAILED, _HOUR_OF),
    "q, outcome": _all(SINGLE["q"], _OUTCOME),
    "q, client, a month": _all(SINGLE["q"], _CLIENT, _MONTH_OF),
    "session, type": _all(SINGLE["session"], _TYPE),
    "source, type, a day": _all(_always(source="keycloak"), _always(type="UPDATE_PASSWORD"), _DAY_OF),
}

#: What has much to look through and finds little: within 2 s, whole or with a cursor.
HARD: dict[str, Question] = {
    "client, reason that no failure has": _all(_CLIENT, _always(reason="disabled")),
    "two rare types of a network": _all(_NETWORK, _always(type="UPDATE_TOTP")),
    "q of a client, another realm": _all(SINGLE["q"], _always(realm="other")),
    "user, failures, of somebody without": _all(_USER, _FAILED),
    "q, failures, of somebody without": _all(SINGLE["q"], _FAILED),
}


@dataclass(slots=True, frozen=True)
class _Times:
    """Milliseconds of the answers to one question."""

    first: list[float]
    again: list[float]

    @property
    def last(self) -> float:
        """The 99th percentile, of what was in memory."""
        return sorted(self.again)[int(len(self.again) * 0.99)]


def measure(folder: Path) -> list[Result]:
    """The rows ``questions``."""
    home = ninety_days(folder)
    with open_product(home) as product:
        product.wait_searchable(ENTRIES / 1_000)
        events = _events(product)
        alone = {name: _asked(product, one, events) for name, one in (SINGLE | TWENTY).items()}
        hard = {name: _asked(product, one, events) for name, one in HARD.items()}
        top = _top_speed(product, folder)
        beside: dict[str, _Times] = {}
        with _receiving(product, top / 2) as sent:
            for name, one in (SINGLE | TWENTY).items():
                beside[name] = _asked(product, one, events)
        product.wait_searchable()
    what = f"first page, of {ENTRIES:,} entries"
    return [
        *(
            Result(f"{what}: {name}: 99th percentile", "ms", [times.last], target=Target(20, at_least=False))
            for name, times in alone.items()
        ),
        *(
            Result(f"{what}: {name}: not in memory", "ms", times.first, target=Target(2_000, at_least=False))
            for name, times in (alone | hard).items()
        ),
        *(
            Result(f"{what}, while events come in: {name}: 99th percentile", "ms", [beside[name].last], [times.last],
                   Target(2, at_least=False))
            for name, times in alone.items()
        ),
        Result(f"bodies of {SIZE} into {ENTRIES:,} entries, until all are searchable", "events/s", [top]),
        Result("the same at half of that, while all this is asked; floor: what was to be sent", "events/s",
               [sent.rate], [top / 2], Target(0.9, at_least=True)),
    ]  # fmt: skip


def _events(product: Product) -> list[dict[str, Any]]:
    """Events from all over the ninety days, as many as there are turns."""
    newest = orjson.loads(product.get("/events?limit=1"))["events"][0]["time"]
    found = []
    for number in range(ASKED):
        to = newest - number * DAYS * _DAY // (ASKED + 1)
        found.append(orjson.loads(product.get(f"/events?limit=1&to={to}&type=access.*"))["events"][0])
    return found


def _asked(product: Product, question: Question, events: Sequence[dict[str, Any]]) -> _Times:
    split = urlsplit(product.url)
    assert split.hostname is not None
    connection = http.client.HTTPConnection(split.hostname, split.port, timeout=60)
    headers = {"Authorization": f"Bearer {product.admin_token}"}
    times: tuple[list[float], list[float]] = [], []
    for event in events:
        path = f"/events?{urlencode(question(event))}"
        for into in times:
            begin = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            into.append((time.perf_counter() - begin) * 1000)
            if answer.status != 200:
                raise CannotMeasure(f"{path}: the service answered {answer.status}: {body[:300]!r}")
    connection.close()
    return _Times(*times)


def _top_speed(product: Product, folder: Path) -> float:
    file = folder / "bodies.ndjson"
    write_bodies(file, EVENTS, SIZE, seed=2000, begin=BEGIN)
    watch = Stopwatch()
    post_bodies(product.ingest_url, product.token, file, connections=CONNECTIONS)
    # What is answered faster than it becomes searchable, makes every question wait: no service can go on so.
    product.wait_searchable()
    return watch.stop(EVENTS).rate


class _Sent:
    """What the paced sender did."""

    def __init__(self) -> None:
        self.events = 0
        self.seconds = 0.0

    @property
    def rate(self) -> float:
        return self.events / self.seconds


@contextmanager
def _receiving(product: Product, rate: float) -> Iterator[_Sent]:
    """So many events a second are posted for as long as the context lasts."""
    sent, ended, lock = _Sent(), threading.Event(), threading.Lock()
    made = bodies(10_000_000, SIZE, seed=3000, begin=BEGIN + EVENTS * STEP)
    began = time.perf_counter()
    problems: list[str] = []

    def post() -> None:
        split = urlsplit(product.ingest_url)
        assert split.hostname is not None
        connection = http.client.HTTPConnection(split.hostname, split.port, timeout=60)
        headers = {"Authorization": f"Bearer {product.token}", "Content-Type": "application/json"}
        while not ended.is_set():
            with lock:
                body, due = next(made), began + sent.events / rate
                sent.events += SIZE
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.request("POST", split.path, body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 202:
                problems.append(f"the service answered {answer.status} to a body: {said[:300]!r}")
                return

    senders = [threading.Thread(target=post) for _ in range(_SENDERS)]
    for one in senders:
        one.start()
    try:
        yield sent
    finally:
        ended.set()
        for one in senders:
            one.join()
        sent.seconds = time.perf_counter() - began
    if problems:
        raise CannotMeasure(problems[0])
