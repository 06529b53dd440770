"""The command ``idp-adapter``."""

from __future__ import annotations

from typing import Annotated

import typer

from adapter import __version__
from adapter.commands import events, log, mapping, store
from adapter.commands.serve import serve

app = typer.Typer(
    name="idp-adapter",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help=(
        "Turns the native events of identity providers into one vocabulary, keeps them in one durable log, and hands "
        "them on.\n\nBegin with: idp-adapter serve --examples, then: idp-adapter events list"
    ),
)
app.command()(serve)
app.add_typer(events.app, name="events")
app.add_typer(mapping.app, name="mapping")
app.add_typer(log.app, name="log")
app.add_typer(store.app, name="store")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"idp-adapter {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that the arguments name."""
    app()


if __name__ == "__main__":
    main()
