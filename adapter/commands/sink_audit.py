"""``idp-adapter sinks audit``: hold the counters of a sink against the log."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from adapter.commands.client import Client, run
from adapter.commands.jobs import follow
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.formats.text import harmless


def audit(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="The sinks; none: all.")] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", min=0, help="Entries a second; default: 20000; 0: as fast as it goes.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="What it found, as JSON, a line for each sink.")] = False,
    *,
    at: At,
) -> None:
    """Evaluate the log again with the present filter of a sink, and hold what it counted against it. It reads in the
    background, and changes nothing; ends with 1 if something does not add up.

    For example: idp-adapter sinks audit soc
    """
    question = {} if rate is None else {"rate": rate}

    async def working(client: Client) -> list[dict[str, Any]]:
        found = []
        asked = names or [sink["name"] for sink in (await client.ask("GET", "/status"))["sinks"]]
        for name in asked:
            path = f"/sinks/{name}/audit"
            job = await client.ask("POST", path, question)
            found.append(await follow(client, job, path, f"auditing {harmless(name)}"))
        return found

    audits = run(working, at)
    if json:
        write_json([orjson.dumps(one) for one in audits])
    else:
        for one in audits:
            _tell(one)
        if not audits:
            say("there are no sinks")
    if any(one["state"] != "done" or one["differences"] for one in audits):
        raise typer.Exit(1)


def _tell(audit: dict[str, Any]) -> None:
    differences = audit["differences"]
    how = "adds up" if not differences else f"{len(differences)} differences"
    told = how if audit["state"] == "done" else audit["state"]
    places = f"positions {audit['begin'] + 1} to {audit['position']}, epoch {audit['epoch']}"
    say(f"{harmless(audit['sink'])}: {told}; {places}")
    say(f"  {audit['matched']:>9}  counted as matched; the filter takes {audit['found']} of what the log has now")
    for count, meaning in (
        (audit["carried"], "were held before the epoch began, and count, too"),
        (audit["removed"], "were removed from the log after the sink had passed them"),
        (audit["unknown"], "were removed from the log before the sink came to them, and count as skipped"),
        (audit["rows"], "held or dead"),
        (audit["rows_removed"], "of these are no more in the log"),
    ):
        if count:
            say(f"  {count:>9}  {meaning}")
    for one in differences:
        places = ", ".join(map(str, one["positions"]))
        numbers = [f"{name} {one[name]}" for name in ("counted", "found") if one[name] is not None]
        say(f"  DIFFERS    {harmless(one['what'])}: {', '.join(numbers)}{f'; positions {places}' if places else ''}")
    for note in audit["notes"]:
        say(f"  {harmless(note)}")
    if audit["problem"]:
        say(f"  {harmless(audit['problem'])}")
