"""``[sources.pull]``: from where a Keycloak's stored events are read, and how often."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, SecretStr, field_validator, model_validator

from adapter.outgoing.settings import HttpSettings
from adapter.quantities import interval_of
from adapter.section import read_http_url


def _is_interval(text: str) -> str:
    interval_of(text)
    return text


_Interval = Annotated[str, AfterValidator(_is_interval)]


class PullSettings(HttpSettings):
    """A Keycloak server whose stored events are read, so that none is missing that no push brought."""

    url: str = Field(description="Address of the server, with its relative path if it has one: https://id.example/auth")
    realms: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Realms that are read, by name; none: all that the account sees, new ones included"
    )
    client_id: str = Field(min_length=1, description="Client whose service account reads")
    client_secret: SecretStr = Field(description="Its secret")
    client_realm: str = Field(
        "", description="Realm of the client; default: the one of `realms`, or `master` if there are none or several"
    )
    from_: Literal["beginning", "now"] | AwareDatetime = Field(
        "beginning",
        alias="from",
        description="Where a realm begins that was never read: beginning, now (when the source is first started), or "
        "a time",
    )
    interval: _Interval = Field("5s", description="Pause between two polls: 5s, 2min or 1h")
    overlap: _Interval = Field(
        "330s",
        description="How far back is read again for events that are committed late: the server's transaction timeout "
        "(300 s unless it is set otherwise) and the difference of its nodes' clocks",
    )
    statements: bool = Field(
        True,
        description="Whether each hour is read again when it is over, what is missing fetched, and a signed statement "
        "of it kept as an event",
    )
    timeout: float = Field(60.0, gt=0, le=300.0, description="Seconds that one request may take")

    @field_validator("url")
    @classmethod
    def _url(cls, text: str) -> str:
        url = read_http_url(text, "https://id.example")
        if url.user is not None or url.password is not None or url.query_string or url.fragment:
            raise ValueError("must hold no user, password, query or fragment; client_id and client_secret are fields")
        # The client joins paths to it, and would lose the last part without.
        return text if text.endswith("/") else f"{text}/"

    @model_validator(mode="after")
    def _realms_differ(self) -> Self:
        if len(set(self.realms)) < len(self.realms):
            raise ValueError("realms: each realm is named once")
        return self

    @property
    def login_realm(self) -> str:
        """The realm in which the client logs in."""
        return self.client_realm or (self.realms[0] if len(self.realms) == 1 else "master")
