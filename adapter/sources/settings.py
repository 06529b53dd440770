"""What every source is told, whatever its kind, and how the settings of one kind are found.

A kind is a file of this folder. It holds ``Settings`` (a `SourceSettings` with its own fields) and
``open_source(settings, context)``, an async context manager that yields an `Opened`; nothing else knows of it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializeAsAny, WrapValidator, model_validator

import adapter.sources
from adapter.kinds import Kinds
from adapter.mapping.forwarders import AUTO, forwarder_names
from adapter.section import Name, Section, read_kind

#: The kind of a source that says none.
DEFAULT = "push"

KINDS = Kinds(adapter.sources, "open_source", "kind of source")


def _is_unwrap(name: str) -> str:
    if name not in (known := forwarder_names()):
        raise ValueError(f"{name!r} is no forwarder; there are {', '.join(known)}")
    return name


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
