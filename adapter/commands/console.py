"""``idp-adapter console``: the way into the service's pages."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from adapter.commands.client import ended, open_client
from adapter.commands.options import At, grouped
from adapter.commands.output import say, write_json

app = typer.Typer(no_args_is_help=True, help="Open the console, the service's pages for a browser.")


@app.callback()
def _group() -> None:
    pass


@app.command("link")
@grouped
def link(
    json: Annotated[bool, typer.Option("--json", help="As JSON: the service's answer.")] = False, *, at: At
) -> None:
    """Print a link that signs in to the console once, within 15 minutes, with the rights of the token that asks for it.

    For example: idp-adapter console link
    """

    async def asking() -> Any:
        async with open_client(at, running=True) as client:
            return await client.ask("POST", "/console/links")

    made = ended(asking())
    if json:
        write_json([orjson.dumps(made)])
        return
    say(f"signs in as {made['name']}, once, within 15 minutes:", err=True)
    say(made["url"])
