"""The named points at which a process is killed: a call of the program's own, and whether it ends just before that or
just after it. The call is wrapped in the process that is to end (`arm`); the program itself knows nothing of points."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Any

from adapter.delivery.ledger import Flight
from adapter.log.protocol import Attempt, Held, Note, Settlement
from adapter.replay.job import Job
from adapter.sink_management.stored import PREFIX

#: What the service has to be asked for, beside events to deliver, for a point to be reached.
Asked = str


class Dies(StrEnum):
    """What is killed."""

    SERVICE = "service"
    #: Alone: the service starts another one.
    WRITER = "writer"
    #: The service, and its writer before that does anything more.
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that goes by a point."""

    arguments: Sequence[Any]
    named: dict[str, Any]
    #: What it returned; ``None`` before it.
    result: Any

    def first(self, kind: type[Any]) -> Any:
        """The first argument of a kind; ``None``: there is none."""
        return next((one for one in [*self.arguments, *self.named.values()] if isinstance(one, kind)), None)


@dataclass(frozen=True, slots=True)
class Point:
    """Where a process ends."""

    name: str
    #: Module, and what in it: ``adapter.sinks.webhook:Webhook.send``.
    place: str
    is_before: bool
    meets: Callable[[Call], bool] = lambda call: True
    dies: Dies = Dies.SERVICE
    asked: Asked = "events"
    #: The first that counts of those calls that meet it, and the last.
    turns: tuple[int, int] = (1, 4)
    #: Another service takes the place of a first one, and it is that one that ends.
    is_successor: bool = False


def _settles(has: Callable[[Settlement], object]) -> Callable[[Call], bool]:
    """Whether what is settled has something for a sink."""

    def meets(call: Call) -> bool:
        settlement = call.first(Settlement)
        return settlement is not None and bool(has(settlement))

    return meets


def _holds(settlement: Settlement) -> bool:
    return any(isinstance(one, Held) and one.due_at is not None for one in settlement.hold)


def _tried(settlement: Settlement) -> bool:
    return any(isinstance(one, Attempt) for one in settlement.attempts)


def _appends(call: Call) -> bool:
    entries = next((one for one in call.arguments if isinstance(one, list)), [])
    return bool(entries) and entries[0].source == "keycloak"


def _of_row(call: Call) -> bool:
    flight = call.first(Flight)
    return flight is not None and flight.has_rows


def _of_sink(call: Call) -> bool:
    note = call.first(Note)
    return note is not None and note.name.startswith(PREFIX)


def _of_replay(call: Call) -> bool:
    return any(isinstance(one, str) and " replay " in one for one in call.arguments)


def _is_on(call: Call) -> bool:
    return bool(call.named.get("is_running"))


def _is_off(call: Call) -> bool:
    return not call.named.get("is_running")


_DELIVERY, _REPLAYING = "adapter.delivery", "adapter.replay.replaying"
_MANAGING, _LIVE = "adapter.sink_management.managing:SinkManagement", "adapter.sink_management.live:LiveSinks"


def _both(name: str, place: str, **others: Any) -> list[Point]:
    return [Point(f"{name}, {word}", place, word == "before", **others) for word in ("before", "after")]


def _of_log(log: str) -> list[Point]:
    """Those that are reached with every engine; ``log``: its class."""
    rare: dict[str, Any] = {"turns": (1, 1)}
    return [
        *_both("append", f"{log}.append", meets=_appends, turns=(1, 12)),
        *_both("settle", f"{log}.settle", meets=_settles(lambda one: one.cursor), turns=(1, 12)),
        *_both("send", "adapter.sinks.webhook:Webhook.send", turns=(1, 40)),
        *_both("attempts stored", f"{log}.settle", meets=_settles(_tried)),
        *_both("held row written", f"{log}.settle", meets=_settles(_holds)),
        *_both("held row released", f"{log}.settle", meets=_settles(lambda one: one.release)),
        *_both("key blocked", f"{log}.settle", meets=_settles(lambda one: one.block)),
        *_both("key unblocked", f"{log}.settle", meets=_settles(lambda one: one.unblock)),
        Point("held row due", f"{_DELIVERY}.ledger:Ledger.reserve", is_before=False),
        Point("held row goes", f"{_DELIVERY}.queue:SendQueue._take_due", is_before=False, meets=lambda c: c.result),
        *_both("held row answered", f"{_DELIVERY}.sending:Sender._take_answers", meets=_of_row),
        Point("receiver is down", f"{_DELIVERY}.sending:Sender._plan_probe", is_before=False),
        Point("rotate, sealed", f"{_MANAGING}._append", True, _of_sink, asked="rotate", **rare),
        Point("rotate, noted", f"{_MANAGING}._append", False, _of_sink, asked="rotate", **rare),
        Point("rotate, taken up", f"{_LIVE}.take", is_before=False, asked="rotate", turns=(1, 3)),
        Point("rotate, live", f"{_LIVE}.taken_up", is_before=False, asked="rotate", **rare),
        Point("rotate, not answered", f"{_MANAGING}.rotate", is_before=False, asked="rotate", **rare),
        Point("replay, noted", "adapter.kept:Kept.keep", False, lambda call: call.first(Job), asked="replay", **rare),
        Point("replay, listed", f"{_REPLAYING}:Replays._set_running", False, _is_on, asked="replay", **rare),
        *_both("replay, reader begun", f"{log}.begin", meets=_of_replay, asked="replay", **rare),
        *_both("replay, rows made due", f"{_DELIVERY}.loop:Delivery.renew", asked="replay", **rare),
        Point("replay, sent", "adapter.replay.reading:Paced.send", is_before=False, asked="replay", turns=(1, 3)),
        *_both("replay, progress noted", f"{_REPLAYING}:_Walk._save", asked="replay"),
        Point("replay, ended", f"{_REPLAYING}:Replays._set_running", True, _is_off, asked="replay", **rare),
        *_both("retention, step", f"{log}.remove", asked="retention", turns=(1, 2)),
        Point("retention, noted", f"{log}.keep", False, lambda call: call.first(Note).name == "retention",
              asked="retention", **rare),
        Point("reload, handed over", "adapter.service:Service.hand_over", is_before=False, asked="reload", **rare),
        Point("reload, the old one ended", f"{_LIVE}.end", is_before=False, asked="reload", **rare),
        Point("reload, the log open again", f"{_LIVE}.open", is_before=False, asked="reload", turns=(2, 2)),
        Point("reload, sinks begun again", f"{log}.begin", is_before=False, asked="reload", turns=(4, 6)),
    ]  # fmt: skip


_WRITER = "adapter.log.sqlite"

#: By the name of the engine.
POINTS: dict[str, list[Point]] = {
    "sqlite": [
        *_of_log("adapter.log.sqlite.log:SqliteLog"),
        *(
            Point(f"{name}, {of}", place, is_before=False, dies=dies, turns=(2, 12), asked=asked)
            for of, dies in (("writer alone", Dies.WRITER), ("with the writer", Dies.BOTH))
            for name, place, asked in (
                ("append, inserted and not committed", f"{_WRITER}.append:Appender.append", "events"),
                ("settle, written and not committed", f"{_WRITER}.commit:settle", "events"),
                ("commit, not answered", f"{_WRITER}.commit:Committer.commit", "events"),
            )
        ),
        *_both("take-over, handed over", "adapter.running:Running._give", asked="take-over", turns=(1, 1)),
        Point("take-over, place taken", "adapter.running:Running._take_place", is_before=False, asked="take-over",
              turns=(1, 1), is_successor=True),
        Point("take-over, the log open", f"{_LIVE}.open", is_before=False, asked="take-over", turns=(1, 1),
              is_successor=True),
        *_both("take-over, told", "adapter.handover:Predecessor.leave", asked="take-over", turns=(1, 1),
               is_successor=True),
        Point("retention, removed and not committed", f"{_WRITER}.removing:Remover.remove", is_before=False,
              dies=Dies.WRITER, asked="retention", turns=(1, 2)),
    ],
    "postgresql": [
        *_of_log("adapter.log.postgresql.log:PostgresqlLog"),
        *_both("commit", "adapter.log.postgresql.transaction:Transaction._commit", turns=(2, 12)),
        Point("settle, written and not committed", "adapter.log.postgresql.transaction:settle", is_before=False,
              turns=(2, 12)),
    ],
}  # fmt: skip


def arm(point: Point, turn: int, die: Callable[[], None]) -> None:
    """Let this process ``die`` at the ``turn``-th call that meets the point."""
    module, _, path = point.place.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for one in outer:
        owner = getattr(owner, one)
    real, seen = getattr(owner, name), 0

    def look(arguments: Sequence[Any], named: dict[str, Any], result: Any) -> None:
        nonlocal seen
        if point.meets(Call(arguments, named, result)):
            seen += 1
            if seen == turn:
                die()

    if inspect.iscoroutinefunction(real):

        @wraps(real)
        async def waited(*arguments: Any, **named: Any) -> Any:
            if point.is_before:
                look(arguments, named, None)
            result = await real(*arguments, **named)
            if not point.is_before:
                look(arguments, named, result)
            return result

        setattr(owner, name, waited)
        return

    @wraps(real)
    def called(*arguments: Any, **named: Any) -> Any:
        if point.is_before:
            look(arguments, named, None)
        result = real(*arguments, **named)
        if not point.is_before:
            look(arguments, named, result)
        return result

    setattr(owner, name, called)
