"""What every sink is told, whatever its kind, and how the settings of one kind are found.

A kind is a file of this folder. It holds ``Settings`` (a `SinkSettings` with its own fields) and
``open_sink(settings, outgoing, token_key)``, an async context manager that yields a `Sink`; nothing else knows of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
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
from adapter.privacy import Privacy, PrivacySettings
from adapter.quantities import seconds_of
from adapter.section import Section, read_kind
from adapter.sinks.private import PrivateSink
from adapter.sinks.protocol import Sink
from adapter.sinks.token_key import GetTokenKey

#: Waits in seconds after the first, second, … try of one message; after the last of them it is dead.
#: 10 tries within 75 h 35 min, the schedule that Standard Webhooks gives as its example.
RETRY = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)

KINDS = Kinds(adapter.sinks, "open_sink", "kind of sink")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _period(text: str) -> str:
    seconds_of(text)
    return text


#: One value or a list of them; always read as a list.
OneOrMore = BeforeValidator(_listed)


#: Which tries are remembered.
Attempts = Literal["failures", "all", "none"]


class SinkSettings(Section):
    """One of ``[[sinks]]``: the fields that every kind has."""

    model_config = ConfigDict(populate_by_name=True)

    #: Whether such a sink may be made while the service runs: it reaches nothing of the service's own machine.
    by_api: ClassVar[bool] = False

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
    privacy: PrivacySettings | None = Field(
        None, description="What its receiver is not to know of people. None: events go as they are"
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
    rate: PositiveFloat | None = Field(None, description="The most events that it gets in a second, batches included")
    catch_up: PositiveFloat | None = Field(
        None, description="The most events that it gets in a second while it is more than 1,000 entries behind"
    )
    disable_after: Annotated[str, AfterValidator(_period)] | None = Field(
        None,
        description="After which time of nothing but failures it is stopped, until somebody resumes it: 12h, 5d; "
        "without one it is tried for ever",
    )
    attempts: Attempts = Field(
        "failures", description="Which tries are remembered, for people: failures, all (a row for each), none"
    )

    @property
    def disable_after_seconds(self) -> float | None:
        """``disable_after`` in seconds."""
        return None if self.disable_after is None else float(seconds_of(self.disable_after))

    def public_keys(self, now: datetime) -> list[dict[str, str]]:
        """The public keys, as JWKs, by which its receiver verifies what it gets; none for most kinds."""
        return []


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
async def open_sink(
    settings: SinkSettings, outgoing: OutgoingSettings, token_key: GetTokenKey | None = None
) -> AsyncIterator[Sink]:
    """The sink that the settings describe, open until the context ends. ``token_key`` gives the key that signs tokens,
    to a kind that needs it.

    Raises:
        ConfigError: it cannot be opened as it is set; the text begins with its name.
    """
    opened: AbstractAsyncContextManager[Sink] = KINDS.load(settings.kind).open_sink(settings, outgoing, token_key)
    async with AsyncExitStack() as stack:
        try:
            sink = await stack.enter_async_context(opened)
        except ConfigError as error:
            raise ConfigError(f"sinks: {settings.name}: {error}") from None
        if settings.privacy is not None:
            sink = PrivateSink(sink, Privacy(settings.privacy, settings.name))
        yield sink
