"""Events to an HTTP receiver: one POST each, the unified event as body, signed."""

from __future__ import annotations

import base64
import binascii
import email.utils
import hmac
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Annotated, Literal, Self

import aiohttp
from pydantic import Field, PositiveFloat, SecretStr, field_validator, model_validator
from yarl import URL

from adapter import __version__
from adapter.model import Entry
from adapter.sinks.answer import AnswerTooLong
from adapter.sinks.outgoing import AddressRefused, Guard, open_connector
from adapter.sinks.protocol import DELIVERED, RETRY_AFTER, Answer, Later, Stop, message_id
from adapter.sinks.settings import OneOrMore, OutgoingSettings, SinkSettings

#: Bodies up to this size are sent in one piece, bytes.
PIECE = 1 << 20

#: The headers that prove who sent a body: message id, epoch seconds and body in, headers out.
Signer = Callable[[str, int, bytes], dict[str, str]]


class Settings(SinkSettings):
    """``[[sinks]]`` with ``kind = "webhook"``."""

    kind: Literal["webhook"] = "webhook"
    url: str = Field(description="Where to post: http or https")
    secret: Annotated[tuple[SecretStr, ...], OneOrMore] = Field(
        (), description="Signs each post; several while one is being replaced. None: no signature"
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


def read_answer(status: int, headers: Mapping[str, str], now: float) -> Answer:
    """What a status means: only 2xx is delivered. ``now`` is in epoch seconds."""
    if 200 <= status < 300:
        return DELIVERED
    if status == 410:
        return Stop("the receiver answered 410: it is gone for good")
    if 300 <= status < 400:
        location = headers.get("Location", "")[:200]
        return Later(f"the receiver answered {status}, redirects are not followed; it named {location!r}")
    after = read_retry_after(headers.get("Retry-After"), now)
    if status in (401, 403):
        return Later(f"the receiver answered {status}: it refuses our credentials", after, receiver_down=True)
    # One message that alone gets such an answer is told apart by the loop, from the others that pass.
    down = status >= 500 or status in (408, 429)
    return Later(f"the receiver answered {status}", after, receiver_down=down)


def read_retry_after(text: str | None, now: float) -> float | None:
    """The wait in seconds that a ``Retry-After`` asks for, at most `RETRY_AFTER`; ``None`` if it cannot be read.

    Both forms are read: seconds, and a date. ``now`` is in epoch seconds.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), RETRY_AFTER)
    try:
        timestamp = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    return min(max(timestamp.timestamp() - now, 0.0), RETRY_AFTER)


class Webhook:
    """One receiver. A POST is made once; every repeat is the loop's."""

    batch = 1

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        sign: Signer,
        window: int,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self.window = window
        self._session = session
        self._url = URL(url)
        self._sign = sign
        self._timeout = timeout
        self._clock = clock

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        return [await self._post(entry) for entry in entries]

    async def _post(self, entry: Entry) -> Answer:
        body = entry.event
        assert body is not None
        now = self._clock()
        try:
            async with self._session.post(
                self._url,
                # A large body goes out piece by piece, so that others get their turn between.
                data=body if len(body) <= PIECE else io.BytesIO(body),
                headers=self._sign(message_id(entry), int(now), body),
                allow_redirects=False,
            ) as response:
                answer = read_answer(response.status, response.headers, now)
                await _drain(response)
                return answer
        except TimeoutError:
            reason = f"no answer within {self._timeout:g} s"
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, AddressRefused)
            reason = str(error.os_error) if refused else f"cannot connect: {error.os_error.strerror or error.os_error}"
        except AnswerTooLong as error:
            reason = str(error)
        except aiohttp.ServerDisconnectedError:
            reason = "the receiver closed the connection without an answer"
        except aiohttp.ClientResponseError:
            # The status in this error is the client library's own, not the receiver's.
            reason = "the answer is not valid HTTP"
        except (aiohttp.ClientError, OSError) as error:
            reason = f"the connection failed: {type(error).__name__}"
        return Later(reason, receiver_down=True)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the rest of an answer, so that its connection can serve again; give it up if it breaks off.

    The status line was the answer: what happens to the body changes nothing about it. How much there is to read is
    bounded by the connector, how long by the session.
    """
    try:
        async for _ in response.content.iter_any():
            pass
    except (aiohttp.ClientError, TimeoutError, OSError):
        response.close()


@asynccontextmanager
async def open_sink(
    settings: Settings, outgoing: OutgoingSettings, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[Webhook]:
    """The receiver that the settings describe. ``clock`` gives epoch seconds."""
    sign = make_signer(settings.signature, settings.secrets())
    async with aiohttp.ClientSession(
        connector=open_connector(Guard(outgoing.allow), settings.window),
        timeout=aiohttp.ClientTimeout(total=settings.timeout),
        headers={
            "User-Agent": f"idp-event-adapter/{__version__}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        },
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Webhook(session, settings.url, sign=sign, window=settings.window, timeout=settings.timeout, clock=clock)
