"""The command ``idp-adapter``."""

from __future__ import annotations

import errno
import gc
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from adapter import __version__

#: Commands, each a function of its name in a module of `adapter.commands`.
COMMANDS = {
    "serve": "serve",
    "reload": "reload",
    "status": "status",
    "timeline": "timeline",
    "login": "login",
    "logout": "login",
}

#: Groups of commands, each the ``app`` of a module of `adapter.commands`.
GROUPS = {
    "console": "console",
    "events": "events",
    "keys": "keys",
    "mapping": "mapping",
    "log": "log",
    "people": "people",
    "searches": "searches",
    "sinks": "sinks",
    "import": "importing",
    "sources": "sources",
    "store": "store",
}

#: Errors of a disk that takes no more.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def make_app(word: str | None = None) -> typer.Typer:
    """The command; with the first ``word`` of a call only what that needs: to import all takes a second or two."""
    app = typer.Typer(
        name="idp-adapter",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        help=(
            "Turns the native events of identity providers into one vocabulary, keeps them in one durable log, and "
            "hands them on.\n\nBegin with: idp-adapter serve --examples, then: idp-adapter events list"
        ),
    )
    app.callback()(_options)
    needs_all = word not in {*COMMANDS, *GROUPS, "--version"}
    for name, module in COMMANDS.items():
        if needs_all or word == name:
            app.command(name)(getattr(import_module(f"adapter.commands.{module}"), name))
    for group, module in GROUPS.items():
        if needs_all or word == group:
            app.add_typer(import_module(f"adapter.commands.{module}").app, name=group)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"idp-adapter {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that the arguments name."""
    # All that is imported stays: to look for cycles in it takes an eighth of the time.
    gc.disable()
    app = make_app(sys.argv[1] if len(sys.argv) > 1 else None)
    gc.enable()
    try:
        app()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        # What the buffer still holds cannot be written either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
