"""Options that several commands have, in groups: a parameter of a command that is one of these classes stands for all
options that are its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; default: adapter.toml if it is there.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder; default: as in the settings.")]

_PANEL = "Which service"


@dataclass(frozen=True)
class At:
    """Which service a command asks; without anything, the one of the environment, of a login, or of this machine."""

    url: Annotated[
        str | None,
        typer.Option("--url", help="Address of the service, also IDP_ADAPTER_URL.", rich_help_panel=_PANEL),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="Token for --url. Others on this machine can see it: rather --token-file, IDP_ADAPTER_TOKEN or login.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    token_file: Annotated[
        str | None,
        typer.Option(
            "--token-file",
            help="File that holds the token, - is standard input; also IDP_ADAPTER_TOKEN_FILE.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help="PEM file of the authorities that the service's certificate must come from, in the place of the "
            "system's; also IDP_ADAPTER_CA.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    login: Annotated[
        str | None,
        typer.Option(
            "--login", help="Name of a login, as idp-adapter login keeps it; also IDP_ADAPTER_LOGIN.",
            rich_help_panel=_PANEL,
        ),
    ] = None  # fmt: skip
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="Settings of the service on this machine; default: adapter.toml if it is there.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Its data folder; default: as in the settings.", rich_help_panel=_PANEL
        ),
    ] = None  # fmt: skip


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer takes it, with the options of each group among its own; it is called with the groups."""
    hints = get_type_hints(command, include_extras=True)
    parameters: dict[str, inspect.Parameter] = {}
    groups: dict[str, tuple[type[Any], list[str]]] = {}
    for name, one in inspect.signature(command).parameters.items():
        if is_dataclass(group := hints[name]) and isinstance(group, type):
            own = get_type_hints(group, include_extras=True)
            members = [
                one.replace(name=field.name, default=field.default, annotation=own[field.name])
                for field in fields(group)
            ]
            groups[name] = group, [member.name for member in members]
        else:
            members = [one.replace(annotation=hints[name])]
        # A parameter without a default may follow others that have one.
        parameters |= {member.name: member.replace(kind=inspect.Parameter.KEYWORD_ONLY) for member in members}

    @wraps(command)
    def called(**given: Any) -> None:
        made = {name: group(**{one: given.pop(one) for one in names}) for name, (group, names) in groups.items()}
        command(**given, **made)

    called.__signature__ = inspect.Signature([*parameters.values()])  # type: ignore[attr-defined]
    called.__annotations__ = {name: one.annotation for name, one in parameters.items()}
    return called
