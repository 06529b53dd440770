"""``command-line.md``: every command, from the command line's own declarations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from adapter.__main__ import make_app
from adapter.docs.markdown import code, plain, sentence, table

_INTRODUCTION = """\
# Command line

`idp-adapter` has a command for each thing that people do. `--help` says the same as this page.

**Which service is asked** by commands that have `--url` (`events`, `sinks`, `status`, `mapping save`, and what else
asks for stored events), the first of these that is given:

1. `--url`, with `--token-file` (or `--token`, which others on the machine can see), or `--login NAME`; or `--data` or
   `--config` for the one on this machine
2. the environment: `IDP_ADAPTER_URL` with `IDP_ADAPTER_TOKEN` or `IDP_ADAPTER_TOKEN_FILE`, and `IDP_ADAPTER_CA`;
   `IDP_ADAPTER_LOGIN`; or `IDP_ADAPTER_CONFIG`, `IDP_ADAPTER_DATA__FOLDER` or `IDP_ADAPTER_STORE__URL` for the one on
   this machine
3. the login that is used (`idp-adapter login`)
4. the service that runs on this machine's data folder, or the folder itself if none runs

All other commands work on the machine that they run on, with its settings and files: `serve`, `reload`, `log`, `sources
check`, `sources prepare`, `store backup`, `store migrate`, and those of `mapping` that try tables.

Commands end with 0; with 1 and a message on standard error if something is wrong or was refused; with 2 if an option or
argument is; with 130 after Ctrl-C.

"""


def commands_page() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for name, command in commands():
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option" and "--help" not in one.opts]
        usage = " ".join(["idp-adapter", name, *(_argument(one) for one in arguments)])
        parts.append(f"## `idp-adapter {name}`\n\n{_told(command)}\n\n    {usage}{' [options]' if options else ''}\n\n")
        rows = [(code(_name(one)), sentence(plain(one.help or ""))) for one in arguments]
        rows += [(" ".join(code(opt) for opt in one.opts), sentence(plain(one.help or ""))) for one in options]
        parts.append(table(["argument or option", "meaning"], rows) + "\n")
    return "".join(parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name."""
    yield from _commands(get_command(make_app()), ())


def _commands(group: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*above, name))
        else:
            yield " ".join((*above, name)), command


def _argument(argument: Any) -> str:
    name = _name(argument) + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _told(command: Any) -> str:
    paragraphs = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        label, colon, example = paragraph.partition("For example: ")
        paragraphs.append(paragraph if label or not colon else f"{colon}{code(example)}")
    return "\n\n".join(paragraphs)
