"""``idp-adapter sinks why`` and ``sinks attempts``: what became of an event at each sink, and what sinks have tried."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import orjson
import typer
from rich.console import Console

from adapter.commands.client import Client, run
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.options import At
from adapter.commands.output import console_of_output, say, until_nobody_reads, write_json
from adapter.commands.timestamps import read_timestamp
from adapter.formats.text import harmless

Name = Annotated[str, typer.Argument(metavar="NAME", help="The sink.")]
_COLOURS = {"delivered": "green", "held": "yellow", "waiting": "yellow", "in_flight": "yellow", "dead": "red"}


def why(
    uid: Annotated[str, typer.Argument(metavar="UID", help="The event's uid, or the id that its provider gave it.")],
    sink: Annotated[str | None, typer.Argument(metavar="[SINK]", help="Of this sink alone.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, a line for each sink.")] = False,
    *,
    at: At,
) -> None:
    """Say what became of an event at every sink, and why: also where nothing was sent. Ends with 1 if it is dead at
    one of them.

    For example: idp-adapter sinks why 0f7b1a52-0001-8e0a-9a57-0f0f6a1c9e11 soc
    """

    async def asking(client: Client) -> Any:
        query = "" if sink is None else f"?{urlencode({'sink': sink})}"
        return await client.ask("GET", f"/events/{quote(uid, safe='')}/deliveries{query}")

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(one) for one in found["deliveries"]])
    else:
        _tell(found)
    if any(one["stage"] == "dead" for one in found["deliveries"]):
        raise typer.Exit(1)


def attempts(
    name: Name,
    uid: Annotated[str | None, typer.Option("--uid", help="Of this event alone.")] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option("--outcome", help="delivered, held, dead, down, skipped or stopped. Repeatable."),
    ] = None,
    status: Annotated[list[int] | None, typer.Option("--status", help="Status of the answer. Repeatable.")] = None,
    replay: Annotated[
        int | None, typer.Option("--replay", help="Those of a replay, by its number, in the place of the sink's own.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Began at or after: 2026-05-01T08:30:00Z, epoch ms, or '2h', '7d'.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Began before; written as for --since.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, the latest.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="As JSON, one a line.")] = False,
    *,
    at: At,
) -> None:
    """Show what a sink has tried, the latest first: what came back, and how long each part took.

    For example: idp-adapter sinks attempts soc --outcome dead --since 2h
    """
    now = datetime.now(UTC)
    query: list[tuple[str, str]] = [("limit", str(limit))]
    query += [("outcome", one) for one in outcome or ()] + [("status", str(one)) for one in status or ()]
    if uid is not None:
        query.append(("uid", uid))
    if replay is not None:
        query.append(("replay", str(replay)))
    if since is not None:
        query.append(("from", str(read_timestamp("--since", since, now))))
    if until is not None:
        query.append(("to", str(read_timestamp("--until", until, now))))

    async def asking(client: Client) -> Any:
        return await client.ask("GET", f"/sinks/{quote(name, safe='')}/attempts?{urlencode(query)}")

    found = run(asking, at)["attempts"]
    if json:
        write_json([orjson.dumps(one) for one in found])
        return
    console = console_of_output()
    if not found:
        Console(stderr=True, highlight=False).print(
            "no such attempt is remembered; those that failed are, unless `attempts` of the sink says otherwise: "
            f"idp-adapter sinks change {harmless(name)} --set attempts=all",
            markup=False,
            soft_wrap=True,
        )
        return
    with until_nobody_reads():
        console.print(fitted(_columns(found), console.width))


def _tell(found: dict[str, Any]) -> None:
    say(f"{found['uid']}  {found['type'] or 'quarantined'}")
    with_revisions = len({one["position"] for one in found["deliveries"]}) > 1
    console = console_of_output()
    for one in found["deliveries"]:
        sink = f"{one['sink']} (revision {one['revision']})" if with_revisions else one["sink"]
        line = plain(f"{sink}: {one['stage'].replace('_', ' ')}", _COLOURS.get(one["stage"], ""))
        line.append(f": {harmless(one['reason'])}", style="default")
        console.print(line, soft_wrap=True)
        if one["fault"]:
            say(f"  fault: {FAULTS[one['fault']]}")
        if one["dueAt"] is not None:
            say(f"  next try: {written(one['dueAt'])}")
        for tried in one["attempts"]:
            say(f"  {written(tried['at'])}  {_said(tried)}  {_took(tried['durations'])}")
            if tried["excerpt"] and tried["outcome"] != "delivered":
                say(f"    {harmless(tried['excerpt'])}")


#: Whose fault it was, for people.
FAULTS = {
    "receiver": "the receiver's",
    "network": "the network's",
    "ours": "the adapter's, or that of its settings",
}


def _columns(found: list[dict[str, Any]]) -> list[Column]:
    def column(heading: str, cells: list[str], most: int, least: int, **more: Any) -> Column:
        return Column(heading, [plain(one) for one in cells], most, least, **more)

    return [
        column("at", [written(one["at"]) for one in found], 24, 24),
        column("event", [one["uid"] or f"position {one['position']}" for one in found], 36, 8, spare=2),
        column("try", [str(one["number"] or "") for one in found], 4, 3, spare=1, right=True),
        column("came to", [_said(one) for one in found], 80, 16, wrapped=True),
        column("took", [_took(one["durations"]) for one in found], 60, 10, spare=3),
        column("answer", [one["excerpt"] for one in found], 120, 10, spare=4),
    ]


def _said(tried: dict[str, Any]) -> str:
    is_said = tried["status"] is None or str(tried["status"]) in tried["reason"]
    status = "" if is_said else f" {tried['status']}"
    reason = f": {tried['reason']}" if tried["reason"] else ""
    return harmless(f"{tried['outcome']}{status}{reason}")


def _took(durations: dict[str, int | None]) -> str:
    names = (("resolve", "resolve"), ("connect", "connect"), ("firstByte", "first byte"), ("total", "total"))
    return ", ".join(f"{name} {durations[key]} ms" for key, name in names if durations[key] is not None)


def written(at: int) -> str:
    """A timestamp, for people."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
