"""Sinks as files: written as they would stand in adapter.toml, read, compared with what there is, and applied."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from adapter.commands.client import Client, Refused, fail, run, tell
from adapter.commands.options import At
from adapter.commands.output import say, write_json
from adapter.errors import ConfigError, no_such_sink
from adapter.sink_management.written import as_toml, difference

#: Bytes of a file of sinks.
SIZE = 16 * 1024 * 1024
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def export(
    names: Annotated[list[str] | None, typer.Argument(help="The sinks; default: all that the log keeps.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    *,
    at: At,
) -> None:
    """Write sinks as they would stand in adapter.toml, for sinks apply. <kept> stands for each secret: applied to the
    same service, it stays as it is.

    For example: idp-adapter sinks export > sinks.toml
    """
    found = run(lambda client: client.ask("GET", "/sinks"), at)["sinks"]
    known = {one["name"]: one for one in found}
    if missing := [one for one in names or [] if one not in known]:
        fail(no_such_sink(missing[0], known))
    wanted = [known[one] for one in names] if names else [one for one in found if one["managed"] == "api"]
    if json:
        write_json([orjson.dumps({"sinks": [one["settings"] for one in wanted]}, option=orjson.OPT_INDENT_2)])
        return
    for number, one in enumerate(wanted):
        if number:
            say("")
        for line in as_toml(one["settings"]):
            say(line)


def apply(
    file: Annotated[
        str, typer.Argument(help="Sinks as in adapter.toml (TOML), or {sinks: …} (JSON); - is standard input.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, and do nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete sinks that the file lacks.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --prune: also those with events that are not sent.")
    ] = False,
    *,
    at: At,
) -> None:
    """Have the sinks be as a file says: show the difference, ask, and do it. A text ${NAME} stands for a variable of
    the environment. A secret that the file does not say stays, and a new sink without one gets one.

    For example: idp-adapter sinks apply sinks.toml
    """
    wanted = read_file(file)
    names = [one.get("name") for one in wanted]
    if double := [name for name in names if names.count(name) > 1]:
        fail(f"{file}: there are several sinks of the name {double[0]}")

    async def applying(client: Client) -> int:
        present = {one["name"]: one for one in (await client.ask("GET", "/sinks"))["sinks"]}
        steps = [await compared(client, one, present.get(str(one.get("name"))), file) for one in wanted]
        gone = [name for name, one in present.items() if prune and one["managed"] == "api" and name not in names]
        steps += [Step(name, None, present[name], [f"- {name}"]) for name in gone]
        return await done(client, steps, file, yes=yes, dry_run=dry_run, force=force)

    if code := run(applying, at):
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Step:
    """A sink, and what is to become of it."""

    name: str
    #: Its settings; ``None``: it is to be deleted.
    given: Mapping[str, Any] | None
    #: As it is; ``None``: there is none.
    before: Mapping[str, Any] | None
    #: What differs, for people; none: nothing.
    lines: Sequence[str]


async def compared(client: Client, given: Mapping[str, Any], before: Mapping[str, Any] | None, place: str) -> Step:
    """What it would take to have a sink be as is given; ``place`` says where that stands, for errors.

    Raises:
        ConfigError: it cannot be so; says why.
    """
    name = str(given.get("name"))
    seen = await _of_place(place, name, client.ask("PUT", f"/sinks/{name}?dry_run=1", given))
    tell([f"{name}: {warning}" for warning in seen["warnings"]])
    return Step(name, given, before, difference(before, seen))


async def done(
    client: Client,
    steps: Sequence[Step],
    place: str,
    *,
    yes: bool,
    dry_run: bool,
    force: bool = False,
    paused: bool = False,
) -> int:
    """Show what differs, ask, and do it; the exit code. ``paused``: new ones send nothing until they are resumed."""
    steps = [one for one in steps if one.lines]
    for one in steps:
        for line in one.lines:
            say(line)
    if not steps:
        say("nothing to do")
        return 0
    if dry_run:
        return 0
    if not yes and not (sys.stdin.isatty() and await asyncio.to_thread(typer.confirm, "Do it?")):
        say("nothing was done; --yes does it", err=True)
        return 1
    for one in steps:
        name, before = one.name, one.before
        # What was shown is what is changed.
        seen_as = {"If-None-Match": "*"} if before is None else {"If-Match": f'"{before["id"]}.{before["version"]}"'}
        if one.given is None:
            await client.ask("DELETE", f"/sinks/{name}{'?force=1' if force else ''}", headers=seen_as)
            say(f"sink {name}: deleted")
            continue
        path = f"/sinks/{name}{'?paused=1' if paused else ''}"
        made = await _of_place(place, name, client.ask("PUT", path, one.given, headers=seen_as))
        what = "changed" if before is not None else "made, paused" if paused else "made"
        say(f"sink {name}: {what}")
        tell_secret(made)
    return 0


def read_file(name: str) -> list[dict[str, Any]]:
    """The sinks of a file, with the variables of the environment in their places."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(SIZE + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(SIZE + 1)
    except OSError as error:
        fail(f"{name}: cannot be read: {error.strerror}")
    if len(data) > SIZE:
        fail(f"{name}: is larger than {SIZE >> 20} MiB")
    try:
        text = data.decode()
        found = orjson.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (UnicodeDecodeError, orjson.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        fail(f"{name}: is neither TOML nor a JSON object: {error}")
    sinks = found.get("sinks") if set(found) <= {"sinks"} else None
    if not isinstance(sinks, list) or not all(isinstance(one, dict) for one in sinks):
        other = ", ".join(key for key in found if key != "sinks")
        fail(f"{name}: should hold [[sinks]] alone{f', and holds {other}' if other else ''}")
    return [filled(name, one) for one in sinks]


def filled(file: str, value: Any) -> Any:
    """A value with variables of the environment in the place of texts such as ``${NAME}``."""
    match value:
        case str() if (variable := _VARIABLE.fullmatch(value)) is not None:
            found = os.environ.get(variable[1])
            if found is None:
                fail(f"{file}: {value} stands for a variable of the environment, which is not set")
            return found
        case dict():
            return {key: filled(file, one) for key, one in value.items()}
        case list():
            return [filled(file, one) for one in value]
        case str() | int() | float() | bool() | None:
            return value
    return value.isoformat()  # a time of TOML


async def _of_place(place: str, name: str, asked: Any) -> Any:
    try:
        return await asked
    except Refused as refusal:
        raise ConfigError(f"{place}: {name}: {refusal}") from None


def tell_secret(found: Mapping[str, Any]) -> None:
    """Show a secret that was made for a sink."""
    if found["secret"]:
        say(f"  its secret, shown this once: {found['secret']}")
