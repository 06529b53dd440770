"""Events to an HTTP receiver: one POST each or in batches, signed, in a format of the operator's choice."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, Field, PositiveFloat, field_validator, model_validator
from yarl import URL

from adapter.errors import ConfigError, NoReply, Unreached
from adapter.formats.protocol import is_whole
from adapter.formats.settings import DEFAULT, AnyFormat, fitting, make_format
from adapter.known_secrets import REDACTED, KnownSecrets
from adapter.model import Entry
from adapter.outgoing.client import Client, open_client, read_retry_after
from adapter.outgoing.settings import HttpSettings, OutgoingSettings
from adapter.outgoing.timing import Timing
from adapter.section import read_http_url, secrets_of
from adapter.sinks.bodies import BatchSettings, Bodies
from adapter.sinks.credentials import AnyAuth, Authorized, authorized
from adapter.sinks.protocol import DELIVERED, RETRY_AFTER, Answer, Batch, Later, Never, Promise, Skip, Stop
from adapter.sinks.settings import Attempts, SinkSettings
from adapter.sinks.signing import (
    Secrets,
    Signature,
    Signatures,
    Signer,
    make_signer,
    needs_token_key,
    public_keys,
    resolved,
    text_of,
)
from adapter.sinks.token_key import GetTokenKey
from adapter.sinks.tried import Tried, excerpt_of

#: Bytes of an answer's body in which secrets are looked for before it is cut: none is cut in two.
CLEANED = 4096

#: Refusals (4xx) that say nothing of what a body holds, but of credentials, of the moment, of the address, or of how
#: requests are made. Any other one may be for one event of a batch.
NOT_FOR_CONTENT = frozenset({401, 403, 405, 406, 407, 408, 410, 411, 415, 417, 421, 425, 426, 428, 429, 431})
#: Raw bytes that are read of an answer: its status is all that counts.
ANSWER_SIZE = 16 * 1024

#: What becomes of a message to which the receiver answers 4xx.
Refusal = Literal["retry", "dead", "hold"]
#: For all statuses that have no meaning of their own, or for some of them; the others are tried again.
On4xx = Refusal | Mapping[int, Refusal]


class Settings(HttpSettings, SinkSettings):
    """``[[sinks]]`` with ``kind = "webhook"``."""

    by_api: ClassVar[bool] = True

    kind: Literal["webhook"] = "webhook"
    url: str = Field(description="Where to post: http or https")
    secret: Secrets = Field(
        (),
        description="Signs each post; several while one is being replaced, each a text or a table with `secret` and "
        "`until`. None: no signature but those that have secrets of their own",
    )
    signature: Signatures = Field(
        (),
        description="How posts are signed: a name, which goes by `secret`, or several [signatures](#signatures) beside "
        "each other. None: `standard`, if there is a secret",
    )
    auth: AnyAuth = Field(None, description="Who we are to the receiver, beside signatures")
    format: Annotated[AnyFormat, AfterValidator(fitting(is_whole, "makes no body of one event alone"))] = Field(
        DEFAULT, validate_default=True, description="What each event is written as"
    )
    batch: BatchSettings | None = Field(None, description="Several events in one post. None: each by itself")
    compress: Literal["none", "gzip"] = Field("none", description="gzip: bodies are sent compressed")
    window: int = Field(64, ge=1, le=1024, description="Requests in flight; 1 keeps the order of the log")
    timeout: PositiveFloat = Field(15.0, le=300.0, description="Seconds that a request may take, answer body included")

    on_4xx: Refusal | dict[int, Refusal] = Field(
        "retry",
        description="What becomes of a message at 4xx, one for all or a table of statuses: retry: it is tried again by "
        "its schedule; dead: it is given up on; hold: the receiver is taken to be down. 401, 403, 408, 410, 425 and "
        "429 have a meaning of their own",
    )

    @field_validator("on_4xx", mode="before")
    @classmethod
    def _on_4xx(cls, given: object) -> object:
        words = get_args(Refusal)
        found = given.values() if isinstance(given, dict) else [given]
        if any(one not in words for one in found):
            raise ValueError('should be retry, dead or hold, or a table of statuses such as {413 = "dead"}')
        own = [str(status) for status in sorted(_FIXED)]
        for status in given if isinstance(given, dict) else ():
            if not re.fullmatch("4[0-9][0-9]", str(status)) or str(status) in own:
                raise ValueError(f"{status} is none of 4xx, or has a meaning of its own, as {', '.join(own)} have")
        return given

    @field_validator("url")
    @classmethod
    def _url(cls, text: str) -> str:
        url = read_http_url(text, "https://soc.example/hook")
        if url.user is not None or url.password is not None:
            raise ValueError("must not hold a user or password: it is shown to people; set auth instead")
        return text

    @model_validator(mode="after")
    def _signed(self) -> Self:
        signatures = self.signatures()
        if self.auth is not None and self.auth.authorizes() and needs_token_key(signatures):
            raise ValueError(
                f"auth {self.auth.kind} and phasetwo-bearer both write Authorization; one of them is right"
            )
        return self

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        self.bodies()
        return self

    def bodies(self) -> Bodies:
        """What is posted."""
        batch = None if self.batch is None else self.batch.as_
        return Bodies(make_format(self.format), batch=batch, compress=self.compress == "gzip")

    def secrets(self) -> list[str]:
        """All of ``secret``, in the order given."""
        return [text_of(secret) for secret in self.secret]

    def signatures(self) -> list[Signature]:
        """How posts are signed; empty: not at all.

        Raises:
            ValueError: signatures and secrets do not go together.
        """
        return resolved(self.signature, self.secret)

    def public_keys(self, now: datetime) -> list[dict[str, str]]:
        return list(public_keys(self.signatures(), now))


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
    """One receiver. A POST is made once; every repeat is the loop's, but for a batch that is refused for what it holds:
    it is halved until the event is alone that the receiver does not take, and that after a refused token
    (`Authorized`)."""

    promise = Promise.ACKNOWLEDGED

    def __init__(
        self,
        client: Client | Authorized,
        url: str,
        *,
        bodies: Bodies,
        sign: Signer,
        batch: Batch,
        window: int,
        attempts: Attempts,
        secrets: KnownSecrets,
        clock: Callable[[], float],
        on_4xx: On4xx = "retry",
    ) -> None:
        """``secrets``: those that no receiver is to bring into what is remembered of its answer."""
        self.window = window
        self.batch = batch
        self._on_4xx = on_4xx
        self._attempts = attempts
        self._secrets = secrets
        self._client = client
        self._url = URL(url)
        self._bodies = bodies
        self._sign = sign
        self._clock = clock

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        answers: list[Answer] = []
        parts = [entries] if self._bodies.are_batches else [[entry] for entry in reversed(entries)]
        while parts:
            part = parts.pop()
            status, answer = await self._post(part)
            if len(part) > 1 and status not in NOT_FOR_CONTENT and _is_refusal(status, answer):
                half = len(part) // 2
                parts += [part[half:], part[:half]]
                continue
            answers += [answer] * len(part)
            if isinstance(answer, Stop) or (isinstance(answer, Later) and answer.receiver_down):
                # No other part of it would fare better now.
                rest = replace(answer, delivered=False) if isinstance(answer, Stop) else answer
                answers += [rest] * (len(entries) - len(answers))
                break
        return answers

    async def _post(self, entries: Sequence[Entry]) -> tuple[int, Answer]:
        """The status of the answer, 0 if there was none, and what it means for each of the entries."""
        now = self._clock()
        id, headers, body = await self._bodies.make(entries)
        headers = {**headers, **self._sign(id, int(now), body)}
        timing = Timing()
        try:
            reply = await self._client.request("POST", self._url, headers=headers, body=body, read=False, timing=timing)
        except NoReply as failure:
            answer: Answer = Later(str(failure), receiver_down=True, spares=isinstance(failure, Unreached))
            return 0, replace(answer, tried=_tried(timing, int(now * 1000), None, b""))
        answer = read_answer(reply.status, reply.headers, now, self._on_4xx)
        if reply.status == 415 and isinstance(answer, Later | Never):
            sent = ", ".join(self._bodies.headers.values())
            answer = replace(answer, reason=f"{answer.reason}: it does not take {sent}; see format, batch and compress")
        if answer is DELIVERED and self._attempts != "all":
            return reply.status, answer
        excerpt = self._cleaned(reply.body[:CLEANED], headers)
        return reply.status, replace(answer, tried=_tried(timing, int(now * 1000), reply.status, excerpt))

    def _cleaned(self, excerpt: bytes, headers: Mapping[str, str]) -> bytes:
        """What may be remembered of an answer: without our secrets, and without the tokens of the request."""
        tokens = self._client.present if isinstance(self._client, Authorized) else []
        for token in [*tokens, headers.get("Authorization", "").rpartition(" ")[2]]:
            if token:
                excerpt = excerpt.replace(token.encode(), REDACTED.encode())
        return self._secrets.cleaned(excerpt)


def _tried(timing: Timing, began_at: int, status: int | None, excerpt: bytes) -> Tried:
    """What was seen of a request."""
    resolve, connect, first_byte = (
        None if part is None else round(part * 1000) for part in (timing.resolve, timing.connect, timing.first_byte)
    )
    return Tried(began_at, status, resolve, connect, first_byte, round(timing.total * 1000), excerpt_of(excerpt))


def _is_refusal(status: int, answer: Answer) -> bool:
    """Whether the receiver refuses something for what it holds, as far as the status tells."""
    is_of_receiver = isinstance(answer, Stop | Skip) or (isinstance(answer, Later) and answer.receiver_down)
    return 400 <= status < 500 and not is_of_receiver


@asynccontextmanager
async def open_sink(
    settings: Settings,
    outgoing: OutgoingSettings,
    token_key: GetTokenKey | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Webhook]:
    """The receiver that the settings describe. ``clock`` gives epoch seconds.

    Raises:
        ConfigError: a file that the settings name cannot be used, or the key that signs tokens.
    """
    signatures = settings.signatures()
    key = None
    if needs_token_key(signatures):
        if token_key is None:
            raise ConfigError("signature: phasetwo-bearer needs the key of a running service")
        key = await token_key()
    sign = make_signer(signatures, key, secrets.token_bytes)
    bodies = settings.bodies()
    told = settings.batch
    batch = Batch() if told is None else Batch(told.entries, told.bytes, told.wait)
    opening = open_client(
        outgoing,
        settings,
        connections=settings.window,
        timeout=settings.timeout,
        answer_size=ANSWER_SIZE,
        headers=bodies.headers,
    )
    async with opening as plain, authorized(plain, settings.auth, outgoing) as client:
        yield Webhook(
            client,
            settings.url,
            bodies=bodies,
            sign=sign,
            batch=batch,
            window=settings.window,
            attempts=settings.attempts,
            secrets=KnownSecrets([*secrets_of(settings), *secrets_of(outgoing)]),
            clock=clock,
            on_4xx=settings.on_4xx,
        )
