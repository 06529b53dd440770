"""``idp-adapter sinks compare``: which events one sink got that another one, or the sender before it, did not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from aiohttp import ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapter.commands.client import Client, run
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.commands.recordings import is_recording, read_recording
from adapter.commands.sink_attempts import FAULTS, Name, written
from adapter.commands.timestamps import read_timestamp
from adapter.errors import AdapterError, ConfigError
from adapter.formats.text import counted, harmless

#: Bodies that are sent at a time.
_TOGETHER = 500

_RESULTS = {
    "same": "the same",
    "pending": "the same so far, and some are still to come",
    "different": "DIFFERENT",
    "nothing": "neither has any event of that time",
}


def compare(
    name: Name,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            help="Another sink; or a file of bodies that the old sender posted: NDJSON or a JSON list, also with what "
            "a receiver wraps around them, also .gz; - is standard input. A name with a dot or a slash is a file.",
        ),
    ],
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Happened at or after: 2026-05-01T08:30:00Z, epoch ms, or '2h', '7d'; default: from where both sinks "
            "began, or the first event of the file.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            help="Happened before; written as for --since; default: a minute ago, or the last event of the file.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, max=1000, help="Events of each group that are named.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    *,
    at: At,
) -> None:
    """Hold what a sink got against what another sink got, or against a recording of the sender that was there before:
    which events both have, which are missing at the sink, and which are extra there, and why. Ends with 1 unless both
    have the same.

    For example: idp-adapter sinks compare soc old-sender.ndjson --since 7d
    """
    now = datetime.now(UTC)
    query = [("examples", str(limit))]
    query += [
        (key, read_timestamp(option, text, now))
        for key, option, text in (("from", "--since", since), ("to", "--until", until))
        if text is not None
    ]
    is_file = is_recording(other)
    if not is_file:
        query.append(("other", other))

    async def working(client: Client) -> dict[str, Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        headers, path = None, f"/sinks/{quote(name, safe='')}"
        broken: list[ConfigError] = []
        if is_file:
            headers = {"Content-Type": "application/x-ndjson"}
            await client.ask("GET", path)  # before anything is sent
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("comparing", total=None)

            async def sent() -> AsyncIterator[bytes]:
                progress.update(bar, description="sending what was recorded")
                try:
                    for piece in _pieces(read_recording(other)):
                        yield piece
                        progress.update(bar, advance=piece.count(b"\n"))
                except ConfigError as error:
                    broken.append(error)
                    raise
                progress.reset(bar, description="comparing")

            answer = client.lines(f"{path}/compare", query, data=sent() if is_file else None, headers=headers)
            found: dict[str, Any] | None = None
            try:
                async for line in answer:
                    found = line["result"]
                    if found is None:
                        progress.update(bar, total=line["progress"]["all"], completed=line["progress"]["done"])
            except ClientError:
                if broken:
                    raise broken[0] from None
                raise
            if found is None:
                raise AdapterError("the service broke off; its log says why")
            return found

    found = run(working, at)
    if json:
        write_json([orjson.dumps(found)])
    else:
        for text in told(found, "standard input" if other == "-" else other):
            say(text)
    if found["result"] != "same":
        raise typer.Exit(1)


def told(found: dict[str, Any], other: str) -> Iterator[str]:
    """A comparison for people; ``other``: what the other side is called."""
    sink, other = harmless(found["sink"]), harmless(other)
    yield f"{sink} and {other}: {_RESULTS[found['result']]}"
    since = "the beginning" if found["since"] is None else _moment(found["since"])
    yield f"  of what happened from {since} to {_moment(found['until'])}"
    yield f"  {found['same']:>9}  both have"
    groups = (
        ("missing", f"{other} has, and {sink} has not"),
        ("extra", f"{sink} has, and {other} has not"),
        ("pending", "still to come at one of them"),
        ("unclear", "passed with another filter"),
    )
    for key, meaning in groups:
        group = found[key]
        if not group["count"] and key not in ("missing", "extra"):
            continue
        yield f"  {group['count']:>9}  {key}: {meaning}"
        stages = sorted(group["stages"].items(), key=lambda one: -one[1])
        if len(stages) > 1:
            said = ", ".join(f"{count} {stage}" for stage, count in stages)
            yield f"             {said.replace('_', ' ')}"
        for one in group["first"]:
            yield from _event(one, sink if one["of"] == "sink" else other)
        if group["count"] > len(group["first"]) and group["first"]:
            yield f"             and {group['count'] - len(group['first'])} more; --limit names more of them"
    if (recorded := found["recorded"]) is not None:
        yield from _recorded(recorded, other)
    yield from (f"  {harmless(note)}" for note in found["notes"])


def _event(one: dict[str, Any], side: str) -> Iterator[str]:
    known = one["id"] or one["uid"] or f"position {one['position']}"
    place = f" (line {one['line']})" if one["line"] is not None else ""
    time = "" if one["time"] is None else f"{_moment(one['time'])}  "
    yield f"             {time}{harmless(one['type'] or '')}  {harmless(known)}{place}"
    fault = f"; fault: {FAULTS[one['fault']]}" if one["fault"] else ""
    yield f"               {side}: {harmless(one['reason'])}{fault}"


def _recorded(recorded: dict[str, Any], other: str) -> Iterator[str]:
    said = [counted(recorded["bodies"], "event")]
    said += [
        f"{recorded[key]} {meaning}"
        for key, meaning in (
            ("repeated", "sent again"),
            ("outside", "of another time"),
            ("without_id", "without an id, known by time, type, client, user and address"),
        )
        if recorded[key]
    ]
    if recorded["unreadable"]:
        said.append(f"{counted(recorded['unreadable'], 'line')} without an event")
    yield f"  {other}: {', '.join(said)}"


def _moment(time: int) -> str:
    try:
        return written(time)
    except (OverflowError, ValueError, OSError):
        return str(time)


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    left = iter(lines)
    while some := b"".join(islice(left, _TOGETHER)):
        yield some
