"""``idp-adapter sinks held``, ``dead``, ``replay`` and ``resend``: what a sink did not get, and sending again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from adapter.commands.client import Client, run
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.jobs import Arrived, Kind, Ways, run_job
from adapter.commands.options import At
from adapter.commands.output import console_of_output, say, until_nobody_reads, write_json
from adapter.commands.sink_attempts import FAULTS, Name, written
from adapter.formats.text import counted, harmless
from adapter.replay.job import Status

Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, the first.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, one a line.")]


def held(name: Name, limit: Limit = 50, json: Json = False, *, at: At) -> None:
    """Show what failed and waits for its next try: the event, when that is, the tries so far, and the last answer.

    For example: idp-adapter sinks held soc
    """
    _list(name, "held", "dueAt", "tried again", "nothing is held", limit, json=json, at=at)


def dead(name: Name, limit: Limit = 50, json: Json = False, *, at: At) -> None:
    """Show what a sink gave up on: the event, how often it was tried, and the last answer.

    For example: idp-adapter sinks dead soc
    """

    _list(name, "dead", "gaveUpAt", "given up on", "nothing is dead", limit, json=json, at=at)


def replay(
    name: Name,
    status: Annotated[
        list[Status] | None,
        typer.Option("--status", help="What became of them before; default: dead. Repeatable."),
    ] = None,
    *,
    arrived: Arrived,
    ways: Ways,
    at: At,
) -> None:
    """Send events to a sink again: those that it gave up on, or others, by status, time and filter. The sink's own
    filter counts, too. 100 events a second, if --rate does not say otherwise. Ctrl-C leaves it going.

    For example: idp-adapter sinks replay soc --status delivered --since 2h --dry-run
    """
    filter = arrived.filter(datetime.now(UTC))
    question = {"status": status, "filter": filter or None}
    kind = Kind(_path(name, "replay"), "sending again", f"sinks replay {name}")
    run_job(at, kind, question, ways, _tell)


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


def _list(name: str, what: str, when: str, title: str, nothing: str, limit: int, *, json: bool, at: Any) -> None:
    """Show what of a sink is held or dead; ``when``: the member of each that has its time, shown under a title."""

    async def asking(client: Client) -> Any:
        return await client.ask("GET", f"{_path(name, what)}?limit={limit}")

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(one) for one in found[what]])
        return
    if not found["count"]:
        say(nothing)
        return
    rows = found[what]
    times = [one[when] for one in rows]
    columns = [
        Column(title, [plain("" if one is None else written(one)) for one in times], 24, 24, spare=3),
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
