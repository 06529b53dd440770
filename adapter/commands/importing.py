"""``idp-adapter import``: take over what another sender of events is set to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import typer
from aiohttp import ClientError

from adapter.commands.client import Client, run, tell
from adapter.commands.options import At, grouped
from adapter.commands.output import say
from adapter.commands.reaching import Remote, checked_token, read_url, told
from adapter.commands.sink_files import Step, compared, done
from adapter.errors import ConfigError
from adapter.formats.text import counted, harmless
from adapter.phasetwo.imported import Imported, Realm, import_webhook, is_sink_name, needs_secret
from adapter.phasetwo.upstream import Login, Upstream, open_upstream

app = typer.Typer(no_args_is_help=True, help="Take over what another sender of events is set to do.")

_PANEL = "Who asks Phase Two's extension"
#: What of a realm sets senders that are no webhooks.
_PROVIDERS = "_providerConfig.ext-event-"


@app.callback()
def _group() -> None:
    pass


@app.command("phasetwo")
@grouped
def phasetwo(
    address: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="Address of the Keycloak with the extension, or of one of its realms: URL/realms/acme."
        ),
    ],
    realm: Annotated[
        str | None, typer.Option("--realm", help="Whose webhooks; default: the one that the address names.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source", help="The source whose events they get, where several know the realm; several times. None: all."
        ),
    ] = None,
    login_realm: Annotated[
        str | None,
        typer.Option(
            "--login-realm", help="Realm to log in to, such as master; default: the same.", rich_help_panel=_PANEL
        ),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option(
            "--client-id",
            help="A client with a service account, or the client through which --user logs in.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    client_secret_file: Annotated[
        str | None,
        typer.Option(
            "--client-secret-file",
            help="File with its secret, - is standard input; also PHASETWO_CLIENT_SECRET. Default: asked for.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="A user who logs in with a password.", rich_help_panel=_PANEL)
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            "--password-file",
            help="File with the password, - is standard input; also PHASETWO_PASSWORD. Default: asked for.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    access_token_file: Annotated[
        str | None,
        typer.Option(
            "--access-token-file",
            help="File with an access token, - is standard input; also PHASETWO_TOKEN.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    server_ca: Annotated[
        Path | None,
        typer.Option(
            "--server-ca",
            help="PEM file of the authorities that its certificate must come from.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    *,
    at: At,
) -> None:
    """Copy the webhooks of a realm from a running Phase Two extension: address, event types, signature and secret. Each
    becomes a sink that is paused until it is resumed. Shows what differs, asks, and does it; run again, it changes what
    changed there. What cannot be carried over is named.

    It needs the roles view-events and manage-events of the realm, the latter to read secrets.

    For example: idp-adapter import phasetwo https://id.example/realms/acme --client-id importer
    """  # fmt: skip

    async def working(client: Client) -> int:
        base, named = _read_address(address)
        if realm is not None and named is not None and realm != named:
            raise ConfigError(f"the address names the realm {named}, and --realm says {realm}")
        name = realm or named
        if name is None:
            raise ConfigError("say whose webhooks: --realm NAME, or an address that ends with /realms/NAME")
        login = _login(login_realm or name, client_id, client_secret_file, user, password_file, access_token_file)
        remote = Remote(f"{base}/", "", server_ca)
        if remote.is_plain:
            tell([f"{base}: plain http: the login and the secrets can be read on the way; use https"])
        try:
            async with open_upstream(base, name, login, remote.tls()) as upstream:
                found = await _webhooks(upstream, name, sources or [])
        except (ClientError, TimeoutError) as error:
            why = told(error).replace("--ca FILE", "--server-ca FILE").replace("the service", "the Keycloak")
            raise ConfigError(f"{base}: {why}") from None
        except (ValueError, TypeError, AttributeError):
            raise ConfigError(f"{base}: what came is not what a Phase Two extension answers") from None
        say(f"{base}: realm {name}: {counted(len(found), 'webhook')}")
        steps = await _steps(client, found, name, base)
        return await done(client, steps, base, yes=yes, dry_run=dry_run, paused=True)

    if code := run(working, at):
        raise typer.Exit(code)


async def _webhooks(upstream: Upstream, name: str, sources: list[str]) -> list[Imported]:
    """The webhooks of a realm, as sinks."""
    webhooks = await upstream.webhooks()
    shown = await upstream.realm()
    id = None if shown is None else shown.get("id")
    if not isinstance(id, str):
        tell([
            "the realm's id cannot be seen (role view-realm); sinks are bound to its name alone, and get no events "
            "that carry the id alone"
        ])  # fmt: skip
    for attribute in sorted((shown or {}).get("attributes") or {}):
        if attribute.startswith(_PROVIDERS):
            tell([f"{attribute}: a sender that is no webhook; it is not carried over"])
    realm = Realm(name, id if isinstance(id, str) else None, await upstream.issuer())
    found: dict[str, Imported] = {}
    for one in webhooks:
        secret = await upstream.secret(str(one["id"])) if needs_secret(one) else None
        made = import_webhook(one, secret, realm, sources)
        if made.name in found:
            made.problem = "the id of another webhook begins alike; make the sink by hand, under another name"
            made.name = f"{made.name} ({one['id']})"
        found[made.name] = made
    return list(found.values())


async def _steps(client: Client, found: list[Imported], realm: str, base: str) -> list[Step]:
    """What it takes to have the sinks, said with what is not as it was."""
    present = {one["name"]: one for one in (await client.ask("GET", "/sinks"))["sinks"]}
    steps = []
    for one in found:
        before = present.get(one.name)
        for note in one.notes:
            say(f"{one.name}: {harmless(note)}")
        problem = one.problem
        if problem is None:
            try:
                steps.append(await compared(client, _merged(before, one.settings), before, base))
            except ConfigError as error:
                problem = str(error).removeprefix(f"{base}: {one.name}: ")
        if problem is not None:
            say(f"{one.name}: NOT CARRIED OVER ({one.settings['url']}): {problem}")
    kept = {one.name for one in found}
    for name in sorted(present):
        if is_sink_name(realm, name) and name not in kept:
            say(f"{name}: there is no such webhook any more; if it came from there: idp-adapter sinks delete {name}")
    return steps


def _merged(before: dict[str, Any] | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a sink with what a webhook says; all others, and other conditions of its filter, stay."""
    if before is None:
        return settings
    old = before["settings"]
    if before["state"] == "running" and old.get("url") != settings["url"]:
        tell([f"{before['name']}: runs, and sends to {old.get('url')} now; this sets its url back at once"])
    return {**old, **settings, "filter": {**old.get("filter", {}), **settings["filter"]}}


def _read_address(text: str) -> tuple[str, str | None]:
    """Where the server is, without a slash at the end, and the realm that the address names."""
    base, found, realm = read_url(text).rstrip("/").partition("/realms/")
    named = unquote(realm.partition("/")[0])
    return base, named if found and named else None


def _login(
    realm: str,
    client_id: str | None,
    client_secret_file: str | None,
    user: str | None,
    password_file: str | None,
    access_token_file: str | None,
) -> Login:
    """
    Raises:
        ConfigError: it is not said who asks, or a secret is missing.
    """
    if [client_secret_file, password_file, access_token_file].count("-") > 1:
        raise ConfigError("standard input holds one secret; give the others as files")
    names_nobody = user is None and client_id is None
    if access_token_file is not None and not names_nobody:
        raise ConfigError("--access-token-file gives a token, and --client-id and --user get one; give one of them")
    if names_nobody:
        token = _secret("access token", access_token_file, "PHASETWO_TOKEN", is_needed=False)
        if token is not None:
            return Login(realm, token=checked_token(token, "the access token"))
        raise ConfigError(
            "say who asks: --client-id of a client with a service account, --user, or --access-token-file"
        )
    secret = _secret("client's secret", client_secret_file, "PHASETWO_CLIENT_SECRET", is_needed=user is None)
    password = None if user is None else _secret("password", password_file, "PHASETWO_PASSWORD", is_needed=True)
    return Login(realm, client=client_id or "admin-cli", client_secret=secret, user=user, password=password)


def _secret(what: str, file: str | None, variable: str, *, is_needed: bool) -> str | None:
    """A secret of a file, of the environment, or of somebody who is asked for it."""
    if file is not None:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8'}") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text or "\n" in text:
            raise ConfigError(f"{'standard input' if file == '-' else file}: should hold the {what} on one line")
        return text
    if text := os.environ.get(variable, ""):
        return text
    if not is_needed:
        return None
    if sys.stdin.isatty():
        asked: str = typer.prompt(what.capitalize(), hide_input=True, err=True)
        return asked
    raise ConfigError(f"the {what} is missing: give it as a file, or set {variable}")
