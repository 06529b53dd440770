"""How formats are chosen and found.

A format is a file of this folder. It holds ``Settings`` (a `FormatSettings` with its own fields, each with a default,
since the feed names a format and says no more) and ``make_format(settings)``; nothing else knows of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, WrapValidator

import adapter.formats
from adapter.formats.protocol import Format
from adapter.kinds import Kinds
from adapter.section import Section, read_kind

#: What is written where nothing else is asked for.
DEFAULT = "unified"

KINDS = Kinds(adapter.formats, "make_format", "format")


class FormatSettings(Section):
    """How events are written: the name of a format, or a table of its name and its settings."""

    name: str = Field(description="Which format: the name of a file in adapter/formats")


def format_names(fits: Callable[[Format], bool] = lambda _: True) -> list[str]:
    """Every format there is, or those that fit."""
    return [name for name in KINDS.names() if fits(make_format(read_format_settings(name)))]


def read_format_settings(value: Any) -> FormatSettings:
    """The settings of a format, as its own model, from its name or a table that holds ``name``.

    Raises:
        ValueError: there is no such format; the text names those there are.
        pydantic.ValidationError: a field is wrong; places are relative to ``value``.
    """
    if isinstance(value, FormatSettings):
        return value
    if isinstance(value, str):
        value = {"name": value}
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise ValueError(
            f"should be the name of a format, or a table with its name; there are: {', '.join(KINDS.names())}"
        )
    model: type[FormatSettings] = KINDS.load(name).Settings
    return read_kind(model, value)


def make_format(settings: FormatSettings) -> Format:
    """The format that the settings describe."""
    made: Format = KINDS.load(settings.name).make_format(settings)
    return made


def fitting(fits: Callable[[Format], bool], need: str) -> Callable[[FormatSettings], FormatSettings]:
    """A validator for a field of a sink's settings: the format must fit. ``need`` says what it has to be."""

    def check(settings: FormatSettings) -> FormatSettings:
        if not fits(make_format(settings)):
            name = settings.name
            told = name if settings == read_format_settings(name) else f"{name} with these settings"
            raise ValueError(f"{told} {need}; there are: {', '.join(format_names(fits))}")
        return settings

    return check


#: A format in a settings model: read by its own model, errors keep their places.
AnyFormat = Annotated[
    SerializeAsAny[FormatSettings], WrapValidator(lambda value, _default: read_format_settings(value))
]
