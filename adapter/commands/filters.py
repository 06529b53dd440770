"""The filters of the feed as options."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import parse_qsl, quote

import typer

from adapter.commands.client import fail, run
from adapter.commands.options import At
from adapter.commands.timestamps import read_timestamp
from adapter.filter import PARAMETERS

_PANEL = "Which events"


@dataclass(frozen=True)
class Filters:
    """Which events a command is about; different filters must all hold."""

    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="Type or glob, such as 'access.*_ERROR'. Repeatable.", rich_help_panel=_PANEL),
    ] = None
    outcomes: Annotated[
        list[str] | None,
        typer.Option("--outcome", help="success, failure or unknown. Repeatable.", rich_help_panel=_PANEL),
    ] = None
    users: Annotated[
        list[str] | None,
        typer.Option("--user", help="Who acted or was acted upon, id or name. Repeatable.", rich_help_panel=_PANEL),
    ] = None
    clients: Annotated[
        list[str] | None, typer.Option("--client", help="Client or application. Repeatable.", rich_help_panel=_PANEL)
    ] = None
    addresses: Annotated[
        list[str] | None, typer.Option("--ip", help="Address or CIDR. Repeatable.", rich_help_panel=_PANEL)
    ] = None
    sources: Annotated[
        list[str] | None, typer.Option("--source", help="Name of a source. Repeatable.", rich_help_panel=_PANEL)
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            "--from", help="At or after: 2026-05-01T08:30:00Z, epoch ms, or '2h', '7d' ago.", rich_help_panel=_PANEL
        ),
    ] = None
    until: Annotated[
        str | None, typer.Option("--to", help="Before; written as for --from.", rich_help_panel=_PANEL)
    ] = None
    words: Annotated[
        str | None, typer.Option("-q", "--words", help="Words that all occur.", rich_help_panel=_PANEL)
    ] = None
    resources: Annotated[
        list[str] | None,
        typer.Option(
            "--resource",
            help="Thing that an admin event is about, such as 'users/ID' or 'users/*/reset-password'. Repeatable.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="NAME=VALUE",
            help="Any filter of docs/read-the-feed.md, such as realm=acme, reason=locked, not_client=poller. "
            "Repeatable.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="NAME",
            help="The filters of a saved search (idp-adapter searches). What is given beside it takes the place of the "
            "same filter in it.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def query(self, at: At) -> list[tuple[str, str]]:
        """The options as parameters of the feed, with those of the saved search that is named. Ends the command if one
        is wrong."""
        query = self.given()
        if self.search is None:
            return query
        path = f"/searches/{quote(self.search, safe='')}"
        saved = run(lambda client: client.ask("GET", path), at)
        given = {name for name, _ in query}
        return [*query, *((name, value) for name, value in parse_qsl(saved["query"]) if name not in given)]

    def given(self) -> list[tuple[str, str]]:
        """The options alone."""
        query = [
            (name, value)
            for name, values in (
                ("type", self.types),
                ("outcome", self.outcomes),
                ("user", self.users),
                ("client", self.clients),
                ("ip", self.addresses),
                ("source", self.sources),
                ("resource", self.resources),
            )
            for value in values or ()
        ]
        now = datetime.now(UTC)
        query += [
            (name, read_timestamp(f"--{name}", value, now))
            for name, value in (("from", self.since), ("to", self.until))
            if value
        ]
        if self.words:
            query.append(("q", self.words))
        for one in self.where or ():
            name, equals, value = one.partition("=")
            if not equals or name not in PARAMETERS:
                fail(f"--where {one}: write NAME=VALUE; names are {', '.join(PARAMETERS)}")
            query.append((name, value))
        return query
