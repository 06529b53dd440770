"""How it goes with a sink, over HTTP: its tries over a time and by hour, how fast it is, and what waits the longest."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.attempts import SINK, known_sink
from adapter.api.feed import read_moment, refused
from adapter.api.operation import Answer, Operation, Parameter, caller, json_answer
from adapter.api.slots import Slots
from adapter.delivery.loop import Delivery, reader_name
from adapter.delivery.stats import EVERY, HOUR, Sample, Speed, Speeds, Sums, by_hour, quantiles
from adapter.errors import ConfigError
from adapter.log.protocol import Store
from adapter.ownership import Ownership
from adapter.settings import Permission
from adapter.sink_management.live import LiveSinks
from adapter.sinks.settings import Attempts
from adapter.tasks import in_background
from adapter.timestamps import SCHEMA

#: Attempts that one answer is made of, the latest; and those that are read at a time.
MOST, STEP = 50_000, 1_000
#: Milliseconds that are asked for where nothing is said, and the most.
DAY, LONGEST = 24 * HOUR, 31 * 24 * HOUR
#: Entries in which the next event that the sink is to get is looked for.
_LOOK = 500
#: Answers of one caller that are made at the same time.
_EACH = 2
_SHARES = (0.5, 0.95, 0.99)


class Spread(BaseModel):
    """How long something took, milliseconds: so many of a hundred took no longer."""

    count: int = Field(description="How many are known")
    p50: int | None
    p95: int | None
    p99: int | None


class TriesShown(BaseModel):
    """The tries of a time."""

    attempts: int = Field(description="Requests")
    events: int = Field(description="Events in them; one that was tried twice counts twice")
    outcomes: dict[str, int]
    statuses: dict[str, int] = Field(description="By status; `none`: no answer came")
    total: Spread
    resolve: Spread = Field(description="To look up the name")
    connect: Spread = Field(description="To connect, TLS included")
    firstByte: Spread


class HourShown(TriesShown):
    """The tries of one hour."""

    at: int = Field(description="When it began, epoch milliseconds")


class SinkStats(BaseModel):
    """How it goes with a sink."""

    name: str
    from_: int = Field(serialization_alias="from", description="Epoch milliseconds, like all times here")
    to: int
    remembered: Attempts = Field(
        description="Which tries the sink remembers, and so which count here: `failures`, `all`, `none`"
    )
    since: int | None = Field(
        description="The earliest try that counts here; earlier ones are not remembered, or were too many. Null: none"
    )
    isWhole: bool = Field(description=f"false: there were more than {MOST:,} tries, of which the latest count")
    tries: TriesShown
    hours: list[HourShown] = Field(description="Those in which there were tries")
    oldestWaitingAt: int | None = Field(
        description="Arrival of the oldest event that is held, or that it has not come to; null: none is known"
    )
    lag: int = Field(description="Entries between its place and the end of the log")
    eventsPerSecond: float | None = Field(
        description="Delivered in the last minutes; null: another service delivers, or it has just begun"
    )
    measuredFor: float | None = Field(description="Seconds over which that was measured")
    caughtUpIn: float | None = Field(
        description="Seconds until it has come to the end of the log, at this speed; null: not known, or never"
    )


class StatsPages:
    """Shows how it goes with sinks. Made by `open_stats`."""

    def __init__(
        self, log: Store, live: LiveSinks, deliveries: Mapping[str, Ownership[Delivery]], now: Callable[[], int]
    ) -> None:
        self._log = log
        self._live = live
        self._deliveries = deliveries
        self._now = now
        self._speeds = Speeds()
        self._slots = Slots("answers", each=_EACH)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/sinks/{name}/stats", self.show, "How it goes with a sink: tries by hour, durations, speed",
                {200: Answer("What is known.", model=SinkStats)}, Permission.SINKS,
                [
                    SINK,
                    Parameter("from", "Tries that began at or after this timestamp; default: a day ago", SCHEMA),
                    Parameter("to", "Tries that began before this timestamp; default: now", SCHEMA),
                ],
            )
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        name = known_sink(request, self._live.names())
        now = self._now()
        given = {name: read_moment(request, name, now) for name in ("from", "to")}
        to = now + 1 if given["to"] is None else given["to"]
        begin = max(0, to - DAY) if given["from"] is None else given["from"]
        if not 0 < to - begin <= LONGEST:
            raise refused("from", str(begin), "before `to`, by 31 days at most")
        with self._slots.taken(caller(request)):
            whole, hours, since, is_whole = await self._tries(reader_name(name), begin, to)
            oldest, lag = await self._waiting(name)
        speed = self._speed(name)
        answer = SinkStats(
            name=name,
            from_=begin,
            to=to,
            remembered=next((one.attempts for one in self._live.settings() if one.name == name), "none"),
            since=since,
            isWhole=is_whole,
            tries=TriesShown(**_shown(whole)),
            hours=[HourShown(at=at, **_shown(hours[at])) for at in sorted(hours)],
            oldestWaitingAt=oldest,
            lag=lag,
            eventsPerSecond=_rounded(speed),
            measuredFor=None if speed is None else round(speed.seconds, 1),
            caughtUpIn=None if speed is None or speed.until_caught_up is None else round(speed.until_caught_up, 1),
        )
        return json_answer(answer.model_dump_json(by_alias=True).encode())

    def events_per_second(self, name: str) -> float | None:
        """What a sink delivered in the last minutes; ``None``: another service delivers, or it has just begun."""
        return _rounded(self._speed(name))

    async def watch(self) -> None:
        """Take samples of how far the sinks are, for ever."""
        while True:
            shots = {name: shot for name in list(self._deliveries) if (shot := self._shot(name)) is not None}
            self._speeds.take(shots)
            await asyncio.sleep(EVERY)

    async def _tries(self, reader: str, begin: int, to: int) -> tuple[Sums, dict[int, Sums], int | None, bool]:
        """The latest tries of a time: all of them, those of each hour, when the earliest began, and whether there are
        no more."""
        whole, hours, before, read = Sums(), dict[int, Sums](), None, 0
        while True:
            page = await self._log.attempts(reader, began_from=begin, began_to=to, before=before, limit=STEP)
            by_hour(page, whole, hours)
            read += len(page)
            if page:
                before = page[-1].began_at, page[-1].position
            if len(page) < STEP or read >= MOST:
                return whole, hours, None if before is None else before[0], len(page) < STEP
            await asyncio.sleep(0)

    async def _waiting(self, name: str) -> tuple[int | None, int]:
        """Arrival of the oldest event that waits, and the lag."""
        progress = await self._log.progress(reader_name(name))
        if progress is None:
            return None, 0
        found = []
        if progress.waiting is not None:
            found += await self._log.read(progress.waiting - 1, limit=1)
        owned = self._deliveries.get(name)
        delivery = None if owned is None else owned.present
        # Where it is delivered from here, a moment ago is not settled yet.
        cursor = progress.cursor if delivery is None else delivery.snapshot().cursor
        try:
            selection = (
                delivery.selection
                if delivery is not None
                else next((self._live.selection(one) for one in self._live.settings() if one.name == name), None)
            )
        except ConfigError:
            selection = None
        if selection is not None:
            found += selection.select(await self._log.read(cursor, limit=_LOOK))[:1]
        return min((one.received_at for one in found), default=None), max(0, self._log.head - cursor)

    def _speed(self, name: str) -> Speed | None:
        shot = self._shot(name)
        return None if shot is None else self._speeds.of(name, shot)

    def _shot(self, name: str) -> Sample | None:
        owned = self._deliveries.get(name)
        delivery = None if owned is None else owned.present
        if delivery is None:
            return None
        shot = delivery.snapshot()
        return Sample(time.monotonic(), shot.epoch, shot.counts.delivered, max(0, shot.lag))


@asynccontextmanager
async def open_stats(
    log: Store, live: LiveSinks, deliveries: Mapping[str, Ownership[Delivery]], now: Callable[[], int]
) -> AsyncIterator[StatsPages]:
    """The answers, which know how fast sinks go while the context lasts. ``now`` gives epoch milliseconds."""
    pages = StatsPages(log, live, deliveries, now)
    async with in_background(pages.watch(), "sink speeds"):
        yield pages


def _rounded(speed: Speed | None) -> float | None:
    return None if speed is None else round(speed.delivered, 3)


def _shown(sums: Sums) -> dict[str, object]:
    statuses: Counter[str] = Counter()
    for status, count in sums.statuses.items():
        statuses["none" if status is None else str(status)] += count
    return {
        "attempts": sums.attempts,
        "events": sums.events,
        "outcomes": dict(sorted(sums.outcomes.items())),
        "statuses": dict(sorted(statuses.items())),
        "total": _spread(sums.total),
        "resolve": _spread(sums.resolve),
        "connect": _spread(sums.connect),
        "firstByte": _spread(sums.first_byte),
    }


def _spread(values: Sequence[int]) -> Spread:
    if not values:
        return Spread(count=0, p50=None, p95=None, p99=None)
    p50, p95, p99 = quantiles(values, _SHARES)
    return Spread(count=len(values), p50=p50, p95=p95, p99=p99)
