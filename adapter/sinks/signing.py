"""Signatures of what is posted: the headers by which a receiver knows who sent a body, and that it is whole.

``v1`` and ``v1a`` are those of Standard Webhooks: HMAC-SHA256 with a ``whsec_`` secret, and Ed25519 with a ``whsk_``
one, whose public half verifies. The others are Phase Two's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    SecretStr,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from adapter.section import Section, read_http_url, read_kind
from adapter.sinks.token_key import TokenKey

#: The headers that prove who sent a body: message id, epoch seconds and body in, headers out.
Signer = Callable[[str, int, bytes], dict[str, str]]
#: For how long a secret that was replaced still signs, unless somebody says otherwise.
OVERLAP = timedelta(hours=24)
#: Seconds that a token of `BearerSignature` is good for.
TOKEN_LIFETIME = 300

_FORMS = (
    "a Standard Webhooks secret is whsec_ and the base64 of 24 to 64 random bytes, or whsk_ and the base64 of the 64 "
    "bytes of an Ed25519 key, private and public half"
)


class TimedSecret(Section):
    """A secret that signs for a time."""

    secret: SecretStr = Field(description="It")
    until: AwareDatetime | None = Field(None, description="Does not sign from then on; none: it has no end")


def _read_secret(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, TimedSecret):
        return value
    if isinstance(value, dict):
        return read_kind(TimedSecret, value)
    if not isinstance(value, str | SecretStr):
        raise ValueError("should be a text, or a table with secret and until")
    return read(value)


#: One secret in a settings model: a text, or a table of `TimedSecret`.
AnySecret = Annotated[SecretStr | TimedSecret, WrapValidator(_read_secret)]


def listed(value: Any) -> Any:
    """One value as a list of it."""
    return [value] if isinstance(value, str | dict | Section | SecretStr) else value


#: One secret or several; always read as a list.
Secrets = Annotated[tuple[AnySecret, ...], BeforeValidator(listed)]


def _standard(secrets: Sequence[AnySecret]) -> Sequence[AnySecret]:
    for one in secrets:
        read_standard_secret(text_of(one))
    if all(end_of(one) is not None for one in secrets):
        raise ValueError("every secret has an end; after the last of them nothing would be signed: give one without")
    return secrets


class StandardSignature(Section):
    """``webhook-signature`` of Standard Webhooks: an entry of each secret, so a receiver takes whichever it knows."""

    kind: Literal["standard"] = Field(description="The scheme")
    secret: Annotated[Secrets, AfterValidator(_standard)] = Field(
        min_length=1,
        description="Secrets: whsec_… signs with HMAC-SHA256 (`v1`), whsk_… with Ed25519 (`v1a`). Several in overlap, "
        "each a text or a table with `secret` and `until`",
    )


class HmacSignature(Section):
    """``X-Keycloak-Signature`` of Phase Two: the HMAC of the body, in lower-case hex."""

    kind: Literal["phasetwo-sha256", "phasetwo-sha1"] = Field(description="The scheme: HmacSHA256 or HmacSHA1")
    secret: SecretStr = Field(min_length=1, description="One secret of any form, since the header holds one signature")


def _issuer(text: str) -> str:
    url = read_http_url(text, "https://id.example/realms/acme")
    if url.user is not None or url.query_string or url.fragment:
        raise ValueError("must hold no user, query or fragment")
    return text


class BearerSignature(Section):
    """``Authorization`` of Phase Two's bearer mode: a token (JWT, RS256) that holds the SHA-256 of the body."""

    kind: Literal["phasetwo-bearer"] = Field(description="The scheme")
    issuer: Annotated[str, AfterValidator(_issuer)] = Field(
        description="`iss`, such as https://id.example/realms/acme; receivers fetch the keys from "
        "/protocol/openid-connect/certs below it, which is to lead to the adapter"
    )
    audience: str | None = Field(None, min_length=1, max_length=255, description="`aud`; none: the token has none")


Signature = StandardSignature | HmacSignature | BearerSignature
#: Those that can be named alone, and then go by the sink's own ``secret``.
Named = Literal["standard", "phasetwo-sha256", "phasetwo-sha1"]

_NAMED: tuple[str, ...] = get_args(Named)
MODELS: dict[str, type[Section]] = {
    "standard": StandardSignature,
    "phasetwo-sha256": HmacSignature,
    "phasetwo-sha1": HmacSignature,
    "phasetwo-bearer": BearerSignature,
}


def _read_signature(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, Signature) or (isinstance(value, str) and value in _NAMED):
        return value
    kind = value.get("kind") if isinstance(value, dict) else value
    if not isinstance(kind, str) or kind not in MODELS:
        raise ValueError(f"should be a name, or a table with its kind; there are: {', '.join(MODELS)}")
    if not isinstance(value, dict):
        raise ValueError(f'{kind} is given as a table: {{ kind = "{kind}", … }}')
    return read_kind(MODELS[kind], value)


#: One signature in a settings model: a name, or a table with ``kind``.
AnySignature = Annotated[Named | Signature, WrapValidator(_read_signature)]
#: One or several; always read as a list.
Signatures = Annotated[tuple[AnySignature, ...], BeforeValidator(listed)]


def resolved(given: Sequence[AnySignature], secrets: Sequence[AnySecret]) -> list[Signature]:
    """The signatures of a sink whose own secrets are ``secrets``: the one that is named alone is made with these. Where
    none is given that is ``standard``, if there are secrets.

    Raises:
        ValueError: they do not go together; the text holds no secret.
    """
    if not given and secrets:
        given = ["standard"]
    named = [one for one in given if isinstance(one, str)]
    if len(named) > 1:
        raise ValueError(
            f"secret belongs to one signature, and {' and '.join(named)} are both named alone: give one of them as a "
            f'table, {{ kind = "{named[1]}", secret = "…" }}'
        )
    if secrets and not named:
        raise ValueError("secret belongs to a signature that is named alone, and there is none")
    signatures = [_with_secrets(one, secrets) if isinstance(one, str) else one for one in given]
    headers = [_HEADERS[one.kind] for one in signatures]
    for header in headers:
        if headers.count(header) > 1:
            raise ValueError(f"two signatures would stand in {header}; one of them is right")
    return signatures


#: The header in which each stands.
_HEADERS = {
    "standard": "webhook-signature",
    "phasetwo-sha256": "X-Keycloak-Signature",
    "phasetwo-sha1": "X-Keycloak-Signature",
    "phasetwo-bearer": "Authorization",
}


def _with_secrets(kind: Named, secrets: Sequence[AnySecret]) -> Signature:
    if not secrets:
        raise ValueError(f"signature {kind} needs secret, or secret_file")
    if kind == "standard":
        _standard(secrets)
        return StandardSignature(kind=kind, secret=tuple(secrets))
    if len(secrets) > 1:
        raise ValueError(f"signature {kind} takes one secret, not {len(secrets)}")
    if end_of(secrets[0]) is not None:
        raise ValueError(f"signature {kind} takes a secret without an end, since nothing would sign after it")
    return HmacSignature(kind=kind, secret=SecretStr(text_of(secrets[0])))


def text_of(secret: AnySecret) -> str:
    """The secret itself."""
    return (secret.secret if isinstance(secret, TimedSecret) else secret).get_secret_value()


def end_of(secret: AnySecret) -> datetime | None:
    """From when on it does not sign; ``None``: it has no end."""
    return secret.until if isinstance(secret, TimedSecret) else None


def needs_token_key(signatures: Sequence[Signature]) -> bool:
    """Whether one of them is made with the key that signs tokens."""
    return any(isinstance(one, BearerSignature) for one in signatures)


def make_secret(kind: Literal["whsec", "whsk"], random: Callable[[int], bytes]) -> str:
    """A new secret of Standard Webhooks; ``random`` gives so many random bytes, as `secrets.token_bytes` does."""
    seed = random(32)
    key = seed if kind == "whsec" else seed + _public_half(seed)
    return f"{kind}_{base64.b64encode(key).decode()}"


def rotated(
    secrets: Sequence[AnySecret], new: str, now: datetime, overlap: timedelta = OVERLAP
) -> tuple[AnySecret, ...]:
    """Secrets of Standard Webhooks with a new one: those of its kind (``whsec_``, ``whsk_``) sign for ``overlap``
    longer at most, and those whose end has passed are left out."""
    kind = new.partition("_")[0]
    kept = []
    for one in secrets:
        end = end_of(one)
        if text_of(one).partition("_")[0] == kind:
            end = now + overlap if end is None else min(end, now + overlap)
        if end is None or end > now:
            kept.append(TimedSecret(secret=SecretStr(text_of(one)), until=end))
    return (SecretStr(new), *kept)


def read_standard_secret(text: str) -> bytes:
    """The key in a ``whsec_…`` secret, or the private half of that in a ``whsk_…`` one.

    Raises:
        ValueError: it is neither; the text does not repeat it.
    """
    prefix, _, encoded = text.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True) if prefix in ("whsec", "whsk") else b""
    except binascii.Error:
        key = b""
    if prefix == "whsk":
        if len(key) != 64:
            raise ValueError(_FORMS)
        seed = key[:32]
        if _public_half(seed) != key[32:]:
            raise ValueError("a whsk_ secret is a private key and its public one, and these do not belong together")
        return seed
    if not 24 <= len(key) <= 64:
        raise ValueError(_FORMS)
    return key


def public_secret(secret: str) -> str:
    """The ``whpk_…`` text by which a receiver verifies what a ``whsk_…`` secret signs."""
    return f"whpk_{base64.b64encode(_public_half(read_standard_secret(secret))).decode()}"


def public_keys(signatures: Sequence[Signature], now: datetime) -> Iterator[dict[str, str]]:
    """The public halves of the Ed25519 keys that sign now, as JWKs."""
    for signature in signatures:
        for one in signature.secret if isinstance(signature, StandardSignature) else ():
            end = end_of(one)
            if text_of(one).startswith("whsk_") and (end is None or end > now):
                yield _jwk(_public_half(read_standard_secret(text_of(one))))


def make_signer(signatures: Sequence[Signature], token_key: TokenKey | None, random: Callable[[int], bytes]) -> Signer:
    """How requests are signed; without a signature only Standard Webhooks' id and time are sent. ``token_key`` signs
    tokens, where a `BearerSignature` is among them; ``random`` gives so many random bytes.

    Raises:
        ValueError: a secret is not of the form that its signature asks for.
    """
    signers: list[Signer] = []
    for one in signatures:
        match one:
            case StandardSignature():
                signers.append(_standard_signer(one.secret))
            case HmacSignature():
                signers.append(_hmac_signer(one.secret.get_secret_value(), one.kind.removeprefix("phasetwo-")))
            case BearerSignature():
                assert token_key is not None
                signers.append(_bearer_signer(token_key, one, random))
    match signers:
        case []:
            return _identify
        case [signer]:
            return signer

    def sign(id: str, timestamp: int, body: bytes) -> dict[str, str]:
        headers: dict[str, str] = {}
        for signer in signers:
            headers |= signer(id, timestamp, body)
        return headers

    return sign


def _identify(id: str, timestamp: int, body: bytes) -> dict[str, str]:
    return {"webhook-id": id, "webhook-timestamp": str(timestamp)}


def _standard_signer(secrets: Sequence[AnySecret]) -> Signer:
    entries: list[tuple[Callable[[bytes], str], float | None]] = []
    for one in secrets:
        end = end_of(one)
        entries.append((_entry_of(text_of(one)), None if end is None else end.timestamp()))

    def sign(id: str, timestamp: int, body: bytes) -> dict[str, str]:
        signed = b"%b.%d.%b" % (id.encode(), timestamp, body)
        valid = [entry(signed) for entry, end in entries if end is None or timestamp < end]
        return {**_identify(id, timestamp, body), "webhook-signature": " ".join(valid)}

    return sign


def _entry_of(secret: str) -> Callable[[bytes], str]:
    """What signs with a secret: an entry of the header for what is to be signed."""
    key = read_standard_secret(secret)
    if secret.startswith("whsec_"):
        return lambda signed: f"v1,{_base64(hmac.digest(key, signed, 'sha256'))}"
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(key)
    return lambda signed: f"v1a,{_base64(private.sign(signed))}"


def _hmac_signer(secret: str, digest: str) -> Signer:
    key = secret.encode()
    return lambda id, timestamp, body: {"X-Keycloak-Signature": hmac.digest(key, body, digest).hex()}


def _bearer_signer(key: TokenKey, settings: BearerSignature, random: Callable[[int], bytes]) -> Signer:
    fixed = {"iss": settings.issuer} | ({} if settings.audience is None else {"aud": settings.audience})

    def sign(id: str, timestamp: int, body: bytes) -> dict[str, str]:
        claims = {
            **fixed,
            "jti": random(16).hex(),
            "iat": timestamp,
            "exp": timestamp + TOKEN_LIFETIME,
            "request_body_sha256": hashlib.sha256(body).hexdigest(),
        }
        return {"Authorization": f"Bearer {key.sign(claims)}"}

    return sign


def _public_half(seed: bytes) -> bytes:
    """The public key of an Ed25519 one. The library is imported where there is such a key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _jwk(public: bytes) -> dict[str, str]:
    """An Ed25519 key as a JWK (RFC 8037), whose id is its thumbprint (RFC 7638)."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _url_base64(public)}
    thumbprint = hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
    return {**members, "kid": _url_base64(thumbprint), "use": "sig", "alg": "EdDSA"}


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _url_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
