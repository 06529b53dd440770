"""``idp-adapter events renormalize``: have stored raw events read again by the present tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from adapter.commands.client import Client, run, tell
from adapter.commands.jobs import follow
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.commands.stored import WOULD, told_findings
from adapter.commands.timestamps import read_timestamp

#: States of a job that has not ended.
_UNDER_WAY = ("running", "waiting")

_MEANING = {
    "recovered": "quarantined until then, events now",
    "corrected": "read differently now: a revision each",
    "unchanged": "",
    "quarantined": "still quarantined",
    "kept": "would be no event now; they stay as they are",
}


def renormalize(
    provider: Annotated[str | None, typer.Option("--provider", help="Of this provider alone.")] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", help="Unified type or glob as in the feed, or quarantined for what has no event. Repeatable."
        ),
    ] = None,
    native_types: Annotated[
        list[str] | None, typer.Option("--native-type", help="The provider's own type. Repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Arrived at or after: 2026-05-01T08:30:00Z, epoch ms, or '2h', '7d'.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Arrived before; written as for --since.")] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", min=0, help="Entries a second; default: 5000; 0: as fast as it goes.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Append nothing, and show what would differ.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Start nothing, and follow the one under way.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Start nothing, and cancel the one under way.")] = False,
    json: Annotated[bool, typer.Option("--json", help="How it ended, as JSON.")] = False,
    *,
    at: At,
) -> None:
    """Read stored raw events again by the present tables: what was quarantined becomes an event, what reads
    differently gets a revision. Ctrl-C leaves it going.

    For example: idp-adapter events renormalize --provider onewelcome --type quarantined --dry-run
    """
    now = datetime.now(UTC)
    question = {
        "provider": provider,
        "type": types,
        "native_type": native_types,
        "received_from": None if since is None else read_timestamp("--since", since, now),
        "received_to": None if until is None else read_timestamp("--until", until, now),
        "rate": rate,
        "dry_run": dry_run or None,
    }
    going = _Going()

    async def working(client: Client) -> dict[str, Any]:
        if cancel or watch:
            job = await client.ask("GET", "/renormalization")
            if job["state"] not in _UNDER_WAY:
                say("nothing is under way; this was the last one:", err=True)
            elif cancel:
                job = await client.ask("DELETE", "/renormalization")
        else:
            asked = {name: value for name, value in question.items() if value is not None}
            job = await client.ask("POST", "/renormalization", asked)
            tell(job["hints"])
        going.started, going.own = True, client.own
        followed: dict[str, Any] = await follow(client, job, "/renormalization", "reading again")
        return followed

    try:
        job = run(working, at)
    except KeyboardInterrupt:
        going.say()
        raise typer.Exit(130) from None
    if json:
        write_json([orjson.dumps(job)])
    else:
        _tell(job)
    if job["state"] != "done" and not cancel:
        raise typer.Exit(1)


class _Going:
    """What is said to somebody who stops looking."""

    def __init__(self) -> None:
        self.started = False
        self.own = False

    def say(self) -> None:
        if self.started:
            how = "the service goes on with it when it starts" if self.own else "it goes on in the service"
            hint = "idp-adapter events renormalize --watch follows it, --cancel ends it"
            Console(stderr=True, highlight=False).print(f"{how}; {hint}", markup=False, soft_wrap=True)


def _tell(job: dict[str, Any]) -> None:
    counts = job["counts"]
    dry = job["question"]["dry_run"]
    what = "dry run" if dry else "renormalization"
    say(f"{what} {job['state']}: looked at {counts['looked_at']} entries, up to position {job['position']}")
    for line in told_findings(job, WOULD if dry else _MEANING):
        say(line)
    if job["problem"]:
        say(f"  {job['problem']}")
