"""``idp-adapter sinks stats``: how a receiver answers, and how far behind its sink is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import orjson
import typer

from adapter.commands.client import run
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.options import At
from adapter.commands.output import console_of_output, say, write_json
from adapter.commands.timestamps import InUtc, read_timestamp, shown_time, shown_zone
from adapter.formats.text import counted, harmless, lasting

#: What of a try takes time, and how it is told.
_PHASES = {"resolve": "name looked up", "connect": "connected", "firstByte": "first byte", "total": "whole answer"}


def stats(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The sink.")],
    since: Annotated[
        str | None, typer.Option("--since", help="Tried at or after: 2026-05-01T08:30:00Z, '2h', '7d'; default: 1d.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Tried before; written as for --since.")] = None,
    utc: InUtc = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON: the service's answer.")] = False,
    *,
    at: At,
) -> None:
    """Show how a receiver has answered, hour by hour: attempts by outcome, and how long they took; since when an event
    waits, and when the sink will have caught up. It counts the attempts that the sink remembers.

    For example: idp-adapter sinks stats soc --since 7d
    """
    now = datetime.now(UTC)
    asked = {"from": ("--since", since), "to": ("--until", until)}
    query = urlencode({key: read_timestamp(option, text, now) for key, (option, text) in asked.items() if text})
    path = f"/sinks/{quote(name, safe='')}/stats"
    found = run(lambda client: client.ask("GET", f"{path}?{query}" if query else path), at)
    if json:
        write_json([orjson.dumps(found)])
        return
    zone = shown_zone(utc)
    tries = found["tries"]
    say(f"{harmless(found['name'])}: {counted(tries['attempts'], 'attempt')} of {counted(tries['events'], 'event')}")
    if found["since"] is None:
        say(f"  remembered: {found['remembered']}; nothing of that since {shown_time(found['from'], zone)}")
    elif not found["isWhole"]:
        say(f"  there are more; only those since {shown_time(found['since'], zone)} are counted")
    for what in ("outcomes", "statuses"):
        if tries[what]:
            say(f"  {what}: {', '.join(f'{harmless(one)} {count}' for one, count in tries[what].items())}")
    timed = {phase: tries[phase] for phase in _PHASES if tries[phase]["count"]}
    for phase, times in timed.items():
        half, most, nearly_all = (times[one] for one in ("p50", "p95", "p99"))
        say(f"  {_PHASES[phase]}: half within {half} ms, 95 % within {most} ms, 99 % within {nearly_all} ms")
    if found["oldestWaitingAt"] is not None:
        say(f"  an event waits since {shown_time(found['oldestWaitingAt'], zone)}")
    if found["lag"]:
        ends = found["caughtUpIn"]
        say(f"  lag: {found['lag']}" + ("" if ends is None else f"; caught up in {lasting(ends)}"))
    if found["hours"]:
        console = console_of_output()
        console.print(_hours(found["hours"], zone, console.width))


def _hours(hours: Sequence[dict[str, Any]], zone: Any, width: int) -> Any:
    def times(which: str) -> list[Any]:
        return [plain("-" if one["total"][which] is None else f"{one['total'][which]} ms") for one in hours]

    outcomes = [", ".join(f"{name} {count}" for name, count in one["outcomes"].items()) for one in hours]
    return fitted(
        [
            Column("HOUR", [plain(shown_time(one["at"], zone)) for one in hours], 25, 20),
            Column("ATTEMPTS", [plain(str(one["attempts"])) for one in hours], 12, 8, right=True),
            Column("OUTCOMES", [plain(one) for one in outcomes], 60, 16, wrapped=True),
            Column("HALF WITHIN", times("p50"), 12, 11, 2, right=True),
            Column("95 % WITHIN", times("p95"), 12, 11, 1, right=True),
        ],
        width,
    )
