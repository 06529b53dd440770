"""``idp-adapter sinks``: what sinks were sent, and why; and to send it again."""

from __future__ import annotations

import typer

from adapter.commands.options import grouped
from adapter.commands.sink_attempts import attempts, why
from adapter.commands.sink_replay import dead, replay, resend

app = typer.Typer(no_args_is_help=True, help="What sinks were sent, and why; and to send it again.")


@app.callback()
def _group() -> None:
    pass


app.command("why")(grouped(why))
app.command("attempts")(grouped(attempts))
app.command("dead")(grouped(dead))
app.command("replay")(grouped(replay))
app.command("resend")(grouped(resend))
