"""``idp-adapter events changes``: what an admin event changed."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.text import Text

from adapter.commands.client import Client, run
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.options import At
from adapter.commands.output import console_of_output, write_json

_COLOURS = {"changed": "yellow", "added": "green", "removed": "red", "hidden": "magenta", "not_stated": "dim"}
_NOTHING_BEFORE = {
    "none_seen": "no earlier event about it is in the log",
    "removed": "no earlier event about it is in the log any more; older entries were removed",
    "deleted": "the event before deleted it",
    "without_representation": "the events before failed, or say nothing that can be compared",
}


def changes(
    uid: Annotated[str, typer.Argument(metavar="UID", help="The event's uid, or the id that its provider gave it.")],
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also the fields of which the event says nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
    *,
    at: At,
) -> None:
    """Show what an admin event changed, field by field: what earlier events about the same resource said, and what it
    says.

    For example: idp-adapter events changes 69f8520c-2a0e-8c0a-9a57-0f0f6a1c9e11
    """

    async def asking(client: Client) -> Any:
        return await client.ask("GET", f"/events/{quote(uid, safe='')}/changes")

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(found)])
        return
    console = console_of_output()
    about = f" of {found['resource']}" if found["resource"] else ""
    failed = "; it failed, these changes were asked for" if found["outcome"] == "failure" else ""
    console.print(plain(f"{found['type']}{about}{failed}"), soft_wrap=True)
    if found["nothingBefore"] is not None:
        why = _NOTHING_BEFORE.get(found["nothingBefore"], found["nothingBefore"])
        console.print(f"What was before is not known: {why}.", soft_wrap=True)
    if found["problem"] is not None:
        console.print(plain(found["problem"]), soft_wrap=True)
    shown = [one for one in found["changes"] if everything or one["change"] != "not_stated"]
    if shown:
        console.print(fitted(_columns(shown), console.width))
    left_out = len(found["changes"]) - len(shown)
    notes = [
        *([] if shown else ["nothing is known to have changed"]),
        *([f"{found['unchanged']} fields are as they were"] if found["unchanged"] else []),
        *([f"{left_out} are not stated, --all shows them"] if left_out else []),
        *(["there are more differences than are listed"] if found["partial"] else []),
    ]
    if notes:
        console.print("; ".join(notes), soft_wrap=True)


def _columns(shown: list[dict[str, Any]]) -> list[Column]:
    return [
        Column("change", [Text(one["change"], _COLOURS.get(one["change"], "")) for one in shown], 10, 7),
        Column("field", [plain(one["path"]) for one in shown], 200, 16, wrapped=True),
        Column("before", [_value(one, "old") for one in shown], 400, 10, wrapped=True),
        Column("after", [_value(one, "new") for one in shown], 400, 10, wrapped=True),
    ]


def _value(one: dict[str, Any], name: str) -> Text:
    if name not in one:
        return Text("")
    value = one[name]
    return plain(value if isinstance(value, str) else orjson.dumps(value).decode())
