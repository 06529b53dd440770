"""``idp-adapter events scrub``: take secrets out of what is stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from adapter.commands.client import Client, fail, run
from adapter.commands.jobs import follow
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.formats.text import harmless

#: Bytes of a file of texts.
SIZE = 1024 * 1024
#: Characters of a text, as the service takes them.
SHORTEST = 8


def scrub(
    texts: Annotated[
        str | None,
        typer.Option(
            "--texts",
            metavar="FILE",
            help="File with secrets beside those that the service knows, one a line, 8 or more characters each; - for "
            "standard input.",
        ),
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Also what the sources' tables redact now.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Change what is stored; without it, it is only shown.")] = False,
    after: Annotated[
        int, typer.Option("--after", min=0, help="Begin behind this position, to go on with one that was broken off.")
    ] = 0,
    rate: Annotated[
        int | None, typer.Option("--rate", min=0, help="Entries a second; default: 10000; 0: as fast as it goes.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Start nothing, and follow the one under way.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Start nothing, and cancel the one under way.")] = False,
    json: Annotated[bool, typer.Option("--json", help="How it ended, as JSON.")] = False,
    *,
    at: At,
) -> None:
    """Take secrets out of what is stored: those that the service knows (its tokens, and those of its sources and
    sinks), and those of a file. Positions, uids and keys stay; an event system.EVENTS-SCRUBBED says which entries were
    changed, and which sinks had had them. Without --yes nothing is changed.

    For example: idp-adapter events scrub --texts leaked.txt
    """
    given = [] if texts is None else _read(texts)
    question = {"texts": given, "redact": redact, "dry_run": not yes, "after": after}
    if rate is not None:
        question["rate"] = rate
    is_started = False

    async def working(client: Client) -> dict[str, Any]:
        nonlocal is_started
        if cancel or watch:
            job = await client.ask("GET", "/scrub")
            if job["state"] != "running":
                say("nothing is under way; this was the last one:", err=True)
            elif cancel:
                job = await client.ask("DELETE", "/scrub")
        else:
            job = await client.ask("POST", "/scrub", question)
        is_started = not client.own
        followed: dict[str, Any] = await follow(client, job, "/scrub", "looking for secrets")
        return followed

    try:
        job = run(working, at)
    except KeyboardInterrupt:
        if is_started:
            say("it goes on in the service; idp-adapter events scrub --watch follows it, --cancel ends it", err=True)
        raise typer.Exit(130) from None
    if json:
        write_json([orjson.dumps(job)])
    else:
        _tell(job)
    if job["state"] != "done" and not cancel:
        raise typer.Exit(1)


def _read(name: str) -> list[str]:
    """The texts of a file. What is wrong with it ends the command, and repeats nothing of it."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(SIZE + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(SIZE + 1)
        lines = data.decode().splitlines()
    except OSError as error:
        fail(f"{name}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"{name}: is not UTF-8")
    if len(data) > SIZE:
        fail(f"{name}: is larger than {SIZE} bytes; give fewer secrets at a time")
    given = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and len(line) < SHORTEST:
            fail(f"{name}:{number}: has less than {SHORTEST} characters; of shorter texts too much would be changed")
        if line:
            given.append(line)
    if not given:
        fail(f"{name}: holds no secret; one a line is right")
    return given


def _tell(job: dict[str, Any]) -> None:
    is_dry, found = job["question"]["dry_run"], job["entries"]
    say(f"{'dry run' if is_dry else 'scrub'} {job['state']}: looked at the entries up to position {job['position']}")
    say(f"  {found} {'entry holds' if found == 1 else 'entries hold'} a secret"
        if is_dry else f"  {found} {'entry was' if found == 1 else 'entries were'} changed")  # fmt: skip
    for source, count in sorted(job["sources"].items(), key=lambda one: -one[1]):
        say(f"  {count:>9}  of source {harmless(source)}")
    for sink, count in job["sinks"].items():
        say(f"  {count:>9}  had been sent to, or passed over by, sink {harmless(sink)}")
    for problem, count in sorted(job["problems"].items(), key=lambda one: -one[1]):
        say(f"  {count:>9}  could not be looked into: {harmless(problem)}")
    if job["positions"]:
        shown = sum(last - first + 1 for first, last in job["positions"])
        places = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in job["positions"])
        say(f"  positions: {places}{', …' if shown < found else ''}")
    if job["problem"]:
        say(f"  {harmless(job['problem'])}")
    if job["state"] in ("broken_off", "cancelled") and job["position"] < job["end"]:
        say(f"  to go on: the same command with --after {job['position']}")
    elif is_dry and found:
        say("  nothing was changed; --yes takes them out")
