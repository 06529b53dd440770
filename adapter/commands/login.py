"""``idp-adapter login`` and ``logout``: keep the address of a service, and the token for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from yarl import URL

from adapter.commands.client import Client, ended, open_remote
from adapter.commands.logins import Login, logins_file, read_logins, write_logins
from adapter.commands.options import At
from adapter.commands.output import say
from adapter.commands.reaching import Remote, checked_token, find_remote, read_token, read_url
from adapter.errors import ConfigError

Name = Annotated[str | None, typer.Option("--name", help="Name of the login; default: host and port of the address.")]


def login(
    url: Annotated[str | None, typer.Option("--url", help="Address of the service: https://HOST:PORT.")] = None,
    name: Name = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", help="File that holds the token; default: asked for, or read from a pipe."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help="PEM file of the authorities that the service's certificate must come from, in the place of the "
            "system's.",
        ),
    ] = None,
    use: Annotated[
        str | None, typer.Option("--use", metavar="NAME", help="Use a login that is kept, from now on.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Show which logins there are, and which one is used.")
    ] = False,
) -> None:
    """Keep a service's address and token for the commands that ask a service, so that they work from any machine.

    The token is asked for, or read from standard input, and tried before it is kept, in a file that is yours alone
    (below ~/.config). It may do what its key may: a key of the service with the permission read is enough for events;
    to export them it needs export, too.
    Commands use what is given first: --url, IDP_ADAPTER_URL and IDP_ADAPTER_TOKEN, the login, the service on this
    machine; --data and --config name the latter.

    For example: idp-adapter login --url https://adapter.example
    """

    authorities = None if ca is None else ca.absolute()

    async def working() -> None:
        if sum([status, use is not None, url is not None]) != 1:
            raise ConfigError("give --url to log in, --use NAME to use another login, or --status to show them")
        if status:
            _show()
        elif use is not None:
            logins = read_logins()
            say(f"{use}: used from now on: {logins.find(use).url}")
            logins.used = use
            write_logins(logins)
        elif url is not None:
            await _log_in(Remote(read_url(url), _token(token_file), authorities), name)

    ended(working())


def logout(
    name: Annotated[str | None, typer.Argument(help="Name of the login; default: the one that is used.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Forget every login.")] = False,
) -> None:
    """Forget a service's address and token. The token itself stays good: to end it, take its key out of the settings.

    For example: idp-adapter logout
    """

    async def working() -> None:
        logins = read_logins()
        names = [*logins.by_name] if all else [name or logins.used or ""]
        if names == [""]:
            raise ConfigError("no login is used; name one: idp-adapter login --status shows them")
        for one in names:
            logins.find(one)
            del logins.by_name[one]
            say(f"{one}: forgotten")
        if logins.used not in logins.by_name:
            logins.used = None
        write_logins(logins)

    ended(working())


async def _log_in(remote: Remote, name: str | None) -> None:
    url = URL(remote.url)
    name = name or (url.authority if url.explicit_port else url.host) or remote.url
    async with open_remote(remote) as client:
        await _try(client, remote.url)
    logins = read_logins()
    logins.by_name[name] = Login(remote.url, remote.token, None if remote.ca is None else str(remote.ca))
    logins.used = name
    write_logins(logins)
    say(f"logged in to {remote.url} as {name}; kept in {logins_file()}")


async def _try(client: Client, url: str) -> None:
    """Whether a service is there, and knows the token: whoever has one may read its description."""
    document: Any = await client.ask("GET", "/openapi.json")
    title = document.get("info", {}).get("title") if isinstance(document, dict) else None
    if title != "IdP Event Adapter":
        raise ConfigError(f"{url}: another program answers there")


def _token(file: str | None) -> str:
    if file is None and sys.stdin.isatty():
        return checked_token(typer.prompt("Token", hide_input=True, err=True), "the token")
    return read_token(file or "-")


def _show() -> None:
    logins = read_logins()
    for name, one in logins.by_name.items():
        say(f"{'*' if name == logins.used else ' '} {name}  {one.url}")
    remote = find_remote(At())
    if remote is None:
        say("commands ask the service on this machine")
    else:
        say(f"commands ask {remote.url}")
