"""What every source is told, whatever its kind, and how the settings of one kind are found.

A kind is a file of this folder. It holds ``Settings`` (a `SourceSettings` with its own fields) and
``open_source(settings, context)``, an async context manager that yields an `Opened`; nothing else knows of it.
"""

from __future__ import annotations

from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializeAsAny, WrapValidator, model_validator

import adapter.sources
from adapter.kinds import Kinds
from adapter.mapping.forwarders import AUTO, forwarder_names
from adapter.quantities import interval_of, seconds_of
from adapter.section import Name, Section, read_kind

#: The kind of a source that says none.
DEFAULT = "push"

KINDS = Kinds(adapter.sources, "open_source", "kind of source")


def _is_unwrap(name: str) -> str:
    if name not in (known := forwarder_names()):
        raise ValueError(f"{name!r} is no forwarder; there are {', '.join(known)}")
    return name


#: How long a source may be silent, where that is no time.
USUAL, NEVER = "usual", "never"


def silence_of(text: str) -> float | None:
    """The seconds of `SourceSettings.silence`; ``None``: by its own habits; infinite: it is never told.

    Raises:
        ValueError: it is none; says what is right.
    """
    if text in (USUAL, NEVER):
        return None if text == USUAL else inf
    for read in (interval_of, seconds_of):
        try:
            seconds = read(text)
        except ValueError:
            continue
        if seconds < 60:
            raise ValueError(f"{text!r} is too short: 1min is the least")
        return seconds
    raise ValueError(f"{text!r} is neither {USUAL} nor {NEVER} nor a time such as 15min, 1h or 2d")


def _is_silence(text: str) -> str:
    silence_of(text)
    return text


class SourceSettings(Section):
    """One instance of a provider: the fields that every kind has."""

    name: Name = Field(description="Its name")
    kind: str = Field(DEFAULT, description="How its events come in: the name of a file in adapter/sources")
    provider: Name = Field(description="The table that reads its events")
    key: Name = Field(
        "",
        description="What the identities of its events are made with; default: its name. A source that is renamed "
        "keeps its first name here",
    )

    unwrap: Annotated[str, AfterValidator(_is_unwrap)] = Field(
        AUTO,
        description="Which envelopes of forwarders are opened (docs/forwarders.md): `auto`, all that are recognized; "
        "`none`; or the name of one, which then is what all its events come in",
    )

    silence: Annotated[str, AfterValidator(_is_silence)] = Field(
        USUAL,
        description="After which time without anything from it the source counts as silent (docs/operate.md): 15min, "
        "1h, 2d; `usual`: by what came in the same hours of the last three weeks; `never`",
    )

    @model_validator(mode="before")
    @classmethod
    def _key_is_the_first_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("key") and "name" in given:
            return {**given, "key": given["name"]}
        return given


def read_source_settings(values: Any) -> SourceSettings:
    """The settings of one source, as the model of its kind.

    Raises:
        ValueError: no such kind.
        pydantic.ValidationError: a field is wrong; places are relative to ``values``.
    """
    if isinstance(values, SourceSettings):
        return values
    kind = values.get("kind", DEFAULT) if isinstance(values, dict) else DEFAULT
    if not isinstance(kind, str):
        raise ValueError(f"kind should be a text; there are: {', '.join(KINDS.names())}")
    model: type[SourceSettings] = KINDS.load(kind).Settings
    return read_kind(model, values)


#: One of ``[[sources]]`` in a settings model: read by the model of its kind, errors keep their places.
AnySourceSettings = Annotated[
    SerializeAsAny[SourceSettings], WrapValidator(lambda values, _default: read_source_settings(values))
]
