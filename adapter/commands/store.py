"""``idp-adapter store``: what is kept, and copies of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from adapter.commands.client import Client, fail, run
from adapter.commands.migrate import migrate
from adapter.commands.options import At, grouped
from adapter.commands.output import say, write_json
from adapter.errors import AdapterError, ConfigError
from adapter.formats.text import harmless
from adapter.log.opening import file_of, file_url
from adapter.log.sqlite.backup import Copy, back_up
from adapter.log.sqlite.files import dictionary_path
from adapter.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="What is kept of the events, and copies of it.")

#: Types that are shown.
SHOWN = 100

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; default: adapter.toml if it is there.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder; default: as in the settings.")]


@app.callback()
def _group() -> None:
    pass


@app.command("keep")
@grouped
def keep(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Needed: the service removes by itself, this only says what.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    *,
    at: At,
) -> None:
    """Say what the settings of `store` would remove from the log now, by source and type, and remove nothing.

    The settings are those of the running service; without one, those that are found here. So try new ones before the
    service has them: stop it, or use a backup.

    For example: idp-adapter store keep --dry-run --data backup
    """
    if not dry_run:
        fail("the service removes by itself what is too old; to see what that is now, add --dry-run")

    async def asking(client: Client) -> dict[str, Any]:
        found: dict[str, Any] = await client.ask("GET", "/retention/preview")
        return found

    found = run(asking, at)
    if json:
        write_json([orjson.dumps(found)])
        return
    for line in _preview(found):
        say(line)


@app.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(help="Folder for the copy; made if it is not there.")],
    compact: Annotated[
        bool, typer.Option("--compact", help="Without what is free in the file; takes several times as long.")
    ] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Copy the log, and the generated tokens, into a folder that can be used as data folder. The service goes on
    meanwhile; the copy holds all that was acknowledged before it began. The search is not copied: it is built again.

    For example: idp-adapter store backup /backups/2026-11-22
    """
    try:
        settings = load_settings(config, {"data": {"folder": data}} if data else {})
        copy = _back_up(settings, target, compact=compact)
    except AdapterError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or target}: {error.strerror}")
    say(f"{target}: {copy.entries} entries up to position {copy.head}, {_size(copy.size)}")


@app.command("migrate")
def migrate_log(
    from_: Annotated[
        str, typer.Option("--from", envvar="IDP_ADAPTER_MIGRATE_FROM", help="URL of the log; it is only read.")
    ],
    to: Annotated[
        str,
        typer.Option("--to", envvar="IDP_ADAPTER_MIGRATE_TO", help="URL of the new log: an empty schema, or no file."),
    ],
) -> None:
    """Carry a log to another engine: from a file to PostgreSQL, or back.

    Stop all services that have it open first. Entries keep their positions, so that sinks and feeds go on where they
    were; the generated tokens go along. In the end both logs are compared. A migration that was broken off goes on
    where it was when it is started again; until it is done, no service starts on the new log. The search is not
    carried: it is built again.

    A URL with a password is better given as IDP_ADAPTER_MIGRATE_FROM or IDP_ADAPTER_MIGRATE_TO, which other users of
    the machine do not see.

    For example: idp-adapter store migrate --from sqlite:///adapter-data/log.sqlite --to postgresql://db.example/events
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeRemainingColumn())
    console = Console(stderr=True)
    os.umask(0o077)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        shown: dict[str, TaskID] = {}

        def progress(what: str, done: int, of: int | None) -> None:
            if what not in shown:
                shown[what] = bars.add_task(what)
            bars.update(shown[what], completed=done, total=of)

        try:
            entries = asyncio.run(migrate(from_, to, progress))
        except AdapterError as error:
            fail(str(error))
    say(f"carried and compared: {entries} entries")


def _back_up(settings: Settings, target: Path, *, compact: bool) -> Copy:
    """
    Raises:
        AdapterError: there is no log, or it cannot be copied; says why.
        OSError: a file cannot be written.
    """
    folder, url = settings.data.folder, settings.store.url
    log = file_of(file_url(folder / "log.sqlite") if url is None else url.get_secret_value())
    if log is None:
        raise ConfigError("the log lies in a database of its own; back it up with that database's tools")
    if not log.exists():
        raise ConfigError(f"{log}: there is no log; name its data folder: --data")
    os.umask(0o077)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("copying", total=None)
        copy = back_up(
            log,
            target / "log.sqlite",
            compact=compact,
            progress=lambda done, of: progress.update(bar, completed=done, total=of),
        )
    for file, name in ((dictionary_path(log), "log.sqlite-dictionary"), (folder / "tokens.json", "tokens.json")):
        if file.exists():
            shutil.copyfile(file, target / name)
    return copy


def _preview(found: dict[str, Any]) -> Iterator[str]:
    left = found["stored"] - found["entries"]
    yield f"would remove {found['entries']} of {found['stored']} entries, and keep {left}"
    shares = found["shares"]
    if shares:
        width = max(len(str(one["entries"])) for one in shares)
        for one in shares[:SHOWN]:
            name = "(quarantined)" if one["type"] is None else harmless(one["type"])
            yield f"  {one['entries']:>{width}}  {harmless(one['source'])}  {name}  {_size(one['bytes'])}"
        if len(shares) > SHOWN:
            yield f"  and {sum(one['entries'] for one in shares[SHOWN:])} entries of {len(shares) - SHOWN} rarer types"
    if found["rawUntil"] >= found["first"]:
        yield f"would remove what providers sent for entries up to position {found['rawUntil']}, and keep their events"
    if found["had"] < found["head"]:
        yield f"sinks have had their events up to position {found['had']} of {found['head']}"
    yield f"the log takes {_size(found['size'])}, and {_size(found['free'])} of its file are free for new entries"


def _size(size: int) -> str:
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            return f"{size / 10**power:.1f} {unit}"
    return f"{size} bytes"
