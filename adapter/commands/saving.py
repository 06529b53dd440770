"""``idp-adapter mapping save``: a table from files of this machine, saved by the running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from aiohttp import hdrs

from adapter.commands.client import Client, Refused, fail, read_answer, run
from adapter.commands.options import At
from adapter.commands.output import say
from adapter.formats.text import counted, harmless


def save(
    provider: Annotated[str, typer.Argument(help="Name of the provider.")],
    file: Annotated[Path, typer.Argument(help="A mapping.yaml, or a folder that holds one and examples/*.yaml.")],
    types: Annotated[Path | None, typer.Option("--types", help="A types.yaml to be saved with it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Save nothing, and show what it would do.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Rewrite what its examples expect to what the table makes of them.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Accept that events would be known by other keys.")] = False,
    *,
    at: At,
) -> None:
    """Save a table into the running service, after its check: over a log in PostgreSQL into all services.

    Shows what the check finds and which examples the table in use reads differently. The settings must allow it
    ([mappings] writable = true). Exit code 1 if it is not saved, or with --dry-run would not be.

    For example: idp-adapter mapping save shop ./shop --dry-run
    """
    try:
        body = _body(file, types)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{getattr(error, 'filename', None) or file}: cannot be read: {error}")
    query = {"force": "1"} if force else {}
    found = run(lambda client: _save(client, provider, body, query, dry_run=dry_run, accept=accept), at)
    if dry_run and not found["ok"]:
        raise typer.Exit(1)


def _body(file: Path, types: Path | None) -> dict[str, Any]:
    """What is sent, of a file or a folder."""
    files = {} if types is None else {"types.yaml": types.read_text("utf-8")}
    if file.is_dir():
        examples = sorted((file / "examples").glob("*.yaml"))
        files |= {f"examples/{one.name}": one.read_text("utf-8") for one in examples}
        file = file / "mapping.yaml"
    return {"mapping": file.read_text("utf-8"), "files": files}


async def _save(
    client: Client, provider: str, body: dict[str, Any], query: dict[str, str], *, dry_run: bool, accept: bool
) -> dict[str, Any]:
    path = f"/mappings/{provider}"
    async with client.request("HEAD", path) as response:
        there = response.headers.get(hdrs.ETAG)
    headers: dict[str, str] = {hdrs.IF_NONE_MATCH: "*"} if there is None else {hdrs.IF_MATCH: there}
    found = await _put(client, path, body, {**query, "dry_run": "1"}, headers)
    if accept and found["expectations"]:
        query = {**query, "seen": found["seen"]}
        for one in found["expectations"]:
            say(f"{one['example']}: expects now")
            for line in one["lines"]:
                say(f"  {harmless(line)}")
        found = await _put(client, path, body, {**query, "dry_run": "1"}, headers)
    for one in found["findings"]:
        where = ":".join(str(one[part]) for part in ("file", "line", "column") if one.get(part) is not None)
        say(harmless(f"{where}: {'error' if one['error'] else 'warning'}: {one['text']} [{one.get('code')}]"))
    for one in found["examples"]:
        say(one["example"])
        for line in one["lines"]:
            say(f"  {harmless(line)}")
    if dry_run:
        say(f"dry run: {counted(len(found['examples']), 'example')} would be read differently")
        return found
    found = await _put(client, path, body, query, headers)
    mapping = found["mapping"]
    say(f"saved, and in use: {provider}@{mapping['version']}")
    if mapping["readable"]:
        command = f"idp-adapter events renormalize --provider {provider} --type quarantined"
        say(f"quarantined entries that could be read now: {mapping['readable']}; {command}")
    if not found["sources"]:
        key = f'provider = "{provider}"'
        say(f"no source is read by it yet; add one under [[sources]] with {key}, then: idp-adapter reload")
    return found


async def _put(client: Client, path: str, body: Any, query: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
    """What saving answers.

    Raises:
        Refused: with the service's reason.
    """
    async with client.request("PUT", path, query=query, body=body, headers=headers) as response:
        answer = orjson.loads(await read_answer(response))
        if response.status >= 300:
            raise Refused(f"{answer['title']}: {answer['detail']}")
        found: dict[str, Any] = answer
        return found
