"""``idp-adapter sinks skip``: give up one event of a sink."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import orjson
import typer

from adapter.commands.client import run
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.formats.text import harmless


def skip(
    name: Annotated[str, typer.Argument(help="The sink.")],
    uid: Annotated[str, typer.Argument(metavar="UID", help="The event: its uid, or its provider's id.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why: kept with it, for people.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON: the service's answer.")] = False,
    *,
    at: At,
) -> None:
    """Give up one event that is held or dead: it counts as skipped, and what waits for it in its key goes on.

    For example: idp-adapter sinks skip soc 018f4c1e-0000-8000-8000-000000000001 --reason 'too large for them'
    """
    path, asked = f"/sinks/{quote(name, safe='')}/skip", {"uid": uid, "reason": reason or ""}
    found = run(lambda client: client.ask("POST", path, asked), at)
    if json:
        write_json([orjson.dumps(found)])
    else:
        said = "was dead" if found["wasDead"] else "waited for its next try"
        say(f"skipped {harmless(found['uid'])}, which {said}: {harmless(found['reason'])}")
