"""``idp-adapter people``: who is known, since when, and what failed since."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, get_args
from urllib.parse import quote, urlencode

import orjson
import typer
from rich.console import Console
from rich.text import Text

from adapter.commands.client import Client, run, tell
from adapter.commands.columns import Column, fitted
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, write_json
from adapter.commands.timestamps import InUtc, read_timestamp, shown_time, shown_zone
from adapter.formats.text import counted, harmless
from adapter.mapping.times import read_zone
from adapter.search.people import Sort

app = typer.Typer(
    no_args_is_help=True, help="Find accounts: when they were seen, who got in with them last, what failed since."
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Sources = Annotated[list[str] | None, typer.Option("--source", help="Name of a source. Repeatable.")]
Realms = Annotated[list[str] | None, typer.Option("--realm", help="Realm or tenant. Repeatable.")]
Sorting = StrEnum("Sorting", {one: one for one in get_args(Sort)})  # type: ignore[misc]
Bucket = StrEnum("Bucket", {"day": "day", "month": "month"})

#: Characters of the longest bar.
_BAR = 30


@app.command("list")
@grouped
def list_people(
    q: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A user id, or how a name begins.")] = None,
    dormant_since: Annotated[
        str | None, typer.Option("--dormant-since", help="Not seen since: 90d, 2026-01-31T00:00:00Z.")
    ] = None,
    failures: Annotated[
        int | None, typer.Option("--failures-min", min=1, help="So many failed logins since the last success.")
    ] = None,
    sources: Sources = None,
    realms: Realms = None,
    sort: Annotated[
        Sorting, typer.Option("--sort", help="By when it was seen or used, or by failures; -: the greatest first.")
    ] = Sorting["-last"],
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=10_000, help="How many.")] = 30,
    json: Json = False,
    utc: InUtc = False,
    *,
    at: At,
) -> None:
    """Show accounts, those that were seen last first.

    For example: idp-adapter people list --dormant-since 90d --sort last
    """
    given = {"q": q, "sort": str(sort), "failures_min": None if failures is None else str(failures)}
    if dormant_since is not None:
        given["dormant_since"] = read_timestamp("--dormant-since", dormant_since, datetime.now(UTC))
    query = [(name, value) for name, value in given.items() if value is not None] + _where(sources, realms)

    async def read(client: Client) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            rest = [("limit", str(min(200, limit - len(found))))] + ([] if cursor is None else [("cursor", cursor)])
            page = await client.ask("GET", f"/people?{urlencode(query + rest)}")
            found += page["people"]
            if len(found) >= limit or page["next"] in (None, cursor):
                return found, page
            cursor = page["next"]

    found, page = run(read, at)
    if json:
        write_json(map(orjson.dumps, found))
        return
    console, zone = console_of_output(), shown_zone(utc)
    if found:
        console.print(_table(found, console.width, zone))
    else:
        console.print("Nobody is known by that.")
    if page["next"] is not None:
        console.print("There are more: --limit shows more.", soft_wrap=True)
    _tell_since(page["since"], zone)


@app.command()
@grouped
def show(
    id: Annotated[str, typer.Argument(metavar="USER", help="SOURCE:USERID, or an id, a name or an address.")],
    json: Json = False,
    utc: InUtc = False,
    *,
    at: At,
) -> None:
    """Show one person: accounts, last success and how, failures since, devices and addresses.

    For example: idp-adapter people show zoe@acme.example
    """
    found = run(lambda client: client.ask("GET", f"/people/{quote(id, safe='')}"), at)
    if json:
        write_json([orjson.dumps(found)])
        return
    console, zone = console_of_output(), shown_zone(utc)
    console.print(_table(found["accounts"], console.width, zone))
    for one in found["accounts"]:
        console.print(Text(f"{harmless(one['id'])}: {harmless(one['linkedBy'])}"), soft_wrap=True)
        if one["login"] is not None:
            console.print(
                Text(f"  last login {shown_time(one['login']['time'], zone)}: {_how(one['login'])}"), soft_wrap=True
            )
    logins = counted(found["logins"], "login")
    for what, used in (("device", found["devices"]), ("address", found["addresses"])):
        if used:
            console.print()
            console.print(_used(what, used, zone, console))
    if found["devices"] or found["addresses"]:
        console.print(f"of the last {logins}", soft_wrap=True)
    _tell_since(found["since"], zone)


@app.command()
@grouped
def active(
    bucket: Annotated[Bucket, typer.Option("--bucket", help="day or month.")] = Bucket["day"],
    since: Annotated[str | None, typer.Option("--from", help="Default: 30 days, or 12 months, ago.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Default: now.")] = None,
    tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="Whose days these are: Europe/Berlin.")] = "UTC",
    sources: Sources = None,
    realms: Realms = None,
    json: Json = False,
    *,
    at: At,
) -> None:
    """Count the accounts that were active on each day or in each month, and those with which somebody got in.

    For example: idp-adapter people active --bucket month
    """
    now = datetime.now(UTC)
    query = [("bucket", str(bucket)), ("tz", tz), *_where(sources, realms)]
    query += [
        (name, read_timestamp(f"--{name}", value, now))
        for name, value in (("from", since), ("to", until))
        if value is not None
    ]
    found = run(lambda client: client.ask("GET", f"/people/active?{urlencode(query)}"), at)
    if json:
        write_json([orjson.dumps(found)])
        return
    console, zone = console_of_output(), read_zone(found["tz"])
    most = max((one or 0 for one in found["seen"]), default=0) or 1
    columns = [
        Column("from", [Text(shown_time(start, zone)[:10]) for start in found["starts"]], 25, 10),
        Column("active", [_number(one) for one in found["seen"]], 20, 8, right=True),
        Column("logged in", [_number(one) for one in found["loggedIn"]], 20, 9, right=True),
    ]
    if console.is_terminal:
        drawn = [Text("█" * round((one or 0) / most * _BAR), style="cyan") for one in found["seen"]]
        columns.append(Column("", drawn, _BAR, _BAR, spare=1))
    console.print(fitted(columns, console.width))
    if found["partial"]:
        tell(["partial: there was no time to count all; narrow it, for example with --from"])


def _where(sources: list[str] | None, realms: list[str] | None) -> list[tuple[str, str]]:
    return [*(("source", one) for one in sources or ()), *(("realm", one) for one in realms or ())]


def _table(found: list[dict[str, Any]], width: int, zone: Any) -> Any:
    columns = [
        Column("account", [Text(harmless(one["username"] or one["userId"])) for one in found], 60, 16),
        Column("source", [Text(harmless(one["source"])) for one in found], 30, 8),
        Column("realm", [Text(harmless(one["realmName"] or one["realmId"] or "")) for one in found], 40, 8, spare=4),
        Column("first seen", [Text(shown_time(one["firstSeen"], zone)) for one in found], 25, 20, spare=3),
        Column("last seen", [Text(shown_time(one["lastSeen"], zone)) for one in found], 25, 20),
        Column("last login", [_time(one["lastSuccess"], zone) for one in found], 25, 20),
        Column("failures", [_failures(one["failures"]) for one in found], 10, 8, right=True),
        Column("how", [Text(_how(one["login"]) if one["login"] else "") for one in found], 80, 20, spare=2),
    ]
    return fitted(columns, width)


def _used(what: str, used: list[dict[str, Any]], zone: Any, console: Console) -> Any:
    names = [f"{one['name']} ({one['place']})" if one["place"] else one["name"] for one in used]
    return fitted(
        [
            Column(what, [Text(harmless(name)) for name in names], 80, 20),
            Column("first", [Text(shown_time(one["first"], zone)) for one in used], 25, 20, spare=1),
            Column("last", [Text(shown_time(one["last"], zone)) for one in used], 25, 20),
            Column("logins", [Text(str(one["logins"])) for one in used], 8, 6, right=True),
        ],
        console.width,
    )


def _how(login: dict[str, Any]) -> str:
    said = [
        f"to {login['client']}" if login["client"] else None,
        f"from {login['ip']}" if login["ip"] else None,
        f"({login['place']})" if login["place"] else None,
        f"by {login['method']}" if login["method"] else None,
        f"with {login['factor']}" if login["factor"] else None,
        f"on {login['device']}" if login["device"] else None,
    ]
    return harmless(" ".join(one for one in said if one))


def _time(time: int | None, zone: Any) -> Text:
    return Text("never", style="dim") if time is None else Text(shown_time(time, zone))


def _failures(number: int) -> Text:
    return Text(str(number), style="red" if number else "dim")


def _number(number: int | None) -> Text:
    return Text("?", style="dim") if number is None else Text(str(number))


def _tell_since(since: int | None, zone: Any) -> None:
    if since is not None:
        tell([f"known since {shown_time(since, zone)}: of what was before, no event is there"])
