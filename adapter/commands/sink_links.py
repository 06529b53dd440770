"""``idp-adapter sinks link``: links by which a receiver's own people look after their sink."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from adapter.commands.client import Client, run
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.formats.text import counted, harmless


def link(
    name: Annotated[str, typer.Argument(help="The sink.")],
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="TIME", help="For how long: 12h, 7d (the default), up to 90d.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="For whom it is: shown in lists and events.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Make none, and show those there are.")] = False,
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="ID", help="Make none, and end this one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON: the service's answer.")] = False,
    *,
    at: At,
) -> None:
    """Make a link for a receiver's own people: for a time they see what was sent to their sink, test it, replace its
    secret and have events sent again. It is shown this once.

    For example: idp-adapter sinks link soc --expires-in 30d --label 'SOC of ACME'
    """
    path = f"/sinks/{quote(name, safe='')}/links"
    asked = {"expires_in": expires_in, "label": label}

    async def asking(client: Client) -> Any:
        if revoke is not None:
            return await client.ask("DELETE", f"{path}/{quote(revoke, safe='')}")
        if list_:
            return await client.ask("GET", path)
        return await client.ask("POST", path, {key: one for key, one in asked.items() if one is not None})

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(one) for one in (found["links"] if list_ and revoke is None else [found])])
    elif revoke is not None:
        say(f"revoked {harmless(found['id'])}")
    elif list_:
        for one in found["links"]:
            say(f"{harmless(one['id'])}  until {_written(one['expiresAt'])}  {harmless(one['label'])}".rstrip())
        say(counted(len(found["links"]), "link") if found["links"] else "there are no links")
    else:
        say(found["url"])
        say(f"link {harmless(found['id'])}, until {_written(found['expiresAt'])}; whoever has it can use it")


def _written(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
