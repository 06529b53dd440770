"""What tests of deliveries share: entries for the log, a sink that answers as told, and the law of the counters."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from adapter.delivery.loop import Delivery, open_delivery, reader_name
from adapter.delivery.select import Selection
from adapter.delivery.tail import Tail
from adapter.filter import Filter
from adapter.log.protocol import NewEntry, Store
from adapter.mapping.catalogue import Catalogue, CatalogueFile
from adapter.model import Entry, identity_key, uid_text
from adapter.sinks.protocol import DELIVERED, Answer, Batch, Promise
from adapter.sinks.settings import SinkSettings

CATALOGUE = Catalogue(CatalogueFile())

#: Received at, of the entry at position 0, epoch milliseconds; a second more for each position.
FIRST_AT = 1_700_000_000_000

Reply = Callable[[Entry], Answer | Awaitable[Answer]]


def new_entry(number: int, type: str | None = "access.LOGIN", **event: Any) -> NewEntry:
    """The ``number``-th event of a test; quarantined without a type."""
    strong = uuid.uuid5(uuid.NAMESPACE_OID, str(number)).bytes
    uid = identity_key(0, strong)  # logs check in the background that it follows from the key
    body = {
        "uid": uid_text(uid),
        "time": FIRST_AT + number,
        "type": type,
        "authDetails": {"userId": f"u-{number}"},
        "details": {},
        "outcome": "success",
        "source": {"name": "kc", "provider": "keycloak", "nativeType": "LOGIN", "receivedAt": 0, "mapping": "k@1"},
        **event,
    }
    return NewEntry(
        source="kc",
        received_at=FIRST_AT + number * 1000,
        raw=b"{}",
        media="application/json",
        uid=uid,
        strong=strong,
        weak=None,
        seconds=0,
        native_type="LOGIN",
        type=type,
        event=None if type is None else orjson.dumps(body),
        problem="no row fits" if type is None else None,
    )


def numbers(first: int, last: int) -> list[int]:
    """The whole numbers from the first to the last, which is one of them."""
    return list(range(first, last + 1))


async def append(log: Store, count: int, first: int = 1) -> None:
    await log.append([new_entry(number) for number in range(first, first + count)])


class Told:
    """A sink that answers each entry as ``reply`` says, and remembers what it was sent."""

    promise = Promise.ACKNOWLEDGED

    def __init__(self, reply: Reply = lambda _: DELIVERED, *, window: int = 4, batch: int | Batch = 1) -> None:
        self.reply = reply
        self.window = window
        self.batch = Batch(batch) if isinstance(batch, int) else batch
        self.sends: list[list[int]] = []
        self.ids: dict[int, set[bytes]] = {}
        self.delivered: list[int] = []

    @property
    def sent(self) -> list[int]:
        return [position for positions in self.sends for position in positions]

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        self.sends.append([entry.position for entry in entries])
        answers = []
        for entry in entries:
            self.ids.setdefault(entry.position, set()).add(entry.uid)
            answer = self.reply(entry)
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer == DELIVERED:
                self.delivered.append(entry.position)
            answers.append(answer)
        await asyncio.sleep(0)
        return answers


@asynccontextmanager
async def delivering(
    log: Store,
    sink: Told,
    *,
    name: str = "soc",
    filter: dict[str, object] | None = None,
    retry: Sequence[float] = (0.001, 0.001),
    revisions: bool = False,
    begin: object = "beginning",
    patience: float = 1.0,
    probe: float = 0.01,
    clock: Callable[[], float] = time.time,
    token: int = 0,
    tail: Tail | None = None,
    **others: Any,
) -> AsyncIterator[Delivery]:
    """``tail``: with whom it reads, ``None``: with nobody else; ``others``: further settings of the sink."""
    settings = SinkSettings.model_validate({"name": name, "kind": "told", "from": begin, "retry": retry, **others})
    selection = Selection(Filter.from_settings(filter or {}, CATALOGUE), revisions=revisions)
    opened = open_delivery(
        settings,
        sink,
        log,
        selection,
        token=token,
        tail=tail or Tail(log),
        patience=lambda: patience,
        probe=probe,
        clock=clock,
    )
    async with opened as delivery:
        yield delivery
    check_law(delivery)


def check_law(delivery: Delivery) -> None:
    counts = delivery.snapshot().counts
    parts = (counts.delivered, counts.in_flight, counts.held, counts.dead, counts.skipped)
    assert counts.matched == sum(parts), counts
    assert min(parts) >= 0, counts


async def check_settled_law(log: Store, name: str = "soc") -> None:
    progress = await log.progress(reader_name(name))
    assert progress is not None
    held = progress.held + progress.behind
    assert progress.matched == progress.delivered + held + progress.dead + progress.skipped, progress


async def until(condition: Callable[[], bool], delivery: Delivery | None = None) -> None:
    """Wait for what will be so, and look at the counters meanwhile."""
    async with asyncio.timeout(30):
        while not condition():
            if delivery is not None:
                check_law(delivery)
            await asyncio.sleep(0.001)


async def caught_up(delivery: Delivery) -> None:
    """Wait until the cursor is at the head, and nothing is on its way or waiting for another try."""

    def done() -> bool:
        now = delivery.snapshot()
        return now.lag == 0 and now.counts.in_flight == 0 and now.counts.held == 0

    await until(done, delivery)
