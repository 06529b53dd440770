"""``idp-adapter mapping``: check tables, and see what they make of raw events, without a server."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from adapter.errors import AdapterError, ConfigError
from adapter.mapping.apply import apply as apply_table
from adapter.mapping.body import JSON, NDJSON, NotReadable, UnknownMedia
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.check import check_table
from adapter.mapping.table import Table, load_table
from adapter.resources import mappings_path
from adapter.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="Check mapping tables, and see what they make of raw events. No server is needed.",
)

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; default: adapter.toml if it is there.")]


def table_folders(config: Path | None) -> list[Path]:
    """Where tables lie: the folders of the settings, then the built-in one.

    Raises:
        ConfigError: the settings cannot be read.
    """
    return [*load_settings(config).mappings.path, mappings_path()]


def find_table(provider: str, folders: list[Path]) -> Table:
    """The table of a provider, or of a file that is named.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    catalogue = load_catalogue(folders)
    if provider.endswith((".yaml", ".yml")):
        return load_table(Path(provider), catalogue, folders)
    for folder in folders:
        file = folder / provider / "mapping.yaml"
        if file.is_file():
            return load_table(file, catalogue, folders)
    known = sorted({file.parent.name for folder in folders for file in folder.glob("*/mapping.yaml")})
    raise ConfigError(f"no table for {provider!r}; there are {', '.join(known)}, or name a mapping.yaml")


@app.command()
def check(
    providers: Annotated[
        list[str] | None, typer.Argument(help="Providers or mapping.yaml files; all tables if left out.")
    ] = None,
    config: Config = None,
    strict: Annotated[bool, typer.Option(help="A row without an example is an error in users' tables too.")] = False,
) -> None:
    """Check tables: types, rows, every example. Exit code 1 if anything is wrong.

    For example: idp-adapter mapping check, idp-adapter mapping check onewelcome ./mappings/acme/mapping.yaml
    """
    console = Console(stderr=False, highlight=False)
    failed = False
    try:
        folders = table_folders(config)
        names = providers or sorted({file.parent.name for one in folders for file in one.glob("*/mapping.yaml")})
    except AdapterError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    for name in names:
        try:
            table = find_table(name, folders)
        except AdapterError as error:
            console.print(str(error), style="red", markup=False)
            failed = True
            continue
        built_in = table.folder.parent == mappings_path()
        findings = check_table(table, strict=strict or built_in)
        for finding in findings:
            console.print(str(finding), style="red" if finding.error else "yellow", markup=False, soft_wrap=True)
        wrong = sum(finding.error for finding in findings)
        failed = failed or wrong > 0
        rows = sum(len(one.types) for one in (table.mapping, *table.mapping.shapes.values()))
        state = f"{wrong} errors" if wrong else "ok"
        console.print(f"{table.name}: {rows} native types, {len(findings) - wrong} warnings: {state}", markup=False)
    raise typer.Exit(1 if failed else 0)


@app.command()
def apply(
    provider: Annotated[str, typer.Argument(help="A provider, or a mapping.yaml.")],
    file: Annotated[Path, typer.Argument(help="Raw events: JSON, a list, or NDJSON; - is standard input.")],
    config: Config = None,
    media: Annotated[
        str | None, typer.Option(help="Media type of the input; default: JSON, or NDJSON if it is not one JSON value.")
    ] = None,
) -> None:
    """Show what a table makes of raw events: one line of JSON for each, in order.

    For example: idp-adapter mapping apply keycloak event.json
    """
    try:
        table = find_table(provider, table_folders(config))
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        now = int(time.time() * 1000)
        try:
            results = list(apply_table(table, body, now, media or JSON))
        except NotReadable:
            if media is not None:
                raise
            # Not one JSON value: lines of JSON, of which a broken one is shown as quarantined.
            results = list(apply_table(table, body, now, NDJSON[0]))
    except OSError as error:
        typer.echo(f"{file}: cannot be read: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    except (AdapterError, NotReadable, UnknownMedia) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for result in results:
        sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
    sys.stdout.flush()
