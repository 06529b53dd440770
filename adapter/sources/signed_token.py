"""Tokens that senders sign (JSON Web Tokens): which keys one is tried with, and what it must say.

What a token says of itself is a stranger's word, so it decides nothing but which kind of key is tried: algorithms of
HMAC with shared secrets alone, all others with public keys alone. A public key, which anybody may know, is never taken
for a secret.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from adapter.mapping.language import Algorithm, BodyHash, Jwt

if TYPE_CHECKING:
    from joserfc.jwk import Key

#: What a verified token says.
Claims = Mapping[str, object]

#: Public keys that one token is tried with; every refused one is, whatever keys there are.
TRIED = 4

#: Characters of a token's header that are read.
_HEADER = 512

#: Bytes that are hashed before other requests get a turn.
_TURN = 1024 * 1024

_CURVES: Mapping[str, Literal["P-256", "P-384", "P-521"]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

#: Beginning of an algorithm: type of its keys.
_KEY_TYPES = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class SignedToken(NamedTuple):
    """A token as it is presented; what it says of itself is not proven."""

    text: str
    #: Empty where the token cannot be read.
    algorithm: str
    key_id: str | None

    @property
    def is_shared(self) -> bool:
        """Whether it says that it is signed with a shared secret."""
        return self.algorithm.startswith("HS")


def read_token(text: str) -> SignedToken:
    """A token as it stands in a header; whatever that holds."""
    encoded = text.partition(".")[0]
    if len(encoded) <= _HEADER:
        try:
            header = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        except (ValueError, RecursionError):
            header = None
        if isinstance(header, dict) and isinstance(header.get("alg"), str):
            key_id = header.get("kid")
            return SignedToken(text, header["alg"], key_id if isinstance(key_id, str) else None)
    return SignedToken(text, "", None)


def key_type(algorithm: str) -> str | None:
    """The type of an algorithm's keys, as a JWK names it; ``None`` for one that is none of ours."""
    return _KEY_TYPES.get(algorithm[:2])


def shared_claims(rule: Jwt, token: SignedToken, secrets: Sequence[bytes]) -> Claims | None:
    """What a token says that is signed with one of these secrets; ``None`` if it is not. All of them are tried, so that
    the time does not tell which was the right one."""
    algorithms = [one for one in rule.algorithms if key_type(one) == "oct"]
    return _first(_decode(token.text, _secret_key(secret), algorithms) for secret in secrets)


def public_claims(rule: Jwt, token: SignedToken, keys: Sequence[Key]) -> Claims | None:
    """What a token says that is signed with the private part of one of these keys; ``None`` if it is not."""
    algorithms = [one for one in rule.algorithms if key_type(one) != "oct"]
    return _first(_decode(token.text, key, algorithms) for key in keys)


def _first(found: Iterable[Claims | None]) -> Claims | None:
    return next((one for one in list(found) if one is not None), None)


def _decode(text: str, key: Key | None, algorithms: Sequence[str]) -> Claims | None:
    # Costs 17 MB of memory, which only who is sent such tokens should pay.
    from joserfc import jwt
    from joserfc.errors import SecurityWarning
    from joserfc.jws import JWSRegistry

    if key is None or not algorithms:
        return None
    with warnings.catch_warnings():
        # How long the secret is was decided where it was made, which algorithms are taken in the table.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            # What else senders write into a header says nothing about the signature.
            registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
            return jwt.decode(text, key, registry=registry).claims
        except Exception:
            # What is wrong with a stranger's token may be anything: nested too deep, no object, no text.
            return None


@lru_cache(maxsize=1024)
def _secret_key(secret: bytes) -> Key | None:
    """A shared secret as a key; ``None`` for a public key, which is no secret."""
    from joserfc.errors import SecurityWarning
    from joserfc.jwk import OctKey

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            return OctKey.import_key(secret)
        except ValueError:
            return None


@cache
def decoy_key(algorithm: Algorithm) -> Key:
    """A public key that proves nothing, to be tried in the place of one that a source does not have."""
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    match key_type(algorithm):
        case "EC":
            return ECKey.generate_key(_CURVES[algorithm])
        case "OKP":
            return OKPKey.generate_key("Ed25519")
        case _:
            # To make a real one takes longer than all else here; what it is tried on is wrong anyway.
            modulus = base64.urlsafe_b64encode(((1 << 2047) + 1).to_bytes(256)).rstrip(b"=")
            return RSAKey.import_key({"kty": "RSA", "n": modulus.decode(), "e": "AQAB"})


class Meant(NamedTuple):
    """Who has to have made the tokens of one source, and for whom, beside what its table says."""

    issuers: Sequence[str] = ()
    audience: str | None = None


def is_meant(rule: Jwt, claims: Claims, now: float, also: Meant = Meant()) -> bool:  # noqa: B008 - it never changes
    """Whether a verified token is made by whom, and for whom, the rule says, and valid at ``now``, epoch seconds."""
    return (
        _names(claims.get("iss"), rule.issuer, several=False)
        and _names(claims.get("aud"), rule.audience, several=True)
        and _names(claims.get("iss"), list(also.issuers) or None, several=False)
        and _names(claims.get("aud"), also.audience, several=True)
        and _is_valid(claims, now, rule.tolerance)
    )


def _names(claim: object, wanted: str | list[str] | None, *, several: bool) -> bool:
    if wanted is None:
        return True
    given = claim if several and isinstance(claim, list) else [claim]
    allowed = [wanted] if isinstance(wanted, str) else wanted
    return any(isinstance(one, str) and one in allowed for one in given)


def _is_valid(claims: Claims, now: float, tolerance: float) -> bool:
    """Whether the timestamps in a signed token allow it now; one that is there and is no number does not."""
    for name in ("exp", "nbf", "iat"):
        timestamp = claims.get(name, now)
        if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
            return False
        if isinstance(timestamp, float) and not math.isfinite(timestamp):
            return False
        if timestamp <= now - tolerance if name == "exp" else timestamp > now + tolerance:
            return False
    return True


class HashedBody(NamedTuple):
    """The hash of the body, as a verified token gives it."""

    header: str
    rule: BodyHash
    given: str

    async def is_of(self, body: bytes) -> bool:
        """Whether it is that of a body, as it was sent. Long bodies give other requests their turn."""
        hashed = hashlib.new(self.rule.digest)
        view = memoryview(body)
        for at in range(0, len(view), _TURN):
            if at:
                await asyncio.sleep(0)
            hashed.update(view[at : at + _TURN])
        given = _decoded(self.given, self.rule.encoding)
        return given is not None and hmac.compare_digest(given, hashed.digest())


def hashed_body(rule: Jwt, claims: Claims) -> HashedBody | None:
    """The hash that a token of a rule with ``body_hash`` gives; ``None``: it gives none."""
    assert rule.body_hash is not None
    given = claims.get(rule.body_hash.claim)
    return HashedBody(rule.header, rule.body_hash, given) if isinstance(given, str) else None


def _decoded(text: str, encoding: str) -> bytes | None:
    """The bytes of a hash; padding may be left out."""
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
        return base64.b64decode(padded, altchars=b"-_" if encoding == "base64url" else None, validate=True)
    except (ValueError, binascii.Error):
        return None
