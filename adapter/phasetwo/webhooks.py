"""Webhooks as Phase Two's API has them, and the sinks of the log that they are.

What a sink has no setting for is kept beside it (`StoredSink.beside`), and says that it was made here. Its filter is
always of one realm, and of no more than who made it may see.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adapter.errors import RequestError
from adapter.filter import PATTERNS_LIMIT, check_pattern, is_pattern
from adapter.formats.settings import KINDS as FORMATS
from adapter.scope import RealmOf, Scope
from adapter.sink_management.stored import KEPT, StoredSink, shown

#: How the names of their sinks begin; the webhook's id follows.
PREFIX = "phasetwo-"
#: Under which what is kept beside a sink is known.
_BESIDE = "phasetwo"
#: Types, patterns and globs of one webhook, characters of one, and headers.
TYPES, TYPE_LENGTH, HEADERS = 100, 255, 20
#: What newer listeners write for: formats of ours of the same name are used, once there are.
_PAYLOAD_FORMATS = ("azure-sentinel", "datadog", "google-secops")

AuthType = Literal["none", "hmac", "bearer", "headers"]
_AUTH_TYPES: tuple[AuthType, ...] = ("none", "hmac", "bearer", "headers")
#: Of each the algorithms, and how we call them; the first one counts where none is said.
_ALGORITHMS: Mapping[str, Mapping[str, str]] = {
    "hmac": {"HmacSHA256": "phasetwo-sha256", "HmacSHA1": "phasetwo-sha1"},
    "bearer": {"RS256": "phasetwo-bearer"},
}

_Type = Annotated[str, Field(min_length=1, max_length=TYPE_LENGTH)]


class GivenWebhook(BaseModel):
    """WebhookRepresentation, as it is sent; other members are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"url": "https://soc.example/events", "enabled": True, "eventTypes": ["access.*"]}]
        },
    )

    url: str | None = Field(None, max_length=2048, description="Where to post")
    enabled: bool | None = Field(
        None, description="Whether anything is sent; a text will do. Left out: false for a new one"
    )
    secret: str | None = Field(None, max_length=255, description="Signs each post, where authType is hmac")
    algorithm: str | None = Field(None, max_length=64, description="`HmacSHA256` (default), `HmacSHA1`; `RS256`")
    authType: str | None = Field(
        None, max_length=64, description="`none`, `hmac`, `bearer`, `headers`; left out: hmac with a secret, else none"
    )
    audience: str | None = Field(None, max_length=255, description="`aud` of the token, where authType is bearer")
    eventTypes: list[_Type] | None = Field(
        None, max_length=TYPES, description="Types, globs such as `access.*`, or regular expressions (RE2)"
    )
    payloadFormat: str | None = Field(None, max_length=64, description="What newer listeners write; kept")
    headers: dict[str, str] | None = Field(
        None, max_length=HEADERS, description="Headers of each post, where authType is headers"
    )


class ShownWebhook(BaseModel):
    """WebhookRepresentation. What is not known is left out."""

    id: str
    enabled: bool
    url: str
    createdBy: str = Field(description="Name of whoever made it")
    createdAt: int | str = Field(description="Epoch milliseconds; a text where `[phasetwo] created_at` says so")
    realm: str
    eventTypes: list[str]
    authType: str
    algorithm: str | None = None
    audience: str | None = None
    payloadFormat: str | None = None
    headers: dict[str, str] | None = Field(None, description=f"Names of the headers; `{KEPT}` stands for each value")


@dataclass(frozen=True, slots=True)
class Webhook:
    """What of a webhook its sink has no setting for."""

    #: Name of its realm, and of how much of it: sources and providers, ``None``: of any.
    realm: str
    sources: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None
    event_types: tuple[str, ...] = ()
    auth_type: AuthType = "none"
    algorithm: str | None = None
    audience: str | None = None
    payload_format: str | None = None
    #: As it was given here, whether or not it signs now.
    secret: SecretStr | None = None

    def beside(self) -> dict[str, Any]:
        """As `StoredSink.beside` has it."""
        said = {
            "realm": self.realm,
            "sources": None if self.sources is None else list(self.sources),
            "providers": None if self.providers is None else list(self.providers),
            "eventTypes": list(self.event_types),
            "authType": self.auth_type,
            "algorithm": self.algorithm,
            "audience": self.audience,
            "payloadFormat": self.payload_format,
            "secret": self.secret,
        }
        return {_BESIDE: {name: one for name, one in said.items() if one is not None}}

    def is_within(self, scope: Scope) -> bool:
        """Whether all that it may get is in a scope of its realm."""
        return all(
            may is None or (its is not None and may.issuperset(its))
            for its, may in ((self.sources, scope.sources), (self.providers, scope.providers))
        )


def webhook_of(sink: StoredSink) -> Webhook | None:
    """What is kept of a webhook beside its sink; ``None``: the sink was not made here."""
    kept = sink.beside.get(_BESIDE)
    if kept is None:
        return None
    secret = kept.get("secret")
    sources, providers = (None if kept.get(name) is None else tuple(kept[name]) for name in ("sources", "providers"))
    return Webhook(
        realm=kept["realm"],
        sources=sources,
        providers=providers,
        event_types=tuple(kept["eventTypes"]),
        auth_type=kept["authType"],
        algorithm=kept.get("algorithm"),
        audience=kept.get("audience"),
        payload_format=kept.get("payloadFormat"),
        secret=secret if isinstance(secret, SecretStr) else None,
    )


def make_name() -> str:
    """The name of a new webhook's sink."""
    return f"{PREFIX}{uuid.uuid4()}"


def sink_name(id: str) -> str:
    """The name of the sink of a webhook."""
    return PREFIX + id


def id_of(sink: str) -> str:
    """The id of the webhook whose sink has this name."""
    return sink.removeprefix(PREFIX)


def scope_in(realm: str, scope: Scope) -> Scope | None:
    """What somebody may see of a realm, of whose name there may be several; ``None``: nothing."""
    sources = scope.sources
    if scope.realms is not None:
        named = {one.source for one in scope.realms if one.name == realm}
        if None not in named:
            told = frozenset(one for one in named if one is not None)
            sources = told if sources is None else sources & told
    if sources is not None and not sources:
        return None
    return Scope(frozenset({RealmOf(None, realm)}), sources, scope.providers)


def make_webhook(realm: str, scope: Scope) -> Webhook:
    """A new one, of what a scope of its realm holds, to be changed by what is given."""
    sources, providers = (None if one is None else tuple(sorted(one)) for one in (scope.sources, scope.providers))
    return Webhook(realm, sources, providers)


def changed(webhook: Webhook, given: GivenWebhook) -> Webhook:
    """The webhook with what is given; what is left out stays. So nobody who does not know of a member resets it.

    Raises:
        RequestError: 400, something cannot be; says what.
    """
    secret = SecretStr(given.secret) if given.secret else webhook.secret
    auth_type = webhook.auth_type
    if given.authType is not None:
        auth_type = _read_auth_type(given.authType)
    elif given.secret and auth_type == "none":
        auth_type = "hmac"
    if auth_type == "hmac" and secret is None:
        raise bad("secret: authType hmac signs with a secret; give one")
    algorithm = None if auth_type != webhook.auth_type else webhook.algorithm
    if given.algorithm:
        algorithm = given.algorithm
    event_types = webhook.event_types
    if given.eventTypes:  # the Java client sends an empty list where nobody said any
        event_types = tuple(dict.fromkeys(given.eventTypes))
        type_values(event_types)
    return replace(
        webhook,
        event_types=event_types,
        auth_type=auth_type,
        algorithm=_read_algorithm(auth_type, algorithm),
        audience=webhook.audience if given.audience is None else given.audience or None,
        payload_format=webhook.payload_format if given.payloadFormat is None else given.payloadFormat or None,
        secret=secret,
    )


def settings_of(
    webhook: Webhook,
    given: GivenWebhook,
    before: tuple[Webhook, Mapping[str, Any]] | None,
    issuer_of: Callable[[str], str | None],
) -> dict[str, Any]:
    """The settings of a webhook's sink. ``before``: what it was, and the settings of its sink: those of which nothing
    is said here stay, whoever set them. ``issuer_of``: what stands as ``iss`` in the tokens of a realm.

    Raises:
        RequestError: 400, something cannot be; says what.
    """
    was, present = before if before is not None else (None, {"kind": "webhook", "attempts": "all"})
    settings = dict(present)
    if given.url is not None:
        settings["url"] = given.url
    if not settings.get("url"):
        raise bad("url: is missing; https://soc.example/hook is right")
    if was is None or was.payload_format != webhook.payload_format:
        known = webhook.payload_format in _PAYLOAD_FORMATS and webhook.payload_format in FORMATS.names()
        settings["format"] = webhook.payload_format if known else "phasetwo"
    filter = {**settings.get("filter", {}), "realm": [webhook.realm]}
    for name, limit in (("source", webhook.sources), ("provider", webhook.providers)):
        filter.pop(name, None)
        if limit is not None:
            filter[name] = list(limit)
    if was is None or given.eventTypes:
        filter.pop("type", None)
        filter.pop("not_type", None)
        filter |= type_filter(webhook.event_types)
    settings["filter"] = filter
    if was is None or _auth(was) != _auth(webhook) or given.secret or given.headers is not None:
        settings |= _proofs(webhook, given, settings, issuer_of)
    return settings


def shown_webhook(sink: StoredSink, webhook: Webhook, *, is_running: bool, created_as_text: bool) -> ShownWebhook:
    """The representation of a webhook. ``is_running``: nobody paused or stopped it."""
    auth = sink.given.get("auth") if webhook.auth_type == "headers" else None
    return ShownWebhook(
        id=id_of(sink.name),
        enabled=is_running,
        url=str(sink.given.get("url", "")),
        createdBy=sink.created_by,
        createdAt=str(sink.created_at) if created_as_text else sink.created_at,
        realm=webhook.realm,
        eventTypes=list(types_shown(webhook, sink.given.get("filter", {}))),
        authType=webhook.auth_type,
        algorithm=webhook.algorithm,
        audience=webhook.audience,
        payloadFormat=webhook.payload_format,
        headers=None if auth is None else shown(auth).get("headers"),
    )


def secret_of(sink: StoredSink, webhook: Webhook) -> str | None:
    """The secret that was given for a webhook here; ``None``: there is none, or the sink has another one by now."""
    if webhook.secret is None:
        return None
    present = [one["secret"] if isinstance(one, Mapping) else one for one in sink.given.get("secret") or ()]
    if webhook.auth_type == "hmac" and webhook.secret not in present:
        return None
    return webhook.secret.get_secret_value()


# Types

#: What has a meaning in a regular expression, but for the two that names and globs have, too.
_REGULAR = re.compile(r"[\\^$|?+()\[\]{}]")


def type_values(event_types: Sequence[str]) -> list[str]:
    """The values of a filter's ``type`` that mean the same. An entry is a type, a glob, or a regular expression that is
    to match all of a type; where it can be read as a glob and as an expression, either will do, as people write both.

    Raises:
        RequestError: 400, one of them is nothing of that.
    """
    return list(_type_values(tuple(event_types)))


@lru_cache(maxsize=1_024)
def _type_values(event_types: tuple[str, ...]) -> tuple[str, ...]:
    values: list[str] = []
    room = PATTERNS_LIMIT
    for entry in event_types:
        if not entry.strip() or not entry.isprintable():
            raise bad("eventTypes: an entry is empty, or holds characters that cannot be printed")
        if _REGULAR.search(entry):
            room = _room_behind(entry, room)
            values.append(f"/{entry}/")
        elif "*" not in entry:
            values.append(f"/{re2.escape(entry)}/" if is_pattern(entry) else entry)
        else:
            if not is_pattern(entry):
                values.append(entry)
            # `access.*` is a glob alone.
            if ".*" in entry and not re.fullmatch(r"\w+\.\*", entry, re.ASCII):
                room = _room_behind(entry, room)
                values.append(f"/{entry}/")
    return tuple(dict.fromkeys(values))


def type_filter(event_types: Sequence[str]) -> dict[str, list[str]]:
    """The part of a filter that means these types; none are no type."""
    values = type_values(event_types)
    return {"type": values} if values else {"not_type": ["*"]}


def types_shown(webhook: Webhook, filter: Mapping[str, Any]) -> Sequence[str]:
    """The types of a webhook as they were given; if its sink has others by now, those."""
    mine = type_filter(webhook.event_types)
    its = {name: [*filter[name]] for name in ("type", "not_type") if filter.get(name)}
    if its == mine:
        return webhook.event_types
    return [one[1:-1] if is_pattern(one) else one for one in its.get("type", ["*"])]


def _room_behind(entry: str, room: int) -> int:
    """What of the room for patterns is left behind this one: the next one is compiled only if there is some.

    Raises:
        RequestError: 400, it is none, or too large.
    """
    try:
        size = check_pattern(entry)
    except ValueError:
        raise bad(f"eventTypes: {entry[:100]!r} is no regular expression (RE2), or too large a one") from None
    if size > room:
        raise bad("eventTypes: the regular expressions are too large together; use fewer, or smaller ones")
    return room - size


# Proofs


def _auth(webhook: Webhook) -> tuple[object, ...]:
    """What the settings of signatures and credentials are made of."""
    return webhook.auth_type, webhook.algorithm, webhook.audience, webhook.secret


def _proofs(
    webhook: Webhook, given: GivenWebhook, present: Mapping[str, Any], issuer_of: Callable[[str], str | None]
) -> dict[str, Any]:
    """The settings by which a receiver knows who sent something. ``present``: those of the sink."""
    none: dict[str, Any] = {"signature": None, "secret": None, "auth": None}
    match webhook.auth_type:
        case "hmac":
            assert webhook.algorithm is not None
            assert webhook.secret is not None
            # The sink may have got another one since.
            secret = [webhook.secret] if given.secret else present.get("secret") or [webhook.secret]
            return {**none, "signature": _ALGORITHMS["hmac"][webhook.algorithm], "secret": secret}
        case "bearer":
            issuer = issuer_of(webhook.realm)
            if issuer is None:
                raise bad(
                    "authType: bearer needs the issuer of the realm's tokens, and this service knows none: oidc with "
                    "this realm, or [signing] keycloak_url, says it; nothing is sent without a token"
                )
            signature = {"kind": "phasetwo-bearer", "issuer": issuer, "audience": webhook.audience}
            return {**none, "signature": [{name: one for name, one in signature.items() if one is not None}]}
        case "headers":
            auth = present.get("auth") or {}
            kept = auth.get("headers", {}) if auth.get("kind") == "headers" else {}
            said = kept if given.headers is None else {
                name: kept[name] if one == KEPT and name in kept else one for name, one in given.headers.items()
            }  # fmt: skip
            if not said:
                raise bad("headers: authType headers needs one at least, such as X-Api-Key")
            return {**none, "auth": {"kind": "headers", "headers": said}}
    return none


def _read_auth_type(text: str) -> AuthType:
    for one in _AUTH_TYPES:
        if text.strip().lower() == one:
            return one
    raise bad(f"authType: {text!r} is none of {', '.join(_AUTH_TYPES)}")


def _read_algorithm(auth_type: AuthType, text: str | None) -> str | None:
    known = _ALGORITHMS.get(auth_type)
    if known is None:
        return None
    if text is None:
        return next(iter(known))
    for one in known:
        if text.strip().lower() == one.lower():
            return one
    raise bad(f"algorithm: {text!r} is none of {', '.join(known)}, which authType {auth_type} has here")


def bad(detail: str) -> RequestError:
    """What to raise for a webhook that cannot be."""
    return RequestError(400, "Bad webhook", detail)
