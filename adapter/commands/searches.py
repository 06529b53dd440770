"""``idp-adapter searches``: filters with a name, for ``--search`` of other commands."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import orjson
import typer
from rich.text import Text

from adapter.commands.client import fail, run
from adapter.commands.columns import Column, fitted
from adapter.commands.filters import Filters
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, say, write_json
from adapter.commands.timestamps import InUtc, shown_time, shown_zone
from adapter.formats.text import harmless

app = typer.Typer(no_args_is_help=True, help="Save searches, and use them with --search.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
@grouped
def list_searches(json: Json = False, utc: InUtc = False, *, at: At) -> None:
    """Show the saved searches of all who have the same limits.

    For example: idp-adapter searches list
    """
    found = run(lambda client: client.ask("GET", "/searches"), at)["searches"]
    if json:
        write_json(map(orjson.dumps, found))
        return
    console = console_of_output()
    if not found:
        console.print("No searches are saved: idp-adapter searches save NAME --outcome failure --from 7d")
        return
    zone = shown_zone(utc)
    columns = [
        Column("name", [Text(harmless(one["name"])) for one in found], 64, 20),
        Column("query", [Text(harmless(one["query"])) for one in found], 200, 30),
        Column("saved", [Text(shown_time(one["savedAt"], zone)) for one in found], 30, 10, spare=1),
        Column("by", [Text(harmless(one["savedBy"])) for one in found], 64, 10, spare=2),
    ]
    console.print(fitted(columns, console.width))


@app.command()
@grouped
def save(
    name: Name,
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="QUERY", help="The filters as in an address: 'type=LOGIN_ERROR&from=7d'."),
    ] = None,
    *,
    filters: Filters,
    at: At,
) -> None:
    """Save filters under a name, in the place of those that it had.

    Times ago, such as --from 7d, are counted from when it is used.

    For example: idp-adapter searches save failed-logins --type LOGIN_ERROR --from 7d
    """
    given = [
        (name, {"from": filters.since, "to": filters.until}.get(name) or value) for name, value in filters.query(at)
    ]
    if (query is None) == (not given):
        fail("give either --query, or filters such as --outcome failure")
    body = {"query": urlencode(given) if query is None else query}
    saved = run(lambda client: client.ask("PUT", _path(name), body), at)
    say(f"{harmless(saved['name'])}: {harmless(saved['query'])}")


@app.command()
@grouped
def show(name: Name, json: Json = False, *, at: At) -> None:
    """Show the filters of a saved search.

    For example: idp-adapter searches show failed-logins
    """
    found = run(lambda client: client.ask("GET", _path(name)), at)
    if json:
        write_json([orjson.dumps(found)])
    else:
        say(harmless(found["query"]))


@app.command()
@grouped
def delete(name: Name, *, at: At) -> None:
    """Delete a saved search.

    For example: idp-adapter searches delete failed-logins
    """
    run(lambda client: client.ask("DELETE", _path(name)), at)
    say(f"{harmless(name)} is deleted")


def _path(name: str) -> str:
    return f"/searches/{quote(name, safe='')}"
