"""``idp-adapter sources reconcile``: whether the log has all that a server stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from adapter.commands.client import Client, run
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.commands.timestamps import read_timestamp
from adapter.formats.text import harmless
from adapter.reconciliation.comparison import Comparison, MissingEvent, Result

#: Missing events that are shown; --json shows more.
SHOWN = 20
#: Results by which nothing is known to be missing.
WELL = (Result.COMPLETE, Result.REPAIRED)

Since = Annotated[str, typer.Option("--from", help="Happened then or later: 2026-05-01T08:00:00Z, epoch ms, '2h'.")]
Until = Annotated[str, typer.Option("--to", help="Happened before; written as for --from.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, one line for each.")]


def reconcile(
    name: Annotated[str, typer.Argument(help="The source, one that pulls.")],
    since: Since,
    until: Until = "now",
    repair: Annotated[bool, typer.Option("--repair", help="Fetch what is missing into the log.")] = False,
    json: Json = False,
    *,
    at: At,
) -> None:
    """Hold the events that a source's server has stored against the log, and say of each realm: complete, or which are
    missing. Ends with 1 if any is missing, or if that cannot be said.

    For example: idp-adapter sources reconcile kc --from 7d --repair
    """
    now = datetime.now(UTC)
    asked = {
        "from": read_timestamp("--from", since, now),
        "to": read_timestamp("--to", until, now),
        "repair": repair,
    }

    async def working(client: Client) -> bool:
        is_well = True
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        console = Console(stderr=True, highlight=False)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("asking the server")
            async for line in client.lines(f"/sources/{quote(name, safe='')}/reconciliation", [], asked):
                found = Comparison.model_validate(line)
                if found.result is Result.READING:
                    progress.update(bar, description=f"{harmless(found.realm)}: {found.kind}: {found.on_server:,}")
                    continue
                is_well = is_well and found.result in WELL
                if json:
                    write_json([orjson.dumps(line)])
                else:
                    for text in told(found):
                        say(text)
        return is_well

    if not run(working, at):
        raise typer.Exit(1)


def told(found: Comparison) -> Iterator[str]:
    """A comparison for people."""
    match found.result:
        case Result.COMPLETE | Result.REPAIRED:
            word = "complete"
        case Result.MISSING:
            word = f"MISSING {found.missing_count:,}"
        case Result.EXPIRED:
            word = "EXPIRED, the server does not keep all events of that time"
        case _:
            word = f"FAILED, {found.problem}"
    counts = f"{found.on_server:,} on the server, {found.in_log:,} of them in the log"
    if found.repaired:
        counts += f", {found.repaired:,} fetched now"
    if found.only_in_log:
        counts += f"; {found.only_in_log:,} only in the log"
    yield f"realm {found.realm}: {found.kind}: {word}"
    if found.result is Result.FAILED:
        return
    yield f"  {shown_time(found.since)} to {shown_time(found.to)}: {counts}"
    if found.kept_from is not None and found.result is not Result.EXPIRED:
        yield f"  not verified before {shown_time(found.kept_from)}: the server may have removed events of that time"
    yield from told_missing(found.missing, found.missing_count)


def told_missing(missing: list[MissingEvent], count: int) -> Iterator[str]:
    """Missing events for people; ``count``: how many there are."""
    for one in missing[:SHOWN]:
        yield f"  missing: {shown_time(one.time)}  {one.type}  {one.id or f'uid {one.uid}'}"
    if count > SHOWN:
        yield f"  missing: {count - min(SHOWN, len(missing)):,} more; --json names the first {len(missing):,}"


def shown_time(milliseconds: int) -> str:
    """A time in UTC, to the second."""
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)
