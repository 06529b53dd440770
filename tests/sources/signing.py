"""Keys of senders, and the tokens that they sign with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from functools import cache
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

SECRET = "a-secret-of-some-length-1234567890"

#: Algorithms of tokens, each with the key that it is tried with.
KEYS = {
    "HS256": "secret",
    "HS384": "secret",
    "HS512": "secret",
    "RS256": "rsa",
    "RS384": "rsa",
    "RS512": "rsa",
    "PS256": "rsa",
    "PS384": "rsa",
    "PS512": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed25519",
}


@cache
def key(name: str) -> Key:
    """A private key, the same one whenever it is asked for: ``rsa``, ``p256``, ``ed25519``; ``rsa-2`` is another."""
    kind = name.partition("-")[0]
    if kind == "secret":
        return OctKey.import_key(SECRET)
    if kind == "rsa":
        return RSAKey.generate_key(2048)
    if kind == "ed25519":
        return OKPKey.generate_key("Ed25519")
    return ECKey.generate_key({"p256": "P-256", "p384": "P-384", "p521": "P-521"}[kind])


def pem(name: str) -> bytes:
    """The public part of a key."""
    found: bytes = key(name).as_pem(private=False)  # type: ignore[union-attr]
    return found


def jwk(name: str, **more: Any) -> dict[str, Any]:
    """The same as a JWK; its key id is its name."""
    return {**key(name).as_dict(private=False), "kid": name, **more}


def signed(algorithm: str, name: str, claims: dict[str, Any], **header: Any) -> str:
    """A token that is signed with a key."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode({"alg": algorithm, **header}, claims, key(name), algorithms=[algorithm])


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token signed with HMAC, whatever stands in its header, and whatever the secret is."""
    text = b".".join(_encoded(json.dumps(one).encode()) for one in (header, claims))
    return (text + b"." + _encoded(hmac.digest(secret, text, "sha256"))).decode()


def unsigned(algorithm: str, claims: dict[str, Any]) -> str:
    """A token that is not signed at all."""
    return b".".join([*(_encoded(json.dumps(one).encode()) for one in ({"alg": algorithm}, claims)), b""]).decode()


def bound(body: bytes, digest: str = "sha256", encoding: str = "base64") -> str:
    """The hash of a body, as senders write it."""
    hashed = hashlib.new(digest, body).digest()
    if encoding == "hex":
        return hashed.hex()
    return (base64.b64encode if encoding == "base64" else base64.urlsafe_b64encode)(hashed).decode()


def _encoded(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")
