"""``idp-adapter status``: how it stands with every source and sink, and what is to be done, on one screen."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from adapter.commands.client import Client, run
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, write_json
from adapter.formats.text import counted, lasting

_COLOURS = {
    "ok": "green", "running": "green", "silent": "yellow", "paused": "yellow",
    "refused": "red", "down": "red", "stopped": "red",
}  # fmt: skip
#: Sources that never sent anything are named, up to so many.
_NAMED = 5


@grouped
def status(
    json: Annotated[bool, typer.Option("--json", help="As JSON: the answer of GET /status.")] = False,
    *,
    at: At,
) -> None:
    """Say how it stands with each source (what came last, how much, what was refused and why, how far pulling is
    behind) and each sink (state, how far behind, last answer, next try), and what is to be done. Exit code 0 if there
    is nothing to do, 1 if there is, or if no service runs.

    For example: idp-adapter status
    """

    async def asking(client: Client) -> tuple[Any, bool]:
        return await client.ask("GET", "/status"), client.own

    found, own = run(asking, at)
    found["running"] = not own
    if json:
        write_json([orjson.dumps(found)])
    else:
        show(found, console_of_output())
    if own or found["todo"]:
        raise typer.Exit(1)


def show(found: dict[str, Any], console: Console) -> None:
    """Write an answer of ``/status`` for people."""
    _show_service(found, console)
    now, width = found["now"], console.width
    heard = [one for one in found["sources"] if one["state"] != "new" or one["refused"] or one["pulls"]]
    if heard:
        console.print()
        console.print(_sources(heard, now, width))
    if silent := [one["name"] for one in found["sources"] if one not in heard]:
        more = f" and {len(silent) - _NAMED} more" if len(silent) > _NAMED else ""
        console.print(Text("nothing ever came from: ") + plain(", ".join(silent[:_NAMED]) + more), soft_wrap=True)
    if found["sinks"]:
        console.print()
        console.print(_sinks(found["sinks"], now, width))
    console.print()
    if not found["todo"]:
        console.print("Nothing to do." if found["running"] else "Nothing else to do.")
        return
    console.print("To do:")
    for one in found["todo"]:
        about = f"{one['about']}: " if one["about"] else ""
        console.print(Padding(plain(f"{about}{one['problem']}"), (0, 0, 0, 2), expand=False))
        if one["advice"]:
            console.print(Padding(plain(one["advice"]), (0, 0, 0, 6), expand=False))


def _show_service(found: dict[str, Any], console: Console) -> None:
    entries = counted(found["head"], "entry").replace("entrys", "entries")
    if not found["running"]:
        console.print(
            f"No service runs here, so no events are taken; start it: idp-adapter serve. Its log has {entries}.",
            style="red",
            soft_wrap=True,
        )
    elif found["problem"]:
        console.print(plain(f"The service takes no events: {found['problem']}", "red"), soft_wrap=True)
    else:
        console.print(f"The service takes events; its log has {entries}.", soft_wrap=True)


def _sources(sources: list[dict[str, Any]], now: int, width: int) -> Table:
    quarantined = [_number(one["hour"]["quarantined"], "yellow") for one in sources]
    columns = [
        Column("source", [plain(one["name"]) for one in sources], 64, 8),
        Column("state", [_state(one["state"]) for one in sources], 8, 8),
        Column("last event", [_ago(one["lastAt"], now) for one in sources], 12, 12),
        Column("its time", [_ago(one["lastEventTime"], now) for one in sources], 12, 12, spare=3),
        Column("10 min", [_number(one["tenMinutes"]) for one in sources], 12, 6, right=True),
        Column("hour", [_number(_received(one["hour"])) for one in sources], 12, 4, spare=1, right=True),
        Column("quarantined", quarantined, 12, 11, spare=2, right=True),
        Column("refused", [_number(one["hour"]["refused"], "red") for one in sources], 12, 7, right=True),
        Column("pull lag", [_lag(one["pulls"]) for one in sources], 12, 8, right=True),
    ]
    return fitted(columns, width)


def _sinks(sinks: list[dict[str, Any]], now: int, width: int) -> Table:
    columns = [
        Column("sink", [plain(one["name"]) for one in sinks], 64, 8),
        Column("state", [_state(one["state"]) for one in sinks], 9, 9),
        Column("lag", [_number(one["lag"]) for one in sinks], 12, 5, right=True),
        Column("behind", [Text(lasting(one["behind"])) for one in sinks], 8, 6, right=True),
        Column("held", [_number(one["held"], "yellow") for one in sinks], 12, 4, right=True),
        Column("dead", [_number(one["dead"], "red") for one in sinks], 12, 4, right=True),
        Column("next try", [_until(one["nextTry"], now) for one in sinks], 10, 8, spare=1),
        Column("last answer", [plain(one["answer"]) for one in sinks], 200, 20, wrapped=True),
    ]
    return fitted(columns, width)


def _state(state: str) -> Text:
    return Text(state, style=_COLOURS.get(state, ""))


def _number(number: int, style: str = "") -> Text:
    return Text(str(number), style=style if number else "")


def _received(tally: dict[str, int]) -> int:
    return sum(tally[name] for name in ("accepted", "duplicates", "quarantined", "ignored"))


def _ago(time: int | None, now: int) -> Text:
    return Text("" if time is None else f"{lasting((now - time) / 1000)} ago")


def _until(time: int | None, now: int) -> Text:
    return Text("" if time is None else "now" if time <= now else f"in {lasting((time - now) / 1000)}")


def _lag(pulls: list[dict[str, Any]]) -> Text:
    lags = [one["lag"] for one in pulls if one["lag"] is not None]
    if any(one["problem"] for one in pulls):
        return Text("problem" if not lags else lasting(max(lags)), style="red")
    return Text(lasting(max(lags)) if lags else "")
