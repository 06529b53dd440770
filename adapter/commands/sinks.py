"""``idp-adapter sinks``: running what events are sent to."""

from __future__ import annotations

import typer

from adapter.commands.options import grouped
from adapter.commands.sink_audit import audit

app = typer.Typer(no_args_is_help=True, help="Running what events are sent to.")


@app.callback()
def _group() -> None:
    pass


app.command("audit")(grouped(audit))
