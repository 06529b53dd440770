"""Events that the provider posts: ``POST /ingest/NAME``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from adapter.section import valid_token
from adapter.sources.protocol import Opened, SourceContext
from adapter.sources.settings import SourceSettings


def _one_or_several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Settings(SourceSettings):
    """``[[sources]]`` with ``kind = "push"``."""

    kind: Literal["push"] = "push"
    #: They may be short: they were often chosen where the events come from.
    token: Annotated[tuple[Annotated[SecretStr, valid_token(1)], ...], BeforeValidator(_one_or_several)] = Field(
        (),
        description="One or several: bearer token, basic password and HMAC secret alike; generated into the data "
        "folder when there is none",
    )


@asynccontextmanager
async def open_source(settings: Settings, context: SourceContext) -> AsyncIterator[Opened]:
    """A source that takes what is posted to it while the context lasts."""
    tokens = tuple(one.get_secret_value() for one in settings.token) or (await context.make_token(),)
    context.receiving.add(context.source, tokens)
    try:
        yield Opened(tokens, generated=not settings.token)
    finally:
        context.receiving.remove(context.source)
