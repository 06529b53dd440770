"""``idp-adapter sinks dead``, ``sinks replay`` and ``sinks resend``: what a sink gave up on, and sending again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.console import Console

from adapter.commands.client import Client, fail, run
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.jobs import follow
from adapter.commands.options import At
from adapter.commands.output import console_of_output, say, until_nobody_reads, write_json
from adapter.commands.sink_attempts import FAULTS, Name, written
from adapter.commands.timestamps import read_timestamp
from adapter.formats.text import counted, harmless


def dead(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, the first.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="As JSON, one a line.")] = False,
    *,
    at: At,
) -> None:
    """Show what a sink gave up on: the event, how often it was tried, and the last answer.

    For example: idp-adapter sinks dead soc
    """

    async def asking(client: Client) -> Any:
        return await client.ask("GET", f"{_path(name, 'dead')}?limit={limit}")

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(one) for one in found["dead"]])
        return
    if not found["count"]:
        say("nothing is dead")
        return
    rows = found["dead"]
    times = [one["gaveUpAt"] for one in rows]
    columns = [
        Column("given up on", [plain("" if one is None else written(one)) for one in times], 24, 24, spare=3),
        Column("event", [plain(one["uid"] or f"position {one['position']}, removed") for one in rows], 36, 36),
        Column("type", [plain(one["type"]) for one in rows], 40, 8, spare=2),
        Column("tries", [plain(str(one["tries"])) for one in rows], 5, 5, spare=1, right=True),
        Column("answer", [plain(one["reason"]) for one in rows], 200, 16, wrapped=True),
    ]
    console = console_of_output()
    with until_nobody_reads():
        console.print(fitted(columns, console.width))
        if found["count"] > len(rows):
            say(f"{found['count']} in all; these are the first {len(rows)}")


def replay(
    name: Name,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status", help="What became of them before: dead (default), held, delivered, never. Repeatable."
        ),
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Unified type or glob as in the feed. Repeatable.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="NAME=VALUE", help="Any filter of the feed: client=web. Repeatable."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Arrived at or after: 2026-05-01T08:30:00Z, epoch ms, or '2h', '7d'.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Arrived before; written as for --since.")] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", min=0, help="Events a second; default: 100; 0: as fast as it goes.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, and count.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Start nothing, and follow the one under way.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Start nothing, and cancel the one under way.")] = False,
    json: Annotated[bool, typer.Option("--json", help="How it ended, as JSON.")] = False,
    *,
    at: At,
) -> None:
    """Send events to a sink again: those that it gave up on, or others, by status, time and filter. The sink's own
    filter counts, too. Ctrl-C leaves it going.

    For example: idp-adapter sinks replay soc --status delivered --since 2h --dry-run
    """
    question = _question(status, types, where, since, until, rate, dry_run)
    path = _path(name, "replay")
    is_started = False

    async def working(client: Client) -> Any:
        nonlocal is_started
        if cancel or watch:
            job = await client.ask("GET", path)
            if job["state"] != "running":
                say("nothing is under way; this was the last one:", err=True)
            elif cancel:
                job = await client.ask("DELETE", path)
        else:
            job = await client.ask("POST", path, question)
        is_started = True
        return await follow(client, job, path, "sending again")

    try:
        job = run(working, at)
    except KeyboardInterrupt:
        if is_started:
            hint = f"it goes on in the service; sinks replay {name} --watch follows it, --cancel ends it"
            Console(stderr=True, highlight=False).print(hint, markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    if json:
        write_json([orjson.dumps(job)])
    else:
        _tell(job)
    if job["state"] != "done" and not cancel:
        raise typer.Exit(1)


def resend(
    name: Name,
    uid: Annotated[str, typer.Argument(metavar="UID", help="The event's uid, or the id that its provider gave it.")],
    json: Annotated[bool, typer.Option("--json", help="What came of it, as JSON.")] = False,
    *,
    at: At,
) -> None:
    """Send one event to a sink again, now. One that is held or dead takes its turn at once, with all its tries. Ends
    with 1 if the receiver does not take it.

    For example: idp-adapter sinks resend soc 0f7b1a52-0001-8e0a-9a57-0f0f6a1c9e11
    """

    async def asking(client: Client) -> Any:
        return await client.ask("POST", _path(name, "resend"), {"uid": uid})

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(found)])
    else:
        outcome = {None: "queued", "held": "not taken, and not tried again"}.get(found["outcome"], found["outcome"])
        say(f"{outcome}: {found['reason']}")
        if found["fault"]:
            say(f"  fault: {FAULTS[found['fault']]}")
    if found["outcome"] == "held":
        raise typer.Exit(1)


def _question(
    status: list[str] | None,
    types: list[str] | None,
    where: list[str] | None,
    since: str | None,
    until: str | None,
    rate: int | None,
    dry_run: bool,
) -> dict[str, Any]:
    now = datetime.now(UTC)
    filter: dict[str, list[str]] = {}
    if types:
        filter["type"] = types
    for one in where or ():
        key, equals, value = one.partition("=")
        if not equals:
            fail(f"--where {harmless(one)}: write NAME=VALUE, such as client=web")
        filter.setdefault(key, []).append(value)
    if since is not None:
        filter["received_from"] = [str(read_timestamp("--since", since, now))]
    if until is not None:
        filter["received_to"] = [str(read_timestamp("--until", until, now))]
    asked = {"status": status, "filter": filter or None, "rate": rate, "dry_run": dry_run or None}
    return {key: value for key, value in asked.items() if value is not None}


def _tell(job: dict[str, Any]) -> None:
    counts = job["counts"]
    if job["question"]["dry_run"]:
        say(f"dry run {job['state']}: {counted(counts['matched'], 'event')} would be sent again")
    else:
        events = counted(counts["matched"], "event")
        say(f"replay {job['id']} {job['state']}: {events} up to position {job['position']}")
        for key, meaning in _MEANING.items():
            if counts[key]:
                say(f"  {counts[key]:>9}  {key}{f': {meaning}' if meaning else ''}")
    for answer in job["answers"]:
        say(f"  {harmless(answer)}")
    if job["problem"]:
        say(f"  {harmless(job['problem'])}")


_MEANING = {
    "renewed": "were held or dead; the sink tries them anew",
    "busy": "were on their way already",
    "delivered": "",
    "held": "wait for their next try",
    "dead": "given up on again",
    "skipped": "removed from the log before they were sent",
}


def _path(name: str, what: str) -> str:
    return f"/sinks/{quote(name, safe='')}/{what}"
