"""Jobs of the service that a command starts, and looks at until they have ended; and the options that all of them
have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapter.commands.client import Client, fail, run, tell
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.commands.timestamps import read_timestamp
from adapter.filter import PARAMETERS
from adapter.formats.text import harmless

#: Between two looks at how far it is, seconds.
LOOKING = 0.25
#: What events may be chosen by; not every job takes all of them.
_FILTERS = (*PARAMETERS, "native_type")
#: States of a job that has not ended.
_UNDER_WAY = ("running", "waiting")


@dataclass(frozen=True)
class Arrived:
    """Of which events a job is: by their arrival, type and whatever else it takes."""

    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Unified type or glob as in the feed: 'access.*_ERROR'. Repeatable."),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="NAME=VALUE", help="Another filter: provider=okta. Repeatable."),
    ] = None
    since: Annotated[
        str | None,
        typer.Option("--since", help="Arrived at or after: 2026-05-01T08:30:00Z, epoch ms, or '2h', '7d' ago."),
    ] = None
    until: Annotated[str | None, typer.Option("--until", help="Arrived before; written as for --since.")] = None

    def filter(self, now: datetime) -> dict[str, list[str]]:
        """The options as filters of the feed. Ends the command if one is wrong."""
        found: dict[str, list[str]] = {}
        if self.types:
            found["type"] = [*self.types]
        for one in self.where or ():
            key, equals, value = one.partition("=")
            if not equals or not key:
                fail(f"--where {harmless(one)}: write NAME=VALUE, such as client=web")
            if key not in _FILTERS:
                near = get_close_matches(key, _FILTERS, 3)
                told = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(_FILTERS)}"
                fail(f"--where {harmless(one)}: there is no filter {harmless(key)}; {told}")
            found.setdefault(key, []).append(value)
        for name, option, text in (
            ("received_from", "--since", self.since),
            ("received_to", "--until", self.until),
        ):
            if text is not None:
                found[name] = [read_timestamp(option, text, now)]
        return found


@dataclass(frozen=True)
class Ways:
    """How a job is run and looked at."""

    rate: Annotated[
        int | None,
        typer.Option("--rate", min=0, help="How many a second; 0: as fast as it goes."),
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change and send nothing, and say what it would do.")] = (
        False
    )
    watch: Annotated[bool, typer.Option("--watch", help="Start nothing, and follow the one under way.")] = False
    cancel: Annotated[bool, typer.Option("--cancel", help="Start nothing, and cancel the one under way.")] = False
    json: Annotated[bool, typer.Option("--json", help="How it ended, as JSON.")] = False


@dataclass(frozen=True)
class Kind:
    """A kind of job."""

    #: Where it is asked for.
    path: str
    #: What it does, for people.
    doing: str
    #: The command, without its options.
    command: str


def run_job(
    at: At, kind: Kind, question: Mapping[str, Any], ways: Ways, show: Callable[[dict[str, Any]], None]
) -> None:
    """Start a job, or look at the one under way or cancel it, as is asked; follow it, and ``show`` how it ended.
    Ends the command with 1 if it did not end well."""
    has_begun = is_own = False

    async def working(client: Client) -> dict[str, Any]:
        nonlocal has_begun, is_own
        if ways.cancel or ways.watch:
            job = await client.ask("GET", kind.path)
            if job["state"] not in _UNDER_WAY:
                say("nothing is under way; this was the last one:", err=True)
            elif ways.cancel:
                job = await client.ask("DELETE", kind.path)
        else:
            asked = {**question, "rate": ways.rate, "dry_run": ways.dry_run or None}
            job = await client.ask("POST", kind.path, {name: one for name, one in asked.items() if one is not None})
            tell(job["hints"])
        has_begun, is_own = True, client.own
        ended: dict[str, Any] = await follow(client, job, kind.path, kind.doing)
        return ended

    try:
        job = run(working, at)
    except KeyboardInterrupt:
        if has_begun:
            how = "the service goes on with it when it starts" if is_own else "it goes on in the service"
            hint = f"{how}; idp-adapter {kind.command} --watch follows it, --cancel ends it"
            Console(stderr=True, highlight=False).print(hint, markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    if ways.json:
        write_json([orjson.dumps(job)])
    else:
        show(job)
    if job["state"] != "done" and not ways.cancel:
        raise typer.Exit(1)


async def follow(client: Client, job: Any, path: str, doing: str) -> Any:
    """A job at its end, shown on a terminal meanwhile. ``path`` shows the job; ``doing`` says what it does."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(doing, total=job["end"] - job["begin"])
        while job["state"] == "running":
            progress.update(bar, completed=job["position"] - job["begin"])
            await asyncio.sleep(LOOKING)
            job = await client.ask("GET", path)
    return job
