"""``idp-adapter events explain`` and ``events revisions``: how an event was read."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.text import Text

from adapter.commands.client import run
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.options import At
from adapter.commands.output import console_of_output, say, write_json
from adapter.formats.text import harmless

_Uid = Annotated[str, typer.Argument(metavar="UID", help="The event's uid, or the id that its provider gave it.")]


def explain(
    uid: _Uid,
    json: Annotated[bool, typer.Option("--json", help="As JSON, on one line.")] = False,
    *,
    at: At,
) -> None:
    """Say which rows and paths of the table in use make an event of what the provider sent for it. Needs the
    permission raw.

    For example: idp-adapter events explain 69f8520c-2a0e-8c0a-9a57-0f0f6a1c9e11
    """
    found = run(lambda client: client.ask("GET", f"/events/{quote(uid, safe='')}/explain"), at)
    if json:
        write_json([orjson.dumps(found)])
        return
    if found["madeBy"] != found["explainedBy"]:
        say(harmless(f"made by {found['madeBy']}; explained by {found['explainedBy']}, which is in use"))
    for one in found["explanations"]:
        for what in ("shapes", "rows"):
            for tried in one[what]:
                said = "taken" if tried["taken"] else f"not taken: {tried['failed']}"
                say(harmless(f"{what.removesuffix('s')} {tried['name']}: {said}"))
        if one["problem"]:
            say(harmless(f"no event: {one['problem']}"))
        fields = [(name, origin["value"], origin["by"]) for name, origin in one["fields"].items()]
        fields += [(name, "", f"nothing at {by}") for name, by in one["absent"].items()]
        if fields:
            console = console_of_output()
            console.print(fitted(_columns(fields), console.width))


def revisions(uid: _Uid, *, at: At) -> None:
    """Write an event as it was read each time, the latest reading first: JSON, one a line.

    For example: idp-adapter events revisions 69f8520c-2a0e-8c0a-9a57-0f0f6a1c9e11
    """
    found: Any = run(lambda client: client.ask("GET", f"/events/{quote(uid, safe='')}/revisions"), at)
    write_json(map(orjson.dumps, found["events"]))


def _columns(fields: list[tuple[str, str, str]]) -> list[Column]:
    names, values, by = zip(*fields, strict=True)
    cells: list[list[Text]] = [[plain(one) for one in column] for column in (names, values, by)]
    return [
        Column("field", cells[0], 64, 16),
        Column("value", cells[1], 200, 20, wrapped=True),
        Column("made by", cells[2], 200, 20, wrapped=True),
    ]
