"""Events to an HTTP receiver: one POST each, signed, in a format of the operator's choice."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, SecretStr, field_validator, model_validator
from yarl import URL

from adapter.errors import NoReply, Unreached
from adapter.formats.protocol import Format, is_whole
from adapter.formats.settings import DEFAULT, AnyFormat, fitting, make_format
from adapter.model import Entry
from adapter.outgoing.client import Client, open_client, read_retry_after
from adapter.outgoing.settings import HttpSettings, OutgoingSettings
from adapter.section import read_http_url
from adapter.sinks.protocol import DELIVERED, RETRY_AFTER, Answer, Batch, Later, Never, Promise, Skip, Stop, message_id
from adapter.sinks.settings import OneOrMore, SinkSettings

#: What becomes of a message to which the receiver answers 4xx.
Refusal = Literal["retry", "dead", "hold"]
#: For all statuses that have no meaning of their own, or for some of them; the others are tried again.
On4xx = Refusal | Mapping[int, Refusal]

#: The headers that prove who sent a body: message id, epoch seconds and body in, headers out.
Signer = Callable[[str, int, bytes], dict[str, str]]


class Settings(HttpSettings, SinkSettings):
    """``[[sinks]]`` with ``kind = "webhook"``."""

    by_api: ClassVar[bool] = True

    kind: Literal["webhook"] = "webhook"
    url: str = Field(description="Where to post: http or https")
    secret: Annotated[tuple[SecretStr, ...], OneOrMore] = Field(
        (), description="Signs each post; several while one is being replaced. None: no signature"
    )
    signature: Literal["standard", "phasetwo-sha256", "phasetwo-sha1"] = Field(
        "standard", description="Standard Webhooks (secrets whsec_…), or Phase Two's X-Keycloak-Signature (one secret)"
    )
    format: Annotated[AnyFormat, AfterValidator(fitting(is_whole, "makes no body of one event alone"))] = Field(
        DEFAULT, validate_default=True, description="What each event is written as"
    )
    window: int = Field(64, ge=1, le=1024, description="Requests in flight; 1 keeps the order of the log")
    timeout: PositiveFloat = Field(15.0, le=300.0, description="Seconds that a request may take, answer body included")

    on_4xx: Refusal | dict[int, Refusal] = Field(
        "retry",
        description="What becomes of a message at 4xx, one for all or a table of statuses: retry: it is tried again by "
        "its schedule; dead: it is given up on; hold: the receiver is taken to be down. 401, 403, 408, 410, 425 and "
        "429 have a meaning of their own",
    )

    @field_validator("on_4xx")
    @classmethod
    def _on_4xx(cls, given: On4xx) -> On4xx:
        for status in () if isinstance(given, str) else given:
            if not 400 <= status < 500 or status in _FIXED:
                own = ", ".join(map(str, sorted(_FIXED)))
                raise ValueError(f"{status} is none of 4xx, or has a meaning of its own, as {own} have")
        return given

    @field_validator("url")
    @classmethod
    def _url(cls, text: str) -> str:
        url = read_http_url(text, "https://soc.example/hook")
        if url.user is not None or url.password is not None:
            raise ValueError("must not hold a user or password: it is shown to people; sign with secret instead")
        return text

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        secrets = self.secrets()
        if "signature" in self.model_fields_set and not secrets:
            raise ValueError(f"signature {self.signature} needs secret, or secret_file")
        if self.signature == "standard":
            for secret in secrets:
                read_standard_secret(secret)
        elif len(secrets) > 1:
            raise ValueError(f"signature {self.signature} takes one secret, not {len(secrets)}")
        return self

    def secrets(self) -> list[str]:
        """All secrets, in the order given."""
        return [secret.get_secret_value() for secret in self.secret]


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


def make_signer(signature: str, secrets: Sequence[str]) -> Signer:
    """How requests are signed with these secrets; without one only Standard Webhooks' id and time are sent.

    Raises:
        ValueError: a secret is not of the form that the signature asks for.
    """
    if signature == "standard":
        keys = [read_standard_secret(secret) for secret in secrets]
        return lambda id, timestamp, body: _sign_standard(keys, id, timestamp, body)
    key = secrets[0].encode()
    digest = signature.removeprefix("phasetwo-")
    return lambda id, timestamp, body: {"X-Keycloak-Signature": hmac.digest(key, body, digest).hex()}


def _sign_standard(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    if keys:
        signed = b"%b.%d.%b" % (id.encode(), timestamp, body)
        headers["webhook-signature"] = " ".join(
            "v1," + binascii.b2a_base64(hmac.digest(key, signed, "sha256"), newline=False).decode() for key in keys
        )
    return headers


#: Statuses below 500 that speak of the receiver: too slow, too early, too many requests.
_WAITS = {408, 425, 429}
#: Statuses of 4xx that mean the same whatever the settings say.
_FIXED = {401, 403, 410, *_WAITS}
#: A receiver that has too many requests and names no wait gets none for so long, seconds.
_TOO_MANY = 1.0


def read_answer(status: int, headers: Mapping[str, str], now: float, on_4xx: On4xx = "retry") -> Answer:
    """What a status means: only 2xx is delivered. ``now`` is in epoch seconds; ``on_4xx`` says what those of 4xx mean
    that have no meaning of their own."""
    wanted = headers.get("webhook-delivery", "").strip().lower()
    is_delivered = 200 <= status < 300
    if wanted == "disable":
        return Stop(f"the receiver answered {status} with webhook-delivery: disable", is_delivered)
    if is_delivered:
        return DELIVERED
    if status == 410:
        return Stop("the receiver answered 410: it is gone for good")
    if wanted == "abort-message":
        return Skip(f"the receiver answered {status} with webhook-delivery: abort-message")
    after = read_retry_after(headers.get("Retry-After"), now, RETRY_AFTER)
    if 300 <= status < 400:
        location = headers.get("Location", "")[:200]
        return Later(f"the receiver answered {status}, redirects are not followed; it named {location!r}", after)
    if status in (401, 403):
        return Later(f"the receiver answered {status}: it refuses our credentials", after, receiver_down=True)
    if status == 429:
        # No message is the cause of that.
        return Later("the receiver answered 429", after or _TOO_MANY, receiver_down=True, spares=True)
    if status >= 500 or status in _WAITS:
        # One message that alone gets such an answer is told apart by the loop, from the others that pass.
        return Later(f"the receiver answered {status}", after, receiver_down=True)
    match on_4xx if isinstance(on_4xx, str) else on_4xx.get(status):
        case "dead" if 400 <= status < 500:
            return Never(f"the receiver answered {status}")
        case "hold" if 400 <= status < 500:
            return Later(f"the receiver answered {status}", after, receiver_down=True)
    return Later(f"the receiver answered {status}", after)


class Webhook:
    """One receiver. A POST is made once; every repeat is the loop's."""

    batch = Batch()
    promise = Promise.ACKNOWLEDGED

    def __init__(
        self,
        client: Client,
        url: str,
        *,
        format: Format,
        sign: Signer,
        window: int,
        clock: Callable[[], float],
        on_4xx: On4xx = "retry",
    ) -> None:
        self.window = window
        self._on_4xx = on_4xx
        self._client = client
        self._url = URL(url)
        self._format = format
        self._sign = sign
        self._clock = clock

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        bodies = self._format.write(entries)
        return [await self._post(entry, body) for entry, body in zip(entries, bodies, strict=True)]

    async def _post(self, entry: Entry, body: bytes) -> Answer:
        now = self._clock()
        headers = self._sign(message_id(entry), int(now), body)
        try:
            reply = await self._client.request("POST", self._url, headers=headers, body=body, read=False)
        except NoReply as failure:
            return Later(str(failure), receiver_down=True, spares=isinstance(failure, Unreached))
        return read_answer(reply.status, reply.headers, now, self._on_4xx)


@asynccontextmanager
async def open_sink(
    settings: Settings, outgoing: OutgoingSettings, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[Webhook]:
    """The receiver that the settings describe. ``clock`` gives epoch seconds.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    sign = make_signer(settings.signature, settings.secrets())
    format = make_format(settings.format)
    async with open_client(
        outgoing,
        settings,
        connections=settings.window,
        timeout=settings.timeout,
        headers={"Content-Type": format.record_media_type},
    ) as client:
        yield Webhook(
            client, settings.url, format=format, sign=sign, window=settings.window, clock=clock, on_4xx=settings.on_4xx
        )
