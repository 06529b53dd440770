"""``idp-adapter events export`` and ``verify``: events as a file, and whether a file is what its manifest says."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer
from aiohttp import ClientError, ClientResponse
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from adapter.api.headers import CURSOR, HINTS
from adapter.commands.client import (
    Client,
    NotRunning,
    Refused,
    Unavailable,
    ended,
    fail,
    open_client,
    read_answer,
    run,
    tell,
)
from adapter.commands.filters import Filters
from adapter.commands.options import At, grouped
from adapter.commands.output import Output, say
from adapter.commands.reaching import told
from adapter.documents.kinds import KINDS
from adapter.errors import AdapterError
from adapter.formats.settings import DEFAULT, format_names
from adapter.formats.text import counted

#: Between two tries to go on with an export that broke off, seconds, at first and at most; and how many bring nothing
#: before it is given up.
TRIED, TRIES = (0.2, 5.0), 12
#: Bytes that are read of a file at once.
_PIECE = 1024 * 1024

Query = list[tuple[str, str]]


class Order(StrEnum):
    """What comes first."""

    TIME = "time"
    LOG = "log"


class Delimiter(StrEnum):
    """What stands between the cells of a table."""

    COMMA = "comma"
    SEMICOLON = "semicolon"
    TAB = "tab"


@grouped
def export(
    format: Annotated[
        str,
        typer.Option("--format", "-f", help=f"What it is written as: {', '.join([*format_names(), *KINDS])}."),
    ] = DEFAULT,
    delimiter: Annotated[
        Delimiter | None, typer.Option("--delimiter", help="With --format csv: what stands between cells.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write; default: standard output. It is FILE.part until it is whole, and goes on by itself "
            "when the connection breaks.",
        ),
    ] = None,
    order: Annotated[
        Order, typer.Option("--order", help="time: newest first; log: in the order of arrival.")
    ] = Order.TIME,
    manifest: Annotated[
        bool,
        typer.Option(
            "--manifest",
            help="Also FILE.manifest.json: filter, count, first and last event, SHA-256; what the service says of the "
            "same export is held against the file.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the FILE.part of an export that was broken off: with its question."),
    ] = False,
    *,
    filters: Filters,
    at: At,
) -> None:
    """Write all events that match, however many.

    For example: idp-adapter events export --format csv --from 7d --output week.csv --manifest
    """
    if output is None and (manifest or resume or format in KINDS):
        asked = "--manifest" if manifest else "--resume" if resume else f"--format {format}"
        fail(f"{asked} needs a file: --output FILE")
    query = [*filters.query(at), ("order", str(order)), ("format", format)]
    query += [] if delimiter is None else [("delimiter", str(delimiter))]
    try:
        if output is None:
            run(lambda client: _copied(client, query), at)
        else:
            ended(Saving(at, query, output).save(manifest=manifest, resume=resume))
    except BrokenPipeError:
        # Whoever read it has seen enough.
        sys.stderr.close()
    except OSError as error:
        fail(f"{output or 'standard output'}: cannot be written: {error.strerror}")


@grouped
def verify(
    file: Annotated[Path, typer.Argument(help="An export.")],
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Its manifest; default: FILE.manifest.json.")
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Also ask the service whether the same export has the same bytes now; needs export."
        ),
    ] = False,
    *,
    at: At,
) -> None:
    """Say whether an export is what its manifest says. Ends with 1 if it is not.

    For example: idp-adapter events verify week.csv --again
    """
    place = manifest or manifest_file(file)
    try:
        said = _read_manifest(place.read_bytes())
        size, digest = hashed(file)
    except OSError as error:
        fail(f"{error.filename}: cannot be read: {error.strerror}")
    except ValueError as error:
        fail(f"{place}: is no manifest of an export: {error}")
    if (size, digest) != (said["bytes"], said["sha256"]):
        fail(
            f"{file}: is not what {place} says: {size} bytes with the SHA-256 {digest}, not {said['bytes']} bytes with "
            f"{said['sha256']}"
        )
    say(f"{file}: {counted(said['count'], 'event')}, as {place} says; asked for at {said['generatedAt']}")
    if not again:
        return

    async def asking(client: Client) -> dict[str, Any]:
        return await _manifest(client, _question(said))

    now = run(asking, at)
    if (now["sha256"], now["bytes"]) != (said["sha256"], said["bytes"]):
        fail(
            f"{file}: the service now gives other bytes for the same question: {now['bytes']} with the SHA-256 "
            f"{now['sha256']}, {counted(now['count'], 'event')}. Events were removed or scrubbed since, names became "
            "known, the key that asks is another one, or the service has another version"
        )
    say(f"{file}: the service gives the same bytes now")


def manifest_file(file: Path) -> Path:
    """Where the manifest of an export stands."""
    return file.with_name(f"{file.name}.manifest.json")


def hashed(file: Path) -> tuple[int, str]:
    """The size of a file, and its SHA-256 in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


class Saving:
    """One export into a file."""

    def __init__(self, at: At, query: Query, output: Path) -> None:
        self._at = at
        self._query = query
        self._output = output
        self._part = output.with_name(f"{output.name}.part")
        #: What the part is of, for `--resume`.
        self._about = output.with_name(f"{output.name}.part.json")
        self._cursor: str | None = None

    async def save(self, *, manifest: bool, resume: bool) -> None:
        """Write the file, and its manifest.

        Raises:
            AdapterError: the service refused, or does not answer any more; what came is kept.
            OSError: the file cannot be written.
        """
        if resume:
            self._take_up()
        else:
            self._about.unlink(missing_ok=True)
            self._part.write_bytes(b"")
        try:
            with _progress(self._format) as progress:
                await self._fetch(progress)
                if manifest:
                    progress.note("held against the manifest of the service")
                    await self._verify()
        except (AdapterError, ClientError, TimeoutError) as error:
            why = str(error) if isinstance(error, AdapterError) else told(error)
            if self._cursor is None:
                self._part.unlink()
                raise AdapterError(why) from None
            raise AdapterError(f"{why}; {self._part} has what came: go on with --resume") from None
        self._part.replace(self._output)
        self._about.unlink(missing_ok=True)

    @property
    def _format(self) -> str:
        return dict(self._query)["format"]

    def _take_up(self) -> None:
        try:
            about = orjson.loads(self._about.read_bytes())
            self._query = [(str(name), str(value)) for name, value in about["query"]]
            self._cursor = str(about["cursor"])
            self._part.touch()
        except (OSError, ValueError, KeyError, TypeError):
            raise AdapterError(f"{self._part}: there is nothing to go on with; begin without --resume") from None

    async def _fetch(self, progress: Shown) -> None:
        wait, tries, best = TRIED[0], 0, -1
        while True:
            try:
                async with open_client(self._at) as client:
                    if self._cursor is None:
                        progress.expect(await _count(client, self._query))
                    await self._go_on(client, progress)
                    return
            except (ClientError, TimeoutError, Unavailable, NotRunning) as error:
                size = self._part.stat().st_size
                best, tries = (size, 0) if size > best else (best, tries + 1)
                # Before it began there is nothing to go on with, and what is wrong is likely to stay.
                if self._cursor is None or tries == TRIES:
                    raise
                why = str(error) if isinstance(error, AdapterError) else told(error)
                progress.note(f"{why}; going on")
                wait = TRIED[0] if not tries else min(wait * 2, TRIED[1])
                await asyncio.sleep(wait)
            except Refused as error:
                # The event behind which it goes on was removed from the log meanwhile.
                if self._cursor is None or not str(error).startswith("Bad parameter: after="):
                    raise
                self._part.write_bytes(b"")
                best, tries = -1, 0
                progress.note(f"{self._part}: its last event was removed from the log; it is written anew")

    async def _go_on(self, client: Client, progress: Shown) -> None:
        query = list(self._query)
        with self._part.open("r+b") as file:
            if self._cursor is not None:
                query.append(("cursor", self._cursor))
                after = _last_uid(file, self._format)
                if after is None:
                    file.truncate(0)
                else:
                    query.append(("after", after))
            file.seek(0, 2)
            progress.at(_lines(file, self._format))
            file.seek(0, 2)
            async with client.get("/events/export", query) as response:
                self._note_cursor(response)
                tell(orjson.loads(response.headers.get(HINTS, "[]")))
                async for chunk in response.content.iter_any():
                    file.write(chunk)
                    progress.add(chunk)

    def _note_cursor(self, response: ClientResponse) -> None:
        if self._cursor is None and CURSOR in response.headers:
            self._cursor = response.headers[CURSOR]
            about = json.dumps({"query": self._query, "cursor": self._cursor})
            self._about.write_text(about)

    async def _verify(self) -> None:
        size, digest = await asyncio.to_thread(hashed, self._part)
        async with open_client(self._at) as client:
            said = await _manifest(client, [*self._query, ("cursor", str(self._cursor))])
        if (size, digest) != (said["bytes"], said["sha256"]):
            raise AdapterError(
                f"{self._part}: the service says otherwise of the same export: {said['bytes']} bytes with the SHA-256 "
                f"{said['sha256']}, here {size} with {digest}; events were removed or scrubbed meanwhile, or names "
                "became known: begin again"
            )
        manifest_file(self._output).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")


class Shown:
    """How far an export is, on a terminal."""

    def __init__(self, progress: Progress, task: TaskID, *, lines: bool, heading: int) -> None:
        self._progress = progress
        self._task = task
        self._lines = lines
        self._heading = heading

    def expect(self, total: int | None) -> None:
        """So many events come; ``None``: it is not known."""
        if self._lines:
            self._progress.update(self._task, total=total)

    def at(self, lines: int) -> None:
        """So many lines are there already."""
        self._progress.update(self._task, completed=max(0, lines - self._heading) if self._lines else 0)

    def add(self, chunk: bytes) -> None:
        """More has come."""
        self._progress.advance(self._task, chunk.count(b"\n") if self._lines else len(chunk))

    def note(self, text: str) -> None:
        """Say something beside it."""
        if not self._progress.disable:
            self._progress.console.print(text, style="yellow", markup=False, soft_wrap=True)


@contextmanager
def _progress(format: str) -> Iterator[Shown]:
    console = Console(stderr=True, highlight=False)
    lines = format not in KINDS
    shown = TextColumn("{task.completed:,.0f} " + ("events" if lines else "bytes"))
    with Progress(
        BarColumn(), shown, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield Shown(progress, progress.add_task("", total=None), lines=lines, heading=int(format == "csv"))


async def _copied(client: Client, query: Query) -> None:
    async with client.get("/events/export", query) as response:
        tell(orjson.loads(response.headers.get(HINTS, "[]")))
        await _copy(response.content.iter_any(), sys.stdout.buffer)


async def _copy(chunks: AsyncIterator[bytes], file: BinaryIO) -> None:
    output = Output(file)
    async for chunk in chunks:
        output.write(chunk)
    output.flush()


async def _count(client: Client, query: Query) -> int | None:
    """How many events there are, if it can be told at once."""
    filters = [(name, value) for name, value in query if name not in ("order", "format", "delimiter")]
    with suppress(AdapterError, ClientError, TimeoutError):
        async with client.get("/events/counts", [*filters, ("by", "outcome")]) as response:
            found = orjson.loads(await read_answer(response))
            return None if found["partial"] else int(found["total"])
    return None


async def _manifest(client: Client, query: Query) -> dict[str, Any]:
    async with client.get("/events/export", [*query, ("manifest", "1")]) as response:
        return _read_manifest(await read_answer(response))


def _read_manifest(text: bytes) -> dict[str, Any]:
    """
    Raises:
        ValueError: it is none.
    """
    said = orjson.loads(text)
    needed = {"filter": dict, "order": str, "format": str, "count": int, "bytes": int, "sha256": str, "cursor": str}
    needed["generatedAt"] = str
    for name, type in needed.items():
        if not isinstance(said, dict) or not isinstance(said.get(name), type):
            raise ValueError(f"{name} is missing or wrong")
    found: dict[str, Any] = said
    return found


def _question(said: dict[str, Any]) -> Query:
    """The question that an export answered, by its manifest."""
    query = [(str(name), str(value)) for name, values in said["filter"].items() for value in values]
    query += [(name, said[name]) for name in ("order", "format", "cursor")]
    query += [(name, "1") for name in ("revisions", "names") if said.get(name)]
    return query if said.get("delimiter") is None else [*query, ("delimiter", said["delimiter"])]


def _last_uid(file: BinaryIO, format: str) -> str | None:
    """The uid of the last whole event of a file, which is cut behind it; ``None``: there is none, or none is said."""
    if format in KINDS:
        return None
    end = file.seek(0, 2)
    tail = b""
    while end and tail.count(b"\n") < 2:
        begin = max(0, end - _PIECE)
        file.seek(begin)
        tail = file.read(end - begin) + tail
        end = begin
    whole = tail.rfind(b"\n") + 1
    if not whole:
        return None
    file.truncate(end + whole)
    lines = tail[:whole].rstrip(b"\r\n").split(b"\n")
    if format == "csv":
        # The first line is the heading.
        return lines[-1].partition(b'"')[2].partition(b'"')[0].decode() if end or len(lines) > 1 else None
    try:
        event = orjson.loads(lines[-1])
        uid = event["uid"] if "uid" in event else event["data"]["uid"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(uid)


def _lines(file: BinaryIO, format: str) -> int:
    if format in KINDS:
        return 0
    file.seek(0)
    count = 0
    while piece := file.read(_PIECE):
        count += piece.count(b"\n")
    return count
