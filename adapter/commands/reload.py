"""``idp-adapter reload``: have the service read its settings again, without a moment in which its port is closed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import typer

from adapter import __version__
from adapter.commands.client import fail, tell
from adapter.commands.options import Config, Data
from adapter.errors import AdapterError
from adapter.handover import call
from adapter.settings import load_settings


def reload(config: Config = None, data: Data = None) -> None:
    """Have the running service read its settings, the files of secrets that they name, and its tables again.

    It goes on with them within a second or so; who connects meanwhile waits, and no request is lost. Settings that
    cannot be used change nothing, and it is said what is wrong with them. They are read as at its start: from the same
    file, with the options and the environment that it was started with. A table that cannot be used is named, and its
    last good one stays in use. Exit code 0 if it goes on with them, 1 if nothing has changed.

    For example: idp-adapter reload --data /var/lib/adapter
    """
    try:
        settings = load_settings(config, {"data": {"folder": data}} if data else {})
        answer = asyncio.run(_reload(settings.data.folder))
    except AdapterError as error:
        fail(str(error))
    typer.echo(f"reloaded in {answer['seconds']:.2f} s")
    tell(str(problem) for problem in answer["tables_refused"])


async def _reload(folder: Path) -> dict[str, Any]:
    """
    Raises:
        AdapterError: no service runs there, or it refuses; says why.
    """
    channel, answer, _ = await call(folder, "reload", version=__version__)
    channel.close()
    return answer
