"""Events to an HTTP receiver: one POST each, the unified event as body, signed."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, SecretStr, field_validator, model_validator
from yarl import URL

from adapter.sinks.settings import OneOrMore, SinkSettings, read_secrets


class Settings(SinkSettings):
    """``[[sinks]]`` with ``kind = "webhook"``."""

    kind: Literal["webhook"] = "webhook"
    url: str = Field(description="Where to post: http or https")
    secret: Annotated[list[SecretStr], OneOrMore] = Field(
        default_factory=list, description="Signs each post; several while one is being replaced. None: no signature"
    )
    secret_file: Annotated[list[Path], OneOrMore] = Field(
        default_factory=list, description="Files that hold a secret each, beside those in secret"
    )
    signature: Literal["standard", "phasetwo-sha256", "phasetwo-sha1"] = Field(
        "standard", description="Standard Webhooks (secrets whsec_…), or Phase Two's X-Keycloak-Signature (one secret)"
    )
    window: int = Field(64, ge=1, le=1024, description="Requests in flight; 1 keeps the order of the log")
    timeout: PositiveFloat = Field(15.0, le=300.0, description="Seconds that a request may take, answer body included")

    @field_validator("url")
    @classmethod
    def _url(cls, text: str) -> str:
        try:
            url = URL(text)
        except ValueError:
            raise ValueError("is not a URL; one looks like https://soc.example/hook") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("must begin with https:// or http:// and name a host, such as https://soc.example/hook")
        if url.user is not None or url.password is not None:
            raise ValueError("must not hold a user or password: it is shown to people; sign with secret instead")
        return text

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        secrets = self.secrets()
        if "signature" in self.model_fields_set and not secrets:
            raise ValueError(f"signature {self.signature} needs a secret, or a secret_file")
        if self.signature == "standard":
            for secret in secrets:
                read_standard_secret(secret)
        elif len(secrets) > 1:
            raise ValueError(f"signature {self.signature} takes one secret, not {len(secrets)}")
        return self

    def secrets(self) -> list[str]:
        """All secrets in the order given, those in files last.

        Raises:
            ValueError: a file cannot be read.
        """
        return [secret.get_secret_value() for secret in self.secret] + read_secrets(self.secret_file)


def read_standard_secret(text: str) -> bytes:
    """The key in a ``whsec_…`` secret.

    Raises:
        ValueError: it is not one; the text does not repeat it.
    """
    prefix, _, encoded = text.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True) if prefix == "whsec" else b""
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("a Standard Webhooks secret is whsec_ and the base64 of 24 to 64 random bytes")
    return key
