"""``idp-adapter sinks``: see, make and change the sinks of a running service."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from adapter.commands.client import Client, Refused, fail, run, tell
from adapter.commands.columns import Column, fitted, plain
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, say, write_json
from adapter.commands.sink_attempts import attempts, why, written
from adapter.commands.sink_audit import audit
from adapter.commands.sink_compare import compare
from adapter.commands.sink_files import apply, export, filled, read_file, tell_secret
from adapter.commands.sink_links import link
from adapter.commands.sink_replay import dead, held, replay, resend
from adapter.commands.sink_skip import skip
from adapter.commands.sink_stats import stats
from adapter.formats.text import counted, harmless
from adapter.sink_management.written import as_toml

app = typer.Typer(
    no_args_is_help=True,
    help="See, make and change sinks, as files too; pause and test them; see what they were sent, and send it again.",
)

_COLOURS = {"running": "green", "down": "red", "stopped": "red", "paused": "yellow", "off": "red"}
#: What a test event came to.
_CAME_TO = {
    "later": "not taken, would be tried again",
    "never": "not taken, would not be tried again",
    "stop": "not taken, would stop the sink",
}
Name = Annotated[str, typer.Argument(help="The sink.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON: the service's answer.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, its value as in adapter.toml; several times."),
]
Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", metavar="FIELD=VALUE", help="What it gets, as in the feed; several times."),
]
Url = Annotated[str | None, typer.Option("--to", metavar="URL", help="Where a webhook posts to.")]
File = Annotated[
    str | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Its settings: a file with one sink, as in adapter.toml, or - for standard input.",
    ),
]


@app.callback()
def _group() -> None:
    pass


@app.command("list")
@grouped
def list_sinks(json: Json = False, *, at: At) -> None:
    """Show all sinks: state, how far behind, how many events are delivered, held and dead, and the last answer.

    For example: idp-adapter sinks list
    """
    found = run(lambda client: client.ask("GET", "/sinks"), at)
    if json:
        write_json([orjson.dumps(found)])
        return
    tell(found["warnings"])
    if found["sinks"]:
        _show_all(found["sinks"], console_of_output())
    else:
        say("there are no sinks; make one: idp-adapter sinks create NAME --to https://HOST/PATH")


@app.command("show")
@grouped
def show(name: Name, json: Json = False, *, at: At) -> None:
    """Show one sink: how it stands, and its settings as they would stand in adapter.toml, without secrets.

    For example: idp-adapter sinks show soc
    """
    found = run(lambda client: client.ask("GET", f"/sinks/{name}"), at)
    if json:
        write_json([orjson.dumps(found)])
        return
    _show_all([found], console_of_output())
    for line in _standing(found):
        say(line)
    say("")
    for line in as_toml(found["settings"]):
        say(line)


@app.command("create")
@grouped
def create(
    name: Name,
    to: Url = None,
    filters: Filters = None,
    settings: Set = None,
    file: File = None,
    paused: Annotated[bool, typer.Option("--paused", help="It sends nothing until it is resumed.")] = False,
    json: Json = False,
    *,
    at: At,
) -> None:
    """Make a sink; without a secret it gets one, which is shown this once.

    For example: idp-adapter sinks create soc --to https://soc.example/hook --filter 'type=access.*_ERROR'
    """
    given = {**_given(to, filters, settings, file), "name": name}
    _check_receiver(given)
    path = f"/sinks{'?paused=1' if paused else ''}"
    _tell_made(run(lambda client: client.ask("POST", path, given), at), "made", json)


@app.command("change")
@grouped
def change(
    name: Name,
    to: Url = None,
    filters: Filters = None,
    settings: Set = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="A setting that is as by default again.")
    ] = None,
    json: Json = False,
    *,
    at: At,
) -> None:
    """Change some settings of a sink; all others, and its place in the log, stay.

    For example: idp-adapter sinks change soc --set window=8
    """
    given = {**_given(to, filters, settings, None, kind=False), **dict.fromkeys(unset or [])}
    if not given:
        fail("nothing is to be changed; say what: --set KEY=VALUE")
    _tell_made(run(lambda client: client.ask("PATCH", f"/sinks/{name}", given), at), "changed", json)


@app.command("delete")
@grouped
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Also if it has events that are not sent.")] = False,
    *,
    at: At,
) -> None:
    """Delete a sink, with its place in the log and what is held for it. Asks if it has events that are not sent.

    For example: idp-adapter sinks delete soc
    """

    async def deleting(client: Client) -> None:
        try:
            await client.ask("DELETE", f"/sinks/{name}{'?force=1' if yes else ''}")
        except Refused as refusal:
            if not str(refusal).startswith("Not empty"):
                raise
            if not sys.stdin.isatty():
                fail(str(refusal).replace("force=1", "--yes"))
            say(str(refusal), err=True)
            if not await asyncio.to_thread(typer.confirm, "Delete it all the same?"):
                raise typer.Exit(1) from None
            await client.ask("DELETE", f"/sinks/{name}?force=1")

    run(deleting, at)
    say(f"sink {name}: deleted")


@app.command("pause")
@grouped
def pause(name: Name, *, at: At) -> None:
    """Send nothing to a sink until it is resumed; its place in the log stands.

    For example: idp-adapter sinks pause soc
    """
    found = run(lambda client: client.ask("POST", f"/sinks/{name}/pause"), at)
    say(f"sink {name}: {found['state']}")


@app.command("resume")
@grouped
def resume(name: Name, *, at: At) -> None:
    """Go on with a sink that was paused, or that stopped, where it stands.

    For example: idp-adapter sinks resume soc
    """
    found = run(lambda client: client.ask("POST", f"/sinks/{name}/resume"), at)
    say(f"sink {name}: {found['state']}")


@app.command("test")
@grouped
def test(name: Name, json: Json = False, *, at: At) -> None:
    """Send one signed test event (system.SINK-TEST) to a sink now, and show what is answered; it is in no log. Ends
    with 1 unless the receiver took it.

    For example: idp-adapter sinks test soc
    """
    _tell_tested(run(lambda client: client.ask("POST", f"/sinks/{name}/test"), at), json)


@app.command("check")
@grouped
def check(
    name: Annotated[str, typer.Argument(help="The name that it will have.")] = "check",
    to: Url = None,
    filters: Filters = None,
    settings: Set = None,
    file: File = None,
    json: Json = False,
    *,
    at: At,
) -> None:
    """Try settings before they are saved: say what is wrong with them, send one test event, and show what is answered.
    Ends with 1 unless the receiver took it.

    Give the receiver's secret: without one the test is signed with a new one that no receiver knows, and a receiver
    that verifies answers 401.

    For example: idp-adapter sinks check --to https://soc.example/hook --set 'secret=${SOC_SECRET}'
    """
    given = {**_given(to, filters, settings, file), "name": name}
    _check_receiver(given)
    found = run(lambda client: client.ask("POST", "/sinks/check", given), at)
    if json:
        write_json([orjson.dumps(found)])
    else:
        tell(found["warnings"])
    _tell_tested(found["test"], json=False, quiet=json)


@app.command("rotate")
@grouped
def rotate(
    name: Name,
    overlap: Annotated[
        str, typer.Option("--overlap", help="For how long the old secret signs, too: 10min, 24h, 7d; 0: not at all.")
    ] = "24h",
    json: Json = False,
    *,
    at: At,
) -> None:
    """Give a sink a new secret, which is shown this once, beside the one that it has: posts are signed with both for a
    while.

    For example: idp-adapter sinks rotate soc --overlap 24h
    """
    asked = {"overlap": overlap}
    _tell_made(run(lambda client: client.ask("POST", f"/sinks/{name}/rotate", asked), at), "has a new secret", json)


def _given(
    to: str | None,
    filters: Sequence[str] | None,
    settings: Sequence[str] | None,
    file: str | None,
    *,
    kind: bool = True,
) -> dict[str, Any]:
    """Settings as the options say them."""
    given: dict[str, Any] = {}
    if file is not None:
        sinks = read_file(file)
        if len(sinks) != 1:
            fail(f"{file}: holds {len(sinks)} sinks, and one is right here; sinks apply takes several")
        given = {key: one for key, one in sinks[0].items() if key != "name"}
    if to is not None:
        given["url"] = to
    for text in filters or []:
        field, equals, value = text.partition("=")
        if not equals:
            fail(f"--filter {text}: write FIELD=VALUE")
        chosen = given.setdefault("filter", {})
        chosen[field] = [*([chosen[field]] if isinstance(chosen.get(field), str) else chosen.get(field, [])), value]
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals:
            fail(f"--set {text}: write KEY=VALUE")
        try:
            given[key] = filled("--set", tomllib.loads(f"value = {value}")["value"])
        except tomllib.TOMLDecodeError:
            given[key] = value  # a text without quotes
    if kind:
        given.setdefault("kind", "webhook")
    return given


def _check_receiver(given: Mapping[str, Any]) -> None:
    if given["kind"] == "webhook" and "url" not in given:
        fail("say where it posts to: --to https://HOST/PATH")


def _show_all(sinks: Sequence[Mapping[str, Any]], console: Console) -> None:
    said = [
        one["problem"] or (one["state"] in ("paused", "stopped") and one["reason"]) or one["answer"] for one in sinks
    ]
    columns = [
        Column("sink", [plain(one["name"]) for one in sinks], 64, 8),
        Column("kind", [plain(one["kind"]) for one in sinks], 12, 7, spare=2),
        Column("kept in", [plain("log" if one["managed"] == "api" else "settings") for one in sinks], 8, 7, spare=1),
        Column("state", [Text(one["state"], style=_COLOURS.get(one["state"], "")) for one in sinks], 9, 9),
        Column("lag", [Text(str(one["lag"])) for one in sinks], 12, 5, right=True),
        Column("delivered", [Text(str(one["counts"]["delivered"])) for one in sinks], 12, 9, spare=3, right=True),
        Column("held", [_number(one["counts"]["held"], "yellow") for one in sinks], 12, 4, right=True),
        Column("dead", [_number(one["counts"]["dead"], "red") for one in sinks], 12, 4, right=True),
        Column("last answer", [plain(text) for text in said], 200, 20, wrapped=True),
    ]
    console.print(fitted(columns, console.width))


def _number(number: int, style: str) -> Text:
    return Text(str(number), style=style if number else "")


def _standing(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if found["managed"] == "settings":
        lines.append("it stands in adapter.toml, and is changed there")
    else:
        lines.append(f"made by {found['createdBy']}, changed by {found['changedBy']}; version {found['version']}")
    if found["retiring"]:
        count = len(found["retiring"])
        until = written(max(one["until"] for one in found["retiring"]))
        lines.append(f"{counted(count, 'replaced secret')} {'signs' if count == 1 else 'sign'}, too, until {until}")
    if found["state"] in ("paused", "stopped"):
        lines.append(f"{found['state']} by {found['by']}: {found['reason']}")
    return [*lines, *([found["problem"]] if found["problem"] else [])]


def _tell_made(found: Mapping[str, Any], what: str, json: bool) -> None:
    if json:
        write_json([orjson.dumps(found)])
        return
    tell(found["warnings"])
    say(f"sink {found['name']}: {what}")
    tell_secret(found)


def _tell_tested(found: Mapping[str, Any], json: bool, quiet: bool = False) -> None:
    if json:
        write_json([orjson.dumps(found)])
    elif not quiet:
        said = "" if found["outcome"] == "delivered" else f": {harmless(found['answer'])}"
        say(f"{_CAME_TO.get(found['outcome'], found['outcome'])} after {found['seconds'] * 1000:.0f} ms{said}")
        tried = found["tried"] or {}
        for key in ("resolve", "connect", "first_byte"):
            if tried.get(key) is not None:
                say(f"  {key.replace('_', ' ')}: {tried[key]} ms")
        if tried.get("excerpt"):
            say(f"  answer: {harmless(tried['excerpt'])}")
    if found["outcome"] != "delivered":
        raise typer.Exit(1)


app.command("export")(grouped(export))
app.command("apply")(grouped(apply))
app.command("why")(grouped(why))
app.command("attempts")(grouped(attempts))
app.command("held")(grouped(held))
app.command("dead")(grouped(dead))
app.command("replay")(grouped(replay))
app.command("resend")(grouped(resend))
app.command("audit")(grouped(audit))
app.command("skip")(grouped(skip))
app.command("stats")(grouped(stats))
app.command("link")(grouped(link))
app.command("compare")(grouped(compare))
