"""``idp-adapter log``: what an operator does with a log whose file is damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from adapter.commands.client import fail
from adapter.errors import AdapterError, ConfigError
from adapter.folder import in_use, lock_folder
from adapter.formats.text import harmless
from adapter.log.sqlite.recovery import Report, recover

app = typer.Typer(no_args_is_help=True, help="Recover a damaged log.")

_out = Console(highlight=False, soft_wrap=True)


@app.callback()
def _group() -> None:
    pass


@app.command("recover")
def recover_log(
    from_: Annotated[Path, typer.Option("--from", help="Data folder with the damaged log; it is only read.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the new log, on another disk if that one fails.")],
) -> None:
    """Write all that can be read of a damaged log into a new one, and say what is lost.

    Stop the service first. The new folder gets the log and the generated tokens, and can be used as data folder. Each
    entry keeps its position, so that sinks and feeds go on where they were. Exit code 0 if there is a new log, 1 if
    nothing could be read.

    For example: idp-adapter log recover --from adapter-data --to adapter-data-new
    """
    try:
        report = _recover(from_, to)
    except AdapterError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or from_}: {error.strerror}")
    for line in _told(report, to):
        _out.print(line, markup=False)


def _recover(from_: Path, to: Path) -> Report:
    """
    Raises:
        AdapterError: a folder cannot be used, or nothing can be read; says why.
        OSError: a file cannot be read or written.
    """
    if in_use(from_):
        raise ConfigError(f"{from_}: a service runs on it; stop it first")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    os.umask(0o077)
    with (
        lock_folder(to),
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("recovering entries", total=None)
        report = recover(
            from_ / "log.sqlite",
            to / "log.sqlite",
            progress=lambda done, of: progress.update(bar, completed=done, total=of),
        )
        tokens = from_ / "tokens.json"
        if tokens.exists() and not (to / "tokens.json").exists():
            shutil.copyfile(tokens, to / "tokens.json")
    return report


def _told(report: Report, to: Path) -> Iterator[str]:
    whole = report.entries - report.entries_lost - report.events_lost
    yield f"recovered into {to}: {whole} of {report.entries} entries are whole"
    if report.events_lost:
        yield f"  {report.events_lost} have lost their event and are quarantined; to make it again of the native bytes:"
        yield f"    idp-adapter events renormalize --type quarantined --data {to}"
    if report.raws_lost:
        yield f"  {report.raws_lost} have lost their native bytes, and keep their event"
    if report.rows_made:
        yield f"  {report.rows_made} have lost their row, which was made again of the event or the native bytes"
    if report.entries_lost:
        ranges = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in report.lost)
        more = "" if sum(last - first + 1 for first, last in report.lost) == report.entries_lost else ", …"
        yield f"  {report.entries_lost} are lost; send them again if you can. Positions: {ranges}{more}"
    if report.sources_lost:
        yield f"  sources whose name is lost are called {', '.join(report.sources_lost)}"
    yield f"  keys by which events are known: {report.keys}"
    yield f"  places of sinks: {harmless(', '.join(report.readers)) or 'none'}"
