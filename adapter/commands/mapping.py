"""``idp-adapter mapping``: check tables, and see what they make of raw events, without a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from adapter.commands.client import run
from adapter.commands.options import At, Config, grouped
from adapter.commands.output import say, shown, write_json
from adapter.commands.saving import save
from adapter.commands.stored import arrivals_of, stored_changes, told_arrivals, told_changes
from adapter.commands.timestamps import read_timestamp
from adapter.commands.trying import Trying, changes_of
from adapter.errors import AdapterError, ConfigError, MappingError
from adapter.formats.text import counted
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table, known_providers, load_table, overlooked_table, table_file
from adapter.resources import mappings_path, schemas_path
from adapter.settings import load_settings
from adapter.workbench.accept import changes as example_changes
from adapter.workbench.accept import write as write_accepted
from adapter.workbench.apply import apply_records, records_of
from adapter.workbench.check import Finding, check_table, check_types, findings_of, is_built_in
from adapter.workbench.compare import table_changes
from adapter.workbench.coverage import coverage as table_coverage
from adapter.workbench.draft import draft, refuse_name
from adapter.workbench.examples import read_examples
from adapter.workbench.explain import Explanation
from adapter.workbench.explain import explain as explain_records
from adapter.workbench.samples import read_samples
from adapter.workbench.unread import unread as unread_paths

app = typer.Typer(
    no_args_is_help=True,
    help="Check mapping tables, and see what they make of raw events. No server is needed, but for what it has stored.",
)


def table_folders(config: Path | None) -> list[Path]:
    """Where tables lie: the folders of the settings, then the built-in one.

    Raises:
        ConfigError: the settings cannot be read.
    """
    return [*load_settings(config).mappings.path, mappings_path()]


def find_table(provider: str, folders: list[Path]) -> Table:
    """The table of a provider, or of a file that is named.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    catalogue = load_catalogue(folders)
    if provider.endswith((".yaml", ".yml")):
        return load_table(Path(provider), catalogue, folders)
    file = table_file(provider, folders)
    if file is not None:
        return load_table(file, catalogue, folders)
    overlooked = overlooked_table(provider, folders)
    if overlooked is not None:
        raise ConfigError(overlooked)
    known = ", ".join(known_providers(folders))
    near = Path("mappings") / provider / "mapping.yaml"
    there = f" ({near} is not below a folder that [mappings] path names)" if near.is_file() else ""
    raise ConfigError(f"no table for {provider!r}; there are {known}, or name a mapping.yaml{there}")


@app.command()
def check(
    providers: Annotated[
        list[str] | None, typer.Argument(help="Providers or mapping.yaml files; all tables if left out.")
    ] = None,
    config: Config = None,
    strict: Annotated[bool, typer.Option(help="A row without an example is an error in users' tables too.")] = False,
) -> None:
    """Check tables: types, rows, every example. Exit code 1 if anything is wrong; warnings alone are 0.

    For example: idp-adapter mapping check onewelcome ./mappings/acme/mapping.yaml
    """
    console = Console(stderr=False, highlight=False)
    failed = False

    def tell(finding: Finding) -> None:
        console.print(shown(str(finding)), style="red" if finding.error else "yellow", markup=False, soft_wrap=True)

    try:
        folders = table_folders(config)
        names = providers or sorted({*known_providers(folders), *_misnamed(folders)})
    except AdapterError as error:
        console.print(shown(str(error)), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    for name in names:
        try:
            table = find_table(name, folders)
        except MappingError as error:
            for finding in findings_of(error):
                tell(finding)
            failed = True
            continue
        except AdapterError as error:
            console.print(shown(str(error)), style="red", markup=False, soft_wrap=True)
            failed = True
            continue
        findings = check_table(table, strict=strict or is_built_in(table.document.file))
        for finding in findings:
            tell(finding)
        wrong = sum(finding.error for finding in findings)
        failed = failed or wrong > 0
        natives = {native for shape in merged_shapes(table.mapping).values() for native in shape.types}
        state = counted(wrong, "error") if wrong else "ok"
        warnings = counted(len(findings) - wrong, "warning")
        console.print(f"{table.name}: {counted(len(natives), 'native type')}, {warnings}: {state}", markup=False)
    raise typer.Exit(1 if failed else 0)


@app.command()
def apply(
    provider: Annotated[str, typer.Argument(help="A provider, or a mapping.yaml.")],
    file: Annotated[Path, typer.Argument(help="Raw events: JSON, a list, or NDJSON; - is standard input.")],
    config: Config = None,
    media: Annotated[
        str | None,
        typer.Option(
            help="Media type of the input; default: JSON, or else lines of JSON, or of text if the table has it."
        ),
    ] = None,
) -> None:
    """Show what a table makes of raw events: one line of JSON for each, in order.

    For example: idp-adapter mapping apply keycloak event.json
    """
    with _reported():
        table = find_table(provider, table_folders(config))
        body, now = _input(file), int(time.time() * 1000)
        results = list(apply_records(table, records_of(table, body, media), now))
        wrong = sum(1 for _ in check_types(table.document, table.catalogue))
        if wrong:
            say(f"{counted(wrong, 'row')} without a type of the catalogue yet; `mapping check` names them", err=True)
    write_json(map(orjson.dumps, results))


@app.command()
def explain(
    provider: Annotated[str, typer.Argument(help="A provider, or a mapping.yaml.")],
    file: Annotated[Path, typer.Argument(help="Raw events: JSON, a list, or NDJSON; - is standard input.")],
    config: Config = None,
    media: Annotated[str | None, typer.Option(help="Media type of the input.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each event.")] = False,
) -> None:
    """Show why a table makes of raw events what it makes: shape, row and path behind each field.

    For example: idp-adapter mapping explain onewelcome event.json
    """
    with _reported():
        table = find_table(provider, table_folders(config))
        records = records_of(table, _input(file), media)
        for number, found in enumerate(explain_records(table, records, int(time.time() * 1000)), 1):
            if as_json:
                write_json([found.model_dump_json().encode()])
            else:
                place = "" if found.place is None else f" ({found.place})"
                also = "" if found.also is None else f", also of the record before: {found.also}"
                say(f"event {number}{place}{also}")
                for line in _told(found):
                    say(line)


@app.command("try")
def try_(
    provider: Annotated[str, typer.Argument(help="A provider, or a mapping.yaml.")],
    samples: Annotated[Path, typer.Option("--samples", help="Raw events: JSON, a list, or NDJSON.")],
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Again each time the table or the samples are saved; Ctrl-C ends."),
    ] = False,
    config: Config = None,
    media: Annotated[str | None, typer.Option(help="Media type of the samples.")] = None,
) -> None:
    """Try a table on samples while you write it: each event in a line, and what `check` says.

    With --watch it goes on: whenever a file is saved, it shows which events are different, and what is wrong now.

    For example: idp-adapter mapping try ./mappings/acme/mapping.yaml --samples samples.ndjson --watch
    """
    with _reported():
        folders = table_folders(config)
        trying = Trying(lambda: find_table(provider, folders), samples, media)
        file = Path(provider) if provider.endswith((".yaml", ".yml")) else None
        looked = [*folders, *([] if file is None else [file.absolute().parent.parent])]
        for _ in changes_of(looked, [samples, *([] if file is None else [file])]):
            for line in trying.tell():
                say(line)
            if not watch:
                return
            say(f"--- {datetime.now().astimezone():%H:%M:%S}, waiting for a change")


@app.command()
@grouped
def coverage(
    providers: Annotated[list[str] | None, typer.Argument(help="Providers; all tables if left out.")] = None,
    arrived: Annotated[
        bool,
        typer.Option("--arrived", help="Also what has arrived: which native types, and how many are quarantined."),
    ] = False,
    unread: Annotated[
        bool,
        typer.Option("--unread", help="Also what the raw examples say and their events do not, by path, with counts."),
    ] = False,
    *,
    at: At,
) -> None:
    """Hold tables against their vendors' lists of types: covered, missing, extra; and against what has arrived.

    With --arrived the running service counts its log, or this command does in the data folder when none runs.

    For example: idp-adapter mapping coverage onewelcome --arrived
    """
    with _reported():
        folders = table_folders(at.config)
        names = providers or known_providers(folders)
        counts = run(lambda client: arrivals_of(client, names), at) if arrived else {}
        for name in names:
            table = find_table(name, folders)
            found = table_coverage(table)
            fallen = sum(map(len, found.families.values()))
            listed = len(found.covered) + fallen + len(found.missing) + len(found.unmapped)
            if listed:
                families = f", {fallen} fall to a family" if fallen else ""
                say(f"{name}: {len(found.covered)} of {listed} types of the vendor's list have a row{families}")
            else:
                say(f"{name}: its table has no list of the vendor's types (catalogue) to hold its rows against")
            for family, natives in found.families.items():
                say(f"  family {family}: {counted(len(natives), 'type')}")
            for native in found.missing:
                say(f"  missing {native}")
            for native, why in found.unmapped.items():
                say(f"  left out {native}: {why}")
            if found.extra:
                say(f"  {len(found.extra)} more: {', '.join(found.extra)}")
            say(f"  types without a row: {found.unknown}")
            for path, number in unread_paths(table, [*read_examples(table.folder)]).items() if unread else ():
                say(f"  unread {path}  {number}")
            for line in told_arrivals(counts[name]) if arrived else ():
                say(line)


@app.command()
def accept(
    provider: Annotated[str, typer.Argument(help="A provider, or a mapping.yaml.")],
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
) -> None:
    """Show what the examples' expected events would become, and write them after a yes.

    An example that somebody adds needs `expect: []`, even if what is expected is still open. Exit code 1 if the answer
    is no.

    For example: idp-adapter mapping accept ./mappings/acme/mapping.yaml
    """
    with _reported():
        changed = list(example_changes(find_table(provider, table_folders(config))))
        if not changed:
            say("every example is reproduced; there is nothing to accept")
            return
        for change in changed:
            say(f"{change.placed.file}:{change.placed.line}: {change.placed.example.name}")
            for line in change.lines():
                say(f"  {line}")
        if not yes:
            typer.confirm(f"Write {counted(len(changed), 'expectation')}?", abort=True)
        write_accepted(changed)
        say(f"wrote {counted(len(changed), 'expectation')}; read again before you commit")


@app.command()
@grouped
def diff(
    provider: Annotated[str, typer.Argument(help="A provider, or a mapping.yaml: the table as it is.")],
    newfile: Annotated[Path, typer.Argument(help="The table as it would be.")],
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Also what it would do to stored raw events that arrived since: 2026-05-01T08:30:00Z, or '2h', '7d'.",
        ),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only to those that arrived before.")] = None,
    force: Annotated[bool, typer.Option(help="Accept that events would be known by other keys.")] = False,
    *,
    at: At,
) -> None:
    """Show what a changed table would do to the examples, and to stored raw events, before it is put in place.

    Exit code 1 if events would be known by other keys: copies of events that came before would be new events. With
    --since the running service reads its log with both tables, or this command does in the data folder when none runs.

    For example: idp-adapter mapping diff onewelcome changed.yaml --since 7d
    """
    with _reported():
        folders = table_folders(at.config)
        old, new = find_table(provider, folders), find_table(str(newfile), folders)
        if new.provider != old.provider:
            problem = f"is a table of {new.provider!r}; it cannot take the place of that of {old.provider!r}"
            raise ConfigError(f"{newfile}: {problem}")
        found = table_changes(old, new)
        for one in found:
            say(f"{one.example}")
            for line in one.lines:
                say(f"  {line}")
        keys = [one.example for one in found if one.keys]
        say(f"{counted(len(found), 'example')} would change, {len(keys)} of them their keys")
        other_keys = 0
        if since is not None or until is not None:
            now = datetime.now(UTC)
            query = [("received_from", "0" if since is None else read_timestamp("--since", since, now))]
            if until is not None:
                query.append(("received_to", read_timestamp("--until", until, now)))
            text = newfile.read_text(encoding="utf-8")
            stored = run(lambda client: stored_changes(client, old.provider, text, query), at)
            for line in told_changes(stored):
                say(line)
            other_keys = stored["other_keys"]
        if (keys or other_keys) and not force:
            say("the identity of events would change; use --force if that is meant", err=True)
            raise typer.Exit(1)


@app.command()
def new(
    provider: Annotated[str, typer.Argument(help="Name of the new provider: small letters, digits and -.")],
    samples: Annotated[
        Path,
        typer.Option("--from", help="Raw events: JSON, a list, NDJSON, or the lines of a log; - is standard input."),
    ],
    to: Annotated[
        Path | None,
        typer.Option(help="Folder of the user's own tables; default: the first of mappings.path, or mappings."),
    ] = None,
    config: Config = None,
) -> None:
    """Propose a table from samples; `check` rejects it until each type is decided.

    Samples may be envelopes around lists of events: then the table says how to open them. What is called a password, a
    token or the like is redacted, and is not in the files that are written.

    For example: idp-adapter mapping new acme --from samples.ndjson
    """
    with _reported():
        refuse_name(provider)
        folders = table_folders(config)
        to = to or next(iter(folders[:-1]), Path("mappings"))
        folder = to / provider
        if folder.exists():
            raise ConfigError(f"{folder}: is there already; name another provider, or edit it")
        proposed = draft(provider, read_samples(_input(samples), samples), folder)
        proposed.examples_file.parent.mkdir(parents=True)
        proposed.file.write_text(proposed.mapping, encoding="utf-8")
        proposed.examples_file.write_text(proposed.examples, encoding="utf-8")
        say(f"wrote {proposed.file} and {proposed.examples_file}")
        for remark in proposed.remarks:
            say(f"note: {remark}")
        say(f"next: decide each type, then: idp-adapter mapping check {proposed.file}")
        if to.resolve() not in [one.resolve() for one in folders]:
            say(f'to have it found by its name, here and by the service: path = ["{to}"] under [mappings]')


@app.command()
def schema() -> None:
    """Print the path of the JSON Schema of mapping files, by which an editor completes and checks them.

    It knows the words of the language, types, reasons and fields. As the first line of a mapping.yaml:
    # yaml-language-server: $schema=PATH

    For example: idp-adapter mapping schema
    """
    say(str(schemas_path() / "mapping.schema.json"))


app.command()(grouped(save))


@contextmanager
def _reported() -> Iterator[None]:
    """Errors that a person can fix are told in a line, with exit code 1."""
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(1) from None  # the reader of our output has seen enough
    except OSError as error:
        if error.filename is None:  # of the output
            raise
        say(f"{error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    except (AdapterError, ValueError) as error:
        typer.echo(shown(str(error)), err=True)
        raise typer.Exit(1) from None


def _misnamed(folders: list[Path]) -> list[str]:
    """Providers whose table has a name that is not looked for."""
    return [file.parent.name for folder in folders for file in folder.glob("*/mapping.yml")]


def _input(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def _told(found: Explanation) -> list[str]:
    lines = []
    for what, tried in (("shape", found.shapes), ("row", found.rows)):
        for one in tried:
            why = "" if one.failed is None else f": {one.failed}"
            lines.append(f"  {what} {one.name}: {'taken' if one.taken else 'not taken'}{why}")
    if found.shapes:
        lines.append(f"  known by: {found.known_by}")
    if found.ignored:
        lines.append("  ignored by the table" + ("" if found.line is None else f": {found.line}"))
    if found.problem is not None:
        lines.append(f"  quarantined: {found.problem}")
    width = max((len(name) for name in found.fields), default=0)
    lines.extend(f"  {name:<{width}}  {one.value}  <- {one.by}" for name, one in found.fields.items())
    if found.absent:
        lines.append("  found nothing:")
        lines.extend(f"    {name}  <- {where}" for name, where in found.absent.items())
    return lines
