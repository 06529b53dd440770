"""``idp-adapter sources verify`` and ``statement-key``: the signed statements that say what was reconciled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from adapter.commands.client import ANSWER_SIZE, Client, fail, run
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.commands.reconcile import WELL, Json, shown_time, told_missing
from adapter.commands.timestamps import read_timestamp
from adapter.system_events import SOURCE

#: Milliseconds that a statement is about.
HOUR = 3_600_000


def verify(
    file: Annotated[
        Path | None, typer.Argument(help="Events with statements, a line each; default: those of the log.")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", help="Thumbprint of a key that is trusted; default: the service's own. Repeatable."),
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="Of hours that begin then or later.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Of hours that begin before.")] = None,
    json: Json = False,
    *,
    at: At,
) -> None:
    """Verify the signatures of statements, say what they say, and which hours between them have none. Ends with 1 if
    a signature is wrong, an hour is missing, or an event was.

    For example: idp-adapter sources verify --from 30d
    """
    from adapter.reconciliation.statement import NAME  # signatures take a while to import

    now = datetime.now(UTC)
    begin = None if since is None else int(read_timestamp("--from", since, now))
    end = None if until is None else int(read_timestamp("--to", until, now))
    verifying = _Verifying(begin, end, json=json)
    trusted = set(keys or ())

    async def working(client: Client) -> None:
        if not trusted:
            trusted.add((await client.ask("GET", "/statement-key"))["kid"])
        if file is not None:
            return
        # What says the same and is not the service's own came from outside.
        query = [("type", f"system.{NAME}"), ("source", SOURCE), ("order", "log")]
        if begin is not None:
            # A statement is made after its hour.
            query.append(("from", str(begin)))
        async with client.get("/events/export", query) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                verifying.add(lines, trusted)
            verifying.add([rest], trusted)

    if file is None or not trusted:
        run(working, at)
    if file is not None:
        try:
            with file.open("rb") as stream:
                verifying.add(iter(lambda: stream.readline(ANSWER_SIZE), b""), trusted)
        except OSError as error:
            fail(f"{file}: cannot be read: {error.strerror}")
    if not verifying.end():
        raise typer.Exit(1)


class _Verifying:
    """Statements, one after the other."""

    def __init__(self, begin: int | None, end: int | None, *, json: bool) -> None:
        self._begin, self._end = begin, end
        self._json = json
        self._is_well = True
        self._count = 0
        #: The hours that have a statement, by source, realm and kind.
        self._hours: dict[tuple[str, str, str], set[int]] = {}

    def add(self, lines: Iterable[bytes], trusted: set[str]) -> None:
        """Verify the statements of events, a line each."""
        from adapter.reconciliation.statement import NotSigned, read_statement, verified

        for line in lines:
            if not line.strip():
                continue
            event: Any = None
            try:
                event = orjson.loads(line)
                text, signature, statement = read_statement(event)
                if self._begin is not None and statement.since < self._begin:
                    continue
                if self._end is not None and statement.since >= self._end:
                    continue
                verified(text, signature, trusted)
            except (NotSigned, orjson.JSONDecodeError) as error:
                uid = event.get("uid") if isinstance(event, dict) else None
                self._tell(False, {"uid": uid, "problem": str(error)}, f"WRONG    event {uid}: {error}")
                continue
            is_well = statement.result in WELL
            mark = "signed " if is_well else "MISSING" if statement.missing_count else "UNKNOWN"
            hour = f"{shown_time(statement.since)}  {statement.source}  {statement.realm}  {statement.kind}"
            word = f"{statement.result.value}: {statement.on_server:,} on the server"
            if statement.missing_count or statement.repaired:
                word += f", {statement.missing_count:,} missing, {statement.repaired:,} fetched"
            self._tell(is_well, statement.model_dump(mode="json", by_alias=True), f"{mark}  {hour}  {word}")
            for text_line in told_missing(statement.missing, statement.missing_count):
                if not self._json:
                    say(text_line)
            self._count += 1
            self._hours.setdefault((statement.source, statement.realm, statement.kind), set()).add(statement.since)

    def end(self) -> bool:
        """Say which hours have no statement; whether all is well."""
        for (source, realm, kind), hours in sorted(self._hours.items()):
            for before, after in self._gaps(sorted(hours)):
                text = f"NONE     {shown_time(before)} to {shown_time(after)}  {source}  {realm}  {kind}  no statement"
                gap = {"source": source, "realm": realm, "kind": kind, "from": before, "to": after}
                self._tell(False, {**gap, "problem": "no statement"}, text)
        if not self._count:
            self._is_well = False
            say("there is no statement; the first one is made when the first whole hour is over", err=True)
        return self._is_well

    def _gaps(self, hours: list[int]) -> Iterator[tuple[int, int]]:
        """From and until when there is no statement: between two, and up to the bounds that were asked for."""
        first = [] if self._begin is None else [-(-self._begin // HOUR) * HOUR - HOUR]
        last = [] if self._end is None else [self._end // HOUR * HOUR]
        for one, other in pairwise([*first, *hours, *last]):
            if other > one + HOUR:
                yield one + HOUR, other

    def _tell(self, is_well: bool, value: dict[str, Any], text: str) -> None:
        self._is_well = self._is_well and is_well
        if self._json:
            write_json([orjson.dumps(value)])
        else:
            say(text)


def statement_key(json: Json = False, *, at: At) -> None:
    """Show the thumbprint of the key that signs the hourly statements, for an auditor to note; with --json the public
    key.

    For example: idp-adapter sources statement-key
    """

    async def working(client: Client) -> dict[str, Any]:
        found: dict[str, Any] = await client.ask("GET", "/statement-key")
        return found

    key = run(working, at)
    if json:
        write_json([orjson.dumps(key)])
    else:
        say(key["kid"])
