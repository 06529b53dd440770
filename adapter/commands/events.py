"""``idp-adapter events``: list, show and export what is in the log."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

import orjson
import typer
from rich.table import Table
from rich.text import Text

from adapter.api.headers import HINTS
from adapter.commands.client import Client, Refused, fail, read_answer, run, tell
from adapter.commands.columns import Column, fitted, make_console, plain
from adapter.commands.options import Config, Data
from adapter.commands.output import Output, shown, write_json
from adapter.commands.renormalize import renormalize
from adapter.commands.scrub import scrub
from adapter.commands.timestamps import read_timestamp
from adapter.filter import PARAMETERS
from adapter.formats.settings import DEFAULT, format_names
from adapter.formats.text import laid_out

app = typer.Typer(
    no_args_is_help=True,
    help="Find events, write them out, read them again. Talks to the service that runs on the data folder, or opens "
    "the folder.",
)


class Order(StrEnum):
    """What comes first."""

    TIME = "time"
    LOG = "log"


Types = Annotated[list[str] | None, typer.Option("--type", help="Type or glob, such as 'access.*_ERROR'. Repeatable.")]
Outcomes = Annotated[list[str] | None, typer.Option("--outcome", help="success, failure or unknown. Repeatable.")]
Users = Annotated[list[str] | None, typer.Option("--user", help="Who acted or was acted upon, id or name. Repeatable.")]
Clients = Annotated[list[str] | None, typer.Option("--client", help="Client or application. Repeatable.")]
Addresses = Annotated[list[str] | None, typer.Option("--ip", help="Address or CIDR. Repeatable.")]
Sources = Annotated[list[str] | None, typer.Option("--source", help="Name of a source. Repeatable.")]
Since = Annotated[
    str | None, typer.Option("--from", help="At or after: 2026-05-01T08:30:00Z, epoch ms, or '2h', '7d' ago.")
]
Until = Annotated[str | None, typer.Option("--to", help="Before; written as for --from.")]
Words = Annotated[str | None, typer.Option("-q", "--words", help="Words that all occur.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Any filter of docs/read-the-feed.md, such as realm=acme, reason=locked, not_client=poller. Repeatable.",
    ),
]
Sorting = Annotated[Order, typer.Option("--order", help="time: newest first; log: in the order of arrival.")]

#: Columns of a terminal in which an outcome is shown beside its reason.
_WIDE = 100

_COLOURS = {"success": "green", "failure": "red", "unknown": "yellow"}


@app.command("list")
def list_events(
    types: Types = None,
    outcomes: Outcomes = None,
    users: Users = None,
    clients: Clients = None,
    addresses: Addresses = None,
    sources: Sources = None,
    since: Since = None,
    until: Until = None,
    words: Words = None,
    where: Where = None,
    order: Sorting = Order.TIME,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One event a line, as it is stored.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Show events, newest first.

    For example: idp-adapter events list --type 'access.LOGIN*' --outcome failure --from 2h
    """
    query = _query(types, outcomes, users, clients, addresses, sources, since, until, words, where)
    query += [("order", order)]

    async def listing(client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        next: str | None = None
        while True:
            rest = [("limit", str(limit - len(found))), *([] if next is None else [("cursor", next)])]
            async with client.get("/events", query + rest) as response:
                page = orjson.loads(await read_answer(response))
            if next is None:
                tell(page.get("hints", ()))
            found += page["events"]
            # A page may be short of what was asked, where events are large or few of many match.
            if len(found) >= limit or page["next"] in (None, next):
                return found
            next = page["next"]

    events = run(listing, config, data)
    if json:
        write_json(map(orjson.dumps, events))
        return
    console = make_console()
    if not events:
        console.print(
            "No events. Filters narrow the list; system.* events come only with --type 'system.*'.", soft_wrap=True
        )
        return
    console.print(_table(events, console.width))


@app.command()
def show(
    uid: Annotated[
        str,
        typer.Argument(
            help="Its uid, as events list --json, events quarantine and the answers to posts give it, or the id that "
            "its provider gave it."
        ),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="Also what the provider sent.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Show one event in full, or what was quarantined instead of one.

    For example: idp-adapter events show 69f8520c-2a0e-8c0a-9a57-0f0f6a1c9e11 --raw
    """

    query, name = [("raw", "1" if raw else "0")], quote(uid, safe="")

    async def showing(client: Client) -> str:
        try:
            async with client.get(f"/events/{name}", query) as response:
                return (await read_answer(response)).decode()
        except Refused as refusal:
            try:
                async with client.get(f"/quarantine/{name}", query) as response:
                    return (await read_answer(response)).decode()
            except Refused:
                raise refusal from None

    # Laid out as a text: read as JSON, its numbers might come out as others.
    typer.echo(shown(laid_out(run(showing, config, data))))


@app.command()
def export(
    format: Annotated[
        str, typer.Option("--format", "-f", help=f"What it is written as: {', '.join(format_names())}.")
    ] = DEFAULT,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
    ] = None,
    types: Types = None,
    outcomes: Outcomes = None,
    users: Users = None,
    clients: Clients = None,
    addresses: Addresses = None,
    sources: Sources = None,
    since: Since = None,
    until: Until = None,
    words: Words = None,
    where: Where = None,
    order: Sorting = Order.TIME,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write all events that match, however many.

    For example: idp-adapter events export --format csv --from 7d --output week.csv
    """
    query = _query(types, outcomes, users, clients, addresses, sources, since, until, words, where)
    query += [("order", order), ("format", format)]

    async def exporting(client: Client) -> None:
        async with client.get("/events/export", query) as response:
            tell(orjson.loads(response.headers.get(HINTS, "[]")))
            if output is None:
                await _copy(response.content.iter_any(), sys.stdout.buffer)
                return
            with output.open("wb") as file:
                await _copy(response.content.iter_any(), file)

    try:
        run(exporting, config, data)
    except BrokenPipeError:
        # Whoever read it has seen enough.
        sys.stderr.close()
    except OSError as error:
        fail(f"{output or 'standard output'}: cannot be written: {error.strerror}")


@app.command()
def quarantine(
    sources: Sources = None,
    providers: Annotated[
        list[str] | None, typer.Option("--provider", help="Kind of identity provider. Repeatable.")
    ] = None,
    native_types: Annotated[
        list[str] | None, typer.Option("--native-type", help="The provider's own type. Repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many groups.")] = 20,
    raw: Annotated[bool, typer.Option("--raw", help="Also how the last one of each group begins.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One group a line.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Show what has no event, by source, native type and problem: the largest groups first.

    For example: idp-adapter events quarantine --provider onewelcome --raw
    """
    query = [("source", one) for one in sources or ()]
    query += [("provider", one) for one in providers or ()]
    query += [("native_type", one) for one in native_types or ()]
    query += [("limit", str(limit)), ("raw", "1" if raw else "0")]

    async def listing(client: Client) -> dict[str, Any]:
        async with client.get("/quarantine", query) as response:
            found: dict[str, Any] = orjson.loads(await read_answer(response))
            tell(found.get("hints", ()))
            return found

    found = run(listing, config, data)
    if json:
        write_json(map(orjson.dumps, found["groups"]))
        return
    console = make_console()
    if not found["groups"]:
        console.print("Nothing is quarantined.")
        return
    console.print(_groups(found["groups"], raw, console.width))
    if found["kinds"] > len(found["groups"]):
        console.print(f"{len(found['groups'])} of {found['kinds']} groups; --limit shows more", soft_wrap=True)


app.command()(renormalize)
app.command()(scrub)


async def _copy(chunks: Any, file: BinaryIO) -> None:
    output = Output(file)
    async for chunk in chunks:
        output.write(chunk)
    output.flush()


def _query(
    types: list[str] | None,
    outcomes: list[str] | None,
    users: list[str] | None,
    clients: list[str] | None,
    addresses: list[str] | None,
    sources: list[str] | None,
    since: str | None,
    until: str | None,
    words: str | None,
    where: list[str] | None,
) -> list[tuple[str, str]]:
    """The options as parameters of the feed."""
    query = [
        (name, value)
        for name, values in (
            ("type", types),
            ("outcome", outcomes),
            ("user", users),
            ("client", clients),
            ("ip", addresses),
            ("source", sources),
        )
        for value in values or ()
    ]
    now = datetime.now(UTC)
    query += [
        (name, read_timestamp(f"--{name}", value, now)) for name, value in (("from", since), ("to", until)) if value
    ]
    if words:
        query.append(("q", words))
    for one in where or ():
        name, equals, value = one.partition("=")
        if not equals or name not in PARAMETERS:
            fail(f"--where {one}: write NAME=VALUE; names are {', '.join(PARAMETERS)}")
        query.append((name, value))
    return query


def _table(events: list[dict[str, Any]], width: int) -> Table:
    who = [event.get("authDetails", {}) for event in events]
    cells: dict[str, list[Text]] = {
        "time": [Text(_local(event["time"])) for event in events],
        "type": [plain(event["type"]) for event in events],
        "outcome": [_outcome(event, width) for event in events],
        "user": [plain(one.get("username") or one.get("userId")) for one in who],
        "client": [plain(one.get("clientId")) for one in who],
        "address": [plain(one.get("ipAddress")) for one in who],
        "source": [plain(event["source"]["name"]) for event in events],
    }
    columns = [
        Column("time", cells["time"], 32, 19),
        Column("type", cells["type"], 128, 18),
        Column("outcome", cells["outcome"], 64, 24),
        Column("user", cells["user"], 128, 6, spare=1),
        Column("client", cells["client"], 128, 6, spare=2),
        Column("address", cells["address"], 64, 39 if width >= _WIDE else 20),
        Column("source", cells["source"], 64, 6, spare=3),
    ]
    return fitted(columns, width)


def _outcome(event: dict[str, Any], width: int) -> Text:
    """With the reason of a failure; where there is little room, the reason says both."""
    outcome, reason = event["outcome"], event.get("reason")
    said = outcome if not reason else f"{outcome}: {reason}" if width >= _WIDE else reason
    return plain(said, _COLOURS.get(outcome, ""))


def _groups(groups: list[dict[str, Any]], raw: bool, width: int) -> Table:
    last = [group["samples"][-1] if group["samples"] else {} for group in groups]
    native, problem = (16, 24) if width >= 120 else (9, 9) if raw else (13, 18)
    columns = [
        Column("count", [Text(str(group["count"])) for group in groups], 20, 20, right=True),
        Column("source", [plain(group["source"]) for group in groups], 64, 8, spare=1),
        Column("native type", [plain(group["nativeType"]) for group in groups], 64, native),
        Column("problem", [plain(group["problem"]) for group in groups], 300, problem, wrapped=True),
        Column("first", [Text(_local(group["firstAt"])) for group in groups], 32, 19, spare=3),
        Column("last", [Text(_local(group["lastAt"])) for group in groups], 32, 19, spare=2),
        Column("uid of the last", [Text(one.get("uid", "")) for one in last], 36, 36),
    ]
    if raw:
        columns.append(Column("begins", [plain(one.get("raw")) for one in last], 300, problem, wrapped=True))
    return fitted(columns, width)


def _local(time: int) -> str:
    try:
        return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(time)
