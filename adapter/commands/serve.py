"""``idp-adapter serve``: run the service, and say what a person does next."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from aiohttp import ClientSession
from rich.console import Console

from adapter.api.connections import raise_descriptor_limit
from adapter.commands.client import fail
from adapter.commands.options import Config
from adapter.errors import AdapterError
from adapter.logs import configure_logs
from adapter.memory import return_large_blocks
from adapter.running import Running
from adapter.service import Service
from adapter.settings import Settings, load_settings
from adapter.sources.authentication import said
from adapter.sources.opening import OpenSource
from adapter.workbench.examples import read_examples

_out = Console(highlight=False)


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on; default: 8282.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder; default: adapter-data.")] = None,
    examples: Annotated[
        bool,
        typer.Option("--examples", help="Post the example events of every provider, to have something to look at."),
    ] = False,
    new_log: Annotated[
        bool,
        typer.Option("--new-log", help="Begin a new log also where one was lost. The events of that one are gone."),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Take the place of the service that runs on the data folder, whose port stays open meanwhile. If this "
            "one cannot start, that one goes on. If none runs, start as usual.",
        ),
    ] = False,
) -> None:
    """Receive, keep and hand on events until Ctrl-C, and say where to post and with which token.

    Without any settings it listens on 127.0.0.1:8282, keeps its data in the folder adapter-data, and takes the events
    of every provider. Exit code 0 after Ctrl-C or SIGTERM, or when another one has taken its place; 1 if it cannot
    start. SIGHUP does what idp-adapter reload does.

    For example: idp-adapter serve --port 8300 --data /var/lib/adapter --examples
    """
    flags: dict[str, Any] = {}
    if host is not None:
        flags.setdefault("server", {})["host"] = host
    if port is not None:
        flags.setdefault("server", {})["port"] = port
    if data is not None:
        flags["data"] = {"folder": data}
    read = partial(load_settings, config, flags)
    try:
        settings = read()
        configure_logs(settings.log.level, settings.log.format)
        raise_descriptor_limit()
        return_large_blocks()
        # While a long event is read in a thread, requests wait for up to so many seconds whenever it is their turn.
        sys.setswitchinterval(0.001)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, read, config, examples=examples, new_log=new_log, take_over=take_over))
    except AdapterError as error:
        fail(str(error))


def _loop_factory() -> Any:
    """uvloop where it installs, else asyncio's own."""
    try:
        import uvloop
    except ModuleNotFoundError as error:
        if error.name != "uvloop":
            raise
        return None
    return uvloop.new_event_loop


async def _serve(
    settings: Settings,
    read: Callable[[], Settings],
    config: Path | None,
    *,
    examples: bool,
    new_log: bool,
    take_over: bool,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    is_first = True

    async def opened(service: Service) -> None:
        nonlocal is_first
        if not is_first:
            logging = service.prepared.settings.log
            configure_logs(logging.level, logging.format)
            return
        is_first = False
        if gc.isenabled():  # it has taken another one's place
            gc.freeze()
        else:
            collect_seldom()
        if examples:
            await post_examples(service)
        _say_what_next(service, config, await sign_in_link(service))

    running = Running(read, stop, opened, collect_seldom)
    loop.add_signal_handler(signal.SIGHUP, _hangup(running, stop))
    gc.disable()  # all that is made at the start stays
    await running.run(settings, new_log=new_log, take_over=take_over)


async def sign_in_link(service: Service) -> str | None:
    """A link to print, for whoever reads what is printed: who has the administrator's token then, too. ``None``: the
    token was not made here, or the log takes nothing now."""
    if not service.admin_generated:
        return None
    try:
        return await service.make_link()
    except AdapterError:
        return None  # what is there can be read all the same


def collect_seldom() -> None:
    """Look for cycles less often: an event is many objects and no cycles. What is there already, stays; it is not
    looked through again. An eighth of what receiving costs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    gc.enable()


def _hangup(running: Running, stop: asyncio.Event) -> Callable[[], None]:
    """What SIGHUP does: settings and tables are read again. If it came because the terminal is gone, the service
    ends."""
    on_terminal = os.isatty(0)
    reloads: set[asyncio.Task[None]] = set()

    async def told(problem: AdapterError | None) -> None:
        pass  # it stands in the log

    def hang_up() -> None:
        if on_terminal and not os.isatty(0):
            stop.set()
            return
        task = asyncio.create_task(running.reload(told))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    return hang_up


#: Times that an example is posted, a second apart, while the disk does not answer.
_TRIES = 30


async def post_examples(service: Service) -> None:
    """Post every example of the sources' tables, as their providers would."""
    async with ClientSession(service.url) as session:
        for source in filter(_is_posted_to, service.sources):
            counts: dict[str, int] = {}
            for placed in read_examples(service.tables[source.provider].folder):
                headers = {"Authorization": f"Bearer {service.admin_token}", "Content-Type": placed.example.media}
                url = f"/ingest/{source.name}"
                for _ in range(_TRIES):
                    async with session.post(url, data=placed.example.body, headers=headers) as response:
                        receipts = await response.json(content_type=None)
                    if response.status != 503:
                        break
                    await asyncio.sleep(1)
                for name in ("accepted", "duplicates", "quarantined", "ignored"):
                    counts[name] = counts.get(name, 0) + receipts.get(name, 0)
            said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
            _out.print(f"Examples of {source.name}: {said or 'none'}", markup=False)


def _say_what_next(service: Service, config: Path | None, link: str | None) -> None:
    """``link``: signs in to the console, once."""
    url = service.url
    admin = service.admin_token if service.admin_generated else "$TOKEN"
    folder = service.folder.absolute()
    kept = f"its data in {folder}" if not service.is_shared else f"its log in PostgreSQL, its search in {folder}"
    lines = ["", f"IdP Event Adapter listens on {url} and keeps {kept}.", "", "Post events to"]
    sources = [*filter(_is_posted_to, service.sources)]
    width = max((len(source.name) for source in sources), default=0)
    for source in sources:
        lines.append(f"  {url}/ingest/{source.name:<{width}}  token {_shown(source)}")
        taken = service.tables[source.provider].mapping.auth
        credentials = [text for credential in taken if (text := said(credential)) is not None]
        lines.append(
            f"    as {_listed(credentials)}"
            if credentials
            else "    though its table takes no credential but the administrator's"
        )
    where = f"--data {shlex.quote(str(folder))}"
    if config is not None:
        # The administrator's token may stand there, or where a shared log lies.
        where = f"--config {shlex.quote(str(config.absolute()))} {where}"
    if link is not None:
        lines += ["", "Look at them in a browser; this link signs in once, within 15 minutes:", f"  {link}"]
        lines += [f"Another one: {_command()} console link {where}"]
    else:
        lines += ["", f"Look at them in a browser, at {service.console_url}", "A link that signs in once:"]
        lines += [f"  {_command()} console link {where}"]
    # In double quotes the shell puts in what $TOKEN holds.
    lines += [
        "",
        "Read them:" if service.admin_generated else "Read them, with the administrator's token in TOKEN:",
        f"  curl -H \"Authorization: Bearer {admin}\" '{url}/events?limit=10'",
        f"  {_command()} events list {where}",
        "What else there is:",
        f'  curl -H "Authorization: Bearer {admin}" {url}/openapi.json',
    ]
    for source in sources:
        if source.provider == "keycloak":
            lines += ["", *_keycloak(url, source)]
            break
    if service.admin_generated and not service.prepared.settings.outgoing.allow:
        lines += [
            "",
            "Sinks reach the public internet alone. For a receiver on this machine, start with the variable",
            '  IDP_ADAPTER_OUTGOING__ALLOW=\'["127.0.0.0/8", "::1/128"]\'',
            'or with allow = ["127.0.0.0/8", "::1/128"] in the section [outgoing] of adapter.toml.',
        ]
    lines += ["", "Ctrl-C ends it."]
    _out.print("\n".join(lines), markup=False, soft_wrap=True)


def _is_posted_to(source: OpenSource) -> bool:
    return bool(source.tokens)


def _keycloak(url: str, source: OpenSource) -> list[str]:
    """The two commands that point a Keycloak with Phase Two's listener at the service."""
    token = source.tokens[0] if source.generated else "TOKEN"
    return [
        "Point a Keycloak with Phase Two's event listener at it. KEYCLOAK is its address, REALM its realm; log in with",
        f"kcadm.sh first, and put an address in the place of {url} that Keycloak can reach:",
        "  kcadm.sh create KEYCLOAK/realms/REALM/webhooks -s enabled=true -s 'eventTypes=[\"*\"]' \\",
        f"    -s url={url}/ingest/{source.name} -s secret={token}",
        "  kcadm.sh update events/config -r REALM -s 'eventsListeners+=ext-event-webhook' \\",
        "    -s eventsEnabled=true -s adminEventsEnabled=true -s adminEventsDetailsEnabled=true",
    ]


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _command() -> str:
    """How this command is called from here."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "idp-adapter" and shutil.which("idp-adapter") is None else "idp-adapter"


def _shown(source: OpenSource) -> str:
    return source.tokens[0] if source.generated else "as configured"
