"""A program that starts services and can be told at which point each of them ends: orders come as lines of JSON on its
standard input, and what became of them goes to its standard output.

Each service is a process of its own, forked off this one, which has everything imported and the tables read: so one
costs a tenth of what a start costs otherwise, and hundreds can be killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop

import adapter.delivery.backoff as backoff
import adapter.log.sqlite.writing as writing
import adapter.replay.replaying as replaying
import adapter.retention.policy as policy
import adapter.retention.retaining as retaining
import adapter.sink_management.live as live
import adapter.subprocesses as subprocesses
from adapter.delivery.loop import open_delivery
from adapter.log.postgresql.log import open_postgresql_log
from adapter.logs import configure_logs
from adapter.prepared import prepare
from adapter.running import Running
from adapter.service import Service
from adapter.settings import Settings
from tests.crash.points import POINTS, Dies, arm

#: Of prctl(2).
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def tell(**said: Any) -> None:
    """Say something to whoever gave the orders."""
    os.write(1, json.dumps(said).encode() + b"\n")


def _hurry() -> None:
    """Let what a service does by the minute, or by the second, happen all the time."""
    backoff.PROBE_MAX, backoff.SPARED = 0.2, 0.1
    replaying.LOOK, live.EVERY = 0.1, 0.2
    retaining.EVERY, retaining.PACE = 0.1, 0.0
    policies: Any = policy
    policies._milliseconds = lambda text: None if text is None else 1000  # no setting is below an hour
    defaults: Any = open_delivery
    defaults.__wrapped__.__kwdefaults__["probe"] = 0.05
    defaults = replaying.open_replays
    defaults.__wrapped__.__kwdefaults__["tick"] = 0.05
    defaults = open_postgresql_log
    defaults.__wrapped__.__kwdefaults__["claim_seconds"] = 2.0


def _arm(engine: str, name: str, turn: int) -> None:
    (point,) = [one for one in POINTS[engine] if one.name == name]
    if point.dies is not Dies.SERVICE:
        # Only the first writer: the one that takes its place is the program's own.
        words = iter([subprocesses.command("tests.crash.writer", name, str(turn))])
        own = subprocesses.command
        starting: Any = writing
        starting.command = lambda *others: next(words, None) or own(*others)
        return

    def die() -> None:
        tell(process=os.getpid(), died_at=name)
        os.kill(os.getpid(), signal.SIGKILL)

    arm(point, turn, die)


async def _serve(order: dict[str, Any]) -> None:
    settings = Settings.model_validate(order["settings"])
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    reloads = set()

    async def opened(service: Service) -> None:
        tell(process=os.getpid(), url=service.url)

    async def told(problem: Exception | None) -> None:
        tell(process=os.getpid(), reloaded=None if problem is None else str(problem))

    running = Running(lambda: settings, stop, opened, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(asyncio.create_task(running.reload(told))))
    await running.run(settings, take_over=order["takes_over"])


def _run(order: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    random.seed()
    configure_logs("info", "json")
    if order["point"] is not None:
        _arm(order["engine"], order["point"], order["turn"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(order))


def _reap(*_: object) -> None:
    """Let go of those that have ended: services, and what they had started."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Start what is ordered, until there are no more orders."""
    _hurry()
    prepare(Settings.model_validate({"data": {"folder": Path("/nonexistent")}}))
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, _reap)
    first = os.getpid()
    for line in sys.stdin:
        order = json.loads(line)
        process = os.fork()
        if process:
            tell(process=process, order=order["number"])
            continue
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == first:
                _run(order)
        except BaseException:
            traceback.print_exc()
            tell(process=os.getpid(), failed=traceback.format_exc())
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()
