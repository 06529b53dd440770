"""``idp-adapter sources``: what a source needs where its events come from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from adapter.commands.client import fail
from adapter.commands.options import Config, grouped
from adapter.commands.output import say
from adapter.commands.reconcile import reconcile
from adapter.commands.statements import statement_key, verify
from adapter.errors import AdapterError, ConfigError, Refused
from adapter.formats.text import harmless
from adapter.settings import load_settings
from adapter.sources.keycloak.needs import Change, changed, changes, examine
from adapter.sources.keycloak.server import Server, open_server
from adapter.sources.keycloak.settings import PullSettings

app = typer.Typer(no_args_is_help=True, help="What a source needs where its events come from.")

T = TypeVar("T")

Name = Annotated[str, typer.Argument(help="The source, one that pulls.")]


@app.callback()
def _group() -> None:
    pass


@app.command("check")
def check(name: Name, config: Config = None) -> None:
    """Say what is missing on the server whose events a source pulls: whether its realms keep events, which types, and
    for how long, and whether the account may read them. Changes nothing; ends with 1 if something is missing.

    For example: idp-adapter sources check kc
    """

    async def examining(server: Server, pull: PullSettings) -> bool:
        well = True
        for realm in pull.realms or await _all(server):
            for finding in await examine(server, realm):
                say(f"{'ok     ' if finding.well else 'MISSING'}  {finding.text}")
                well = well and finding.well
        return well

    if not _run(name, config, examining):
        raise typer.Exit(1)


@app.command("prepare")
def prepare(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before each change.")] = False,
    config: Config = None,
) -> None:
    """Have the realms keep what a source pulls: show what would be changed in each, ask, and change it. All other
    settings stay as they are. The account needs the role manage-events for that.

    For example: idp-adapter sources prepare kc
    """

    async def preparing(server: Server, pull: PullSettings) -> None:
        for realm in pull.realms or await _all(server):
            present = await server.config(realm)
            wanted = changes(present)
            for line in _lines(realm, wanted):
                say(line)
            if wanted and (yes or await asyncio.to_thread(typer.confirm, "Change it?")):
                await server.set_config(realm, changed(present, wanted))
                say(f"realm {harmless(realm)}: changed")

    _run(name, config, preparing)


app.command("reconcile")(grouped(reconcile))
app.command("verify")(grouped(verify))
app.command("statement-key")(grouped(statement_key))


def _lines(realm: str, wanted: list[Change]) -> list[str]:
    if not wanted:
        return [f"realm {harmless(realm)}: keeps all that is needed"]
    lines = [f"realm {harmless(realm)}: {change}" for change in wanted]
    if any(change.field == "enabledEventTypes" for change in wanted):
        lines.append("  this makes a list of the types of its version: run this again when a newer one has more")
    return lines


async def _all(server: Server) -> list[str]:
    found = await server.realms()
    if not found:
        raise Refused("the account sees no realm: give it the role view-realm, or name the realms in `realms`")
    return found


def _run(name: str, config: Path | None, work: Callable[[Server, PullSettings], Coroutine[Any, Any, T]]) -> T:
    async def working() -> T:
        settings = load_settings(config, {})
        found = [one for one in settings.sources if one.name == name]
        if not found:
            names = ", ".join(one.name for one in settings.sources) or "none"
            raise ConfigError(
                f"no source is called {name}; in the settings that are read here there are: {names}. Those of the "
                "service are named by --config, on its machine"
            )
        pull = getattr(found[0], "pull", None)
        if not isinstance(pull, PullSettings):
            raise ConfigError(f"the source {name} pulls nothing: it has no [sources.pull]")
        async with open_server(pull, settings.outgoing) as server:
            return await work(server, pull)

    try:
        return asyncio.run(working())
    except AdapterError as error:
        fail(str(error))
