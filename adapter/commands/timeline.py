"""``idp-adapter timeline``: what one person, session or address did, told as stories."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
import typer
from rich.text import Text

from adapter.commands.client import Client, fail, run
from adapter.commands.columns import Column, fitted
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, write_json
from adapter.commands.timestamps import InUtc, read_timestamp, shown_time, shown_zone
from adapter.formats.text import harmless

_COLOURS = {"success": "green", "failure": "red", "unknown": "yellow"}


@grouped
def timeline(
    user: Annotated[
        str | None, typer.Argument(metavar="[USER]", help="Id, name or e-mail address of a user; or SOURCE:USERID.")
    ] = None,
    session: Annotated[str | None, typer.Option("--session", help="The provider's session id, instead.")] = None,
    ip: Annotated[str | None, typer.Option("--ip", help="Address or network, instead.")] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Only of this source; repeatable.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="Not before this: 7d, 2026-01-31T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=10_000, help="How many stories, at least.")] = 30,
    why: Annotated[bool, typer.Option("--why", help="Also why the events are told of this person.")] = False,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The newest first.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One story a line.")] = False,
    utc: InUtc = False,
    *,
    at: At,
) -> None:
    """Tell what one person did, at all providers: the latest, the newest last.

    A login is one line, however many events its provider sends of it, with the failed tries before it.

    For example: idp-adapter timeline zoe@acme.example --from 7d
    """
    given = [(name, value) for name, value in (("user", user), ("session", session), ("ip", ip)) if value is not None]
    if len(given) != 1:
        fail("name one of: a USER, --session, --ip")
    query = given + [("source", one) for one in source or ()]
    now = datetime.now(UTC)
    query += [
        (name, read_timestamp(f"--{name}", value, now))
        for name, value in (("from", since), ("to", until))
        if value is not None
    ]

    async def read(client: Client) -> tuple[list[dict[str, Any]], list[dict[str, Any]], bool]:
        found: list[dict[str, Any]] = []
        accounts: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            rest = [("limit", str(min(500, limit)))] + ([] if cursor is None else [("cursor", cursor)])
            page = await client.ask("GET", f"/timeline?{urlencode(query + rest)}")
            found += page["items"]
            accounts = page["accounts"] or accounts
            if page["next"] in (None, cursor):
                return found, accounts, False
            if len(found) >= limit:
                return found, accounts, True
            cursor = page["next"]

    found, accounts, more = run(read, at)
    if json:
        write_json(map(orjson.dumps, found if reverse else found[::-1]))
        return
    console, zone = console_of_output(), shown_zone(utc)
    for one in accounts:
        name = f" ({harmless(one['username'])})" if one["username"] else ""
        console.print(
            Text(f"{harmless(one['source'])}: {harmless(one['userId'])}{name}, by {harmless(one['linkedBy'])}"),
            soft_wrap=True,
        )
    if not found:
        console.print(
            "Nothing is known. Failed logins under a name alone are nobody's: idp-adapter events list --user."
        )
        return
    shown = found if reverse else found[::-1]
    columns = [
        Column("time", [Text(shown_time(one["time"], zone)) for one in shown], 25, 20),
        Column("source", [Text(harmless(one["source"])) for one in shown], 24, 8, spare=1),
        Column(
            "what", [Text(_what(one), style=_COLOURS.get(one["outcome"], "")) for one in shown], 400, 30, wrapped=True
        ),
        Column("events", [Text(str(len(one["uids"]))) for one in shown], 6, 6, spare=2, right=True),
    ]
    if why:
        columns.append(
            Column("why", [Text(harmless("; ".join(one["linkedBy"]))) for one in shown], 200, 20, wrapped=True)
        )
    console.print(fitted(columns, console.width))
    if more:
        console.print("There is more before it: --limit shows more, --to goes on.", soft_wrap=True)


def _what(one: dict[str, Any]) -> str:
    text = harmless(one["sentence"])
    codes = [code for code in one["codes"] if code["outcome"] == "failure"]
    return text + (f" ({len(codes)} wrong codes)" if len(codes) > 1 else "")
