"""Jobs of the service that a command starts, and looks at until they have ended."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adapter.commands.client import Client

#: Between two looks at how far it is, seconds.
LOOKING = 0.25


async def follow(client: Client, job: Any, path: str, doing: str) -> Any:
    """A job at its end, shown on a terminal meanwhile. ``path`` shows the job; ``doing`` says what it does."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(doing, total=job["end"] - job["begin"])
        while job["state"] == "running":
            progress.update(bar, completed=job["position"] - job["begin"])
            await asyncio.sleep(LOOKING)
            job = await client.ask("GET", path)
    return job
