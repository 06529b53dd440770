"""Events that the provider posts: ``POST /ingest/NAME``; and, for a Keycloak, those that it keeps, read beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from adapter.mapping.forwarders import AUTO
from adapter.outgoing.client import open_client
from adapter.section import read_keys_url, valid_token
from adapter.sources import sns
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.protocol import Opened, Pull, SourceContext
from adapter.sources.public_keys import open_public_keys
from adapter.sources.settings import SourceSettings
from adapter.sources.signed_token import Meant
from adapter.sources.sns import Subscriptions, check_topic


def _one_or_several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _is_place(text: str) -> str:
    if not text:
        raise ValueError("must be a file, or an https:// address")
    if "://" in text:
        read_keys_url(text)
    return text


class Settings(SourceSettings):
    """``[[sources]]`` with ``kind = "push"``."""

    kind: Literal["push"] = "push"
    #: They may be short: they were often chosen where the events come from.
    token: Annotated[tuple[Annotated[SecretStr, valid_token(1)], ...], BeforeValidator(_one_or_several)] = Field(
        (),
        description="One or several: bearer token, basic password and secret of signatures alike; generated into the "
        "data folder when there is none",
    )
    public_keys: Annotated[str, AfterValidator(_is_place)] | None = Field(
        None,
        description="What verifies tokens that its sender signs with a private key: a file with public keys, as PEM or "
        "JWKS, or the https:// address of a JWKS",
    )
    issuer: Annotated[tuple[str, ...], BeforeValidator(_one_or_several)] = Field(
        (),
        description="Who may have made tokens that its sender signs: their `iss` is one of these; none: as the table "
        "says, or whoever has one of the keys",
    )
    audience: str | None = Field(
        None, description="For whom such tokens have to be made: their `aud` names it; none: as the table says"
    )
    sns_topics: tuple[Annotated[str, AfterValidator(check_topic)], ...] = Field(
        (),
        description="ARNs of the topics of Amazon SNS to which its address may be subscribed: such a subscription is "
        "confirmed (docs/forwarders.md)",
    )

    pull: PullSettings | None = Field(
        None, description="From where a Keycloak's stored events are read, too: the section `[sources.pull]`"
    )

    @model_validator(mode="after")
    def _pulls_what_is_ours(self) -> Self:
        if self.pull is not None and self.unwrap not in (AUTO, "none"):
            raise ValueError("unwrap names a forwarder, and what pull reads does not come by one; leave it out")
        return self


@asynccontextmanager
async def open_source(settings: Settings, context: SourceContext) -> AsyncIterator[Opened]:
    """A source that takes what is posted to it while the context lasts."""
    tokens = tuple(one.get_secret_value() for one in settings.token) or (await context.make_token(),)
    async with AsyncExitStack() as stack:
        public = await stack.enter_async_context(
            open_public_keys(settings.public_keys, settings.name, context.outgoing)
        )
        subscriptions = Subscriptions()
        if settings.sns_topics:
            client = open_client(context.outgoing, connections=1, timeout=sns.TIMEOUT)
            subscriptions = Subscriptions(settings.sns_topics, await stack.enter_async_context(client))
        context.receiving.add(context.source, tokens, public, subscriptions, Meant(settings.issuer, settings.audience))
        try:
            yield Opened(tokens, generated=not settings.token, pull=_pull(settings.pull, context))
        finally:
            context.receiving.remove(context.source)


def _pull(settings: PullSettings | None, context: SourceContext) -> Pull | None:
    if settings is None:
        return None
    # A second HTTP client and its client for Keycloak: only who pulls has them.
    from adapter.sources.keycloak.polling import make_pull

    return make_pull(settings, context)
