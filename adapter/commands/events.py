"""``idp-adapter events``: list, count, show and export what is in the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter.commands.client import Client, Refused, ended, fail, read_answer, run, tell
from adapter.commands.columns import Column, Layout, fitted, layout, plain
from adapter.commands.counting import count
from adapter.commands.event_changes import changes
from adapter.commands.exporting import Order, export, verify
from adapter.commands.filters import Filters
from adapter.commands.following import follow
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, shown, until_nobody_reads, write_json
from adapter.commands.readings import explain, revisions
from adapter.commands.renormalize import renormalize
from adapter.commands.scrub import scrub
from adapter.commands.timestamps import InUtc, shown_time, shown_zone
from adapter.formats.event_cells import LOOKED_UP, is_marked, what_was_changed, which_client, who_acted
from adapter.formats.text import laid_out

app = typer.Typer(
    no_args_is_help=True,
    help="Find events, count them, follow them, write them out, read them again. Asks the service that --url, the "
    "environment or a login names, or the one on this machine; where none runs, it opens the data folder itself.",
)


Sources = Annotated[list[str] | None, typer.Option("--source", help="Name of a source. Repeatable.")]
#: Columns of a terminal in which an outcome is shown beside its reason.
_WIDE = 100
#: Those in which an address of any length is shown whole, and below which types and reasons are cut.
_WIDEST, _NARROW = 140, 80

_COLOURS = {"success": "green", "failure": "red", "unknown": "yellow"}


@app.command("list")
@grouped
def list_events(
    order: Annotated[
        Order, typer.Option("--order", help="time: the latest ones; log: in the order of arrival, from the first on.")
    ] = Order.TIME,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many.")] = 20,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each event that comes, until Ctrl-C.")
    ] = False,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The newest first.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One event a line, as it is stored.")] = False,
    utc: InUtc = False,
    *,
    filters: Filters,
    at: At,
) -> None:
    """Show the latest events, the newest last.

    With --follow each one that comes is shown behind them, when it comes: a late one with its own time. A service that
    is restarted meanwhile is waited for, and nothing is left out.

    For example: idp-adapter events list --type 'access.LOGIN*' --outcome failure --from 2h
    """
    query = [*filters.query(at), *([] if json else [("names", "1")])]
    if (following or reverse) and order == Order.LOG:
        fail("--order log begins with the first event; --follow and --reverse are for the latest ones")
    if following and reverse:
        fail("--follow shows what comes below what was there; leave --reverse out")
    console, zone = console_of_output(), shown_zone(utc)

    async def latest(client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        next: str | None = None
        while True:
            rest = [("order", order), ("limit", str(limit - len(found)))]
            rest += [] if next is None else [("cursor", next)]
            async with client.get("/events", query + rest) as response:
                page = orjson.loads(await read_answer(response))
            if next is None:
                tell(page.get("hints", ()))
            found += page["events"]
            # A page may be short of what was asked, where events are large or few of many match.
            if len(found) >= limit or page["next"] in (None, next):
                return found if reverse or order == Order.LOG else found[::-1]
            next = page["next"]

    if following:
        show = _write if json else _Rows(console, zone).show
        try:
            with until_nobody_reads():
                ended(follow(at, query, latest, show))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        return
    events = run(latest, at)
    if json:
        _write(events)
    elif events:
        console.print(_table(events, console.width, zone))
        if any(is_marked(event) for event in events):
            console.print(f"{LOOKED_UP} looked up: other events say whose id it is, not this one.", soft_wrap=True)
    else:
        console.print(
            "No events. Filters narrow the list; system.* events come only with --type 'system.*'.", soft_wrap=True
        )


@app.command()
@grouped
def show(
    uid: Annotated[
        str,
        typer.Argument(
            help="Its uid, as events list --json, events quarantine and the answers to posts give it, or the id that "
            "its provider gave it."
        ),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="Also what the provider sent.")] = False,
    *,
    at: At,
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
    typer.echo(shown(laid_out(run(showing, at))))


@app.command()
@grouped
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
    utc: InUtc = False,
    *,
    at: At,
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

    found = run(listing, at)
    if json:
        write_json(map(orjson.dumps, found["groups"]))
        return
    console = console_of_output()
    if not found["groups"]:
        console.print("Nothing is quarantined.")
        return
    console.print(_groups(found["groups"], raw, console.width, shown_zone(utc)))
    if found["kinds"] > len(found["groups"]):
        console.print(f"{len(found['groups'])} of {found['kinds']} groups; --limit shows more", soft_wrap=True)


class Same(StrEnum):
    """What events have in common."""

    USER = "user"
    SESSION = "session"
    IP = "ip"


@app.command()
@grouped
def around(
    uid: Annotated[
        str, typer.Argument(help="Its uid, as events list --json gives it, or the id that its provider gave it.")
    ],
    minutes: Annotated[int, typer.Option("--minutes", "-m", min=1, max=1440, help="So long before and after.")] = 5,
    same: Annotated[
        Same | None, typer.Option("--same", help="Only events of the same user, session or address.")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many, about half before it.")] = 40,
    json: Annotated[bool, typer.Option("--json", help="One event a line, as it is stored.")] = False,
    utc: InUtc = False,
    *,
    at: At,
) -> None:
    """Show what happened before and after an event, in the order of time; > marks the event itself.

    For example: idp-adapter events around 69f8520c-2a0e-8c0a-9a57-0f0f6a1c9e11 --same ip
    """
    query = {"minutes": str(minutes), "limit": str(limit), "names": "0" if json else "1"}
    if same is not None:
        query["same"] = same

    async def asking(client: Client) -> dict[str, Any]:
        async with client.get(f"/events/{quote(uid, safe='')}/around", list(query.items())) as response:
            found: dict[str, Any] = orjson.loads(await read_answer(response))
            return found

    found = run(asking, at)
    events = found["events"]
    if json:
        _write(events)
        return
    console = console_of_output()
    columns = _columns(events, console.width - 3, shown_zone(utc), targets=any(map(what_was_changed, events)))
    marks = [Text(">" if number == found["at"] else "") for number in range(len(events))]
    console.print(fitted([Column("", marks, 1, 1), *columns], console.width))
    sides = [side for side in ("before", "after") if found[side] is not None]
    if sides:
        console.print(f"There is more {' and '.join(sides)}; --limit shows more, --minutes less.", soft_wrap=True)


app.command()(grouped(changes))
app.command()(export)
app.command()(verify)
app.command()(count)
app.command()(grouped(explain))
app.command()(grouped(revisions))
app.command()(grouped(renormalize))
app.command()(grouped(scrub))


def _write(events: Sequence[dict[str, Any]]) -> None:
    write_json(map(orjson.dumps, events))


class _Rows:
    """Events in a table that goes on."""

    def __init__(self, console: Console, zone: tzinfo | None) -> None:
        self._console = console
        self._zone = zone
        self._layout: Layout | None = None

    def show(self, events: Sequence[dict[str, Any]]) -> None:
        """Show some more, below those that were there."""
        headed, width = self._layout is None, self._console.width
        if self._layout is None:
            self._layout = layout(_columns([*events, _USUAL], width, self._zone, targets=True), width)
        if events or headed:
            table = self._layout.table(_columns(events, width, self._zone, targets=True), headed=headed)
            with self._console.capture() as printed:
                self._console.print(table)
            typer.echo(printed.get(), nl=False)


#: An event that the table of `--follow` has room for, whatever comes first.
_USUAL = {
    "time": 0,
    "type": "access.CODE_TO_TOKEN_ERROR",
    "outcome": "failure",
    "reason": "bad_credentials",
    "authDetails": {"username": "somebody@company", "clientId": "account-console", "ipAddress": "203.0.113.250"},
    "details": {"userId": "somebody@company"},
    "source": {"name": "keycloak"},
}


def _table(events: Sequence[dict[str, Any]], width: int, zone: tzinfo | None = UTC) -> Table:
    return fitted(_columns(events, width, zone, targets=any(map(what_was_changed, events))), width)


def _columns(events: Sequence[dict[str, Any]], width: int, zone: tzinfo | None, *, targets: bool) -> list[Column]:
    # Beside targets there is no room for it on most terminals.
    with_outcome = width >= _WIDE and not targets
    cells: dict[str, list[Text]] = {
        "time": [Text(shown_time(event["time"], zone)) for event in events],
        "type": [plain(event["type"]) for event in events],
        "outcome": [_outcome(event, with_outcome) for event in events],
        "user": [plain(who_acted(event)) for event in events],
        "target": [plain(what_was_changed(event)) for event in events],
        "client": [plain(which_client(event)) for event in events],
        "address": [plain(event.get("authDetails", {}).get("ipAddress")) for event in events],
        "source": [plain(event["source"]["name"]) for event in events],
    }
    is_narrow = width < _NARROW
    # Who did it, and to whom, stays longest: a time with its zone leaves no room for more on 80 columns.
    return [
        Column("time", cells["time"], 32, 20 if zone is UTC else 25),
        Column("type", cells["type"], 128, 13 if is_narrow else 18),
        Column("outcome", cells["outcome"], 64, 24 if with_outcome else 10 if is_narrow else 16),
        Column("user", cells["user"], 128, 8 if width >= _WIDE else 6, spare=1),
        *([Column("target", cells["target"], 128, 10, spare=2)] if targets else []),
        Column("client", cells["client"], 128, 6, spare=4),
        Column("address", cells["address"], 64, 39 if width >= _WIDEST else 20, spare=3),
        Column("source", cells["source"], 64, 6, spare=5),
    ]


def _outcome(event: dict[str, Any], with_outcome: bool) -> Text:
    """With the reason of a failure; where there is little room, the reason says both."""
    outcome, reason = event["outcome"], event.get("reason")
    said = outcome if not reason else f"{outcome}: {reason}" if with_outcome else reason
    return plain(said, _COLOURS.get(outcome, ""))


def _groups(groups: list[dict[str, Any]], raw: bool, width: int, zone: tzinfo | None = UTC) -> Table:
    last = [group["samples"][-1] if group["samples"] else {} for group in groups]
    native, problem = (16, 27) if width >= 120 else (9, 9) if raw else (13, 18)
    columns = [
        Column("count", [Text(str(group["count"])) for group in groups], 20, 20, right=True),
        Column("source", [plain(group["source"]) for group in groups], 64, 8, spare=1),
        Column("native type", [plain(group["nativeType"]) for group in groups], 64, native),
        Column("problem", [plain(group["problem"]) for group in groups], 300, problem, wrapped=True),
        Column("first", [Text(shown_time(group["firstAt"], zone)) for group in groups], 32, 20, spare=3),
        Column("last", [Text(shown_time(group["lastAt"], zone)) for group in groups], 32, 20, spare=2),
        Column("uid of the last", [Text(one.get("uid", "")) for one in last], 36, 36),
    ]
    if raw:
        columns.append(Column("begins", [plain(one.get("raw")) for one in last], 300, problem, wrapped=True))
    return fitted(columns, width)
