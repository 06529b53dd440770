"""What every sink is told, whatever its kind, and how the settings of one kind are found.

A kind is a file of this folder. It holds ``Settings`` (a `SinkSettings` with its own fields) and
``open_sink(settings, outgoing)``, an async context manager that yields a `Sink`; nothing else knows of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    SerializeAsAny,
    WrapValidator,
)

import adapter.sinks
from adapter.errors import ConfigError
from adapter.kinds import Kinds
from adapter.outgoing.settings import OutgoingSettings
from adapter.section import Section, read_kind
from adapter.sinks.protocol import Sink

#: Waits in seconds after the first, second, … try of one message; after the last of them it is dead.
#: 10 tries within 75 h 35 min, the schedule that Standard Webhooks gives as its example.
RETRY = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)

KINDS = Kinds(adapter.sinks, "open_sink", "kind of sink")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


#: One value or a list of them; always read as a list.
OneOrMore = BeforeValidator(_listed)


class SinkSettings(Section):
    """One of ``[[sinks]]``: the fields that every kind has."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="Its own name; progress is kept under it"
    )
    kind: str = Field(description="What kind of receiver it is: the name of a file in adapter/sinks")
    filter: dict[str, Annotated[list[str], OneOrMore]] = Field(
        default_factory=dict, description="Which events it gets, as in the feed; none: all but system.*"
    )
    revisions: Literal["none", "send"] = Field(
        "none", description="send: corrections of events, too, each as a message of its own; none: events alone"
    )
    from_: Literal["beginning", "now"] | AwareDatetime = Field(
        "now", alias="from", description="Where it begins when first seen: beginning, now, or a time of arrival"
    )
    names: bool = Field(
        False,
        description="true: events that carry ids alone get the names that are known when they are sent, as lookedUp",
    )
    retry: tuple[PositiveFloat, ...] = Field(
        RETRY, description="Seconds to wait after each failed try of one message; after the last it is dead"
    )
    order_by: Literal["user", "session", "realm"] | None = Field(
        None,
        description="Events of one user, session or realm one after another, in the order of the log; none: unordered "
        "within the window",
    )
    when_dead: Literal["block", "skip"] = Field(
        "block",
        description="With order_by, after the last try: block keeps back what follows in the same key, skip goes on",
    )


def read_sink_settings(values: Any) -> SinkSettings:
    """The settings of one sink, as the model of its kind.

    Raises:
        ValueError: no such kind.
        pydantic.ValidationError: a field is wrong; places are relative to ``values``.
    """
    if isinstance(values, SinkSettings):
        return values
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str):
        raise ValueError(f"a sink says its kind; there are: {', '.join(KINDS.names())}")
    model: type[SinkSettings] = KINDS.load(kind).Settings
    return read_kind(model, values)


#: One of ``[[sinks]]`` in a settings model: read by the model of its kind, errors keep their places.
AnySinkSettings = Annotated[
    SerializeAsAny[SinkSettings], WrapValidator(lambda values, _default: read_sink_settings(values))
]


@asynccontextmanager
async def open_sink(settings: SinkSettings, outgoing: OutgoingSettings) -> AsyncIterator[Sink]:
    """The sink that the settings describe, open until the context ends.

    Raises:
        ConfigError: it cannot be opened as it is set; the text begins with its name.
    """
    opened: AbstractAsyncContextManager[Sink] = KINDS.load(settings.kind).open_sink(settings, outgoing)
    async with AsyncExitStack() as stack:
        try:
            sink = await stack.enter_async_context(opened)
        except ConfigError as error:
            raise ConfigError(f"sinks: {settings.name}: {error}") from None
        yield sink
